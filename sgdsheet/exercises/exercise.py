"""What an exercise is, and what it says of the mistakes that are made most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdsheet.errors import Error

RIGHT, NOT_YET, WRONG, NO_NUMBER = "right", "not yet", "not right", "no number: a text or an error"
LEVELS = (1, 2, 3)


class Reads:
    """What stands in a workbook, as a hint reads it: `t.loss` is a block, `t.answer` what the exercise should hold.

    Blocks are arrays of references when a workbook is made, of numbers when it is graded; `t["Adam_grad"]` reads one
    whose name is put together.
    """

    def __init__(self, block: Callable[[str], np.ndarray], answer: np.ndarray) -> None:
        self._block, self._answer = block, answer

    def __getitem__(self, name: str) -> Any:
        return self._answer if name == "answer" else self._block(name)

    __getattr__ = __getitem__


Hint = Callable[[Reads], Any]

# Of any exercise; a lesson's own come before.
COMMON: Mapping[str, Hint] = {
    "the sign is wrong": lambda t: -t.answer,
    "twice too large": lambda t: 2 * t.answer,
    "only half of it": lambda t: t.answer / 2,
    "wrong sign, and twice too large": lambda t: -2 * t.answer,
    "wrong sign, and only half of it": lambda t: -t.answer / 2,
}


@dataclass(frozen=True)
class Exercise:
    """A block whose formulas are left for the learner to write.

    Arguments:
      block: its name. None of the cells that it reads may be made an error by a blank, which counts as 0.
      level: the lowest level at which it is left blank, 1 to 3.
      ask: the task in words, for the first sheet.
      hints: what to say, in a few words, and the mistake that it is said of: a function of the workbook's blocks, as in
        `{"x is missing": lambda t: 2 * (t.y_hat - t.y)}`.
      at: an index of the block where only part of it is left blank.
      conceal: phrases that would give it away, to be left out of the workbook's texts.
    """

    block: str
    level: int
    ask: str
    hints: Mapping[str, Hint] = field(default_factory=dict)
    at: Any = ()
    conceal: Sequence[str] = ()

    def mistakes(self, reads: Reads) -> dict[str, np.ndarray]:
        """What the block would hold for each known mistake, in its own shape, by what is said of it."""
        shape = np.shape(reads.answer)
        found = {text: hint(reads) for text, hint in {**self.hints, **COMMON}.items()}
        return {text: np.broadcast_to(np.asarray(wrong), shape) for text, wrong in found.items()}


def chosen(name: str, exercises: Iterable[Exercise], level: int) -> list[Exercise]:
    """Returns the exercises of a lesson up to a level. Raises `Error` for a level that is none of 1, 2 and 3."""
    if isinstance(level, bool) or level not in LEVELS:
        raise Error(f"{name}: expected a level of 1, 2 or 3, got {level!r}")
    return [each for each in exercises if each.level <= level]
