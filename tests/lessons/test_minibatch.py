"""The lesson `minibatch`: the three runs, their noise, and what the sheets say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdsheet

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


def test_what_the_lesson_says(workbook: Workbook, tmp_path: Path) -> None:
    blocks = sgdsheet.read(workbook("minibatch"))
    after_one = {name: blocks[f"{name}_epoch_loss"][0] for name in ("small", "medium", "all")}
    at_the_end = {name: blocks[f"{name}_epoch_loss"][-1] for name in ("small", "medium", "all")}
    assert after_one["small"] < after_one["medium"] < after_one["all"]
    assert at_the_end["medium"] < at_the_end["small"] < at_the_end["all"]
    assert blocks["spread_ratio"] == pytest.approx(8**0.5, rel=0.15)

    path = tmp_path / "made.xlsx"
    sgdsheet.generate("minibatch", path, small_lr=0.01, all_lr=0.5)
    blocks = sgdsheet.read(path)
    assert blocks["small_epoch_loss"][0] > after_one["small"]
    assert blocks["small_epoch_loss"][-1] < at_the_end["small"]
    assert blocks["all_epoch_loss"][-1] < 0.27
    sgdsheet.generate("minibatch", path, all_lr=1.1, noise_intercept=1.04, noise_slope=1.84)
    blocks = sgdsheet.read(path)
    assert blocks["all_epoch_loss"][-1] > blocks["all_epoch_loss"][0]
    assert abs(blocks["full_grad_slope"]) < 0.02 < 0.4 < blocks["spread_small"]


def test_the_best_line_is_numpys(workbook: Workbook) -> None:
    """No run gets below the least squares; the run of mini-batches ends near them."""
    blocks = sgdsheet.read(workbook("minibatch"))
    x, y = blocks["data_x"], blocks["data_y"]
    slope, intercept = np.polyfit(x, y, 1)
    best = np.mean((slope * x + intercept - y) ** 2)
    for name in ("small", "medium", "all"):
        assert (blocks[f"{name}_loss_of_all"] >= best - 1e-12).all()
    assert blocks["medium_new_slope"][-1] == pytest.approx(slope, abs=0.05)


@pytest.mark.parametrize(
    "inputs",
    [
        {"small_lr": 3, "medium_lr": 40, "all_lr": 5},
        {"medium": 7, "epochs": 3},
        {"small": 64, "medium": 1000, "epochs": 1},
        {"map_slope_from": 3, "map_slope_to": -3, "noise_slope": 0},
    ],
)
def test_agrees_with_other_inputs(tmp_path: Path, inputs: dict[str, Any]) -> None:
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("minibatch", path, **inputs)
    assert bad(path) == {}


def test_agrees_after_changes(edited: Edit) -> None:
    changes = {"intercept": 4, "slope": 0, "small_lr": 0, "all_lr": 0.9, ("data_x", 5): -7, ("data_y", 63): 30}
    assert bad(edited("minibatch", changes)) == {}


@pytest.mark.parametrize("points", [2, 9])
def test_other_points(tmp_path: Path, points: int) -> None:
    data, path = tmp_path / "points.csv", tmp_path / "made.xlsx"
    data.write_text("x,y\n" + "".join(f"{i / points},{1 - i}\n" for i in range(points)))
    sgdsheet.generate("minibatch", path, data=data)
    assert bad(path) == {}


def test_a_wrong_formula_is_named(edited: Edit) -> None:
    assert "medium_grad_slope" in bad(edited("minibatch", {("medium_grad_slope", 3): "=0.5"}))
