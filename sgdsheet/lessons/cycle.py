"""The sheets of one-cycle: a learning rate that rises and falls beside one that stays, one point a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, NUMBER, WHOLE, Book, Input, Series, scatter
from sgdsheet.book.style import LABEL
from sgdsheet.lessons.bumps import (
    CURVE,
    PARTS,
    Model,
    clouds,
    mean_loss,
    predict,
    predict_torch,
    reference_training,
    shuffled,
    training_columns,
)
from sgdsheet.lessons.schedules import one_cycle
from sgdsheet.tensor import Array, previous

EPOCHS = 8
SEED = 4
FINE = "0.000000"
COLORS = (3, 2)
LABELS = {"constant": "constant rate", "one_cycle": "one-cycle"}
INPUTS = (
    Input("cycle_lr", 0.3, "the constant rate, and the highest of one-cycle (max_lr)", above=0),
    Input("pct_start", 0.3, "the share of the steps that go up", minimum=0.05, maximum=0.95),
    Input("div_factor", 25, "begin at cycle_lr divided by this", minimum=1),
    Input("final_div_factor", 10000, "end at that beginning divided by this", minimum=1),
    Input("cycle_momentum", "no", "whether there is a momentum", choices=("no", "yes")),
    Input("base_momentum", 0.85, "the lowest momentum", above=0, below=1),
    Input("max_momentum", 0.95, "the highest momentum", above=0, below=1),
)


def one_cycle_sheet(book: Book, points: Mapping[str, Array], model: Model) -> None:
    """The schedules, the losses and the curves of both runs, and a sheet of steps for each."""
    sheet = book.sheet(
        "one-cycle",
        "One-cycle: up, and down again to almost nothing",
        "The same points and bumps, but each step looks at a single point, in a new order each epoch. Its gradient is "
        "only a guess at the gradient of all. With a high constant rate the run follows each guess far, to the end.",
        "One-cycle begins with a low rate, goes up to cycle_lr to get far, and then down, so that the guesses average "
        "out and the run settles. It is OneCycleLR of torch.optim.lr_scheduler, with its cosines.",
        "With cycle_momentum there is a momentum, too, and it goes the other way: down, then up. (Momentum keeps a "
        "part of the last step.) The constant run then has the momentum half way between.",
    )
    rate, pct_start, div, final_div, chosen, base, most = sheet.inputs(
        sheet.next_row, 1, [spec.name for spec in INPUTS]
    )
    top = sheet.next_row
    total = len(model.y) * EPOCHS
    table = sheet.table(top + 47, 1, total)

    def column(name: str, role: str, words: str, array: Any = None, torch: str = "", digits: str = NUMBER) -> Array:
        return table.column(name, role, array, words=words, torch=torch, number_format=digits, width=15)

    step = column("cycle_step", "check", "counts the steps", digits=WHOLE)
    table.fill("cycle_step", previous(step + 1, 1), WHOLE)
    epoch = tensor.floor((step - 1) / len(model.y)) + 1
    column("cycle_epoch", "check", "passes over the data", epoch, digits=WHOLE)
    low = rate / div
    cycle = one_cycle(step, total, pct_start, (low, rate, low / final_div))
    words = "cycle_lr / div_factor, up to cycle_lr, down"
    lr = {
        "constant": column("lr_constant", "check", "cycle_lr", np.array([rate] * total), "group['lr']", FINE),
        "one_cycle": column("lr_one_cycle", "check", words, cycle, "OneCycleLR: group['lr']", FINE),
    }
    momentum = {}
    for run, words, each in (
        ("constant", "0, or half way between", np.array([(base + most) / 2] * total)),
        ("one_cycle", "0, or max_momentum, down, up", one_cycle(step, total, pct_start, (most, base, most))),
    ):
        each = tensor.where(tensor.equal(chosen, "yes"), each, 0)
        momentum[run] = column(f"momentum_{run}", "check", words, each, "group['momentum']")
    params = {run: _steps_sheet(book, run, lr[run], momentum[run], model) for run in LABELS}
    losses = {}
    for run, param in params.items():
        formulas = np.array([mean_loss(each, model.across, model.y) for each in param], dtype=object)
        words = "mean loss of all training points, after the step"
        losses[run] = column(f"loss_{run}", "loss", words, formulas, "F.mse_loss(model(x), y)")
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)

    drawn = sheet.table(table.head, table.next_column + 1, CURVE)
    x = drawn.column("cycle_curve_x", "check", model.curve_x, words="x")
    curves = []
    for color, (run, param) in zip(COLORS, params.items(), strict=True):
        words = f"the curve of {LABELS[run]} after its last step"
        y_hat = predict(param[-1], model.curve_bumps)
        y_hat = drawn.column(f"curve_{run}", "activation", y_hat, words=words, torch="model(curve_x)", width=15)
        curves.append(Series(LABELS[run], x, y_hat, color=color, width=2.25))

    sheet.width(1, 21)
    ends = sheet.table(top, 2, len(LABELS))
    for offset, label in enumerate(LABELS.values()):
        sheet.write(ends.first + offset, 1, label, LABEL)
    last = [each[-len(model.y) :] for each in losses.values()]
    valid = [mean_loss(param[-1], model.valid_across, model.valid_y) for param in params.values()]
    for name, words, each in (
        ("end_training", "loss of all training points after the last step", [each[-1] for each in last]),
        ("last_lowest", "the smallest in the last epoch", [tensor.smallest(each) for each in last]),
        ("last_highest", "the largest in the last epoch", [tensor.largest(each) for each in last]),
        ("end_validation", "loss of the validation points after the last step", valid),
    ):
        ends.column(name, "loss", each, words=words, torch="F.mse_loss(model(x), y)", width=17)

    def chart(row: int, left: int, title: str, y_title: str, made: Mapping[str, Array], log: bool = False) -> None:
        colors = dict(zip(LABELS, COLORS, strict=True))
        lines = [Series(LABELS[run], step, each, width=2, color=colors[run]) for run, each in made.items()]
        sheet.chart(row, left, scatter(title, "step", y_title, lines, width=16, height=10, log=log))

    below = top + 6
    chart(below, 1, "The learning rate", "learning rate", lr)
    chart(below, 6, "The loss of all training points", "mean loss (powers of ten)", losses, log=True)
    chart(below + 20, 1, "The momentum", "momentum", momentum)
    title = "The curves after the last step"
    sheet.chart(below + 20, 6, scatter(title, "x", "y", [*clouds(points), *curves], width=16, height=10))


def _steps_sheet(book: Book, run: str, lr: Array, momentum: Array, model: Model) -> Array:
    """A run that looks at one point a step. Returns the parameters after each step."""
    sheet = book.sheet(
        f"{LABELS[run]} steps",
        f"{LABELS[run].capitalize()}: one row a step",
        "Each step looks at one training point. Its learning rate and its momentum stand on sheet 'one-cycle'.",
    )
    order = shuffled(len(model.y), EPOCHS, SEED).reshape(-1, 1)
    table = sheet.table(sheet.next_row, 1, len(order), PARTS)
    words = "which training point"
    table.column(f"{run}_point", "check", order[:, 0] + 1, words=words, title="point", number_format=WHOLE)
    words = "(y_hat - y)^2 of this point, before the step"
    table.column(f"{run}_loss", "loss", words=words, torch="F.mse_loss(model(x), y)", title="loss")
    losses, new_param = training_columns(table, run, lr, model, order, momentum)
    table.fill(f"{run}_loss", losses)
    sheet.heat_map(new_param, DIVERGING)
    sheet.freeze(table.first, 3)
    sheet.repeat_rows(table.head, table.first - 1)
    return new_param


def reference_one_cycle(values: Mapping[str, Any], blocks: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of these sheets by torch.optim.SGD and OneCycleLR."""
    import torch
    from torch.nn.functional import mse_loss
    from torch.optim.lr_scheduler import OneCycleLR

    y, valid_y = blocks["y_across"], blocks["valid_y_across"]
    order = shuffled(len(y), EPOCHS, SEED).reshape(-1, 1)
    with_momentum = values["cycle_momentum"] == "yes"
    rate, base, most = (float(values[name]) for name in ("cycle_lr", "base_momentum", "max_momentum"))

    def schedule(optimizer: Any) -> OneCycleLR:
        return OneCycleLR(
            optimizer,
            max_lr=rate,
            total_steps=len(order),
            pct_start=float(values["pct_start"]),
            cycle_momentum=with_momentum,
            base_momentum=base,
            max_momentum=most,
            div_factor=float(values["div_factor"]),
            final_div_factor=float(values["final_div_factor"]),
        )

    step = torch.arange(1, len(order) + 1)
    found: dict[str, Any] = {"cycle_step": step, "cycle_epoch": (step - 1) // len(y) + 1}
    found["cycle_curve_x"] = blocks["curve_x"]
    ends: dict[str, list[Any]] = {}
    for run, momentum, scheduled in (("constant", (base + most) / 2, None), ("one_cycle", most, schedule)):
        momentum = momentum if with_momentum else 0.0
        columns = reference_training(blocks["bumps"], y, order, rate, momentum, scheduled)
        loss = torch.stack([mse_loss(predict_torch(param, blocks["bumps"]), y) for param in columns["new_param"]])
        last = columns["new_param"][-1]
        found |= {f"{name}_{run}": columns.pop(name) for name in ("lr", "momentum")} | {f"loss_{run}": loss}
        found |= {f"{run}_{name}": column for name, column in columns.items()}
        found |= {f"{run}_point": torch.as_tensor(order[:, 0] + 1)}
        found[f"curve_{run}"] = predict_torch(last, blocks["curve_bumps"])
        epoch = loss[-len(y) :]
        # The smallest of cells of which one holds an error is an error.
        epoch = epoch if epoch.isfinite().all() else torch.full_like(epoch, torch.nan)
        row = {"end_training": loss[-1], "last_lowest": epoch.min(), "last_highest": epoch.max()}
        row["end_validation"] = mse_loss(predict_torch(last, blocks["valid_bumps"]), valid_y)
        for name, value in row.items():
            ends.setdefault(name, []).append(value)
    return found | {name: torch.stack(column) for name, column in ends.items()}
