"""The sheets from the table as its owner knows it to the numbers that the model sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import PRECISE, SHORT, WHOLE, Book, Sheet, Typed, bars
from sgdsheet.book.style import LABEL, TABLE_CELL, TABLE_HEAD, TEXT, body, head
from sgdsheet.expr import Call
from sgdsheet.lessons.flow import Named
from sgdsheet.table.cells import deviation, filled_cells, heads, seen_cells, show_days, to_type
from sgdsheet.table.model import Fit
from sgdsheet.table.plan import DATE, Column
from sgdsheet.table.plan import TEXT as TEXTS
from sgdsheet.table.reading import Table
from sgdsheet.table.training import shortened
from sgdsheet.tensor import equal, finite_or, mean, where


def data_sheet(book: Book, table: Table, fit: Fit) -> Named:
    """The table as its owner knows it, every cell to type into. Returns `cells` and `target`, their references."""
    plan = table.plan
    sheet = book.sheet(
        "data",
        "Your table",
        f"Its rows in the order in which they train, drawn once: {fit.train:,} train, the last {fit.valid:,} only "
        "check. Change a cell: all that follows is formulas.",
    )
    names = [column.name for column in plan.columns]
    top = sheet.next_row
    heads(sheet, top, 1, ["row of the file", "part"], "check")
    for offset, number in enumerate(table.numbers):
        sheet.write(top + 1 + offset, 1, number, body("check", WHOLE))
        sheet.write(top + 1 + offset, 2, "train" if offset < fit.train else "check", body("check"))
    heads(sheet, top, 3, names, "data", table.cells)
    heads(sheet, top, 3 + len(names), [plan.target.name], "data", [[each] for each in table.target])
    says: dict[str, Any] = {"number_format": PRECISE, "absolute": False}
    cells = sheet.place("data", to_type(table.cells), "data", top + 1, 3, words="a row of the table each", **says)
    target = np.array([Typed(each) for each in table.target], dtype=object)
    words = f"what to predict: {plan.target.name}"
    answers = sheet.place("target", target, "data", top + 1, 3 + len(names), words=words, **says)
    show_days(sheet, plan, table.cells, top + 1, 3)
    sheet.freeze(top + 1, 3)
    sheet.repeat_rows(top, top)
    return Named(cells=cells, target=answers)


def columns_sheet(book: Book, table: Table) -> Sheet:
    """What became of each column, in words."""
    sheet = book.sheet(
        "columns",
        "What the model sees of each column",
        "Numbers have their mean taken away and are divided by their standard deviation; of a text each frequent value "
        "has a column of 0 and 1. Mean, deviation and median are those of the rows that train: see 'prepared'.",
    )
    row = sheet.next_row
    lines = [*((column.name, _becomes(column, table)) for column in table.plan.columns), *table.notes]
    sheet.width(1, 24)
    sheet.width(2, 70)
    for column, text in enumerate(("column", "what the model sees"), start=1):
        sheet.write(row, column, text, TABLE_HEAD)
    for offset, (name, text) in enumerate(lines, start=1):
        sheet.write(row + offset, 1, shortened([name])[0], TABLE_CELL)
        sheet.write(row + offset, 2, text if len(text) < 90 else text[:88] + "…", TABLE_CELL)
    return sheet


def _becomes(column: Column, table: Table) -> str:
    blanks = sum(row[table.plan.columns.index(column)] is None for row in table.cells)
    gaps = f"; {blanks} blank" if blanks else ""
    if column.kind == TEXTS:
        more = [each for each, there in (("blank", column.gap), ("other", column.rest)) if there]
        levels = ", ".join([*column.levels, *more])
        return f"a text, 0 or 1 each for: {levels}{gaps and f' ({blanks} rows)'}"
    if column.kind == DATE:
        return f"a date: its days, normalised, and its month{gaps and gaps + ', filled with the median'}"
    return f"a number, normalised{gaps and gaps + ', filled with the median'}"


def weights_chart(sheet: Sheet, rows: Named, last: Any) -> None:
    """Beside the columns the weights that were learned for them."""
    top, left = 4, 4
    sheet.width(left, 24)
    sheet.width(left + 1, 12)
    sheet.write(top, left, "number", head("parameter"))
    sheet.write(top, left + 1, "weight", head("parameter"))
    labels = [sheet.write(top + 1 + n, left, name, TEXT) for n, name in enumerate(shortened(rows.features))]
    words = "the last new_param: how far a number moves what the model says"
    weights = sheet.place("weight", last[:-1] + 0, "parameter", top + 1, left + 1, words=words, torch="model.weight")
    title = "What moves the prediction: the weights after the last step"
    chart = bars(title, "number", "weight", labels, [("weight", weights)], width=16, height=15)
    sheet.chart(top, left + 3, chart)


def prepared_sheet(book: Book, table: Table, fit: Fit, given: Named) -> Named:
    """The numbers that the model sees: `x` of shape `(rows, features)` and `y`, with all that predicting needs."""
    plan, train = table.plan, slice(0, fit.train)
    target = plan.target
    classes = bool(target.classes)
    sheet = book.sheet(
        "prepared",
        "The numbers that the model sees",
        f"Each is a formula of a cell of 'data'. A blank number becomes the median of the {fit.train:,} rows that "
        "train; from each number the mean of these rows is taken away, then it is divided by their deviation.",
    )
    rows = Named(features=plan.features, classes=classes, numbers=len(plan.numbers), target=target)
    top = sheet.next_row
    first, left = top + 4, 2
    for offset, text in enumerate(("median", "mean", "deviation")):
        sheet.write(top + offset, 1, text, LABEL)
    heads(sheet, top + 3, 1, ["row of the file"], "check")
    for offset, number in enumerate(table.numbers):
        sheet.write(first + offset, 1, number, body("check", WHOLE))
    rows.median = rows.mean = rows.std = np.array([], dtype=object)
    if plan.numbers:
        names = [plan.columns[n].name for n in plan.numbers]
        known = [finite_or(Call("MEDIAN", tensor.span(given.cells[train, n])), 0) for n in plan.numbers]
        line: dict[str, Any] = {"across": True, "absolute": True}
        rows.median = sheet.place("median", known, "data", top, left, words="of the rows that train", **line)
        filled = filled_cells(sheet, "filled", plan, given.cells, rows.median, first, left)
        learned = filled[train].T
        words = "mean of filled, of the rows that train"
        rows.mean = sheet.place("mean", [mean(each) for each in learned], "data", top + 1, left, words=words, **line)
        spreads = [deviation(each, its) for each, its in zip(learned, rows.mean, strict=True)]
        words = "the root of the mean squared distance from the mean; 1 where all are the same"
        rows.std = sheet.place("std", spreads, "data", top + 2, left, words=words, torch="std(correction=0)", **line)
        heads(sheet, top + 3, left, [f"{name}, gaps filled" for name in names], "data")
        left += len(names)
    else:
        filled = None
    heads(sheet, top + 3, left, plan.features, "activation")
    rows.x = seen_cells(sheet, "x", plan, given.cells, filled, rows, first, left)
    left += len(plan.features)
    heads(sheet, top + 3, left, [f"y: {target.name}"], "data")
    if classes:
        y = where(equal(given.target, target.classes[1]), 1, 0)
        words = f"1 for {target.classes[1]}, 0 for {target.classes[0]}"
    else:
        own = given.target[train]
        says: dict[str, Any] = {"absolute": True}
        for row, word in ((top + 1, "mean of y"), (top + 2, "std of y")):
            sheet.write(row, left - 1, word, LABEL)
        rows.y_mean = sheet.place(
            "y_mean", mean(own), "data", top + 1, left, words="of the rows that train", **says
        ).item()
        rows.y_std = sheet.place("y_std", deviation(own, rows.y_mean), "data", top + 2, left, **says).item()
        y, words = (given.target - rows.y_mean) / rows.y_std, "(target - mean) / deviation"
    digits = WHOLE if classes else SHORT
    rows.y = sheet.place("y", y, "data", first, left, words=words, torch="y", number_format=digits)
    sheet.freeze(first, 2)
    sheet.repeat_rows(top + 3, top + 3)
    return rows
