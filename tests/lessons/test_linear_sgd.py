"""The lessons `linear_sgd` and `lesson2_sgd`: what they say of rates and nudges holds, and marks are in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdsheet import book

Workbook = Callable[[str], Path]
Play = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize("name", ["linear_sgd", "lesson2_sgd"])
def test_the_update_is_plain_to_read(workbook: Workbook, name: str) -> None:
    contents = book.read(workbook(name)).contents
    for part in ("intercept", "slope"):
        for formula in contents[f"new_{part}"]:
            assert re.fullmatch(r"=[A-Z](\d+)-lr\*[A-Z]\1", formula), formula


@pytest.mark.parametrize(("times", "grows"), [(0.98, False), (1.02, True)])
def test_the_loss_grows_from_the_limit_on(play: Play, times: float, grows: bool) -> None:
    limit = float(play("linear_sgd")["lr_limit"])
    losses = play("linear_sgd", {"lr_high": times * limit})["high_loss"]
    assert (losses[-1] > losses[-2]) == grows


def test_the_curvature_is_that_of_the_loss(play: Play) -> None:
    blocks = play("linear_sgd")
    design = np.stack([blocks["data_x"], np.ones(len(blocks["data_x"]))], 1)
    assert blocks["curvature"] == pytest.approx(np.linalg.eigvalsh(2 * design.T @ design / len(design)).max())


def across(blocks: Mapping[str, np.ndarray], run: str = "high") -> np.ndarray:
    """How far the steps of a run are from the bottom, in the steepest direction."""
    x = blocks["data_x"]
    steepest = np.linalg.eigh([[1, x.mean()], [x.mean(), (x * x).mean()]])[1][:, -1]
    way = np.stack([blocks[f"{run}_intercept"], blocks[f"{run}_slope"]], 1)
    return (way - [blocks["best_intercept"], blocks["best_slope"]]) @ steepest


@pytest.mark.parametrize(
    ("lesson", "lr", "left"),
    [
        ("linear_sgd", 0.3, 0.05),
        ("linear_sgd", 0.4, 0.4),
        ("linear_sgd", 0.55, 0.95),
        ("linear_sgd", 0.6, 1.1),
        ("lesson2_sgd", 0.9, 0.9),
        ("lesson2_sgd", 0.98, 0.999),
        ("lesson2_sgd", 1.03, 1.1),
    ],
)
def test_it_zigzags_more_and_more(play: Play, lesson: str, lr: float, left: float) -> None:
    """Each step ends on the other side, with at most `left` of the distance; beyond the limit with more than all."""
    far = across(play(lesson, {"lr_high": lr}))[:8]
    assert (far[1:] * far[:-1] < 0).all()
    shares = np.abs(far[1:] / far[:-1])
    assert (shares < left).all()
    assert (shares > 1).all() == (lr > float(play(lesson)["lr_limit"]))


def test_a_way_that_leaves_the_picture_stays_at_its_edge(play: Play) -> None:
    blocks = play("linear_sgd", {"lr_high": 1e6})
    for part in ("intercept", "slope"):
        far = np.abs(blocks[f"high_way_{part}"] - blocks[f"best_{part}"])
        assert far.max() == pytest.approx(blocks[f"reach_{part}"])
        assert (far <= blocks[f"reach_{part}"] * (1 + 1e-12)).all()


def test_lines_of_equal_loss(play: Play) -> None:
    """Along each the loss is the same: the bottom's and 1, a quarter, a sixteenth of the start's height above it."""
    blocks = play("linear_sgd")
    x, y = blocks["data_x"], blocks["data_y"]
    slope, intercept = np.polyfit(x, y, 1)
    lowest, height = np.mean((slope * x + intercept - y) ** 2), np.mean((4 * x - 1 - y) ** 2)
    for level, share in ((1, 1), (2, 1 / 4), (3, 1 / 16)):
        lines = zip(blocks[f"level_{level}_intercept"], blocks[f"level_{level}_slope"], strict=True)
        losses = [np.mean((s * x + i - y) ** 2) for i, s in lines]
        np.testing.assert_allclose(losses, lowest + share * (height - lowest), rtol=1e-9)


@pytest.mark.parametrize(
    ("lesson", "changes", "block", "step", "value"),
    [
        ("linear_sgd", {"lr": 0.06}, "epoch_loss", -1, 0.070),
        ("linear_sgd", {"lr": 0.12}, "epoch_loss", -1, 0.080),
        ("linear_sgd", {"lr": 0.24}, "epoch_loss", -1, 0.136),
        ("linear_sgd", {"lr": 0.48}, "epoch_loss", -1, 0.436),
        ("linear_sgd", {}, "epoch_loss", -1, 0.066),
        ("linear_sgd", {}, "hand_loss", (), 7.842),
        ("linear_sgd", {"hand_intercept": 3, "hand_slope": 2}, "hand_loss", (), 0.065),
        ("linear_sgd", {}, "lr_limit", (), 0.575),
        ("lesson2_sgd", {"lr": 0.4}, "loss", 20, 0.0852),
        ("lesson2_sgd", {"lr": 0.95}, "loss", -1, 0.0852),
        ("lesson2_sgd", {}, "hand_loss", (), 8.566),
        ("lesson2_sgd", {"hand_intercept": 2.5, "hand_slope": 3}, "hand_loss", (), 0.091),
        ("lesson2_sgd", {}, "lr_limit", (), 0.984),
    ],
)
def test_the_figures_of_what_to_try(
    play: Play, lesson: str, changes: dict[str, float], block: str, step: Any, value: float
) -> None:
    found = play(lesson, changes)[block][step]
    assert found == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize(("lesson", "lr"), [("linear_sgd", 0.96), ("lesson2_sgd", 1)])
def test_and_then_it_grows(play: Play, lesson: str, lr: float) -> None:
    losses = play(lesson, {"lr": lr})["loss"]
    assert not losses[-1] < 100 * losses[0]


@pytest.mark.parametrize("nudge", [2, 0.1])
def test_a_nudge_is_off_by_itself_times_half_the_curvature(play: Play, nudge: float) -> None:
    blocks = play("linear_sgd", {"nudge": nudge, "nudge_slope": 1})
    tried = nudge / np.array([1, 10, 100, 1000])
    np.testing.assert_allclose(blocks["off_by"], tried * np.mean(blocks["data_x"] ** 2), atol=1e-9)
    np.testing.assert_allclose(blocks["nudge_from_to"], [1, 1 + nudge])


@pytest.mark.parametrize(
    ("intercept", "slope", "cells"),
    [(1, 1, [(6, 6)]), (1.1, 0.9, [(6, 6)]), (4.5, -0.5, [(0, 20)]), (4.7, 1, []), (2, -9, [])],
)
def test_your_line_is_framed_on_the_map(
    play: Play, intercept: float, slope: float, cells: list[tuple[int, int]]
) -> None:
    blocks = play("linear_sgd", {"hand_intercept": intercept, "hand_slope": slope})
    assert [tuple(at) for at in np.argwhere(blocks["mine"])] == cells
    for row, column in cells:
        assert abs(blocks["map_intercept"][column] - intercept) <= 0.125
        assert abs(blocks["map_slope"][row] - slope) <= 0.125
