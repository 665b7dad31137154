"""The workbook of a fit: its sheets in their order, and the words on the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgdsheet.book import PROGRAM, Book
from sgdsheet.book import typed as cells_to_type
from sgdsheet.book.style import TEXT
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Named
from sgdsheet.table.cells import heads, said_level
from sgdsheet.table.model import Fit
from sgdsheet.table.plan import FIT, Plan
from sgdsheet.table.prepared import columns_sheet, data_sheet, prepared_sheet, weights_chart
from sgdsheet.table.reading import Table
from sgdsheet.table.results import epochs_table, predict_sheet
from sgdsheet.table.training import shortened, steps_sheet, validation_sheet


def workbook(table: Table, fit: Fit, values: Mapping[str, Any], file: str, seed: int) -> Book:
    """Returns the workbook of a fit, not yet written. `values` are what its inputs begin with."""
    plan = table.plan
    book = Book(
        FIT,
        f"{plan.target.name[:40]}, learned from {file}",
        about(table, fit, file, seed),
        tries(fit),
        fit.inputs(),
        values,
    )
    front = book.sheet("fit", f"{_kind(fit)}: {plan.target.name[:60]}", _what_is_fitted(table, fit))
    predict = book.sheet(
        "predict",
        f"Predict {plan.target.name[:40]} for new rows",
        "Type a row into the yellow cells: the answer is on its left. They begin with rows that trained nothing.",
    )
    given = data_sheet(book, table, fit)
    columns = columns_sheet(book, table)
    rows = prepared_sheet(book, table, fit, given)
    steps = book.sheet(
        "steps",
        "One row is one step",
        "A batch of rows goes through the model: the loss, how it changes with each parameter (grad), and the new "
        "parameters, with which the next row begins. What the optimiser remembers is in the closed columns.",
    )
    cell = flow.inputs(front, *(spec.name for spec in fit.inputs()), across=True)
    start = start_sheet(book, fit, rows, seed)
    t = steps_sheet(book, steps, fit, rows, cell, start)
    valid = validation_sheet(book, fit, rows, t)
    epochs_table(front, fit, rows, t, valid)
    predict_sheet(predict, table, fit, rows, t.new_param[-1])
    if not fit.hidden:
        weights_chart(columns, rows, t.new_param[-1])
    program_sheet(book, plan, fit)
    return book


def start_sheet(book: Book, fit: Fit, rows: Named, seed: int) -> Any:
    """The parameters before the first step, for the reader to change."""
    sheet = book.sheet("start", "The parameters before the first step", "Another start, another way.", details=True)
    names = fit.parameters(rows.features)
    top = sheet.next_row
    heads(sheet, top, 1, names, "parameter")
    begun = cells_to_type(fit.start(len(rows.features), seed))
    return sheet.place(
        "start", begun, "data", top + 1, 1, across=True, words="where the training begins", torch="param"
    )


def program_sheet(book: Book, plan: Plan, fit: Fit) -> None:
    """What `verify` knows the table and the model by."""
    sheet = book.sheet(PROGRAM, "How the table is read", "sgdsheet verify reads this: leave it as it is.", details=True)
    for number, row in enumerate([fit.row(), *plan.rows()], start=sheet.next_row):
        for column, held in enumerate(row, start=1):
            sheet.write(number, column, held, TEXT)


def about(table: Table, fit: Fit, file: str, seed: int) -> list[str]:
    """What the workbook is, for its first sheet."""
    plan = table.plan
    sees = f"{len(plan.features)} numbers a row"
    found = [
        f"{len(table.cells):,} rows of {file}. {fit.train:,} of them train a model to predict {plan.target.name[:60]} "
        f"from {len(plan.columns)} other columns, of which it sees {sees}: sheet 'columns' says how. The other "
        f"{fit.valid:,} only check how good it is for rows that it has not seen. Chance, begun with --seed {seed}, put "
        f"the rows into their order{' and drew the first parameters' if fit.hidden else ''}.",
        f"Every number is a formula: the table prepared, {fit.epochs} times through all rows in batches of "
        f"{fit.batch_size}, each step's losses, gradients and new parameters, the check, the prediction.",
    ]
    if table.notes:
        said = "; ".join(f"{shortened([name])[0]}: {note}" for name, note in table.notes[:4])
        found.append(said + ("; and more on 'columns'." if len(table.notes) > 4 else "."))
    return found


def tries(fit: Fit) -> list[str]:
    """What to try with it."""
    return [
        "On 'fit', make lr ten times as large, then ten times smaller: see the losses of the steps and of the checking "
        "rows.",
        "On 'predict', type a row of your own into new_rows, and change one cell of it: how far does the answer move?",
        "On 'data', change a number to one that cannot be: how much does a single wrong cell change?",
        *([] if fit.hidden else ["On 'columns', read which numbers move the prediction most, and which way."]),
        "On 'steps', follow one parameter from row to row: its grad, its new_param, the next row's param.",
    ]


def _kind(fit: Fit) -> str:
    kinds = {"linear": "Linear regression", "logistic": "Logistic regression"}
    return kinds.get(fit.model, f"A network with {fit.hidden} hidden units")


def _what_is_fitted(table: Table, fit: Fit) -> str:
    target = table.plan.target
    if target.classes:
        no, yes = map(said_level, target.classes)
        one = f"the probability that {target.name[:40]} is {yes} rather than {no}"
    else:
        one = f"{target.name[:40]}, less its mean, in standard deviations"
    return f"The model says {one}. Change the optimiser's numbers: all {fit.steps:,} steps are made anew."
