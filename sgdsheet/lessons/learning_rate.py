"""One training with a learning rate too high, too low and good, for few and many epochs; one-cycle; a rate finder."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, NUMBER, PRECISE, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import HEADING, LABEL
from sgdsheet.expr import Call
from sgdsheet.lessons.bumps import (
    CURVE,
    PARTS,
    Model,
    mean_loss,
    model_sheet,
    predict,
    predict_torch,
    reference_model,
    reference_training,
    training_columns,
)
from sgdsheet.lessons.data import Data, Source, check_columns, read_csv
from sgdsheet.lessons.lesson import Lesson, Values
from sgdsheet.lessons.schedules import one_cycle
from sgdsheet.tensor import Array, index, previous, span

EPOCHS, MANY = 40, 300
FINDER_STEPS = 100
CYCLE_EPOCHS = 8
MOST = 100  # points: a step has two columns for each of them
BETTER = 0.9999  # an error is the best so far where it is below this share of the one before, not just by rounding
FAR = 1e300  # the best error of a run that has had none yet
WORSE, FALLING = 1.1, 0.02  # what the rules call worse, and still falling
SMALL = "0.000000"

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


def _one_cycle_sheet(book: Book, model: Model) -> None:
    sheet = book.sheet(
        "one-cycle",
        "One-cycle: up, and down again to almost nothing",
        "The same points, but each step looks at only one of them, in a new order each epoch: its gradient is a guess "
        "at the gradient of all. With a high constant rate the run follows each guess far, and jumps to the very end.",
        "One-cycle begins with a low rate, goes up to cycle_lr to get far, and then down, so that the guesses average "
        "out and the run settles. It is OneCycleLR of torch.optim.lr_scheduler, with its cosines.",
        "With cycle_momentum the momentum goes the other way, down and up. It is left out at first. The constant run "
        "then has the momentum half way between.",
    )
    sheet.width(1, 19)
    names = [spec.name for spec in CYCLE_INPUTS]
    rate, pct_start, div, final_div, chosen, base, most = sheet.inputs(sheet.next_row, 1, names)
    row = sheet.next_row
    total = len(model.y) * CYCLE_EPOCHS
    table = sheet.table(row + 47, 1, total)

    def column(name: str, role: str, words: str, array: Any = None, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(name, role, array, words=words, torch=torch, number_format=digits, width=15)

    step = column("cycle_step", "check", "counts the steps", digits=WHOLE)
    table.fill("cycle_step", previous(step + 1, 1), WHOLE)
    column("cycle_epoch", "check", "passes over the data", tensor.floor((step - 1) / len(model.y)) + 1, digits=WHOLE)
    low = rate / div
    rates = {
        "constant": column("lr_constant", "check", "cycle_lr", np.array([rate] * total), "group['lr']", SMALL),
        "one_cycle": column(
            "lr_one_cycle",
            "check",
            "from cycle_lr / div_factor up, then down",
            one_cycle(step, total, pct_start, (low, rate, low / final_div)),
            "OneCycleLR: group['lr']",
            SMALL,
        ),
    }
    momenta = {"constant": np.array([(base + most) / 2] * total), "one_cycle": one_cycle(step, total, pct_start, (most, base, most))}
    for run, words in (("constant", "half way between"), ("one_cycle", "from max_momentum down, then up")):
        used = tensor.where(tensor.equal(chosen, "yes"), momenta[run], 0)
        momenta[run] = column(f"momentum_{run}", "check", f"0, or {words}", used, "group['momentum']")
    losses, ends = {}, {}
    for run, title in (("constant", "The constant rate"), ("one_cycle", "One-cycle")):
        new_param = _cycle_steps(book, run, title, rates[run], momenta[run], model)
        full = np.array([mean_loss(param, model.across, model.y) for param in new_param], dtype=object)
        words = "mean loss of all training points, after the step"
        losses[run] = column(f"loss_{run}", "loss", words, full, "F.mse_loss(model(x), y)")
        ends[run] = new_param[-1]
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)

    drawn = sheet.table(table.head, table.next_column + 1, CURVE)
    x = drawn.column("cycle_curve_x", "check", model.curve_x, words="x")
    curves = {}
    for run, param in ends.items():
        words = f"the last curve of {LABELS[run]}"
        y_hat = predict(param, model.curve_bumps)
        curves[run] = drawn.column(f"curve_{run}", "activation", y_hat, words=words, torch="model(curve_x)", width=15)

    summary = sheet.table(row, 2, len(ends))
    for offset, run in enumerate(ends):
        sheet.write(summary.first + offset, 1, LABELS[run], LABEL)
    epoch = [each[-len(model.y) :] for each in losses.values()]
    for name, words, array in (
        ("end_training", "mean loss of all training points after the last step", [each[-1] for each in epoch]),
        ("last_lowest", "the smallest in the last epoch", [tensor.smallest(each) for each in epoch]),
        ("last_highest", "the largest in the last epoch", [tensor.largest(each) for each in epoch]),
        ("end_validation", "of the validation points", [mean_loss(p, model.valid_across, model.valid_y) for p in ends.values()]),
    ):
        summary.column(name, "loss", array, words=words, torch="F.mse_loss(model(x), y)", width=17)

    def chart(title: str, y_title: str, made: Mapping[str, Array], place: tuple[int, int], log: bool = False) -> None:
        lines = [Series(LABELS[run], step, each, width=2) for run, each in made.items()]
        sheet.chart(*place, scatter(title, "step", y_title, lines, width=16, height=9.5, log=log))

    top = row + 6
    chart("The learning rate", "learning rate", rates, (top, 1))
    chart("The loss of all training points", "mean loss (powers of ten)", losses, (top, 6), log=True)
    chart("The momentum", "momentum", momenta, (top + 20, 1))
    clouds = [*_clouds(model.points)]
    lines = [Series(LABELS[run], x, each, color=color + 2, width=2.25) for color, (run, each) in enumerate(curves.items())]
    sheet.chart(top + 20, 6, scatter("The curves at the end", "x", "y", [*clouds, *lines], width=16, height=9.5))


def _cycle_steps(book: Book, run: str, title: str, lr: Array, momentum: Array, model: Model) -> Array:
    """The parameters after each step that looks at one point."""
    sheet = book.sheet(
        f"{LABELS[run]} steps",
        f"{title}: one row a step",
        "The rate and the momentum come from sheet 'one-cycle'. A step looks at one training point.",
    )
    order = shuffled(len(model.y))
    table = sheet.table(sheet.next_row, 1, len(order), PARTS)
    words = "which training point: a new order each epoch"
    table.column(f"{run}_point", "check", order + 1, words=words, title="point", number_format=WHOLE)
    loss = table.column(f"{run}_loss", "loss", words="(y_hat - y)^2 of this point", torch="F.mse_loss", title="loss")
    made, new_param = training_columns(table, run, lr, model, order[:, None], momentum)
    table.fill(f"{run}_loss", made)
    sheet.heat_map(new_param, DIVERGING)
    sheet.freeze(table.first, 3)
    sheet.repeat_rows(table.head, table.first - 1)
    return new_param


def shuffled(points: int) -> Array:
    """The points in the order in which the steps of sheet 'one-cycle' look at them, counted from 0."""
    generator = random.Random(4)
    order = []
    for _ in range(CYCLE_EPOCHS):
        epoch = list(range(points))
        generator.shuffle(epoch)
        order += epoch
    return np.array(order)


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch

    given = {name: torch.as_tensor(v, dtype=torch.float64) for name, v in values.items() if not isinstance(v, str)}
    blocks = given | reference_model(given)
    runs = {}
    for run, epochs in (("high", EPOCHS), ("low", EPOCHS), ("good", MANY)):
        runs[run] = _reference_run(blocks, float(values[f"lr_{run}"]), epochs)
        blocks |= {f"{run}_{name}": column for name, column in runs[run].items()}
    few = int(values["few"])
    last = {
        run: runs[home]["new_param"][(few if end is None else end) - 1] for run, (_, home, end) in RUNS.items()
    }
    epochs = runs["good"]["epoch"][:EPOCHS]
    blocks |= {"few_param": last["few"], "drawn_x": blocks["curve_x"], "few_epoch": epochs}
    blocks |= {f"{run}_curve": predict_torch(param, blocks["curve_bumps"]) for run, param in last.items()}
    for part in ("training", "validation"):
        losses = runs["good"][f"{part}_loss"][:EPOCHS]
        blocks[f"few_{part}"] = torch.where(epochs <= few, losses, torch.nan)
    blocks |= _reference_facts(values, runs) | _reference_finder(blocks) | _reference_one_cycle(values, blocks)
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _reference_run(blocks: Mapping[str, Any], lr: float, epochs: int) -> dict[str, Any]:
    """The sheet of a run."""
    import torch
    from torch.nn.functional import l1_loss, mse_loss

    y, valid_y = blocks["y_across"], blocks["valid_y_across"]
    run = reference_training(blocks["bumps"], y, [range(len(y))] * epochs, lr)
    valid = [predict_torch(param, blocks["valid_bumps"]) for param in run["new_param"]]
    run["training_loss"] = run.pop("loss")
    run["validation_loss"] = torch.stack([mse_loss(each, valid_y) for each in valid])
    run["validation_error"] = torch.stack([l1_loss(each, valid_y) for each in valid])
    run |= {"valid_y_hat": torch.stack(valid), "epoch": torch.arange(1, epochs + 1)}
    best = {"better": 0.0, "best_error": FAR, "best_epoch": 1.0, "best_training": 0.0}
    columns: dict[str, list[float]] = {name: [] for name in best}
    for number, error in enumerate(run["validation_error"].tolist()):
        best["better"] = float(error < BETTER * best["best_error"])
        if best["better"]:
            best |= {"best_error": error, "best_epoch": number + 1.0}
            best["best_training"] = run["training_loss"][number].item()
        for name, value in best.items():
            columns[name].append(value)
    run |= {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}
    for name in ("lr", "momentum", "momentum_buffer"):
        del run[name]
    return run


def _reference_facts(values: Values, runs: Mapping[str, Any]) -> dict[str, Any]:
    """The table of sheet 'rules'. A cell has no infinity, only an error: in a comparison it counts as no number."""
    import torch

    ends = {run: int(values["few"]) if end is None else end for run, (_, _, end) in RUNS.items()}

    def at(name: str, back: bool = False) -> Any:
        found = [runs[home][name][ends[run] - (ends[run] // 4 if back else 0) - 1] for run, (_, home, _) in RUNS.items()]
        found = torch.stack(found).double()
        return found.where(found.isfinite(), torch.nan)

    first = torch.stack([runs[home]["validation_loss"][0] for _, home, _ in RUNS.values()])
    training, validation, error = at("training_loss"), at("validation_loss"), at("validation_error")
    fell_training = 1 - training / at("training_loss", back=True)
    fell_validation = 1 - validation / at("validation_loss", back=True)
    best, then = at("best_error"), at("best_training")
    compared = validation.isfinite() & first.isfinite()
    return {
        "rate": torch.tensor([float(values[f"lr_{home}"]) for _, home, _ in RUNS.values()]),
        "epochs": torch.tensor(list(ends.values())),
        "first_validation": first,
        "last_training": training,
        "last_validation": validation,
        "fell_training": fell_training,
        "fell_validation": fell_validation,
        "last_error": error,
        "lowest_error": best,
        "lowest_epoch": at("best_epoch"),
        "rate_too_high": ~compared | (validation > first),
        "train_longer": (fell_training > FALLING) & (fell_validation > FALLING),
        "training_above": training > validation,
        "too_many_epochs": (error > WORSE * best) & (then > training),
    }


def _reference_finder(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """The sheet 'finder': torch trains, and the loss is smoothed as a finder does it while it runs."""
    import torch

    low, high, beta = (blocks[name] for name in ("lr_from", "lr_to", "smoothing"))
    step = torch.arange(1, FINDER_STEPS + 1, dtype=torch.float64)
    lr = low * (high / low) ** ((step - 1) / (FINDER_STEPS - 1))
    y = blocks["y_across"]
    run = reference_training(blocks["bumps"], y, [range(len(y))] * FINDER_STEPS, lr)
    mean, best, running, before = torch.tensor(0.0), torch.tensor(torch.nan), True, torch.tensor(torch.nan)
    columns: dict[str, list[Any]] = {name: [] for name in ("average", "smoothed", "best", "running", "slope")}
    for number, loss in zip(step, run["loss"], strict=True):
        mean = torch.lerp(loss, mean, beta)
        smoothed = mean / (1 - beta**number)
        if number == 1:
            best = before = smoothed.where(smoothed.isfinite(), torch.nan)
        running = running and bool(smoothed <= 4 * best)
        best = torch.minimum(best, smoothed) if running else best
        slope = (smoothed - before).clamp(max=0) if running else torch.tensor(0.0)
        before = smoothed
        row = {"average": mean, "smoothed": smoothed, "best": best, "running": torch.tensor(running), "slope": slope}
        for name, value in row.items():
            columns[name].append(value.double())
    run |= {name: torch.stack(column) for name, column in columns.items()} | {"step": step, "lr": lr}
    for name in ("loss", "smoothed"):
        run[f"shown_{name}"] = run[name].where(run["running"] == 1, torch.nan)
    del run["momentum"], run["momentum_buffer"]
    steepest, lowest = run["slope"].argmin(), run["best"].argmin()
    tenth = lr[lowest] / 10
    return {f"finder_{name}": column for name, column in run.items()} | {
        "steepest_step": steepest + 1,
        "suggested_steepest": lr[steepest],
        "lowest_step": lowest + 1,
        "lowest_lr": lr[lowest],
        "suggested_tenth": tenth,
        "mark_height": torch.stack([torch.zeros(()), run["smoothed"][0]]),
        "mark_steepest": lr[steepest].expand(2),
        "mark_tenth": tenth.expand(2),
    }


def _reference_one_cycle(values: Values, blocks: Mapping[str, Any]) -> dict[str, Any]:
    """The sheet 'one-cycle' and its two sheets of steps."""
    import torch
    from torch.nn.functional import mse_loss
    from torch.optim.lr_scheduler import OneCycleLR

    y, valid_y = blocks["y_across"], blocks["valid_y_across"]
    order = shuffled(len(y))
    with_momentum = values["cycle_momentum"] == "yes"
    rate, base, most = (float(values[name]) for name in ("cycle_lr", "base_momentum", "max_momentum"))

    def schedule(optimizer: Any) -> Any:
        return OneCycleLR(
            optimizer,
            max_lr=rate,
            total_steps=len(order),
            pct_start=float(values["pct_start"]),
            cycle_momentum=with_momentum,
            base_momentum=base,
            max_momentum=most,
            div_factor=float(values["div_factor"]),
            final_div_factor=float(values["final_div_factor"]),
        )

    found: dict[str, Any] = {"cycle_curve_x": blocks["curve_x"]}
    step = torch.arange(1, len(order) + 1)
    found |= {"cycle_step": step, "cycle_epoch": (step - 1) // len(y) + 1}
    ends: dict[str, list[Any]] = {}
    for run, momentum, chosen in (("constant", (base + most) / 2, None), ("one_cycle", most, schedule)):
        momentum = momentum if with_momentum else 0.0
        columns = reference_training(blocks["bumps"], y, order[:, None], rate, momentum, chosen)
        param = columns["new_param"]
        full = torch.stack([mse_loss(predict_torch(each, blocks["bumps"]), y) for each in param])
        found |= {f"{name}_{run}": columns.pop(name) for name in ("lr", "momentum")}
        found |= {f"{run}_{name}": column for name, column in columns.items()}
        found |= {f"{run}_point": torch.as_tensor(order + 1), f"loss_{run}": full}
        found[f"curve_{run}"] = predict_torch(param[-1], blocks["curve_bumps"])
        epoch = full[-len(y) :]
        finite = epoch.isfinite().all()
        row = {
            "end_training": full[-1],
            "last_lowest": epoch.min() if finite else torch.tensor(torch.nan),
            "last_highest": epoch.max(),
            "end_validation": mse_loss(predict_torch(param[-1], blocks["valid_bumps"]), valid_y),
        }
        for name, value in row.items():
            ends.setdefault(name, []).append(value)
    return found | {name: torch.stack(column) for name, column in ends.items()}


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The slope is a difference of losses that are nearly equal."""
    return {"finder_slope": blocks["finder_smoothed"]}


def load(source: Source) -> dict[str, list[float]]:
    """Training and validation points: a CSV's, every third for validation, or the built-in ones."""
    if source.csv:
        points = read_csv(source.csv, ("data_x", "data_y"))
        check_columns(points, MOST, "learning_rate", "each of them has columns of its own in every step")
        kept = range(2, len(points["data_x"]), 3)
        if not kept:
            raise Error(f"{source.csv}: expected at least 3 rows of numbers, got 2: every third is for validation")
    else:
        points, kept = _wavy_points()
    learned = [number for number in range(len(points["data_x"])) if number not in kept]
    return {
        f"{part}_{axis}": [points[f"data_{axis}"][number] for number in numbers]
        for part, numbers in (("train", learned), ("valid", kept))
        for axis in "xy"
    }


def _wavy_points() -> tuple[dict[str, list[float]], list[int]]:
    """24 points of two waves with much noise, and which of them are for validation."""
    generator = random.Random(51)
    count = 24
    x = [round((number + generator.uniform(0.1, 0.9)) / count, 3) for number in range(count)]
    mixed = list(range(count))
    generator.shuffle(mixed)
    y = [round(math.sin(4 * math.pi * each) + generator.gauss(0, 0.4), 3) for each in x]
    return {"data_x": x, "data_y": y}, sorted(mixed[16:])


LABELS = {"constant": "constant rate", "one_cycle": "one-cycle"}
CYCLE_INPUTS = (
    Input("cycle_lr", 0.3, "the constant rate, and the highest of one-cycle (max_lr)", above=0),
    Input("pct_start", 0.3, "the share of the steps that go up", minimum=0.05, maximum=0.95),
    Input("div_factor", 25, "begin at cycle_lr divided by this", minimum=1),
    Input("final_div_factor", 10000, "end at that beginning divided by this", minimum=1),
    Input("cycle_momentum", "no", "whether there is a momentum, which then goes down and up", choices=("no", "yes")),
    Input("base_momentum", 0.85, "the lowest momentum", above=0, below=1),
    Input("max_momentum", 0.95, "the highest momentum", above=0, below=1),
)
INPUTS = (
    Input("bump_width", 0.08, "how broad a bump is, as a share of all x", above=0),
    Input("lr_high", 0.9, "a learning rate that is too high", minimum=0),
    Input("lr_low", 0.02, "a learning rate that is too low", minimum=0),
    Input("lr_good", 0.4, "a learning rate that is good", minimum=0),
    Input("few", 5, f"break the good run off after this epoch, from 1 to {EPOCHS}", minimum=1, maximum=EPOCHS, whole=True),
    Input("lr_from", 0.001, "the rate of the first step", above=0),
    Input("lr_to", 10, "the rate of the last step", above=0),
    Input("smoothing", 0.98, "how much of the mean before is kept; 0 leaves the loss as it is", minimum=0, below=1),
    *CYCLE_INPUTS,
)
LEARNING_RATE = Lesson(
    "learning_rate",
    "a rate too low, good, too high; too few and too many epochs; a rate finder; one-cycle",
    INPUTS,
    Data(dict.fromkeys(("train_x", "train_y", "valid_x", "valid_y"), 1), load, ("csv",)),
    build,
    reference,
    sizes,
)
