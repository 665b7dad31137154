"""Overfitting: a model with too much freedom learns its points by heart, and what helps against it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgdsheet import optim, tensor
from sgdsheet.book import DIVERGING, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import HEADING, NOTE
from sgdsheet.errors import Error
from sgdsheet.expr import Call
from sgdsheet.lessons.data import csv_columns
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.tensor import Array, previous

RUNS = {"line": 1, "parabola": 2, "ninth": 9, "decayed": 9}
TITLES = {
    "line": "Degree 1, a line: too stiff",
    "parabola": "Degree 2, a parabola: about right",
    "ninth": "Degree 9: free enough to learn the points by heart",
    "decayed": "Degree 9 with weight decay: free, but held back",
}
LABELS = {"line": "degree 1", "parabola": "degree 2", "ninth": "degree 9", "decayed": "degree 9 with weight decay"}
PARTS = {"train": "to learn from", "valid": "to check with"}
DEGREE = 9
STEPS = 400
GRID = 61
MAX_POINTS = 100


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `curves`, `early stopping`, `points`, and one for each of the four runs."""
    count = len(data["data_x"])
    if not 4 <= count <= MAX_POINTS:
        raise Error(f"overfitting: expected 4 to {MAX_POINTS} points, got {count:,}: each of them has a column")
    book = Book(
        "overfitting",
        "Overfitting, and what helps",
        [
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
        [
            "On 'curves', type 20, 40, 100, 400 into show_step and watch the curve of degree 9 find its points.",
            "Make weight_decay 0: the fourth model becomes the third. Make it 0.5: even degree 9 is too stiff.",
            "On 'points', move one point of the training set far up. Which curve follows it?",
            "On 'early stopping', change patience: how long should one wait for a better step?",
            "Make lr ten times smaller: overfitting comes later, but it comes.",
        ],
        INPUTS,
        values,
    )
    curves = book.sheet(
        "curves",
        "Four models and the same points",
        "The black points are learned from. The blue ones, the validation set, only tell how good a curve is "
        "elsewhere.",
    )
    stopping = book.sheet(
        "early stopping",
        "Early stopping: keep the best step",
        "After each step the validation loss is looked at. Training stops when it has not been lower for so many steps "
        "as patience says, and the parameters of the best step are kept.",
    )
    names = ("lr", "momentum", "weight_decay", "show_step")
    torch = {"lr": "torch.optim.SGD(..., lr=lr)", "momentum": "torch.optim.SGD(..., momentum=momentum)"}
    torch["weight_decay"] = "torch.optim.SGD(..., weight_decay=weight_decay)"
    cells: dict[str, Any] = dict(zip(names, curves.inputs(curves.next_row, 1, names, torch=torch), strict=True))
    points = _points_sheet(book, data)
    runs = {name: _run_sheet(book, name, points, cells) for name in RUNS}
    _curves_sheet(curves, runs, points, cells["show_step"])
    _stopping_sheet(stopping, runs["ninth"])
    return book


def _points_sheet(book: Book, data: Values) -> dict[str, dict[str, Array]]:
    """The points, and the powers of their x for both sets."""
    sheet = book.sheet(
        "points",
        "The points, and the powers of x",
        "Every second point validates: the 2nd, the 4th and so on. A polynomial is a sum of powers of x, each with a "
        "parameter of its own.",
        "The powers of the training set are here twice, the second time turned on their side, so that every sum is one "
        "short formula.",
    )
    table = sheet.table(sheet.next_row, 1, len(data["data_x"]))
    x, y = (
        table.column(name, "data", [Typed(value) for value in data[name]], words=words, torch=torch)
        for name, words, torch in (("data_x", "what is known", "x"), ("data_y", "what to predict", "y"))
    )
    points: dict[str, dict[str, Array]] = {}
    top, left = table.head, 4
    for start, (part, words) in enumerate(PARTS.items()):
        own_x, own_y = x[start::2], y[start::2]
        parts = [f"x^{power}" for power in range(DEGREE + 1)]
        table = sheet.table(top, left, len(own_x), parts)
        own = {
            "x": table.column(f"{part}_x", "data", own_x, words=f"every second point: {words}", torch=f"x_{part}"),
            "y": table.column(f"{part}_y", "data", own_y, words=words, torch=f"y_{part}"),
        }
        powers = np.array([[each**power for power in range(DEGREE + 1)] for each in own["x"]], dtype=object)
        words = "x to the power of 0, 1, 2, ... 9"
        torch = f"torch.vander(x_{part}, 10, increasing=True)"
        own["powers"] = table.column(f"{part}_powers", "data", powers, words=words, torch=torch, absolute=True, width=9)
        points[part] = own
        left = table.next_column + 1
    row, left = top + 6 + len(points["train"]["x"]), 4
    turned = points["train"]["powers"].T
    layout: dict[str, Any] = {"words": "a row for each power, a column for each point", "absolute": True}
    layout["torch"] = "torch.vander(x_train, 10, increasing=True).T"
    points["train"]["turned"] = sheet.headed("train_powers_turned", turned, "data", row, left, **layout)
    sheet.width(1, 13, 2)
    return points


def _run_sheet(book: Book, name: str, points: dict[str, dict[str, Array]], cells: dict[str, Any]) -> dict[str, Any]:
    """One model's training, a row a step."""
    count = RUNS[name] + 1
    sheet = book.sheet(
        {"line": "degree 1", "parabola": "degree 2", "ninth": "degree 9", "decayed": "degree 9 decayed"}[name],
        TITLES[name],
        "One row is one step with all training points. Its parameters begin as the new_param of the row above; the "
        "first row's are 0.",
        "errors are prediction minus y, a column a point. The gradient of a power's parameter is twice the mean of "
        "errors times that power.",
    )
    train, valid = points["train"], points["valid"]
    parts = [f"w{power}" for power in range(count)]
    table = sheet.table(sheet.next_row, 1, STEPS, parts)

    def columns(block: str, role: str, array: Any, words: str, torch: str = "", parts: Sequence[str] = ()) -> Array:
        layout: dict[str, Any] = {"title": block, "words": words, "torch": torch, "parts": parts, "width": 9}
        return table.column(f"{name}_{block}", role, array, **layout)

    step = columns("step", "check", None, "counts the steps")
    table.fill(f"{name}_step", previous(step + 1, 1), WHOLE)
    words = "a column for each power"
    param = table.columns(f"{name}_param", "parameter", title="param", words=words, torch="w", width=9)
    references, losses = {}, {}
    for part, own in (("train", train), ("valid", valid)):
        errors = [
            [tensor.sum(w * powers[:count]) - y for powers, y in zip(own["powers"], own["y"], strict=True)]
            for w in param
        ]
        names = [f"point {2 * number + (part == 'valid') + 1}" for number in range(len(own["y"]))]
        words = f"sum of w * powers, - y: the points {PARTS[part]}"
        errors = np.array(errors, dtype=object)
        references[part] = columns(f"{part}_errors", "activation", errors, words, "model(x) - y", names)
        mean = np.array([tensor.mean(row**2) for row in references[part]], dtype=object)
        losses[part] = columns(f"{part}_loss", "loss", mean, "mean of the squared errors", "F.mse_loss(model(x), y)")
    errors = references["train"]
    grad = [[2 * tensor.mean(row * power) for power in train["turned"][:count]] for row in errors]
    grad = columns("grad", "gradient", np.array(grad, dtype=object), "2 * mean of train_errors * power", "w.grad")

    names = ["decayed_grad"] if name == "decayed" else []
    placed = {}
    for block in (*names, "momentum_buffer", "new_param"):
        role = {"momentum_buffer": "optimiser state", "new_param": "parameter"}.get(block, "gradient")
        torch = {"momentum_buffer": "state['momentum_buffer']", "new_param": "w, after the step"}.get(block, "")
        words = WORDS[block]
        layout: dict[str, Any] = {"title": block, "words": words, "torch": torch, "width": 9}
        placed[block] = table.columns(f"{name}_{block}", role, **layout)

    def place(block: str, array: Any, _: str) -> Array:
        table.fill(f"{name}_{block}", array)
        return placed[block]

    decay = cells["weight_decay"] if name == "decayed" else 0
    state = {"momentum_buffer": previous(placed["momentum_buffer"], np.zeros(count, dtype=object))}
    arguments = {"lr": cells["lr"], "momentum": cells["momentum"], "weight_decay": decay}
    new, _ = optim.sgd(place, param, grad, state, step=step[:, None], **arguments)
    table.fill(f"{name}_param", previous(new, np.zeros(count, dtype=object)))
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {"step": step, "param": param, **losses}


WORDS = {
    "decayed_grad": "grad + weight_decay * param",
    "momentum_buffer": "momentum * momentum_buffer + gradient",
    "new_param": "param - lr * momentum_buffer",
}


def _curves_sheet(sheet: Sheet, runs: dict[str, Any], points: dict[str, dict[str, Array]], show_step: Any) -> None:
    top = sheet.next_row
    row = top + 46
    table = sheet.table(row, 1, GRID)
    ends = [tensor.smallest(points["train"]["x"]), tensor.largest(points["train"]["x"])]
    low, high = (
        tensor.minimum(ends[0], tensor.smallest(points["valid"]["x"])),
        tensor.maximum(ends[1], tensor.largest(points["valid"]["x"])),
    )
    share = np.arange(GRID).astype(object) / (GRID - 1)
    x = table.column("curve_x", "data", low + (high - low) * share, words="from the first point to the last", width=12)
    curves = {}
    shown_row = table.first + GRID + 3
    sheet.write(shown_row - 1, 1, "The parameters at show_step", HEADING)
    for number, (name, degree) in enumerate(RUNS.items()):
        found = np.array([tensor.index(column, show_step) for column in runs[name]["param"].T], dtype=object)
        sheet.write(shown_row + number, 1, LABELS[name], NOTE)
        words = "w0, w1, ... at show_step"
        shown = sheet.place(
            f"{name}_shown", found, "parameter", shown_row + number, 3, across=True, words=words, torch="w"
        )
        curve = [_polynomial(shown, each) for each in x]
        words = f"w0 + w1 x + ... + w{degree} x^{degree}"
        layout: dict[str, Any] = {"words": words, "torch": "model(curve_x)", "width": 16}
        curves[name] = table.column(f"{name}_curve", "activation", np.array(curve, dtype=object), **layout)
    dots = [
        Series("training points", points["train"]["x"], points["train"]["y"], points=True, line=False, color=6),
        Series("validation points", points["valid"]["x"], points["valid"]["y"], points=True, line=False, color=5),
    ]
    lines = [Series(LABELS[name], x, curve, color=COLORS[name], width=2.25) for name, curve in curves.items()]
    sheet.chart(top, 1, scatter("The curves at show_step", "x", "y", [*dots, *lines], width=19, height=11))
    for column, (part, words) in ((7, ("train", "Training loss")), (1, ("valid", "Validation loss"))):
        series = [
            Series(LABELS[name], run["step"], run[part], color=COLORS[name], width=2) for name, run in runs.items()
        ]
        chart = scatter(words, "step", "mean squared error (powers of ten)", series, width=19, height=11, log=True)
        sheet.chart(top + (23 if part == "valid" else 0), column, chart)
    run = runs["ninth"]
    both = [
        Series("training loss", run["step"], run["train"], color=0, width=2.25),
        Series("validation loss", run["step"], run["valid"], color=3, width=2.25),
    ]
    title = "Degree 9: one falls, the other turns and rises"
    chart = scatter(title, "step", "mean squared error (powers of ten)", both, width=19, height=11, log=True)
    sheet.chart(top + 23, 7, chart)
    table = sheet.table(shown_row + 6, 1, len(RUNS))
    for number, name in enumerate(RUNS):
        sheet.write(table.first + number, 1, LABELS[name], NOTE)
    table.next_column = 3
    for part in PARTS:
        last = np.array([run[part][-1] for run in runs.values()], dtype=object)
        table.column(f"last_{part}_loss", "loss", last, words=f"after {STEPS} steps", torch="F.mse_loss(model(x), y)")
    gap = np.array([run["valid"][-1] - run["train"][-1] for run in runs.values()], dtype=object)
    gap = table.column("gap", "check", gap, words="validation loss - training loss")
    sheet.heat_map(gap, DIVERGING)
    sheet.width(1, 15)
    sheet.width(2, 16, 5)


COLORS = {"line": 1, "parabola": 2, "ninth": 3, "decayed": 0}


def _polynomial(param: Any, x: Any) -> Any:
    """The value at x by Horner's rule: no power but the first is needed."""
    value = param[-1]
    for w in reversed(param[:-1]):
        value = w + x * value
    return value


def _stopping_sheet(sheet: Sheet, run: dict[str, Any]) -> None:
    (patience,) = sheet.inputs(sheet.next_row, 1, ("patience",))
    summary = sheet.next_row
    chart_row = summary + 8
    table = sheet.table(chart_row + 23, 1, STEPS)
    step = table.column("stopping_step", "check", run["step"], words="counts the steps", number_format=WHOLE, width=14)
    loss = table.column("valid_loss", "loss", run["valid"], words="validation loss of degree 9", torch="F.mse_loss")
    best = table.column("best_so_far", "loss", words="the smallest until here")
    table.fill(
        "best_so_far", np.array([tensor.minimum(a, b) for a, b in zip(previous(best, loss[0]), loss, strict=True)])
    )
    waited = table.column("waited", "check", words="steps without a smaller one")
    before = previous(best, loss[0])
    waits = tensor.where(tensor.less(loss, before), 0, previous(waited, -1) + 1)
    table.fill("waited", waits, WHOLE)
    stopped = table.column("stopped", "check", words="1 from when waited reached patience")
    stops = tensor.where(tensor.greater_equal(waited, patience), 1, previous(stopped, 0))
    table.fill("stopped", stops, WHOLE)

    going = STEPS - tensor.sum(stopped)
    words = "the last step before the stop"
    stop = sheet.value(summary, 1, "stop_step", going, "check", words=words, number_format=WHOLE)
    lowest = tensor.index(best, stop)
    lowest = sheet.value(summary + 1, 1, "best_loss", lowest, "loss", words="the smallest validation loss until there")
    words = "the step with the smallest validation loss before the stop"
    found = Call("MATCH", lowest, tensor.span(loss), 0)
    found = sheet.value(summary + 2, 1, "best_step", found, "check", words=words, number_format=WHOLE)
    words = f"the validation loss after all {STEPS} steps, for comparison"
    sheet.value(summary + 3, 1, "last_loss", loss[-1], "loss", words=words)
    kept = np.array([tensor.index(column, found) for column in run["param"].T], dtype=object)
    words = "w0, w1, ... of the best step: what early stopping keeps"
    sheet.write(summary + 5, 1, "kept_param", HEADING)
    sheet.place("kept_param", kept, "parameter", summary + 5, 3, across=True, words=words, torch="w")
    sheet.write(summary + 6, 3, words, NOTE)
    both = [
        Series("training loss", step, run["train"], color=0, width=2.25),
        Series("validation loss", step, loss, color=3, width=2.25),
        Series("smallest so far", step, best, color=2, width=1.25),
    ]
    title = "Degree 9: training and validation loss"
    chart = scatter(title, "step", "mean squared error (powers of ten)", both, width=24, height=11, log=True)
    sheet.chart(chart_row, 1, chart)
    sheet.width(1, 15)
    sheet.repeat_rows(table.head, table.first - 1)


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch

    x, y = (torch.as_tensor(values[name], dtype=torch.float64) for name in ("data_x", "data_y"))
    sets = {part: (x[start::2], y[start::2]) for start, part in enumerate(PARTS)}
    blocks: dict[str, Any] = {"data_x": x, "data_y": y}
    blocks |= {spec.name: torch.tensor(values[spec.name]) for spec in INPUTS}
    for part, (own_x, own_y) in sets.items():
        powers = torch.vander(own_x, DEGREE + 1, increasing=True)
        blocks |= {f"{part}_x": own_x, f"{part}_y": own_y, f"{part}_powers": powers}
    blocks["train_powers_turned"] = blocks["train_powers"].T
    shown = int(values["show_step"]) - 1
    blocks["curve_x"] = x.min() + (x.max() - x.min()) * (torch.arange(GRID) / (GRID - 1))
    for name, degree in RUNS.items():
        run = _reference_run(blocks, degree, values, values["weight_decay"] if name == "decayed" else 0)
        run["shown"] = run["param"][shown]
        run["curve"] = torch.vander(blocks["curve_x"], degree + 1, increasing=True) @ run["shown"]
        if name == "decayed":
            run["decayed_grad"] = run["grad"] + float(values["weight_decay"]) * run["param"]
        blocks |= {f"{name}_{block}": value for block, value in run.items()}
    for part in PARTS:
        blocks[f"last_{part}_loss"] = torch.stack([blocks[f"{name}_{part}_loss"][-1] for name in RUNS])
    blocks["gap"] = blocks["last_valid_loss"] - blocks["last_train_loss"]
    found = {name: block.detach().double().numpy() for name, block in blocks.items()}
    return found | _reference_stopping(found["ninth_valid_loss"], found["ninth_param"], int(values["patience"]))


def _reference_run(blocks: dict[str, Any], degree: int, values: Values, weight_decay: float) -> dict[str, Any]:
    """One model trained by torch.optim.SGD."""
    import torch
    from torch.nn.functional import mse_loss

    w = torch.zeros(degree + 1, requires_grad=True)
    lr, momentum = float(values["lr"]), float(values["momentum"])
    optimizer = torch.optim.SGD([w], lr=lr, momentum=momentum, weight_decay=float(weight_decay))
    rows: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        rows.setdefault(name, []).append(value.detach().clone())

    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        note("step", torch.tensor(step))
        note("param", w)
        losses = {}
        for part in PARTS:
            y_hat = blocks[f"{part}_powers"][:, : degree + 1] @ w
            losses[part] = mse_loss(y_hat, blocks[f"{part}_y"])
            note(f"{part}_errors", y_hat - blocks[f"{part}_y"])
            note(f"{part}_loss", losses[part])
        losses["train"].backward()
        note("grad", w.grad)
        optimizer.step()
        note("momentum_buffer", optimizer.state[w]["momentum_buffer"] if momentum else w.grad)
        note("new_param", w)
    return {name: torch.stack(column) for name, column in rows.items()}


def _reference_stopping(loss: np.ndarray, param: np.ndarray, patience: int) -> dict[str, np.ndarray]:
    """Early stopping as one would program it: a loop that remembers the best step. NaN from where the run diverged."""
    best, waited, stopped = [], [], []
    smallest, since, over = math.inf, 0, False
    for value in loss:
        if not (math.isfinite(value) and math.isfinite(smallest if best else 0)):
            smallest = since = math.nan
        elif not best:
            smallest, since = value, 0
        else:
            since = 0 if value < smallest else since + 1
            smallest = min(smallest, value)
        over = over or since >= patience
        best.append(smallest)
        waited.append(since)
        stopped.append(math.nan if math.isnan(since) else float(over))
    stop = STEPS - float(np.sum(stopped))
    diverged = math.isnan(stop)
    place = None if diverged else int(np.argmin(loss[: max(int(stop), 1)]))
    blocks = {
        "stopping_step": np.arange(1, STEPS + 1),
        "valid_loss": loss,
        "best_so_far": best,
        "waited": waited,
        "stopped": stopped,
        "stop_step": stop,
        "best_loss": math.nan if place is None else loss[place],
        "best_step": math.nan if place is None else place + 1,
        "last_loss": loss[-1],
        "kept_param": np.full(param.shape[1], math.nan) if place is None else param[place],
    }
    return {name: np.asarray(block, dtype=float) for name, block in blocks.items()}


def _bend(seed: int, count: int) -> dict[str, list[float]]:
    """Points of a parabola with noise, x about evenly spread from -1 to 1."""
    generator = random.Random(seed)
    x = [round(-1 + (2 * i + 1 + generator.uniform(-0.6, 0.6)) / count, 3) for i in range(count)]
    y = [round(1.5 * each**2 - 0.8 * each - 0.3 + generator.uniform(-0.35, 0.35), 3) for each in x]
    return {"data_x": x, "data_y": y}


INPUTS = (
    Input("lr", 0.2, "learning rate of all four", minimum=0),
    Input("momentum", 0.9, "how much of the last step is kept, by all four", above=0),
    Input("weight_decay", 0.02, "how hard the fourth model's parameters are pulled towards 0", minimum=0),
    Input("show_step", STEPS, "the step whose curves are drawn", minimum=1, maximum=STEPS, whole=True),
    Input("patience", 50, "how many steps to wait for a smaller validation loss", minimum=1, whole=True),
)
OVERFITTING = Lesson(
    "overfitting",
    "polynomials of degree 1, 2 and 9 fitted to few points; weight decay and early stopping",
    INPUTS,
    csv_columns(_bend(seed=66, count=20)),
    build=build,
    reference=reference,
)
