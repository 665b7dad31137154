"""The sheets of what came of it: how good the model is after each epoch, and what it says of new rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import PRECISE, SHORT, Series, Sheet, bars, scatter
from sgdsheet.book.style import LABEL, MORE, body
from sgdsheet.expr import Call
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Named, check, counter, loss
from sgdsheet.table.cells import filled_cells, heads, said_level, seen_cells, show_days, to_type
from sgdsheet.table.model import Fit
from sgdsheet.table.plan import Plan
from sgdsheet.table.reading import Table
from sgdsheet.table.training import LOSS, hidden_inputs, outputs
from sgdsheet.tensor import greater, largest, maximum, mean, relu, sigmoid, smallest, sqrt, where

NEW = 5  # rows for the reader


def epochs_table(sheet: Sheet, fit: Fit, rows: Named, t: Named, valid: Named) -> None:
    """The losses of each epoch, with what they are worth, and the charts."""
    count, y = len(fit.batches), rows.y[fit.train :]
    losses = [t.row_loss[e * count : (e + 1) * count] for e in range(fit.epochs)]
    worth, said = shares_right(fit, valid) if rows.classes else shares_explained(rows, valid, y)
    top = sheet.next_row
    e = flow.steps(
        sheet,
        fit.epochs,
        row=top + 2,
        freeze=None,
        width=11,
        after=counter([(e + 1) * count for e in range(fit.epochs)], "steps", title="step", width=9),
        epoch_number=counter(1 + np.arange(fit.epochs), "times through", title="epoch", width=9),
        train_loss=loss([tensor.sum(each) / fit.train for each in losses], "mean of its steps", LOSS[rows.classes]),
        valid_loss=loss([mean(each) for each in valid.valid_row_loss.T], "of the checking rows", LOSS[rows.classes]),
        **worth,
    )
    sheet.write(top, 1, in_words(said, e), LABEL)
    size: dict[str, Any] = {"width": 14.5, "height": 12}
    lines = [
        Series("each step", t.step, t.loss, color=5, width=0.75),
        Series("training: an epoch's mean", e.after, e.train_loss, points=True, color=0),
        Series("checking rows", e.after, e.valid_loss, points=True, color=3),
    ]
    if rows.classes:
        kind, title, up = "cross-entropy", "The share of checking rows that is right", "accuracy"
        shares = [
            Series("accuracy", e.epoch_number, e.accuracy, points=True, color=3),
            Series("always the commoner answer", e.epoch_number, e.majority, color=6),
        ]
    else:
        kind, title, up = "mean squared error", "R²: the share of the spread that is explained", "R²"
        shares = [Series("R²", e.epoch_number, e.r_squared, points=True, color=3)]
    flow.charts(
        sheet,
        scatter("The loss", "step", kind, lines, x_range=(0, fit.steps), **size),
        scatter(title, "epoch", up, shares, x_range=(0, fit.epochs), **size),
        row=e.head,
        left=e.table.next_column + 1,
    )


def shares_right(fit: Fit, valid: Named) -> tuple[dict[str, Any], Sequence[Any]]:
    """The columns that say how often an epoch's model is right, and the last of them in words."""
    right = [mean(each) for each in valid.valid_right.T]
    common = maximum(valid.valid_mean, 1 - valid.valid_mean)
    columns = {
        "accuracy": check(right, "share that is right"),
        "majority": check([common] * fit.epochs, "by the commoner answer"),
    }
    more = " of the rows that only check; the commoner answer alone is for "
    return columns, ["After the last epoch it is right for ", "accuracy", more, "majority"]


def shares_explained(rows: Named, valid: Named, y: Any) -> tuple[dict[str, Any], Sequence[Any]]:
    """The columns that say how near an epoch's model comes, and the last of them in words."""
    squares = valid.valid_row_loss.T
    varied = greater(largest(y), smallest(y))
    shares = [where(varied, 1 - tensor.sum(each) / valid.spread, 0) for each in squares]
    errors = [sqrt(mean(each)) * rows.y_std for each in squares]
    columns = {
        "r_squared": check(shares, "1 - their squares / spread", title="R²"),
        "off_by": check(errors, "root mean square, in the target's unit", title="off by"),
    }
    return columns, ["After the last epoch it explains ", "r_squared", " of the spread of the rows that only check"]


def in_words(said: Sequence[str], e: Named) -> Any:
    """A sentence as a formula: every second text names a column, and stands for what it holds at last, in per cent."""
    parts: list[Any] = []
    for place, text in enumerate(said):
        parts += [Call("ROUND", 100 * e[text][-1], 1), " %"] if place % 2 else [text]
    return Call("CONCATENATE", *parts, ".")


def predict_sheet(sheet: Sheet, table: Table, fit: Fit, rows: Named, last: Any) -> None:
    """Rows for the reader to type, and what the model says of them."""
    plan, target = table.plan, table.plan.target
    top, count = sheet.next_row, min(NEW, fit.valid)
    first, left = top + 1, 4 if rows.classes else 3
    chosen = table.cells[fit.train : fit.train + count]
    chosen += [chosen[-1]] * (NEW - count)
    heads(sheet, top, left, [column.name for column in plan.columns], "input", chosen)
    says: dict[str, Any] = {"words": "for you to type", "number_format": PRECISE}
    new = sheet.place("new_rows", to_type(chosen, plan), "input", first, left, **says)
    show_days(sheet, plan, chosen, first, left)
    sheet.freeze(first, left)
    out = worked_out(sheet, plan, fit, rows, new, last, top, left + len(plan.columns) + 1)
    numbers = [sheet.write(first + offset, 1, f"row {offset + 1}", LABEL) for offset in range(NEW)]
    if rows.classes:
        title, ends = f"probability of {said_level(target.classes[1])}", (0, 1)
        heads(sheet, top, 2, [target.name, title], "loss")
        says = {"words": "sigmoid of out", "torch": "out.sigmoid()"}
        shown = sheet.place("probability", sigmoid(out), "loss", first, 3, **says)
        for cell in shown:
            answer: Any = where(greater(cell, 0.5), target.classes[1], target.classes[0])
            sheet.write(cell.row, 2, np.asarray(answer).item(), body("loss", PRECISE))
    else:
        title, ends = target.name[:40], None
        heads(sheet, top, 2, [target.name], "loss")
        says = {"words": "out * deviation + mean, in the target's own unit", "number_format": SHORT}
        shown = sheet.place("prediction", out * rows.y_std + rows.y_mean, "loss", first, 2, **says)
    chart = bars("What the model says", "row", title, numbers, [(title, shown)], width=22, height=11, y_range=ends)
    sheet.chart(first + NEW + 1, 1, chart)


def worked_out(sheet: Sheet, plan: Plan, fit: Fit, rows: Named, new: Any, last: Any, top: int, left: int) -> Any:
    """In closed columns what the model makes of new rows: `out`, one each."""
    first, fold, filled, hidden = top + 1, left, None, None
    if plan.numbers:
        heads(sheet, top, left, [f"{plan.columns[n].name}, gaps filled" for n in plan.numbers], "data")
        filled = filled_cells(sheet, "new_filled", plan, new, rows.median, first, left)
        left += len(plan.numbers)
    heads(sheet, top, left, plan.features, "activation")
    x = seen_cells(sheet, "new_x", plan, new, filled, rows, first, left)
    left += len(plan.features)
    if fit.hidden:
        heads(sheet, top, left, [f"h{n}" for n in range(1, fit.hidden + 1)], "activation")
        units = relu(hidden_inputs(fit, x, last))
        hidden = sheet.place("new_hidden", units, "activation", first, left, words="the hidden units", torch="hidden")
        left += fit.hidden
    heads(sheet, top, left, ["out"], "activation")
    words, made = "weights times x, + bias", outputs(fit, x, last, hidden)
    out = sheet.place("new_out", made, "activation", first, left, words=words, torch="model(x)")
    sheet.fold(fold, left)
    sheet.write(top, left + 1, f"+ {left - fold + 1} more", MORE)
    sheet.width(left + 1, 10)
    return out
