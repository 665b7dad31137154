"""The same data with mini-batches of one point, of eight and of all: path, noise and cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import SHORT, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import LABEL, NOTE
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.surface import FAR, reference_visits, visits
from sgdsheet.tensor import Array, previous

RUNS = ("small", "medium", "all")
PARTS = ("intercept", "slope")
GRID = 15
MAX_POINTS = 1000


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `data`, a sheet for each batch size, `compare`, `paths`, `noise`."""
    check_columns(data, MAX_POINTS, "minibatch")
    points, epochs = len(data["data_x"]), int(values["epochs"])
    book = Book(
        "minibatch",
        "Mini-batches: one point, eight, or all of them",
        [
            f"A line, y = slope * x + intercept, is fitted to {points} points three times, from the same start. The "
            "runs differ in how many points are looked at before the parameters move: one, a few, or all. Such a group "
            "of points is a mini-batch; one move of the parameters is a step (or iteration); once through all the "
            "points is an epoch.",
            "The gradient of a mini-batch is the mean of its points' gradients: it says in which direction the loss of "
            "these few points falls. It is a guess at the gradient of all points, and the fewer the points, the "
            "noisier the guess. But few points cost little, so that many more steps can be made with the same work.",
        ],
        [
            "On 'compare', which run is lowest after one epoch? Which is lowest after ten?",
            "With one point a step the loss is soon small but stays above the others': each point pulls the line its "
            "own way. Make small_lr 0.01: it comes lower, and takes longer.",
            "All points at once allow larger steps: make all_lr 0.5. At 1.1 it diverges.",
            "On 'paths', see how straight each run walks to the bottom.",
            "On 'noise', move the place to the bottom of the valley (intercept 1.04, slope 1.84): the gradient of all "
            "points is nearly 0 there, but that of a single point is not. This is why small batches never settle.",
        ],
        INPUTS,
        values,
    )
    sheet = book.sheet("data", "The points, in the order in which they are looked at")
    inputs = [spec.name for spec in INPUTS if not spec.name.startswith(("map_", "noise_"))]
    cells = dict(zip(inputs, sheet.inputs(sheet.next_row, 1, inputs), strict=True))
    table = sheet.table(sheet.next_row, 1, points)
    x, y = (
        table.column(name, "data", [Typed(value) for value in data[name]], words=words, torch=torch, absolute=True)
        for name, words, torch in (("data_x", "what is known", "x"), ("data_y", "what to predict", "y"))
    )
    sheet.width(1, 16, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    cloud = Series("points", x, y, points=True, line=False)
    sheet.chart(table.head, 4, scatter("The points", "x", "y", [cloud], width=16, height=10))

    sizes = _sizes(values, points)
    compare = book.sheet(
        "compare",
        "The three runs, epoch by epoch",
        "One epoch costs each run the same: every point is looked at once. What differs is the number of steps.",
    )
    runs = {name: _run_sheet(book, name, sizes[name], epochs, x, y, cells) for name in RUNS}
    _compare_sheet(compare, runs, sizes, points, epochs)
    _paths_sheet(book, runs, x, y)
    _noise_sheet(book, sizes["medium"], x, y)
    return book


def _sizes(values: Values, points: int) -> dict[str, int]:
    """How many points a mini-batch of each run has."""
    return {"small": min(int(values["small"]), points), "medium": min(int(values["medium"]), points), "all": points}


def _batches(size: int, points: int) -> list[slice]:
    return [slice(start, min(start + size, points)) for start in range(0, points, size)]


def _run_sheet(
    book: Book, name: str, size: int, epochs: int, x: Array, y: Array, cells: dict[str, Any]
) -> dict[str, Any]:
    """One run, a row a step."""
    points = len(x)
    each = "one point" if size == 1 else f"{size} points"
    sheet = book.sheet(
        name,
        f"Mini-batches of {each}" + (": the whole data" if size == points else ""),
        f"One row is one step: the gradient of {each}, and the new parameters, which begin the next row.",
        "loss_of_all is not needed for the step. It is there to compare the runs: the mean loss over all points.",
    )
    batches = _batches(size, points) * epochs
    steps = len(batches)
    table = sheet.table(sheet.next_row, 1, steps)

    def column(block: str, role: str, array: Any = None, **says: Any) -> Array:
        return table.column(f"{name}_{block}", role, array, title=block, **says)

    column("step", "check", np.arange(1, steps + 1), words="counts the steps", number_format=WHOLE, width=9)
    epoch = np.repeat(np.arange(1, epochs + 1), steps // epochs).tolist()
    column("epoch", "check", epoch, words="passes over the data", number_format=WHOLE, width=9)
    first = [batch.start + 1 for batch in batches]
    column("first", "check", first, words="the batch's first point", number_format=WHOLE, width=9)
    looked = [points * (each - 1) + batch.stop for each, batch in zip(epoch, batches, strict=True)]
    looked = column("looked_at", "check", looked, words="points looked at so far", number_format=WHOLE, width=11)
    now = {
        part: column(part, "parameter", words=f"the new_{part} of the row above", torch=torch)
        for part, torch in (("intercept", "model.bias"), ("slope", "model.weight"))
    }
    errors = [s * x[b] + i - y[b] for i, s, b in zip(now["intercept"], now["slope"], batches, strict=True)]
    loss = [tensor.mean(error**2) for error in errors]
    column("loss", "loss", loss, words="mean of (y_hat - y)^2 over the batch", torch="F.mse_loss(model(x), y)")
    grads = {
        "intercept": [2 * tensor.mean(error) for error in errors],
        "slope": [2 * tensor.mean(error * x[b]) for error, b in zip(errors, batches, strict=True)],
    }
    words = {"intercept": "2 * mean of (y_hat - y)", "slope": "2 * mean of x * (y_hat - y)"}
    grads = {
        part: column(f"grad_{part}", "gradient", grads[part], words=words[part], torch=torch, width=15)
        for part, torch in (("intercept", "model.bias.grad"), ("slope", "model.weight.grad"))
    }
    new = {}
    for part in PARTS:
        says = {"words": f"{part} - {name}_lr * grad_{part}", "torch": "optimizer.step()", "width": 14}
        new[part] = column(f"new_{part}", "parameter", now[part] - cells[f"{name}_lr"] * grads[part], **says)
        table.fill(f"{name}_{part}", previous(new[part], cells[part]))
    total = [tensor.mean((s * x + i - y) ** 2) for i, s in zip(new["intercept"], new["slope"], strict=True)]
    total = column("loss_of_all", "loss", total, words="mean loss of all points after the step", width=14)
    path = {
        part: column(
            f"path_{part}", "check", tensor.finite_or(now[part], FAR), words=f"{part}, 1E+300 if that overflows"
        )
        for part in PARTS
    }
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {"total": total, "looked": looked, "path": path, **now}


def _compare_sheet(
    sheet: Sheet, runs: dict[str, dict[str, Any]], sizes: dict[str, int], points: int, epochs: int
) -> None:
    top = sheet.next_row
    sheet.print_on_one_page()
    table = sheet.table(top + 44, 1, epochs)
    words = "passes over the data"
    epoch = table.column("epoch", "check", np.arange(1, epochs + 1), words=words, number_format=WHOLE)
    table.column("looked_at", "check", points * epoch, words="points looked at so far", number_format=WHOLE)
    by_epoch, by_step, noise = [], [], []
    for color, name in enumerate(RUNS):
        per_epoch = len(_batches(sizes[name], points))
        words = "steps made so far"
        steps = table.column(f"{name}_steps", "check", per_epoch * epoch, words=words, number_format=WHOLE)
        ends = runs[name]["total"][per_epoch - 1 :: per_epoch]
        words = "mean loss of all points after the epoch"
        loss = table.column(f"{name}_epoch_loss", "loss", ends, words=words, torch="F.mse_loss(model(x), y)", width=16)
        label = f"{name}: {sizes[name]} a step"
        by_epoch.append(Series(label, epoch, loss, points=True, color=color))
        by_step.append(Series(label, steps, loss, points=True, color=color))
        noise.append(Series(label, runs[name]["looked"], runs[name]["total"], color=color, width=1.25))
    title = "The same work: loss after each epoch"
    sheet.chart(top, 1, scatter(title, "epoch", "mean loss (powers of ten)", by_epoch, height=10, log=True))
    title = "The same losses by the number of steps"
    sheet.chart(top, 7, scatter(title, "steps", "mean loss (powers of ten)", by_step, height=10, log=True))
    title = "The noise: the loss of all points after every single step"
    noise = scatter(title, "points looked at", "mean loss (powers of ten)", noise, width=30, height=10, log=True)
    sheet.chart(top + 22, 1, noise)


def _paths_sheet(book: Book, runs: dict[str, dict[str, Any]], x: Array, y: Array) -> None:
    sheet = book.sheet(
        "paths",
        "The three ways over the loss surface",
        "Each cell of a map is a line with the intercept of its column and the slope of its row; pale is a small loss. "
        "The framed cells are those that a run came through.",
        "All points together walk straight down. One point at a time staggers, and never comes to rest.",
    )
    limits = ("map_intercept_from", "map_intercept_to", "map_slope_from", "map_slope_to")
    sheet.width(1, 20)
    sheet.width(2, 9)
    left, top = 3, sheet.next_row
    sheet.width(left, 5.5, left + 3 * (GRID + 2))
    ends = sheet.inputs(top, 1, limits)
    row = sheet.next_row
    along, half = {}, {}
    for part, (low, high) in zip(PARTS, (ends[:2], ends[2:]), strict=True):
        words = f"half of a map cell's {part}"
        formula = (high - low) / (2 * (GRID - 1))
        half[part] = sheet.value(row, 1, f"half_{part}", formula, "check", words=words)
        along[part] = low + (high - low) * (np.arange(GRID).astype(object) / (GRID - 1))
        row += 1
    chart_row = top
    row = top + 22
    words = "each column's intercept"
    layout: dict[str, Any] = {"words": words, "across": True, "number_format": SHORT}
    across = sheet.headed("map_intercept", along["intercept"], "parameter", row, left, **layout)
    row += 5
    sheet.write(row - 1, 1, "map_slope", LABEL)
    words = "each row's slope"
    down = sheet.place("map_slope", along["slope"], "parameter", row, 2, words=words, number_format=SHORT)
    losses = np.array([[tensor.mean((s * x + i - y) ** 2) for i in across] for s in down], dtype=object)
    lines = []
    for number, name in enumerate(RUNS):
        column = left + number * (GRID + 1)
        sheet.write(row - 1, column, f"{name}: the loss of each line, and where the run came through", LABEL)
        block = "loss_map" if not number else f"{name}_loss_map"
        words = "mean loss of each line"
        layout = {"words": words, "torch": "F.mse_loss(model(x), y)", "number_format": SHORT}
        grid = sheet.place(block, losses, "loss", row, column, **layout)
        losses = grid if not number else losses
        sheet.heat_map(grid)
        below = row + GRID + 2
        words = "how many steps of the run fall into each cell"
        sheet.write(below - 1, column, f"{name}_visits: {words}", NOTE)
        way = runs[name]["path"]
        through = visits((way["intercept"], across, half["intercept"]), (way["slope"], down, half["slope"]))
        through = sheet.place(f"{name}_visits", through, "check", below, column, words=words, number_format="0;-0;")
        sheet.mark(grid, through)
        lines.append(Series(name, runs[name]["intercept"], runs[name]["slope"], color=number, width=1.25))
    sheet.print_on_one_page()
    chart = scatter("Where the parameters went", "intercept", "slope", lines, width=24, height=10)
    sheet.chart(chart_row, left + 12, chart)


def _noise_sheet(book: Book, size: int, x: Array, y: Array) -> None:
    points = len(x)
    sheet = book.sheet(
        "noise",
        "How noisy is the gradient of a mini-batch?",
        "At one place, one intercept and one slope, the gradient of each point, of each mini-batch, and of all points.",
        f"The spread is how far a gradient is from that of all points, typically. {size} points together spread about "
        f"{size**0.5:.1f} times less than one (the square root of {size}): the work grows faster than the gain.",
    )
    intercept, slope = sheet.inputs(sheet.next_row, 1, ("noise_intercept", "noise_slope"))
    summary = sheet.next_row
    sheet.next_row += 6
    table = sheet.table(sheet.next_row, 1, points)
    number = np.arange(1, points + 1)
    number = table.column("point", "check", number, words="counts the points", number_format=WHOLE)
    error = slope * x + intercept - y
    words = "2 * x * (y_hat - y)"
    gradient = table.column("point_grad_slope", "gradient", 2 * x * error, words=words, torch="slope.grad", width=16)
    batches = _batches(size, points)
    starts = [batch.start + 1 for batch in batches]
    batch_table = sheet.table(table.head, 4, len(batches))
    first = batch_table.column("batch_first", "check", starts, words="the batch's first point", number_format=WHOLE)
    means = [tensor.mean(gradient[batch]) for batch in batches]
    words = "mean over the batch"
    means = batch_table.column("batch_grad_slope", "gradient", means, words=words, torch="slope.grad", width=16)
    words = "the gradient of all points"
    whole = sheet.value(
        summary, 1, "full_grad_slope", tensor.mean(gradient), "gradient", words=words, torch="slope.grad"
    )
    words = "the spread of one point's gradient around it: the root of the mean square"
    one = tensor.sqrt(tensor.mean((gradient - whole) ** 2))
    one = sheet.value(
        summary + 1, 1, "spread_small", one, "check", words=words, torch="(grads - grad).square().mean().sqrt()"
    )
    words = f"the same for mini-batches of {size}"
    few = tensor.sqrt(tensor.mean((means - whole) ** 2))
    few = sheet.value(summary + 2, 1, "spread_medium", few, "check", words=words)
    words = "how much smaller that is"
    sheet.value(summary + 3, 1, "spread_ratio", one / few, "check", words=words, number_format="0.0")
    each = Series("one point", number, gradient, points=True, line=False, color=5)
    groups = Series(f"mini-batch of {size}", first, means, points=True, color=3, width=2.5)
    chart = scatter("Gradients of the slope", "point", "gradient", [each, groups], width=18, height=10)
    sheet.chart(table.head, 7, chart)
    sheet.width(1, 18)
    sheet.print_on_one_page()


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch
    from torch.nn.functional import mse_loss

    x, y = (torch.as_tensor(values[name], dtype=torch.float64) for name in ("data_x", "data_y"))
    given = {spec.name: torch.tensor(float(values[spec.name])) for spec in INPUTS}
    points, epochs = len(x), int(values["epochs"])
    sizes = _sizes(values, points)
    blocks: dict[str, Any] = {"data_x": x, "data_y": y, **given}
    axes = {}
    for part in PARTS:
        low, high = given[f"map_{part}_from"], given[f"map_{part}_to"]
        axis = low + (high - low) * (torch.arange(GRID) / (GRID - 1))
        axes[part] = (axis, (high - low) / (2 * (GRID - 1)))
        blocks |= {f"map_{part}": axis, f"half_{part}": axes[part][1]}
    i, s = axes["intercept"][0], axes["slope"][0]
    y_hat = s[:, None, None] * x + i[None, :, None]
    surface = mse_loss(y_hat, y.expand_as(y_hat), reduction="none").mean(-1)
    blocks["loss_map"] = surface
    epoch = torch.arange(1, epochs + 1)
    blocks |= {"epoch": epoch, "looked_at": points * epoch}
    for name in RUNS:
        batches = _batches(sizes[name], points)
        run = _reference_run(x, y, batches * epochs, given, float(given[f"{name}_lr"]))
        run["epoch"] = epoch.repeat_interleave(len(batches))
        paths = {part: torch.where(run[part].isfinite(), run[part], FAR) for part in PARTS}
        run |= {f"path_{part}": path for part, path in paths.items()}
        run["looked_at"] = (
            run["epoch"] * points - points + torch.tensor([batch.stop for batch in batches]).repeat(epochs)
        )
        run["steps"] = len(batches) * epoch
        run["epoch_loss"] = run["loss_of_all"][len(batches) - 1 :: len(batches)]
        if name != RUNS[0]:
            run["loss_map"] = surface
        run["visits"] = reference_visits(*((paths[part], *axes[part]) for part in PARTS))
        blocks |= {f"{name}_{block}": value for block, value in run.items()}

    slope = given["noise_slope"].expand(points).clone().requires_grad_()
    mse_loss(slope * x + given["noise_intercept"], y, reduction="sum").backward()
    grads = slope.grad
    assert grads is not None
    batches = _batches(sizes["medium"], points)
    means = torch.stack([grads[batch].mean() for batch in batches])
    spreads = [(each - grads.mean()).square().mean().sqrt() for each in (grads, means)]
    blocks |= {
        "point": torch.arange(1, points + 1),
        "point_grad_slope": grads,
        "batch_first": torch.tensor([batch.start + 1 for batch in batches]),
        "batch_grad_slope": means,
        "full_grad_slope": grads.mean(),
        "spread_small": spreads[0],
        "spread_medium": spreads[1],
        "spread_ratio": spreads[0] / spreads[1],
    }
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _reference_run(x: Any, y: Any, batches: list[slice], given: dict[str, Any], lr: float) -> dict[str, Any]:
    """One run by torch.optim.SGD."""
    import torch
    from torch.nn.functional import mse_loss

    params = {part: given[part].clone().requires_grad_() for part in PARTS}
    optimizer = torch.optim.SGD(params.values(), lr=lr)
    rows: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        rows.setdefault(name, []).append(value.detach().clone())

    for number, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        loss = mse_loss(params["slope"] * x[batch] + params["intercept"], y[batch])
        loss.backward()
        note("step", torch.tensor(number))
        note("first", torch.tensor(batch.start + 1))
        note("loss", loss)
        for part, param in params.items():
            note(part, param)
            note(f"grad_{part}", param.grad)
        optimizer.step()
        for part, param in params.items():
            note(f"new_{part}", param)
        note("loss_of_all", mse_loss(params["slope"] * x + params["intercept"], y))
    return {name: torch.stack(column) for name, column in rows.items()}


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
)
