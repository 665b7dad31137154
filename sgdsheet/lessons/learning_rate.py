"""A learning rate too high, too low and good, too few epochs and too many: what the losses look like in each."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, NUMBER, PRECISE, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import HEADING, LABEL
from sgdsheet.errors import Error
from sgdsheet.expr import Call
from sgdsheet.lessons import cycle, rate_finder
from sgdsheet.lessons.bumps import (
    CURVE,
    PARTS,
    Model,
    clouds,
    model_sheet,
    predict,
    predict_torch,
    reference_model,
    reference_training,
    training_columns,
)
from sgdsheet.lessons.data import Data, Source, check_columns, read_csv
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.tensor import Array, index, previous

EPOCHS, MANY = 40, 300
FEWEST = 9  # points, so that the steps of the finder have mini-batches to choose from
MOST = 100  # points: a step has two columns for each of them
BETTER = 0.9999  # an error is the best so far where it is below this share of the one before, not just by rounding
FAR = 1e300  # the best error of a run that has had none yet
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
        "See: the validation loss grows far above all it was before, and so does the training loss; in the end they "
        "are no numbers at all (#NUM!).",
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
        [
            "On 'rules', set lr_high to 0.7. It works, and is so fast that 40 epochs are already too many. At 0.8 it "
            "works no more, and at 1E+9 the losses become too large for any number.",
            "On 'rules', set lr_low to 0.1: now it is only a little slow. Watch the table of rules.",
            "On 'rules', set few to 10, then to 20: when do the rules no longer ask for more epochs?",
            "On 'model', set bump_width to 0.05. Narrow bumps catch each training point and say little of what lies "
            "between: lowest error doubles.",
            "On 'finder', type each suggestion into lr_good on 'rules'. A tenth is the careful one: 40 epochs are then "
            "not enough.",
            "On 'finder', set smoothing to 0: a single lucky mini-batch now decides, and both suggestions are far too "
            "low.",
            "On 'one-cycle', set cycle_lr to 0.4: the constant rate goes wild, while one-cycle still settles.",
            "On 'one-cycle', choose yes for cycle_momentum and set cycle_lr to 0.05.",
        ],
        INPUTS,
        values,
    )
    rules = book.sheet(
        "rules",
        "What the losses tell: five runs and their rules of thumb",
        "All runs fit the same curve to the same points and begin alike. An epoch is one pass over all training "
        "points, here a single step. Each training loss is taken before its step, each validation loss after it.",
        "The validation error is the mean distance, up or down, between the curve and the validation points. The table "
        "says how each run ended; on its right a framed 1 stands where a rule applies.",
    )
    points = _data_sheet(book, data)
    model = model_sheet(book, points)
    high, low, good = rules.inputs(rules.next_row, 1, ("lr_high", "lr_low", "lr_good"))
    (few,) = rules.inputs(rules.next_row - 1, 1, ("few",))
    runs = {
        "high": _run_sheet(book, "high", "A rate that is too high", high, model, EPOCHS),
        "low": _run_sheet(book, "low", "A rate that is too low", low, model, EPOCHS),
        "good": _run_sheet(book, "good", "A good rate, for many epochs", good, model, MANY),
    }
    curves = _curves_sheet(book, runs, few, model)
    _facts(rules, {"high": high, "low": low, "good": good}, runs, few)
    _panels(rules, points, runs, curves)
    rate_finder.finder_sheet(book, model)
    cycle.one_cycle_sheet(book, points, model)
    return book


def _data_sheet(book: Book, data: Values) -> dict[str, Array]:
    sheet = book.sheet(
        "data",
        "The points",
        "The model learns from the training points only. The validation points are kept back, to see how well it does "
        "on points that it has not seen.",
        "They all come from one curve of two waves, with much noise. Change any number and everything follows.",
    )
    top = sheet.next_row
    points: dict[str, Array] = {}
    for left, part, which in ((1, "train", "training"), (4, "valid", "validation")):
        table = sheet.table(top, left, len(data[f"{part}_x"]))
        for axis in "xy":
            name = f"{part}_{axis}"
            numbers = [Typed(value) for value in data[name]]
            words = f"the {which} point's {axis}"
            points[name] = table.column(name, "data", numbers, words=words, torch=name, absolute=True)
        sheet.freeze(table.first, 1)
        sheet.repeat_rows(top, table.first - 1)
    sheet.chart(top, 7, scatter("The points", "x", "y", clouds(points), width=20, height=11))
    return points


def _run_sheet(book: Book, run: str, title: str, lr: Any, model: Model, epochs: int) -> dict[str, Array]:
    """A run with all points in each step: the losses and the best so far first, how they come about on their right."""
    sheet = book.sheet(
        run,
        f"{title}: one row an epoch",
        f"The rate is lr_{run} on sheet 'rules'. The losses come first. How they come about stands on their right: the "
        "parameters, the prediction for each training point, the gradients, the new parameters.",
        "A new best error counts where it is smaller by more than a ten-thousandth.",
    )
    table = sheet.table(sheet.next_row, 1, epochs, PARTS)

    def column(name: str, role: str, words: str, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(f"{run}_{name}", role, words=words, torch=torch, title=name, number_format=digits)

    epoch = column("epoch", "check", "counts the epochs", digits=WHOLE)
    training = column("training_loss", "loss", "mean of (y_hat - y)^2", "F.mse_loss(model(x), y)")
    words, torch = "the same for the validation points, after the step", "F.mse_loss(model(valid_x), valid_y)"
    validation = column("validation_loss", "loss", words, torch)
    words, torch = "mean of |y_hat - y|, validation points, after the step", "F.l1_loss(model(valid_x), valid_y)"
    error = column("validation_error", "loss", words, torch)
    better = column("better", "check", "1 where the error is the best so far")
    best_error = column("best_error", "check", "the smallest error so far")
    best_epoch = column("best_epoch", "check", "its epoch")
    best_training = column("best_training", "check", "the training loss of that epoch")
    all_points = np.tile(np.arange(len(model.y)), (epochs, 1))
    losses, new_param = training_columns(table, run, lr, model, all_points)
    valid_y_hat = table.columns(
        f"{run}_valid_y_hat",
        "activation",
        words="y_hat of the validation points, by new_param",
        torch="model(valid_x)",
        title="valid_y_hat",
        parts=[f"point {number}" for number in range(1, len(model.valid_y) + 1)],
        width=9.5,
    )
    predicted = np.array([predict(param, model.valid_bumps) for param in new_param], dtype=object)
    missed = valid_y_hat - model.valid_y
    is_best = tensor.less(error, BETTER * previous(best_error, FAR))
    is_better = tensor.equal(better, 1)
    for name, array, digits in (
        ("epoch", previous(epoch + 1, 1), WHOLE),
        ("training_loss", losses, NUMBER),
        ("valid_y_hat", predicted, NUMBER),
        ("validation_loss", [tensor.mean(each**2) for each in missed], NUMBER),
        ("validation_error", [tensor.mean(tensor.abs(each)) for each in missed], NUMBER),
        ("better", tensor.finite_or(tensor.where(is_best, 1, 0), 0), WHOLE),
        ("best_error", tensor.where(is_better, error, previous(best_error, FAR)), NUMBER),
        ("best_epoch", tensor.where(is_better, epoch, previous(best_epoch, 1)), WHOLE),
        ("best_training", tensor.where(is_better, training, previous(best_training, 0)), NUMBER),
    ):
        table.fill(f"{run}_{name}", array, digits)
    sheet.heat_map(new_param, DIVERGING)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {
        "epoch": epoch,
        "training": training,
        "validation": validation,
        "error": error,
        "best_error": best_error,
        "best_epoch": best_epoch,
        "best_training": best_training,
        "new_param": new_param,
    }


def _curves_sheet(book: Book, runs: Mapping[str, Any], few: Any, model: Model) -> dict[str, Any]:
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
    x = table.column("drawn_x", "check", model.curve_x, words="x")
    curves: dict[str, Any] = {"x": x}
    for run, param in last.items():
        words = f"y_hat along x: {RUNS[run][0]}"
        y_hat = predict(param, model.curve_bumps)
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

    def column(name: str, array: Any, role: str, words: str, digits: str = NUMBER) -> Array:
        return table.column(name, role, array, words=words, title=name.replace("_", " "), number_format=digits)

    lr = [rates[home] for _, home, _ in RUNS.values()]
    column("rate", lr, "check", "the learning rate", PRECISE)
    column("epochs", list(ends.values()), "check", "how many it ran", WHOLE)
    training = column("last_training", at("training"), "loss", "last training loss")
    validation = column("last_validation", at("validation"), "loss", "last validation loss")
    words = "how much it fell in the last quarter: 1 - last / then"
    fell = [
        column(f"fell_{part}", 1 - last / at(part, back=True), "check", words, "0.0%")
        for part, last in (("training", training), ("validation", validation))
    ]
    error = column("last_error", at("error"), "loss", "last validation error")
    lowest = column("lowest_error", at("best_error"), "check", "the smallest one")
    column("lowest_epoch", at("best_epoch"), "check", "in this epoch", WHOLE)
    then = column("training_then", at("best_training"), "loss", "training loss of that epoch")
    greater, both = tensor.greater, tensor.both
    worse = greater(error, WORSE * lowest)
    falls = both(greater(fell[0], FALLING), greater(fell[1], FALLING))
    # Losses too large for any number are an error in a cell: the first rule applies then, the others do not.
    for name, words, applies, otherwise in (
        (
            "rate_too_high",
            "error 10% above its lowest, training loss grew; or no number",
            both(worse, greater(training, then)),
            1,
        ),
        ("train_longer", "both losses fell by over 5% in the last quarter", falls, 0),
        ("training_above", "training loss above validation loss: more to learn", greater(training, validation), 0),
        ("too_many_epochs", "error 10% above its lowest, training loss fell", both(worse, greater(then, training)), 0),
    ):
        mark = column(name, tensor.finite_or(tensor.where(applies, 1, 0), otherwise), "check", words, WHOLE)
        sheet.mark(mark, mark)
    sheet.row_heights[table.head + 1] = 66
    sheet.width(1, 18)
    sheet.width(2, 12, table.next_column - 1)
    sheet.print_on_one_page(upright=True)


def _panels(sheet: Sheet, points: Mapping[str, Array], runs: Mapping[str, Any], curves: Mapping[str, Any]) -> None:
    """For each run a chart of its losses, one of its curve, and its rule of thumb beside them."""
    top = sheet.next_row
    for number, (run, (heading, *lines)) in enumerate(RULES.items()):
        row = top + number * 18
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
        chart = scatter(f"{title}: the losses", "epoch", y_title, series, width=12, height=8, log=log, y_range=limits)
        sheet.write(row, 1, heading, HEADING)
        sheet.chart(row + 1, 1, chart)
        line = Series("curve", curves["x"], curves[run], color=6, width=2.25)
        chart = scatter("Its curve after the last epoch", "x", "y", [*clouds(points), line], width=11, height=8)
        sheet.chart(row + 1, 6, chart)
        offset = row + 2
        for line in lines:
            for text in textwrap.wrap(line, 52):
                sheet.write(offset, 11, text)
                offset += 1
            offset += 1


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
    last = {run: runs[home]["new_param"][(few if end is None else end) - 1] for run, (_, home, end) in RUNS.items()}
    epochs = runs["good"]["epoch"][:EPOCHS]
    blocks |= {"few_param": last["few"], "drawn_x": blocks["curve_x"], "few_epoch": epochs}
    blocks |= {f"{run}_curve": predict_torch(param, blocks["curve_bumps"]) for run, param in last.items()}
    for part in ("training", "validation"):
        losses = runs["good"][f"{part}_loss"][:EPOCHS]
        blocks[f"few_{part}"] = torch.where(epochs <= few, losses, torch.nan)
    blocks |= _reference_facts(values, runs)
    blocks |= rate_finder.reference_finder(blocks) | cycle.reference_one_cycle(values, blocks)
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _reference_run(blocks: Mapping[str, Any], lr: float, epochs: int) -> dict[str, Any]:
    """The sheet of a run."""
    import torch
    from torch.nn.functional import l1_loss, mse_loss

    y, valid_y = blocks["y_across"], blocks["valid_y_across"]
    run = reference_training(blocks["bumps"], y, np.tile(np.arange(len(y)), (epochs, 1)), lr)
    for name in ("lr", "momentum", "momentum_buffer"):
        del run[name]
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
    return run | {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}


def _reference_facts(values: Values, runs: Mapping[str, Any]) -> dict[str, Any]:
    """The table of sheet 'rules'. A cell has no infinity, only an error: in a comparison it counts as no number."""
    import torch

    ends = {run: int(values["few"]) if end is None else end for run, (_, _, end) in RUNS.items()}

    def at(name: str, back: bool = False) -> Any:
        rows = {run: end - 1 - (end // 4 if back else 0) for run, end in ends.items()}
        found = torch.stack([runs[home][name][rows[run]] for run, (_, home, _) in RUNS.items()]).double()
        return found.where(found.isfinite(), torch.nan)

    training, validation, error = at("training_loss"), at("validation_loss"), at("validation_error")
    fell_training = 1 - training / at("training_loss", back=True)
    fell_validation = 1 - validation / at("validation_loss", back=True)
    lowest, then = at("best_error"), at("best_training")
    worse = error > WORSE * lowest
    return {
        "rate": torch.tensor([float(values[f"lr_{home}"]) for _, home, _ in RUNS.values()]),
        "epochs": torch.tensor(list(ends.values())),
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


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The smaller a loss, the fewer digits of it are right, for y_hat - y has only those that y has."""
    return {
        f"fell_{part}": np.abs(values[f"{name}_y"]).max() / np.sqrt(blocks[f"last_{part}"])
        for part, name in (("training", "train"), ("validation", "valid"))
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
)
