"""Two neurons with and without ReLU on points that no line fits, then a small network, forward and backward."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, NUMBER, PRECISE, SHORT, WHOLE, Book, Input, Series, Sheet, scatter, style, typed
from sgdsheet.book.style import HEADING, LABEL, LINES, NOTE, Look
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data, Source, check_columns, noisy, read_csv
from sgdsheet.lessons.flow import Named, activation, check, columns, counter, data, gradient, loss, parameter, place
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import COLORS
from sgdsheet.lessons.surface import axis, reference_axis, reference_visits, visits
from sgdsheet.tensor import (
    Array,
    equal,
    finite_or,
    greater,
    largest,
    maximum,
    mean,
    minimum,
    previous,
    smallest,
    where,
)

STEPS = 200
CURVE = 61  # curves are drawn through so many x
WIDE = 4  # charts of whole numbers go from minus this to this
MAP = 15  # the plane is shown for so many x1 and x2
LABELLED = range(3, MAP, 4)  # these of them are written below it
MOST = 200  # points: each has eight columns on the sheets of the steps
MLP_SEED = 233
JUST_MORE = 1.000001  # a point on the edge between two cells of the map belongs to both, however it is rounded
BROAD = len(LINES)  # added to a colour it makes dashes, so that two lines of the same numbers are both seen
TICK = Look(horizontal="center")
DOTTED = '0.000;-0.000;"·"'  # a dot where nothing comes through
MSE = "F.mse_loss(model(x), y)"
SGD = "torch.optim.SGD(..., lr=lr)"
ALONG = "from the smallest x to the largest"
TORCH = {"weight1": "layer1.weight", "bias1": "layer1.bias", "weight2": "layer2.weight[0]", "bias2": "layer2.bias"}
RUNS = {"with_relu": "relu", "without_relu": "none"}
TITLES = {"with_relu": "with ReLU", "without_relu": "without ReLU", "mlp": "the MLP"}
SHEETS = TITLES | {"mlp": "mlp steps"}
ONE_STEP = {"with_relu": "one step", "without_relu": "one step", "mlp": "mlp step"}

# The parameters of a network by name, in torch's shapes but that the one output's dimension is left out:
# weight1 (neurons, inputs), bias1 (neurons), weight2 (neurons), bias2 (1).
Net = Mapping[str, Any]


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets from `one neuron` to `one step`, the two runs in steps, three of an MLP, and what charts draw."""
    check_columns(given, MOST, "relu_net", "a training step has eight cells for each of them")
    details = book.sheet(
        "curves",
        "What the charts on 'one neuron' and 'by hand' draw",
        "A line and its bend need three points; what two neurons add up to is worked out from the smallest x to the "
        "largest.",
        details=True,
    )
    one_neuron_sheet(book, details)
    note = "They lie along a V. Change any number and everything follows."
    x, y = flow.points_sheet(book, given["data_x"], given["data_y"], note, absolute=True)
    curve_x = by_hand_sheet(book, details, x, y)
    one_line_sheet(book, given)
    training_sheets(book, x, y, curve_x, given)
    mlp_sheets(book, given)


def linear(x: Any, weight: Any, bias: Any) -> Any:
    """torch's linear layer, a row for each point: every input times its weight, added up, and the bias."""
    return tensor.matmul(x, weight.T) + bias


def layer1(x: Any, net: Net) -> Any:
    """z of each point `(points, inputs)`, a column for each neuron."""
    return linear(x, net["weight1"], net["bias1"])


def layer2(hidden: Any, net: Net) -> Any:
    """y_hat of each point `(points, neurons)`."""
    return linear(hidden, net["weight2"][None], net["bias2"])[:, 0]


def activated(z: Any, chosen: Any) -> Any:
    """What the activation makes of z; `chosen` is its name or the cell in which the reader chooses."""
    return where(equal(chosen, "relu"), tensor.relu(z), z)


def let_through(hidden: Any, chosen: Any) -> Any:
    """How much of a gradient the activation lets through: all of it, but nothing where ReLU gave 0."""
    return where(equal(chosen, "relu"), where(greater(hidden, 0), 1, 0), 1)


def one_neuron_sheet(book: Book, details: Sheet) -> None:
    sheet = book.sheet(
        "one neuron",
        "One neuron: why ReLU makes a line bend",
        "A neuron computes z = weight * x + bias: a line. ReLU keeps z where it is above 0, and makes 0 of all else: "
        "max(0, z).",
        "So the line bends where z is 0: at x = -bias / weight. Change neuron_bias, and the bend moves.",
    )
    sheet.width(1, 13)
    sheet.width(2, 10, 4)
    cell = flow.inputs(sheet, *(spec.name for spec in NEURON_INPUTS), across=True)
    weight, bias, chosen = cell.neuron_weight, cell.neuron_bias, cell.neuron_activation
    row = sheet.next_row

    def z(x: Any) -> Any:
        return weight * x + bias

    at = flow.values(
        sheet,
        row=row,
        bend=check(where(equal(weight, 0), Call("NA"), -bias / weight), "-bias / weight: there z is 0", digits=SHORT),
        try_z=activation(z(cell.try_x), "weight * try_x + bias", "neuron(try_x)", SHORT),
        try_output=activation(lambda v: activated(v.try_z, chosen), "max(0, try_z)", "F.relu(neuron(try_x))", SHORT),
    )
    says = where(greater(at.try_z, 0), "try_z is above 0: ReLU lets it through", "try_z is not above 0: ReLU gives 0")
    sheet.write(row + 2, 3, where(equal(chosen, "relu"), says, "no activation: the output is z"), NOTE)
    head = sheet.next_row
    t = columns(
        sheet.table(head, 1, 2 * WIDE + 1),
        "neuron_",
        x=data(np.arange(-WIDE, WIDE + 1), "from left to right", "x", WHOLE, width=13),
        z=activation(lambda t: z(t.x), "weight * x + bias", "neuron(x)", SHORT),
        output=activation(lambda t: activated(t.z, chosen), "", "F.relu(neuron(x))", SHORT),
    )
    name_rule(sheet, t.output[0], chosen, "z")

    head = details.next_row
    outside = greater(tensor.abs(at.bend), WIDE)
    there = check([where(outside, Call("NA"), at.bend)], "the bend, if it is in the chart")
    marks = columns(details.table(head, 5, 1), "mark_", bend=there, zero=check([0 * at.try_z], "z there"))
    # Three points draw the line and its bend exactly: both ends, and the bend where it lies between them.
    middle = maximum(minimum(finite_or(at.bend, 0), WIDE), -WIDE)
    drawn = columns(
        details.table(head, 1, 3),
        "drawn_",
        x=data([-WIDE, middle, WIDE], "the ends and the bend", "x"),
        z=activation(lambda t: z(t.x), "weight * x + bias", "neuron(x)"),
        output=activation(lambda t: activated(t.z, chosen), "its activation", "F.relu(neuron(x))"),
    )
    lines = [
        Series("z = weight * x + bias", drawn.x, drawn.z, color=BROAD, width=1.75),
        Series("output", drawn.x, drawn.output, color=3, width=3.5),
        Series("the bend, at -bias / weight", marks.bend, marks.zero, points=True, line=False, color=6),
        Series("your try_x", [cell.try_x], [at.try_output], points=True, line=False, color=2),
    ]
    wide, high = (-WIDE, WIDE), (-WIDE - 1, WIDE + 1)
    chart = scatter("One neuron", "x", "z and output", lines, width=24, height=15, x_range=wide, y_range=high)
    sheet.chart(row - 3, 8, chart)


def name_rule(sheet: Sheet, first: Any, chosen: Any, z: str) -> None:
    """Says in the head of an activation's column, whose first cell is given, what the chosen one does with `z`."""
    sheet.write(first.row - 1, first.column, where(equal(chosen, "relu"), f"max(0, {z})", z), style.words("activation"))


def by_hand_sheet(book: Book, details: Sheet, x: Array, y: Array) -> Array:
    sheet = book.sheet(
        "by hand",
        "Two neurons, set by hand",
        "Each neuron has a weight and a bias of its own, as on 'one neuron'. The second layer adds up what they say: "
        "y_hat = hidden_1 * neuron1_out + hidden_2 * neuron2_out + out_bias.",
        "The loss is the mean of (y_hat - y)^2 over all points. Can you bring it below 0.02? Then choose none.",
    )
    torch = {"out_bias": "layer2.bias[0]"}
    for n in (1, 2):
        torch |= {f"neuron{n}_weight": f"layer1.weight[{n - 1}, 0]", f"neuron{n}_bias": f"layer1.bias[{n - 1}]"}
        torch[f"neuron{n}_out"] = f"layer2.weight[0, {n - 1}]"
    cell = flow.inputs(sheet, *(spec.name for spec in HAND_INPUTS), torch=torch, across=True)
    weight, bias, out = (np.array([cell[f"neuron{n}_{part}"] for n in (1, 2)]) for part in ("weight", "bias", "out"))
    net = {"weight1": weight[:, None], "bias1": bias, "weight2": out, "bias2": np.array([cell.out_bias])}
    loss_row, chosen = sheet.next_row, cell.hand_activation

    def neuron(n: int) -> dict[str, Any]:
        z = activation(
            lambda t: layer1(t.x[:, None], net)[:, n - 1], f"weight * x + bias of neuron {n}", f"layer1(x)[:, {n - 1}]"
        )
        hidden = activation(lambda t: activated(t[f"z_{n}"], chosen), "", f"F.relu(layer1(x))[:, {n - 1}]")
        return {f"z_{n}": z, f"hidden_{n}": hidden}

    hand = columns(
        sheet.table(loss_row + 2, 1, len(x)),
        "hand_",
        short=True,
        width=10.5,
        x=data(x, "the point's x", "x"),
        y=data(y, "the point's y", "y"),
        **neuron(1),
        **neuron(2),
        y_hat=activation(
            lambda t: layer2(np.stack([t.hidden_1, t.hidden_2], axis=1), net),
            "hidden * out, added up, + out_bias",
            "model(x)",
        ),
        error=loss(lambda t: (t.y_hat - t.y) ** 2, "(y_hat - y)^2"),
    )
    for n in (1, 2):
        name_rule(sheet, hand[f"hidden_{n}"][0], chosen, f"z_{n}")
    flow.values(sheet, row=loss_row, hand_loss=loss(mean(hand.error), "the mean of all errors below", MSE))

    def part(n: int) -> Any:
        return lambda t: activated(layer1(t.x[:, None], net), chosen)[:, n - 1] * out[n - 1]

    curve = columns(
        details.table(details.next_row, 1, CURVE),
        "curve_",
        x=data(axis(smallest(x), largest(x), CURVE)[0], ALONG, "torch.linspace", absolute=True),
        part_1=activation(part(1), "hidden_1 * neuron1_out", "hidden[:, 0] * layer2.weight"),
        part_2=activation(part(2), "hidden_2 * neuron2_out", "hidden[:, 1] * layer2.weight"),
        y_hat=activation(lambda t: t.part_1 + t.part_2 + cell.out_bias, "both + out_bias", "model(curve_x)"),
    )
    lines = [
        Series("points", hand.x, hand.y, points=True, line=False, color=6),
        Series("what neuron 1 adds", curve.x, curve.part_1, color=BROAD, width=5),
        Series("what neuron 2 adds", curve.x, curve.part_2, color=BROAD + 2, width=5),
        Series("y_hat: both and out_bias", curve.x, curve.y_hat, color=3, width=2.75),
    ]
    sheet.chart(loss_row, 10, scatter("Two neurons and their sum", "x", "y", lines, width=24, height=15))
    return curve.x


def one_line_sheet(book: Book, given: Mapping[str, Any]) -> None:
    sheet = book.sheet(
        "two layers are one",
        "Why does a second layer without an activation change nothing?",
        "Because its lines add up to one line. Without an activation, y_hat is (x * weight + bias) * out of neuron 1, "
        "+ the same of neuron 2, + path_out_bias.",
        "Multiply it out: x comes twice, times weight * out of each neuron. Both together are the slope; all the rest "
        "is the intercept. A hundred neurons only make those sums longer.",
        "A bend does not multiply out: choose relu for path_activation, and the second layer counts.",
    )
    sheet.width(1, 13)
    cell = flow.inputs(
        sheet, "path_activation", "path_out_bias", torch={"path_out_bias": "layer2.bias[0]"}, across=True
    )
    table = sheet.table(sheet.next_row, 2, 2)
    flow.labels(sheet, table.first, 1, ("neuron 1", "neuron 2"))
    weight1 = "layer1.weight[:, 0]"
    path = columns(
        table,
        "path_",
        short=True,
        weight=parameter(typed(given["path_weight"]), "its weight", weight1, SHORT),
        bias=parameter(typed(given["path_bias"]), "its bias", "layer1.bias", SHORT),
        out=parameter(typed(given["path_out"]), "its share in y_hat", "layer2.weight[0]", SHORT),
        slope=check(lambda t: t.weight * t.out, "weight * out", f"{weight1} * layer2.weight[0]", SHORT),
        intercept=check(lambda t: t.bias * t.out, "bias * out", "layer1.bias * layer2.weight[0]", SHORT),
    )
    net = {"weight1": path.weight[:, None], "bias1": path.bias, "weight2": path.out}
    net["bias2"] = np.array([cell.path_out_bias])
    line = flow.values(
        sheet,
        "one_",
        slope=check(
            tensor.sum(path.slope),
            "the slope of both, added up",
            "(layer2.weight @ layer1.weight)[0, 0]",
            SHORT,
            absolute=True,
        ),
        intercept=check(
            tensor.sum(path.intercept) + cell.path_out_bias,
            "the intercept of both, added up, + path_out_bias",
            "layer2(layer1.bias)[0]",
            SHORT,
            absolute=True,
        ),
    )

    def neuron(n: int) -> dict[str, Any]:
        z = activation(
            lambda t: layer1(t.line_x[:, None], net)[:, n - 1], "x * weight + bias", f"layer1(x)[:, {n - 1}]", SHORT
        )
        hidden = activation(
            lambda t: activated(t[f"line_z_{n}"], cell.path_activation), "", f"activation(z)[:, {n - 1}]", SHORT
        )
        return {f"line_z_{n}": z, f"line_hidden_{n}": hidden}

    t = columns(
        sheet.table(sheet.next_row, 1, 2 * WIDE + 1),
        line_x=data(np.arange(-WIDE, WIDE + 1), "from left to right", "x", WHOLE, width=13),
        **neuron(1),
        **neuron(2),
        two_layers=activation(
            lambda t: layer2(np.stack([t.line_hidden_1, t.line_hidden_2], axis=1), net),
            "hidden * out, added up, + path_out_bias",
            "layer2(activation(layer1(x)))",
            SHORT,
        ),
        one_line=activation(
            lambda t: t.line_x * line.slope + line.intercept,
            "x * one_slope + one_intercept",
            "F.linear(x, slope, intercept)",
            SHORT,
        ),
        difference=check(lambda t: t.two_layers - t.one_line, "two_layers - one_line", digits=SHORT),
    )
    for n in (1, 2):
        name_rule(sheet, t[f"line_hidden_{n}"][0], cell.path_activation, f"z_{n}")
    lines = [
        Series("two layers", t.line_x, t.two_layers, color=BROAD + 3, width=6),
        Series("one line: one_slope * x + one_intercept", t.line_x, t.one_line, color=6, width=2),
    ]
    chart = scatter("Two layers, and one line", "x", "y_hat", lines, width=22, height=15, x_range=(-WIDE, WIDE))
    sheet.chart(table.head, 10, chart)


def training_sheets(book: Book, x: Array, y: Array, curve_x: Array, given: Mapping[str, Any]) -> None:
    sheet = book.sheet(
        "training",
        "Gradient descent with and without ReLU",
        "Both networks have two neurons and begin with the same weights. A step works out how the loss changes with "
        "each weight (its gradient), and moves each weight a little against that: lr says how far.",
        "'one step' shows where the gradients come from. Without ReLU the network can only become a line: at best "
        "the best of all lines.",
    )
    sheet.width(1, 11, 12)
    top = sheet.next_row
    cell = flow.inputs(sheet, "lr", "show_step", torch={"lr": SGD})
    start = start_cells(sheet, top, 7, "start", given)
    below = sheet.next_row
    one_step = book.sheet(
        "one step",
        "One step with ReLU, forward and backward",
        "The step is the one chosen by show_step on 'training'. A row is a point, a column a neuron, where both occur.",
    )
    runs = {name: steps_sheet(book, name, x[:, None], y, start, chosen, cell.lr) for name, chosen in RUNS.items()}
    step_sheet(one_step, "one_step", x[:, None], y, runs["with_relu"], cell.show_step, "relu", cell.lr)
    details = book.sheet(
        "training curves",
        "What the charts on 'training' draw",
        "The best of all lines, by least squares, and what both networks say along x at show_step.",
        details=True,
    )
    line, losses = best_line(details, x, y)
    fit = fits(details, curve_x, runs, line, minimum(cell.show_step, STEPS))
    sheet.width(13, 18)
    ends: dict[str, Any] = {
        f"{name}_last": loss(t.loss[-1], f"{TITLES[name]}, at step {STEPS}", MSE) for name, t in runs.items()
    }
    flow.values(sheet, row=top, left=13, **ends)
    sheet.write(top + len(runs), 13, "line_loss", LABEL)
    sheet.write(top + len(runs), 14, line.line_loss, style.body("loss"))
    sheet.write(top + len(runs), 15, "of the best of all lines", NOTE)
    curves = [
        Series("points", x, y, points=True, line=False, color=6),
        Series("the best line", fit.fit_x, fit.line_fit, color=BROAD + 1, width=5),
    ]
    for name, color, width in (("without_relu", 0, 2), ("with_relu", 3, 3)):
        losses.append(Series(TITLES[name], runs["with_relu"].step, runs[name].loss, color=color, width=width))
        curves.append(Series(TITLES[name], fit.fit_x, fit[f"{name}_fit"], color=color, width=width))
    title, y_title, size = "The loss of each step", "loss (powers of ten)", dict[str, Any](width=19, height=14)
    first = scatter(title, "step", y_title, losses, log=True, x_range=(0, STEPS), **size)
    flow.charts(sheet, first, scatter("Both networks at show_step", "x", "y", curves, **size), row=below)


def start_cells(sheet: Sheet, row: int, left: int, prefix: str, given: Mapping[str, Any]) -> Net:
    """Where a training starts: cells for all parameters, below their names, a row for each neuron."""
    neurons = len(given[f"{prefix}_bias1"])
    flow.labels(sheet, row, left, ["start", *(f"neuron {n + 1}" for n in range(neurons))])
    start, left = {}, left + 1
    for name, torch in TORCH.items():
        cells = typed(given[f"{prefix}_{name}"])
        sheet.write(row, left, name, LABEL)
        cells = parameter(cells, "where training starts: type here", torch, SHORT)
        start[name] = place(sheet, row + 1, left, f"{prefix}_{name}", cells)
        left += start[name].size // len(start[name])
    sheet.next_row = max(sheet.next_row, row + neurons + 2)
    return start


def best_line(sheet: Sheet, x: Array, y: Array) -> tuple[Named, list[Series]]:
    """The line with the smallest loss of all, by least squares, and its loss as a line across the chart."""

    def slope(t: Named) -> Any:
        found = tensor.sum((x - t.mean_x) * (y - t.mean_y)) / tensor.sum((x - t.mean_x) ** 2)
        return where(equal(smallest(x), largest(x)), 0, found)

    words, torch = "sum of (x - mean_x) * (y - mean_y), over the sum of (x - mean_x)^2", "torch.linalg.lstsq"
    sheet.width(1, 15)
    row = sheet.next_row
    line = flow.values(
        sheet,
        row=row,
        mean_x=check(mean(x), "of all points", "x.mean()", absolute=True),
        mean_y=check(mean(y), "of all points", "y.mean()", absolute=True),
        line_slope=parameter(slope, words, torch, absolute=True),
        line_intercept=parameter(
            lambda t: t.mean_y - t.line_slope * t.mean_x, "mean_y - line_slope * mean_x", torch, absolute=True
        ),
        line_loss=loss(
            lambda t: mean((t.line_slope * x + t.line_intercept - y) ** 2),
            "no other line has a smaller loss (least squares)",
            "F.mse_loss(line, y)",
            absolute=True,
        ),
    )
    ends = flow.headed(sheet, row, 12, "level_step", counter([1, STEPS], "for the chart"), across=True)
    level = flow.headed(sheet, row, 15, "level_loss", loss([line.line_loss] * 2, "for the chart"), across=True)
    return line, [Series("the best line", ends, level, color=BROAD + 1, width=5)]


def fits(sheet: Sheet, curve_x: Array, runs: Mapping[str, Named], line: Named, step: Any) -> Named:
    """The two networks at the step that the reader chose, their parameters and their curves, and the best line."""
    neurons = ["neuron 1", "neuron 2"]
    table = sheet.table(sheet.next_row, 2, len(runs), neurons)
    flow.labels(sheet, table.first, 1, (TITLES[name] for name in runs))

    def at_step(name: str) -> Any:
        both, parts = [flow.row_of(run[name], step) for run in runs.values()], [""] if name == "bias2" else neurons
        return parameter(both, "at show_step", TORCH[name], parts=parts, absolute=True)

    shown = columns(table, "shown_", short=True, **{name: at_step(name) for name in TORCH})

    def fit(position: int, run: str) -> Any:
        net = {name: shown[name][position] for name in TORCH}
        net["weight1"] = net["weight1"][:, None]
        words = f"{TITLES[run]}, at show_step"
        return activation(lambda t: layer2(activated(layer1(t.fit_x[:, None], net), RUNS[run]), net), words, "model(x)")

    return columns(
        sheet.table(sheet.next_row, 1, CURVE),
        fit_x=data(curve_x, ALONG, "x", width=15),
        **{f"{run}_fit": fit(position, run) for position, run in enumerate(runs)},
        line_fit=activation(
            lambda t: t.fit_x * line.line_slope + line.line_intercept, "line_slope * x + line_intercept"
        ),
    )


def steps_sheet(book: Book, prefix: str, x: Array, y: Array, start: Net, chosen: Any, lr: Any) -> Named:
    """One training, a row for each step: parameters, forward pass, loss, backward pass.

    `x` (points, inputs) and `y` (points) stand above the table as rows, so that sums run over ranges.
    """
    sheet = book.sheet(
        SHEETS[prefix],
        f"Training {TITLES[prefix]}, step by step",
        "A row is a step: parameters, loss, gradients, and the new parameters, old - lr * gradient, with which the "
        f"next row begins. What lies between is in closed columns, and for one step on '{ONE_STEP[prefix]}'.",
        details=prefix == "mlp",
    )
    (count, wide), neurons = x.shape, range(1, len(start["bias1"]) + 1)
    row, left = sheet.next_row, 3 + 3 * sum(each.size for each in start.values())  # above the points' columns
    axes = ["x"] if wide == 1 else ["x1", "x2"]
    words = "all points, side by side"
    x = place(sheet, row, left, f"{prefix}_x", data(x.T, words, "x.T", absolute=True))
    y = place(sheet, row + wide, left, f"{prefix}_y", data(y, words, "y", absolute=True), across=True)

    heads, points = [f"neuron {n}" for n in neurons], [f"point {number}" for number in range(1, count + 1)]
    parts = {"weight1": heads, "bias1": heads, "weight2": heads, "bias2": ["y_hat"]}
    if wide > 1:
        parts["weight1"] = [f"{head}, {each}" for head in heads for each in axes]
    plain = chosen == "none"
    between = partial(activation, parts=points, folded=True)

    def param(name: str) -> Any:
        first, words = np.ravel(start[name]), "the new one of the row above"
        return parameter(lambda t: previous(t[f"new_{name}"], first), words, TORCH[name], parts=parts[name])

    def new_param(name: str) -> Any:
        words, torch = f"{name} - lr * grad_{name}", f"{TORCH[name]}, after optimizer.step()"
        return parameter(lambda t: t[name] - lr * t[f"grad_{name}"], words, torch, parts=parts[name])

    def neuron(n: int) -> dict[str, Any]:
        def z(t: Named) -> Any:
            weighted = zip(t.weight1[:, wide * (n - 1) : wide * n].T, x, strict=True)
            return sum(weight[:, None] * each for weight, each in weighted) + t.bias1[:, n - 1, None]

        words = f"neuron {n}: {'z' if plain else 'z where it is above 0, else 0'}"
        torch = "z" if plain else f"F.relu(z)[:, {n - 1}]"
        return {
            f"z_{n}": between(z, f"neuron {n}: weight1 * x + bias1", f"layer1(x)[:, {n - 1}]"),
            f"hidden_{n}": between(lambda t: activated(t[f"z_{n}"], chosen), words, torch),
        }

    def grad_z(n: int) -> Any:
        def formula(t: Named) -> Any:
            return t.grad_y_hat * t.weight2[:, n - 1, None] * let_through(t[f"hidden_{n}"], chosen)

        words = f"grad_y_hat * weight2{'' if plain else '; 0 where relu gave 0'}"
        return gradient(formula, words, f"z.grad[:, {n - 1}]", parts=points, folded=True)

    def grad(name: str, words: str, terms: Callable[[Named], list[Array]]) -> Any:
        """The gradient of a parameter: for each of its elements a sum over the points."""

        def formula(t: Named) -> Any:
            return np.array([[tensor.sum(row) for row in each] for each in terms(t)]).T

        return gradient(formula, words, f"{TORCH[name]}.grad", parts=parts[name])

    def y_hat(t: Named) -> Any:
        return sum(t.weight2[:, n - 1, None] * t[f"hidden_{n}"] for n in neurons) + t.bias2

    error = f"2 * (y_hat - y) / {count}"
    return flow.steps(
        sheet,
        STEPS,
        f"{prefix}_",
        row=row + wide + 1,
        parts=points,
        freeze=2,
        short=True,
        width=8.5,
        step=counter(lambda t: previous(t.step + 1, 1), "counts", width=6),
        **{name: param(name) for name in TORCH},
        loss=loss(lambda t: [mean((row - y) ** 2) for row in t.y_hat], "mean of (y_hat - y)^2", MSE),
        grad_weight1=grad(
            "weight1", "sum of grad_z * x", lambda t: [t[f"grad_z_{n}"] * each for n in neurons for each in x]
        ),
        grad_bias1=grad("bias1", "sum of grad_z", lambda t: [t[f"grad_z_{n}"] for n in neurons]),
        grad_weight2=grad(
            "weight2", "sum of grad_y_hat * hidden", lambda t: [t.grad_y_hat * t[f"hidden_{n}"] for n in neurons]
        ),
        grad_bias2=grad("bias2", "sum of grad_y_hat", lambda t: [t.grad_y_hat]),
        **{f"new_{name}": new_param(name) for name in TORCH},
        **{name: column for n in neurons for name, column in neuron(n).items()},
        y_hat=between(y_hat, "weight2 * hidden, added up, + bias2", "model(x)"),
        grad_y_hat=gradient(lambda t: 2 * (t.y_hat - y) / count, error, "y_hat.grad", parts=points, folded=True),
        **{f"grad_z_{n}": grad_z(n) for n in neurons},
    )


def mlp_sheets(book: Book, given: Mapping[str, Any]) -> None:
    sheet = book.sheet(
        "mlp",
        "Four neurons bend a plane",
        "Two inputs, x1 and x2. Points in opposite corners are alike, so no plane comes near all four. The puzzle is "
        "called XOR; a network of one layer cannot solve it.",
        "The first map shows what the network predicts at each place: orange is above 0, blue below, dots are the "
        "points. On its right is what each neuron adds: 0 on one side of a line, a slope on the other.",
    )
    sheet.width(1, 11, 6)
    sheet.width(7, 5)
    left, right = 8, 8 + MAP + 1
    sheet.width(left, 2.2, right + 2 * MAP + 1)
    cell = flow.inputs(sheet, *(spec.name for spec in MLP_INPUTS), torch={"mlp_lr": SGD}, across=True)
    top = sheet.next_row
    flow.labels(sheet, top, 2, ("x1", "x2", "y"), across=True)
    flow.labels(sheet, top + 1, 1, [f"point {n + 1}" for n in range(len(given["corner_y"]))])
    x = data(typed(given["corner_x"]), "the points: type here", "x", PRECISE, absolute=True)
    x = place(sheet, top + 1, 2, "corner_x", x)
    y = place(sheet, top + 1, 4, "corner_y", data(typed(given["corner_y"]), "what to predict", "y", PRECISE))
    start = start_cells(sheet, top + len(x) + 2, 1, "mlp_start", given)
    below = sheet.next_row

    one_step = book.sheet(
        "mlp step",
        "One step of the MLP, forward and backward",
        "The step is the one chosen by mlp_show_step on 'mlp'. A row is a point, a column a neuron, where both occur.",
    )
    run = steps_sheet(book, "mlp", x, y, start, cell.mlp_activation, cell.mlp_lr)
    net = step_sheet(one_step, "step", x, y, run, cell.mlp_show_step, cell.mlp_activation, cell.mlp_lr)
    mlp_maps(sheet, top - 3, left, x, net, cell)
    line = Series("loss", run.step, run.loss, color=3, width=2.5)
    chart = scatter("The loss of each step", "step", "loss", [line], width=10.5, height=9, x_range=(0, STEPS))
    sheet.chart(below, 1, chart)


def step_sheet(sheet: Sheet, prefix: str, x: Array, y: Array, run: Named, step: Any, chosen: Any, lr: Any) -> Net:
    """The chosen step in matrices, from its parameters to the next step's. Returns the parameters."""
    sheet.width(1, 7, 40)
    row, (count, neurons) = sheet.next_row, (len(y), run.bias1.shape[1])
    net = {name: flow.row_of(run[name], minimum(step, STEPS)) for name in TORCH}
    net["weight1"] = net["weight1"].reshape(-1, x.shape[1])

    def put(name: str, each: flow.Column) -> Array:
        """A matrix, or a column, right of the last one, below its heading; it takes two columns at least."""
        nonlocal left
        wide = np.shape(each.formula)[-1] if np.ndim(each.formula) > 1 else 1
        room = max(2, wide, math.ceil(len(name) / 5.4))
        each = replace(each, title=name, absolute=each.role == "parameter")
        made = flow.headed(sheet, row + 1, left, f"{prefix}_{name}", each, room=room)
        if made.size > 1:
            sheet.heat_map(made[:, None] if made.ndim == 1 else made, DIVERGING)
        left += room + 1
        return made

    def begin(heading: str, at: int = 1) -> None:
        nonlocal left
        left = at
        sheet.write(row, left, heading, HEADING)

    left = 1
    begin("1. The parameters as they are when the step begins")
    for name, words in {
        "weight1": "a row a neuron",
        "bias1": "a neuron",
        "weight2": "a neuron",
        "bias2": "one",
    }.items():
        net[name] = put(name, parameter(net[name], words, TORCH[name]))

    row += neurons + 4
    begin("2. Forward: from the points to the loss →")
    x = put("x", data(x, "a row a point", "x"))
    y = put("y", data(y, "what to predict", "y"))
    z = put("z", activation(layer1(x, net), "x * weight1, added up, + bias1", "z = layer1(x)"))
    hidden = put(
        "hidden", activation(activated(z, chosen), "0 where relu meets z below 0", "hidden = F.relu(z)", DOTTED)
    )
    y_hat = put(
        "y_hat", activation(layer2(hidden, net), "hidden * weight2, added up, + bias2", "y_hat = layer2(hidden)")
    )
    put("loss", loss([mean((y_hat - y) ** 2)], "mean of (y_hat - y)^2", "loss = F.mse_loss(y_hat, y)"))

    def grad(name: str, formula: Any, words: str, torch: str) -> Array:
        return put(f"grad_{name}", gradient(formula, words, f"{torch}.grad", DOTTED if name == "z" else NUMBER))

    begin("3. Backward: how the loss changes with each →", left)
    grad_y_hat = grad("y_hat", 2 * (y_hat - y) / count, f"2 * (y_hat - y) / {count}", "y_hat")
    grad_hidden = grad("hidden", grad_y_hat[:, None] * net["weight2"], "grad_y_hat * weight2", "hidden")
    grad_z = grad("z", grad_hidden * let_through(hidden, chosen), "grad_hidden; 0 where relu gave 0", "z")

    row += count + 4
    begin("4. How the loss changes with each parameter: sums over the points")
    grads = {
        "weight1": grad("weight1", tensor.matmul(grad_z.T, x), "sum of grad_z * x", "layer1.weight"),
        "bias1": grad("bias1", list(map(tensor.sum, grad_z.T)), "sum of grad_z", "layer1.bias"),
    }
    sums = [tensor.sum(grad_y_hat * each) for each in hidden.T]
    grads["weight2"] = put("grad_weight2", gradient(sums, "sum of grad_y_hat * hidden", "layer2.weight.grad[0]"))
    grads["bias2"] = grad("bias2", [tensor.sum(grad_y_hat)], "sum of grad_y_hat", "layer2.bias")

    begin("5. The step: new = old - lr * gradient", left)
    for name in TORCH:
        new, words = net[name] - lr * grads[name], f"{name} - lr * grad_{name}"
        put(f"new_{name}", parameter(new, words, f"{TORCH[name]}, after optimizer.step()"))
    return net


def mlp_maps(sheet: Sheet, top: int, left: int, x: Array, net: Net, cell: Named) -> None:
    """What the network says over the plane, and on its right what each neuron adds; dots show the points."""
    right, neurons = left + MAP + 1, len(net["bias1"])
    far = right + 2 * MAP + 2
    along, half = axis(cell.map_from, cell.map_to, MAP)
    half = check(half * JUST_MORE, "half of a cell of the map", absolute=True)
    half = flow.values(sheet, row=top, left=far, map_half=half).map_half

    sheet.write(top, left, "prediction", HEADING)
    sheet.write(top + 1, left, "y_hat; x1 grows to the right, x2 upwards", NOTE)
    along = place(
        sheet, top + 2, left, "map_x1", data(along, "each column's x1", digits=COLORS, absolute=True), across=True
    )
    for column in LABELLED:
        sheet.write(top + 3 + MAP, left + column - 1, along[column], TICK)
        sheet.merge(top + 3 + MAP, left + column - 1, left + column + 1)
    down = cell.map_to - (cell.map_to - cell.map_from) * (np.arange(MAP).astype(object) / (MAP - 1))
    down = place(sheet, top + 3, left - 1, "map_x2", data(down, "each row's x2", digits=SHORT, absolute=True))

    plane = np.array([[x1, x2] for x2 in down for x1 in along])
    hidden = activated(layer1(plane, net), cell.mlp_activation)
    y_hat = layer2(hidden, net).reshape(MAP, MAP)
    words = "what all neurons add, and bias2"
    y_hat = place(sheet, top + 3, left, "prediction", activation(y_hat, words, "model(plane)", digits=COLORS))
    for n in range(neurons):
        row, column = top + (1 if n < 2 else MAP + 4), right + n % 2 * (MAP + 1)
        sheet.write(row, column, f"what neuron {n + 1} adds: hidden * weight2", LABEL)
    maps = (hidden * net["weight2"]).T.reshape(neurons, MAP, MAP)
    words = "hidden * weight2 of each neuron over the same plane"
    maps = activation(maps, words, "F.relu(layer1(plane)) * layer2.weight", digits=COLORS)
    maps = place(sheet, top + 3, right, "neuron_maps", maps, most=2 * MAP + 1, band=MAP + 2)
    for each in (y_hat, maps):
        sheet.heat_map(each, replace(DIVERGING, reach=1.0))

    counts = visits((x[:, 0], along, half), (x[:, 1], down, half), edges=True)
    counts = check(counts, "how many points each cell of the map holds", digits="0;-0;")
    sheet.dot(y_hat, place(sheet, top + 3, far, "map_points", counts))
    sheet.fold(far, far + MAP - 1)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    curve_x = reference_axis(v.data_x.min(), v.data_x.max(), CURVE)[0]
    by_hand = reference_neuron(v) | reference_hand(v, curve_x) | reference_one_line(v)
    return by_hand | reference_training(v, curve_x) | reference_mlp(v)


def forward(x: Any, net: Net, relu: bool) -> tuple[Any, Any, Any]:
    """z, hidden and y_hat of all points by torch's layers.

    A cell has no infinity, only an error value. ReLU would turn minus infinity into 0, so 0 * z is added: it is 0, but
    no number where z is none.
    """
    from torch.nn import functional as F  # noqa: N812

    z = F.linear(x, net["weight1"], net["bias1"])
    hidden = F.relu(z) + 0 * z if relu else z * 1
    return z, hidden, F.linear(hidden, net["weight2"][None], net["bias2"])[:, 0]


def reference_steps(x: Any, y: Any, start: Net, relu: bool, lr: float) -> tuple[Named, dict[str, Any]]:
    """A training by torch.optim.SGD, with the gradients that autograd gives for all that lies between.

    Returns it in torch's shapes, and as the blocks of a sheet of steps.
    """
    import torch
    from torch.nn.functional import mse_loss

    net = {name: start[name].clone().requires_grad_() for name in TORCH}

    def loss_of(_: int, note: Any) -> Any:
        z, hidden, y_hat = forward(x, net, relu)
        for each in (z, hidden, y_hat):
            each.retain_grad()
        note(z=z, hidden=hidden, y_hat=y_hat)
        return mse_loss(y_hat, y)

    run = flow.descend(net, torch.optim.SGD(net.values(), lr=lr), range(STEPS), loss_of)
    blocks = {"x": x.T, "y": y, "step": torch.arange(1, STEPS + 1), "loss": run.loss}
    for name in (*TORCH, "y_hat"):
        blocks |= {f"{part}{name}": run[f"{part}{name}"].flatten(1) for part in ("", "grad_")}
    blocks |= {f"new_{name}": run[f"new_{name}"].flatten(1) for name in TORCH}
    for name in ("z", "hidden", "grad_z"):
        blocks |= {f"{name}_{n}": each for n, each in enumerate(run[name].unbind(2), start=1)}
    return run, blocks


def reference_neuron(v: Named) -> dict[str, Any]:
    """The sheet `one neuron`."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    weight, bias = torch.tensor([[v.neuron_weight]]), torch.tensor([v.neuron_bias])
    bend = (-bias / weight[0])[0] if v.neuron_weight else torch.tensor(torch.nan)
    middle = bend.nan_to_num(0).clamp(-WIDE, WIDE).item()
    inside = bend.where(bend.abs() <= WIDE, torch.nan)
    blocks: dict[str, Any] = {"bend": bend, "mark_bend": inside[None], "mark_zero": torch.zeros(1)}
    everywhere = {"neuron": torch.arange(-WIDE, WIDE + 1.0), "drawn": torch.tensor([-WIDE, middle, WIDE])}
    for name, x in {**everywhere, "try": torch.tensor([v.try_x])}.items():
        z = F.linear(x[:, None].double(), weight, bias)[:, 0]
        output = F.relu(z) if v.neuron_activation == "relu" else z
        blocks |= {f"{name}_x": x, f"{name}_z": z, f"{name}_output": output}
    del blocks["try_x"]
    return blocks | {name: blocks[name][0] for name in ("try_z", "try_output")}


def reference_hand(v: Named, curve_x: Any) -> dict[str, Any]:
    """The sheet `by hand`."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    x, y, relu = v.data_x, v.data_y, v.hand_activation == "relu"
    parts = [[v[f"neuron{n}_{part}"] for n in (1, 2)] for part in ("weight", "bias", "out")]
    weight, bias, out = torch.tensor(parts, dtype=x.dtype)
    net = {"weight1": weight[:, None], "bias1": bias, "weight2": out, "bias2": torch.tensor([v.out_bias])}
    z, hidden, y_hat = forward(x[:, None], net, relu)
    _, curve_hidden, curve_y_hat = forward(curve_x[:, None], net, relu)
    blocks = {"hand_x": x, "hand_y": y, "curve_x": curve_x, "hand_y_hat": y_hat, "curve_y_hat": curve_y_hat}
    blocks |= {"hand_error": F.mse_loss(y_hat, y, reduction="none"), "hand_loss": F.mse_loss(y_hat, y)}
    for n in (0, 1):
        blocks |= {f"hand_z_{n + 1}": z[:, n], f"hand_hidden_{n + 1}": hidden[:, n]}
        blocks[f"curve_part_{n + 1}"] = curve_hidden[:, n] * out[n]
    return blocks


def reference_one_line(v: Named) -> dict[str, Any]:
    """The sheet `two layers are one`."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    x, weight, bias, out = torch.arange(-WIDE, WIDE + 1.0), v.path_weight, v.path_bias, v.path_out
    net = {"weight1": weight[:, None], "bias1": bias, "weight2": out, "bias2": torch.tensor([v.path_out_bias])}
    z, hidden, two_layers = forward(x[:, None], net, v.path_activation == "relu")
    slope, intercept = (out @ net["weight1"])[0], F.linear(bias, out[None], net["bias2"])[0]
    one_line = F.linear(x[:, None], slope[None, None], intercept[None])[:, 0]
    blocks = {"path_slope": weight * out, "path_intercept": bias * out, "one_slope": slope, "one_intercept": intercept}
    blocks |= {"line_x": x, "two_layers": two_layers, "one_line": one_line, "difference": two_layers - one_line}
    for n in (0, 1):
        blocks |= {f"line_z_{n + 1}": z[:, n], f"line_hidden_{n + 1}": hidden[:, n]}
    return blocks


def reference_training(v: Named, curve_x: Any) -> dict[str, Any]:
    """The sheets `training`, `with ReLU` and `without ReLU`."""
    import torch
    from torch.nn.functional import mse_loss

    x, y = v.data_x, v.data_y
    blocks: dict[str, Any] = {"fit_x": curve_x}
    nets = []
    for name, chosen in RUNS.items():
        start = {each: v[f"start_{each}"] for each in TORCH}
        run, made = reference_steps(x[:, None], y, start, chosen == "relu", v.lr)
        nets.append({each: run[each][min(v.show_step, STEPS) - 1] for each in TORCH})
        made |= {"last": run.loss[-1], "fit": forward(curve_x[:, None], nets[-1], chosen == "relu")[2]}
        blocks |= {f"{name}_{block}": each for block, each in made.items()}
        if name == "with_relu":
            blocks |= reference_step("one_step", x[:, None], y, run, v.show_step)
    blocks |= {f"shown_{name}": torch.stack([net[name].flatten() for net in nets]) for name in TORCH}

    middle = x - x.mean()
    if x.min() == x.max():  # all lines through the points' mean fit alike; the sheet takes the level one
        slope = torch.zeros(())
    else:
        slope = torch.linalg.lstsq(middle[:, None], (y - y.mean())[:, None]).solution[0, 0]
    intercept = y.mean() - slope * x.mean()
    best = mse_loss(slope * x + intercept, y)
    blocks |= {"mean_x": x.mean(), "mean_y": y.mean(), "line_slope": slope, "line_intercept": intercept}
    blocks |= {"line_loss": best, "line_fit": slope * curve_x + intercept}
    return blocks | {"level_step": torch.tensor([1, STEPS]), "level_loss": best.expand(2)}


def reference_step(prefix: str, x: Any, y: Any, run: Named, step: int) -> dict[str, Any]:
    """A sheet of one step in matrices."""
    shown = {name: rows[min(step, STEPS) - 1] for name, rows in vars(run).items()}
    return {f"{prefix}_{name}": each for name, each in {**shown, "x": x, "y": y, "loss": shown["loss"][None]}.items()}


def reference_mlp(v: Named) -> dict[str, Any]:
    """The sheets `mlp`, `mlp step` and `mlp steps`."""
    import torch

    x, y, relu = v.corner_x, v.corner_y, v.mlp_activation == "relu"
    start = {name: v[f"mlp_start_{name}"] for name in TORCH}
    run, blocks = reference_steps(x, y, start, relu, v.mlp_lr)
    blocks = {f"mlp_{name}": block for name, block in blocks.items()}
    blocks |= reference_step("step", x, y, run, v.mlp_show_step)
    shown = {name: blocks[f"step_{name}"] for name in TORCH}

    along, half = reference_axis(v.map_from, v.map_to, MAP)
    half *= JUST_MORE
    down = v.map_to - (v.map_to - v.map_from) * (torch.arange(MAP) / (MAP - 1))
    plane = torch.stack([along.expand(MAP, MAP), down[:, None].expand(MAP, MAP)], dim=-1).view(-1, 2)
    _, hidden, y_hat = forward(plane, shown, relu)
    blocks |= {"map_x1": along, "map_x2": down, "map_half": half, "prediction": y_hat.view(MAP, MAP)}
    blocks["map_points"] = reference_visits((x[:, 0], along, half), (x[:, 1], down, half), edges=True)
    return blocks | {"neuron_maps": (hidden * shown["weight2"]).T.reshape(-1, MAP, MAP)}


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A difference of two predictions is as exact as what these add up."""
    terms = abs(blocks["line_x"]) * abs(blocks["path_slope"]).sum() + abs(blocks["path_intercept"]).sum()
    return {"difference": terms + abs(v.path_out_bias)}


def load(source: Source) -> dict[str, Any]:
    """The points, a CSV's or those along a V, and where the trainings start."""
    generator = random.Random(3)
    x = sorted(round(generator.uniform(-2, 2), 2) for _ in range(12))
    points = noisy(lambda each: abs(each - 0.5), x, generator, (-0.2, 0.2), 2)
    generator = random.Random(MLP_SEED)
    weight1 = [[round(generator.uniform(-0.7, 0.7), 2) for _ in range(2)] for _ in range(4)]
    weight2 = [round(generator.uniform(-0.5, 0.5), 2) for _ in range(4)]
    return {
        **(read_csv(source.csv, list(points)) if source.csv else points),
        "path_weight": [1.0, -1.0],
        "path_bias": [1.0, 2.0],
        "path_out": [2.0, 1.0],
        "start_weight1": [[1.0], [-0.5]],
        "start_bias1": [0.0, 0.0],
        "start_weight2": [0.5, 0.5],
        "start_bias2": [0.0],
        "corner_x": [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]],
        "corner_y": [-1.0, 1.0, 1.0, -1.0],
        "mlp_start_weight1": weight1,
        "mlp_start_bias1": [0.0] * 4,
        "mlp_start_weight2": weight2,
        "mlp_start_bias2": [0.0],
    }


ACTIVATIONS = ("relu", "none")
NEURON_INPUTS = (
    Input("neuron_weight", 1, "how steep the line is"),
    Input("neuron_bias", -1, "moves the line up and down, and its bend to the side"),
    Input("neuron_activation", "relu", "what becomes of z", choices=ACTIVATIONS),
    Input("try_x", 3, f"an input to try, from -{WIDE} to {WIDE}", minimum=-WIDE, maximum=WIDE),
)
HAND_INPUTS = (
    Input("hand_activation", "relu", "what lies between the layers", choices=ACTIVATIONS),
    Input("neuron1_weight", 1, "neuron 1: how steep it is"),
    Input("neuron1_bias", 0, "neuron 1: moves it up and down, and its bend to the side"),
    Input("neuron1_out", 0.5, "neuron 1: how much of it enters y_hat"),
    Input("neuron2_weight", -1.5, "neuron 2: how steep it is"),
    Input("neuron2_bias", 0.5, "neuron 2: moves it up and down, and its bend to the side"),
    Input("neuron2_out", 0.5, "neuron 2: how much of it enters y_hat"),
    Input("out_bias", 0, "moves y_hat up and down"),
)
MLP_INPUTS = (
    Input("mlp_lr", 0.03, "learning rate: how far to step against the gradient", minimum=0),
    Input("mlp_activation", "relu", "what lies between the layers", choices=ACTIVATIONS),
    Input("mlp_show_step", STEPS, f"the step that is shown, from 1 to {STEPS}", minimum=1, whole=True),
    Input("map_from", -1.75, "where the maps begin, for x1 and x2"),
    Input("map_to", 1.75, "where the maps end, for x1 and x2"),
)
INPUTS = (
    *NEURON_INPUTS,
    *HAND_INPUTS,
    Input("path_activation", "none", "what lies between the two layers", choices=ACTIVATIONS),
    Input("path_out_bias", -2, "moves y_hat up and down"),
    Input("lr", 0.1, "learning rate: how far to step against the gradient", minimum=0),
    Input("show_step", STEPS, f"the step whose curves are drawn, from 1 to {STEPS}", minimum=1, whole=True),
    *MLP_INPUTS,
)
DIMS = {name: np.ndim(numbers) for name, numbers in load(Source()).items()}
EXERCISES = (
    Exercise(
        "one_step_grad_z",
        1,
        "On 'one step': the gradient goes back through relu. Where relu let z pass, grad_z is grad_hidden; where it "
        "gave 0, nothing passes.",
        {
            "nothing passes where relu gave 0": lambda t: t.one_step_grad_hidden,
            "that is relu's slope: times what?": lambda t: where(greater(t.one_step_hidden, 0), 1, 0),
            "relu of the gradient, not of z": lambda t: maximum(t.one_step_grad_hidden, 0),
        },
    ),
    Exercise(
        "one_step_new_weight1",
        2,
        "On 'one step': each weight's step against its gradient, as far as lr says.",
        {
            "it climbs: step against it": lambda t: t.one_step_weight1 + t.lr * t.one_step_grad_weight1,
            "lr is missing": lambda t: t.one_step_weight1 - t.one_step_grad_weight1,
            "the old weight is missing": lambda t: -t.lr * t.one_step_grad_weight1,
        },
    ),
    Exercise(
        "one_step_hidden",
        3,
        "On 'one step': relu of z.",
        {
            "z, without relu": lambda t: t.one_step_z,
            "relu's slope, not relu": lambda t: where(greater(t.one_step_z, 0), 1, 0),
        },
    ),
    Exercise(
        "one_step_grad_hidden",
        3,
        "On 'one step': how fast does the loss grow with each hidden number? y_hat has it times weight2.",
        {"weight2 is missing": lambda t: t.one_step_grad_y_hat[:, None] + 0 * t.one_step_weight2},
    ),
)

RELU_NET = Lesson(
    "relu_net",
    "two neurons with and without ReLU, by hand and trained, and a small network that bends a plane",
    INPUTS,
    Data(DIMS, load, ("csv",)),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Why a network needs an activation function",
    about=[
        "A neuron multiplies its input by a weight and adds a bias: a line, like slope * x + intercept. A layer is "
        "a few neurons side by side. A second layer adds up what they say, each times a weight of its own. But "
        "lines added up are a line again: the second layer changes nothing. 'two layers are one' shows it in "
        "cells.",
        "An activation function between the layers changes that. ReLU is the simplest: it keeps a number above 0 "
        "and turns all others into 0. It gives each neuron's line a bend, and bends add up to any shape, the more "
        "neurons the finer.",
        "On 'training', gradient descent finds the weights of two networks from the same start, one with ReLU, one "
        "without. The sheets that begin with 'mlp' train a network of four neurons with two inputs (an MLP, a "
        "multi-layer perceptron) and show how it bends a plane.",
    ],
    things_to_try=[
        "On 'one neuron', type 2 into neuron_bias: the bend moves to -2. Then choose none for neuron_activation.",
        "On 'by hand', choose none for hand_activation: the bends are gone, whatever the weights are.",
        "On 'by hand', choose relu and fit the points: try 1, -0.5, 1 for neuron 1 and -1, 0.5, 1 for neuron 2.",
        "On 'two layers are one', type other numbers into path_weight: it stays one line. Then choose relu for "
        "path_activation: two layers bend away from it.",
        "On 'training', set show_step to 1, 5, 20, 200 and watch both networks learn. One stays a line.",
        "On 'training', type -2 for both start_bias1: ReLU lets no point through, the gradients of layer 1 are 0, "
        "and the network learns only a constant. Such neurons are called dead.",
        "On 'mlp', choose none for mlp_activation: the map fades to 0 everywhere, and the loss stays at 1.",
        "On 'mlp', set map_from to -7 and map_to to 7 to see how the bends go on.",
    ],
    exercises=EXERCISES,
)
