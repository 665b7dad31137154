"""The sheet `finder`: a short run whose learning rate grows with every step, and the rates that it suggests."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, Book, Input, Series, Sheet, scatter
from sgdsheet.expr import Call
from sgdsheet.lessons import flow
from sgdsheet.lessons.bumps import MSE, PARTS, reference_training, shuffled, step_losses, training
from sgdsheet.lessons.flow import Named, check, columns, counter, inputs, loss, steps, values
from sgdsheet.tensor import Array, equal, finite_or, index, less_equal, minimum, previous, span, where

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


def finder_sheet(book: Book, model: Named, drawn: Sheet, row: int, left: int) -> int:
    """The run, a row a step; above it what it suggests, and the chart of the loss against the rate.

    What the chart draws stands on the sheet `drawn`, from `row` and `left` on. Returns the column of it that is free.
    """
    sheet = book.sheet(
        "finder",
        "Find the learning rate in one short run",
        f"The rate grows with each of {STEPS} steps. First the loss hardly moves, then it falls, and at last, where "
        f"the rate is too high, it shoots up. A step looks at {BATCH} points only, so read the smoothed loss.",
        "Two rates are suggested: where the smoothed loss falls fastest, and a tenth of the rate where it is "
        "lowest. What this run has learned is thrown away.",
    )
    sheet.width(1, 19)
    top = sheet.next_row
    cell = inputs(sheet, *(spec.name for spec in INPUTS))
    below, beta, ratio = sheet.next_row - 1, cell.smoothing, cell.lr_to / cell.lr_from
    warm, looks_back = (np.arange(1, STEPS + 1) > first for first in (WARM_UP, WARM_UP + LOOK_BACK))

    def if_running(t: Named, then: Any, otherwise: Any) -> Any:
        return where(equal(t.running, 1), then, otherwise)

    def lowest(t: Named) -> Any:
        before = previous(t.lowest, 0)
        return where(warm, if_running(t, minimum(before, t.smoothed), before), t.smoothed)

    def running(t: Named) -> Any:
        calm = where(less_equal(t.smoothed, 4 * previous(t.lowest, 0)), previous(t.running, 1), 0)
        return where(warm, finite_or(calm, 0), 1)

    def fall(t: Named) -> Any:
        back = np.concatenate([np.zeros(LOOK_BACK, dtype=object), t.smoothed[:-LOOK_BACK]])
        return where(looks_back, if_running(t, t.smoothed - back, 0), 0)

    def shown(name: str) -> Any:
        words = f"{name} while running, for the chart: up to twice that of step {WARM_UP}"
        return loss(if_running(t, minimum(t[name], 2 * t.smoothed[WARM_UP - 1]), Call("NA")), words)

    t = steps(
        sheet,
        STEPS,
        "finder_",
        row=below + 6,
        freeze=None,
        short=True,
        step=counter(lambda t: previous(t.step + 1, 1), "counts the steps", width=19),
        rate=check(
            lambda t: cell.lr_from * ratio ** ((t.step - 1) / (STEPS - 1)),
            "lr_from * (lr_to / lr_from) ^ share of the way",
            digits=FINE,
        ),
        loss=loss(None, "mean of (y_hat - y)^2 over the mini-batch", MSE),
        average=check(
            lambda t: beta * previous(t.average, 0) + (1 - beta) * t.loss,
            "smoothing * the one above + (1 - smoothing) * loss",
            folded=True,
        ),
        smoothed=loss(lambda t: t.average / (1 - beta**t.step), "average / (1 - smoothing ^ step)"),
        lowest=check(lowest, f"smallest smoothed loss so far, from step {WARM_UP} on", folded=True),
        running=counter(running, f"1 while smoothed is up to 4 * lowest, after step {WARM_UP}"),
        lr=check(
            lambda t: if_running(t, t.rate, 0), "the rate while running, then 0", torch="group['lr']", digits=FINE
        ),
        fall=check(fall, f"smoothed - that of {LOOK_BACK} rows above, once that counts", folded=True),
    )
    lines = columns(
        drawn.table(row, left, STEPS), "finder_", shown_loss=shown("loss"), shown_smoothed=shown("smoothed")
    )
    t.table.fill("finder_loss", steps_sheet(book, t.lr, model))

    fact = values(
        sheet,
        row=below,
        steepest_step=counter(
            Call("MATCH", tensor.smallest(t.fall), span(t.fall), 0),
            f"falls fastest over the {LOOK_BACK} steps up to this one",
        ),
        suggested_steepest=check(
            lambda v: index(t.rate, tensor.maximum(v.steepest_step - LOOK_BACK // 2, 1)),
            "the rate half way through them",
        ),
        lowest_step=counter(Call("MATCH", t.lowest[-1], span(t.lowest), 0), "the smoothed loss is lowest"),
        lowest_lr=check(lambda v: index(t.rate, v.lowest_step), "the rate there"),
        suggested_tenth=check(lambda v: v.lowest_lr / 10, "a tenth of that"),
    )
    mark = columns(
        drawn.table(row, left + 3, 2),
        "mark_",
        height=check([0, t.smoothed[WARM_UP - 1]], f"up to smoothed of step {WARM_UP}"),
        steepest=check([fact.suggested_steepest] * 2, "suggested_steepest", width=15),
        tenth=check([fact.suggested_tenth] * 2, "suggested_tenth"),
    )
    curves = [
        Series("loss", t.rate, lines.shown_loss, color=5, width=1.25),
        Series("smoothed loss", t.rate, lines.shown_smoothed, color=0, width=2.5),
        Series("suggested_steepest", mark.steepest, mark.height, color=3, width=1.75),
        Series("suggested_tenth", mark.tenth, mark.height, color=2, width=1.75),
    ]
    title, x_title = "The loss as the rate grows", "learning rate (powers of ten)"
    chart = scatter(title, x_title, "loss", curves, width=23, height=15, log_x=True, y_range=(0, None))
    flow.charts(sheet, chart, row=top, left=sheet.column_from(sheet.left_of(t.table.next_column) + 120))
    return left + 7


def steps_sheet(book: Book, lr: Array, model: Named) -> list[Any]:
    """The steps of the run. Returns the loss of each as a formula."""
    sheet = book.sheet(
        "finder steps",
        "The finder's run: one row a step",
        f"Each step looks at a mini-batch of {BATCH} training points, by the learning rate on sheet 'finder'.",
        details=True,
    )
    looked = batches(len(model.y))
    names = [f"{number} of {looked.shape[1]}" for number in range(1, looked.shape[1] + 1)]
    t = steps(
        sheet,
        STEPS,
        "finder_",
        parts=PARTS,
        short=True,
        width=6.5,
        points=counter(looked + 1, "which training points", parts=names),
        **training(model, looked, lr),
    )
    sheet.heat_map(t.new_param, DIVERGING)
    return step_losses(t, model, looked)


def reference_finder(v: Named, model: Named) -> dict[str, Any]:
    """The blocks of the sheet by torch, which trains; the loss is smoothed as a finder does it while it runs."""
    import torch

    step = torch.arange(1.0, STEPS + 1)
    rate = v.lr_from * (v.lr_to / v.lr_from) ** ((step - 1) / (STEPS - 1))
    zero, one, nothing = torch.tensor([0, 1, torch.nan])  # a cell has no infinity, only an error
    rows: list[dict[str, Any]] = [{"average": zero, "smoothed": zero, "lowest": zero, "fall": zero, "running": one}]

    def watch(loss: Any) -> float:
        """The rate of a step, by the losses so far."""
        number, before = len(rows), rows[-1]
        average = torch.lerp(loss, before["average"], v.smoothing)
        smoothed = average / (1 - v.smoothing**number)
        smoothed = smoothed.where(smoothed.isfinite(), nothing)
        running, lowest = True, smoothed
        if number > WARM_UP:
            running = bool(before["running"]) and bool(smoothed <= 4 * before["lowest"])
            lowest = torch.minimum(before["lowest"], smoothed) if running else before["lowest"]
        falls = running and number > WARM_UP + LOOK_BACK
        row = {"average": average, "smoothed": smoothed, "lowest": lowest, "running": one if running else zero}
        rows.append({**row, "fall": smoothed - rows[-LOOK_BACK]["smoothed"] if falls else zero})
        return rate[number - 1].item() if running else 0.0

    looked = batches(len(model.y_across))
    run = reference_training(model, looked, watch)
    del run["momentum"], run["momentum_buffer"]
    run |= {name: torch.stack([row[name] for row in rows[1:]]) for name in rows[0]}
    run |= {"step": step, "rate": rate, "points": torch.as_tensor(looked + 1)}
    for name in ("loss", "smoothed"):
        within = torch.minimum(run[name], 2 * run["smoothed"][WARM_UP - 1])
        run[f"shown_{name}"] = within.where(run["running"] == 1, nothing)

    steepest = run["fall"].argmin()
    suggested = rate[max(int(steepest) - LOOK_BACK // 2, 0)]
    found = (run["lowest"] == run["lowest"][-1]).nonzero()
    lowest_step, lowest_lr = (found[0, 0] + 1, rate[found[0, 0]]) if len(found) else (nothing, nothing)
    blocks = {f"finder_{name}": column for name, column in run.items()}
    blocks |= {"steepest_step": steepest + 1, "suggested_steepest": suggested, "mark_steepest": suggested.expand(2)}
    blocks |= {"lowest_step": lowest_step, "lowest_lr": lowest_lr, "suggested_tenth": lowest_lr / 10}
    blocks["mark_height"] = torch.stack([zero, run["smoothed"][WARM_UP - 1]])
    return blocks | {"mark_tenth": (lowest_lr / 10).expand(2)}
