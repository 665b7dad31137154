"""Fit a line by stochastic gradient descent, one row a data point, every number of it a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sgdsheet.book import Book, Input, Series, scatter
from sgdsheet.book.style import LABEL
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import (
    Named,
    activation,
    charts,
    check,
    columns,
    counter,
    data,
    descend,
    gradient,
    inputs,
    loss,
    parameter,
    points_sheet,
    steps,
    values,
)
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.surface import FAR, axis, reference_axis, reference_visits, visits
from sgdsheet.tensor import (
    either,
    equal,
    finite_or,
    floor,
    index,
    largest,
    mean,
    minimum,
    mod,
    previous,
    smallest,
    sqrt,
    where,
)

GRID = 21  # the loss is shown for so many intercepts and slopes
PATH = 300  # at most so many steps of the path are drawn on it
RATE_STEPS = 60  # the three learning rates are compared over so many steps
RATES = ("low", "good", "high")
MSE = "F.mse_loss(model(x), y)"
NUDGED = "(nudged loss - loss) / nudge"
ABOVE = "the row above after its step"


def build(epochs: int, book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `data`, `sgd`, `epochs`, `charts`, `path`, `by hand`, `rates`."""
    check_columns(given, 1_000_000 // epochs, book.lesson)
    book.summary = about(len(given["data_x"]), epochs)
    x, y = points_sheet(book, given["data_x"], given["data_y"], "Change any number here and everything follows.")
    sgd = sgd_sheet(book, x, y, epochs)
    by_epoch = epochs_sheet(book, sgd, epochs)
    charts_sheet(book, x, y, sgd, by_epoch)
    by_hand_sheet(book, x, y, path_sheet(book, sgd))
    rates_sheet(book, x, y, sgd.intercept[0], sgd.slope[0])


def sgd_sheet(book: Book, data_x: Any, data_y: Any, epochs: int) -> Named:
    sheet = book.sheet(
        "sgd",
        "Stochastic gradient descent, step by step",
        "Each row looks at one point. Read a row from left to right: the point, the line's parameters, what the line "
        "says, how wrong that is, both gradients, the new parameters. They begin the next row.",
        "The start of the two parameters is typed into the first row of their columns.",
    )
    torch = {"lr": "torch.optim.SGD(..., lr=lr)", "batch_size": "DataLoader(..., batch_size=batch_size)"}
    cell = inputs(sheet, "lr", "batch_size", "nudge", torch=torch)
    points = len(data_x)
    return steps(
        sheet,
        points * epochs,
        freeze=3,
        step=counter(lambda t: previous(t.step + 1, 1), "counts the rows", width=12),
        epoch=counter(lambda t: floor((t.step - 1) / points) + 1, "passes over the data"),
        x=data(np.tile(data_x, epochs), "the point's x", "x"),
        y=data(np.tile(data_y, epochs), "the point's y", "y"),
        intercept=parameter(
            lambda t: previous(t.new_intercept, book.typed("intercept")),
            "the new_intercept of the row above",
            "model.bias",
        ),
        slope=parameter(
            lambda t: previous(t.new_slope, book.typed("slope")), "the new_slope of the row above", "model.weight"
        ),
        y_hat=activation(lambda t: t.slope * t.x + t.intercept, "slope * x + intercept", "model(x)"),
        loss=loss(lambda t: (t.y_hat - t.y) ** 2, "(y_hat - y)^2", MSE),
        grad_intercept=gradient(lambda t: 2 * (t.y_hat - t.y), "2 * (y_hat - y)", "model.bias.grad"),
        grad_slope=gradient(lambda t: 2 * t.x * (t.y_hat - t.y), "2 * x * (y_hat - y)", "model.weight.grad"),
        loss_intercept_nudged=loss(
            lambda t: (t.slope * t.x + (t.intercept + cell.nudge) - t.y) ** 2, "the loss with intercept + nudge"
        ),
        fd_grad_intercept=gradient(
            lambda t: (t.loss_intercept_nudged - t.loss) / cell.nudge, NUDGED, "finite difference"
        ),
        loss_slope_nudged=loss(
            lambda t: ((t.slope + cell.nudge) * t.x + t.intercept - t.y) ** 2, "the loss with slope + nudge"
        ),
        fd_grad_slope=gradient(lambda t: (t.loss_slope_nudged - t.loss) / cell.nudge, NUDGED, "finite difference"),
        in_batch=counter(lambda t: mod(mod(t.step - 1, points), cell.batch_size) + 1, "the row's place in its batch"),
        batch_ends=counter(
            lambda t: where(either(equal(t.in_batch, cell.batch_size), equal(mod(t.step, points), 0)), 1, 0),
            "1 where a batch ends",
        ),
        sum_grad_intercept=gradient(
            lambda t: where(equal(t.in_batch, 1), 0, previous(t.sum_grad_intercept, 0)) + t.grad_intercept,
            "added up within the batch",
        ),
        new_intercept=parameter(
            lambda t: where(
                equal(t.batch_ends, 1), t.intercept - cell.lr * (t.sum_grad_intercept / t.in_batch), t.intercept
            ),
            "where a batch ends: intercept - lr * mean gradient",
            "optimizer.step()",
        ),
        sum_grad_slope=gradient(
            lambda t: where(equal(t.in_batch, 1), 0, previous(t.sum_grad_slope, 0)) + t.grad_slope,
            "added up within the batch",
        ),
        new_slope=parameter(
            lambda t: where(equal(t.batch_ends, 1), t.slope - cell.lr * (t.sum_grad_slope / t.in_batch), t.slope),
            "where a batch ends: slope - lr * mean gradient",
            "optimizer.step()",
        ),
    )


def epochs_sheet(book: Book, sgd: Named, epochs: int) -> Named:
    sheet = book.sheet(
        "epochs",
        "The same run, one row an epoch",
        "An epoch is one pass over all points. The loss of an epoch is the mean of the losses of its rows on 'sgd'.",
    )
    points = len(sgd.step) // epochs
    return steps(
        sheet,
        epochs,
        freeze=2,
        epoch_number=counter(lambda t: previous(t.epoch_number + 1, 1), "counts the epochs"),
        epoch_loss=loss(list(map(mean, sgd.loss.reshape(epochs, points))), "mean loss of its rows"),
        epoch_intercept=parameter(sgd.new_intercept[points - 1 :: points], "when the epoch ends"),
        epoch_slope=parameter(sgd.new_slope[points - 1 :: points], "when the epoch ends"),
    )


def charts_sheet(book: Book, x: Any, y: Any, sgd: Named, by_epoch: Named) -> None:
    sheet = book.sheet(
        "charts",
        "Watch it learn",
        "Change show_step and press Enter: the line below is the one at the beginning of that row of 'sgd'.",
    )
    sheet.width(1, 17)
    sheet.width(2, 12, 18)
    top = sheet.next_row
    show = minimum(inputs(sheet, "show_step").show_step, len(sgd.step))  # with other data there may be fewer
    shown = values(
        sheet,
        row=top + 1,
        shown_intercept=parameter(index(sgd.intercept, show), "the intercept at that step", "model.bias"),
        shown_slope=parameter(index(sgd.slope, show), "the slope at that step", "model.weight"),
        shown_loss=loss(
            lambda t: mean((t.shown_slope * x + t.shown_intercept - y) ** 2),
            "the mean loss of that line over all points",
            MSE,
        ),
    )
    ends = np.array([smallest(x), largest(x)])
    line_x = sheet.headed("line_x", ends, "check", top, 9, across=True, words="where the line begins and ends")
    line_y = shown.shown_slope * line_x + shown.shown_intercept
    words = "shown_slope * line_x + shown_intercept"
    line_y = sheet.headed("line_y", line_y, "activation", top, 13, across=True, words=words, torch="model(line_x)")
    cloud = Series("points", x, y, points=True, line=False)
    line = Series("line at show_step", line_x, line_y, color=3, width=2.5)
    few = len(by_epoch.epoch_number) <= 30
    charts(
        sheet,
        scatter("The line at the step you chose", "x", "y", [cloud, line]),
        scatter(
            "Loss of each step",
            "step",
            "loss (powers of ten)",
            [Series("loss", sgd.step, sgd.loss, width=1.25)],
            log=True,
        ),
        scatter(
            "Mean loss of each epoch",
            "epoch",
            "mean loss (powers of ten)",
            [Series("loss", by_epoch.epoch_number, by_epoch.epoch_loss, points=few)],
            log=True,
        ),
        scatter(
            "The two parameters",
            "step",
            "value",
            [Series("intercept", sgd.step, sgd.intercept), Series("slope", sgd.step, sgd.slope)],
        ),
    )


def path_sheet(book: Book, sgd: Named) -> Named:
    sheet = book.sheet(
        "path",
        "The way SGD went",
        f"The parameters of up to {PATH} steps of 'sgd', for the map 'by hand'; 1E+300 where it left all numbers.",
    )
    some = slice(None, None, math.ceil(len(sgd.step) / PATH))
    return steps(
        sheet,
        len(sgd.step[some]),
        path_step=counter(sgd.step[some], "step of 'sgd'"),
        path_intercept=parameter(finite_or(sgd.intercept[some], FAR), "intercept at that step"),
        path_slope=parameter(finite_or(sgd.slope[some], FAR), "slope at that step"),
    )


def by_hand_sheet(book: Book, x: Any, y: Any, path: Named) -> None:
    sheet = book.sheet(
        "by hand",
        "Be the optimiser yourself",
        "Type an intercept and a slope and watch the loss. The map shows the loss of 441 lines: pale is good.",
        "The framed cells of the map are those that SGD came through on sheet 'sgd'.",
    )
    left, top = 6, sheet.next_row
    sheet.width(1, 20)
    sheet.width(2, 11, 4)
    sheet.width(left - 1, 4)
    sheet.width(left, 10.5)
    sheet.width(left + 1, 8.5, left + GRID)
    limits = ("intercept_from", "intercept_to", "slope_from", "slope_to")
    cell = inputs(sheet, "hand_intercept", "hand_slope", *limits)
    along, half_intercept = axis(cell.intercept_from, cell.intercept_to, GRID)
    down, half_slope = axis(cell.slope_from, cell.slope_to, GRID)
    hand_loss = mean((cell.hand_slope * x + cell.hand_intercept - y) ** 2)
    half = values(
        sheet,
        row=sheet.next_row - 1,
        hand_loss=loss(hand_loss, "mean loss of your line", MSE),
        half_intercept=check(half_intercept, "half of a map cell's intercept"),
        half_slope=check(half_slope, "half of a map cell's slope"),
    )
    words = "each column's intercept"
    along = sheet.headed("map_intercept", along, "parameter", top, left + 1, across=True, words=words)
    sheet.write(top + 1, left, "map_slope", LABEL)
    down = sheet.place("map_slope", down, "parameter", top + 3, left, words="each row's slope")
    losses = [[mean((s * x + i - y) ** 2) for i in along] for s in down]
    words = "mean loss of each line"
    grid = sheet.place("loss_map", losses, "loss", top + 3, left + 1, words=words, torch=MSE)
    sheet.heat_map(grid)

    below = top + 3 + GRID + 1
    hand = steps(
        sheet,
        len(x),
        row=below,
        freeze=None,
        hand_x=data(x, "the point's x", "x", width=20),
        hand_y=data(y, "the point's y", "y"),
        hand_y_hat=activation(
            lambda t: cell.hand_slope * t.hand_x + cell.hand_intercept, "hand_slope * x + hand_intercept", "model(x)"
        ),
        hand_error=loss(lambda t: (t.hand_y_hat - t.hand_y) ** 2, "(hand_y_hat - y)^2"),
    )
    through = visits((path.path_intercept, along, half.half_intercept), (path.path_slope, down, half.half_slope))
    words = "how many steps of sheet 'path' fall into each cell of the map"
    through = sheet.headed("visits", through, "check", below, left + 1, words=words, number_format="0;-0;")
    sheet.mark(grid, through)
    cloud = Series("points", hand.hand_x, hand.hand_y, points=True, line=False)
    line = Series("your line", hand.hand_x, hand.hand_y_hat, color=3, width=2.5)
    sheet.chart(top + 10, 1, scatter("Your line", "x", "y", [cloud, line], width=12, height=7))


def rates_sheet(book: Book, x: Any, y: Any, intercept: Any, slope: Any) -> None:
    sheet = book.sheet(
        "rates",
        "Learning rate: too low, good, too high",
        "The same start, the same points, three learning rates. Each step here uses the mean gradient of all points, "
        "so that only the rate makes the difference.",
        "Too low creeps. Too high jumps over the valley and climbs out of it: the loss grows with each step.",
    )
    cell = inputs(sheet, *(f"lr_{rate}" for rate in RATES))
    squares, centre = mean(x**2), mean(x)
    values(
        sheet,
        curvature=check(
            squares + 1 + sqrt((squares - 1) ** 2 + 4 * centre**2),
            "how fast the gradient changes in the steepest direction: the larger of the loss's two curvatures",
            "torch.linalg.eigvalsh(hessian)[-1]",
        ),
        lr_limit=check(
            lambda t: 2 / t.curvature, "2 / curvature: from this learning rate on, a step ends higher than it began"
        ),
    )
    chart_row = sheet.next_row
    t = steps(
        sheet,
        RATE_STEPS,
        row=chart_row + 20,
        freeze=2,
        rate_step=counter(lambda t: previous(t.rate_step + 1, 1), "counts the steps", width=12),
    )

    def errors(t: Any) -> list[Any]:
        return [s * x + i - y for i, s in zip(t.intercept, t.slope, strict=True)]

    curves = []
    for rate in RATES:
        lr = cell[f"lr_{rate}"]
        run = columns(
            t.table,
            f"{rate}_",
            intercept=parameter(
                lambda t, lr=lr: previous(t.intercept - lr * t.grad_intercept, intercept), ABOVE, "model.bias"
            ),
            slope=parameter(lambda t, lr=lr: previous(t.slope - lr * t.grad_slope, slope), ABOVE, "model.weight"),
            loss=loss(lambda t: [mean(error**2) for error in errors(t)], "mean of (y_hat - y)^2", MSE),
            grad_intercept=gradient(
                lambda t: [2 * mean(error) for error in errors(t)], "2 * mean of (y_hat - y)", ".grad"
            ),
            grad_slope=gradient(
                lambda t: [2 * mean(error * x) for error in errors(t)], "2 * mean of x * (y_hat - y)", ".grad"
            ),
        )
        curves.append(Series(f"lr_{rate}", t.rate_step, run.loss, width=2.25))
    chart = scatter("The loss with each learning rate", "step", "mean loss (powers of ten)", curves, width=26, log=True)
    sheet.chart(chart_row, 1, chart)


def reference(epochs: int, v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch
    from torch.nn.functional import mse_loss

    x, y, points = v.data_x, v.data_y, len(v.data_x)
    blocks = reference_sgd(v, epochs)
    blocks |= {
        "epoch_number": torch.arange(1, epochs + 1),
        "epoch_loss": blocks["loss"].view(epochs, points).mean(dim=1),
        "epoch_intercept": blocks["new_intercept"][points - 1 :: points],
        "epoch_slope": blocks["new_slope"][points - 1 :: points],
    }
    shown = min(v.show_step, points * epochs) - 1
    intercept, slope, ends = blocks["intercept"][shown], blocks["slope"][shown], torch.stack([x.min(), x.max()])
    blocks |= {
        "shown_intercept": intercept,
        "shown_slope": slope,
        "shown_loss": mse_loss(slope * x + intercept, y),
        "line_x": ends,
        "line_y": slope * ends + intercept,
    }
    hessian: Any = torch.autograd.functional.hessian(lambda p: mse_loss(p[0] * x + p[1], y), torch.zeros(2))
    curvature = torch.linalg.eigvalsh(hessian)[-1]
    blocks |= {"curvature": curvature, "lr_limit": 2 / curvature}
    y_hat = v.hand_slope * x + v.hand_intercept
    blocks |= {"hand_x": x, "hand_y": y, "hand_y_hat": y_hat, "hand_loss": mse_loss(y_hat, y)}
    blocks["hand_error"] = mse_loss(y_hat, y, reduction="none")

    some = slice(None, None, math.ceil(points * epochs / PATH))
    blocks["path_step"] = blocks["step"][some]
    axes = []
    for name in ("intercept", "slope"):
        way = blocks[name][some]
        along, half = reference_axis(v[f"{name}_from"], v[f"{name}_to"], GRID)
        blocks |= {f"path_{name}": torch.where(way.isfinite(), way, FAR), f"map_{name}": along, f"half_{name}": half}
        axes.append((blocks[f"path_{name}"], along, half))
    blocks["visits"] = reference_visits(*axes)
    y_hat = axes[1][1][:, None, None] * x + axes[0][1][None, :, None]
    blocks["loss_map"] = mse_loss(y_hat, y.expand_as(y_hat), reduction="none").mean(-1)

    blocks["rate_step"] = torch.arange(1, RATE_STEPS + 1)
    for rate in RATES:
        params = {name: torch.tensor(v[name], requires_grad=True) for name in ("intercept", "slope")}
        optimizer = torch.optim.SGD(params.values(), lr=v[f"lr_{rate}"])

        def loss_of(_: int, note: Any, params: Any = params) -> Any:
            return mse_loss(params["slope"] * x + params["intercept"], y)

        run = vars(descend(params, optimizer, range(RATE_STEPS), loss_of))
        blocks |= {f"{rate}_{name}": rows for name, rows in run.items() if not name.startswith("new_")}
    return blocks


def reference_sgd(v: Named, epochs: int) -> dict[str, Any]:
    """The sheet `sgd`: the parameters move by torch.optim.SGD on each batch's mean loss."""
    import torch
    from torch.nn.functional import mse_loss

    points = len(v.data_x)
    params = {name: torch.tensor(v[name], requires_grad=True) for name in ("intercept", "slope")}
    optimizer = torch.optim.SGD(params.values(), lr=v.lr)
    rows: dict[str, list[Any]] = {}
    for start in [*range(0, points, v.batch_size)] * epochs:
        x, y = v.data_x[start : start + v.batch_size], v.data_y[start : start + v.batch_size]
        # One copy of the parameters for each point, so that autograd gives each point's own gradient.
        own = {name: param.detach().expand(len(x)).clone().requires_grad_() for name, param in params.items()}
        y_hat = own["slope"] * x + own["intercept"]
        loss = mse_loss(y_hat, y, reduction="none")
        loss.sum().backward()
        optimizer.zero_grad()
        mse_loss(params["slope"] * x + params["intercept"], y).backward()
        optimizer.step()
        in_batch = torch.arange(1, len(x) + 1)
        row = {"x": x, "y": y, "y_hat": y_hat, "loss": loss, "in_batch": in_batch, "batch_ends": in_batch == len(x)}
        for name, param in params.items():
            grads: Any = own[name].grad
            row |= {name: own[name], f"grad_{name}": grads, f"sum_grad_{name}": grads.cumsum(0)}
            row[f"new_{name}"] = torch.cat([own[name][1:], param.view(1)])
        for name, column in row.items():
            rows.setdefault(name, []).append(column.detach().clone())
    blocks = {name: torch.cat(columns) for name, columns in rows.items()}
    step = torch.arange(1, points * epochs + 1)
    blocks |= {"step": step, "epoch": (step - 1) // points + 1}
    for name in params:
        moved = {each: blocks[each] + (v.nudge if each == name else 0) for each in params}
        nudged = (moved["slope"] * blocks["x"] + moved["intercept"] - blocks["y"]) ** 2
        blocks |= {f"loss_{name}_nudged": nudged, f"fd_grad_{name}": (nudged - blocks["loss"]) / v.nudge}
    return blocks


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is the square of y_hat - y, which is as exact as the larger of the two is.
    """
    largest = np.maximum(np.abs(blocks["y_hat"]), np.abs(blocks["y"]))
    losses = {name: blocks[f"loss_{name}_nudged"] for name in ("intercept", "slope")}
    return {
        f"fd_grad_{name}": (loss + 2 * np.sqrt(np.maximum(loss, blocks["loss"])) * largest) / v.nudge
        for name, loss in losses.items()
    }


def about(points: int, epochs: int) -> list[str]:
    return [
        f"A line, y = slope * x + intercept, is fitted to {points} points by stochastic gradient descent (SGD): "
        "look at a point, see how wrong the line is there (the loss), work out in which direction each parameter "
        "makes the loss smaller (the gradient), and take a small step that way. The learning rate, lr, says how "
        "small.",
        f"Sheet 'sgd' has one row for each step: {epochs} epochs (passes over the data) of {points} rows. Nothing "
        "is hidden in a macro: click on any number to see how it was made, change any yellow cell and all that "
        "depends on it follows.",
    ]


TRY = [
    "Set batch_size to 5: the parameters now move on every fifth row, by the mean gradient of five points.",
    "Compare grad_slope with fd_grad_slope: the second only nudges the slope a little and looks at what the "
    "loss does. Make the nudge larger, then smaller: when do the two agree?",
    "On 'charts', change show_step and watch the line move towards the points.",
    "On 'by hand', be the optimiser yourself: type a slope and an intercept and bring the loss down.",
    "On 'rates', compare a learning rate that is too low, one that is good and one that is too high. Set lr_high a "
    "little below lr_limit, then a little above it.",
]


LIMITS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "lr": ("learning rate: how far to step against the gradient", {"minimum": 0}),
    "batch_size": ("how many points share one step of the parameters", {"minimum": 1, "whole": True}),
    "nudge": ("how far the finite difference moves a parameter", {"above": 0}),
    "intercept": ("where the intercept starts", {}),
    "slope": ("where the slope starts", {}),
    "show_step": ("the step whose line is drawn", {"minimum": 1, "whole": True}),
    "hand_intercept": ("your intercept", {}),
    "hand_slope": ("your slope", {}),
    "intercept_from": ("the map's first intercept", {}),
    "intercept_to": ("the map's last intercept", {}),
    "slope_from": ("the map's first slope", {}),
    "slope_to": ("the map's last slope", {}),
    "lr_low": ("a learning rate that is too low", {"minimum": 0}),
    "lr_good": ("a learning rate that is good", {"minimum": 0}),
    "lr_high": ("a learning rate that is too high", {"minimum": 0}),
}


def lesson(
    name: str, title: str, summary: str, epochs: int, first: str, points: dict[str, list[float]], **starts: float
) -> Lesson:
    """The lesson with other points and starting values; `first` is what to try first."""
    return Lesson(
        name,
        summary,
        tuple(Input(each, starts[each], meaning, **limits) for each, (meaning, limits) in LIMITS.items()),
        csv_columns(points),
        build=partial(build, epochs),
        reference=partial(reference, epochs),
        sizes=sizes,
        title=title,
        things_to_try=[first, *TRY],
    )


LINEAR_SGD = lesson(
    "linear_sgd",
    "Fit a line by stochastic gradient descent",
    "fit a line to 29 points by SGD, one row a step, with charts and a map of the loss",
    10,
    "On 'sgd', double lr again and again, from 0.03 to 0.96, and look at 'epochs': the loss that remains at the end "
    "becomes larger with every doubling, and with the last it grows without end.",
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

LESSON2_SGD = lesson(
    "lesson2_sgd",
    "Gradient descent on 100 points",
    "fit y = 3x + 2 to 100 noisy points, all of them in each step, 100 steps",
    100,
    "On 'sgd', set lr to 0.4, then 0.8, 0.95 and 1, and look at 'epochs': ever faster down, then slower again, and "
    "from 1 on the loss grows.",
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
