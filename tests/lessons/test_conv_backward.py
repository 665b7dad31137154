"""The lesson `conv_backward`: every gradient, against torch and against the loss itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sgdsheet

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]

FORWARD = ["picture", "conv_weight", "conv_bias", "conv", "relu_maps", "pool", "dense_weight", "dense_bias", "logits"]


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


@pytest.mark.parametrize(("padding", "stride"), [(0, 1), (1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (3, 3), (1, 3)])
def test_padding_and_stride(tmp_path: Path, padding: int, stride: int) -> None:
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("conv_backward", path, padding=padding, stride=stride)
    assert bad(path) == {}


def test_every_block_forward_has_its_gradient(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("conv_backward"))
    for name in FORWARD:
        assert blocks[f"grad_{name}"].shape == blocks[name].shape
        assert np.abs(blocks[f"grad_{name}"]).max() > 1e-3


def test_gradients_are_the_slopes_of_the_loss(edited: Edit) -> None:
    """Nudges, through a network written here with torch's modules: shares nothing with the lesson.

    With biases of 0 the background of the picture would lie just where ReLU bends.
    """
    blocks = sgdsheet.read(edited("conv_backward", {("conv_bias", 0): 0.11, ("conv_bias", 1): -0.07}))
    conv = torch.nn.Conv2d(1, 2, 3, padding=1, dtype=torch.float64)
    dense = torch.nn.Linear(32, 10, dtype=torch.float64)
    net = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), dense)

    def loss(changed: dict[str, np.ndarray]) -> float:
        arrays = {name: torch.tensor(changed.get(name, blocks[name])) for name in FORWARD}
        with torch.no_grad():
            conv.weight.copy_(arrays["conv_weight"])
            conv.bias.copy_(arrays["conv_bias"])  # type: ignore[union-attr]
            dense.weight.copy_(arrays["dense_weight"].transpose(0, 1).reshape(10, 32))
            dense.bias.copy_(arrays["dense_bias"])
            logits = net(arrays["picture"].unsqueeze(0))
            return torch.nn.functional.cross_entropy(logits, torch.tensor([7])).item()

    assert loss({}) == pytest.approx(float(blocks["loss"]), rel=1e-12)
    for name in ("conv_weight", "conv_bias", "dense_weight", "dense_bias"):
        for position in itertools.islice(np.ndindex(*blocks[name].shape), 0, None, 7):
            sides = []
            for nudge in (1e-6, -1e-6):
                changed = blocks[name].copy()
                changed[position] += nudge
                sides.append(loss({name: changed}))
            slope = (sides[0] - sides[1]) / 2e-6
            assert blocks[f"grad_{name}"][position] == pytest.approx(slope, abs=1e-7), (name, position)


@pytest.mark.parametrize("weight", [(1, 1, 1), (2, 3, 2), (1, 2, 3)])
def test_the_weight_that_the_reader_picks(edited: Edit, weight: tuple[int, int, int]) -> None:
    picked = dict(zip(("fd_filter", "fd_row", "fd_column"), weight, strict=True))
    path = edited("conv_backward", {**picked, "nudge": 1e-4})
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    number, row, column = weight
    assert blocks["picked_grad"] == blocks["grad_conv_weight"][number - 1, 0, row - 1, column - 1]
    assert blocks["fd_grad"] == pytest.approx(float(blocks["picked_grad"]), abs=1e-6)
    assert blocks["weight_at"][1] == pytest.approx(blocks["conv_weight"][number - 1, 0, row - 1, column - 1], abs=1e-15)
    np.testing.assert_allclose(np.diff(blocks["weight_at"]), 1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": 0, "nudge": 1e-6},
        {"nudge": 0.5},
        {("picture", 20): 9, ("conv_weight", 17): -4, ("conv_bias", 0): -100},
        {("dense_weight", 100): 50, ("dense_bias", 3): 900},
    ],
)
def test_agrees_after_changes(edited: Edit, changes: dict[Any, Any]) -> None:
    assert bad(edited("conv_backward", changes)) == {}


def test_ties_go_to_the_first_cell_as_in_torch(edited: Edit) -> None:
    """All pixels 0: every window of the pooling is a tie."""
    path = edited("conv_backward", {("picture", place): 0 for place in range(64)} | {("conv_bias", 0): 0.5})
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    assert (blocks["pool_from"] == 0).all()
    assert (blocks["grad_relu_maps"][0, ::2, ::2] == blocks["grad_pool"][0]).all()
    assert (blocks["grad_conv"][1] == 0).all()
