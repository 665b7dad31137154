"""Fit a line by stochastic gradient descent, one row a data point, every number of it a formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import Book, Series, scatter
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import (
    Named,
    activation,
    counter,
    data,
    gradient,
    inputs,
    loss,
    parameter,
    points_sheet,
    steps,
)
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.line import MSE, line_inputs, nudge_sizes, reference_shared, run_charts, shared_sheets
from sgdsheet.tensor import either, equal, floor, mean, mod, previous, where

EPOCHS = 10
NUDGED = "(nudged loss - loss) / nudge"
SPARSE = '0.000;-0.000;"\u00b7"'  # a dot where a batch has not ended


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `data`, `sgd`, `epochs`, and those that the lessons of a line share."""
    check_columns(given, 1_000_000 // EPOCHS, book.lesson)
    book.summary = about(len(given["data_x"]))
    x, y = points_sheet(book, given["data_x"], given["data_y"], "Change any number here and everything follows.")
    sgd = sgd_sheet(book, x, y)
    epochs_sheet(book, sgd)
    finite_differences(sgd, shared_sheets(book, x, y, sgd))


def sgd_sheet(book: Book, data_x: Any, data_y: Any) -> Named:
    sheet = book.sheet(
        "sgd",
        "Stochastic gradient descent, step by step",
        "A row is a point: the line there, what it says, how wrong that is, both gradients; then new = old - lr * mean "
        "gradient of the batch, with which the next row begins.",
    )
    torch = {"lr": "torch.optim.SGD(..., lr=lr)", "batch_size": "DataLoader(..., batch_size=batch_size)"}
    cell = inputs(sheet, "lr", "batch_size", torch=torch, across=True)
    points = len(data_x)
    batch_mean = "mean of the batch; \u00b7 until it ends"
    t = steps(
        sheet,
        points * EPOCHS,
        freeze=2,
        step=counter(lambda t: previous(t.step + 1, 1), "row"),
        x=data(np.tile(data_x, EPOCHS), "the point's x", "x", width=10.5),
        y=data(np.tile(data_y, EPOCHS), "the point's y", "y", width=8),
        intercept=parameter(
            lambda t: previous(t.new_intercept, book.typed("intercept")), "new_intercept above", "model.bias"
        ),
        slope=parameter(lambda t: previous(t.new_slope, book.typed("slope")), "new_slope above", "model.weight"),
        y_hat=activation(lambda t: t.slope * t.x + t.intercept, "slope * x + intercept", "model(x)"),
        loss=loss(lambda t: (t.y_hat - t.y) ** 2, "(y_hat - y)^2", MSE),
        grad_intercept=gradient(lambda t: 2 * (t.y_hat - t.y), "2 * (y_hat - y)", "model.bias.grad"),
        grad_slope=gradient(lambda t: 2 * t.x * (t.y_hat - t.y), "2 * x * (y_hat - y)", "model.weight.grad"),
        mean_grad_intercept=gradient(
            lambda t: where(equal(t.batch_ends, 1), t.sum_grad_intercept / t.in_batch, 0),
            batch_mean,
            "model.bias.grad, of the batch's mean loss",
            SPARSE,
        ),
        mean_grad_slope=gradient(
            lambda t: where(equal(t.batch_ends, 1), t.sum_grad_slope / t.in_batch, 0),
            batch_mean,
            "model.weight.grad, of the batch's mean loss",
            SPARSE,
        ),
        new_intercept=parameter(
            lambda t: t.intercept - cell.lr * t.mean_grad_intercept,
            "intercept - lr * mean_grad",
            "optimizer.step()",
        ),
        new_slope=parameter(
            lambda t: t.slope - cell.lr * t.mean_grad_slope, "slope - lr * mean_grad", "optimizer.step()"
        ),
        epoch=counter(lambda t: floor((t.step - 1) / points) + 1, "passes over the data", folded=True),
        in_batch=counter(
            lambda t: mod(mod(t.step - 1, points), cell.batch_size) + 1, "the row's place in its batch", folded=True
        ),
        batch_ends=counter(
            lambda t: where(either(equal(t.in_batch, cell.batch_size), equal(mod(t.step, points), 0)), 1, 0),
            "1 where a batch ends",
            folded=True,
        ),
        sum_grad_intercept=gradient(
            lambda t: where(equal(t.in_batch, 1), 0, previous(t.sum_grad_intercept, 0)) + t.grad_intercept,
            "added up within the batch",
            folded=True,
        ),
        sum_grad_slope=gradient(
            lambda t: where(equal(t.in_batch, 1), 0, previous(t.sum_grad_slope, 0)) + t.grad_slope,
            "added up within the batch",
            folded=True,
        ),
        loss_intercept_nudged=loss(None, "the loss with intercept + nudge", folded=True),
        fd_grad_intercept=gradient(None, NUDGED, "finite difference", folded=True),
        loss_slope_nudged=loss(None, "the loss with slope + nudge", folded=True),
        fd_grad_slope=gradient(None, NUDGED, "finite difference", folded=True),
    )
    run_charts(sheet, t)
    return t


def finite_differences(t: Named, nudge: Any) -> None:
    """Fills the last columns of `sgd`: the same gradients without their formulas, by the cell `nudge`."""
    t.table.fill("loss_intercept_nudged", (t.slope * t.x + (t.intercept + nudge) - t.y) ** 2)
    t.table.fill("loss_slope_nudged", ((t.slope + nudge) * t.x + t.intercept - t.y) ** 2)
    for part in ("intercept", "slope"):
        t.table.fill(f"fd_grad_{part}", (t[f"loss_{part}_nudged"] - t.loss) / nudge)


def epochs_sheet(book: Book, sgd: Named) -> None:
    sheet = book.sheet(
        "epochs",
        "The same run, one row an epoch",
        "An epoch is one pass over all points. Its loss is the mean of the losses of its rows on 'sgd', where lr is.",
    )
    points = len(sgd.step) // EPOCHS
    t = steps(
        sheet,
        EPOCHS,
        freeze=2,
        epoch_number=counter(lambda t: previous(t.epoch_number + 1, 1), "counts the epochs"),
        epoch_loss=loss(list(map(mean, sgd.loss.reshape(EPOCHS, points))), "mean loss of its rows"),
        epoch_intercept=parameter(sgd.new_intercept[points - 1 :: points], "when the epoch ends"),
        epoch_slope=parameter(sgd.new_slope[points - 1 :: points], "when the epoch ends"),
    )
    losses = [Series("loss", t.epoch_number, t.epoch_loss, points=True)]
    title, ends = "The mean loss of each epoch", (1, EPOCHS)
    shown = scatter(title, "epoch", "mean loss (powers of ten)", losses, log=True, x_range=ends, width=28)
    sheet.chart(t.head, 6, shown)
    both = [Series(part, t.epoch_number, t[f"epoch_{part}"], points=True) for part in ("intercept", "slope")]
    title = "The parameters at the end of each epoch"
    sheet.chart(t.first + 15, 6, scatter(title, "epoch", "value", both, x_range=ends, width=28, height=8))


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch

    points, blocks = len(v.data_x), reference_sgd(v)
    blocks |= {
        "epoch_number": torch.arange(1, EPOCHS + 1),
        "epoch_loss": blocks["loss"].view(EPOCHS, points).mean(dim=1),
        "epoch_intercept": blocks["new_intercept"][points - 1 :: points],
        "epoch_slope": blocks["new_slope"][points - 1 :: points],
    }
    return blocks | reference_shared(v, blocks)


def reference_sgd(v: Named) -> dict[str, Any]:
    """The sheet `sgd`: the parameters move by torch.optim.SGD on each batch's mean loss."""
    import torch
    from torch.nn.functional import mse_loss

    points = len(v.data_x)
    params = {name: torch.tensor(v[name], requires_grad=True) for name in ("intercept", "slope")}
    optimizer = torch.optim.SGD(params.values(), lr=v.lr)
    rows: dict[str, list[Any]] = {}
    for start in [*range(0, points, v.batch_size)] * EPOCHS:
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
            whole: Any = param.grad
            row[f"mean_grad_{name}"] = torch.cat([torch.zeros(len(x) - 1), whole.view(1)])
            row[f"new_{name}"] = torch.cat([own[name][1:], param.view(1)])
        for name, column in row.items():
            rows.setdefault(name, []).append(column.detach().clone())
    blocks = {name: torch.cat(columns) for name, columns in rows.items()}
    step = torch.arange(1, points * EPOCHS + 1)
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
    return nudge_sizes(v, blocks) | {
        f"fd_grad_{name}": (loss + 2 * np.sqrt(np.maximum(loss, blocks["loss"])) * largest) / v.nudge
        for name, loss in losses.items()
    }


def about(points: int) -> list[str]:
    return [
        f"A line, y = slope * x + intercept, is fitted to {points} points by stochastic gradient descent (SGD): "
        "look at a point, see how wrong the line is there (the loss), work out in which direction each parameter "
        "makes the loss smaller (the gradient), and take a small step that way. The learning rate, lr, says how "
        "small.",
        f"Sheet 'sgd' has one row for each step: {EPOCHS} epochs (passes over the data) of {points} rows. Nothing "
        "is hidden in a macro: click on any number to see how it was made, change any yellow cell and all that "
        "depends on it follows.",
    ]


TRY = [
    "On 'sgd', click new_slope: it is slope - lr * mean_grad_slope. Double lr five times, from 0.03 to 0.96: the loss "
    "that remains on 'epochs' goes from 0.066 to 0.070, 0.080, 0.136 and 0.436; with 0.96 it grows without end.",
    "On 'sgd', set batch_size to 5: the parameters now move on every fifth row, by the mean gradient of five points.",
    "On 'nudge', make nudge 1, 0.1, 0.01: the line through the two points turns into the gradient's line. In the "
    "closed columns of 'sgd' every row does the same.",
    "On 'by hand', type 3 for hand_intercept and 2 for hand_slope: hand_loss falls from 7.842 to 0.065.",
    "On 'rates', make lr_high 0.3, 0.4, 0.55, 0.6: the way down the valley is straight, zigzags, zigzags widely, and "
    "climbs out: lr_limit is 0.575.",
    "On 'charts', type 1, 5, 15, 29 into show_step: the line comes to the points within the first epoch.",
]

EXERCISES = (
    Exercise(
        "grad_slope",
        1,
        "On 'sgd': how fast does the loss of the row's point grow with the slope? Differentiate (y_hat - y)^2, where "
        "y_hat = slope * x + intercept. Write the first row and copy it down.",
        {
            "x is missing": lambda t: 2 * (t.y_hat - t.y),
            "near it: a finite difference": lambda t: t.fd_grad_slope,
        },
    ),
    Exercise(
        "new_slope",
        2,
        "One step of gradient descent: against mean_grad_slope, as far as lr says.",
        {
            "it climbs: step against it": lambda t: t.slope + t.lr * t.mean_grad_slope,
            "lr is missing": lambda t: t.slope - t.mean_grad_slope,
            "the row's own, not the mean": lambda t: t.slope - t.lr * t.grad_slope,
            "the sum, not the mean": lambda t: t.slope - t.lr * t.sum_grad_slope,
            "the old slope is missing": lambda t: -t.lr * t.mean_grad_slope,
        },
    ),
    Exercise("y_hat", 3, "What does the line say at x?", {"the intercept is missing": lambda t: t.slope * t.x}),
    Exercise(
        "grad_intercept",
        3,
        "How fast does the loss of the row's point grow with the intercept?",
        {"there is no x in it": lambda t: 2 * t.x * (t.y_hat - t.y)},
    ),
)

LINEAR_SGD = Lesson(
    "linear_sgd",
    "fit a line to 29 points by SGD, one row a step, with charts and a map of the loss",
    line_inputs(
        lr=0.03,
        batch_size=1,
        intercept=0,
        slope=0,
        show_step=15,
        nudge_slope=0,
        nudge=2,
        hand_intercept=1,
        hand_slope=1,
        intercept_from=-0.5,
        intercept_to=4.5,
        slope_from=-0.5,
        slope_to=4.5,
        lr_low=0.005,
        lr_good=0.3,
        lr_high=0.6,
        rate_intercept=-1,
        rate_slope=4,
    ),
    csv_columns(noisy_line(seed=7, count=29, x=(0, 2), slope=2, intercept=3, noise=(-0.5, 0.5))),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Fit a line by stochastic gradient descent",
    things_to_try=TRY,
    again={"intercept": "new_intercept", "slope": "new_slope"},
    exercises=EXERCISES,
)
