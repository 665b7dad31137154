"""The training as formulas: a row a step, its batch's predictions on a sheet of their own, and the rows that check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet.book import NUMBER, SPARSE, WHOLE, Book, Sheet, style
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Column, Named, check, counter, gradient, loss, parameter, steps
from sgdsheet.optim import Result
from sgdsheet.table.model import Fit
from sgdsheet.tensor import abs as absolute
from sgdsheet.tensor import dot, exp, greater, log, maximum, mean, previous, relu, sigmoid, sum, where

LOSS = {True: "F.binary_cross_entropy_with_logits", False: "F.mse_loss"}
HEAD = 24  # letters of a column's name above its cells


def shortened(names: Sequence[str]) -> list[str]:
    """The names as they stand above cells."""
    return [name if len(name) <= HEAD else name[: HEAD - 1] + "…" for name in names]


def row_losses(out: Any, y: Any, classes: bool) -> Any:
    """Returns each row's loss: of two classes from the logit, by a form that does not overflow."""
    if not classes:
        return (out - y) ** 2
    return maximum(out, 0) - out * y + log(1 + exp(-absolute(out)))


def outputs(fit: Fit, x: Any, param: Any, hidden: Any = None) -> Any:
    """Returns what the model says of each row of `x`, of shape `(rows, features)`: `(rows)`.

    `hidden` has the values of the hidden units, `(rows, hidden)`, if there are any.
    """
    _, _, weight, bias = fit.split(param, x.shape[1])
    return dot(x if hidden is None else hidden, weight[None])[:, 0] + bias


def hidden_inputs(fit: Fit, x: Any, param: Any) -> Any:
    """Returns what goes into the hidden units for each row of `x`: `(rows, hidden)`."""
    weight, bias, _, _ = fit.split(param, x.shape[1])
    return dot(x, weight) + bias


def steps_sheet(book: Book, sheet: Sheet, fit: Fit, rows: Named, cell: Named, start: Any) -> Named:
    """Fills the sheet `steps` and those of its batches. Returns the columns of the steps."""
    names = fit.parameters(rows.features)
    parts = shortened(names)
    count = len(fit.batches)
    t = steps(
        sheet,
        fit.steps,
        parts=parts,
        freeze=3,
        step=counter(1 + np.arange(fit.steps), "counts the steps"),
        epoch=counter(1 + np.arange(fit.steps) // count, "times through"),
        param=parameter(lambda t: previous(t.new_param, start), "new_param of the row above", "param", parts=parts),
        loss=loss(None, "mean of the batch", LOSS[rows.classes]),
        grad=gradient(None, "how the loss changes with each", "param.grad", parts=parts),
        **recurrence(fit, parts),
    )
    for name in ("param", "grad", "new_param"):  # what stands in the middle of so many columns is out of sight
        block, column = book.blocks[name], t[name][0, 0].column
        sheet.write(t.head, column, name, replace(style.head(block.role), horizontal="left"))
        sheet.write(t.head + 1, column, block.words, replace(style.words(block.role), horizontal="left"))
    batch = batches_sheet(book, fit, rows, t.param)
    losses = [sum(batch.row_loss[k, : size(fit, k)]) / size(fit, k) for k in range(fit.steps)]
    t.table.fill("loss", losses)
    t.table.fill("grad", np.array([gradients(fit, rows, batch, k) for k in range(fit.steps)], dtype=object))
    t.row_loss = batch.row_loss

    def place(block: str, array: Any, words: str) -> Any:
        t.table.fill(block, np.reshape(array, t[block].shape))
        return in_rows(block)

    def in_rows(block: str) -> Any:
        return t[block].reshape(fit.steps, -1)

    run(fit, vars(cell), place, in_rows)
    return t


def size(fit: Fit, k: int) -> int:
    """How many rows step k has."""
    batch = fit.batch(k)
    return batch.stop - batch.start


def batches_sheet(book: Book, fit: Fit, rows: Named, param: Any) -> Named:
    """Sets out what the model says of each row of each batch, and how the loss changes with it."""
    sheet = book.sheet(
        "batches",
        "Each row of each step's batch",
        "A row a step, a column for each row of the batch: what the model says, that row's loss, and how the loss of "
        "the step changes with what it says. A dot is where a batch is "
        "short, or a hidden unit rests.",
        details=True,
    )
    shape = (fit.steps, fit.batch_size)
    done = Named()
    blocks = {name: np.zeros(shape, dtype=object) for name in ("out", "row_loss", "grad_out")}
    inside = {name: np.zeros((fit.hidden, *shape), dtype=object) for name in ("hidden_in", "hidden", "grad_hidden")}
    top, left = sheet.next_row, 1

    def put(name: str, role: str, words: str, torch: str) -> None:
        nonlocal left
        array = (blocks | inside)[name]
        sheet.headings.append((name, top, left, name))
        sheet.heading(top, left, name, array.shape, words)
        says: dict[str, Any] = {"words": words, "torch": torch, "number_format": SPARSE}
        made = sheet.place(name, array, role, top + 2, left, most=16_000, **says)
        left += fit.batch_size * max(1, fit.hidden if array.ndim == 3 else 1) + (fit.hidden if array.ndim == 3 else 1)
        setattr(done, name, made)

    sheet.freeze(top + 2, 1)
    if fit.hidden:
        for k in range(fit.steps):
            inside["hidden_in"][:, k, : size(fit, k)] = hidden_inputs(fit, rows.x[fit.batch(k)], param[k]).T
        put("hidden_in", "activation", "weights times the row, + bias", "linear1(x)")
        inside["hidden"][:] = where_filled(fit, relu, done.hidden_in)
        put("hidden", "activation", "max(hidden_in, 0)", "hidden = hidden_in.relu()")
    for k in range(fit.steps):
        used = slice(0, size(fit, k))
        hidden = done.hidden[:, k, used].T if fit.hidden else None
        blocks["out"][k, used] = outputs(fit, rows.x[fit.batch(k)], param[k], hidden)
    put("out", "activation", "weights times what comes in, + bias", "out = model(x)")
    for k in range(fit.steps):
        used = slice(0, size(fit, k))
        out, y = done.out[k, used], rows.y[fit.batch(k)]
        blocks["row_loss"][k, used] = row_losses(out, y, rows.classes)
        error = sigmoid(out) - y if rows.classes else 2 * (out - y)
        blocks["grad_out"][k, used] = error / size(fit, k)
    put("row_loss", "loss", "of one row", f"{LOSS[rows.classes]}(out, y, reduction='none')")
    put("grad_out", "gradient", "(probability - y) / rows" if rows.classes else "2 * (out - y) / rows", "out.grad")
    if fit.hidden:
        for k in range(fit.steps):
            used = slice(0, size(fit, k))
            _, _, weight, _ = fit.split(param[k], len(rows.features))
            back = weight[:, None] * done.grad_out[k, used]
            inside["grad_hidden"][:, k, used] = where(greater(done.hidden_in[:, k, used], 0), back, 0)
        put("grad_hidden", "gradient", "grad_out * weight where hidden_in is above 0", "hidden_in.grad")
    return done


def where_filled(fit: Fit, function: Any, array: Any) -> Any:
    """A function of each element but those where a batch is short."""
    found = np.zeros(array.shape, dtype=object)
    for k in range(fit.steps):
        found[:, k, : size(fit, k)] = function(array[:, k, : size(fit, k)])
    return found


def gradients(fit: Fit, rows: Named, batch: Named, k: int) -> list[Any]:
    """How the loss of step k changes with each parameter: sums, over its rows, of what went in times what is wrong."""
    used = slice(0, size(fit, k))
    x, wrong = rows.x[fit.batch(k)].T, batch.grad_out[k, used]
    if not fit.hidden:
        return [*dot(x, wrong[None])[:, 0], sum(wrong)]
    hidden, inside = batch.hidden[:, k, used], batch.grad_hidden[:, k, used]
    of_units = [*dot(hidden, wrong[None])[:, 0], sum(wrong)]
    return [*dot(inside, x).ravel(), *(sum(each) for each in inside), *of_units]


def recurrence(fit: Fit, parts: Sequence[str]) -> dict[str, Any]:
    """The columns that the optimiser's step fills, in its order: the new parameters, then in closed columns the rest.

    A run on two numbers tells which they are.
    """
    found: dict[str, Any] = {}
    states = init(fit, fit.hyperparameters())

    def note(block: str, array: Any, words: str) -> Any:
        role = "optimiser state" if block in states else "parameter" if block == "new_param" else "activation"
        torch = f"state['{block}']" if block in states else "param, after the step" if block == "new_param" else ""
        across = parts if np.size(array) > 1 else ()
        found[block] = Column(role, None, words, torch, parts=across, folded=block != "new_param")
        return array

    optimizer = fit.recurrence[0]
    ones = np.ones(2)
    state = {block: 1.0 if block in optimizer.scalars else ones for block in states}
    with np.errstate(all="ignore"):
        given = fit.arguments({name: np.array(value) for name, value in fit.hyperparameters().items()})
        optimizer.step(note, ones, ones, state, step=2.0, **given, **{"loss": 1.0} if optimizer.takes_loss else {})
    return found


def init(fit: Fit, cells: dict[str, Any]) -> dict[str, Any]:
    """The optimiser's state before the first step, by name."""
    return fit.recurrence[0].init(**fit.arguments(cells))


def run(fit: Fit, cells: dict[str, Any], place: Any, rows: Any) -> Result:
    """Makes all steps of the optimiser at once, of formulas or of numbers: `rows(block)` is `(steps, …)`."""
    optimizer = fit.recurrence[0]
    state = {block: previous(rows(block), first) for block, first in init(fit, cells).items()}
    given = fit.arguments(cells) | ({"loss": rows("loss")} if optimizer.takes_loss else {})
    return optimizer.step(place, rows("param"), rows("grad"), state, step=rows("step"), **given)


def validation_sheet(book: Book, fit: Fit, rows: Named, t: Named) -> Named:
    """Sets out what the model says, after each epoch, of each row that is kept for checking."""
    sheet = book.sheet(
        "validation",
        "The rows that only check, after each epoch",
        "A row for each row of the table that trains nothing, a column an epoch: what the model says, and the loss"
        + (", and whether it is right." if rows.classes else "."),
        details=True,
    )
    x, y = rows.x[fit.train :], rows.y[fit.train :]
    after = [t.new_param[(epoch + 1) * len(fit.batches) - 1] for epoch in range(fit.epochs)]
    measures: dict[str, Any] = {"valid_mean": check(mean(y), "mean of their y")}
    if not rows.classes:
        measures["spread"] = check(lambda v: sum((y - v.valid_mean) ** 2), "summed squares of y about it")
    sheet.width(1, 12)
    done = flow.values(sheet, **measures)
    top, left = sheet.next_row, 1

    def put(name: str, role: str, array: Any, says: str, torch: str, digits: str = NUMBER) -> Any:
        nonlocal left
        made = flow.headed(sheet, top, left, name, Column(role, array, says, torch, digits))
        left += (fit.epochs if array.ndim == 2 else fit.epochs * (fit.hidden + 1)) + 1
        setattr(done, name, made)
        return made

    hidden: Any = [None] * fit.epochs
    if fit.hidden:
        units = np.stack([relu(hidden_inputs(fit, x, param)) for param in after])
        says = "a matrix an epoch, a column a hidden unit"
        hidden = put("valid_hidden", "activation", units, says, "linear1(x).relu()", SPARSE)
    made = np.stack([outputs(fit, x, param, units) for param, units in zip(after, hidden, strict=True)], axis=1)
    out = put("valid_out", "activation", made, "weights times what comes in, + bias", "model(x)")
    torch = f"{LOSS[rows.classes]}(…, reduction='none')"
    put("valid_row_loss", "loss", row_losses(out, y[:, None], rows.classes), "of one row", torch)
    if rows.classes:
        right = where(greater(out, 0), y[:, None], 1 - y[:, None])
        put("valid_right", "check", right, "1 where the likelier class is the row's own", "(out > 0) == y", WHOLE)
    return done
