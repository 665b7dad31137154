"""A learner: an exercise, and formulas written into its blanks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openpyxl

from sgdsheet import book
from sgdsheet.expr import Ref

LESSON, POINTS, ROWS = "linear_sgd", "x,y\n0.5,4\n1,5.25\n0.25,3\n1.75,6.5\n1.5,6\n", 50

# What is written into each row of a block: a content, or a function of the row; `{name}` is that block's cell there.
Written = Mapping[str, Any]

RIGHT: Written = {
    "grad_slope": "=2*({y_hat}-{y})*{x}",
    "new_slope": "={slope}-lr*{mean_grad_slope}",
    "y_hat": "={slope}*{x}+{intercept}",
    "grad_intercept": "=2*({y_hat}-{y})",
}


def first_row(content: Any) -> Callable[[int], Any]:
    """For what is written into the first row alone."""
    return lambda row: content if row == 0 else None


def cells(path: Path, written: Written) -> dict[Ref, Any]:
    """What is written, by cell."""
    saved = book.read(path)
    places = {name: block.panels[0] for name, block in saved.blocks.items() if block.shape == (ROWS,)}
    found = {}
    for name, what in written.items():
        for row in range(ROWS):
            here = {each: Ref(place.sheet, place.top + row, place.left) for each, place in places.items()}
            content = what(row) if callable(what) else what
            if isinstance(content, str):
                content = content.format(**{each: cell.address for each, cell in here.items()})
            if content is not None:
                found[here[name]] = content
    return found


def handed_in(blank: Path, path: Path, written: Written, change: Callable[[Any], None] = lambda workbook: None) -> Path:
    """A copy with that in it, saved by openpyxl."""
    workbook = openpyxl.load_workbook(blank)
    for cell, content in cells(blank, written).items():
        workbook[cell.sheet].cell(cell.row, cell.column).value = content
    change(workbook)
    workbook.save(path)
    return path
