"""What the losses and the error rates of a training say, in plain words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgdsheet.errors import Error
from trainer.show.text import share

FAR = 3.0  # times its start: a validation loss that is far above it
SURE_AND_WRONG = 12.0  # a loss worse than guessing blindly among 160,000 classes
COIN = math.log(2)  # the loss of guessing blindly between two classes
ALIKE = 0.02  # losses that differ by a smaller share count as equal
LEAP = 1.5  # times the lowest loss so far: one that is no zigzag
FEW, FEW_SHARE = 3, 0.05  # mistakes, and the share of the pictures, up to which one more or less is chance
ASSUMED = 100  # pictures to validate with, where their number is not given: better no alarm than a false one


@dataclass(frozen=True)
class Diagnosis:
    """What was found: `kind` in a few fixed words, `words` in two or three sentences with the figures."""

    kind: str
    words: str

    def __str__(self) -> str:
        return self.words


def diagnosis(
    history: Sequence[Mapping[str, float]], valid_count: int | None = None, *, softened: bool = False
) -> Diagnosis:
    """What a training's epochs show, and what to try next.

    Each row of `history` is an epoch: `epoch`, `train_loss`, `valid_loss`, `error_rate` (0 to 1), `lr`, and `frozen`,
    true where the head alone was trained. `valid_count` is the number of validation pictures: fewer make a noisier
    error rate (100 are assumed without it, as where `error_rate` counts decisions about several labels a picture).
    `softened` says that mixup, cutmix or label smoothing raised the training loss.

    Where the head was trained first, the epochs of all of the model are judged by themselves, as the losses may jump
    where they begin. The first of these that holds is the diagnosis:

    1. `fine`: no mistake is left, or so few that one more or less is chance.
    2. `rate too high`: a loss is not finite; or the validation loss ended far above its start, more than three times,
       while the training loss did not fall to a third of its own; or it ended worse than any guessing; or it leapt as
       far in one epoch, and nothing ended better than before; or all of the model made more mistakes than its head
       alone.
    3. `overfitting`: the error rate ended above its best by more than one standard error, and the training loss fell
       meanwhile. A validation loss that rises alone is not overfitting.
    4. `rate too low or too few epochs`: the training loss ended above the validation loss, by more than 2 %, and was
       not `softened`.
    5. `still improving`: the validation loss ended below all of it before the last third, by more than 2 % and by more
       than it rose in any epoch near that; or the error rate did, by more than one standard error. So is a single
       epoch, which has nothing to be compared with.
    6. `fine`: it levelled off.

    Raises `Error` if there is no epoch.
    """
    if not history:
        raise Error("diagnosis: expected the figures of at least one epoch, got none")
    broken = [row for row in history if not (math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"]))]
    begun = _begun(history)
    head, rows = history[:begun], history[begun:]
    rate, last = max(row["lr"] for row in rows), rows[-1]
    if broken:
        return _too_high(f"In epoch {broken[0]['epoch']:g} a loss was not a finite number any more.", rate)
    end = f"training loss {_loss(last['train_loss'])}, validation loss {_loss(last['valid_loss'])}"
    end += f", error rate {share(last['error_rate'])}"
    if few := _few(last["error_rate"], valid_count):
        return Diagnosis("fine", f"At the end: {end}. {few}")
    if seen := _astray(rows, valid_count) or _undone(head, rows, valid_count):
        return _too_high(seen, rate)

    best = min(rows, key=lambda row: row["error_rate"])
    worse = last["error_rate"] - best["error_rate"] > _noise(last["error_rate"], valid_count)
    if worse and last["train_loss"] < best["train_loss"]:
        return Diagnosis(
            "overfitting",
            f"The error rate was best after epoch {best['epoch']:g}, {share(best['error_rate'])}, and rose to "
            f"{share(last['error_rate'])}, while the training loss fell from {_loss(best['train_loss'])} to "
            f"{_loss(last['train_loss'])}. The model now learns its own pictures by heart instead of what they have in "
            "common. Train anew with fewer epochs, or with more pictures, stronger augmentation or more weight decay.",
        )
    # What a head alone cannot do, the rest of the model may.
    rest = " Or train all of the model, not the head alone." if last.get("frozen") else ""
    if not softened and last["train_loss"] > (1 + ALIKE) * last["valid_loss"]:
        return Diagnosis(
            "rate too low or too few epochs",
            f"At the end the training loss, {_loss(last['train_loss'])}, is above the validation loss, "
            f"{_loss(last['valid_loss'])} (error rate {share(last['error_rate'])}): the model has not yet learned all "
            f"that it can from its pictures. Train for more epochs, or with a learning rate above {rate:.2g}; find_lr "
            f"suggests one.{rest}",
        )
    if len(history) == 1:
        return Diagnosis(
            "still improving",
            f"After one epoch: {end}. A single epoch cannot show which way they go. Train on.{rest}",
        )
    # One epoch of all of the model can be compared with its head's alone.
    if falling := _falling(rows if len(rows) > 1 else history, valid_count):
        return Diagnosis(
            "still improving",
            f"At the end: {end}. {falling} Train on: more epochs will probably make it better.",
        )
    if len(rows) == 1:
        return Diagnosis(
            "still improving",
            f"After one epoch of all of the model: {end}. A single epoch cannot show which way they go. Train on.",
        )
    return Diagnosis(
        "fine",
        f"At the end: {end}. It has levelled off{'' if worse else ', and the error rate is not getting worse'}. To get "
        f"further, more epochs alone will hardly help: try more pictures, larger ones, or a larger model.{rest}",
    )


def _begun(history: Sequence[Mapping[str, float]]) -> int:
    """Where the last epochs begin that trained the same part of the model."""
    same = bool(history[-1].get("frozen"))
    return max((n for n, row in enumerate(history, start=1) if bool(row.get("frozen")) != same), default=0)


def _astray(rows: Sequence[Mapping[str, float]], valid_count: int | None) -> str:
    """What shows that the loss went up instead of down; nothing where it did not."""
    first, last = rows[0], rows[-1]
    loss = _loss(last["valid_loss"])
    if last["valid_loss"] > FAR * first["valid_loss"] and last["train_loss"] > first["train_loss"] / FAR:
        return f"The validation loss ended at {loss}, far above the {_loss(first['valid_loss'])} that it started from."
    if last["valid_loss"] > SURE_AND_WRONG:
        return f"The validation loss ended at {loss}: worse than guessing."
    for number in range(1, len(rows)):
        best = min(rows[:number], key=lambda row: row["valid_loss"])
        fewer = _fewer(min(row["error_rate"] for row in rows[:number]), last["error_rate"], valid_count)
        gained = fewer or last["valid_loss"] < best["valid_loss"] or last["train_loss"] <= best["train_loss"] / FAR
        if _leapt(rows, number, best["valid_loss"]) and not gained:
            leap = rows[number]
            seen = f"In epoch {leap['epoch']:g} the validation loss leapt to {_loss(leap['valid_loss'])}"
            before = f"the {_loss(best['valid_loss'])} of epoch {best['epoch']:g}"
            return f"{seen}, far above {before}." if leap is last else f"{seen}, and ended not below {before}."
    return ""


def _leapt(rows: Sequence[Mapping[str, float]], number: int, best: float) -> bool:
    """Whether a validation loss stands out: far above the best before, and above the last one or the one before."""
    beside = rows[-1] if number < len(rows) - 1 else rows[number - 1]
    loss = rows[number]["valid_loss"]
    return loss > FAR * max(best, beside["valid_loss"]) and loss > COIN


def _undone(head: Sequence[Mapping[str, float]], rows: Sequence[Mapping[str, float]], valid_count: int | None) -> str:
    """What shows that training all of the model undid what its head had learned; nothing where it did not."""
    if not head or rows[-1].get("frozen"):
        return ""
    alone, best = (min(part, key=lambda row: row["error_rate"]) for part in (head, rows))
    if not _fewer(best["error_rate"], alone["error_rate"], valid_count):
        return ""
    return (
        f"With the head alone the error rate was {share(alone['error_rate'])} after epoch {alone['epoch']:g}; with all "
        f"of the model it ended at {share(rows[-1]['error_rate'])}."
    )


def _few(error_rate: float, valid_count: int | None) -> str:
    """What to do where hardly a mistake is left; nothing where there are some."""
    if error_rate == 0:
        them = f"the {valid_count:,} validation pictures" if valid_count else "these validation pictures"
        return f"There is nothing left to gain on {them}: no mistake. Other pictures may show some; try it on new ones."
    mistakes = round(error_rate * valid_count) if valid_count else 0
    if not 0 < mistakes <= FEW or error_rate > FEW_SHARE:
        return ""
    count = f"{mistakes} mistake" + ("s" if mistakes > 1 else "")
    return (
        f"{count} in {valid_count:,} pictures can hardly tell a better training from a worse one. Look at "
        f"{'them' if mistakes > 1 else 'it'} in top_losses: are the labels right? More validation pictures would show "
        "what is left to gain."
    )


def _falling(rows: Sequence[Mapping[str, float]], valid_count: int | None) -> str:
    """What was still falling at the end; nothing where that levelled off."""
    third = max(1, len(rows) // 3)
    earlier, last = rows[:-third], rows[-1]
    best = min(earlier, key=lambda row: row["valid_loss"])
    # A zigzag falls in every other epoch; a leap says nothing of that.
    calm = [row["valid_loss"] for row in rows if row["valid_loss"] <= LEAP * best["valid_loss"]]
    rise = max((after - before for before, after in itertools.pairwise(calm)), default=0.0)
    if last["valid_loss"] < best["valid_loss"] - max(ALIKE * best["valid_loss"], rise):
        what = f"The validation loss was still falling, from {_loss(best['valid_loss'])} after epoch {best['epoch']:g} "
        return what + f"to {_loss(last['valid_loss'])}."
    best = min(earlier, key=lambda row: row["error_rate"])
    if _fewer(best["error_rate"], last["error_rate"], valid_count):
        what = f"The error rate was still falling, from {share(best['error_rate'])} after epoch {best['epoch']:g} "
        return what + f"to {share(last['error_rate'])}."
    return ""


def _fewer(before: float, after: float, valid_count: int | None) -> bool:
    """Whether an error rate fell by more than chance."""
    return before - after > _noise(before, valid_count)


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
