"""Self-attention on one screen, in numbers small enough for mental arithmetic: forward, backward, and one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import HEAT, SHORT, WHOLE, Book, Input, Sheet, typed
from sgdsheet.book.style import NOTE, Look
from sgdsheet.book.style import flow as box
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Column, Named, activation, check, data, gradient, headed, inputs, loss, parameter
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, equal, exp, largest, matmul, mean, where
from sgdsheet.tensor import sum as total

WORDS = ("cat", "sat", "mat")
FEATURES, WIDTH = 3, 4  # of a word, and of its query, key and value
HIDDEN = -99  # the score of a word that is not to be seen: e to that power is 0 in the first 42 decimals
PARTS = ("q", "k", "v")
MEANT = {"q": "what a word looks for", "k": "what it offers", "v": "what it says"}
ARROW = Look(color="7F7F7F", size=9, horizontal="center")
LINE = Look(color="7F7F7F", horizontal="fill")  # the sign again and again, as wide as the cell
# The first column of each block, from left to right as the numbers flow.
LEFT = {"x": 2, "q": 6, "k": 11, "v": 16, "scores": 21, "scaled": 25, "weights": 29, "output": 33}


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheet `attention`."""
    sheet = book.sheet(
        "attention",
        "Three words look at each other",
        "From left to right: each word asks (q), offers (k) and says (v) something. Where a question meets an offer "
        "the score is high, softmax makes shares of the scores, and what comes out is a mix of what the words say.",
    )
    sheet.width(1, 9)
    sheet.width(2, 5.4, LEFT["output"] + WIDTH)
    cell = inputs(sheet, "causal", "lr", torch={"lr": "torch.optim.SGD(..., lr=lr)"})
    forward = sheet.next_row + 2
    given_row, backward, slopes, stepped = (forward + 6 * band for band in (1, 2, 3, 4))

    def put(name: str, row: int, at: str, column: Column) -> Array:
        return headed(sheet, row, LEFT[at], name, column)

    x = put("x", forward, "x", data(typed(given["x"]), "type here", "x", WHOLE))
    w = {
        each: put(f"w_{each}", given_row, each, parameter(typed(given[f"w_{each}"]), "type here", f"w_{each}", WHOLE))
        for each in PARTS
    }
    q, k, v = (
        put(each, forward, each, activation(matmul(x, w[each]), f"x w_{each}", f"x @ w_{each}", SHORT))
        for each in PARTS
    )
    scores = put("scores", forward, "scores", activation(matmul(q, k.T), "q k turned", "q @ k.T", SHORT))
    later = np.triu(np.ones((len(WORDS), len(WORDS)), dtype=int), 1).astype(object)
    mask = put(
        "mask", given_row, "scores", check(later * cell.causal, "1: not seen", "torch.ones(3, 3).triu(1)", WHOLE)
    )
    scaled = put(
        "scaled",
        forward,
        "scaled",
        activation(
            where(equal(mask, 1), HIDDEN, scores / WIDTH**0.5),
            "/ 2, or -99",
            "(scores / 2).masked_fill(mask, -99)",
            SHORT,
        ),
    )
    powers = exp(scaled - np.array([[largest(row)] for row in scaled], dtype=object))
    shares = powers / np.array([[total(row)] for row in powers], dtype=object)
    weights = put("weights", forward, "weights", activation(shares, "softmax", "scaled.softmax(1)", SHORT))
    output = put("output", forward, "output", activation(matmul(weights, v), "weights v", "weights @ v", SHORT))
    target = put("target", given_row, "output", data(typed(given["target"]), "type here", "target", WHOLE))
    sheet.heat_map(weights, HEAT)

    count = len(WORDS) * WIDTH
    wrong = loss(mean((output - target) ** 2), "the mean of (output - target)^2", "F.mse_loss(output, target)")
    flow.values(sheet, row=forward - 5, left=LEFT["k"], loss=wrong)

    grad_output = put(
        "grad_output",
        backward,
        "output",
        gradient(2 * (output - target) / count, f"2 (output - target) / {count}", "output.grad", SHORT),
    )
    grad_weights = put(
        "grad_weights", backward, "weights", gradient(matmul(grad_output, v.T), "grad_output v", "weights.grad", SHORT)
    )
    pulled = np.array([[total(row)] for row in weights * grad_weights], dtype=object)
    grad_scaled = put(
        "grad_scaled",
        backward,
        "scaled",
        gradient(weights * (grad_weights - pulled), "through softmax", "scaled.grad", SHORT),
    )
    grad_scores = put(
        "grad_scores",
        backward,
        "scores",
        gradient(where(equal(mask, 1), 0, grad_scaled / WIDTH**0.5), "/ 2, or 0", "scores.grad", SHORT),
    )
    grads = {
        "q": (matmul(grad_scores, k), "grad_scores k"),
        "k": (matmul(grad_scores.T, q), "grad_scores q"),
        "v": (matmul(weights.T, grad_output), "weights grad_output"),
    }
    grad_x: Any = 0
    for each, (formula, words) in grads.items():
        grad = put(f"grad_{each}", backward, each, gradient(formula, words, f"{each}.grad", SHORT))
        grad_w = put(
            f"grad_w_{each}", slopes, each, gradient(matmul(x.T, grad), f"x grad_{each}", f"w_{each}.grad", SHORT)
        )
        put(
            f"new_w_{each}",
            stepped,
            each,
            parameter(w[each] - cell.lr * grad_w, f"w_{each} - lr grad", f"w_{each}, after optimizer.step()", SHORT),
        )
        grad_x = grad_x + matmul(grad, w[each].T)
    put("grad_x", backward, "x", gradient(grad_x, "of q, k, v", "x.grad", SHORT))
    for row in (forward, backward):
        flow.labels(sheet, row + 2, 1, WORDS)
    for each, sign in (("q", "→"), ("scores", "q k →"), ("scaled", "→"), ("weights", "→"), ("output", "→")):
        sheet.write(forward + 3, LEFT[each] - 1, sign, ARROW)
        sheet.write(backward + 3, LEFT[each] - 1, "← q k" if each == "scores" else "←", ARROW)
    for each in PARTS:
        sheet.write(forward - 1, LEFT[each], MEANT[each], NOTE)
    picture(sheet, forward - 5, LEFT["scores"])
    sheet.print_on_one_page()


def picture(sheet: Sheet, row: int, left: int) -> None:
    """What is made of what, three rows high. A click on a box leads to its numbers."""
    blocks = sheet.book.blocks
    boxes = (("x", 1, 0), ("q", 0, 3), ("k", 1, 3), ("v", 2, 3), ("scores", 1, 6), ("scaled", 1, 9), ("weights", 1, 12))
    for name, down, right in (*boxes, ("output", 2, 15)):
        sheet.link(row + down, left + right, name, blocks[name].panels[0], box(blocks[name].role))
        sheet.merge(row + down, left + right, left + right + 1)
    arrows = ((0, 2, "↗"), (1, 2, "→"), (2, 2, "↘"), (0, 5, "↘"), (1, 5, "→"), (1, 8, "→"), (1, 11, "→"), (1, 14, "↘"))
    for down, right, sign in (*arrows, *((2, right, "─") for right in range(5, 14)), (2, 14, "→")):
        sheet.write(row + down, left + right, sign, LINE if sign == "─" else ARROW)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    x = v.x.clone().requires_grad_()
    w = {each: v[f"w_{each}"].clone().requires_grad_() for each in PARTS}
    optimizer = torch.optim.SGD(w.values(), lr=v.lr)
    q, k, value = (x @ w[each] for each in PARTS)
    scores = q @ k.T
    mask = torch.ones(len(WORDS), len(WORDS)).triu(1) * v.causal
    scaled = (scores / WIDTH**0.5).masked_fill(mask > 0, HIDDEN)
    weights = scaled.softmax(1)
    output = weights @ value
    inner = {"q": q, "k": k, "v": value, "scores": scores, "scaled": scaled, "weights": weights, "output": output}
    for each in inner.values():
        each.retain_grad()
    loss = F.mse_loss(output, v.target)
    loss.backward()
    blocks = {**inner, "mask": mask, "loss": loss, "grad_x": x.grad}
    blocks |= {f"grad_{name}": each.grad for name, each in inner.items()}
    blocks |= {f"grad_w_{name}": each.grad for name, each in w.items()}
    optimizer.step()
    return blocks | {f"new_w_{name}": each for name, each in w.items()}


ABOUT = [
    "A word alone says little: what a mat has to do with a cat is seen from the words around it. Attention lets each "
    "word fetch from the others what it needs. It makes three rows of numbers of each word: query, key and value.",
    "The score of two words is the product of the one's query and the other's key. Softmax makes shares of a word's "
    "scores, and its output is the values of all words, mixed by these shares. All of it is products and sums, so that "
    "the gradients are too; below each block stands how the loss changes with it.",
]
TRY = [
    "Follow one number: the first score of 'cat' is its query times its own key. Multiply and add them yourself.",
    "Make a number of x larger: the word's query, key and value change, and through its key all other words' rows.",
    "Set causal to 1: a word sees only itself and those before it, as in a model that writes. 'cat' has nobody left to "
    "look at, and its output is its own value.",
    "Set all of w_q to 0: all scores are 0, each word looks at all alike, and the output is the mean of the values.",
    "Copy new_w_q, new_w_k and new_w_v, and paste their values over w_q, w_k and w_v: the loss has fallen.",
]
STARTS: dict[str, Any] = {
    "x": [[1, 0, 2], [0, 1, 1], [2, 1, 0]],
    "w_q": [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0]],
    "w_k": [[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]],
    "w_v": [[1, 0, 0, 2], [0, 2, 0, 1], [0, 1, 1, 0]],
    "target": [[1, 2, 1, 2], [1, 2, 2, 1], [0, 3, 1, 1]],
}
EXERCISES = (
    Exercise(
        "grad_output",
        1,
        "How fast does the loss, the mean of (output - target)^2 over all twelve cells, grow with each of them?",
        {
            "the mean: divide by 12": lambda t: 2 * (t.output - t.target),
            "the target is missing": lambda t: 2 * t.output / 12,
        },
    ),
    Exercise(
        "new_w_v",
        2,
        "One step of gradient descent for the weights of the values.",
        {
            "it climbs: step against it": lambda t: t.w_v + t.lr * t.grad_w_v,
            "lr is missing": lambda t: t.w_v - t.grad_w_v,
            "the old weights are missing": lambda t: -t.lr * t.grad_w_v,
        },
    ),
    Exercise(
        "scores",
        3,
        "How well does each word's query (a row of q) fit each word's key (a row of k)? A dot product each.",
        {"rows and columns are exchanged": lambda t: t.answer.T},
    ),
    Exercise(
        "output",
        3,
        "Each word's mixture of the values: the rows of v, each by its weight.",
        {"the scores, not the weights": lambda t: matmul(t.scores, t.v)},
    ),
)

ATTENTION_BY_HAND = Lesson(
    "attention_by_hand",
    "self-attention of three words on one screen, forward and backward, in small whole numbers",
    (
        Input("causal", 0, "1: no word sees a later one", minimum=0, maximum=1, whole=True),
        Input("lr", 0.1, "learning rate", minimum=0),
    ),
    Data({name: np.ndim(numbers) for name, numbers in STARTS.items()}, lambda source: STARTS),
    build=build,
    reference=reference,
    title="Attention, by hand",
    about=ABOUT,
    things_to_try=TRY,
    again={f"w_{each}": f"new_w_{each}" for each in PARTS},
    exercises=EXERCISES,
)
