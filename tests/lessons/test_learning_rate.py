"""The lesson `learning_rate`: what its rules say, against runs written here anew, and whatever a reader may type."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sgdsheet
from sgdsheet import book, lessons
from sgdsheet.engines import engine, opened
from sgdsheet.engines.libreoffice import find_soffice

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
Place = Callable[..., tuple[str, str]]

RUNS = ("high", "low", "few", "good", "many")
RULES = ("rate_too_high", "train_longer", "training_above", "too_many_epochs")


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine, sets=0).rows if not row.ok}


def rules(blocks: Mapping[str, np.ndarray]) -> dict[str, set[str]]:
    """The rules that apply to each run."""
    return {run: {rule for rule in RULES if blocks[rule][number]} for number, run in enumerate(RUNS)}


@pytest.fixture(scope="module")
def changed(workbook: Workbook) -> Callable[..., dict[str, np.ndarray]]:
    """The numbers of the workbook's blocks with other inputs: it is loaded once, and calculated anew."""
    saved = book.read(workbook("learning_rate"))
    model = opened(engine("ironcalc"), saved.path)
    assert model is not None
    starts = {spec.name: spec.value for spec in lessons.find("learning_rate").inputs}

    def calculate(**inputs: Any) -> dict[str, np.ndarray]:
        cells = [(saved.blocks[name].cell(()), value) for name, value in {**starts, **inputs}.items()]
        held = saved.arrange(model.calculate(cells, saved.ranges()))
        return {name: np.vectorize(number, otypes=[float])(array) for name, array in held.items()}

    return calculate


def number(held: Any) -> float:
    return held if isinstance(held, float) else np.nan


def bumps(x: np.ndarray, blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """A column of ones for the bias, then the twelve bumps."""
    low, high = blocks["train_x"].min(), blocks["train_x"].max()
    width = blocks["bump_width"] * (high - low)
    return np.hstack([np.ones((len(x), 1)), np.exp(-(((x[:, None] - np.linspace(low, high, 12)) / width) ** 2))])


@pytest.fixture
def blocks(workbook: Workbook) -> dict[str, np.ndarray]:
    return sgdsheet.read(workbook("learning_rate"))


@pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")
def test_agrees_in_libreoffice(edited: Edit) -> None:
    changes = {"lr_high": 1e9, "cycle_lr": 1e6, "lr_good": 5, "cycle_momentum": "no", ("train_y", 3): 7.5}
    assert bad(edited("learning_rate", changes), "libreoffice") == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_high": 0, "lr_low": 0, "lr_good": 0, "few": 1, "smoothing": 0, "bump_width": 1},
        {"lr_high": 1e9, "lr_low": 1e150, "lr_good": 1e300, "few": 40, "bump_width": 0.001},
        {"lr_from": 1e5, "lr_to": 1e10, "cycle_lr": 1e200, "pct_start": 0.95, "div_factor": 1, "final_div_factor": 1},
        {
            "smoothing": 0.9999,
            "lr_from": 10,
            "lr_to": 0.001,
            "base_momentum": 0.99,
            "max_momentum": 0.1,
        },
        {("train_x", 0): 5, ("valid_y", 7): -1e6},
        {("train_y", point): 0 for point in range(16)},
    ],
    ids=str,
)
def test_whatever_is_typed_agrees(edited: Edit, changes: dict[Any, Any]) -> None:
    assert bad(edited("learning_rate", changes)) == {}


def test_each_run_shows_its_rule(blocks: dict[str, np.ndarray]) -> None:
    assert rules(blocks) == {
        "high": {"rate_too_high"},
        "low": {"train_longer", "training_above"},
        "few": {"train_longer", "training_above"},
        "good": set(),
        "many": {"too_many_epochs"},
    }
    training, validation = blocks["good_training_loss"], blocks["good_validation_loss"]
    assert training[39] < validation[39] < 1.05 * validation.min()  # below, and yet no overfitting
    assert (np.diff(training) < 0).all()
    assert validation[-1] > 4 * validation.min()
    assert blocks["good_validation_error"][-1] > 2 * blocks["lowest_error"][4]
    assert blocks["lowest_epoch"][4] == blocks["good_validation_error"].argmin() + 1
    assert (blocks["low_training_loss"] > blocks["low_validation_loss"]).all()


def test_the_runs_by_matrices(blocks: dict[str, np.ndarray]) -> None:
    """The same training with the parameters as one vector, by numpy."""
    train, valid = (bumps(blocks[f"{part}_x"], blocks) for part in ("train", "valid"))
    for run in ("high", "low", "good"):
        param = np.zeros(13)
        for epoch in range(40):
            missed = train @ param - blocks["train_y"]
            assert blocks[f"{run}_training_loss"][epoch] == pytest.approx(np.mean(missed**2), rel=1e-9)
            param = param - blocks[f"lr_{run}"] * 2 * train.T @ missed / len(missed)
            error = np.abs(valid @ param - blocks["valid_y"]).mean()
            assert blocks[f"{run}_validation_error"][epoch] == pytest.approx(error, rel=1e-9)
        assert blocks[f"{run}_curve"][-1] == pytest.approx((bumps(blocks["curve_x"], blocks) @ param)[-1], rel=1e-9)


def test_the_highest_rate_that_works(blocks: dict[str, np.ndarray], changed: Callable[..., Any]) -> None:
    """It is 2 over the largest eigenvalue of the loss's second derivative: between 0.7 and 0.8, as the sheet says."""
    train = bumps(blocks["train_x"], blocks)
    assert 0.7 < 2 / np.linalg.eigvalsh(2 * train.T @ train / len(train)).max() < 0.8
    assert rules(changed(lr_high=0.7))["high"] == {"too_many_epochs"}
    assert rules(changed(lr_high=0.8))["high"] == {"rate_too_high"}
    overflown = changed(lr_high=1e9)
    assert np.isnan(overflown["high_training_loss"][-1])
    assert rules(overflown)["high"] == {"rate_too_high"}


def test_what_to_try(blocks: dict[str, np.ndarray], changed: Callable[..., Any]) -> None:
    slow = changed(lr_low=0.1, few=10)
    assert blocks["last_training"][1] > 2 * slow["last_training"][1]
    assert rules(slow)["low"] == rules(slow)["few"] == {"train_longer", "training_above"}
    assert rules(changed(few=20))["few"] == set()
    assert changed(bump_width=0.05)["lowest_error"][3] > 2 * blocks["lowest_error"][3]
    bold, careful = (float(blocks[f"suggested_{which}"]) for which in ("steepest", "tenth"))
    assert rules(changed(lr_good=bold))["good"] == set()
    assert rules(changed(lr_good=careful))["good"] == {"train_longer", "training_above"}
    raw = changed(smoothing=0)
    assert max(raw["suggested_steepest"], raw["suggested_tenth"]) < 0.01


def test_few_is_the_good_run_broken_off(blocks: dict[str, np.ndarray]) -> None:
    assert np.isfinite(blocks["few_training"]).sum() == 5
    assert (blocks["few_param"] == blocks["good_new_param"][4]).all()


def test_the_finder(blocks: dict[str, np.ndarray]) -> None:
    """The smoothed loss is fastai's, and the run stops where that has shot up."""
    mean, beta = 0.0, float(blocks["smoothing"])
    for step, loss in enumerate(blocks["finder_loss"], start=1):
        mean = beta * mean + (1 - beta) * loss
        assert blocks["finder_smoothed"][step - 1] == pytest.approx(mean / (1 - beta**step), rel=1e-9)
    running = blocks["finder_running"] == 1
    stop = int(running.sum())
    assert running[:stop].all()
    assert 0.8 < blocks["finder_rate"][stop] < 2
    assert (blocks["finder_lr"] == np.where(running, blocks["finder_rate"], 0)).all()
    assert np.isnan(blocks["finder_shown_loss"][stop:]).all()
    smoothed = blocks["finder_smoothed"][20:stop]
    assert blocks["lowest_lr"] == blocks["finder_rate"][20 + smoothed.argmin()]
    assert blocks["lowest_lr"] == 10 * blocks["suggested_tenth"]
    assert 0.05 < blocks["suggested_tenth"] < blocks["suggested_steepest"] < 0.76
    assert blocks["finder_rate"][[0, -1]] == pytest.approx([0.001, 10], rel=1e-9)
    points = blocks["finder_points"].reshape(-1, 16)
    assert (np.sort(points) == np.arange(1, 17)).all()  # every four mini-batches, all points


def test_one_cycle(blocks: dict[str, np.ndarray], changed: Callable[..., Any]) -> None:
    """One-cycle ends lower and settles, where the constant rate jumps to the end; with and without momentum."""
    plain = changed(cycle_lr=0.3, cycle_momentum="no")
    for each, highest in ((blocks, 0.05), (plain, 0.3)):
        wild, settled = each["last_highest"] - each["last_lowest"]
        assert settled < 0.02 < 0.2 < wild
        assert each["end_training"][1] < 0.9 * each["end_training"][0]
        rate = each["lr_one_cycle"]
        assert rate[0] == pytest.approx(highest / 25)
        assert rate[-1] == pytest.approx(highest / 25 / 10000)
        assert 36 < rate.argmax() < 40
    assert not plain["momentum_one_cycle"].any()
    assert blocks["momentum_one_cycle"][[0, -1]] == pytest.approx([0.95, 0.95])
    assert blocks["momentum_one_cycle"].argmin() == blocks["lr_one_cycle"].argmax()
    higher = changed(cycle_lr=0.1)
    assert higher["end_training"][0] > 1000
    assert higher["end_training"][1] < 0.12


def test_constant_rate_by_torch_without_a_scheduler(blocks: dict[str, np.ndarray]) -> None:
    """With a momentum of 0.9, half way between 0.85 and 0.95."""
    train, y = torch.as_tensor(bumps(blocks["train_x"], blocks)), torch.as_tensor(blocks["train_y"])
    param = torch.zeros(13, dtype=torch.float64, requires_grad=True)
    step = torch.zeros(13, dtype=torch.float64)
    for point, loss in zip(blocks["constant_point"].astype(int) - 1, blocks["loss_constant"], strict=True):
        (grad,) = torch.autograd.grad((train[point] @ param - y[point]) ** 2, param)
        step = 0.9 * step + grad
        param = (param - 0.05 * step).detach().requires_grad_()
        assert loss == pytest.approx(((train @ param - y) ** 2).mean().item(), rel=1e-9)


@pytest.mark.parametrize("count", [9, 30])
def test_other_points(tmp_path: Path, count: int) -> None:
    generator = random.Random(count)
    rows = [f"{generator.uniform(-3, 9)},{generator.gauss(5000, 2000)}" for _ in range(count)]
    points, path = tmp_path / "points.csv", tmp_path / "other.xlsx"
    points.write_text("x,y\n" + "\n".join(rows), encoding="utf-8")
    sgdsheet.generate("learning_rate", path, data=points)
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    assert blocks["valid_x"][0] == float(rows[2].partition(",")[0])
    assert (blocks["train_x"].size, blocks["valid_x"].size) == (count - count // 3, count // 3)


@pytest.mark.parametrize(("count", "said"), [(8, "at least 9 points, got 8"), (101, "at most 100 points, got 101")])
def test_too_few_or_many_points(tmp_path: Path, count: int, said: str) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y\n" + "\n".join(f"{number},{number}" for number in range(count)), encoding="utf-8")
    with pytest.raises(sgdsheet.Error, match=said) as caught:
        sgdsheet.generate("learning_rate", tmp_path / "other.xlsx", data=points)
    assert "\n" not in str(caught.value)


def test_wrong_formulas_are_named(edited: Edit, place_of: Place) -> None:
    wrong = ["good_grad", "low_training_loss", "too_many_epochs", "finder_smoothed", "lr_one_cycle", "few_param"]
    verdicts = bad(edited("learning_rate", {(block, 1): "=1/3" for block in wrong}))
    for block in wrong:
        assert place_of("learning_rate", block, 1)[1] in verdicts[block]
