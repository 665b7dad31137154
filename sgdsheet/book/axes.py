"""Axes that end where the numbers end, as far as these are the same whatever a reader types.

A program that chooses an axis by itself goes from -10 to 10 for numbers from -8 to 8. An axis whose ends are written
down stays as it is when a chart's numbers grow, so only those of steady numbers are: of steps, say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from xml.sax.saxutils import unescape

import numpy as np

from sgdsheet.book.charted import numbers_of
from sgdsheet.book.dependencies import steady
from sgdsheet.book.register import parse_place
from sgdsheet.book.sheet import Book
from sgdsheet.expr import Range

MARKS = 10  # on an axis, about, at most
_X_AXIS = re.compile(rb'(<valAx><axId val="10"></axId><scaling>)(<orientation val="minMax"></orientation>)(</scaling>)')


class Axes:
    """Fits the x axes of a book's charts."""

    def __init__(self, book: Book) -> None:
        known = steady(book)
        self._steady = [panel for name in known for panel in book.blocks[name].panels]

    def fitted(self, part: bytes, sheets: Mapping[str, np.ndarray]) -> bytes:
        """A chart's part with the ends of its x axis, if nothing that is typed moves them.

        `sheets` has the values of each sheet by its name, from its first cell on.
        """
        places = [unescape(each.decode()) for each in re.findall(rb"<xVal><numRef><f>([^<]*)</f>", part)]
        if not places or not all(map(self._is_steady, places)):
            return part
        numbers = [number for place in places for number in numbers_of(place, sheets) if number is not None]
        if not numbers or min(numbers) == max(numbers):
            return part
        low, high, unit = ends(min(numbers), max(numbers))
        limits = f'<max val="{high!r}"></max><min val="{low!r}"></min>'.encode()
        part, count = _X_AXIS.subn(rb"\1\2" + limits + rb"\3", part, count=1)
        return _with_unit(part, unit) if count else part

    def _is_steady(self, place: str) -> bool:
        (held,) = parse_place(place)
        return any(each.sheet == held.sheet and _within(held, each) for each in self._steady)


def ends(low: float, high: float) -> tuple[float, float, float]:
    """Where an axis for numbers from `low` to `high` begins and ends, and how far apart its marks are."""
    if 0 < low < 0.2 * high:
        low = 0.0
    rough = (high - low) / MARKS
    power = 10 ** math.floor(math.log10(rough))
    unit = power * next(step for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))
    return math.floor(low / unit + 1e-9) * unit, high, unit


def _with_unit(part: bytes, unit: float) -> bytes:
    """The marks of the x axis so far apart: the last thing but one that an axis says."""
    start = part.index(b'<valAx><axId val="10">')
    end = part.index(b"</valAx>", start)
    axis = part[start:end]
    return part[:start] + axis + f'<majorUnit val="{unit!r}"></majorUnit>'.encode() + part[end:]


def _within(one: Range, other: Range) -> bool:
    down = other.top <= one.top and one.bottom <= other.bottom
    return down and other.left <= one.left and one.right <= other.right
