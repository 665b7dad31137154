"""Fit a line to 100 points, all of them in each step, one row a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgdsheet.book import Book
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import Named, counter, descend, gradient, inputs, loss, parameter, points_sheet, steps
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.line import MSE, line_inputs, nudge_sizes, reference_shared, run_charts, shared_sheets
from sgdsheet.tensor import mean, previous

STEPS = 100


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `data`, `sgd`, and those that the lessons of a line share."""
    check_columns(given, 10_000, book.lesson)
    book.summary = about(len(given["data_x"]))
    x, y = points_sheet(book, given["data_x"], given["data_y"], "Change any number here and everything follows.")
    shared_sheets(book, x, y, sgd_sheet(book, x, y))


def sgd_sheet(book: Book, x: Any, y: Any) -> Named:
    sheet = book.sheet(
        "sgd",
        "Gradient descent, step by step",
        f"A row is a step: the line, its mean loss over all {len(x)} points, both gradients; then new = old - lr * "
        "gradient, with which the next row begins.",
    )
    cell = inputs(sheet, "lr", torch={"lr": "torch.optim.SGD(..., lr=lr)"}, across=True)

    def errors(t: Named) -> list[Any]:
        return [slope * x + intercept - y for intercept, slope in zip(t.intercept, t.slope, strict=True)]

    t = steps(
        sheet,
        STEPS,
        freeze=2,
        step=counter(lambda t: previous(t.step + 1, 1), "row"),
        intercept=parameter(
            lambda t: previous(t.new_intercept, book.typed("intercept")), "new_intercept above", "model.bias"
        ),
        slope=parameter(lambda t: previous(t.new_slope, book.typed("slope")), "new_slope above", "model.weight"),
        loss=loss(lambda t: [mean(error**2) for error in errors(t)], "mean of (y_hat - y)^2", MSE),
        grad_intercept=gradient(
            lambda t: [2 * mean(error) for error in errors(t)], "2 * mean of (y_hat - y)", "model.bias.grad"
        ),
        grad_slope=gradient(
            lambda t: [2 * mean(error * x) for error in errors(t)], "2 * mean of x * (y_hat - y)", "model.weight.grad"
        ),
        new_intercept=parameter(
            lambda t: t.intercept - cell.lr * t.grad_intercept, "intercept - lr * grad", "optimizer.step()"
        ),
        new_slope=parameter(lambda t: t.slope - cell.lr * t.grad_slope, "slope - lr * grad", "optimizer.step()"),
    )
    run_charts(sheet, t)
    return t


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch
    from torch.nn.functional import mse_loss

    params = {name: torch.tensor(v[name], requires_grad=True) for name in ("intercept", "slope")}
    optimizer = torch.optim.SGD(params.values(), lr=v.lr)

    def loss_of(_: int, note: Any) -> Any:
        return mse_loss(params["slope"] * v.data_x + params["intercept"], v.data_y)

    blocks = vars(descend(params, optimizer, range(STEPS), loss_of)) | {"step": torch.arange(1, STEPS + 1)}
    return blocks | reference_shared(v, blocks)


def about(points: int) -> list[str]:
    return [
        f"A line, y = slope * x + intercept, is fitted to {points} points by gradient descent: take the mean loss of "
        "all points, work out in which direction each parameter makes it smaller (the gradient), and take a small step "
        "that way. The learning rate, lr, says how small.",
        f"Sheet 'sgd' has one row for each of {STEPS} steps. Nothing is hidden in a macro: click on any number to see "
        "how it was made, change any yellow cell and all that depends on it follows.",
    ]


TRY = [
    "On 'sgd', set lr to 0.4: the loss is at its lowest after 20 steps, with 0.1 after 100. With 0.8 both parameters "
    "zigzag, with 0.95 more slowly to the same end, and with 1 the loss grows.",
    "On 'nudge', make nudge 1, then 0.1, then 0.01: the line through the two points turns into the gradient's line.",
    "On 'by hand', type 2.5 for hand_intercept and 3 for hand_slope: hand_loss falls from 8.566 to 0.091. The noise is "
    "never below 0, so that the best intercept is near 2.5, not 2.",
    "On 'rates', make lr_high 0.4, 0.9, 0.98, 1.03: the way down the valley is smooth, zigzags, zigzags widely, and "
    "climbs out: lr_limit is 0.984.",
]

EXERCISES = (
    Exercise(
        "grad_slope",
        1,
        "On 'sgd': how fast does the mean loss of all points, those of 'data', grow with the slope? Differentiate the "
        "mean of (slope * x + intercept - y)^2; SUMPRODUCT helps. Write the first row and copy it down: $ keeps the "
        "points where they are.",
        {
            "the sum, not the mean": lambda t: t.answer * len(t.data_x),
            "x is missing": lambda t: t.grad_intercept,
        },
    ),
    Exercise(
        "new_slope",
        2,
        "One step of gradient descent: against grad_slope, as far as lr says.",
        {
            "it climbs: step against it": lambda t: t.slope + t.lr * t.grad_slope,
            "lr is missing": lambda t: t.slope - t.grad_slope,
            "the old slope is missing": lambda t: -t.lr * t.grad_slope,
        },
    ),
    Exercise(
        "loss",
        3,
        "The mean of (y_hat - y)^2 over all points, where y_hat = slope * x + intercept.",
        {"the sum, not the mean": lambda t: t.answer * len(t.data_x)},
    ),
)

LESSON2_SGD = Lesson(
    "lesson2_sgd",
    "fit y = 3x + 2 to 100 noisy points, all of them in each step, 100 steps",
    line_inputs(
        lr=0.1,
        intercept=1,
        slope=-1,
        show_step=5,
        nudge_slope=-1,
        nudge=2,
        hand_intercept=1,
        hand_slope=-1,
        intercept_from=0,
        intercept_to=5,
        slope_from=-1.5,
        slope_to=3.5,
        lr_low=0.01,
        lr_good=0.3,
        lr_high=1.03,
        rate_intercept=1,
        rate_slope=-1,
    ),
    csv_columns(noisy_line(seed=2, count=100, x=(-1, 1), slope=3, intercept=2, noise=(0, 1))),
    build=build,
    reference=reference,
    sizes=nudge_sizes,
    title="Gradient descent on 100 points",
    things_to_try=TRY,
    again={"intercept": "new_intercept", "slope": "new_slope"},
    exercises=EXERCISES,
)
