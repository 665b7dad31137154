from __future__ import annotations

import math

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
