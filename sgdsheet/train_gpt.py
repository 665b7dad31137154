"""Trains the weights of the lesson `gpt` in a workbook, and writes them, rounded, beside the lesson.

    python -m sgdsheet.train_gpt

takes a few minutes: its step is compiled, and `sgdsheet train` makes it again and again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from sgdsheet import book
from sgdsheet.lessons.gpt import LETTERS, SHAPES, TYPED, WEIGHTS, WORDS, network

STEPS, LR, DIGITS = 250, 0.02, 2


def main() -> None:
    """Trains on all words at once, and says how many are completed with rounded weights."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    from sgdsheet.torch_frontend.compiled import compile
    from sgdsheet.training.train import train

    torch.manual_seed(0)
    net = network()
    numbers = torch.tensor([[LETTERS.index(letter) for letter in word] for word in WORDS])

    def loss(scores: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores.flatten(0, 1), following.flatten())

    optimizer = torch.optim.AdamW(net.parameters(), lr=LR)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gpt.xlsx"
        compile(net, loss=loss, optimizer=optimizer, batches=[(numbers[:, :-1], numbers[:, 1:])]).save(path)
        done = train(path, steps=STEPS, progress=lambda step, value: step % 50 or print(step, value, file=sys.stderr))
        held = book.read(done.path).contents
        weights = {name: held[f"0/param/{name}.weight"].astype(float).round(DIGITS) for name in SHAPES}
    WEIGHTS.write_text(json.dumps({name: each.tolist() for name, each in weights.items()}) + "\n", encoding="utf-8")
    net = net.double()
    net.load_state_dict({f"{name}.weight": torch.tensor(each) for name, each in weights.items()})
    right = 0
    for word in numbers:
        written = word[:TYPED].tolist()
        while len(written) < len(word):
            written.append(int(net(torch.tensor(written))[-1].argmax()))
        right += written == word.tolist()
    print(f"{WEIGHTS.name}: loss {done.last_loss:.4f}, {right} of {len(WORDS)} words are completed")


if __name__ == "__main__":
    main()
