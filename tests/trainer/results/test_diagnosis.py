from __future__ import annotations

import math

import numpy as np
import pytest

from sgdsheet.errors import Error
from trainer.results.diagnosis import diagnosis

TOO_HIGH, TOO_LOW = "rate too high", "rate too low or too few epochs"
OVERFITTING, IMPROVING, FINE = "overfitting", "still improving", "fine"


def history(train: list[float], valid: list[float], errors: list[float], lr: float = 3e-3) -> list[dict[str, float]]:
    rows = zip(train, valid, errors, strict=True)
    return [
        {"epoch": epoch, "train_loss": a, "valid_loss": b, "error_rate": c, "lr": lr}
        for epoch, (a, b, c) in enumerate(rows, start=1)
    ]


@pytest.mark.parametrize(
    ("train", "valid", "errors", "kind"),
    [
        # The figures of fast.ai's lesson 2 for bears, as its notebook shows them.
        ([12.220007], [1144188288.0], [0.765957], TOO_HIGH),
        ([1.349151, 1.373262, 1.346169, 1.334486, 1.320978], [1.062807, 1.045115, 1.006288, 0.978713, 0.978108],
         [0.609929, 0.546099, 0.468085, 0.453901, 0.446809], TOO_LOW),
        ([1.030236, 0.561508, 0.396103, 0.316883], [0.179226, 0.055464, 0.053801, 0.050197],
         [0.028369, 0.014184, 0.014184, 0.021277], TOO_LOW),
        ([0.6], [0.12], [0.05], TOO_LOW),
        # A learning rate that is too high in other ways.
        ([0.9, math.nan], [0.8, math.nan], [0.3, 0.7], TOO_HIGH),
        ([0.9, math.inf, 0.8], [0.8, 0.9, 0.7], [0.3, 0.3, 0.2], TOO_HIGH),
        ([1.2, 1.0, 0.9], [0.8, 2.0, 5.2], [0.3, 0.5, 0.6], TOO_HIGH),
        # The validation loss rises, but the error rate does not: no overfitting.
        ([0.5, 0.3, 0.1, 0.05], [0.4, 0.35, 0.4, 0.5], [0.2, 0.15, 0.12, 0.08], IMPROVING),
        ([0.5, 0.3, 0.1, 0.05], [0.4, 0.35, 0.4, 0.5], [0.2, 0.12, 0.12, 0.12], FINE),
        # By heart: far above its start, but the training loss is gone.
        ([0.5, 0.3, 0.1, 0.01], [0.4, 0.35, 0.7, 1.5], [0.2, 0.12, 0.16, 0.21], OVERFITTING),
        ([0.5, 0.3, 0.1, 0.05], [0.4, 0.35, 0.4, 0.5], [0.2, 0.12, 0.16, 0.19], OVERFITTING),
        # The error rate rises and so does the training loss: that is not learning by heart.
        ([0.2, 0.1, 0.21, 0.3], [0.4, 0.35, 0.38, 0.4], [0.2, 0.12, 0.16, 0.19], FINE),
        ([1.0, 0.6, 0.4], [0.9, 0.65, 0.5], [0.3, 0.2, 0.15], IMPROVING),
        ([0.5, 0.3, 0.2, 0.19, 0.19, 0.19], [0.4, 0.3, 0.25, 0.25, 0.25, 0.25], [0.2, 0.1, 0.1, 0.1, 0.1, 0.1], FINE),
        ([0.3], [0.4], [0.1], IMPROVING),
        ([0.4], [0.4], [0.1], IMPROVING),
        ([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], FINE),
    ],
)  # fmt: skip
def test_kinds(train: list[float], valid: list[float], errors: list[float], kind: str) -> None:
    assert diagnosis(history(train, valid, errors)).kind == kind


@pytest.mark.parametrize(
    ("valid", "kind"),
    [
        ([2.02, 17.8, 2.67], TOO_HIGH),
        ([2.02, 17.8, 9.0, 4.0, 2.1], TOO_HIGH),
        ([0.5, 0.3, 0.25, 6.0], TOO_HIGH),
        ([0.02, 0.08, 0.03], FINE),
        ([1.0, 0.8, 0.6, 5.0, 0.5, 0.45], IMPROVING),
        ([1.0, 0.8, 0.6, 0.55, 5.0, 0.4], IMPROVING),
        ([1.0, 0.8, 0.6, 1.2, 0.5, 0.45], IMPROVING),
        ([1.0, 0.8, 0.9, 0.6, 0.7, 0.4], IMPROVING),
        ([0.5, 0.6, 0.5], FINE),
        ([0.5, 0.7] * 5, FINE),
        ([0.7, 0.5] * 5, FINE),
        ([0.30, 0.31, 0.295, 0.285], FINE),
        ([0.9, 0.3, 0.315, 0.29, 0.31, 0.297, 0.28], FINE),
        ([0.5, 0.4, 0.45, 0.44, 0.43, 0.42], FINE),
        ([0.5, 0.4], IMPROVING),
        ([0.5, 0.5], FINE),
    ],
)
def test_falling_is_below_all_of_it_before(valid: list[float], kind: str) -> None:
    # The training loss is always below, and the error rate stays.
    rows = history([0.9 * min(valid)] * len(valid), valid, [0.3] * len(valid))
    assert diagnosis(rows, 400).kind == kind


def test_noise_is_no_fall() -> None:
    rng = np.random.default_rng(0)
    for count, most in ((4, 30), (6, 12), (12, 5)):
        plateaus = 0.3 * np.exp(rng.normal(0, 0.05, (200, count)))
        found = [diagnosis(history([0.2] * count, each.tolist(), [0.1] * count)).kind for each in plateaus]
        assert found.count(IMPROVING) <= most
        falls = plateaus * np.exp(-1.5 * np.arange(count) / count)
        assert {diagnosis(history([0.02] * count, each.tolist(), [0.1] * count)).kind for each in falls} == {IMPROVING}


@pytest.mark.parametrize(
    ("train", "valid", "errors", "frozen", "kind", "said"),
    [
        # Unfreezing: the losses leap, and fall again.
        ([0.4, 0.3, 0.9, 0.4, 0.2], [0.5, 0.3, 1.4, 0.6, 0.3], [0.1, 0.06, 0.2, 0.1, 0.06], 2, IMPROVING, "from 0.6"),
        # Each of the two levelled off.
        ([0.3, 0.2, 0.2, 0.2], [0.4, 0.25, 0.25, 0.25], [0.1, 0.06, 0.06, 0.06], 1, FINE, "levelled off"),
        ([0.3, 0.2, 0.15], [0.4, 0.3, 0.29], [0.1, 0.06, 0.06], 1, IMPROVING, "from 0.3"),
        # One epoch of all of the model, better than its head alone, and not.
        ([0.3, 0.2], [0.4, 0.3], [0.1, 0.06], 1, IMPROVING, "from 0.4 after epoch 1"),
        ([0.3, 0.2], [0.4, 0.4], [0.1, 0.1], 1, IMPROVING, "After one epoch of all of the model"),
        # Worse than the head alone.
        ([0.4, 0.2], [0.3, 0.9], [0.035, 0.189], 1, TOO_HIGH, "With the head alone the error rate was 3.5%"),
        ([0.4, 0.3, 0.2], [0.3, 0.9, 0.6], [0.035, 0.25, 0.15], 1, TOO_HIGH, "ended at 15.0%"),
        # By heart, after the head was left behind.
        ([0.4, 0.3, 0.1, 0.05], [0.5, 0.3, 0.3, 0.5], [0.2, 0.1, 0.05, 0.15], 1, OVERFITTING, "after epoch 3"),
        # The head alone.
        ([0.3, 0.2, 0.2], [0.4, 0.3, 0.3], [0.1, 0.06, 0.06], 3, FINE, "train all of the model"),
        ([0.9, 0.9, 0.9], [0.4, 0.3, 0.3], [0.1, 0.06, 0.06], 3, TOO_LOW, "train all of the model"),
    ],
)
def test_the_head_alone_and_then_all(
    train: list[float], valid: list[float], errors: list[float], frozen: int, kind: str, said: str
) -> None:
    rows = [row | {"frozen": row["epoch"] <= frozen} for row in history(train, valid, errors)]
    found = diagnosis(rows, 400)
    assert found.kind == kind
    assert said in found.words


@pytest.mark.parametrize("train", [0.6, 0.01])
@pytest.mark.parametrize("valid", [[0.02], [0.3, 0.02], [0.02, 0.3]])
def test_no_mistake_leaves_nothing_to_gain(train: float, valid: list[float]) -> None:
    found = diagnosis(history([train] * len(valid), valid, [0.1, 0.0][-len(valid) :]), 90)
    assert found.kind == FINE
    assert "nothing left to gain on the 90 validation pictures" in found.words
    assert "Train" not in found.words
    assert "these validation pictures" in diagnosis(history([0.6], [0.02], [0.0])).words


@pytest.mark.parametrize(
    ("mistakes", "valid_count", "kind", "said"),
    [
        (1, 90, FINE, "1 mistake in 90 pictures can hardly tell"),
        (3, 400, FINE, "3 mistakes in 400 pictures"),
        (3, 30, TOO_LOW, "more epochs"),
        (4, 400, TOO_LOW, "more epochs"),
    ],
)
def test_few_mistakes_cannot_tell_trainings_apart(mistakes: int, valid_count: int, kind: str, said: str) -> None:
    rows = history([1.0, 0.5], [0.2, 0.1], [0.2, mistakes / valid_count])
    found = diagnosis(rows, valid_count)
    assert found.kind == kind
    assert said in found.words


def test_a_training_loss_that_was_raised_on_purpose_says_nothing() -> None:
    rows = history([1.0, 0.9, 0.9], [0.4, 0.2, 0.2], [0.2, 0.1, 0.1])
    assert diagnosis(rows, 400).kind == TOO_LOW
    assert diagnosis(rows, 400, softened=True).kind == FINE


@pytest.mark.parametrize(
    ("valid_count", "kind"), [(40, FINE), (None, FINE), (10_000, OVERFITTING)], ids=["few", "unknown", "many"]
)
def test_a_worsening_within_one_standard_error_is_noise(valid_count: int | None, kind: str) -> None:
    rows = history([0.5, 0.3, 0.1], [0.4, 0.35, 0.4], [0.2, 0.1, 0.13])
    assert diagnosis(rows, valid_count).kind == kind


def test_one_picture_more_is_noise_even_after_no_mistake_at_all() -> None:
    rows = history([0.5, 0.3, 0.1], [0.4, 0.35, 0.36], [0.2, 0.0, 0.01])
    assert diagnosis(rows, 100).kind == FINE


def test_a_training_that_goes_on_falling_by_noise_has_levelled_off() -> None:
    rows = history([0.5, 0.2, 0.19, 0.18], [0.4, 0.251, 0.25, 0.249], [0.2, 0.11, 0.105, 0.1])
    assert diagnosis(rows, 200).kind == FINE


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (history([0.9, 0.9], [0.8, 9.1], [0.3, 0.7], lr=0.5), ["9.1", "0.8", "0.5,", "0.05", "find_lr"]),
        (history([12.2], [1.1e9], [0.7]), ["1.1e+09", "worse than guessing"]),
        (history([0.9, math.nan], [0.8, 0.8], [0.3, 0.7]), ["epoch 2", "not a finite number"]),
        (history([0.9, 0.7], [0.5, 0.4], [0.3, 0.2]), ["0.7", "0.4", "20.0%", "0.003", "more epochs"]),
        (history([0.5, 0.3, 0.1], [0.4, 0.3, 0.4], [0.2, 0.1, 0.2]), ["epoch 2", "10.0%", "20.0%", "0.3 to 0.1"]),
        (history([0.5, 0.3], [0.6, 0.4], [0.2, 0.1]), ["from 0.6", "epoch 1", "to 0.4", "Train on"]),
        (history([0.5, 0.3, 0.1], [0.4, 0.3, 0.4], [0.2, 0.15, 0.1]), ["error rate was still falling", "from 15.0%"]),
        (history([0.2, 0.2], [0.3, 0.3], [0.1, 0.1]), ["0.2", "0.3", "10.0%", "levelled off"]),
    ],
)
def test_the_words_give_the_figures_and_what_to_try(rows: list[dict[str, float]], said: list[str]) -> None:
    words = diagnosis(rows).words
    assert [part for part in said if part not in words] == []
    assert "\n" not in words
    assert words.endswith((".", ")"))


def test_no_epoch() -> None:
    with pytest.raises(Error, match="at least one epoch"):
        diagnosis([])
