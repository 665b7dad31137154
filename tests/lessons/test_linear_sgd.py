"""The lessons `linear_sgd` and `lesson2_sgd`: what they say of learning rates holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdsheet

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]


@pytest.mark.parametrize(("times", "grows"), [(0.98, False), (1.02, True)])
def test_the_loss_grows_from_the_limit_on(workbook: Workbook, edited: Edit, times: float, grows: bool) -> None:
    limit = float(sgdsheet.read(workbook("linear_sgd"))["lr_limit"])
    losses = sgdsheet.read(edited("linear_sgd", {"lr_high": times * limit}))["high_loss"]
    assert (losses[-1] > losses[-2]) == grows


def test_the_curvature_is_that_of_the_loss(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("linear_sgd"))
    design = np.stack([blocks["data_x"], np.ones(len(blocks["data_x"]))], 1)
    assert blocks["curvature"] == pytest.approx(np.linalg.eigvalsh(2 * design.T @ design / len(design)).max())


def test_what_remains_becomes_larger_with_every_doubling(edited: Edit) -> None:
    """The first thing to try; 0.48 is four doublings on, 0.96 five."""
    last = [sgdsheet.read(edited("linear_sgd", {"lr": lr}))["epoch_loss"] for lr in (0.03, 0.12, 0.48, 0.96)]
    ends = [float(losses[-1]) for losses in last]
    assert ends[0] < ends[1] < ends[2] < 1
    assert not ends[3] < 1e30
