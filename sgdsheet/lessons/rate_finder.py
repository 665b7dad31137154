"""The sheet `finder`: a short run whose learning rate grows with every step, and the rates that it suggests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, NUMBER, WHOLE, Book, Input, Series, scatter
from sgdsheet.expr import Call
from sgdsheet.lessons.bumps import PARTS, Model, reference_training, shuffled, training_columns
from sgdsheet.tensor import Array, index, previous, span

STEPS = 100
BATCH = 4
WARM_UP = 20  # steps that count for nothing: their smoothed loss is the mean of too few
LOOK_BACK = 10
FINE = "0.000000"
INPUTS = (
    Input("lr_from", 0.001, "the rate of the first step", above=0),
    Input("lr_to", 10, "the rate of the last step", above=0),
    Input("smoothing", 0.95, "how much of the mean so far is kept; 0: no smoothing", minimum=0, below=1),
)


def batches(points: int) -> Array:
    """The points of each step, in mini-batches of the same size; those that are left of an epoch are passed over."""
    size = min(BATCH, points)
    whole = points // size
    order = shuffled(points, -(-STEPS // whole), seed=3)[:, : whole * size]
    return order.reshape(-1, size)[:STEPS]


def finder_sheet(book: Book, model: Model) -> None:
    """The run, a row a step; above it what it suggests, and the chart of the loss against the rate."""
    sheet = book.sheet(
        "finder",
        "Find the learning rate in one short run",
        f"The rate is far too low at first and grows with each of {STEPS} steps. First the loss hardly moves, then it "
        "falls, and at last, where the rate is too high, it shoots up. There the finder stops: no more steps.",
        f"Each step looks at {BATCH} training points only, a mini-batch, so the loss jumps. Read the smoothed loss: a "
        "mean in which older losses count less and less.",
        "It suggests two rates: where the smoothed loss falls fastest, and a tenth of the rate where it is lowest. A "
        "good rate is near them. What this run has learned is thrown away.",
    )
    sheet.width(1, 21)
    top = sheet.next_row
    low, high, beta = sheet.inputs(top, 1, [spec.name for spec in INPUTS])
    row = sheet.next_row
    table = sheet.table(top + 24, 1, STEPS)

    def column(name: str, role: str, words: str, array: Any = None, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(f"finder_{name}", role, array, words=words, torch=torch, title=name, number_format=digits)

    step = column("step", "check", "counts the steps", digits=WHOLE)
    table.fill("finder_step", previous(step + 1, 1), WHOLE)
    rate = low * (high / low) ** ((step - 1) / (STEPS - 1))
    rate = column("rate", "check", "lr_from * (lr_to / lr_from) ^ share of the way", rate, digits=FINE)
    loss = column("loss", "loss", "mean of (y_hat - y)^2 over the mini-batch", torch="F.mse_loss(model(x), y)")
    average = column("average", "check", "smoothing * the one above + (1 - smoothing) * loss")
    table.fill("finder_average", beta * previous(average, 0) + (1 - beta) * loss)
    smoothed = column("smoothed", "loss", "average / (1 - smoothing ^ step)", average / (1 - beta**step))
    lowest = column("lowest", "check", f"smallest smoothed loss so far, from step {WARM_UP} on")
    running = column("running", "check", f"1 while smoothed is up to 4 * lowest, after step {WARM_UP}")
    lr = column("lr", "check", "the rate while running, then 0", torch="group['lr']", digits=FINE)
    fall = column("fall", "check", f"smoothed - that of {LOOK_BACK} rows above, once that counts")
    shown = {
        name: column(
            f"shown_{name}", "loss", f"{name} while running, for the chart: up to twice that of step {WARM_UP}"
        )
        for name in ("loss", "smoothed")
    }

    counted = np.arange(1, STEPS + 1) > WARM_UP
    before = previous(lowest, 0)
    calm = tensor.finite_or(tensor.where(tensor.less_equal(smoothed, 4 * before), previous(running, 1), 0), 0)
    table.fill("finder_running", tensor.where(counted, calm, 1), WHOLE)
    is_running = tensor.equal(running, 1)
    table.fill("finder_lr", tensor.where(is_running, rate, 0), FINE)
    best = tensor.where(is_running, tensor.minimum(before, smoothed), before)
    table.fill("finder_lowest", tensor.where(counted, best, smoothed))
    back = np.concatenate([np.zeros(LOOK_BACK, dtype=object), smoothed[:-LOOK_BACK]])
    counted = np.arange(1, STEPS + 1) > WARM_UP + LOOK_BACK
    table.fill("finder_fall", tensor.where(counted, tensor.where(is_running, smoothed - back, 0), 0))
    for name, each in (("loss", loss), ("smoothed", smoothed)):
        within = tensor.minimum(each, 2 * smoothed[WARM_UP - 1])
        table.fill(f"finder_shown_{name}", tensor.where(is_running, within, Call("NA")))
    table.fill("finder_loss", _steps_sheet(book, lr, model))
    sheet.freeze(table.first, 3)
    sheet.repeat_rows(table.head, table.first - 1)

    def fact(name: str, words: str, formula: Any, digits: str = NUMBER) -> Any:
        return sheet.value(sheet.next_row - 1, 1, name, formula, "check", words=words, number_format=digits)

    sheet.next_row = row + 1
    place = Call("MATCH", tensor.smallest(fall), span(fall), 0)
    steepest = fact("steepest_step", f"falls fastest over the {LOOK_BACK} steps up to this one", place, WHOLE)
    middle = tensor.maximum(steepest - LOOK_BACK // 2, 1)
    steepest = fact("suggested_steepest", "the rate half way through them", index(rate, middle))
    lowest = fact("lowest_step", "the smoothed loss is lowest", Call("MATCH", lowest[-1], span(lowest), 0), WHOLE)
    lowest = fact("lowest_lr", "the rate there", index(rate, lowest))
    tenth = fact("suggested_tenth", "a tenth of that", lowest / 10)
    marks = sheet.table(sheet.next_row, 1, 2)
    words = f"up to smoothed of step {WARM_UP}"
    height = marks.column(
        "mark_height", "check", [0, smoothed[WARM_UP - 1]], words=words, title="lines in the chart", width=21
    )
    lines = [
        Series("loss", rate, shown["loss"], color=5, width=1.25),
        Series("smoothed loss", rate, shown["smoothed"], color=0, width=2.5),
    ]
    for color, name, suggested in ((3, "steepest", steepest), (2, "tenth", tenth)):
        words = f"suggested_{name}"
        mark = [suggested, suggested]
        mark = marks.column(f"mark_{name}", "check", mark, words=words, width=15)
        lines.append(Series(words, mark, height, color=color, width=1.75))
    title, x_title = "The loss as the rate grows", "learning rate (powers of ten)"
    sheet.chart(top, 6, scatter(title, x_title, "loss", lines, width=22, height=11, log_x=True, y_range=(0, None)))


def _steps_sheet(book: Book, lr: Array, model: Model) -> Array:
    """The steps of the run. Returns the loss of each as a formula."""
    sheet = book.sheet(
        "finder steps",
        "The finder's run: one row a step",
        f"Each step looks at a mini-batch of {BATCH} training points, by the learning rate on sheet 'finder'.",
    )
    looked = batches(len(model.y))
    table = sheet.table(sheet.next_row, 1, STEPS, PARTS)
    names = [f"{number} of {looked.shape[1]}" for number in range(1, looked.shape[1] + 1)]
    words = "which training points"
    layout = {"title": "points", "parts": names, "number_format": WHOLE, "width": 9.5}
    table.column("finder_points", "check", looked + 1, words=words, **layout)
    losses, new_param = training_columns(table, "finder", lr, model, looked)
    sheet.heat_map(new_param, DIVERGING)
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(table.head, table.first - 1)
    return losses


def reference_finder(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of the sheet by torch, which trains; the loss is smoothed as a finder does it while it runs."""
    import torch

    low, high, beta = (blocks[name] for name in ("lr_from", "lr_to", "smoothing"))
    step = torch.arange(1, STEPS + 1, dtype=torch.float64)
    rate = low * (high / low) ** ((step - 1) / (STEPS - 1))
    nothing = torch.tensor(torch.nan)  # a cell has no infinity, only an error
    start = dict.fromkeys(("average", "smoothed", "lowest", "fall"), torch.zeros(())) | {"running": torch.ones(())}
    rows: list[dict[str, Any]] = [start]

    def watch(loss: Any) -> float:
        """The rate of a step, by the losses so far."""
        number, before = len(rows), rows[-1]
        average = torch.lerp(loss, before["average"], beta)
        smoothed = average / (1 - beta**number)
        smoothed = smoothed.where(smoothed.isfinite(), nothing)
        row = {"average": average, "smoothed": smoothed, "lowest": smoothed, "running": torch.ones(())}
        if number > WARM_UP:
            running = bool(before["running"]) and bool(smoothed <= 4 * before["lowest"])
            row["running"] = torch.tensor(float(running))
            row["lowest"] = torch.minimum(before["lowest"], smoothed) if running else before["lowest"]
        looks_back = row["running"] == 1 and number > WARM_UP + LOOK_BACK
        row["fall"] = smoothed - rows[-LOOK_BACK]["smoothed"] if looks_back else torch.zeros(())
        rows.append(row)
        return rate[number - 1].item() if row["running"] == 1 else 0.0

    looked = batches(len(blocks["y_across"]))
    run = reference_training(blocks["bumps"], blocks["y_across"], looked, watch)
    del run["momentum"], run["momentum_buffer"]
    run |= {name: torch.stack([row[name] for row in rows[1:]]) for name in rows[0]}
    run |= {"step": step, "rate": rate, "points": torch.as_tensor(looked + 1)}
    for name in ("loss", "smoothed"):
        within = torch.minimum(run[name], 2 * run["smoothed"][WARM_UP - 1])
        run[f"shown_{name}"] = within.where(run["running"] == 1, nothing)

    steepest = int(run["fall"].argmin())
    suggested = rate[max(steepest - LOOK_BACK // 2, 0)]
    found = (run["lowest"] == run["lowest"][-1]).nonzero()
    at = int(found[0]) if len(found) else None
    lowest_lr = nothing if at is None else rate[at]
    return {f"finder_{name}": column for name, column in run.items()} | {
        "steepest_step": torch.tensor(steepest + 1),
        "suggested_steepest": suggested,
        "lowest_step": nothing if at is None else torch.tensor(at + 1),
        "lowest_lr": lowest_lr,
        "suggested_tenth": lowest_lr / 10,
        "mark_height": torch.stack([torch.zeros(()), run["smoothed"][WARM_UP - 1]]),
        "mark_steepest": suggested.expand(2),
        "mark_tenth": (lowest_lr / 10).expand(2),
    }
