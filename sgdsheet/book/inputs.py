"""What a reader may change in a workbook, and what makes sense there."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from sgdsheet.errors import Error


@dataclass(frozen=True)
class Input:
    """A cell for the reader to type into.

    `value` is what stands there at first, `meaning` one plain sentence beside it. A number must be at least `minimum`,
    above `above`, at most `maximum` and below `below` (each optional), and `whole` if so said; a text must be one of
    `choices`, which become a drop-down. A `fixed` one decides which formulas there are: it is chosen when the workbook
    is made and stands in it for the reader to see.
    """

    name: str
    value: float | str
    meaning: str
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()
    fixed: bool = False

    @property
    def expects(self) -> str:
        """What may stand here, in words: `a number above 0`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", self.minimum),
                ("above", self.above),
                ("at most", self.maximum),
                ("below", self.below),
            )
            if bound is not None
        ]
        kind = "a whole number" if self.whole else "a number"
        return kind + (" " + " and ".join(bounds) if bounds else "")

    def check(self, value: Any, where: str) -> float | str:
        """`value` if it may stand here. Raises `Error`, naming `where`, if not."""
        if self.choices:
            if value in self.choices:
                return value
        elif isinstance(value, numbers.Real) and not isinstance(value, bool) and self.fits(float(value)):
            return value if isinstance(value, (int, float)) else float(value)  # numpy's numbers are none of Python's
        raise Error(f"{where}: expected {self.expects}, got {_said(value)}")

    def parse(self, text: str, where: str) -> float | str:
        """The value that `text` stands for. Raises `Error`, naming `where`, if it is none that may stand here."""
        if self.choices:
            return self.check(text, where)
        try:
            number = float(text)
        except ValueError:
            raise Error(f"{where}: expected {self.expects}, got {_said(text)}") from None
        return self.check(int(number) if number.is_integer() and abs(number) < 2**53 else number, where)

    def fits(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (not self.whole or number.is_integer())
            and (self.minimum is None or number >= self.minimum)
            and (self.above is None or number > self.above)
            and (self.maximum is None or number <= self.maximum)
            and (self.below is None or number < self.below)
        )


def _said(value: Any) -> str:
    """A value as an error message shows it."""
    if value is None:
        return "a blank cell"
    return f"the text {value!r}" if isinstance(value, str) else str(value)
