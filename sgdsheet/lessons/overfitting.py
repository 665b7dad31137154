"""Overfitting: a model with too much freedom learns its points by heart, and what helps against it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import NOTE
from sgdsheet.errors import Error
from sgdsheet.expr import Call
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import csv_columns
from sgdsheet.lessons.flow import Named, activation, check, columns, counter, data, loss, parameter, steps
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.surface import axis, reference_axis
from sgdsheet.tensor import greater_equal, index, less, matmul, mean, minimum, previous, where

RUNS = {"line": 1, "parabola": 2, "ninth": 9, "decayed": 9}
LABELS = {"line": "degree 1", "parabola": "degree 2", "ninth": "degree 9", "decayed": "degree 9 with weight decay"}
TITLES = {
    "line": "Degree 1, a line: too stiff",
    "parabola": "Degree 2, a parabola: about right",
    "ninth": "Degree 9: free enough to learn the points by heart",
    "decayed": "Degree 9 with weight decay: free, but held back",
}
COLORS = {"line": 1, "parabola": 2, "ninth": 3, "decayed": 0}
PARTS = {"train": "to learn from", "valid": "to check with"}
STEPS = 400
GRID = 61
MAX_POINTS = 100
MSE = "F.mse_loss(model(x), y)"
SGD = "torch.optim.SGD(..., {0}={0})"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `curves`, `early stopping`, `points`, one for each of the four runs, and what they are made of."""
    count = len(given["data_x"])
    if not 4 <= count <= MAX_POINTS:
        raise Error(f"overfitting: expected 4 to {MAX_POINTS} points, got {count:,}: each of them has a column")
    curves = book.sheet(
        "curves",
        "Four models and the same points",
        "The black points are learned from. The blue ones, the validation set, only tell how good a curve is "
        "elsewhere. Type 40 into show_step: there degree 9 is at its best.",
    )
    stopping = book.sheet(
        "early stopping",
        "Early stopping: keep the best step",
        "After each step the validation loss is looked at. Training stops when it has not been lower for so many steps "
        "as patience says, and the parameters of the best step are kept.",
    )
    torch = {name: SGD.format(name) for name in ("lr", "momentum", "weight_decay")}
    cell = flow.inputs(curves, *torch, "show_step", torch=torch, across=True)
    typing, points = points_sheet(book, given)
    runs = {name: run_sheet(book, name, points, cell) for name in RUNS}
    drawn = drawn_curves(book, runs, points, cell.show_step)
    curves_sheet(curves, runs, drawn, cell.show_step)
    typing.chart(4, 4, scatter("The curves at show_step of 'curves'", "x", "y", drawn, width=30, height=17))
    stopping_sheet(stopping, runs["ninth"])


def points_sheet(book: Book, given: Mapping[str, Any]) -> tuple[Sheet, dict[str, Named]]:
    """The points; and the powers of their x for both sets, `train` and `valid`. Returns the first sheet, and both "
    "sets."""
    typing = book.sheet(
        "points",
        "The points",
        "Every second point validates: the 2nd, the 4th and so on. Move a point that is learned from far up: which "
        "curve follows it?",
    )
    t = columns(
        typing.table(typing.next_row, 1, len(given["data_x"])),
        data_x=data(typed(given["data_x"]), "what is known", "x"),
        data_y=data(typed(given["data_y"]), "what to predict", "y"),
    )
    sheet = book.sheet(
        "powers",
        "The powers of x",
        "A polynomial is a sum of powers of x, each with a parameter of its own. The powers of the training set are "
        "here twice, the second time turned on their side, so that every sum is one short formula.",
        details=True,
    )
    top = sheet.next_row
    points: dict[str, Named] = {}
    left, parts, powers = 1, [f"x^{power}" for power in range(10)], "x to the power of 0, 1, 2, ... 9"
    for start, (part, words) in enumerate(PARTS.items()):
        x, y, torch = t.data_x[start::2], t.data_y[start::2], f"torch.vander(x_{part}, 10, increasing=True)"
        table = sheet.table(top, left, len(x), parts)
        points[part] = columns(
            table,
            f"{part}_",
            x=data(x, f"every second point: {words}", f"x_{part}"),
            y=data(y, words, f"y_{part}"),
            powers=data(lambda t: t.x[:, None] ** np.arange(10), powers, torch, parts=parts, absolute=True, width=7),
        )
        left = table.next_column + 1
    turned, words = points["train"].powers.T, "a row for each power, a column for each point"
    turned = data(turned, words, "torch.vander(x_train, 10, increasing=True).T", absolute=True)
    row = top + 6 + turned.formula.shape[1]
    points["train"].turned = flow.headed(sheet, row, 1, "train_powers_turned", turned)
    return typing, points


def run_sheet(book: Book, name: str, points: Mapping[str, Named], cell: Named) -> Named:
    """One model's training, a row a step."""
    sheet = book.sheet(
        "degree 9 decayed" if name == "decayed" else LABELS[name],
        TITLES[name],
        "One row is one step with all training points: the parameters, the losses, the gradients, the new parameters, "
        "with which the next row begins.",
        "The closed columns have the errors, prediction minus y, a column a point. The gradient of a power's "
        "parameter is twice the mean of errors times that power.",
    )
    count = RUNS[name] + 1
    w, zero = [f"w{power}" for power in range(count)], np.zeros(count, dtype=object)
    turned, lr = points["train"].turned[:count], cell.lr

    def errors(part: str, first: int) -> flow.Column:
        x, y = points[part].powers[:, :count], points[part].y
        words = f"sum of w * powers, - y: the points {PARTS[part]}"
        numbers = [f"point {number}" for number in range(first, 2 * len(y) + 1, 2)]
        return activation(lambda t: matmul(t.param, x.T) - y, words, "model(x) - y", parts=numbers, folded=True)

    pull = "decayed_grad" if name == "decayed" else "grad"
    decayed = flow.gradient(lambda t: t.grad + cell.weight_decay * t.param, "grad + weight_decay * param", parts=w)
    return steps(
        sheet,
        STEPS,
        f"{name}_",
        parts=w,
        freeze=2,
        short=True,
        width=6.5,
        step=counter(lambda t: previous(t.step + 1, 1), "counts", width=6),
        param=parameter(lambda t: previous(t.new_param, zero), "a column for each power", "w", parts=w),
        train_errors=errors("train", 1),
        train_loss=loss(lambda t: [mean(row**2) for row in t.train_errors], "mean of squared errors", MSE, width=8),
        valid_errors=errors("valid", 2),
        valid_loss=loss(lambda t: [mean(row**2) for row in t.valid_errors], "mean of squared errors", MSE, width=8),
        grad=flow.gradient(
            lambda t: [[2 * mean(row * x) for x in turned] for row in t.train_errors],
            "2 * mean of train_errors * power",
            "w.grad",
            parts=w,
            folded=name == "decayed",
        ),
        decayed_grad=decayed if pull == "decayed_grad" else None,
        momentum_buffer=flow.state(
            lambda t: cell.momentum * previous(t.momentum_buffer, zero) + t[pull],
            "momentum * momentum_buffer + gradient",
            "state['momentum_buffer']",
            parts=w,
            folded=count > 3,
        ),
        new_param=parameter(
            lambda t: t.param - lr * t.momentum_buffer, "param - lr * momentum_buffer", "w, after the step", parts=w
        ),
    )


def drawn_curves(book: Book, runs: Mapping[str, Named], points: Mapping[str, Named], show_step: Any) -> list[Series]:
    """The points and the curve of each run at `show_step`, for a chart, from cells of a sheet of their own."""
    sheet = book.sheet(
        "drawn curves",
        "What the chart of the curves draws",
        "The parameters of each model at show_step, and its curve from the first point to the last.",
        details=True,
    )
    row = sheet.next_row
    flow.labels(sheet, row, 1, LABELS.values(), NOTE)
    sheet.width(1, 10, 12)
    table = sheet.table(row + len(runs) + 1, 1, GRID)
    xs = [points["train"].x, points["valid"].x]
    low, high = minimum(*map(tensor.smallest, xs)), tensor.maximum(*map(tensor.largest, xs))
    x = columns(table, curve_x=data(axis(low, high, GRID)[0], "from the first point to the last")).curve_x
    lines = [
        Series("training points", points["train"].x, points["train"].y, points=True, line=False, color=6),
        Series("validation points", points["valid"].x, points["valid"].y, points=True, line=False, color=5),
    ]
    for offset, (name, run) in enumerate(runs.items()):
        shown = parameter(flow.row_of(run.param, show_step), "w0, w1, ... at show_step", "w")
        shown = flow.place(sheet, row + offset, 4, f"{name}_shown", shown, across=True)
        y_hat = [reduce(lambda value, w, each=each: w + each * value, reversed(shown)) for each in x]  # Horner's rule
        words = f"w0 + w1 x + ... + w{RUNS[name]} x^{RUNS[name]}"
        curve = columns(table, f"{name}_", curve=activation(y_hat, words, "model(curve_x)")).curve
        lines.append(Series(LABELS[name], x, curve, color=COLORS[name], width=2.25))
    return lines


def curves_sheet(sheet: Sheet, runs: Mapping[str, Named], drawn: list[Series], show_step: Any) -> None:
    top, ninth = sheet.next_row, runs["ninth"]
    sheet.width(1, 24)
    sheet.width(2, 12, 8)
    ends, size = (0, STEPS), dict[str, Any](width=12, height=13)
    logarithmic: dict[str, Any] = {"log": True, "x_range": ends, **size}
    y_title = "mean squared error (powers of ten)"

    table = sheet.table(top + 26, 2, len(RUNS))
    flow.labels(sheet, table.first, 1, LABELS.values())
    train, valid = ([run[f"{part}_loss"][-1] for run in runs.values()] for part in PARTS)
    at_step = {part: [index(run[f"{part}_loss"], show_step) for run in runs.values()] for part in PARTS}
    last = columns(
        table,
        shown_train_loss=loss(at_step["train"], "at show_step", MSE),
        shown_valid_loss=loss(at_step["valid"], "at show_step", MSE),
        last_train_loss=loss(train, f"after {STEPS} steps", MSE),
        last_valid_loss=loss(valid, f"after {STEPS} steps", MSE),
        gap=check(np.subtract(valid, train), "last_valid_loss - last_train_loss", width=14),
    )
    sheet.heat_map(last.gap, DIVERGING)

    position = list(RUNS).index("ninth")
    both = []
    for part, label, color in (("train", "training loss", 0), ("valid", "validation loss", 3)):
        at = [last[f"shown_{part}_loss"][position]]
        both.append(Series(label, ninth.step, ninth[f"{part}_loss"], color=color, width=2.25))
        both.append(Series(f"{label} at show_step", [show_step], at, points=True, line=False, color=color))
    losses = [Series(LABELS[name], t.step, t.valid_loss, color=COLORS[name], width=2) for name, t in runs.items()]
    flow.charts(
        sheet,
        scatter("The curves at show_step", "x", "y", drawn, **size),
        scatter("Degree 9: one falls, the other turns and rises", "step", y_title, both, **logarithmic),
        scatter("Validation loss of all four", "step", y_title, losses, **logarithmic),
        across=3,
        row=top,
    )


def stopping_sheet(sheet: Sheet, run: Named) -> None:
    sheet.width(1, 11, 5)
    patience = flow.inputs(sheet, "patience").patience
    top = sheet.next_row - 1

    def waits(t: Named) -> Any:
        before = previous(t.best_so_far, t.valid_loss[0])
        return where(less(t.valid_loss, before), 0, previous(t.waited, -1) + 1)

    words = "1 from when waited reached patience"
    t = flow.steps(
        sheet,
        STEPS,
        row=top + 6,
        freeze=None,
        stopping_step=counter(run.step, "counts the steps", width=11),
        valid_loss=loss(run.valid_loss, "validation loss of degree 9", "F.mse_loss"),
        best_so_far=loss(
            lambda t: minimum(previous(t.best_so_far, t.valid_loss[0]), t.valid_loss), "the smallest until here"
        ),
        waited=counter(waits, "steps without a smaller one", width=10),
        stopped=counter(lambda t: where(greater_equal(t.waited, patience), 1, previous(t.stopped, 0)), words, width=10),
    )
    words = "the step with the smallest validation loss before the stop"
    found = flow.values(
        sheet,
        row=top,
        stop_step=counter(STEPS - tensor.sum(t.stopped), "the last step before the stop"),
        stop_loss=loss(lambda v: index(t.valid_loss, v.stop_step), "the validation loss there"),
        best_loss=loss(lambda v: index(t.best_so_far, v.stop_step), "the smallest validation loss until there"),
        best_step=counter(lambda v: Call("MATCH", v.best_loss, tensor.span(t.valid_loss), 0), words),
        last_loss=loss(t.valid_loss[-1], f"the validation loss after all {STEPS} steps, for comparison"),
    )
    lines = [
        Series("training loss", t.stopping_step, run.train_loss, color=0, width=2.25),
        Series("validation loss", t.stopping_step, t.valid_loss, color=3, width=2.25),
        Series("smallest so far", t.stopping_step, t.best_so_far, color=2, width=1.25),
        Series("the best step: kept", [found.best_step], [found.best_loss], points=True, line=False, color=2),
        Series("the stop", [found.stop_step], [found.stop_loss], points=True, line=False, color=6),
    ]
    title, y_title = "Degree 9: training and validation loss", "mean squared error (powers of ten)"
    chart = scatter(title, "step", y_title, lines, width=28, height=13, log=True, x_range=(0, STEPS))
    flow.charts(sheet, chart, row=t.head, left=7)
    words = "w0, w1, ... of the best step: what early stopping keeps"
    kept = parameter(flow.row_of(run.param, found.best_step), words, "w")
    row = sheet.row_from(sheet.top_of(t.head) + 520)
    flow.headed(sheet, row, 7, "kept_param", kept, across=True)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch

    x, y = v.data_x, v.data_y
    blocks: dict[str, Any] = {"curve_x": reference_axis(x.min(), x.max(), GRID)[0]}
    for start, part in enumerate(PARTS):
        own_x, own_y = x[start::2], y[start::2]
        powers = torch.vander(own_x, 10, increasing=True)
        blocks |= {f"{part}_x": own_x, f"{part}_y": own_y, f"{part}_powers": powers}
    blocks["train_powers_turned"] = blocks["train_powers"].T
    for name, degree in RUNS.items():
        run = reference_run(blocks, degree, v, v.weight_decay if name == "decayed" else 0)
        run["shown"] = run["param"][v.show_step - 1]
        run["curve"] = torch.vander(blocks["curve_x"], degree + 1, increasing=True) @ run["shown"]
        if name == "decayed":
            run["decayed_grad"] = run["grad"] + v.weight_decay * run["param"]
        blocks |= {f"{name}_{block}": value for block, value in run.items()}
    for part in PARTS:
        for name, step in (("last", STEPS), ("shown", v.show_step)):
            blocks[f"{name}_{part}_loss"] = torch.stack([blocks[f"{run}_{part}_loss"][step - 1] for run in RUNS])
    blocks["gap"] = blocks["last_valid_loss"] - blocks["last_train_loss"]
    return blocks | reference_stopping(blocks["ninth_valid_loss"], blocks["ninth_param"], v.patience)


def reference_run(blocks: Mapping[str, Any], degree: int, v: Named, weight_decay: float) -> dict[str, Any]:
    """One model trained by torch.optim.SGD."""
    import torch
    from torch.nn.functional import mse_loss

    w = torch.zeros(degree + 1, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=v.lr, momentum=v.momentum, weight_decay=weight_decay)

    before = w.detach().clone()

    def loss_of(step: int, note: Any) -> Any:
        before.copy_(w.detach())
        losses = {}
        for part in PARTS:
            y_hat, y = blocks[f"{part}_powers"][:, : degree + 1] @ w, blocks[f"{part}_y"]
            losses[part] = mse_loss(y_hat, y)
            note(**{f"{part}_errors": y_hat - y, f"{part}_loss": losses[part]})
        note(step=step)
        return losses["train"]

    def after(_: int, note: Any) -> None:
        # Without momentum torch keeps no buffer; the sheet's then holds what the step is made of.
        grad: Any = w.grad
        note(momentum_buffer=optimizer.state[w]["momentum_buffer"] if v.momentum else grad + weight_decay * before)

    run = vars(flow.descend({"param": w}, optimizer, range(1, STEPS + 1), loss_of, after))
    run["grad"] = run.pop("grad_param")
    del run["loss"]
    return run


def reference_stopping(losses: Any, param: Any, patience: int) -> dict[str, Any]:
    """Early stopping as one would program it: a loop that remembers the best step. NaN from where the run diverged."""
    import torch

    best, waited, stopped = [], [], []
    smallest, since = losses[0].item(), 0
    for step, value in enumerate(losses.tolist()):
        if not (math.isfinite(value) and math.isfinite(smallest)):
            smallest = since = math.nan
        elif step:
            since = 0 if value < smallest else since + 1
            smallest = min(smallest, value)
        best.append(smallest)
        waited.append(since)
        stopped.append(math.nan if math.isnan(since) else float(max(waited) >= patience))
    blocks = {
        "stopping_step": torch.arange(1, STEPS + 1),
        "valid_loss": losses,
        "best_so_far": best,
        "waited": waited,
        "stopped": stopped,
        "stop_step": STEPS - sum(stopped),
        "last_loss": losses[-1],
    }
    if math.isnan(blocks["stop_step"]):
        return blocks | {
            "best_loss": math.nan,
            "best_step": math.nan,
            "stop_loss": math.nan,
            "kept_param": param[0] * math.nan,
        }
    place = losses[: max(int(blocks["stop_step"]), 1)].argmin()
    blocks["stop_loss"] = losses[int(blocks["stop_step"]) - 1]
    return blocks | {"best_loss": losses[place], "best_step": place + 1, "kept_param": param[place]}


def bend(seed: int, count: int) -> dict[str, list[float]]:
    """Points of a parabola with noise, x about evenly spread from -1 to 1."""
    generator = random.Random(seed)
    x = [round(-1 + (2 * i + 1 + generator.uniform(-0.6, 0.6)) / count, 3) for i in range(count)]
    y = [round(1.5 * each**2 - 0.8 * each - 0.3 + generator.uniform(-0.35, 0.35), 3) for each in x]
    return {"data_x": x, "data_y": y}


OVERFITTING = Lesson(
    "overfitting",
    "polynomials of degree 1, 2 and 9 fitted to few points; weight decay and early stopping",
    (
        Input("lr", 0.2, "learning rate of all four", minimum=0),
        Input("momentum", 0.9, "how much of the last step is kept, by all four", minimum=0, below=1),
        Input("weight_decay", 0.02, "how hard the fourth model's parameters are pulled towards 0", minimum=0),
        Input("show_step", STEPS, "the step whose curves are drawn", minimum=1, maximum=STEPS, whole=True),
        Input("patience", 50, "how many steps to wait for a smaller validation loss", minimum=1, whole=True),
    ),
    csv_columns(bend(seed=66, count=20)),
    build=build,
    reference=reference,
    title="Overfitting, and what helps",
    about=[
        "Points lie on a curve, with noise. Four models are fitted to every second of them by gradient descent: a "
        "line (degree 1), a parabola (degree 2), and twice a polynomial of degree 9, y = w0 + w1 x + w2 x^2 + ... "
        "+ w9 x^9. The other points, the validation set, are never learned from. They show what a model is worth "
        "where it has not been told the answer.",
        "The line cannot bend: its loss stays high on both sets. It underfits. The polynomial of degree 9 has ten "
        "parameters for ten points: its training loss falls and falls, while its validation loss falls at first "
        "and then rises, for it begins to learn the noise. This is overfitting. Not that the training loss is "
        "lower than the validation loss, which is usual, but that the validation loss gets worse.",
        "Two remedies: weight decay, which pulls all parameters towards 0 in each step and so keeps the curve "
        "calm, and early stopping, which keeps the parameters of the step with the lowest validation loss.",
    ],
    things_to_try=[
        "On 'curves', type 20, 40, 100, 400 into show_step and watch the curve of degree 9 find its points.",
        "On 'curves', make weight_decay 0: the fourth model becomes the third. Make it 0.5: even degree 9 is too "
        "stiff.",
        "On 'curves', make momentum 0: all learn more slowly, and degree 9 overfits later.",
        "On 'points', move one point of the training set far up. Which curve follows it?",
        "On 'early stopping', set patience to 5: so short a wait stops at a bump, before the best step.",
        "On 'curves', make lr ten times smaller: overfitting comes later, but it comes.",
    ],
)
