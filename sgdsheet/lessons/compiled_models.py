"""Three small PyTorch models whose training is compiled into cells by `sgdsheet.compile`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sgdsheet.book import Book, Input
from sgdsheet.lessons.lesson import Lesson, Values

if TYPE_CHECKING:
    import torch

    from sgdsheet.torch_frontend.compiled import Compiled


def _inputs(lr: float, count: int) -> tuple[Input, ...]:
    steps = Input("steps", count, "how many steps there are", minimum=1, maximum=50, whole=True, fixed=True)
    return Input("lr", lr, "learning rate", above=0), steps


def xor_mlp(values: Values) -> Compiled:
    """Exclusive or: a line cannot part these four points, four hidden neurons can."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    return _compiled(model, x, y, torch.nn.functional.mse_loss, values, seed=15, title="XOR: a small network learns")


def lstm(values: Values) -> Compiled:
    """The next value of a wave, from the three before it."""
    import torch

    class Wave(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(1, 2, batch_first=True)
            self.linear = torch.nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.lstm(x[..., None])
            return self.linear(states[:, -1])

    wave = [round(math.sin(0.9 * i), 2) for i in range(10)]
    x = torch.tensor([wave[start : start + 3] for start in range(7)])
    y = torch.tensor([[wave[start + 3]] for start in range(7)])
    title = "LSTM: what comes next in a wave?"
    return _compiled(Wave(), x, y, torch.nn.functional.mse_loss, values, seed=5, title=title, optimizer="RMSprop")


WORDS = ("the", "cat", "sat", "on", "mat")
NUMBERED = ", ".join(f"{number} {word}" for number, word in enumerate(WORDS))
SENTENCE = (0, 1, 2, 3, 0, 4)


def attention(values: Values) -> Compiled:
    """The next word of a sentence: each word looks back at those before it."""
    import torch

    class NextWord(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word = torch.nn.Embedding(len(WORDS), 4)
            self.place = torch.nn.Parameter(torch.zeros(len(SENTENCE) - 1, 4))
            self.attention = torch.nn.MultiheadAttention(4, 1)
            self.logits = torch.nn.Linear(4, len(WORDS))

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            x = self.word(words) + self.place
            ahead = torch.ones(len(words), len(words), dtype=torch.bool).triu(1)
            seen, _ = self.attention(x, x, x, attn_mask=ahead, need_weights=False)
            return self.logits(x + seen)

    return _compiled(
        NextWord(),
        torch.tensor(SENTENCE[:-1]),
        torch.tensor(SENTENCE[1:]),
        torch.nn.functional.cross_entropy,
        values,
        seed=14,
        title="Attention: which word comes next?",
        classes=WORDS,
    )


def _compiled(
    model: torch.nn.Module,
    inputs: Any,
    targets: Any,
    loss: Callable[..., Any],
    values: Values,
    seed: int,
    title: str,
    classes: Sequence[str] = (),
    optimizer: str = "Adam",
) -> Compiled:
    """The model with starting numbers that are the same everywhere, trained by a torch optimiser."""
    import torch

    from sgdsheet.torch_frontend.compiled import compile

    model = model.double()
    generator = random.Random(seed)
    with torch.no_grad():
        for param in model.parameters():
            reach = 1 / math.sqrt(param.shape[-1])
            numbers = [round(generator.uniform(-reach, reach), 2) for _ in range(param.numel())]
            param.copy_(torch.tensor(numbers, dtype=torch.float64).reshape(param.shape))
    training = getattr(torch.optim, optimizer)(model.parameters(), lr=float(values["lr"]))
    return compile(model, inputs, targets, loss, training, steps=int(values["steps"]), title=title, classes=classes)


@dataclass(frozen=True)
class CompiledLesson(Lesson):
    """A lesson whose `build(values)` compiles a model: its workbook carries the program that `verify` runs."""

    def book(self, values: Values, data: Values) -> Book:
        book = self.build(values).book()
        book.summary = [*self.about, *book.summary]
        book.things_to_try = [*self.things_to_try, *book.things_to_try]
        return book


XOR_MLP = CompiledLesson(
    "xor_mlp",
    "a PyTorch model compiled into cells: a network of two layers learns XOR with Adam",
    _inputs(0.1, 40),
    build=xor_mlp,
    about=[
        "XOR is 1 where exactly one of two numbers is 1. No straight line parts its four points; two linear layers "
        "with tanh between them do. sgdsheet.compile has made this workbook from six lines of PyTorch: see the README."
    ],
    things_to_try=[
        "On 'training', make it OR: type 1 as the last target. How many steps does it take to learn that?",
        "On 'training', try lr 0.01, then 1: look at the loss and at what comes out after training.",
        "On 'step 1', set all of 0.weight to 0: the four hidden neurons are alike, and stay so. What is lost?",
    ],
)
LSTM = CompiledLesson(
    "lstm",
    "an LSTM compiled into cells: it reads three values of a wave and learns to tell the next",
    _inputs(0.03, 16),
    build=lstm,
    about=[
        "A recurrent network reads a sequence value by value and keeps a state between them. An LSTM (long short-term "
        "memory) has two states, and three gates, numbers between 0 and 1: what to forget, what to take in and what to "
        "show. On the sheet of a step the three readings follow each other; each gate is a sigmoid."
    ],
    things_to_try=[
        "On 'step 1', find the forget gates. What happens to the loss if you raise their bias by 1 (rows 3 and 4 of "
        "lstm.bias_hh_l0)?",
        "On 'training', change one value of the wave. Which of the answers after training changes most?",
    ],
)
ATTENTION = CompiledLesson(
    "attention",
    "an attention layer compiled into cells: it learns which word comes next",
    _inputs(0.1, 12),
    build=attention,
    about=[
        f"The sentence is 'the cat sat on the mat', its words numbered: {NUMBERED}. At each place the model guesses "
        "the next word. A word's four numbers and its place's are added; attention then mixes in those of the words "
        "before, each by a weight that is a softmax; no word sees those after it.",
    ],
    things_to_try=[
        "On 'step 1', look at the attention weights: what does each word look at? Then look at them on 'step 12'.",
        "On 'training', change a word's number, in the input and in the target before it.",
    ],
)
