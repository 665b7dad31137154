"""One training with a learning rate too high, too low and good, for few and many epochs; one-cycle; a rate finder."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, NUMBER, PRECISE, WHOLE, Book, Input, Series, Sheet, Table, Typed, scatter
from sgdsheet.book.style import HEADING, LABEL
from sgdsheet.expr import Call
from sgdsheet.lessons.data import Data, Source, check_columns, read_csv
from sgdsheet.lessons.lesson import Lesson, Values
from sgdsheet.lessons.schedules import one_cycle
from sgdsheet.optim import sgd
from sgdsheet.tensor import Array, index, previous

BUMPS = 12
EPOCHS, MANY = 40, 300
CURVE = 61  # curves are drawn through so many x
FINDER_STEPS = 100
CYCLE_EPOCHS = 8
MOST = 100  # points: a step has two columns for each of them
BETTER = 0.9999  # an error counts as the best so far where it is below this share of the one before, not by rounding
FAR = 1e300  # the best error of a run that never had one
WORSE, FALLING = 1.1, 0.02  # the rules call 10 % worse too many epochs, and 2 % in a quarter of the run still falling
PARTS = ("bias", *(f"weight {bump}" for bump in range(1, BUMPS + 1)))

# What each run is called, the sheet that its numbers stand on, and how many epochs it has (few: the reader says).
RUNS = {
    "high": ("rate too high", "high", EPOCHS),
    "low": ("rate too low", "low", EPOCHS),
    "few": ("too few epochs", "good", None),
    "good": ("good", "good", EPOCHS),
    "many": ("too many epochs", "good", MANY),
}
RULES = {
    "high": (
        "The learning rate is too high",
        "See: the validation loss grows, or is far above all you had before, or is no number at all (#NUM!).",
        "Why: each step jumps over the valley and lands higher on its other side.",
        "Rule of thumb: the first suspect is the rate. Divide it by ten and train again from the start. Nothing that "
        "was learned this way is worth keeping.",
    ),
    "low": (
        "The learning rate is too low",
        "See: both losses fall, but slowly, and the training loss stays above the validation loss.",
        "Why: every step is right, and far too small. The curve has hardly left the level line at which it began.",
        "Rule of thumb: a training loss above the validation loss says that there is more to learn. If it falls "
        "slowly, take a higher rate.",
    ),
    "few": (
        "Too few epochs",
        "See: both losses still fall fast when the training stops, and the training loss is above the validation loss.",
        "Why: the run was on a good way and was broken off.",
        "Rule of thumb: a training loss above the validation loss says that there is more to learn. If it falls fast, "
        "train for more epochs. The run is the good one, broken off after the epoch that you type into few.",
    ),
    "good": (
        "A good rate, and enough epochs",
        "See: both losses have come down and now hardly change. The training loss is below the validation loss.",
        "Why: a model does a little better on the points that it learns from. That is how it should be.",
        "Rule of thumb: a training loss below the validation loss is no sign of overfitting. Only a validation error "
        "that gets worse is.",
    ),
    "many": (
        "Too many epochs",
        f"See: the good run, carried on for {MANY} epochs. The training loss keeps falling, but the validation loss "
        "and the validation error get worse and worse.",
        "Why: the curve begins to bend after each single point, its noise as well. That is overfitting: it learns the "
        "training points by heart, and knows less about all others.",
        "Rule of thumb: when the validation error gets worse for several epochs, you have trained too long. Train "
        "anew up to about the best epoch, or find more points.",
    ),
}


@dataclass(frozen=True)
class Model:
    """What all runs share: points, and how much of each bump there is at each of them.

    `bumps` has a row for each training point, `across` is the same turned round, a row for each bump.
    """

    bumps: Array
    across: Array
    y: Array
    valid_bumps: Array
    valid_y: Array
    curve_bumps: Array


def build(values: Values, data: Values) -> Book:
    """The workbook: `data`, `model`, `rules`, the runs `high`, `low`, `good`, `curves`, `finder`, and `one-cycle`."""
    book = Book(
        "learning_rate",
        "Learning rate and epochs: what the losses tell",
        [
            "The learning rate says how far each step of the training goes. The number of epochs says how often the "
            "training goes through all points. Both are chosen by a person, and the two losses tell whether the choice "
            "was good: the training loss, of the points that the model learns from, and the validation loss, of points "
            "that it never learns from.",
            "Sheet 'rules' has the same training five times: with a rate too high, too low and good, for too few "
            "epochs, enough, and too many. Beside each stands how to tell from the losses, and cells decide which "
            "rules apply.",
            "Sheet 'finder' finds a good rate in a single short run. Sheet 'one-cycle' shows what it brings to let the "
            "rate rise and fall during the training.",
        ],
        [
            "On 'rules', set lr_high to 0.81, then to 0.82: somewhere between them is the highest rate that still "
            "works. Set it to 50: the losses become too large for any number.",
            "On 'rules', set lr_low to 0.1: now it is only a little slow. Watch the table of rules.",
            "On 'rules', set few to 10, 20, 30: when does the training loss fall below the validation loss, and when "
            "does the rule 'train longer' fall silent?",
            "On 'model', set bump_width to 0.05: narrow bumps learn each point by heart, and overfit sooner. Set it to "
            "0.15: broad ones cannot, and 300 epochs are not too many.",
            "On 'finder', set smoothing to 0 to see the loss as it is. Then type a rate that it suggests into lr_good.",
            "On 'one-cycle', set cycle_lr to 0.4: the constant rate goes wild, while one-cycle still settles.",
            "On 'one-cycle', choose yes for cycle_momentum and set cycle_lr to 0.05.",
        ],
        INPUTS,
        values,
    )
    points = _data_sheet(book, data)
    model, curve_x = _model_sheet(book, points)
    rules = book.sheet(
        "rules",
        "What the losses tell: five runs and their rules of thumb",
        "All runs fit the same curve to the same points and begin alike. An epoch is one pass over all training "
        "points, here a single step. Each training loss is taken before its step, each validation loss after it.",
        "The validation error is the mean distance, up or down, between the curve and the validation points.",
    )
    high, low, good = rules.inputs(rules.next_row, 1, ("lr_high", "lr_low", "lr_good"))
    (few,) = rules.inputs(rules.next_row - 1, 1, ("few",))
    runs = {
        "high": _run_sheet(book, "high", "A rate that is too high", high, model, EPOCHS),
        "low": _run_sheet(book, "low", "A rate that is too low", low, model, EPOCHS),
        "good": _run_sheet(book, "good", "A good rate, for many epochs", good, model, MANY),
    }
    curves = _curves_sheet(book, runs, few, model, curve_x)
    _facts(rules, {"high": high, "low": low, "good": good}, runs, few)
    _panels(rules, points, runs, curves)
    _finder_sheet(book, model)
    _one_cycle_sheet(book, model)
    return book


def _data_sheet(book: Book, data: Values) -> dict[str, Array]:
    sheet = book.sheet(
        "data",
        "The points",
        "The model learns from the training points only. The validation points are kept back, to see how well it does "
        "on points that it has not seen.",
        "They all come from the same curve, with noise. Change any number here and everything follows.",
    )
    points: dict[str, Array] = {}
    for left, part in ((1, "train"), (4, "valid")):
        table = sheet.table(sheet.next_row if part == "train" else top, left, len(data[f"{part}_x"]))
        top = table.head
        which = {"train": "training", "valid": "validation"}[part]
        for axis, words in (("x", f"{which} point's x"), ("y", f"{which} point's y")):
            numbers = [Typed(value) for value in data[f"{part}_{axis}"]]
            name = f"{part}_{axis}"
            points[name] = table.column(name, "data", numbers, words=words, torch=name, absolute=True)
    sheet.chart(top, 7, scatter("The points", "x", "y", _clouds(points), width=20, height=11))
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(top, table.first - 1)
    return points


def _clouds(points: Mapping[str, Array]) -> list[Series]:
    labels = {"train": "training points", "valid": "validation points"}
    return [
        Series(label, points[f"{part}_x"], points[f"{part}_y"], points=True, line=False, color=color)
        for color, (part, label) in enumerate(labels.items())
    ]


def _model_sheet(book: Book, points: Mapping[str, Array]) -> tuple[Model, Array]:
    sheet = book.sheet(
        "model",
        f"The model: {BUMPS} bumps",
        f"The curve is a sum: y_hat = bias + weight 1 * bump 1 + weight 2 * bump 2 + … up to bump {BUMPS}. A bump is "
        "1 at its centre and falls to 0 on both sides: e ^ -((x - centre) / width)^2.",
        "To learn means to find the bias and the weights, 13 numbers: how high each bump is to be. These are the "
        "model's parameters. The bumps themselves stay as they are.",
    )
    sheet.width(1, 17)
    sheet.width(2, 9, 80)
    top = sheet.next_row
    (share,) = sheet.inputs(top, 1, ("bump_width",))
    x = points["train_x"]
    low, high = tensor.smallest(x), tensor.largest(x)
    words = "bump_width, as a share of all x"
    width = sheet.value(top + 1, 1, "width", share * (high - low), "check", words=words)
    chart_row = top + 3
    row = chart_row + 20
    centres = low + (high - low) * (np.arange(BUMPS).astype(object) / (BUMPS - 1))
    words = "the bumps' centres, from the smallest x to the largest"
    layout = {"across": True, "absolute": True}
    centres = sheet.headed("bump_centre", centres, "check", row, 2, words=words, **layout)

    def bumps(x: Array) -> Array:
        return tensor.exp(-(((x[:, None] - centres) / width) ** 2))

    row += 4
    words = "a row for each training point, a column for each bump"
    train = sheet.headed("bumps", bumps(x), "activation", row, 2, words=words, torch="x", absolute=True)
    left = BUMPS + 4
    words = "the same turned round: a row for each bump"
    across = sheet.headed("bumps_across", train.T, "activation", row, left, words=words, torch="x.T", absolute=True)
    words = "the training points' y"
    y = sheet.headed("y_across", points["train_y"], "data", row - 4, left, words=words, torch="y", **layout)
    below = row + len(x) + 3
    words = "the same for the validation points"
    valid = bumps(points["valid_x"])
    valid = sheet.headed("valid_bumps", valid, "activation", below, 2, words=words, torch="valid_x", absolute=True)
    words = "the validation points' y"
    valid_y = sheet.headed(
        "valid_y_across", points["valid_y"], "data", below, left, words=words, torch="valid_y", **layout
    )
    below += len(valid) + 3
    curve_x = low + (high - low) * (np.arange(CURVE).astype(object) / (CURVE - 1))
    curve_x = sheet.headed("curve_x", curve_x, "check", below, 1, note=False, absolute=True, torch="torch.linspace")
    words = "the bumps along the curve, to draw it"
    curve = sheet.headed("curve_bumps", bumps(curve_x), "activation", below, 2, words=words, absolute=True)
    for block in (train, across, valid, curve):
        sheet.heat_map(block, HEAT)
    lines = [Series(f"bump {bump}", curve_x, curve[:, bump - 1]) for bump in range(1, BUMPS + 1)]
    sheet.chart(chart_row, 1, scatter("The bumps", "x", "how much of each bump", lines, width=24, height=9.5))
    return Model(train, across, y, valid, valid_y, curve), curve_x


def _predict(param: Array, bumps: Array) -> Array:
    """y_hat by bias and weights, for the bumps of each point."""
    return param[0] + tensor.matmul(param[None, 1:], bumps.T)[0]


def _steps(
    table: Table, run: str, lr: Any, model: Model, batches: Sequence[Sequence[int]], momentum: Any = 0
) -> tuple[Array, Array]:
    """The columns of a training, a row for each step with the points of its batch: the loss and the new parameters.

    `lr` and `momentum` are one for all steps, or an array with one for each.
    """
    count = len(batches[0])
    numbers = [f"point {point + 1}" for point in batches[0]] if len(set(map(tuple, batches))) == 1 else ["its point"]
    per_step = {"lr": lr, "momentum": momentum}
    per_step = {name: each[:, None] if np.ndim(each) else each for name, each in per_step.items()}

    def columns(name: str, role: str, words: str, torch: str, parts: Sequence[str]) -> Array:
        return table.columns(f"{run}_{name}", role, words=words, torch=torch, title=name, parts=parts, width=9.5)

    param = columns("param", "parameter", "the new_param of the row above; 0 at first", "model.bias, .weight", PARTS)
    y_hat = columns("y_hat", "activation", "bias + each weight * its bump, added up", "model(x)", numbers)
    batch = [list(points) for points in batches]
    made = [_predict(each, model.bumps[points]) for each, points in zip(param, batch, strict=True)]
    table.fill(f"{run}_y_hat", np.array(made, dtype=object))
    y = np.array([model.y[points] for points in batch], dtype=object)
    loss = [tensor.mean((each - wanted) ** 2) for each, wanted in zip(y_hat, y, strict=True)]
    grad_y_hat = columns("grad_y_hat", "gradient", "2 * (y_hat - y) / how many", "y_hat.grad", numbers)
    table.fill(f"{run}_grad_y_hat", 2 * (y_hat - y) / count)
    grad = columns("grad", "gradient", "grad_y_hat, each * the bump at its point, added up", ".grad", PARTS)
    made = [
        [tensor.sum(each), *tensor.matmul(each[None], model.across[:, points].T)[0]]
        for each, points in zip(grad_y_hat, batch, strict=True)
    ]
    table.fill(f"{run}_grad", np.array(made, dtype=object))
    placed = {}
    state = {}
    if isinstance(momentum, np.ndarray):
        words, torch = "momentum * that of the row above + grad", "state['momentum_buffer']"
        placed["momentum_buffer"] = columns("momentum_buffer", "optimiser state", words, torch, PARTS)
        state["momentum_buffer"] = previous(placed["momentum_buffer"], 0)
        words = "param - lr * momentum_buffer"
    else:
        words = "param - lr * grad"
    placed["new_param"] = columns("new_param", "parameter", words, "param, after the step", PARTS)

    def place(name: str, array: Any, _: str) -> Array:
        table.fill(f"{run}_{name}", array)
        return placed[name]

    step = np.arange(1, len(batches) + 1)[:, None]
    new_param, _ = sgd(place, param, grad, state, step=step, **per_step)
    table.fill(f"{run}_param", previous(new_param, 0))
    return np.array(loss, dtype=object), new_param


def _run_sheet(book: Book, run: str, title: str, lr: Any, model: Model, epochs: int) -> dict[str, Array]:
    """A run with all points in each step: the losses and the best so far first, how they come about on their right."""
    sheet = book.sheet(
        run,
        f"{title}: one row an epoch",
        f"The rate is lr_{run} on sheet 'rules'. The losses come first. How they come about stands on their right: the "
        "parameters, the prediction for each training point, the gradients, the new parameters.",
        "An epoch counts as better where its error is smaller than the best so far, by more than a ten-thousandth.",
    )
    table = sheet.table(sheet.next_row, 1, epochs, PARTS)

    def column(name: str, role: str, words: str, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(f"{run}_{name}", role, words=words, torch=torch, title=name, number_format=digits)

    columns = {
        "epoch": column("epoch", "check", "counts the epochs", digits=WHOLE),
        "training": column("training_loss", "loss", "mean of (y_hat - y)^2", "F.mse_loss(model(x), y)"),
        "validation": column("validation_loss", "loss", "the same for validation, after the step", "F.mse_loss"),
        "error": column("validation_error", "loss", "mean of |y_hat - y|, validation, after the step", "F.l1_loss"),
        "better": column("better", "check", "1 where the error is the best so far"),
        "best_error": column("best_error", "check", "the smallest error so far"),
        "best_epoch": column("best_epoch", "check", "its epoch"),
        "best_training": column("best_training", "check", "the training loss of that epoch"),
    }
    epoch, training, validation, error, better, best_error, best_epoch, best_training = columns.values()
    loss, new_param = _steps(table, run, lr, model, [range(len(model.y))] * epochs)
    table.fill(f"{run}_epoch", previous(epoch + 1, 1), WHOLE)
    table.fill(f"{run}_training_loss", loss)
    names = [f"point {number}" for number in range(1, len(model.valid_y) + 1)]
    words = "new_param's prediction for the validation points"
    valid = np.array([_predict(param, model.valid_bumps) for param in new_param], dtype=object)
    valid = table.column(
        f"{run}_valid_y_hat",
        "activation",
        valid,
        words=words,
        torch="model(valid_x)",
        title="valid_y_hat",
        parts=names,
        width=9.5,
    )
    table.fill(f"{run}_validation_loss", [tensor.mean((each - model.valid_y) ** 2) for each in valid])
    table.fill(f"{run}_validation_error", [tensor.mean(tensor.abs(each - model.valid_y)) for each in valid])
    smaller = tensor.where(tensor.less(error, BETTER * previous(best_error, FAR)), 1, 0)
    table.fill(f"{run}_better", tensor.finite_or(smaller, 0), WHOLE)
    is_better = tensor.equal(better, 1)
    table.fill(f"{run}_best_error", tensor.where(is_better, error, previous(best_error, FAR)))
    table.fill(f"{run}_best_epoch", tensor.where(is_better, epoch, previous(best_epoch, 1)), WHOLE)
    table.fill(f"{run}_best_training", tensor.where(is_better, training, previous(best_training, 0)))
    sheet.heat_map(new_param, DIVERGING)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return columns | {"new_param": new_param}


def _curves_sheet(book: Book, runs: Mapping[str, Any], few: Any, model: Model, curve_x: Array) -> dict[str, Any]:
    sheet = book.sheet(
        "curves",
        "What the charts on 'rules' draw",
        "The curve of each run after its last epoch, and the good run's losses up to the epoch that you typed into "
        "few; #N/A keeps the others out of the chart.",
    )
    sheet.width(1, 12)
    top = sheet.next_row
    params = np.array([index(column, few) for column in runs["good"]["new_param"].T], dtype=object)
    words = "the good run's bias and weights after epoch few"
    few_param = sheet.headed("few_param", params, "parameter", top, 1, across=True, words=words, torch="model.weight")
    last = {
        "high": runs["high"]["new_param"][-1],
        "low": runs["low"]["new_param"][-1],
        "few": few_param,
        "good": runs["good"]["new_param"][EPOCHS - 1],
        "many": runs["good"]["new_param"][-1],
    }
    table = sheet.table(top + 4, 1, CURVE)
    x = table.column("drawn_x", "check", curve_x, words="x")
    curves: dict[str, Any] = {"x": x}
    for run, param in last.items():
        words = f"y_hat along x: {RUNS[run][0]}"
        y_hat = _predict(param, model.curve_bumps)
        curves[run] = table.column(f"{run}_curve", "activation", y_hat, words=words, torch="model(curve_x)")
    losses = sheet.table(top + 4, table.next_column + 1, EPOCHS)
    good = {name: column[:EPOCHS] for name, column in runs["good"].items()}
    words = "the epoch, up to few"
    within = tensor.less_equal(good["epoch"], few)
    curves["few_epoch"] = losses.column("few_epoch", "check", good["epoch"], words="the epoch", number_format=WHOLE)
    for part in ("training", "validation"):
        words, shown = f"the {part} loss up to few", tensor.where(within, good[part], Call("NA"))
        curves[f"few_{part}"] = losses.column(f"few_{part}", "loss", shown, words=words)
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(table.head, table.first - 1)
    return curves


def _facts(sheet: Sheet, rates: Mapping[str, Any], runs: Mapping[str, Any], few: Any) -> None:
    """A table of what the losses of each run say, and which rules apply."""
    ends: dict[str, Any] = {run: few if end is None else end for run, (_, _, end) in RUNS.items()}

    def at(name: str, back: bool = False) -> Array:
        """A column of each run in its last epoch, or a quarter of its epochs before."""
        found = []
        for run, (_, home, _) in RUNS.items():
            column, end = runs[home][name], ends[run]
            if isinstance(end, int):
                found.append(column[end - 1 - (end // 4 if back else 0)])
            else:
                found.append(index(column, end - tensor.floor(end / 4) if back else end))
        return np.array(found, dtype=object)

    top = sheet.next_row
    table = sheet.table(top, 2, len(RUNS))
    for offset, (label, _, _) in enumerate(RUNS.values()):
        sheet.write(table.first + offset, 1, label, LABEL)
    sheet.width(1, 19)

    def column(name: str, array: Any, role: str, words: str, digits: str = NUMBER) -> Array:
        return table.column(name, role, array, words=words, number_format=digits, width=12.5)

    lr = [rates[home] for _, home, _ in RUNS.values()]
    column("rate", lr, "check", "the learning rate", PRECISE)
    column("epochs", list(ends.values()), "check", "how many it ran", WHOLE)
    first = [runs[home]["validation"][0] for _, home, _ in RUNS.values()]
    first = column("first_validation", first, "loss", "validation loss of epoch 1")
    training = column("last_training", at("training"), "loss", "last training loss")
    validation = column("last_validation", at("validation"), "loss", "last validation loss")
    words = "how much the loss fell in the last quarter: 1 - last / then"
    fell = [
        column(f"fell_{part}", 1 - last / at(part, back=True), "check", words, "0.0%")
        for part, last in (("training", training), ("validation", validation))
    ]
    error = column("last_error", at("error"), "loss", "last validation error")
    best = column("lowest_error", at("best_error"), "check", "the smallest so far")
    column("lowest_epoch", at("best_epoch"), "check", "in this epoch", WHOLE)
    # An error value, from losses too large for any number, makes a rule false, but for the first.
    greater, both = tensor.greater, tensor.both
    rules = (
        ("rate_too_high", "validation loss above that of epoch 1, or no number", greater(validation, first), 1),
        (
            "train_longer",
            "both losses fell by more than 2% in the last quarter",
            both(greater(fell[0], FALLING), greater(fell[1], FALLING)),
            0,
        ),
        ("training_above", "training loss above validation loss: more to learn", greater(training, validation), 0),
        (
            "too_many_epochs",
            "error 10% above its lowest, training loss below what it was then",
            both(greater(error, WORSE * best), greater(at("best_training"), training)),
            0,
        ),
    )
    marks = [
        column(name, tensor.finite_or(tensor.where(applies, 1, 0), otherwise), "check", words, WHOLE)
        for name, words, applies, otherwise in rules
    ]
    for mark in marks:
        sheet.mark(mark, mark)
    sheet.write(table.first + len(RUNS), table.next_column - len(rules), "1 in a frame: the rule applies", HEADING)
    sheet.next_row = table.first + len(RUNS) + 2


def _panels(sheet: Sheet, points: Mapping[str, Array], runs: Mapping[str, Any], curves: Mapping[str, Any]) -> None:
    """For each run a chart of its losses, one of its curve, and its rule of thumb beside them."""
    top = sheet.next_row
    for number, (run, (heading, *lines)) in enumerate(RULES.items()):
        row = top + number * 20
        _, home, end = RUNS[run]
        many = run == "many"
        if end is None:
            epoch, losses = curves["few_epoch"], [curves["few_training"], curves["few_validation"]]
        else:
            epoch, *losses = (runs[home][name][:end] for name in ("epoch", "training", "validation", "error"))
        labels = ("training loss", "validation loss", "validation error")[: 3 if many else 2]
        series = [
            Series(label, epoch, loss, width=2.25, color=color)
            for color, (label, loss) in enumerate(zip(labels, losses, strict=False))
        ]
        y_title, log = ("loss (powers of ten)", True) if run == "high" else ("loss", False)
        limits = None if log else (0, None)
        title = RUNS[run][0].capitalize()
        chart = scatter(f"{title}: the losses", "epoch", y_title, series, width=16, height=9, log=log, y_range=limits)
        sheet.write(row, 1, heading, HEADING)
        sheet.chart(row + 1, 1, chart)
        line = Series("curve", curves["x"], curves[run], color=6, width=2.25)
        chart = scatter("Its curve after the last epoch", "x", "y", [*_clouds(points), line], width=14, height=9)
        sheet.chart(row + 1, 7, chart)
        offset = row + 2
        for line in lines:
            for text in textwrap.wrap(line, 62):
                sheet.write(offset, 13, text)
                offset += 1
            offset += 1


def _finder_sheet(book: Book, model: Model) -> None:
    sheet = book.sheet(
        "finder",
        "Find the learning rate in one short run",
        f"The rate begins far too low and grows with each of {FINDER_STEPS} steps. At first the loss hardly moves, "
        "then it falls, and at last, where the rate is too high, it shoots up; there the finder stops.",
        "Two suggestions: the rate at which the loss falls fastest, or a tenth of the rate at which it was lowest. "
        "Nothing that is learned here is kept: the training proper begins anew.",
        "Steps here take all points, so the loss is smooth already. With mini-batches it jumps up and down, and one "
        "reads the smoothed loss: a mean in which older losses count less and less.",
    )
    sheet.width(1, 19)
    top = sheet.next_row
    low, high, beta = sheet.inputs(top, 1, ("lr_from", "lr_to", "smoothing"))
    row = sheet.next_row
    table = sheet.table(row + 23, 1, FINDER_STEPS, PARTS)

    def column(name: str, role: str, words: str, array: Any = None, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(f"finder_{name}", role, array, words=words, torch=torch, title=name, number_format=digits)

    step = column("step", "check", "counts the steps", digits=WHOLE)
    table.fill("finder_step", previous(step + 1, 1), WHOLE)
    words = "lr_from * (lr_to / lr_from) ^ (share of the way)"
    rates = low * (high / low) ** ((step - 1) / (FINDER_STEPS - 1))
    lr = column("lr", "check", words, rates, "group['lr']", "0.00000")
    loss = column("loss", "loss", "mean of (y_hat - y)^2", torch="F.mse_loss(model(x), y)")
    average = column("average", "check", "smoothing * that above + (1 - smoothing) * loss")
    smoothed = column("smoothed", "loss", "average / (1 - smoothing ^ step)", average / (1 - beta**step))
    best = column("best", "check", "the lowest smoothed loss so far")
    running = column("running", "check", "1 until smoothed is above 4 * best")
    slope = column("slope", "check", "smoothed - that above, while it falls", digits="0.000000")
    shown = column("shown_loss", "loss", "loss while running, for the chart")
    shown_smoothed = column("shown_smoothed", "loss", "smoothed while running")
    table.fill("finder_average", beta * previous(average, 0) + (1 - beta) * loss)
    is_running = tensor.equal(running, 1)
    so_far = previous(best, smoothed[0])
    table.fill("finder_best", tensor.where(is_running, tensor.minimum(so_far, smoothed), so_far))
    calm = tensor.finite_or(tensor.where(tensor.less_equal(smoothed, 4 * so_far), 1, 0), 0)
    table.fill("finder_running", previous(running, 1) * calm, WHOLE)
    falls = tensor.minimum(smoothed - previous(smoothed, smoothed[0]), 0)
    table.fill("finder_slope", tensor.where(is_running, falls, 0), "0.000000")
    for name, each in (("shown_loss", loss), ("shown_smoothed", smoothed)):
        table.fill(f"finder_{name}", tensor.where(is_running, each, Call("NA")))
    made, new_param = _steps(table, "finder", lr, model, [range(len(model.y))] * FINDER_STEPS)
    table.fill("finder_loss", made)
    sheet.heat_map(new_param, DIVERGING)

    def fact(offset: int, name: str, words: str, formula: Any, digits: str = PRECISE) -> Any:
        return sheet.value(row + offset, 1, name, formula, "check", words=words, number_format=digits)

    place = Call("MATCH", tensor.smallest(slope), span(slope), 0)
    steepest = fact(0, "steepest_step", "where the smoothed loss falls fastest", place, WHOLE)
    steep = fact(1, "suggested_steepest", "the rate of that step", index(lr, steepest))
    place = Call("MATCH", best[-1], span(best), 0)
    lowest = fact(2, "lowest_step", "where the smoothed loss is lowest", place, WHOLE)
    lowest_lr = fact(3, "lowest_lr", "the rate of that step", index(lr, lowest))
    tenth = fact(4, "suggested_tenth", "a tenth of that rate", lowest_lr / 10)
    marks = sheet.table(row + 7, 1, 2)
    words = "from 0 to the first loss, to draw both"
    height = marks.column("mark_height", "check", [0, smoothed[0]], words=words, width=19)
    lines = [
        Series(label, marks.column(name, "check", [rate, rate], words=f"suggested_{word}", number_format=PRECISE), height)
        for label, name, word, rate in (
            ("steepest", "mark_steepest", "steepest", steep),
            ("a tenth of the lowest", "mark_tenth", "tenth", tenth),
        )
    ]
    curves = [
        Series("loss", lr, shown, color=5, width=1.5),
        Series("smoothed loss", lr, shown_smoothed, color=0, width=2.5),
        *(replace(line, color=color) for line, color in zip(lines, (3, 2), strict=True)),
    ]
    title = "The loss as the rate grows"
    chart = scatter(title, "learning rate (powers of ten)", "loss", curves, width=22, height=11, log_x=True)
    sheet.chart(row, 6, chart)
    sheet.freeze(table.first, 3)
    sheet.repeat_rows(table.head, table.first - 1)


def _one_cycle_sheet(book: Book, model: Model, curve_x: Array) -> None:
    sheet = book.sheet(
        "one-cycle",
        "One-cycle: up, then down to almost nothing",
        "The same points, but each step looks at only one of them, in a new order each epoch, so that its gradient is "
        "a guess. With a high constant rate the run goes far with each guess, and jumps about to the very end.",
        "One-cycle begins with a low rate, goes up to cycle_lr, far and fast, and then down, so that the guesses "
        "average out and the run settles. It is OneCycleLR of torch.optim.lr_scheduler, with its cosines.",
        "With cycle_momentum the momentum goes the other way: down while the rate goes up, then up again. It is left "
        "out at first. The constant run then has the momentum half way between.",
    )
    sheet.width(1, 19)
    total = len(model.y) * CYCLE_EPOCHS
    names = [spec.name for spec in CYCLE_INPUTS]
    rate, pct_start, div, final_div, chosen, base, most = sheet.inputs(sheet.next_row, 1, names)
    row = sheet.next_row
    table = sheet.table(row + 44, 1, total)

    def column(name: str, role: str, words: str, array: Any = None, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(name, role, array, words=words, torch=torch, number_format=digits, width=15)

    step = column("cycle_step", "check", "counts the steps", digits=WHOLE)
    table.fill("cycle_step", previous(step + 1, 1), WHOLE)
    epoch = tensor.floor((step - 1) / len(model.y)) + 1
    column("cycle_epoch", "check", "passes over the data", epoch, digits=WHOLE)
    with_momentum = tensor.equal(chosen, "yes")
    low = rate / div
    rising = one_cycle(step, total, pct_start, (low, rate, low / final_div))
    falling = one_cycle(step, total, pct_start, (most, base, most))
    plans = {
        "constant": ([rate] * total, tensor.where(with_momentum, (base + most) / 2, [0] * total)),
        "one_cycle": (rising, tensor.where(with_momentum, falling, 0)),
    }
    words = {
        "constant": ("cycle_lr", "half way between both momentums"),
        "one_cycle": ("from cycle_lr / div_factor up, then down", "from max_momentum down, then up"),
    }
    rates, momenta = (
        {
            run: column(f"{name}_{run}", "check", words[run][part], plans[run][part], f"group['{name}']", digits)
            for run in plans
        }
        for part, (name, digits) in enumerate((("lr", "0.000000"), ("momentum", NUMBER)))
    )
    order = shuffled(len(model.y), CYCLE_EPOCHS)
    last, losses = {}, {}
    for run, title in (("constant", "The constant rate"), ("one_cycle", "One-cycle")):
        new_param = _cycle_steps(book, run, title, step, rates[run], momenta[run], model, order)
        last[run] = new_param[-1]
        full = [
            Call("SUMPRODUCT", (param[0] + Call("MMULT", span(param[1:]), span(model.across)) - span(model.y)) ** 2)
            / len(model.y)
            for param in new_param
        ]
        name, text = f"loss_{run}", "mean loss of all training points, after the step"
        losses[run] = column(name, "loss", text, np.array(full, dtype=object), "F.mse_loss(model(x), y)")
    _cycle_ends(sheet, row, last, losses, model)
    labels = {"constant": "constant rate", "one_cycle": "one-cycle"}
    drawn = sheet.table(table.head, table.next_column + 1, CURVE)
    x = drawn.column("cycle_curve_x", "check", curve_x, words="x")
    curves = []
    for color, (run, param) in enumerate(last.items()):
        y_hat = _predict(param, model.curve_bumps)
        words_ = f"y_hat along x: {labels[run]}"
        y_hat = drawn.column(f"curve_{run}", "activation", y_hat, words=words_, torch="model(curve_x)", width=15)
        curves.append(Series(labels[run], x, y_hat, color=color, width=2.25))
