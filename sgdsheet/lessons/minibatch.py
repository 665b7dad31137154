"""The same data with mini-batches of one point, of eight and of all: path, noise and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import SHORT, Book, Input, Series, Sheet, scatter
from sgdsheet.book.style import LABEL, NOTE
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import Named, check, columns, counter, descend, gradient, loss, parameter, steps
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.surface import FAR, axis, reference_axis, reference_visits, visits
from sgdsheet.tensor import finite_or, mean, previous, sqrt

RUNS = ("small", "medium", "all")
GRID = 15  # the loss is shown for so many intercepts and slopes
MSE = "F.mse_loss(model(x), y)"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `data`, `compare`, a sheet for each batch size, `paths`, `noise`."""
    check_columns(given, 1000, "minibatch")
    points, epochs, size = (
        len(given["data_x"]),
        int(book.values["epochs"]),
        sizes(Named(**book.values), given["data_x"]),
    )
    book.summary = about(points)
    sheet = book.sheet("data", "The points, in the order in which they are looked at")
    cell = flow.inputs(sheet, *(each.name for each in INPUTS if not each.name.startswith(("map_", "noise_"))))
    t = steps(
        sheet,
        points,
        freeze=None,
        data_x=flow.data(flow.typed(given["data_x"]), "what is known", "x", absolute=True),
        data_y=flow.data(flow.typed(given["data_y"]), "what to predict", "y", absolute=True),
    )
    sheet.width(1, 16, 2)
    sheet.repeat_rows(t.head, t.first - 1)
    cloud = Series("points", t.data_x, t.data_y, points=True, line=False)
    sheet.chart(t.head, 4, scatter("The points", "x", "y", [cloud], width=16, height=10))

    compare = book.sheet(
        "compare",
        "The three runs, epoch by epoch",
        "One epoch costs each run the same: every point is looked at once. What differs is the number of steps.",
    )
    runs = {name: run_sheet(book, name, size[name], epochs, t.data_x, t.data_y, cell) for name in RUNS}
    compare_sheet(compare, runs, {name: f"{name}: {size[name]} a step" for name in RUNS}, points, epochs)
    paths_sheet(book, runs, t.data_x, t.data_y)
    noise_sheet(book, size["medium"], t.data_x, t.data_y)


def sizes(v: Named, x: Any) -> dict[str, int]:
    """How many points a mini-batch of each run has."""
    return {"small": min(int(v.small), len(x)), "medium": min(int(v.medium), len(x)), "all": len(x)}


def batches(size: int, points: int) -> list[slice]:
    return [slice(start, min(start + size, points)) for start in range(0, points, size)]


def run_sheet(book: Book, name: str, size: int, epochs: int, x: Any, y: Any, cell: Named) -> Named:
    """One run, a row a step."""
    group = "one point" if size == 1 else f"{size} points"
    sheet = book.sheet(
        name,
        f"Mini-batches of {group}" + (": the whole data" if size == len(x) else ""),
        f"One row is one step: the gradient of {group}, and the new parameters, which begin the next row.",
        "loss_of_all is not needed for the step. It is there to compare the runs: the mean loss over all points.",
    )
    once, lr = batches(size, len(x)), cell[f"{name}_lr"]
    each, epoch = once * epochs, np.repeat(np.arange(1, epochs + 1), len(once))

    def errors(t: Named) -> list[Any]:
        return [s * x[b] + i - y[b] for i, s, b in zip(t.intercept, t.slope, each, strict=True)]

    return steps(
        sheet,
        len(each),
        f"{name}_",
        short=True,
        freeze=2,
        step=counter(np.arange(1, len(each) + 1), "counts the steps"),
        epoch=counter(epoch, "passes over the data"),
        first=counter([b.start + 1 for b in each], "the batch's first point"),
        looked_at=counter(len(x) * (epoch - 1) + [b.stop for b in each], "points looked at so far"),
        intercept=parameter(
            lambda t: previous(t.new_intercept, cell.intercept), "the new_intercept of the row above", "model.bias"
        ),
        slope=parameter(lambda t: previous(t.new_slope, cell.slope), "the new_slope of the row above", "model.weight"),
        loss=loss(lambda t: [mean(e**2) for e in errors(t)], "mean of (y_hat - y)^2 over the batch", MSE),
        grad_intercept=gradient(
            lambda t: [2 * mean(e) for e in errors(t)], "2 * mean of (y_hat - y)", "model.bias.grad"
        ),
        grad_slope=gradient(
            lambda t: [2 * mean(e * x[b]) for e, b in zip(errors(t), each, strict=True)],
            "2 * mean of x * (y_hat - y)",
            "model.weight.grad",
        ),
        new_intercept=parameter(
            lambda t: t.intercept - lr * t.grad_intercept, f"intercept - {name}_lr * grad_intercept", "optimizer.step()"
        ),
        new_slope=parameter(
            lambda t: t.slope - lr * t.grad_slope, f"slope - {name}_lr * grad_slope", "optimizer.step()"
        ),
        loss_of_all=loss(
            lambda t: [mean((s * x + i - y) ** 2) for i, s in zip(t.new_intercept, t.new_slope, strict=True)],
            "mean loss of all points after the step",
        ),
        path_intercept=check(lambda t: finite_or(t.intercept, FAR), "intercept, 1E+300 if that overflows"),
        path_slope=check(lambda t: finite_or(t.slope, FAR), "slope, 1E+300 if that overflows"),
    )


def compare_sheet(sheet: Sheet, runs: Mapping[str, Named], label: Mapping[str, str], points: int, epochs: int) -> None:
    sheet.print_on_one_page()
    top = sheet.next_row
    t = steps(
        sheet,
        epochs,
        row=top + 44,
        freeze=None,
        epoch=counter(np.arange(1, epochs + 1), "passes over the data"),
        looked_at=counter(lambda t: points * t.epoch, "points looked at so far"),
    )
    by_epoch, by_step, noise = [], [], []
    for color, (name, run) in enumerate(runs.items()):
        once = len(run.step) // epochs
        ends = run.loss_of_all[once - 1 :: once]
        c = columns(
            t.table,
            f"{name}_",
            steps=counter(once * t.epoch, "steps made so far"),
            epoch_loss=loss(ends, "mean loss of all points after the epoch", MSE),
        )
        by_epoch.append(Series(label[name], t.epoch, c.epoch_loss, points=True, color=color))
        by_step.append(Series(label[name], c.steps, c.epoch_loss, points=True, color=color))
        noise.append(Series(label[name], run.looked_at, run.loss_of_all, color=color, width=1.25))
    axis = "mean loss (powers of ten)"
    sheet.chart(top, 1, scatter("The same work: loss after each epoch", "epoch", axis, by_epoch, height=10, log=True))
    sheet.chart(top, 7, scatter("The same losses by the number of steps", "steps", axis, by_step, height=10, log=True))
    title = "The noise: the loss of all points after every single step"
    sheet.chart(top + 22, 1, scatter(title, "points looked at", axis, noise, width=30, height=10, log=True))


def paths_sheet(book: Book, runs: Mapping[str, Named], x: Any, y: Any) -> None:
    sheet = book.sheet(
        "paths",
        "The three ways over the loss surface",
        "Each cell of a map is a line with the intercept of its column and the slope of its row; pale is a small loss. "
        "The framed cells are those that a run came through.",
        "All points together walk straight down. One point at a time staggers, and never comes to rest.",
    )
    sheet.print_on_one_page()
    left, top = 3, sheet.next_row
    sheet.width(1, 20)
    sheet.width(2, 9)
    sheet.width(left, 5.5, left + 3 * (GRID + 2))
    cell = flow.inputs(sheet, "map_intercept_from", "map_intercept_to", "map_slope_from", "map_slope_to")
    across, half_intercept = axis(cell.map_intercept_from, cell.map_intercept_to, GRID)
    down, half_slope = axis(cell.map_slope_from, cell.map_slope_to, GRID)
    half = flow.values(
        sheet,
        half_intercept=check(half_intercept, "half of a map cell's intercept"),
        half_slope=check(half_slope, "half of a map cell's slope"),
    )
    lines = [Series(name, run.intercept, run.slope, color=n, width=1.25) for n, (name, run) in enumerate(runs.items())]
    chart = scatter("Where the parameters went", "intercept", "slope", lines, width=24, height=10)
    sheet.chart(top, left + 12, chart)

    row, words = top + 27, "each column's intercept"
    across = sheet.headed(
        "map_intercept", across, "parameter", row - 5, left, words=words, across=True, number_format=SHORT
    )
    sheet.write(row - 1, 1, "map_slope", LABEL)
    down = sheet.place("map_slope", down, "parameter", row, 2, words="each row's slope", number_format=SHORT)
    losses: Any = [[mean((s * x + i - y) ** 2) for i in across] for s in down]
    for number, (name, run) in enumerate(runs.items()):
        column, block = left + number * (GRID + 1), "loss_map" if not number else f"{name}_loss_map"
        sheet.write(row - 1, column, f"{name}: the loss of each line, and where the run came through", LABEL)
        words = "mean loss of each line"
        grid = sheet.place(block, losses, "loss", row, column, words=words, torch=MSE, number_format=SHORT)
        losses = grid if not number else losses
        sheet.heat_map(grid)
        words = "how many steps of the run fall into each cell"
        sheet.write(row + GRID + 1, column, f"{name}_visits: {words}", NOTE)
        seen = visits((run.path_intercept, across, half.half_intercept), (run.path_slope, down, half.half_slope))
        below = row + GRID + 2
        seen = sheet.place(f"{name}_visits", seen, "check", below, column, words=words, number_format="0;-0;")
        sheet.mark(grid, seen)


def noise_sheet(book: Book, size: int, x: Any, y: Any) -> None:
    sheet = book.sheet(
        "noise",
        "How noisy is the gradient of a mini-batch?",
        "At one place, one intercept and one slope, the gradient of each point, of each mini-batch, and of all points.",
        f"The spread is how far a gradient is from that of all points, typically. {size} points together spread about "
        f"{size**0.5:.1f} times less than one (the square root of {size}): the work grows faster than the gain.",
    )
    cell = flow.inputs(sheet, "noise_intercept", "noise_slope")
    top, parts = sheet.next_row, batches(size, len(x))
    one = steps(
        sheet,
        len(x),
        row=top + 6,
        freeze=None,
        point=counter(np.arange(1, len(x) + 1), "counts the points"),
        point_grad_slope=gradient(
            2 * x * (cell.noise_slope * x + cell.noise_intercept - y), "2 * x * (y_hat - y)", "slope.grad", width=16
        ),
    )
    some = steps(
        sheet,
        len(parts),
        row=top + 6,
        left=4,
        freeze=None,
        batch_first=counter([b.start + 1 for b in parts], "the batch's first point"),
        batch_grad_slope=gradient(
            [mean(one.point_grad_slope[b]) for b in parts], "mean over the batch", "slope.grad", width=16
        ),
    )
    flow.values(
        sheet,
        row=top,
        full_grad_slope=gradient(mean(one.point_grad_slope), "the gradient of all points", "slope.grad"),
        spread_small=check(
            lambda t: sqrt(mean((one.point_grad_slope - t.full_grad_slope) ** 2)),
            "the spread of one point's gradient around it: the root of the mean square",
            "(grads - grad).square().mean().sqrt()",
        ),
        spread_medium=check(
            lambda t: sqrt(mean((some.batch_grad_slope - t.full_grad_slope) ** 2)),
            f"the same for mini-batches of {size}",
        ),
        spread_ratio=check(lambda t: t.spread_small / t.spread_medium, "how much smaller that is", digits="0.0"),
    )
    clouds = [
        Series("one point", one.point, one.point_grad_slope, points=True, line=False, color=5),
        Series(f"mini-batch of {size}", some.batch_first, some.batch_grad_slope, points=True, color=3, width=2.5),
    ]
    chart = scatter("Gradients of the slope", "point", "gradient", clouds, width=18, height=10)
    sheet.chart(one.head, 7, chart)
    sheet.width(1, 18)
    sheet.print_on_one_page()


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch
    from torch.nn.functional import mse_loss

    x, y, epoch = v.data_x, v.data_y, torch.arange(1, v.epochs + 1)
    blocks: dict[str, Any] = {"epoch": epoch, "looked_at": len(x) * epoch}
    axes = []
    for name in ("intercept", "slope"):
        axes.append(reference_axis(v[f"map_{name}_from"], v[f"map_{name}_to"], GRID))
        blocks |= {f"map_{name}": axes[-1][0], f"half_{name}": axes[-1][1]}
    y_hat = axes[1][0][:, None, None] * x + axes[0][0][None, :, None]
    surface = mse_loss(y_hat, y.expand_as(y_hat), reduction="none").mean(-1)
    blocks |= {"loss_map": surface, "medium_loss_map": surface, "all_loss_map": surface}

    for name, size in sizes(v, x).items():
        once = batches(size, len(x))
        params = {part: torch.tensor(v[part], requires_grad=True) for part in ("intercept", "slope")}
        optimizer = torch.optim.SGD(params.values(), lr=v[f"{name}_lr"])

        def loss_of(b: slice, note: Any = None, params: Any = params) -> Any:
            return mse_loss(params["slope"] * x[b] + params["intercept"], y[b])

        def after(b: slice, note: Any, loss_of: Any = loss_of) -> None:
            note(loss_of_all=loss_of(slice(None)), first=b.start + 1, looked_at=b.stop)

        run = descend(params, optimizer, once * v.epochs, loss_of, after)
        run.step, run.epoch = torch.arange(1, len(run.loss) + 1), epoch.repeat_interleave(len(once))
        run.looked_at += len(x) * (run.epoch - 1)
        run.steps, run.epoch_loss = len(once) * epoch, run.loss_of_all[len(once) - 1 :: len(once)]
        for part in params:
            setattr(run, f"path_{part}", torch.where(run[part].isfinite(), run[part], FAR))
        run.visits = reference_visits((run.path_intercept, *axes[0]), (run.path_slope, *axes[1]))
        blocks |= {f"{name}_{block}": value for block, value in vars(run).items()}

    slope = torch.full_like(x, v.noise_slope, requires_grad=True)
    mse_loss(slope * x + v.noise_intercept, y, reduction="sum").backward()
    grads: Any = slope.grad
    parts = batches(sizes(v, x)["medium"], len(x))
    means = torch.stack([grads[b].mean() for b in parts])
    one, some = ((each - grads.mean()).square().mean().sqrt() for each in (grads, means))
    return blocks | {
        "point": torch.arange(1, len(x) + 1),
        "point_grad_slope": grads,
        "batch_first": torch.tensor([b.start + 1 for b in parts]),
        "batch_grad_slope": means,
        "full_grad_slope": grads.mean(),
        "spread_small": one,
        "spread_medium": some,
        "spread_ratio": one / some,
    }


def about(points: int) -> list[str]:
    return [
        f"A line, y = slope * x + intercept, is fitted to {points} points three times, from the same start. The "
        "runs differ in how many points are looked at before the parameters move: one, a few, or all. Such a group "
        "of points is a mini-batch; one move of the parameters is a step (or iteration); once through all the "
        "points is an epoch.",
        "The gradient of a mini-batch is the mean of its points' gradients: it says in which direction the loss of "
        "these few points falls. It is a guess at the gradient of all points, and the fewer the points, the "
        "noisier the guess. But few points cost little, so that many more steps can be made with the same work.",
    ]


TRY = [
    "On 'compare', which run is lowest after one epoch? Which is lowest after ten?",
    "With one point a step the loss is soon small but stays above the others': each point pulls the line its own "
    "way. Make small_lr 0.01: it comes lower, and takes longer.",
    "All points at once allow larger steps: make all_lr 0.5. At 1.1 it diverges.",
    "On 'paths', see how straight each run walks to the bottom.",
    "On 'noise', move the place to the bottom of the valley (intercept 1.04, slope 1.84): the gradient of all "
    "points is nearly 0 there, but that of a single point is not. This is why small batches never settle.",
]
INPUTS = (
    Input("intercept", -1, "where every run starts: the intercept"),
    Input("slope", -2, "where every run starts: the slope"),
    Input("small_lr", 0.1, "learning rate with small mini-batches", minimum=0),
    Input("medium_lr", 0.1, "learning rate with medium mini-batches", minimum=0),
    Input("all_lr", 0.1, "learning rate with all points", minimum=0),
    Input("small", 1, "points in a small mini-batch", minimum=1, maximum=1000, whole=True, fixed=True),
    Input("medium", 8, "points in a medium mini-batch", minimum=1, maximum=1000, whole=True, fixed=True),
    Input("epochs", 10, "how often each run goes through the data", minimum=1, maximum=50, whole=True, fixed=True),
    Input("map_intercept_from", -1.25, "the maps' first intercept"),
    Input("map_intercept_to", 2.25, "the maps' last intercept"),
    Input("map_slope_from", -2.25, "the maps' first slope"),
    Input("map_slope_to", 3, "the maps' last slope"),
    Input("noise_intercept", -1, "the place's intercept"),
    Input("noise_slope", -2, "the place's slope"),
)
MINIBATCH = Lesson(
    "minibatch",
    "the same line with mini-batches of 1, 8 and all points: path, noise and cost",
    INPUTS,
    csv_columns(noisy_line(seed=5, count=64, x=(-1, 1), slope=2, intercept=1, noise=(-0.8, 0.8))),
    build=build,
    reference=reference,
    title="Mini-batches: one point, eight, or all of them",
    things_to_try=TRY,
)
