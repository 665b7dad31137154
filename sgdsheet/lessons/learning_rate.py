"""A learning rate too high, too low and good, too few epochs and too many: what the losses look like in each."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, PRECISE, Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import HEADING, LINES, PROSE, WRAPPED_NOTE, Look
from sgdsheet.errors import Error
from sgdsheet.expr import Call
from sgdsheet.lessons import bumps, cycle, flow, rate_finder
from sgdsheet.lessons.bumps import CURVE, MSE, predict, predict_torch
from sgdsheet.lessons.data import Data, Source, check_columns, read_csv
from sgdsheet.lessons.flow import Column, Named, activation, check, columns, counter, data, loss, parameter, steps
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, both, equal, finite_or, greater, index, less, less_equal, mean, previous, where

EPOCHS, MANY = 40, 300
FEWEST = 9  # points, so that the steps of the finder have mini-batches to choose from
MOST = 100  # points: a step has two columns for each of them
BETTER = 0.9999  # an error is the best so far where it is below this share of the one before, not just by rounding
FAR = 1e300  # the best error of a run that has had none yet
APPLIES = '"applies";;"·"'  # the number format of a rule: 1 or 0
LARGE = "[>=1000]0.0E+0;0.000"  # of a loss, which is never below 0
HIGH = 232  # pixels that a chart of 'rules' takes
WORSE, FALLING = 1.1, 0.05  # what the rules call worse, and still falling

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
        "See: the validation loss grows far above all it was before, and so does the training loss. A rate far "
        "higher still makes both too large for any number.",
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


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `rules`, `data`, `model`, the runs `high`, `low`, `good`, `finder`, `one-cycle`, and their details."""
    rules = book.sheet(
        "rules",
        "What the losses tell: five runs and their rules of thumb",
        "All runs fit the same curve to the same points and begin alike. An epoch is one pass over all training "
        "points, here a single step. Change a rate, or after how many epochs the third run stops.",
    )
    typing, points = data_sheet(book, given)
    model = bumps.model_sheet(book, points)
    inputs_row = rules.next_row + 1
    cell = Named(
        **vars(flow.inputs(rules, "lr_high", "lr_low", row=inputs_row, left=2, across=True)),
        **vars(flow.inputs(rules, "few", "lr_good", row=inputs_row, left=4, across=True)),
    )
    runs = {
        "high": run_sheet(book, "high", "A rate that is too high", cell.lr_high, model, EPOCHS),
        "low": run_sheet(book, "low", "A rate that is too low", cell.lr_low, model, EPOCHS),
        "good": run_sheet(book, "good", "A good rate, for many epochs", cell.lr_good, model, MANY),
    }
    curves = curves_sheet(book, runs, cell.few, model)
    rules_sheet(rules, inputs_row, points, runs, curves, cell)
    title = f"The good run's curve after {EPOCHS} epochs"
    flow.charts(model.sheet, model.chart, curve_chart(title, points, curves, "good", width=20, height=14))
    typing.chart(points.train.head, 7, curve_chart(title, points, curves, "good", width=26, height=15))
    free = rate_finder.finder_sheet(book, model, curves.sheet, curves.head, curves.free)
    cycle.one_cycle_sheet(book, points, model, curves.sheet.table(curves.head, free, CURVE))


def data_sheet(book: Book, given: Mapping[str, Any]) -> tuple[Sheet, Named]:
    sheet = book.sheet(
        "data",
        "The points",
        "The model learns from the training points only. The validation points are kept back, to see how well it does "
        "on points that it has not seen.",
        "They all come from one curve of two waves, with much noise. Change any number and everything follows.",
    )
    top, points = sheet.next_row, {}
    for left, part, which in ((1, "train", "training"), (4, "valid", "validation")):
        x, y = f"{part}_x", f"{part}_y"
        points[part] = steps(
            sheet,
            len(given[x]),
            f"{part}_",
            row=top,
            left=left,
            x=data(typed(given[x]), f"the {which} point's x", x, absolute=True),
            y=data(typed(given[y]), f"the {which} point's y", y, absolute=True),
        )
    return sheet, Named(**points)


def run_sheet(book: Book, run: str, title: str, lr: Any, model: Named, epochs: int) -> Named:
    """A run with all points in each step: the losses and the best so far first, how they come about on their right."""
    sheet = book.sheet(
        run,
        f"{title}: one row an epoch",
        f"The rate is lr_{run} on sheet 'rules'. A training loss is taken before its step, a validation loss after "
        "it. The validation error is the mean distance, up or down, between the curve and the validation points.",
    )
    all_points = np.tile(np.arange(len(model.y)), (epochs, 1))

    def best(name: str, of: str, first: Any) -> Any:
        return lambda t: where(equal(t.better, 1), t[of], previous(t[name], first))

    t = steps(
        sheet,
        epochs,
        f"{run}_",
        parts=bumps.PARTS,
        freeze=2,
        short=True,
        width=6,
        epoch=counter(lambda t: previous(t.epoch + 1, 1), "counts", width=7),
        training_loss=loss(lambda t: bumps.step_losses(t, model, all_points), "mean of (y_hat - y)^2", MSE, width=8),
        validation_loss=loss(
            lambda t: [mean(missed**2) for missed in t.valid_y_hat - model.valid_y],
            "the same, validation points",
            "F.mse_loss(model(valid_x), valid_y)",
            width=9,
        ),
        validation_error=loss(
            lambda t: [mean(tensor.abs(missed)) for missed in t.valid_y_hat - model.valid_y],
            "mean of |y_hat - y|",
            "F.l1_loss(model(valid_x), valid_y)",
            width=9,
        ),
        better=counter(
            lambda t: finite_or(where(less(t.validation_error, BETTER * previous(t.best_error, FAR)), 1, 0), 0),
            "1 where the error is the best so far, by more than a ten-thousandth",
            folded=True,
        ),
        best_error=check(best("best_error", "validation_error", FAR), "the smallest error so far", folded=True),
        best_epoch=counter(best("best_epoch", "epoch", 1), "its epoch", folded=True),
        best_training=check(best("best_training", "training_loss", 0), "the training loss of that epoch", folded=True),
        **bumps.training(model, all_points, lr),
        valid_y_hat=activation(
            lambda t: [predict(param, model.valid_bumps) for param in t.new_param],
            "y_hat of the validation points, by new_param",
            "model(valid_x)",
            parts=[f"point {number}" for number in range(1, len(model.valid_y) + 1)],
            folded=True,
        ),
    )
    sheet.heat_map(t.new_param, DIVERGING)
    return t


def curves_sheet(book: Book, runs: Mapping[str, Named], few: Any, model: Named) -> Named:
    sheet = book.sheet(
        "curves",
        "What the charts draw",
        "On 'rules': the curve of each run after its last epoch, and the good run's losses up to the epoch that you "
        "typed into few; #N/A keeps the others out of the chart. Then what those on 'finder' and 'one-cycle' draw.",
        details=True,
    )
    sheet.width(1, 10)
    top, good = sheet.next_row, runs["good"]
    words = "the good run's bias and weights after epoch few"
    few_param = parameter(flow.row_of(good.new_param, few), words, "model.weight")
    few_param = flow.headed(sheet, top, 1, "few_param", few_param, across=True)

    def curve(run: str) -> Any:
        _, home, end = RUNS[run]
        param = few_param if end is None else runs[home].new_param[end - 1]
        return activation(predict(param, model.curve_bumps), f"y_hat along x: {RUNS[run][0]}", "model(curve_x)")

    t = steps(
        sheet, CURVE, row=top + 4, drawn_x=check(model.curve_x, "x"), **{f"{run}_curve": curve(run) for run in RUNS}
    )

    def up_to_few(part: str) -> Any:
        shown = where(less_equal(good.epoch[:EPOCHS], few), good[f"{part}_loss"][:EPOCHS], Call("NA"))
        return loss(shown, f"the {part} loss up to few")

    beside = sheet.table(t.head, t.table.next_column + 1, EPOCHS)
    losses = columns(
        beside,
        few_epoch=counter(good.epoch[:EPOCHS], "the epoch"),
        few_training=up_to_few("training"),
        few_validation=up_to_few("validation"),
    )
    return Named(**vars(t), **vars(losses), sheet=sheet, free=beside.next_column + 1)


def rules_sheet(
    sheet: Sheet, inputs_row: int, points: Named, runs: Mapping[str, Named], curves: Named, cell: Named
) -> None:
    """A column for each run: its rate, its losses, which rules apply, its curve, what that means, and its numbers."""
    sheet.width(1, 31)
    sheet.width(2, 41, 1 + len(RUNS))
    row = sheet.next_row
    for column, heading in enumerate((heading for heading, *_ in RULES.values()), start=2):
        sheet.write(inputs_row - 1, column, heading, HEADING)
    charts = [losses_chart(run, runs, curves) for run in RUNS]
    for column, chart in enumerate(charts, start=2):
        sheet.chart(row, column, chart)
    key(sheet, row + 2, {"training loss": 0, "validation loss": 1, "validation error": 2})
    row = sheet.row_from(sheet.top_of(row) + HIGH)
    facts, rules = rules_of(runs, cell)
    row = across(sheet, row, rules)
    for column, run in enumerate(RUNS, start=2):
        title = "Its curve after the last epoch"
        sheet.chart(row, column, curve_chart(title, points, curves, run, width=7.6, height=6, legend=False))
    key(sheet, row + 2, {"training points": 0, "validation points": 1, "curve": 6})
    row = sheet.row_from(sheet.top_of(row) + HIGH)
    for line in range(3):
        texts = [texts[line] for _, *texts in RULES.values()]
        for column, text in enumerate(texts, start=2):
            sheet.write(row, column, text, PROSE)
        sheet.row_heights[row] = 15.5 * max(len(textwrap.wrap(text, 43)) for text in texts) + 4
        row += 1
    across(sheet, row + 1, facts)
    sheet.print_on_one_page()


def key(sheet: Sheet, row: int, colors: Mapping[str, int]) -> None:
    """What the colours of a row of charts are, left of it: five legends would take the room of the plots."""
    for offset, (text, color) in enumerate(colors.items()):
        sheet.write(row + offset, 1, f"{text} \u25cf", Look(bold=True, color=LINES[color], horizontal="right"))


def across(sheet: Sheet, row: int, blocks: Mapping[str, Column]) -> int:
    """Blocks with a number for each run, a row each, beside their names and words. Returns the next free row."""
    t = Named()
    for name, each in blocks.items():
        says = f"{name.replace('_', ' ')}: {each.words}"
        sheet.write(row, 1, says, WRAPPED_NOTE)
        sheet.row_heights[row] = 13.5 * len(textwrap.wrap(says, 38)) + 3
        made = flow.place(sheet, row, 2, name, replace(each, formula=flow.formulas(each, t)), across=True)
        if each.digits == APPLIES:
            sheet.mark(made, made)
        setattr(t, name, made)
        row += 1
    return row


def losses_chart(run: str, runs: Mapping[str, Named], curves: Named) -> Any:
    label, home, end = RUNS[run]
    names = ("epoch", "training_loss", "validation_loss", "validation_error")
    epoch, *losses = (runs[home][name][:end] for name in names)
    if end is None:
        epoch, *losses = curves.few_epoch, curves.few_training, curves.few_validation
    shown = zip(names[1 : 4 if run == "many" else 3], losses, strict=False)
    series = [
        Series(name.replace("_", " "), epoch, each, width=2.25, color=color) for color, (name, each) in enumerate(shown)
    ]
    log = run == "high"
    title, y_title = f"{label.capitalize()}: the losses", "loss (powers of ten)" if log else "loss"
    ends = None if log else (0, 1)
    look: dict[str, Any] = {"width": 7.6, "height": 6, "legend": False}
    return scatter(title, "epoch", y_title, series, log=log, y_range=ends, x_range=(0, end or EPOCHS), **look)


def curve_chart(title: str, points: Named, curves: Named, run: str, **look: Any) -> Any:
    line = Series("curve", curves.drawn_x, curves[f"{run}_curve"], color=6, width=2.25)
    return scatter(title, "x", "y", [*bumps.clouds(points), line], **look)


def rules_of(runs: Mapping[str, Named], cell: Named) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the losses of each run say, and which rules apply to it."""

    def at(name: str, back: bool = False) -> Array:
        """A column of each run in its last epoch, or a quarter of its epochs before."""
        found = []
        for _, home, end in RUNS.values():
            column = runs[home][name]
            if end is not None:
                found.append(column[end - 1 - (end // 4 if back else 0)])
            else:
                found.append(index(column, cell.few - tensor.floor(cell.few / 4) if back else cell.few))
        return np.array(found)

    def rule(applies: Any, words: str, otherwise: int = 0) -> Any:
        return counter(finite_or(where(applies, 1, 0), otherwise), words, digits=APPLIES)

    training, validation, error = at("training_loss"), at("validation_loss"), at("validation_error")
    lowest, then = at("best_error"), at("best_training")
    fell_training = 1 - training / at("training_loss", back=True)
    fell_validation = 1 - validation / at("validation_loss", back=True)
    worse = greater(error, WORSE * lowest)
    fell = "how much it fell in the last quarter, 1 - last / then"
    facts: dict[str, Any] = {
        "rate": check([cell[f"lr_{home}"] for _, home, _ in RUNS.values()], "the learning rate", digits=PRECISE),
        "epochs": counter([cell.few if end is None else end for _, _, end in RUNS.values()], "how many it ran"),
        "last_training": loss(training, "training loss, at the end", digits=LARGE),
        "last_validation": loss(validation, "validation loss, at the end", digits=LARGE),
        "fell_training": check(fell_training, fell, digits="0%"),
        "fell_validation": check(fell_validation, fell, digits="0%"),
        "last_error": loss(error, "validation error, at the end", digits=LARGE),
        "lowest_error": check(lowest, "the smallest one"),
        "lowest_epoch": counter(at("best_epoch"), "in this epoch"),
        "training_then": loss(then, "training loss of that epoch", digits=LARGE),
    }
    # Losses too large for any number are an error in a cell: the first rule applies then, the others do not.
    rules: dict[str, Any] = {
        "rate_too_high": rule(
            both(worse, greater(training, then)), "error 10% above its lowest, training loss grew", otherwise=1
        ),
        "train_longer": rule(
            both(greater(fell_training, FALLING), greater(fell_validation, FALLING)),
            "both losses fell by over 5% in the last quarter",
        ),
        "training_above": rule(greater(training, validation), "training loss above validation loss"),
        "too_many_epochs": rule(both(worse, greater(then, training)), "error 10% above its lowest, training loss fell"),
    }
    return facts, rules


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch

    blocks = bumps.reference_model(v)
    model = Named(**blocks)
    runs = {
        run: reference_run(model, v[f"lr_{run}"], epochs)
        for run, epochs in (("high", EPOCHS), ("low", EPOCHS), ("good", MANY))
    }
    for run, made in runs.items():
        blocks |= {f"{run}_{name}": column for name, column in made.items()}
    last = {run: runs[home]["new_param"][(end or v.few) - 1] for run, (_, home, end) in RUNS.items()}
    epochs = runs["good"]["epoch"][:EPOCHS]
    blocks |= {"few_param": last["few"], "drawn_x": model.curve_x, "few_epoch": epochs}
    blocks |= {f"{run}_curve": predict_torch(param, model.curve_bumps) for run, param in last.items()}
    for part in ("training", "validation"):
        blocks[f"few_{part}"] = torch.where(epochs <= v.few, runs["good"][f"{part}_loss"][:EPOCHS], torch.nan)
    blocks |= reference_rules(v, runs)
    return blocks | rate_finder.reference_finder(v, model) | cycle.reference_one_cycle(v, model)


def reference_run(model: Named, lr: float, epochs: int) -> dict[str, Any]:
    """The sheet of a run."""
    import torch
    from torch.nn.functional import l1_loss, mse_loss

    valid_y = model.valid_y_across
    run = bumps.reference_training(model, np.tile(np.arange(len(model.y_across)), (epochs, 1)), lr)
    for name in ("lr", "momentum", "momentum_buffer"):
        del run[name]
    valid = [predict_torch(param, model.valid_bumps) for param in run["new_param"]]
    run["training_loss"] = run.pop("loss")
    run["validation_loss"] = torch.stack([mse_loss(each, valid_y) for each in valid])
    run["validation_error"] = torch.stack([l1_loss(each, valid_y) for each in valid])
    run |= {"valid_y_hat": torch.stack(valid), "epoch": torch.arange(1, epochs + 1)}
    rows, best_error, best_epoch, best_training = [], FAR, 1, 0.0
    for epoch, error in enumerate(run["validation_error"].tolist(), start=1):
        better = error < BETTER * best_error
        if better:
            best_error, best_epoch, best_training = error, epoch, run["training_loss"][epoch - 1].item()
        rows.append([better, best_error, best_epoch, best_training])
    best = ("better", "best_error", "best_epoch", "best_training")
    return run | dict(zip(best, torch.tensor(rows, dtype=valid_y.dtype).T, strict=True))


def reference_rules(v: Named, runs: Mapping[str, Any]) -> dict[str, Any]:
    """The table of sheet 'rules'. A cell has no infinity, only an error: in a comparison it counts as no number."""
    import torch

    ends = [end or v.few for _, _, end in RUNS.values()]

    def at(name: str, back: bool = False) -> Any:
        rows = [
            runs[home][name][end - 1 - (end // 4 if back else 0)]
            for (_, home, _), end in zip(RUNS.values(), ends, strict=True)
        ]
        found = torch.stack(rows).double()
        return found.where(found.isfinite(), torch.nan)

    training, validation, error = at("training_loss"), at("validation_loss"), at("validation_error")
    fell_training = 1 - training / at("training_loss", back=True)
    fell_validation = 1 - validation / at("validation_loss", back=True)
    lowest, then = at("best_error"), at("best_training")
    worse = error > WORSE * lowest
    return {
        "rate": torch.tensor([v[f"lr_{home}"] for _, home, _ in RUNS.values()]),
        "epochs": torch.tensor(ends),
        "last_training": training,
        "last_validation": validation,
        "fell_training": fell_training,
        "fell_validation": fell_validation,
        "last_error": error,
        "lowest_error": lowest,
        "lowest_epoch": at("best_epoch"),
        "training_then": then,
        "rate_too_high": (worse & (training > then)) | ~(error.isfinite() & training.isfinite() & then.isfinite()),
        "train_longer": (fell_training > FALLING) & (fell_validation > FALLING),
        "training_above": training > validation,
        "too_many_epochs": worse & (then > training),
    }


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The smaller a loss, the fewer digits of it are right, for y_hat - y has only those that y has."""
    return {
        "fell_training": v.train_y.abs().max().item() / np.sqrt(blocks["last_training"]),
        "fell_validation": v.valid_y.abs().max().item() / np.sqrt(blocks["last_validation"]),
    }


def load(source: Source) -> dict[str, list[float]]:
    """Training and validation points: a CSV's, every third for validation, or the built-in ones."""
    if source.csv:
        points = read_csv(source.csv, ("data_x", "data_y"))
        check_columns(points, MOST, "learning_rate", "each of them has columns of its own in every step")
        count = len(points["data_x"])
        if count < FEWEST:
            raise Error(f"{source.csv}: expected at least {FEWEST} points, got {count}: every third is for validation")
        kept = range(2, count, 3)
    else:
        points, kept = wavy_points()
    learned = [number for number in range(len(points["data_x"])) if number not in kept]
    return {
        f"{part}_{axis}": [points[f"data_{axis}"][number] for number in numbers]
        for part, numbers in (("train", learned), ("valid", kept))
        for axis in "xy"
    }


def wavy_points() -> tuple[dict[str, list[float]], list[int]]:
    """24 points of two waves with much noise, and which of them are for validation."""
    generator = random.Random(51)
    count = 24
    x = [round((number + generator.uniform(0.1, 0.9)) / count, 3) for number in range(count)]
    mixed = list(range(count))
    generator.shuffle(mixed)
    y = [round(math.sin(4 * math.pi * each) + generator.gauss(0, 0.4), 3) for each in x]
    return {"data_x": x, "data_y": y}, sorted(mixed[16:])


INPUTS = (
    Input("bump_width", 0.1, "how broad a bump is, as a share of all x", above=0, maximum=1),
    Input("lr_high", 0.85, "a learning rate that is too high", minimum=0),
    Input("lr_low", 0.02, "a learning rate that is too low", minimum=0),
    Input("lr_good", 0.4, "a learning rate that is good", minimum=0),
    Input("few", 5, f"the epoch to break off the good run, 1 to {EPOCHS}", minimum=1, maximum=EPOCHS, whole=True),
    *rate_finder.INPUTS,
    *cycle.INPUTS,
)
LEARNING_RATE = Lesson(
    "learning_rate",
    "a rate too low, good, too high; too few and too many epochs; a rate finder; one-cycle",
    INPUTS,
    Data(dict.fromkeys(("train_x", "train_y", "valid_x", "valid_y"), 1), load, ("csv",)),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Learning rate and epochs: what the losses tell",
    about=[
        "Training goes step by step, each time against the gradient, the direction in which the loss grows. The "
        "learning rate says how far each step goes. The number of epochs says how often the "
        "training goes through all points. Both are chosen by a person, and the two losses tell whether the choice "
        "was good: the training loss, of the points that the model learns from, and the validation loss, of points "
        "that it never learns from.",
        "Sheet 'rules' has the same training five times: with a rate too high, too low and good, for too few "
        "epochs, enough, and too many. Beside each stands how to tell from the losses, and cells decide which "
        "rules apply.",
        "Sheet 'finder' finds a good rate in a single short run. Sheet 'one-cycle' shows what it brings to let the "
        "rate rise and fall during the training.",
    ],
    things_to_try=[
        "On 'rules', set lr_high to 0.7. It works, and is so fast that 40 epochs are already too many. At 0.8 it "
        "works no more, and at 1E+9 the losses become too large for any number.",
        "On 'rules', set lr_low to 0.1: now it is only a little slow. Watch which rules apply.",
        "On 'rules', set few to 10, then to 20: when do the rules no longer ask for more epochs?",
        "On 'model', set bump_width to 0.05. Narrow bumps catch each training point and say little of what lies "
        "between: lowest error doubles.",
        "On 'finder', type each suggestion into lr_good on 'rules'. A tenth is the careful one: 40 epochs are then "
        "not enough.",
        "On 'finder', set smoothing to 0: a single lucky mini-batch now decides, and both suggestions are far too low.",
        "On 'one-cycle', set cycle_lr to 0.1: the constant rate explodes, while one-cycle still settles.",
        "On 'one-cycle', choose no for cycle_momentum and set cycle_lr to 0.3: the same without momentum.",
    ],
)
