"""The sheets of one-cycle: a learning rate that rises and falls beside one that stays, one point a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdsheet.book import DIVERGING, Book, Input, Series, scatter
from sgdsheet.book.tables import Table
from sgdsheet.lessons import bumps, flow
from sgdsheet.lessons.bumps import MSE, PARTS, mean_loss, predict_torch, shuffled
from sgdsheet.lessons.flow import Named, activation, check, columns, counter, inputs, labels, loss, steps
from sgdsheet.lessons.schedules import one_cycle
from sgdsheet.tensor import Array, equal, floor, largest, previous, smallest, where

EPOCHS = 8
SEED = 4
FINE = "0.00000"
COLORS = {"constant": 3, "one_cycle": 2}
LABELS = {"constant": "constant rate", "one_cycle": "one-cycle"}
INPUTS = (
    Input("cycle_lr", 0.05, "the constant rate, and the highest of one-cycle (max_lr)", above=0),
    Input("pct_start", 0.3, "the share of the steps that go up", minimum=0.05, maximum=0.95),
    Input("div_factor", 25, "begin at cycle_lr divided by this", minimum=1),
    Input("final_div_factor", 10000, "end at that beginning divided by this", minimum=1),
    Input("cycle_momentum", "yes", "whether there is a momentum", choices=("no", "yes")),
    Input("base_momentum", 0.85, "the lowest momentum", above=0, below=1),
    Input("max_momentum", 0.95, "the highest momentum", above=0, below=1),
)


def one_cycle_sheet(book: Book, points: Named, model: Named, curves: Table) -> None:
    """The schedules, the losses and the curves of both runs, drawn from `curves`, and a sheet of steps for each."""
    sheet = book.sheet(
        "one-cycle",
        "One-cycle: up, and down again to almost nothing",
        "Each step looks at a single point: its gradient is only a guess, and a high constant rate follows each "
        "guess far, to the end. One-cycle (OneCycleLR of torch) goes up to cycle_lr to get far, then down to settle.",
        "Momentum, which keeps a part of the last step, goes the other way: down, then up. The constant run has the "
        "momentum half way between.",
    )
    sheet.width(1, 13)
    cell = inputs(sheet, *(spec.name for spec in INPUTS), across=True)
    top, count = sheet.next_row, len(model.y)
    total, rate, low = count * EPOCHS, cell.cycle_lr, cell.cycle_lr / cell.div_factor
    base, most = cell.base_momentum, cell.max_momentum

    def momentum(formula: Any) -> Any:
        return lambda t: where(equal(cell.cycle_momentum, "yes"), formula(t), 0)

    ends = sheet.table(top, 2, len(LABELS))
    labels(sheet, ends.first, 1, LABELS.values())
    t = steps(
        sheet,
        total,
        row=sheet.next_row,
        freeze=None,
        cycle_step=counter(lambda t: previous(t.cycle_step + 1, 1), "counts the steps", width=13),
        lr_constant=check([rate] * total, "cycle_lr", "group['lr']", digits=FINE),
        lr_one_cycle=check(
            lambda t: one_cycle(t.cycle_step, total, cell.pct_start, (low, rate, low / cell.final_div_factor)),
            "up to cycle_lr, then down",
            "OneCycleLR: group['lr']",
            digits=FINE,
        ),
        momentum_constant=check(
            momentum(lambda t: np.array([(base + most) / 2] * total)), "half way between", "group['momentum']", width=12
        ),
        momentum_one_cycle=check(
            momentum(lambda t: one_cycle(t.cycle_step, total, cell.pct_start, (most, base, most))),
            "max_momentum, down, up",
            "group['momentum']",
            width=12,
        ),
        loss_constant=loss(None, "mean loss of all training points", MSE, width=12),
        loss_one_cycle=loss(None, "mean loss of all training points", MSE, width=12),
        cycle_epoch=counter(lambda t: floor((t.cycle_step - 1) / count) + 1, "passes over the data", folded=True),
    )
    params = {run: steps_sheet(book, run, t[f"lr_{run}"], t[f"momentum_{run}"], model) for run in LABELS}
    for run, rows in params.items():
        t.table.fill(f"loss_{run}", [mean_loss(param, model.across, model.y) for param in rows])
    last = {run: rows[-1] for run, rows in params.items()}

    def curve(run: str) -> Any:
        words = f"the curve of {LABELS[run]} after its last step"
        return activation(bumps.predict(last[run], model.curve_bumps), words, "model(curve_x)")

    drawn = columns(
        curves,
        cycle_curve_x=check(model.curve_x, "x"),
        curve_constant=curve("constant"),
        curve_one_cycle=curve("one_cycle"),
    )
    epoch = [t[f"loss_{run}"][-count:] for run in LABELS]
    valid = [mean_loss(param, model.valid_across, model.valid_y) for param in last.values()]
    columns(
        ends,
        width=12,
        end_training=loss([each[-1] for each in epoch], "training loss, last step", MSE),
        last_lowest=loss(list(map(smallest, epoch)), "smallest in the last epoch", MSE),
        last_highest=loss(list(map(largest, epoch)), "largest in the last epoch", MSE),
        end_validation=loss(valid, "validation loss, last step", MSE),
    )
    size: dict[str, Any] = {"width": 11.2, "height": 8.5}

    def chart(title: str, y_title: str, prefix: str, log: bool = False) -> Any:
        lines = [
            Series(LABELS[run], t.cycle_step, t[f"{prefix}_{run}"], width=2, color=color)
            for run, color in COLORS.items()
        ]
        return scatter(title, "step", y_title, lines, log=log, x_range=(0, total), **size)

    drawn_lines = [
        Series(LABELS[run], drawn.cycle_curve_x, drawn[f"curve_{run}"], color=COLORS[run], width=2.25) for run in LABELS
    ]
    flow.charts(
        sheet,
        chart("The learning rate", "learning rate", "lr"),
        chart("The momentum", "momentum", "momentum"),
        chart("The loss of all training points", "mean loss (powers of ten)", "loss", log=True),
        scatter("The curves after the last step", "x", "y", [*bumps.clouds(points), *drawn_lines], **size),
        row=top,
        left=sheet.column_from(sheet.left_of(t.table.next_column) + 10),
    )


def steps_sheet(book: Book, run: str, lr: Array, momentum: Array, model: Named) -> Array:
    """A run that looks at one point a step. Returns the parameters after each step."""
    sheet = book.sheet(
        f"{LABELS[run]} steps",
        f"{LABELS[run].capitalize()}: one row a step",
        "Each step looks at one training point. Its learning rate and its momentum stand on sheet 'one-cycle'.",
        details=True,
    )
    order = shuffled(len(model.y), EPOCHS, SEED).reshape(-1, 1)
    t = steps(
        sheet,
        len(order),
        f"{run}_",
        parts=PARTS,
        freeze=3,
        short=True,
        width=6.5,
        point=counter(order[:, 0] + 1, "which training point"),
        loss=loss(
            lambda t: bumps.step_losses(t, model, order), "(y_hat - y)^2 of this point, before the step", MSE, width=10
        ),
        **bumps.training(model, order, lr, momentum),
    )
    sheet.heat_map(t.new_param, DIVERGING)
    return t.new_param


def reference_one_cycle(v: Named, model: Named) -> dict[str, Any]:
    """The blocks of these sheets by torch.optim.SGD and OneCycleLR."""
    import torch
    from torch.nn.functional import mse_loss
    from torch.optim.lr_scheduler import OneCycleLR

    y, with_momentum = model.y_across, v.cycle_momentum == "yes"
    order = shuffled(len(y), EPOCHS, SEED).reshape(-1, 1)

    def schedule(optimizer: Any) -> OneCycleLR:
        return OneCycleLR(
            optimizer,
            max_lr=v.cycle_lr,
            total_steps=len(order),
            pct_start=v.pct_start,
            cycle_momentum=with_momentum,
            base_momentum=v.base_momentum,
            max_momentum=v.max_momentum,
            div_factor=v.div_factor,
            final_div_factor=v.final_div_factor,
        )

    step = torch.arange(1, len(order) + 1)
    blocks = {"cycle_step": step, "cycle_epoch": (step - 1) // len(y) + 1, "cycle_curve_x": model.curve_x}
    ends = []
    half_way = (v.base_momentum + v.max_momentum) / 2
    for run, momentum, scheduled in (("constant", half_way, None), ("one_cycle", v.max_momentum, schedule)):
        columns = bumps.reference_training(model, order, v.cycle_lr, momentum if with_momentum else 0.0, scheduled)
        blocks |= {f"{name}_{run}": columns.pop(name) for name in ("lr", "momentum")}
        blocks |= {f"{run}_{name}": column for name, column in columns.items()}
        blocks[f"{run}_point"] = torch.as_tensor(order[:, 0] + 1)
        last = columns["new_param"][-1]
        blocks[f"curve_{run}"] = predict_torch(last, model.curve_bumps)
        loss = torch.stack([mse_loss(predict_torch(param, model.bumps), y) for param in columns["new_param"]])
        blocks[f"loss_{run}"] = loss
        epoch = loss[-len(y) :]
        # The smallest of cells of which one holds an error is an error.
        epoch = epoch if epoch.isfinite().all() else torch.full_like(epoch, torch.nan)
        valid = mse_loss(predict_torch(last, model.valid_bumps), model.valid_y_across)
        ends.append(torch.stack([loss[-1], epoch.min(), epoch.max(), valid]))
    names = ("end_training", "last_lowest", "last_highest", "end_validation")
    return blocks | dict(zip(names, torch.stack(ends, dim=1), strict=True))
