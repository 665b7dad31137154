"""Fit a line by stochastic gradient descent, one row a data point, every number of it a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import WHOLE, Book, Input, Series, Typed, scatter
from sgdsheet.book.style import LABEL
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.lesson import Lesson, Values
from sgdsheet.lessons.surface import FAR, reference_visits, visits
from sgdsheet.tensor import previous

GRID = 21  # the loss is shown for so many intercepts and slopes
PATH = 300  # at most so many steps of the path are drawn on it
RATE_STEPS = 60  # the three learning rates are compared over so many steps
RATES = ("low", "good", "high")


def build(name: str, title: str, epochs: int, inputs: tuple[Input, ...], values: Values, data: Values) -> Book:
    """The workbook: sheets `data`, `sgd`, `epochs`, `charts`, `by hand`, `rates`."""
    check_columns(data, 1_000_000 // epochs, name)
    points = len(data["data_x"])
    book = Book(
        name,
        title,
        [
            f"A line, y = slope * x + intercept, is fitted to {points} points by stochastic gradient descent (SGD): "
            "look at a point, see how wrong the line is there (the loss), work out in which direction each parameter "
            "makes the loss smaller (the gradient), and take a small step that way. The learning rate, lr, says how "
            "small.",
            f"Sheet 'sgd' has one row for each step: {epochs} epochs (passes over the data) of {points} rows. Nothing "
            "is hidden in a macro: click on any number to see how it was made, change any yellow cell and all that "
            "depends on it follows.",
        ],
        [
            "On 'sgd', double lr, then double it again: when does the loss stop falling and start to grow?",
            "Set batch_size to 5: the parameters now move on every fifth row, by the mean gradient of five points.",
            "Compare grad_slope with fd_grad_slope: the second only nudges the slope a little and looks at what the "
            "loss does. Make the nudge larger, then smaller: when do the two agree?",
            "On 'charts', change show_step and watch the line move towards the points.",
            "On 'by hand', be the optimiser yourself: type a slope and an intercept and bring the loss down.",
            "On 'rates', compare a learning rate that is too low, one that is good and one that is too high.",
        ],
        inputs,
        values,
    )
    x, y = _data_sheet(book, data)
    steps = _sgd_sheet(book, x, y, epochs)
    by_epoch = _epochs_sheet(book, steps, epochs)
    _charts_sheet(book, x, y, steps, by_epoch)
    _by_hand_sheet(book, x, y, steps)
    _rates_sheet(book, x, y, steps)
    return book


def _data_sheet(book: Book, data: Values) -> tuple[Any, Any]:
    sheet = book.sheet("data", "The points to fit", "Change any number here and everything follows.")
    table = sheet.table(sheet.next_row, 1, len(data["data_x"]))
    x = table.column("data_x", "data", [Typed(value) for value in data["data_x"]], words="what is known", torch="x")
    y = table.column("data_y", "data", [Typed(value) for value in data["data_y"]], words="what to predict", torch="y")
    sheet.width(1, 14, 2)
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(table.head, table.first - 1)
    points = Series("points", x, y, points=True, line=False)
    sheet.chart(table.head, 4, scatter("The points to fit", "x", "y", [points], width=18, height=11))
    return x, y


def _sgd_sheet(book: Book, data_x: Any, data_y: Any, epochs: int) -> dict[str, Any]:
    points = len(data_x)
    sheet = book.sheet(
        "sgd",
        "Stochastic gradient descent, step by step",
        "Each row looks at one point. Read a row from left to right: the point, the line's parameters, what the line "
        "says, how wrong that is, both gradients, the new parameters. They begin the next row.",
        "The start of the two parameters is typed into the first row of their columns.",
    )
    lr, batch_size, nudge = sheet.inputs(
        sheet.next_row,
        1,
        ("lr", "batch_size", "nudge"),
        torch={"lr": "torch.optim.SGD(..., lr=lr)", "batch_size": "DataLoader(..., batch_size=batch_size)"},
    )
    table = sheet.table(sheet.next_row, 1, points * epochs)
    column = table.column
    step = column("step", "check", words="counts the rows", number_format=WHOLE, width=12)
    table.fill("step", previous(step + 1, 1), WHOLE)
    epoch = tensor.floor((step - 1) / points) + 1
    epoch = column("epoch", "check", epoch, words="passes over the data", number_format=WHOLE, width=12)
    x = column("x", "data", np.tile(data_x, epochs), words="the point's x", torch="x")
    y = column("y", "data", np.tile(data_y, epochs), words="the point's y", torch="y")
    intercept = column("intercept", "parameter", words="the new_intercept of the row above", torch="model.bias")
    slope = column("slope", "parameter", words="the new_slope of the row above", torch="model.weight")
    y_hat = column("y_hat", "activation", slope * x + intercept, words="slope * x + intercept", torch="model(x)")
    error = y_hat - y
    loss = column("loss", "loss", error**2, words="(y_hat - y)^2", torch="F.mse_loss(model(x), y)")
    grad_intercept = column("grad_intercept", "gradient", 2 * error, words="2 * (y_hat - y)", torch="model.bias.grad")
    grad_slope = column("grad_slope", "gradient", 2 * x * error, words="2 * x * (y_hat - y)", torch="model.weight.grad")
    nudged = {
        "intercept": slope * x + (intercept + nudge),
        "slope": (slope + nudge) * x + intercept,
    }
    for parameter, prediction in nudged.items():
        moved = column(
            f"loss_{parameter}_nudged",
            "loss",
            (prediction - y) ** 2,
            words=f"the loss with {parameter} + nudge",
            width=15,
        )
        column(
            f"fd_grad_{parameter}",
            "gradient",
            (moved - loss) / nudge,
            words="(nudged loss - loss) / nudge",
            torch="finite difference",
            width=14,
        )
    in_batch = tensor.mod(tensor.mod(step - 1, points), batch_size) + 1
    in_batch = column("in_batch", "check", in_batch, words="the row's place in its batch", number_format=WHOLE)
    ends = tensor.either(tensor.equal(in_batch, batch_size), tensor.equal(tensor.mod(step, points), 0))
    ends = column("batch_ends", "check", tensor.where(ends, 1, 0), words="1 where a batch ends", number_format=WHOLE)
    new = {}
    for parameter, now, grad in (("intercept", intercept, grad_intercept), ("slope", slope, grad_slope)):
        total = column(f"sum_grad_{parameter}", "gradient", words="added up within the batch", width=15)
        table.fill(f"sum_grad_{parameter}", tensor.where(tensor.equal(in_batch, 1), 0, previous(total, 0)) + grad)
        new[parameter] = column(
            f"new_{parameter}",
            "parameter",
            tensor.where(tensor.equal(ends, 1), now - lr * (total / in_batch), now),
            words=f"where a batch ends: {parameter} - lr * mean gradient",
            torch="optimizer.step()",
            width=14,
        )
        table.fill(parameter, previous(new[parameter], book.typed(parameter)))
    sheet.freeze(table.first, 3)
    sheet.repeat_rows(table.head, table.first - 1)
    return {
        "step": step,
        "intercept": intercept,
        "slope": slope,
        "loss": loss,
        "new_intercept": new["intercept"],
        "new_slope": new["slope"],
    }


def _epochs_sheet(book: Book, steps: dict[str, Any], epochs: int) -> dict[str, Any]:
    points = len(steps["step"]) // epochs
    sheet = book.sheet(
        "epochs",
        "The same run, one row an epoch",
        "An epoch is one pass over all points. The loss of an epoch is the mean of the losses of its rows on 'sgd'.",
    )
    table = sheet.table(sheet.next_row, 1, epochs)
    number = table.column("epoch_number", "check", words="counts the epochs", number_format=WHOLE, width=15)
    table.fill("epoch_number", previous(number + 1, 1), WHOLE)
    by_epoch = steps["loss"].reshape(epochs, points)
    loss = [tensor.mean(losses) for losses in by_epoch]
    loss = table.column("epoch_loss", "loss", loss, words="mean loss of its rows", width=15)
    for parameter in ("intercept", "slope"):
        ends = steps[f"new_{parameter}"][points - 1 :: points]
        table.column(f"epoch_{parameter}", "parameter", ends, words="when the epoch ends", width=15)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {"number": number, "loss": loss}


def _charts_sheet(book: Book, x: Any, y: Any, steps: dict[str, Any], by_epoch: dict[str, Any]) -> None:
    sheet = book.sheet(
        "charts",
        "Watch it learn",
        "Change show_step and press Enter: the line below is the one at the beginning of that row of 'sgd'.",
    )
    sheet.width(1, 17)
    sheet.width(2, 12, 18)
    row = sheet.next_row
    (show,) = sheet.inputs(row, 1, ("show_step",))
    shown = tensor.minimum(show, len(steps["step"]))  # with other data there may be fewer
    intercept = sheet.value(
        row + 1,
        1,
        "shown_intercept",
        tensor.index(steps["intercept"], shown),
        "parameter",
        words="the intercept at that step",
        torch="model.bias",
    )
    slope = sheet.value(
        row + 2,
        1,
        "shown_slope",
        tensor.index(steps["slope"], shown),
        "parameter",
        words="the slope at that step",
        torch="model.weight",
    )
    error = slope * x + intercept - y
    sheet.value(
        row + 3,
        1,
        "shown_loss",
        tensor.mean(error**2),
        "loss",
        words="the mean loss of that line over all points",
        torch="F.mse_loss(model(x), y)",
    )
    ends = np.array([tensor.smallest(x), tensor.largest(x)])
    line_x = sheet.headed("line_x", ends, "check", row, 9, across=True, words="where the line begins and ends")
    line_y = sheet.headed(
        "line_y",
        slope * line_x + intercept,
        "activation",
        row,
        13,
        across=True,
        words="shown_slope * line_x + shown_intercept",
        torch="model(line_x)",
    )
    cloud = Series("points", x, y, points=True, line=False)
    line = Series("line at show_step", line_x, line_y, color=3, width=2.5)
    loss = Series("loss", steps["step"], steps["loss"], width=1.25)
    mean = Series("loss", by_epoch["number"], by_epoch["loss"], points=len(by_epoch["loss"]) <= 30)
    paths = [Series(parameter, steps["step"], steps[parameter]) for parameter in ("intercept", "slope")]
    charts = (
        scatter("The line at the step you chose", "x", "y", [cloud, line]),
        scatter("Loss of each step", "step", "loss", [loss]),
        scatter("Mean loss of each epoch", "epoch", "mean loss (powers of ten)", [mean], log=True),
        scatter("The two parameters", "step", "value", paths),
    )
    for position, chart in enumerate(charts):
        sheet.chart(sheet.next_row + position // 2 * 20, 1 + position % 2 * 7, chart)


def _by_hand_sheet(book: Book, x: Any, y: Any, steps: dict[str, Any]) -> None:
    path = book.sheet(
        "path",
        "The way SGD went",
        f"The parameters of up to {PATH} steps of 'sgd', for the map 'by hand'; 1E+300 where it left all numbers.",
    )
    stride = math.ceil(len(steps["step"]) / PATH)
    table = path.table(path.next_row, 1, len(steps["step"][::stride]))
    table.column("path_step", "check", steps["step"][::stride], words="step of 'sgd'", number_format=WHOLE)
    way = {
        parameter: table.column(
            f"path_{parameter}",
            "parameter",
            tensor.finite_or(steps[parameter][::stride], FAR),
            words=f"{parameter} at that step",
            width=15,
        )
        for parameter in ("intercept", "slope")
    }
    path.freeze(table.first, 1)
    path.repeat_rows(table.head, table.first - 1)

    sheet = book.sheet(
        "by hand",
        "Be the optimiser yourself",
        "Type an intercept and a slope and watch the loss. The map shows the loss of 441 lines: pale is good.",
        "The framed cells of the map are those that SGD came through on sheet 'sgd'.",
    )
    sheet.width(1, 20)
    sheet.width(2, 11, 4)
    left, top = 6, sheet.next_row
    sheet.width(left - 1, 4)
    sheet.width(left, 10.5)
    sheet.width(left + 1, 8.5, left + GRID)
    limits = ("intercept_from", "intercept_to", "slope_from", "slope_to")
    intercept, slope, *ends = sheet.inputs(top, 1, ("hand_intercept", "hand_slope", *limits))
    loss = tensor.mean((slope * x + intercept - y) ** 2)
    row = sheet.next_row
    sheet.value(row - 1, 1, "hand_loss", loss, "loss", words="mean loss of your line", torch="F.mse_loss(model(x), y)")
    half = [
        sheet.value(
            row + offset,
            1,
            f"half_{name}",
            (high - low) / (2 * (GRID - 1)),
            "check",
            words=f"half of a map cell's {name}",
        )
        for offset, (name, low, high) in enumerate((("intercept", *ends[:2]), ("slope", *ends[2:])))
    ]

    steps_along = np.arange(GRID).astype(object) / (GRID - 1)
    along = ends[0] + (ends[1] - ends[0]) * steps_along
    down = ends[2] + (ends[3] - ends[2]) * steps_along
    along = sheet.headed(
        "map_intercept", along, "parameter", top, left + 1, across=True, words="each column's intercept"
    )
    sheet.write(top + 1, left, "map_slope", LABEL)
    down = sheet.place("map_slope", down, "parameter", top + 3, left, words="each row's slope")
    losses = [[tensor.mean((s * x + i - y) ** 2) for i in along] for s in down]
    grid = sheet.place(
        "loss_map", losses, "loss", top + 3, left + 1, words="mean loss of each line", torch="F.mse_loss(model(x), y)"
    )
    sheet.heat_map(grid)

    below = top + 3 + GRID + 1
    table = sheet.table(below, 1, len(x))
    hand_x = table.column("hand_x", "data", x, words="the point's x", torch="x", width=20)
    hand_y = table.column("hand_y", "data", y, words="the point's y", torch="y")
    y_hat = slope * hand_x + intercept
    y_hat = table.column("hand_y_hat", "activation", y_hat, words="hand_slope * x + hand_intercept", torch="model(x)")
    table.column("hand_error", "loss", (y_hat - hand_y) ** 2, words="(hand_y_hat - y)^2")
    through = visits((way["intercept"], along, half[0]), (way["slope"], down, half[1]))
    words = "how many steps of sheet 'path' fall into each cell of the map"
    through = sheet.headed("visits", through, "check", below, left + 1, words=words, number_format="0;-0;")
    sheet.mark(grid, through)
    cloud = Series("points", hand_x, hand_y, points=True, line=False)
    line = Series("your line", hand_x, y_hat, color=3, width=2.5)
    sheet.chart(top + 10, 1, scatter("Your line", "x", "y", [cloud, line], width=12, height=7))


def _rates_sheet(book: Book, x: Any, y: Any, steps: dict[str, Any]) -> None:
    sheet = book.sheet(
        "rates",
        "Learning rate: too low, good, too high",
        "The same start, the same points, three learning rates. Each step here uses the mean gradient of all points, "
        "so that only the rate makes the difference.",
        "Too low creeps. Too high jumps over the valley and climbs out of it: the loss grows with each step.",
    )
    top = sheet.next_row
    rates = sheet.inputs(top, 1, [f"lr_{rate}" for rate in RATES])
    chart_row = sheet.next_row
    table = sheet.table(chart_row + 20, 1, RATE_STEPS)
    step = table.column("rate_step", "check", words="counts the steps", number_format=WHOLE, width=12)
    table.fill("rate_step", previous(step + 1, 1), WHOLE)
    curves = []
    for color, (rate, lr) in enumerate(zip(RATES, rates, strict=True)):
        now = {
            parameter: table.column(
                f"{rate}_{parameter}", "parameter", words="the row above after its step", torch=f"model.{tensor_name}"
            )
            for parameter, tensor_name in (("intercept", "bias"), ("slope", "weight"))
        }
        errors = [s * x + i - y for i, s in zip(now["intercept"], now["slope"], strict=True)]
        loss = table.column(
            f"{rate}_loss",
            "loss",
            [tensor.mean(error**2) for error in errors],
            words="mean of (y_hat - y)^2",
            torch="F.mse_loss(model(x), y)",
        )
        slopes = {"intercept": [2 * tensor.mean(e) for e in errors], "slope": [2 * tensor.mean(e * x) for e in errors]}
        words = {"intercept": "2 * mean of (y_hat - y)", "slope": "2 * mean of x * (y_hat - y)"}
        for parameter, gradient in slopes.items():
            name = f"{rate}_grad_{parameter}"
            grad = table.column(name, "gradient", gradient, words=words[parameter], torch=".grad", width=15)
            table.fill(f"{rate}_{parameter}", previous(now[parameter] - lr * grad, steps[parameter][0]))
        curves.append(Series(f"lr_{rate}", step, loss, color=color, width=2.25))
    chart = scatter("The loss with each learning rate", "step", "mean loss (powers of ten)", curves, width=26, log=True)
    sheet.chart(chart_row, 1, chart)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)


def reference(epochs: int, values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch
    from torch.nn.functional import mse_loss

    x, y = (torch.as_tensor(values[name], dtype=torch.float64) for name in ("data_x", "data_y"))
    given = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items() if np.ndim(value) == 0}
    points = len(x)

    def mean_loss(intercept: Any, slope: Any) -> Any:
        return mse_loss(slope * x + intercept, y)

    blocks = {"data_x": x, "data_y": y, **given}
    blocks |= _reference_steps(x.repeat(epochs), y.repeat(epochs), points, given)
    count = points * epochs
    blocks |= {
        "epoch_number": torch.arange(1, epochs + 1),
        "epoch_loss": blocks["loss"].view(epochs, points).mean(dim=1),
        "epoch_intercept": blocks["new_intercept"][points - 1 :: points],
        "epoch_slope": blocks["new_slope"][points - 1 :: points],
    }

    shown = min(int(values["show_step"]), count) - 1
    intercept, slope = blocks["intercept"][shown], blocks["slope"][shown]
    ends = torch.stack([x.min(), x.max()])
    blocks |= {
        "shown_intercept": intercept,
        "shown_slope": slope,
        "shown_loss": mean_loss(intercept, slope),
        "line_x": ends,
        "line_y": slope * ends + intercept,
    }

    stride = math.ceil(count / PATH)
    path = {name: blocks[name][::stride] for name in ("step", "intercept", "slope")}
    path |= {name: torch.where(path[name].isfinite(), path[name], FAR) for name in ("intercept", "slope")}
    blocks |= {f"path_{name}": values for name, values in path.items()}
    y_hat = given["hand_slope"] * x + given["hand_intercept"]
    blocks |= {"hand_x": x, "hand_y": y, "hand_y_hat": y_hat, "hand_error": mse_loss(y_hat, y, reduction="none")}
    blocks["hand_loss"] = mse_loss(y_hat, y)
    axes = []
    for name in ("intercept", "slope"):
        low, high = given[f"{name}_from"], given[f"{name}_to"]
        half = (high - low) / (2 * (GRID - 1))
        axis = low + (high - low) * (torch.arange(GRID, dtype=torch.float64) / (GRID - 1))
        blocks |= {f"map_{name}": axis, f"half_{name}": half}
        axes.append((path[name], axis, half))
    blocks["visits"] = reference_visits(*axes)
    blocks["loss_map"] = torch.stack(
        [torch.stack([mean_loss(i, s) for i in blocks["map_intercept"]]) for s in blocks["map_slope"]]
    )

    blocks["rate_step"] = torch.arange(1, RATE_STEPS + 1)
    for rate in RATES:
        blocks |= _reference_descent(rate, given, mean_loss)
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is the square of y_hat - y, which is as exact as the larger of the two is.
    """
    largest = np.maximum(np.abs(blocks["y_hat"]), np.abs(blocks["y"]))
    losses = {name: blocks[f"loss_{name}_nudged"] for name in ("intercept", "slope")}
    return {
        f"fd_grad_{name}": (loss + 2 * np.sqrt(np.maximum(loss, blocks["loss"])) * largest) / values["nudge"]
        for name, loss in losses.items()
    }


def _reference_steps(x: Any, y: Any, points: int, given: dict[str, Any]) -> dict[str, Any]:
    """The sheet `sgd`: the parameters move by torch.optim.SGD on each batch's mean loss."""
    import torch
    from torch.nn.functional import mse_loss

    count, batch_size = len(x), int(given["batch_size"])
    parameters = {name: given[name].clone().requires_grad_() for name in ("intercept", "slope")}
    optimizer = torch.optim.SGD(parameters.values(), lr=float(given["lr"]))
    columns: dict[str, list[Any]] = {}
    for start in (first + within for first in range(0, count, points) for within in range(0, points, batch_size)):
        stop = min(start + batch_size, start - start % points + points)
        xs, ys, size = x[start:stop], y[start:stop], stop - start
        # One copy of the parameters for each point, so that autograd gives each point's own gradient.
        now = {name: parameter.detach().expand(size).clone().requires_grad_() for name, parameter in parameters.items()}
        y_hat = now["slope"] * xs + now["intercept"]
        loss = mse_loss(y_hat, ys, reduction="none")
        grads = dict(zip(now, torch.autograd.grad(loss.sum(), list(now.values())), strict=True))
        optimizer.zero_grad()
        mse_loss(parameters["slope"] * xs + parameters["intercept"], ys).backward()
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        optimizer.step()
        row: dict[str, Any] = {"y_hat": y_hat, "loss": loss, "in_batch": torch.arange(1, size + 1)}
        row["batch_ends"] = (row["in_batch"] == size).double()
        for name, grad in grads.items():
            after = parameters[name].detach().clone()
            row[name] = now[name]
            row[f"grad_{name}"] = grad
            row[f"sum_grad_{name}"] = grad.cumsum(0)
            row[f"new_{name}"] = torch.cat([before[name].expand(size - 1), after.view(1)])
        for name, part in row.items():
            columns.setdefault(name, []).append(part.detach())
    blocks = {name: torch.cat(parts) for name, parts in columns.items()}
    step = torch.arange(1, count + 1)
    blocks |= {"step": step, "epoch": (step - 1) // points + 1, "x": x, "y": y}
    intercept, slope, nudge = blocks["intercept"], blocks["slope"], given["nudge"]
    for name, prediction in (
        ("intercept", slope * x + (intercept + nudge)),
        ("slope", (slope + nudge) * x + intercept),
    ):
        nudged = (prediction - y) ** 2
        blocks[f"loss_{name}_nudged"] = nudged
        blocks[f"fd_grad_{name}"] = (nudged - blocks["loss"]) / nudge
    return blocks


def _reference_descent(rate: str, given: dict[str, Any], mean_loss: Any) -> dict[str, Any]:
    """One of the three runs of the sheet `rates`."""
    import torch

    parameters = {name: given[name].clone().requires_grad_() for name in ("intercept", "slope")}
    optimizer = torch.optim.SGD(parameters.values(), lr=float(given[f"lr_{rate}"]))
    columns: dict[str, list[Any]] = {}
    for _ in range(RATE_STEPS):
        optimizer.zero_grad()
        loss = mean_loss(**parameters)
        loss.backward()
        columns.setdefault(f"{rate}_loss", []).append(loss.detach())
        for name, parameter in parameters.items():
            assert parameter.grad is not None
            columns.setdefault(f"{rate}_{name}", []).append(parameter.detach().clone())
            columns.setdefault(f"{rate}_grad_{name}", []).append(parameter.grad.clone())
        optimizer.step()
    return {name: torch.stack(values) for name, values in columns.items()}


def _preset(name: str, title: str, summary: str, epochs: int, data: dict[str, list[float]], **starts: float) -> Lesson:
    """The lesson with other data and starting values."""
    meanings: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("lr", "learning rate: how far to step against the gradient", {"minimum": 0}),
        ("batch_size", "how many points share one step of the parameters", {"minimum": 1, "whole": True}),
        ("nudge", "how far the finite difference moves a parameter", {"above": 0}),
        ("intercept", "where the intercept starts", {}),
        ("slope", "where the slope starts", {}),
        ("show_step", "the step whose line is drawn", {"minimum": 1, "whole": True}),
        ("hand_intercept", "your intercept", {}),
        ("hand_slope", "your slope", {}),
        ("intercept_from", "the map's first intercept", {}),
        ("intercept_to", "the map's last intercept", {}),
        ("slope_from", "the map's first slope", {}),
        ("slope_to", "the map's last slope", {}),
        ("lr_low", "a learning rate that is too low", {"minimum": 0}),
        ("lr_good", "a learning rate that is good", {"minimum": 0}),
        ("lr_high", "a learning rate that is too high", {"minimum": 0}),
    )
    inputs = tuple(Input(each, starts[each], meaning, **limits) for each, meaning, limits in meanings)
    made = partial(build, name, title, epochs, inputs)
    return Lesson(name, summary, inputs, csv_columns(data), made, partial(reference, epochs), sizes)


LINEAR_SGD = _preset(
    "linear_sgd",
    "Fit a line by stochastic gradient descent",
    "fit a line to 29 points by SGD, one row a step, with charts and a map of the loss",
    10,
    noisy_line(seed=7, count=29, x=(0, 2), slope=2, intercept=3, noise=(-0.5, 0.5)),
    lr=0.03,
    batch_size=1,
    nudge=0.01,
    intercept=0,
    slope=0,
    show_step=15,
    hand_intercept=1,
    hand_slope=1,
    intercept_from=-0.5,
    intercept_to=4.5,
    slope_from=-0.5,
    slope_to=4.5,
    lr_low=0.005,
    lr_good=0.3,
    lr_high=0.6,
)

LESSON2_SGD = _preset(
    "lesson2_sgd",
    "Gradient descent on 100 points",
    "fit y = 3x + 2 to 100 noisy points, all of them in each step, 100 steps",
    100,
    noisy_line(seed=2, count=100, x=(-1, 1), slope=3, intercept=2, noise=(0, 1)),
    lr=0.1,
    batch_size=100,
    nudge=0.01,
    intercept=1,
    slope=-1,
    show_step=500,
    hand_intercept=1,
    hand_slope=-1,
    intercept_from=0,
    intercept_to=5,
    slope_from=-1.5,
    slope_to=3.5,
    lr_low=0.01,
    lr_good=0.3,
    lr_high=1.03,
)
