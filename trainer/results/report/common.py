"""What the workbooks of one label and of several labels a picture have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgdsheet.book import NUMBER, PRECISE, WHOLE, Book, Series, Sheet, Table, Typed, scatter, typed
from sgdsheet.book.geometry import chart_pixels
from sgdsheet.book.style import Scale
from sgdsheet.expr import Call, Range
from sgdsheet.tensor import equal, span, where
from trainer.show.text import cut, spelled, width

LISTED = 100_000  # pictures, at most
LONGEST = 32_000  # characters of a text: a cell holds a few more
NAME = 40  # columns of a terminal for a class's name
SHARE = "0.0%"
POOR = Scale(("E8853B", "FDD49E", "FFFFFF"), "percent")  # a heat map of shares that are good when they are large


def texts(values: Sequence[str]) -> np.ndarray:
    """Cells that the reader may change, a text each. It stays a text, also one that begins with `=`."""
    return typed(np.array([held(each) for each in values], dtype=object))


def held(text: str) -> str:
    """The text as a cell can hold it: in one line, what would break that or XML cannot hold is spelled out."""
    return spelled(text[:LONGEST])


def column_width(names: Sequence[str], most: int = 40) -> int:
    """Of a column that holds these names."""
    return min(max(13, *map(width, names)) + 2, most)


def class_column(table: Table, names: Sequence[str]) -> np.ndarray:
    """The column of the classes' names, for the reader to change."""
    cells = texts([cut(held(name), NAME) for name in names])
    layout: dict[str, Any] = {"width": column_width(names), "absolute": True}
    return table.column("class_name", "data", cells, words="type here to rename it", **layout)


def fixed(references: Any) -> Range:
    """The range that these references fill, with dollar signs."""
    found = span(references)
    return Range(found.sheet, found.top, found.left, found.bottom, found.right, absolute=True)


def left_out(pictures: int, kept: int) -> list[str]:
    """What a reader must know of the pictures that are not listed; nothing where all are."""
    if kept == pictures:
        return []
    return [
        f"All of them would be too much for a workbook: the {kept:,} pictures with the highest losses are listed. The "
        f"other {pictures - kept:,} are in all results too, as the numbers that formulas end with."
    ]


def score_columns(table: Table, of: np.ndarray, taken: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 of each class from the pictures of it, those taken for it, and those of both.

    Gives the last.
    """
    placed = of
    for name, share, whole, words in (
        ("precision", both, taken, "class_right / class_predicted"),
        ("recall", both, of, "class_right / class_pictures"),
        ("f1_score", 2 * both, of + taken, "2 * class_right / (class_pictures + class_predicted)"),
    ):
        array = where(equal(whole, 0), 0, share / whole)
        layout: dict[str, Any] = {"words": words, "number_format": SHARE, "width": 18}
        torch = "sklearn.metrics.precision_recall_fscore_support"
        placed = table.column(name, "check", array, torch=torch, **layout)
        if table.length > 1:
            table.sheet.heat_map(placed, POOR)
    return placed


def history_sheet(book: Book, history: Sequence[Mapping[str, float]]) -> Sheet:
    """A row an epoch, below charts of the losses and of the error rate."""
    sheet = book.sheet(
        "history",
        "How the training went",
        "The losses should fall. If the validation loss rises while the error rate still falls, nothing is wrong yet.",
    )
    chart_row = sheet.next_row
    table = sheet.table(chart_row + 19, 1, len(history))

    def column(name: str, key: str, words: str, number_format: str = NUMBER) -> np.ndarray:
        numbers = [float(row[key]) for row in history]
        # No cell can hold an infinite loss; #N/A is a gap in the chart.
        cells = [Typed(number) if math.isfinite(number) else Call("NA") for number in numbers]
        return table.column(name, "data", cells, words=words, number_format=number_format)

    epoch = column("epoch", "epoch", "a pass over all pictures", WHOLE)
    train = column("train_loss", "train_loss", "of the pictures trained with")
    valid = column("valid_loss", "valid_loss", "of the validation pictures")
    errors = column("valid_error_rate", "error_rate", "of the validation pictures", SHARE)
    column("lr", "lr", "learning rate", PRECISE)
    points = len(history) <= 30
    lines = [Series(name, epoch, y, points=points) for name, y in (("training", train), ("validation", valid))]
    sheet.chart(chart_row, 1, scatter("Losses", "epoch", "loss", lines, width=15))
    lines = [Series("error rate", epoch, errors, points=points, color=3)]
    beside = sheet.column_from(chart_pixels(15) + 10)
    sheet.chart(chart_row, beside, scatter("Error rate", "epoch", "error rate", lines, width=15, y_range=(0, None)))
    sheet.repeat_rows(table.head, table.first - 1)
    return sheet
