"""The lesson `batch_norm`: what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdsheet

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]


def test_the_numbers_can_be_checked_in_the_head(edited: Edit) -> None:
    blocks = sgdsheet.read(edited("batch_norm", {"eps": 0}))
    assert blocks["batch_mean"].tolist() == [5, 25]
    assert blocks["batch_var"].tolist() == [4, 100]
    assert blocks["x_hat"][:, 0].tolist() == [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]
    assert blocks["y_mean"].tolist() == [0, 1]
    assert blocks["y_var"].tolist() == [1, 4]


@pytest.mark.parametrize("change", [{("scale", 0): 100}, {("shift", 1): -1000}, {("scale", 1): 7, ("shift", 0): 3}])
def test_a_feature_may_be_scaled_and_shifted(workbook: Workbook, edited: Edit, change: Mapping[Any, Any]) -> None:
    before, after = sgdsheet.read(workbook("batch_norm")), sgdsheet.read(edited("batch_norm", change))
    assert np.abs(after["x"] - before["x"]).max() > 1
    np.testing.assert_allclose(after["y"], before["y"], atol=1e-5)  # eps is worth less beside a larger variance
    remembered = sgdsheet.read(edited("batch_norm", {**change, "mode": "eval", "batches": 0}))
    assert np.abs(remembered["y"] - before["y"]).max() > 1


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_three_ways_make_the_gradient(edited: Edit, mode: str) -> None:
    blocks = sgdsheet.read(edited("batch_norm", {"mode": mode, "nudged_row": 8}))
    ways = blocks["direct"], blocks["through_var"], blocks["through_mean"]
    np.testing.assert_allclose(sum(ways), blocks["grad_x"], rtol=1e-12, atol=1e-15)
    assert blocks["fd_error"] < 1e-6
    assert bool(ways[1].any()) == bool(ways[2].any()) == (mode == "train")
    # What a batch normalisation takes away again cannot be learned before it.
    assert (np.abs(blocks["grad_shift"]).max() < 1e-12) == (mode == "train")


def test_eval_nears_training_with_the_batches_that_were_seen(workbook: Workbook, edited: Edit) -> None:
    trained = sgdsheet.read(workbook("batch_norm"))["y"]
    apart = []
    for batches in (0, 10, 40):
        blocks = sgdsheet.read(edited("batch_norm", {"mode": "eval", "batches": batches}))
        apart.append(np.abs(blocks["y"] - trained).max())
        np.testing.assert_array_equal(blocks["new_running_mean"], blocks["running_mean"])
    assert apart[0] > 10 > apart[1] > 0.3 > apart[2]
