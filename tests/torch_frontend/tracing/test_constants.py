"""What depends on constants alone may be looked at, and copies of it changed in place; what does not may not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sgdsheet

TABLE = torch.tensor([1.0, 2.0])
CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False, False, False, True]])


class Net(nn.Module):
    def __init__(self, way: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.way, self.table = way, TABLE.clone()
        self.linear = nn.Linear(2, 2)
        self.attention = nn.MultiheadAttention(2, 2, batch_first=True)
        layer = nn.TransformerEncoderLayer(2, 2, 4, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.way(self, x)


def changed_copy(m: Any, x: torch.Tensor) -> torch.Tensor:
    scale = m.table.clone()
    scale[1] = 5.0
    scale[:1] += 1
    return m.linear(x) * scale


def looked_at(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) * (m.table if m.table.sum() > 2.5 else 7)


def made_within(m: Any, x: torch.Tensor) -> torch.Tensor:
    ahead = torch.ones(2, 2).triu(1)
    return m.linear(x) if bool((ahead == ahead.T).all()) else 2 * m.linear(x)


WAYS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "a changed copy": changed_copy,
    "a branch": looked_at,
    "a branch on what is made within": made_within,
    "where it is large": lambda m, x: m.linear(x)[:, torch.nonzero(m.table > 1.5)[:, 0]],
    "a boolean index": lambda m, x: m.linear(x)[:, m.table > 1.5] * int(m.table.argmax()),
    "a mask of two dimensions": lambda m, x: m.linear(x)[CAUSAL[:, :2]],
    "a mask of attention": lambda m, x: m.attention(x[None], x[None], x[None], attn_mask=CAUSAL, need_weights=False)[0],
    "a causal encoder": lambda m, x: m.encoder(x[None], nn.Transformer.generate_square_subsequent_mask(4)),
    "a padded encoder": lambda m, x: m.encoder(x[None], src_key_padding_mask=PADDING),
}


@pytest.mark.parametrize("way", WAYS)
def test_agrees_with_torch(way: str) -> None:
    torch.manual_seed(0)
    model, x = Net(WAYS[way]).double(), torch.randn(4, 2, dtype=torch.float64)
    y = torch.zeros_like(model(x)).detach()
    made = sgdsheet.compile(model, x, y, nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=0.1), steps=2)
    blocks = made.program.run(made.values)

    own = copy.deepcopy(model)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    for k in range(2):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(own(x), y)
        np.testing.assert_allclose(blocks[f"{k}/loss"], loss.item(), rtol=1e-13)
        loss.backward()
        optimizer.step()


def put_in(m: Any, x: torch.Tensor) -> torch.Tensor:
    scale = m.table.clone()
    scale[1] = x.sum()
    return m.linear(x) * scale


def no_constant_any_more(m: Any, x: torch.Tensor) -> torch.Tensor:
    scale = torch.zeros(2, 2)
    row = scale[0]
    scale[0, 0] = x.sum()
    return m.linear(x) if row.sum() > 0 else m.linear(2 * x)


def drawn(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) if torch.rand_like(m.table).sum() > 1 else m.linear(2 * x)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (put_in, "puts what it computes into a tensor of constants"),
        (no_constant_any_more, "looks at a tensor's values"),
        (drawn, "looks at a tensor's values"),
    ],
)
def test_is_refused(way: Any, message: str) -> None:
    with pytest.raises(sgdsheet.Error, match=message):
        sgdsheet.compile(Net(way), torch.ones(4, 2))


def test_the_model_keeps_its_own() -> None:
    model = Net(changed_copy)
    sgdsheet.compile(model, torch.ones(4, 2))
    assert model.table.tolist() == [1, 2]
