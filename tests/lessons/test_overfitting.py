"""The lesson `overfitting`: that it really overfits, and that the remedies help."""

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
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine, sets=0).rows if not row.ok}


def test_what_the_lesson_says(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("overfitting"))
    train, valid = blocks["last_train_loss"], blocks["last_valid_loss"]
    line, parabola, ninth, decayed = range(4)
    assert min(train[line], valid[line]) > 3 * max(train[parabola], valid[parabola]), "underfits"
    assert train[ninth] < train[parabola] / 2, "learns the points by heart"
    assert valid[ninth] > 5 * valid[parabola], "and is the worse for it"
    assert valid[decayed] < valid[ninth] / 3, "weight decay helps"
    assert blocks["gap"][decayed] < blocks["gap"][ninth] / 10
    lowest = blocks["ninth_valid_loss"].argmin()
    assert 20 < lowest < 100
    assert blocks["ninth_valid_loss"][-1] > 5 * blocks["ninth_valid_loss"][lowest]
    assert (np.diff(blocks["ninth_train_loss"][lowest + 50 :]) < 0).all(), "while the training loss still falls"


def test_early_stopping_keeps_the_best_step(workbook: Workbook, edited: Edit) -> None:
    for path, patience in ((workbook("overfitting"), 50), (edited("overfitting", {"patience": 5}), 5)):
        blocks = sgdsheet.read(path)
        losses = blocks["ninth_valid_loss"]
        step = int(blocks["best_step"])
        assert blocks["best_loss"] == losses[step - 1] == losses[: step + patience].min()
        assert blocks["stop_step"] == step + patience - 1
        assert blocks["stop_loss"] == losses[step + patience - 2] > blocks["best_loss"]
        np.testing.assert_array_equal(blocks["kept_param"], blocks["ninth_param"][step - 1])
        assert bad(path) == {}


def test_the_parabola_is_least_squares(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("overfitting"))
    fitted = np.polynomial.polynomial.polyfit(blocks["train_x"], blocks["train_y"], 2)
    np.testing.assert_allclose(blocks["parabola_new_param"][-1], fitted, atol=1e-6)


def test_without_weight_decay_the_fourth_is_the_third(edited: Edit) -> None:
    path = edited("overfitting", {"weight_decay": 0})
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    np.testing.assert_array_equal(blocks["decayed_new_param"], blocks["ninth_new_param"])


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0},
        {"lr": 0.02, "momentum": 0.5, "show_step": 1, "patience": 1000, ("data_y", 4): 30, ("data_x", 7): 1.5},
        {"lr": 5, "patience": 1},
    ],
)
def test_agrees_after_changes(edited: Edit, changes: dict[Any, Any]) -> None:
    assert bad(edited("overfitting", changes)) == {}


@pytest.mark.parametrize("count", [5])
def test_other_points(tmp_path: Path, count: int) -> None:
    data, path = tmp_path / "points.csv", tmp_path / "made.xlsx"
    data.write_text("x,y\n" + "".join(f"{i / count},{(i * 7) % 5 / 5}\n" for i in range(count)))
    sgdsheet.generate("overfitting", path, data=data)
    assert bad(path) == {}


@pytest.mark.parametrize("count", [3, 101])
def test_too_few_or_too_many_points(tmp_path: Path, count: int) -> None:
    data = tmp_path / "points.csv"
    data.write_text("x,y\n" + "".join(f"{i},{i}\n" for i in range(count)))
    with pytest.raises(sgdsheet.Error, match=f"expected 4 to 100 points, got {count}"):
        sgdsheet.generate("overfitting", tmp_path / "made.xlsx", data=data)


def test_a_wrong_formula_is_named(edited: Edit) -> None:
    assert "ninth_grad" in bad(edited("overfitting", {("ninth_grad", 12): "=0.5"}))
