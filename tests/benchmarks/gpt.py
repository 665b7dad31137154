"""A small GPT of letters, and the sentences that it learns: what the benchmark of training trains."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F  # noqa: N812

TEXT = """a sheet of cells can learn. each cell holds a number, and each number has a reason.
the loss falls when the step is small. the step is small when the rate is small.
look at the cell, see how it was made, change a weight and see what follows.
a network is a sum of small parts. a gradient says where the loss will fall.
"""


class Attention(torch.nn.Module):
    """Each letter looks at those before it."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.register_buffer("mask", torch.ones(length, length, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = (each.view(batch, length, self.heads, -1).transpose(1, 2) for each in self.qkv(x).split(width, dim=2))
        scores = (q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5).masked_fill(self.mask, float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width))


class Layer(torch.nn.Module):
    """Attention, then each letter by itself; both are added to what was there."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attention = Attention(width, heads, length)
        self.wide, self.narrow = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x)), approximate="tanh"))


class GPT(torch.nn.Module):
    """Scores for the letter after each of `length` letters."""

    def __init__(self, letters: int, length: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.letter, self.place = torch.nn.Embedding(letters, width), torch.nn.Embedding(length, width)
        self.layers = torch.nn.ModuleList(Layer(width, heads, length) for _ in range(layers))
        self.norm, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, letters, bias=False)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        x = self.letter(letters) + self.place.weight
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def loss(scores: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """How badly the following letters were foreseen."""
    return F.cross_entropy(scores.flatten(0, 1), following.flatten())


def batches(text: str, length: int, size: int, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """So many batches of pieces of the text, drawn with torch's generator: letters, and those that follow."""
    known = sorted({*text})
    numbers = torch.tensor([known.index(each) for each in text])
    for _ in range(count):
        starts = torch.randint(len(text) - length, (size,)).tolist()
        pieces = torch.stack([numbers[start : start + length + 1] for start in starts])
        yield pieces[:, :-1], pieces[:, 1:]
