"""The same data with mini-batches of one point, of eight and of all: path, noise and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import Book, Input, Series, Sheet, scatter
from sgdsheet.book.style import LABEL
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import (
    Named,
    check,
    columns,
    counter,
    descend,
    gradient,
    loss,
    parameter,
    points_sheet,
    steps,
)
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.surface import (
    FAR,
    axis,
    closed_maps,
    inside,
    reference_axis,
    reference_inside,
    reference_valley,
    reference_visits,
    valley,
    visits,
)
from sgdsheet.tensor import finite_or, mean, previous, sqrt

RUNS = ("small", "medium", "all")
GRID = 13  # the loss is shown for so many intercepts and slopes
AXES = ("intercept_from", "intercept_to", "slope_from", "slope_to")
STEP = "optimizer.step()"
MSE = "F.mse_loss(model(x), y)"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `compare`, `data`, a sheet for each batch size, `paths`, `noise`."""
    check_columns(given, 1000, "minibatch")
    points, epochs, size = (
        len(given["data_x"]),
        int(book.values["epochs"]),
        sizes(Named(**book.values), given["data_x"]),
    )
    book.summary = about(points)
    compare = book.sheet(
        "compare",
        "The three runs, epoch by epoch",
        "One epoch costs each run the same: every point is looked at once. What differs is the number of steps.",
    )
    compare.width(1, 10.5, 12)
    names = (each.name for each in INPUTS if not each.name.startswith(("map_", "noise_")))
    cell = flow.inputs(compare, *names, across=True)
    x, y = points_sheet(
        book, given["data_x"], given["data_y"], "In the order in which they are looked at.", absolute=True
    )
    runs = {name: run_sheet(book, name, size[name], epochs, x, y, cell) for name in RUNS}
    label = {name: f"{name}: {size[name]} a step" for name in RUNS}
    compare_sheet(compare, runs, label, points, epochs)
    paths_sheet(book, runs, label, x, y, cell)
    noise_sheet(book, size["medium"], x, y)


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
        f"A row is a step: the line, the loss and the gradient of {group}, and new = old - {name}_lr * gradient, with "
        "which the next row begins. The learning rate is on 'compare'.",
    )
    once, lr = batches(size, len(x)), cell[f"{name}_lr"]
    each, epoch = once * epochs, np.repeat(np.arange(1, epochs + 1), len(once))

    def errors(t: Named) -> list[Any]:
        return [s * x[b] + i - y[b] for i, s, b in zip(t.intercept, t.slope, each, strict=True)]

    t = steps(
        sheet,
        len(each),
        f"{name}_",
        short=True,
        freeze=2,
        step=counter(np.arange(1, len(each) + 1), "row"),
        epoch=counter(epoch, "passes over the data"),
        first=counter([b.start + 1 for b in each], "its first point", folded=True),
        looked_at=counter(len(x) * (epoch - 1) + [b.stop for b in each], "points looked at so far"),
        intercept=parameter(lambda t: previous(t.new_intercept, cell.intercept), "new_intercept above", "model.bias"),
        slope=parameter(lambda t: previous(t.new_slope, cell.slope), "new_slope above", "model.weight"),
        loss=loss(lambda t: [mean(e**2) for e in errors(t)], "mean of (y_hat - y)^2 over the batch", MSE),
        loss_of_all=loss(
            lambda t: [mean((s * x + i - y) ** 2) for i, s in zip(t.new_intercept, t.new_slope, strict=True)],
            "mean loss of all points after the step",
        ),
        grad_intercept=gradient(
            lambda t: [2 * mean(e) for e in errors(t)], "2 * mean of (y_hat - y)", "model.bias.grad"
        ),
        grad_slope=gradient(
            lambda t: [2 * mean(e * x[b]) for e, b in zip(errors(t), each, strict=True)],
            "2 * mean of x * (y_hat - y)",
            "model.weight.grad",
        ),
        new_intercept=parameter(lambda t: t.intercept - lr * t.grad_intercept, "intercept - lr * grad", STEP),
        new_slope=parameter(lambda t: t.slope - lr * t.grad_slope, "slope - lr * grad", STEP),
        path_intercept=check(lambda t: finite_or(t.intercept, FAR), "1E+300 if that overflows", folded=True),
        path_slope=check(lambda t: finite_or(t.slope, FAR), "1E+300 if that overflows", folded=True),
    )
    left = t.table.next_column + 1
    size_of_chart: dict[str, Any] = {"width": 18, "height": 7.2, "x_range": (0, len(each))}
    sheet.width(left - 1, 2)
    losses = [
        Series("of its batch", t.step, t.loss, color=5, width=1),
        Series("of all points, after it", t.step, t.loss_of_all, color=3, width=2),
    ]
    shown = scatter("The loss of each step", "step", "loss (powers of ten)", losses, log=True, **size_of_chart)
    sheet.chart(t.first, left, shown)
    both = [Series("intercept", t.step, t.intercept), Series("slope", t.step, t.slope)]
    sheet.chart(t.first + 15, left, scatter("The two parameters", "step", "value", both, **size_of_chart))
    return t


def compare_sheet(sheet: Sheet, runs: Mapping[str, Named], label: Mapping[str, str], points: int, epochs: int) -> None:
    sheet.print_on_one_page()
    top = sheet.next_row
    t = steps(
        sheet,
        epochs,
        row=top + 36,
        freeze=None,
        epoch=counter(np.arange(1, epochs + 1), "passes over the data", width=10.5),
        looked_at=counter(lambda t: points * t.epoch, "points looked at so far", width=10.5),
    )
    by_epoch, by_step, noise = [], [], []
    for color, (name, run) in enumerate(runs.items()):
        once = len(run.step) // epochs
        ends = run.loss_of_all[once - 1 :: once]
        c = columns(
            t.table,
            f"{name}_",
            steps=counter(once * t.epoch, "steps made so far", width=10.5),
            epoch_loss=loss(ends, "mean loss of all points after the epoch", MSE, width=10.5),
        )
        by_epoch.append(Series(label[name], t.epoch, c.epoch_loss, points=True, color=color))
        by_step.append(Series(label[name], c.steps, c.epoch_loss, points=True, color=color))
        noise.append(Series(label[name], run.looked_at, run.loss_of_all, color=color, width=1.25))
    axis, title = "mean loss (powers of ten)", "The noise: the loss of all points after every single step"
    size: dict[str, Any] = {"width": 20.6, "height": 8.4, "log": True}
    wide: dict[str, Any] = {**size, "width": 41.5}
    flow.charts(
        sheet,
        scatter("The same work: loss after each epoch", "epoch", axis, by_epoch, x_range=(1, epochs), **size),
        scatter("The same losses by the number of steps", "steps", axis, by_step, **size),
        scatter(title, "points looked at", axis, noise, **wide, x_range=(0, points * epochs)),
        row=top,
    )


def paths_sheet(book: Book, runs: Mapping[str, Named], label: Mapping[str, str], x: Any, y: Any, start: Named) -> None:
    sheet = book.sheet(
        "paths",
        "The three ways over the loss surface",
        "Each cell of a map is a line with the intercept above it and the slope on its left; pale is a small loss. "
        "A dot is where the run came through. All points together walk straight; one staggers and never rests.",
    )
    sheet.print_on_one_page()
    row, left = sheet.next_row, 3
    below = row + GRID + 4
    sheet.width(1, 16.5)
    sheet.width(2, 7)
    sheet.width(left, 5, left + 3 * (GRID + 1))
    cell = flow.inputs(sheet, *AXES, prefix="map_", row=below)
    across, half_intercept = axis(cell.intercept_from, cell.intercept_to, GRID)
    down, half_slope = axis(cell.slope_from, cell.slope_to, GRID)
    says: dict[str, Any] = {"number_format": "0.0"}
    down = sheet.place("map_slope", down, "parameter", row + 2, 2, words="each row's slope", **says)
    losses: Any = None
    grids = []
    for number, name in enumerate(runs):
        column, prefix = left + number * (GRID + 1), f"{name}_" if number else ""
        sheet.width(column + GRID, 2)
        sheet.write(row, column, f"{label[name]}: mean loss of all points", LABEL)
        words = "each column's intercept"
        above = sheet.place(
            f"{prefix}map_intercept", across, "parameter", row + 1, column, words=words, across=True, **says
        )
        if losses is None:
            across, losses = above, [[mean((s * x + i - y) ** 2) for i in above] for s in down]
        words = "mean loss of each line"
        grid = sheet.place(f"{prefix}loss_map", losses, "loss", row + 2, column, words=words, torch=MSE, **says)
        losses = grid if not number else losses
        sheet.heat_map(grid)
        grids.append(grid)
    maps = {
        f"{name}_visits": (
            visits((run.path_intercept, across, half_intercept), (run.path_slope, down, half_slope)),
            "how many steps of the run fall into each cell",
        )
        for name, run in runs.items()
    }
    for grid, seen in zip(grids, closed_maps(sheet, row + 2, left + 3 * (GRID + 1), maps), strict=True):
        sheet.dot(grid, seen)

    land = valley(book, x, y, start.intercept, start.slope)
    ways = list(land.series)
    details = book.sheets[-1]
    column = 12
    for color, (name, run) in enumerate(runs.items()):
        pictured = inside(land, run.intercept, run.slope)
        way = steps(
            details,
            len(run.step),
            f"{name}_way_",
            row=land.head,
            left=column,
            freeze=None,
            intercept=parameter(pictured["intercept"], "as the picture shows it"),
            slope=parameter(pictured["slope"], "as the picture shows it"),
        )
        column += 3
        ways.append(Series(label[name], way.intercept, way.slope, color=color, width=1 if color == 0 else 2))
    chart = scatter("Where the parameters went", "intercept", "slope", ways, width=31.5, height=11.4)
    sheet.chart(below - 1, left + 5, chart)


def noise_sheet(book: Book, size: int, x: Any, y: Any) -> None:
    sheet = book.sheet(
        "noise",
        "How noisy is the gradient of a mini-batch?",
        "At one place, one intercept and one slope, the gradient of each point, of each mini-batch, and of all points.",
        f"The spread is how far a gradient is from that of all points, typically. {size} points together spread about "
        f"{size**0.5:.1f} times less than one (the square root of {size}): the work grows faster than the gain.",
    )
    sheet.width(1, 14)
    cell = flow.inputs(sheet, "noise_intercept", "noise_slope", across=True)
    top, parts = sheet.next_row, batches(size, len(x))
    one = steps(
        sheet,
        len(x),
        row=top + 5,
        freeze=None,
        point=counter(np.arange(1, len(x) + 1), "counts the points", width=14),
        point_grad_slope=gradient(
            2 * x * (cell.noise_slope * x + cell.noise_intercept - y), "2 * x * (y_hat - y)", "slope.grad", width=12
        ),
        full_line=gradient(None, "full_grad_slope, for the line", "slope.grad", width=12),
    )
    some = steps(
        sheet,
        len(parts),
        row=top + 5,
        left=one.table.next_column + 1,
        freeze=None,
        batch_first=counter([b.start + 1 for b in parts], "its first point"),
        batch_grad_slope=gradient(
            [mean(one.point_grad_slope[b]) for b in parts], "mean over the batch", "slope.grad", width=12
        ),
    )
    found = flow.values(
        sheet,
        row=top,
        full_grad_slope=gradient(mean(one.point_grad_slope), "the gradient of all points", "slope.grad"),
        spread_small=check(
            lambda t: sqrt(mean((one.point_grad_slope - t.full_grad_slope) ** 2)),
            "how far one point's is from it: the root of the mean square",
            "(grads - grad).square().mean().sqrt()",
        ),
        spread_medium=check(
            lambda t: sqrt(mean((some.batch_grad_slope - t.full_grad_slope) ** 2)),
            f"the same for mini-batches of {size}",
        ),
        spread_ratio=check(lambda t: t.spread_small / t.spread_medium, "how much smaller that is", digits="0.0"),
    )
    one.table.fill("full_line", np.full(len(x), found.full_grad_slope + 0, dtype=object))
    clouds = [
        Series("one point", one.point, one.point_grad_slope, points=True, line=False, color=5),
        Series(f"mini-batch of {size}", some.batch_first, some.batch_grad_slope, points=True, line=False, color=3),
        Series("all points", one.point, one.full_line, color=6, width=2.5),
    ]
    ends = (0, len(x))
    chart = scatter("Gradients of the slope", "point", "gradient", clouds, width=28, height=14.6, x_range=ends)
    sheet.chart(one.head, some.table.next_column + 1, chart)
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
        blocks[f"map_{name}"] = axes[-1][0]
    blocks |= {f"{name}_map_intercept": axes[0][0] for name in ("medium", "all")}
    blocks |= reference_valley(x, y, v.intercept, v.slope)
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
        seen = reference_inside(blocks, run.intercept, run.slope)
        run.way_intercept, run.way_slope = seen["intercept"], seen["slope"]
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
        "full_line": grads.mean().expand(len(x)),
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
    "On 'compare', after one epoch the loss is 0.315 with one point a step, 1.826 with 8, 8.197 with all: the same "
    "work, more steps. After ten it is 0.314, 0.258, 1.371.",
    "With one point a step the loss stays above the lowest: each point pulls the line its own way. Make small_lr 0.01: "
    "2.619 after one epoch, but 0.257 after ten.",
    "All points at once allow larger steps: make all_lr 0.5 (0.257 after ten epochs), then 1.1: it grows to 179.",
    "On 'paths', see how straight each run walks to the bottom: what you change on 'compare' shows there too.",
    "On 'noise', type 1.04 into noise_intercept and 1.84 into noise_slope, the bottom of the valley: the gradient of "
    "all points is nearly 0, that of a single point still 0.66 away from it. This is why small batches never settle.",
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
    Input("map_intercept_from", -1.2, "the maps' first intercept"),
    Input("map_intercept_to", 2.4, "the maps' last intercept"),
    Input("map_slope_from", -2.4, "the maps' first slope"),
    Input("map_slope_to", 3.6, "the maps' last slope"),
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
