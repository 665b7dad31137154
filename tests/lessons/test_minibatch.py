"""The lesson `minibatch`: the three runs, their noise, and what the sheets say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdsheet

Workbook = Callable[[str], Path]
Play = Callable[..., dict[str, np.ndarray]]
Edit = Callable[[str, Mapping[Any, Any]], Path]


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


@pytest.mark.parametrize(
    ("changes", "run", "first", "last"),
    [
        ({}, "small", 0.315, 0.314),
        ({}, "medium", 1.826, 0.258),
        ({}, "all", 8.197, 1.371),
        ({"small_lr": 0.01}, "small", 2.619, 0.257),
        ({"all_lr": 0.5}, "all", 2.308, 0.257),
        ({"all_lr": 1.1}, "all", 6.908, 179.225),
    ],
)
def test_the_figures_of_what_to_try(play: Play, changes: dict[str, float], run: str, first: float, last: float) -> None:
    losses = play("minibatch", changes)[f"{run}_epoch_loss"]
    assert [losses[0], losses[-1]] == pytest.approx([first, last], abs=6e-4)


def test_the_noise_stays_at_the_bottom(play: Play) -> None:
    assert play("minibatch")["spread_ratio"] == pytest.approx(8**0.5, rel=0.15)
    blocks = play("minibatch", {"noise_intercept": 1.04, "noise_slope": 1.84})
    assert abs(blocks["full_grad_slope"]) < 0.02
    assert blocks["spread_small"] == pytest.approx(0.66, abs=6e-3)
    np.testing.assert_array_equal(blocks["full_line"], blocks["full_grad_slope"])


def test_every_map_has_its_headings_and_the_dots_of_its_run(play: Play) -> None:
    blocks = play("minibatch")
    for run, prefix in (("small", ""), ("medium", "medium_"), ("all", "all_")):
        np.testing.assert_array_equal(blocks[f"{prefix}map_intercept"], blocks["map_intercept"])
        seen = np.argwhere(blocks[f"{run}_visits"])
        half = (np.diff(blocks["map_slope"])[0] / 2, np.diff(blocks["map_intercept"])[0] / 2)
        for row, column in seen:
            near = (np.abs(blocks[f"{run}_slope"] - blocks["map_slope"][row]) <= half[0] + 1e-12) & (
                np.abs(blocks[f"{run}_intercept"] - blocks["map_intercept"][column]) <= half[1] + 1e-12
            )
            assert near.sum() == blocks[f"{run}_visits"][row, column]


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
