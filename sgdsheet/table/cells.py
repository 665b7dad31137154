"""A table's cells on a sheet: heads, cells to type into, and what the model sees of them, as formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import PRECISE, SPARSE, Input, Sheet, Typed
from sgdsheet.book.style import head
from sgdsheet.book.style import typed as typed_look
from sgdsheet.expr import Call
from sgdsheet.lessons.flow import Named
from sgdsheet.table.plan import DATE, Cell, Column, Plan
from sgdsheet.table.plan import TEXT as TEXTS
from sgdsheet.table.training import (
    shortened,
)
from sgdsheet.tensor import equal, greater, largest, mean, smallest, sqrt, where

DAY = "yyyy-mm-dd"
WIDEST = 18  # characters of a column
RULES = 250  # characters of a drop-down's choices; Excel takes 255


def heads(
    sheet: Sheet, row: int, left: int, names: Sequence[str], role: str, below: Sequence[Sequence[Cell]] = ()
) -> None:
    """Names above columns, which become wide enough for them and for what stands `below`."""
    lines = 1.0
    for offset, name in enumerate(shortened(names)):
        longest = max((len(str(held[offset])) for held in below[:200] if held[offset] is not None), default=0)
        word = max(map(len, name.split())) if name.split() else 0
        width = min(WIDEST, max(9, 1.1 * longest + 1, 1.2 * word + 1.5, len(name) * 0.7))
        sheet.write(row, left + offset, name, head(role))
        sheet.width(left + offset, width)
        lines = max(lines, math.ceil(len(name) * 1.2 / width))
    sheet.row_heights[row] = max(sheet.row_heights.get(row, 0), 15.5 * lines + 3)


def to_type(rows: Sequence[Sequence[Cell]], plan: Plan | None = None) -> np.ndarray:
    """The cells for the reader to type into, with drop-downs for texts where there is a plan."""
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    specs = [choices(column) for column in plan.columns] if plan else [None] * len(rows[0])
    for place in np.ndindex(array.shape):
        held = rows[place[0]][place[1]]
        array[place] = Typed("" if held is None else held, specs[place[1]])
    return array


def choices(column: Column) -> Input | None:
    if column.kind != TEXTS or any(mark in level for level in column.levels for mark in ',"'):
        return None
    if len(",".join(column.levels)) > RULES:
        return None
    return Input(column.name[:30], column.levels[0], "what the model knows", choices=column.levels)


def show_days(sheet: Sheet, plan: Plan, rows: Sequence[Sequence[Cell]], top: int, left: int) -> None:
    """Gives the cells of dates the look of dates."""
    for offset, column in enumerate(plan.columns):
        if column.kind == DATE:
            for down, row in enumerate(rows):
                held = row[offset]
                sheet.write(top + down, left + offset, "" if held is None else held, typed_look(DAY))
            sheet.width(left + offset, 12)


def filled_cells(sheet: Sheet, name: str, plan: Plan, cells: Any, median: Any, row: int, column: int) -> Any:
    """The columns of numbers with something in every cell."""
    given = cells[:, plan.numbers]
    words = "the cell of the table, or the median where it is blank"
    return sheet.place(
        name, where(equal(given, ""), median, given), "data", row, column, words=words, number_format=PRECISE
    )


def seen_cells(
    sheet: Sheet, name: str, plan: Plan, cells: Any, filled: Any, known: Named, row: int, column: int
) -> Any:
    """What the model sees of each row."""
    shape = (len(cells), len(plan.features))
    words = "numbers: (filled - mean) / std; of texts 1 for the one it is, 0 for the others"
    x = sheet.block(name, shape, "activation", row, column, words=words, torch="x")
    array = np.empty(shape, dtype=object)
    at, number = 0, 0
    for own, each in zip(cells.T, plan.columns, strict=True):
        if each.kind == TEXTS:
            begun = at
            for level in each.levels:
                array[:, at], at = where(equal(own, level), 1, 0), at + 1
            if each.gap:
                array[:, at], at = where(equal(own, ""), 1, 0), at + 1
            if each.rest:
                array[:, at], at = [1 - tensor.sum(line[begun:at]) for line in x], at + 1
        else:
            value = filled[:, number]
            array[:, at], at = (value - known.mean[number]) / known.std[number], at + 1
            if each.kind == DATE:
                array[:, at], at = [(Call("MONTH", day) - 6.5) / 3.5 for day in value], at + 1
            number += 1
    sheet.fill(name, array, SPARSE)
    return x


def deviation(numbers: Any, middle: Any) -> Any:
    """The standard deviation, or 1 where all are the same."""
    return where(greater(largest(numbers), smallest(numbers)), sqrt(mean((numbers - middle) ** 2)), 1)


def said_level(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else level[:40]
