"""The lesson `softmax_cross_entropy`: what it says of probabilities, losses and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

import sgdsheet
from sgdsheet.engines.libreoffice import find_soffice

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
NAME = "softmax_cross_entropy"

needs_soffice = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine, sets=0).rows if not row.ok}


def test_against_scipy(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook(NAME))
    np.testing.assert_allclose(blocks["softmax"], softmax(blocks["logits"]), rtol=1e-14)
    np.testing.assert_allclose(blocks["log_softmax"], log_softmax(blocks["logits"]), rtol=1e-14)
    np.testing.assert_allclose(blocks["batch_softmax"], softmax(blocks["batch_logits"], axis=1), rtol=1e-14)
    np.testing.assert_allclose(blocks["fd_grad"], blocks["grad"], atol=1e-8)
    assert blocks["sum_of_softmax"] == pytest.approx(1)
    assert blocks["loss"] == pytest.approx(-np.log(softmax(blocks["logits"])[0]))
    np.testing.assert_allclose(blocks["batch_grad"].sum(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose(blocks["sigmoid_of_z"], blocks["softmax_of_two"], rtol=1e-14)
    np.testing.assert_allclose(blocks["shares"], softmax(blocks["scores"]), rtol=1e-14)
    np.testing.assert_allclose(blocks["sigmoids"], expit(blocks["scores"]), rtol=1e-14)


def test_softmax_must_choose_and_the_sigmoid_need_not(edited: Edit) -> None:
    blocks = sgdsheet.read(edited(NAME, {("scores", animal): -5 for animal in range(5)}))
    assert blocks["shares"] == pytest.approx(0.2)
    assert blocks["sum_of_sigmoids"] < 0.04


def test_the_gradient_is_of_what_its_head_says(edited: Edit) -> None:
    """The logits move the loss less, the higher the temperature; `grad` is with respect to what is scaled."""
    blocks = sgdsheet.read(edited(NAME, {"temperature": 4}))
    nudge, right = 1e-6, np.eye(5)[0]

    def loss(logits: np.ndarray) -> float:
        return -log_softmax(logits / 4) @ right

    slopes = [
        (loss(blocks["logits"] + each) - loss(blocks["logits"] - each)) / (2 * nudge) for each in nudge * np.eye(5)
    ]
    assert blocks["grad_logits"] == pytest.approx(slopes, abs=1e-8)
    assert blocks["grad"] == pytest.approx(4 * blocks["grad_logits"])


def test_your_own_logit_lies_on_the_curves(edited: Edit) -> None:
    blocks = sgdsheet.read(edited(NAME, {"your_z": -3.5, "network_z": 1.5}))
    row = blocks["z"].tolist().index(-3.5)
    for yours, curve in (
        ("your_p", "sigmoid_of_z"),
        ("your_loss_if_yes", "loss_if_yes"),
        ("your_loss_if_no", "loss_if_no"),
    ):
        assert blocks[yours] == blocks[curve][row]
    row = blocks["mistake_z"].tolist().index(1.5)
    for part, curve in (("entropy", "cross_entropy"), ("squared", "squared_error")):
        assert blocks[f"network_{part}"] == blocks[curve][row]
        assert blocks[f"network_{part}_grad"] == blocks[f"grad_{curve}"][row]


def test_adding_to_all_logits_changes_nothing(workbook: Workbook, edited: Edit) -> None:
    before, after = sgdsheet.read(workbook(NAME)), sgdsheet.read(edited(NAME, {"shift": 5}))
    np.testing.assert_allclose(after["softmax"], before["softmax"], atol=1e-15)
    assert (after["naive_exp"] > 100 * before["naive_exp"]).all()


@pytest.mark.parametrize("engine", ["ironcalc", pytest.param("libreoffice", marks=needs_soffice)])
def test_the_naive_form_fails_and_the_stable_one_does_not(edited: Edit, engine: str) -> None:
    path = edited(NAME, {"shift": 800})
    assert bad(path, engine) == {}
    blocks = sgdsheet.read(path, engine)
    assert np.isnan(blocks["naive_softmax"]).all()
    assert blocks["softmax"].sum() == pytest.approx(1)


def test_a_confident_mistake(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook(NAME))
    wrong = blocks["mistake_z"].argmin()
    assert blocks["grad_cross_entropy"][wrong] < -0.999
    assert abs(blocks["grad_squared_error"][wrong]) < 0.001
    assert blocks["squared_error"].max() <= 1 < 7 < blocks["cross_entropy"].max()


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.1, "label": 2},
        {"temperature": 10, "nudge": 1e-6},
        {"shift": -800},
        {"shift": 1000000.1, "label": 1},
        {("logits", 0): 100000.1, ("logits", 1): 100000, "label": 1},
        {("logits", 1): 709, "nudge": 1},
        {("logits", 1): 800},
        {"label_smoothing": 0.1, ("batch_label", 0): 2, ("batch_logits", 4): -900},
        {"label_smoothing": 1, "your_z": 1000, "network_z": -1000, ("scores", 2): 800},
        {("scores", animal): -800 for animal in range(5)},
    ],
)
def test_agrees_after_changes(edited: Edit, changes: dict[Any, Any]) -> None:
    assert bad(edited(NAME, changes)) == {}


def test_smoothing_leaves_no_loss_at_0(edited: Edit) -> None:
    sure = {("batch_logits", 3 * row + label): 30 for row, label in enumerate((0, 1, 2, 0, 1, 1))}
    assert sgdsheet.read(edited(NAME, sure))["batch_losses"].max() < 1e-9
    assert sgdsheet.read(edited(NAME, sure | {"label_smoothing": 0.1}))["batch_losses"].min() > 0.1


def test_labels_that_are_none(edited: Edit) -> None:
    with pytest.raises(sgdsheet.Error, match="expected a whole number at least 0 and at most 4"):
        sgdsheet.verify(edited(NAME, {"label": 5}))
    with pytest.raises(sgdsheet.Error, match="batch_label: expected whole numbers from 0 to 2, got 3"):
        sgdsheet.verify(edited(NAME, {("batch_label", 1): 3}))


def test_a_wrong_formula_is_named(edited: Edit) -> None:
    verdicts = bad(edited(NAME, {("grad_logits", 2): "=0.1"}))
    assert list(verdicts) == ["grad_logits"]
