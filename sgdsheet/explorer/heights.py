"""How high rows are of which the file says nothing: programs make room for the largest letters, and for every line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from sgdsheet.book.geometry import text_lines
from sgdsheet.explorer.layout import Grid
from sgdsheet.explorer.styles import Styles

_LINE = 1.3  # the height of a line, in that of its letters
_ROOM = 5  # pixels of a cell's width that its text does not have
_BOLD = 1.03


def fit(grid: Grid, styles: Styles, read: Callable[[int, int, int], Sequence[Any]]) -> None:
    """Gives rows without a height the one that they need, if it is more than usual.

    Of a cell that is one with others nothing is counted, but for the letters of one that has a single row. `read` has
    the values of a row between two columns.
    """
    sizes = [look.get("size", 11) * 4 / 3 for look in styles.looks]
    wraps = {number for number, look in enumerate(styles.looks) if look.get("wrap")}
    notable = wraps | {number for number, size in enumerate(sizes) if _LINE * size > grid.height}
    for row, held in grid.styles.items() if notable else ():
        if row in grid.heights or not (cells := {column: style for column, style in held.items() if style in notable}):
            continue
        need = 0
        for top, left, bottom, right in (each for each in grid.merged if each[0] <= row <= each[2]):
            for column in [column for column in cells if left <= column <= right]:
                style = cells.pop(column)
                need = max(need, math.ceil(_LINE * sizes[style]) if top == bottom else 0)
        long = [column for column, style in cells.items() if style in wraps and (row, column) in grid.texts]
        texts = read(row, min(long), max(long)) if long else ()
        for column, style in cells.items():
            count = 1
            if column in long:
                look, room = styles.looks[style], max(1, grid.column(column) - _ROOM)
                points = look.get("size", 11) * (_BOLD if look.get("bold") else 1)
                count = sum(text_lines(part, points, room) for part in str(texts[column - min(long)]).split("\n"))
            need = max(need, count * math.ceil(_LINE * sizes[style]))
        if need > grid.height:
            grid.heights[row] = need
