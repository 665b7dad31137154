"""What the losses and the error rates of a training say, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgdsheet.errors import Error

FAR = 3.0  # times its start: a validation loss that is far above it
SURE_AND_WRONG = 12.0  # a loss worse than guessing blindly among 160,000 classes
ALIKE = 0.02  # losses that differ by a smaller share count as equal
ASSUMED = 100  # pictures to validate with, where their number is not given: better no alarm than a false one


@dataclass(frozen=True)
class Diagnosis:
    """What was found: `kind` in a few fixed words, `words` in two or three sentences with the figures."""

    kind: str
    words: str

    def __str__(self) -> str:
        return self.words


def diagnosis(history: Sequence[Mapping[str, float]], valid_count: int | None = None) -> Diagnosis:
    """What a training's epochs show, and what to try next.

    Each row of `history` is an epoch: `epoch`, `train_loss`, `valid_loss`, `error_rate` (0 to 1), `lr`. `valid_count`
    is the number of validation pictures: fewer make a noisier error rate (100 are assumed without it). The first of
    these that holds is the diagnosis:

    1. `rate too high`: a loss is not finite; or the validation loss ended far above its start, more than three times,
       while the training loss did not fall to a third of its own; or it ended worse than any guessing.
    2. `overfitting`: the error rate ended above its best by more than one standard error, and the training loss fell
       meanwhile. A validation loss that rises alone is not overfitting.
    3. `rate too low or too few epochs`: the training loss ended above the validation loss, by more than 2 %.
    4. `still improving`: in the last third the validation loss fell by more than 2 %, or the error rate by more than
       one standard error. So is a single epoch, which has nothing to be compared with.
    5. `fine`: it levelled off.

    Raises `Error` if there is no epoch.
    """
    if not history:
        raise Error("diagnosis: expected the figures of at least one epoch, got none")
    first, last = history[0], history[-1]
    best = min(history, key=lambda row: row["error_rate"])
    before = history[-1 - max(1, len(history) // 3)] if len(history) > 1 else last
    rate = max(row["lr"] for row in history)

    broken = [row for row in history if not (math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"]))]
    if broken:
        return _too_high(f"In epoch {broken[0]['epoch']:g} a loss was not a finite number any more.", rate)
    far = last["valid_loss"] > FAR * first["valid_loss"] and last["train_loss"] > first["train_loss"] / FAR
    if far or last["valid_loss"] > SURE_AND_WRONG:
        seen = f"The validation loss ended at {_loss(last['valid_loss'])}"
        seen += (
            f", far above the {_loss(first['valid_loss'])} that it started from." if far else ": worse than guessing."
        )
        return _too_high(seen, rate)

    losses = f"training loss {_loss(last['train_loss'])}, validation loss {_loss(last['valid_loss'])}"
    error = f"error rate {last['error_rate']:.1%}"
    worse = last["error_rate"] - best["error_rate"] > _noise(last["error_rate"], valid_count)
    if worse and last["train_loss"] < best["train_loss"]:
        return Diagnosis(
            "overfitting",
            f"The error rate was best after epoch {best['epoch']:g}, {best['error_rate']:.1%}, and rose to "
            f"{last['error_rate']:.1%}, while the training loss fell from {_loss(best['train_loss'])} to "
            f"{_loss(last['train_loss'])}. The model now learns its own pictures by heart instead of what they have in "
            "common. Train anew with fewer epochs, or with more pictures, stronger augmentation or more weight decay.",
        )
    if last["train_loss"] > (1 + ALIKE) * last["valid_loss"]:
        return Diagnosis(
            "rate too low or too few epochs",
            f"At the end the training loss, {_loss(last['train_loss'])}, is above the validation loss, "
            f"{_loss(last['valid_loss'])} ({error}): the model has not yet learned all that it can from its pictures. "
            f"Train for more epochs, or with a learning rate above {rate:.2g}; find_lr suggests one. "
            "(Mixup, cutmix and label smoothing raise the training loss too: with them this says little.)",
        )
    if len(history) == 1:
        return Diagnosis(
            "still improving",
            f"After one epoch: {losses}, {error}. A single epoch cannot show which way they go. Train on.",
        )
    less_loss = last["valid_loss"] < (1 - ALIKE) * before["valid_loss"]
    fewer_errors = before["error_rate"] - last["error_rate"] > _noise(before["error_rate"], valid_count)
    if less_loss or fewer_errors:
        what, key, say = ("validation loss", "valid_loss", _loss) if less_loss else ("error rate", "error_rate", _share)
        return Diagnosis(
            "still improving",
            f"At the end: {losses}, {error}. The {what} was still falling, from {say(before[key])} after epoch "
            f"{before['epoch']:g} to {say(last[key])}. Train on: more epochs will probably make it better.",
        )
    return Diagnosis(
        "fine",
        f"At the end: {losses}, {error}. It has levelled off, and the error rate is not getting worse. To get further, "
        "more epochs alone will hardly help: try more pictures, larger ones, or a larger model.",
    )


def _too_high(seen: str, rate: float) -> Diagnosis:
    return Diagnosis(
        "rate too high",
        f"{seen} With steps so large the training jumps over what it looks for: the learning rate, {rate:.2g}, is too "
        f"high. Begin anew with a tenth of it, {rate / 10:.2g}; find_lr suggests one.",
    )


def _noise(error_rate: float, valid_count: int | None) -> float:
    """One standard error of an error rate measured on so many pictures, above 0 even where no picture was wrong."""
    count = valid_count or ASSUMED
    share = (error_rate * count + 1) / (count + 2)
    return math.sqrt(share * (1 - share) / count)


def _loss(value: float) -> str:
    return f"{value:.3g}"


def _share(value: float) -> str:
    return f"{value:.1%}"
