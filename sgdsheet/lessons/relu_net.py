"""Two neurons with and without ReLU on points that no line fits, then a small network, forward and backward."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import HEADING, LABEL, LINES, NOTE
from sgdsheet.expr import Call, compare
from sgdsheet.lessons.data import Data, Source, check_columns, noisy, read_csv
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.tensor import Array, previous, span

STEPS = 200
CURVE = 31  # curves are drawn through so many x
MAP = 23  # the plane is shown for so many x1 and x2
MOST = 200  # points: each has eight columns on the sheets of the steps
MLP_SEED = 233
JUST_MORE = 1.000001  # a point on the edge between two cells of the map belongs to both, however it is rounded
AXIS = "0.0"
NUDGE = 1e-13
BROAD = len(LINES)  # added to a colour it makes dashes, so that two lines of the same numbers are both seen
COLORS = ";;;"  # the number format of a map: its colours say enough, and a click on a cell shows its number
TORCH = {"weight1": "layer1.weight", "bias1": "layer1.bias", "weight2": "layer2.weight[0]", "bias2": "layer2.bias"}
RUNS = {"with_relu": "relu", "without_relu": "none"}
TITLES = {"with_relu": "with ReLU", "without_relu": "without ReLU", "mlp": "the MLP"}
SHEETS = {"with_relu": "with ReLU", "without_relu": "without ReLU", "mlp": "mlp steps"}

# The parameters of a network by name, in torch's shapes but that the one output's dimension is left out:
# weight1 (neurons, inputs), bias1 (neurons), weight2 (neurons), bias2 (1).
Net = Mapping[str, Any]


def build(values: Values, data: Values) -> Book:
    """The workbook: `data`, `by hand`, `two layers are one`, `training` and its two runs, and three of an MLP."""
    check_columns(data, MOST, "relu_net", "a training step has eight cells for each of them")
    book = Book(
        "relu_net",
        "Why a network needs an activation function",
        [
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
        [
            "On 'by hand', choose none for hand_activation: the bend is gone, whatever the weights are.",
            "On 'by hand', choose relu and fit the points: try 1, -0.5, 1 for neuron 1 and -1, 0.5, 1 for neuron 2.",
            "On 'two layers are one', look at difference and relu_difference. Then change any weight on 'by hand'.",
            "On 'training', set show_step to 1, 5, 20, 200 and watch both networks learn. One stays a line.",
            "On 'training', type -2 for both start_bias1: ReLU lets no point through, the gradients of layer 1 are 0, "
            "and the network learns only a constant. Such neurons are called dead.",
            "On 'mlp', choose none for mlp_activation: the map fades to 0 everywhere, and the loss stays at 1.",
            "On 'mlp', set map_from to -5 and map_to to 5 to see how the bends go on.",
        ],
        INPUTS,
        values,
    )
    x, y = _data_sheet(book, data)
    hand, curve_x = _by_hand_sheet(book, x, y)
    _one_line_sheet(book, hand, curve_x)
    _training_sheets(book, x, y, curve_x, data)
    _mlp_sheets(book, data)
    return book


def linear(x: Any, weight: Any, bias: Any) -> Any:
    """torch's linear layer, a row for each point: every input times its weight, added up, and the bias."""
    return tensor.matmul(x, weight.T) + bias


def activated(z: Any, activation: Any) -> Any:
    """What the activation makes of z; `activation` is its name or the cell in which the reader chooses."""
    return tensor.where(tensor.equal(activation, "relu"), tensor.relu(z), z)


def let_through(hidden: Any, activation: Any) -> Any:
    """How much of a gradient the activation lets through: all of it, but nothing where ReLU gave 0."""
    return tensor.where(tensor.equal(activation, "relu"), tensor.where(tensor.greater(hidden, 0), 1, 0), 1)


def predicted(x: Any, net: Net, activation: Any) -> Any:
    """y_hat of each point, in a single formula."""
    hidden = activated(linear(x, net["weight1"], net["bias1"]), activation)
    return linear(hidden, net["weight2"][None], net["bias2"])[:, 0]


def _typed(numbers: Any) -> Array:
    """Cells that the reader may change, in the shape of the numbers."""
    array = np.array(numbers)
    return np.array([Typed(number) for number in array.ravel().tolist()], dtype=object).reshape(array.shape)


def _data_sheet(book: Book, data: Values) -> tuple[Array, Array]:
    sheet = book.sheet("data", "The points to fit", "They lie along a V. Change any number and everything follows.")
    table = sheet.table(sheet.next_row, 1, len(data["data_x"]))
    column = table.column
    x = column("data_x", "data", _typed(data["data_x"]), words="what is known", torch="x", absolute=True)
    y = column("data_y", "data", _typed(data["data_y"]), words="what to predict", torch="y", absolute=True)
    sheet.width(1, 14, 2)
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(table.head, table.first - 1)
    points = Series("points", x, y, points=True, line=False)
    sheet.chart(table.head, 4, scatter("The points to fit", "x", "y", [points], width=18, height=11))
    return x, y


def _by_hand_sheet(book: Book, x: Array, y: Array) -> tuple[Net, Array]:
    sheet = book.sheet(
        "by hand",
        "Two neurons, set by hand",
        "A neuron computes z = weight * x + bias. The activation makes its output, hidden, of that: relu keeps z where "
        "it is above 0 and gives 0 elsewhere, none leaves z as it is.",
        "The second layer makes the prediction: y_hat = hidden_1 * neuron1_out + hidden_2 * neuron2_out + out_bias.",
        "The loss says how wrong it is: the mean of (y_hat - y)^2 over all points. Can you bring it below 0.02?",
    )
    sheet.width(1, 17)
    top = sheet.next_row
    torch = {"out_bias": "layer2.bias[0]"}
    for neuron in (0, 1):
        torch[f"neuron{neuron + 1}_weight"] = f"layer1.weight[{neuron}, 0]"
        torch[f"neuron{neuron + 1}_bias"] = f"layer1.bias[{neuron}]"
        torch[f"neuron{neuron + 1}_out"] = f"layer2.weight[0, {neuron}]"
    activation, *weights = sheet.inputs(top, 1, [spec.name for spec in HAND_INPUTS], torch=torch)
    neurons = np.array(weights[:6], dtype=object).reshape(2, 3)
    net = {"weight1": neurons[:, :1], "bias1": neurons[:, 1], "weight2": neurons[:, 2], "bias2": np.array(weights[6:])}
    loss_row = sheet.next_row

    below = top + 21
    table = sheet.table(below, 1, len(x))
    x_here = table.column("hand_x", "data", x, words="the point's x", torch="x", width=18)
    y_here = table.column("hand_y", "data", y, words="the point's y", torch="y")
    outputs = []
    for neuron in (0, 1):
        n = neuron + 1
        z = linear(x_here[:, None], net["weight1"], net["bias1"])[:, neuron]
        words = f"x * neuron{n}_weight + neuron{n}_bias"
        z = table.column(f"hand_z_{n}", "activation", z, words=words, torch=f"layer1(x)[:, {neuron}]", width=15)
        words, meaning = "relu: 0 where z is below 0", f"F.relu(layer1(x))[:, {neuron}]"
        output = activated(z, activation)
        outputs.append(table.column(f"hand_hidden_{n}", "activation", output, words=words, torch=meaning))
    y_hat = linear(np.stack(outputs, axis=1), net["weight2"][None], net["bias2"])[:, 0]
    words = "hidden_1 * neuron1_out + hidden_2 * neuron2_out + out_bias"
    y_hat = table.column("hand_y_hat", "activation", y_hat, words=words, torch="model(x)", width=20)
    error = table.column("hand_error", "loss", (y_hat - y_here) ** 2, words="(y_hat - y)^2")
    words, meaning = "the mean of hand_error", "F.mse_loss(model(x), y)"
    sheet.value(loss_row, 1, "hand_loss", tensor.mean(error), "loss", words=words, torch=meaning)

    points = Series("points", x_here, y_here, points=True, line=False, color=6)
    curve_x, lines = _hand_curve(sheet, below, x, net, activation)
    sheet.chart(top, 6, scatter("Two neurons and their sum", "x", "y", [points, *lines], width=22, height=10))
    return net, curve_x


def _hand_curve(sheet: Sheet, row: int, x: Array, net: Net, activation: Any) -> tuple[Array, list[Series]]:
    """What each neuron adds and what comes of it, from the smallest x to the largest."""
    table = sheet.table(row, 10, CURVE)
    low, high = tensor.smallest(x), tensor.largest(x)
    curve_x = low + (high - low) * (np.arange(CURVE).astype(object) / (CURVE - 1))
    words = "from the smallest x to the largest"
    curve_x = table.column("curve_x", "data", curve_x, words=words, torch="torch.linspace", width=15, absolute=True)
    hidden = activated(linear(curve_x[:, None], net["weight1"], net["bias1"]), activation)
    parts = []
    for neuron in (0, 1):
        words, meaning = f"hidden_{neuron + 1} * neuron{neuron + 1}_out", f"hidden[:, {neuron}] * layer2.weight"
        part = hidden[:, neuron] * net["weight2"][neuron]
        parts.append(table.column(f"curve_part_{neuron + 1}", "activation", part, words=words, torch=meaning))
    y_hat = parts[0] + parts[1] + net["bias2"]
    y_hat = table.column("curve_y_hat", "activation", y_hat, words="both + out_bias", torch="model(curve_x)")
    return curve_x, [
        Series("what neuron 1 adds", curve_x, parts[0], color=BROAD, width=1.5),
        Series("what neuron 2 adds", curve_x, parts[1], color=BROAD + 2, width=1.5),
        Series("y_hat: both and out_bias", curve_x, y_hat, color=3, width=4),
    ]


def _one_line_sheet(book: Book, net: Net, curve_x: Array) -> None:
    sheet = book.sheet(
        "two layers are one",
        "Why does a second layer without an activation change nothing?",
        "Because its lines add up to one line. Without an activation, y_hat is (x * weight + bias) * out of neuron 1, "
        "+ the same of neuron 2, + out_bias.",
        "Multiply it out: x comes twice, times weight * out of each neuron. Both together are the slope; all the rest "
        "is the intercept. The weights here are those of 'by hand'.",
        "A hundred neurons only make those sums longer, and a third layer makes a line of the line. A bend does not "
        "multiply out: with ReLU the second layer counts.",
    )
    sheet.width(1, 19)
    table = sheet.table(sheet.next_row, 2, 2)
    for offset in (0, 1):
        sheet.write(table.first + offset, 1, f"neuron {offset + 1}", LABEL)
    column = table.column
    weight = column("path_weight", "parameter", net["weight1"][:, 0], words="its weight", torch="layer1.weight[:, 0]")
    bias = column("path_bias", "parameter", net["bias1"], words="its bias", torch="layer1.bias")
    out = column("path_out", "parameter", net["weight2"], words="its share in y_hat", torch="layer2.weight[0]")
    words, meaning = "path_weight * path_out", "layer1.weight[:, 0] * layer2.weight[0]"
    slope = column("path_slope", "parameter", weight * out, words=words, torch=meaning, width=16)
    words, meaning = "path_bias * path_out", "layer1.bias * layer2.weight[0]"
    intercept = column("path_intercept", "parameter", bias * out, words=words, torch=meaning, width=16)
    row = sheet.next_row
    words, meaning = "path_slope of both, added up", "(layer2.weight @ layer1.weight)[0, 0]"
    slope = tensor.sum(slope)
    slope = sheet.value(row, 1, "combined_slope", slope, "parameter", words=words, torch=meaning, absolute=True)
    words, meaning = "path_intercept of both, added up, + out_bias", "layer2(layer1.bias)[0]"
    intercept = tensor.sum(intercept) + net["bias2"][0]
    names = {"words": words, "torch": meaning, "absolute": True}
    intercept = sheet.value(row + 1, 1, "combined_intercept", intercept, "parameter", **names)

    row = sheet.next_row + 20
    table = sheet.table(row, 1, CURVE)
    column = table.column
    x = column("line_x", "data", curve_x, words="x from left to right", torch="x", width=19)
    z = linear(x[:, None], net["weight1"], net["bias1"])
    parts = [
        column(f"layer1_z_{n + 1}", "activation", z[:, n], words="x * weight + bias", torch=f"layer1(x)[:, {n}]")
        for n in (0, 1)
    ]
    z = np.stack(parts, axis=1)
    out = net["weight2"][None]
    words = "z_1 * out 1 + z_2 * out 2 + out_bias"
    two = linear(z, out, net["bias2"])[:, 0]
    two = column("two_layers", "activation", two, words=words, torch="layer2(layer1(x))", width=16)
    words, meaning = "x * combined_slope + combined_intercept", "F.linear(x, slope, intercept)"
    one = column("one_line", "activation", x * slope + intercept, words=words, torch=meaning, width=18)
    words = "two_layers - one_line: nothing but rounding"
    column("difference", "check", two - one, words=words, number_format="0.0E+0;-0.0E+0;0", width=18)
    words, meaning = "the same two layers with ReLU between them", "layer2(F.relu(layer1(x)))"
    bent = linear(tensor.relu(z), out, net["bias2"])[:, 0]
    bent = column("with_relu", "activation", bent, words=words, torch=meaning, width=18)
    column("relu_difference", "check", bent - one, words="with_relu - one_line", width=17)
    series = [
        Series("two layers without ReLU", x, two, color=BROAD + 5, width=5),
        Series("one line", x, one, color=6, width=1.5),
        Series("two layers with ReLU", x, bent, color=3, width=2.5),
    ]
    chart = scatter("Two layers without ReLU lie on one line", "x", "y_hat", series, width=22, height=9)
    sheet.chart(row - 19, 1, chart)
    sheet.repeat_rows(table.head, table.first - 1)


def _training_sheets(book: Book, x: Array, y: Array, curve_x: Array, data: Values) -> None:
    sheet = book.sheet(
        "training",
        "Gradient descent with and without ReLU",
        "Both networks have two neurons and begin with the same weights. A step works out how the loss changes with "
        "each weight (its gradient), and moves each weight a little against that: lr says how far.",
        "Sheets 'with ReLU' and 'without ReLU' have a row for each step. Without ReLU the network can only become a "
        "line: at best it is the best of all lines.",
    )
    sheet.width(1, 22)
    top = sheet.next_row
    lr, show = sheet.inputs(top, 1, ("lr", "show_step"), torch={"lr": "torch.optim.SGD(..., lr=lr)"})
    start = _start(sheet, top, 7, "start", data)
    charts = sheet.next_row
    runs = {
        prefix: _steps_sheet(book, prefix, x[:, None], y, start, activation, lr) for prefix, activation in RUNS.items()
    }
    line = _best_line(sheet, charts + 19, x, y)
    row = sheet.next_row - 1
    for offset, (prefix, run) in enumerate(runs.items()):
        words, meaning = f"the loss {SHEETS[prefix]}, at step {STEPS}", "F.mse_loss(model(x), y)"
        sheet.value(row + offset, 1, f"{prefix}_last", run["loss"][-1], "loss", words=words, torch=meaning)

    x_here, fits = _fits(sheet, curve_x, runs, line, show)
    step = runs["with_relu"]["step"]
    losses = [
        Series("the best line", line["steps"], line["losses"], color=BROAD + 1, width=5),
        Series("without ReLU", step, runs["without_relu"]["loss"], color=0, width=2),
        Series("with ReLU", step, runs["with_relu"]["loss"], color=3, width=3),
    ]
    curves = [
        Series("points", x, y, points=True, line=False, color=6),
        Series("the best line", x_here, fits["line"], color=BROAD + 1, width=5),
        Series("without ReLU", x_here, fits["without_relu"], color=0, width=2),
        Series("with ReLU", x_here, fits["with_relu"], color=3, width=3),
    ]
    layout = {"log": True, "x_range": (0, STEPS)}
    sheet.chart(charts, 1, scatter("The loss of each step", "step", "loss (powers of ten)", losses, **layout))
    sheet.chart(charts, 6, scatter("Both networks at show_step", "x", "y", curves))


def _fits(
    sheet: Sheet, curve_x: Array, runs: dict[str, Any], line: dict[str, Any], show: Any
) -> tuple[Array, dict[str, Array]]:
    """The two networks at the step that the reader chose, their parameters and their curves, and the best line."""
    table = sheet.table(sheet.next_row, 2, len(runs), ("neuron 1", "neuron 2"))
    for offset, prefix in enumerate(runs):
        sheet.write(table.first + offset, 1, SHEETS[prefix], LABEL)
    shown = {}
    for name, meaning in TORCH.items():
        both = np.stack([_at_step(run[name], show).ravel() for run in runs.values()])
        words = "at show_step"
        shown[name] = table.column(f"shown_{name}", "parameter", both, words=words, torch=meaning, absolute=True)

    table = sheet.table(sheet.next_row, 1, CURVE)
    words = "from the smallest x to the largest"
    x_here = table.column("fit_x", "data", curve_x, words=words, torch="x", width=22)
    fits = {}
    for position, (prefix, activation) in enumerate(RUNS.items()):
        net = {name: both[position] for name, both in shown.items()}
        y_hat = predicted(x_here[:, None], {**net, "weight1": net["weight1"][:, None]}, activation)
        words = f"{SHEETS[prefix]}, at show_step"
        fits[prefix] = table.column(f"{prefix}_fit", "activation", y_hat, words=words, torch="model(x)")
    y_hat = x_here * line["slope"] + line["intercept"]
    fits["line"] = table.column("line_fit", "activation", y_hat, words="x * line_slope + line_intercept")
    sheet.repeat_rows(table.head, table.first - 1)
    return x_here, fits


def _start(sheet: Sheet, row: int, column: int, prefix: str, data: Values) -> Net:
    """Where a training starts: cells for all parameters, below their names, a row for each neuron."""
    start = {}
    sheet.write(row, column, "start", LABEL)
    neurons = len(data[f"{prefix}_bias1"])
    for neuron in range(neurons):
        sheet.write(row + 1 + neuron, column, f"neuron {neuron + 1}", LABEL)
    column += 1
    for name, meaning in TORCH.items():
        block = f"{prefix}_{name}"
        cells, words = _typed(data[block]), "where training starts: type here"
        sheet.write(row, column, name, LABEL)
        start[name] = sheet.place(block, cells, "parameter", row + 1, column, words=words, torch=meaning)
        column += cells.size // len(cells)
    sheet.next_row = max(sheet.next_row, row + neurons + 2)
    return start


def _best_line(sheet: Sheet, row: int, x: Array, y: Array) -> dict[str, Any]:
    """The line with the smallest loss of all, by least squares, and its loss as a line across the chart."""

    def put(offset: int, name: str, formula: Any, role: str, words: str, torch: str) -> Any:
        return sheet.value(row + offset, 1, name, formula, role, words=words, torch=torch, absolute=True)

    mean_x = put(0, "mean_x", tensor.mean(x), "check", "of all points", "x.mean()")
    mean_y = put(1, "mean_y", tensor.mean(y), "check", "of all points", "y.mean()")
    slope = tensor.sum((x - mean_x) * (y - mean_y)) / tensor.sum((x - mean_x) ** 2)
    slope = tensor.where(tensor.equal(tensor.smallest(x), tensor.largest(x)), 0, slope)
    words = "sum of (x - mean_x) * (y - mean_y), over the sum of (x - mean_x)^2"
    slope = put(2, "line_slope", slope, "parameter", words, "torch.linalg.lstsq")
    intercept = mean_y - slope * mean_x
    intercept = put(3, "line_intercept", intercept, "parameter", "mean_y - line_slope * mean_x", "torch.linalg.lstsq")
    loss = tensor.mean((slope * x + intercept - y) ** 2)
    loss = put(4, "line_loss", loss, "loss", "no other line has a smaller loss (least squares)", "F.mse_loss(line, y)")
    ends, levels = np.array([1, STEPS], dtype=object), np.array([loss, loss], dtype=object)
    words = "for the chart"
    steps = sheet.headed("level_step", ends, "check", row, 7, words=words, across=True, number_format=WHOLE)
    levels = sheet.headed("level_loss", levels, "loss", row, 10, words=words, across=True)
    return {"slope": slope, "intercept": intercept, "steps": steps, "losses": levels}


def _at_step(column: Array, show: Any) -> Array:
    """A parameter at the step that the reader chose, from columns with a row for each step."""
    chosen = tensor.minimum(show, STEPS)
    found = [tensor.index(each, chosen) for each in column.reshape(STEPS, -1).T]
    return np.array(found, dtype=object).reshape(column.shape[1:])


def _steps_sheet(book: Book, prefix: str, x: Array, y: Array, start: Net, activation: Any, lr: Any) -> dict[str, Any]:
    """One training, a row for each step: parameters, forward pass, loss, backward pass.

    `x` (points, inputs) and `y` (points) stand above the table as rows, so that sums run over ranges.
    """
    sheet = book.sheet(
        SHEETS[prefix],
        f"Training {TITLES[prefix]}, step by step",
        "Read a row from left to right. Forward: the parameters, each neuron's sum z and its output, hidden, at each "
        "point, the prediction y_hat, the loss.",
        "Backward: how the loss changes with y_hat, with layer 2's parameters, with each neuron's z, with layer 1's "
        "parameters. Each gradient is made from the one before it:",
        "this is backpropagation, the chain rule in cells. The next row's parameters are this row's, minus lr times "
        "their gradients.",
    )
    (points, inputs), neurons = x.shape, len(start["bias1"])
    row, left = sheet.next_row, 2 + sum(each.size for each in start.values())
    labels = ["x"] if inputs == 1 else [f"x{number + 1}" for number in range(inputs)]
    for offset, label in enumerate([*labels, "y"]):
        sheet.write(row + offset, left - 1, label, LABEL)
    words = "all points, side by side"
    x = sheet.place(f"{prefix}_x", x.T, "data", row, left, words=words, torch="x.T", absolute=True)
    y = sheet.place(f"{prefix}_y", y, "data", row + inputs, left, words=words, torch="y", across=True, absolute=True)

    heads = [f"neuron {number + 1}" for number in range(neurons)]
    names = {
        "weight1": heads if inputs == 1 else [f"{neuron}, {label}" for neuron in heads for label in labels],
        "bias1": heads,
        "weight2": heads,
        "bias2": ["y_hat"],
    }
    table = sheet.table(row + inputs + 2, 1, STEPS, [f"point {number + 1}" for number in range(points)])

    def column(name: str, role: str, array: Any, words: str, torch: str, parts: Sequence[str] = ()) -> Array:
        block = f"{prefix}_{name}"
        return table.column(block, role, array, words=words, torch=torch, title=name, parts=parts, width=9)

    step = table.column(f"{prefix}_step", "check", words="counts", title="step", number_format=WHOLE, width=8)
    table.fill(f"{prefix}_step", previous(step + 1, 1), WHOLE)
    net = {}
    for name, parts in names.items():
        words, layout = "from the row above", {"title": name, "parts": parts, "width": 9}
        net[name] = table.columns(f"{prefix}_{name}", "parameter", words=words, torch=TORCH[name], **layout)
    weight1 = net["weight1"].reshape(STEPS, neurons, inputs)
    weight2 = net["weight2"][:, :, None]

    hidden = []
    for neuron, head in enumerate(heads):
        z = sum(weight1[:, neuron, number, None] * x[number] for number in range(inputs))
        z = z + net["bias1"][:, neuron, None]
        z = column(f"z_{neuron + 1}", "activation", z, f"{head}: weight1 * x + bias1", f"layer1(x)[:, {neuron}]")
        words = "z" if activation == "none" else "z where it is above 0, else 0"
        name, meaning = f"hidden_{neuron + 1}", "z" if activation == "none" else f"F.relu(z)[:, {neuron}]"
        hidden.append(column(name, "activation", activated(z, activation), f"{head}: {words}", meaning))
    y_hat = sum(weight2[:, neuron] * hidden[neuron] for neuron in range(neurons)) + net["bias2"]
    y_hat = column("y_hat", "activation", y_hat, "weight2 * hidden, added up, + bias2", "model(x)")
    loss = [tensor.mean((row - y) ** 2) for row in y_hat]
    loss = column("loss", "loss", loss, "mean of (y_hat - y)^2", "F.mse_loss(model(x), y)")

    grads = {}

    def gradient(name: str, arrays: Sequence[Array], words: str) -> None:
        sums = np.array([[tensor.sum(row) for row in array] for array in arrays], dtype=object).T
        grads[name] = column(f"grad_{name}", "gradient", sums, words, f"{TORCH[name]}.grad", names[name])

    error = 2 * (y_hat - y) / points
    grad_y_hat = column("grad_y_hat", "gradient", error, f"2 * (y_hat - y) / {points}", "y_hat.grad")
    gradient("weight2", [grad_y_hat * output for output in hidden], "sum of grad_y_hat * hidden")
    gradient("bias2", [grad_y_hat], "sum of grad_y_hat")
    grad_z = []
    for neuron, output in enumerate(hidden):
        grad = grad_y_hat * weight2[:, neuron] * let_through(output, activation)
        words = "grad_y_hat * weight2" + ("" if activation == "none" else "; 0 where relu gave 0")
        grad_z.append(column(f"grad_z_{neuron + 1}", "gradient", grad, words, f"z.grad[:, {neuron}]"))
    gradient("weight1", [grad * each for grad in grad_z for each in x], "sum of grad_z * x")
    gradient("bias1", grad_z, "sum of grad_z")
    for name, now in net.items():
        table.fill(f"{prefix}_{name}", previous(now - lr * grads[name], np.ravel(start[name])))
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {"step": step, "loss": loss, **{name: each.reshape(STEPS, *start[name].shape) for name, each in net.items()}}


def _mlp_sheets(book: Book, data: Values) -> None:
    sheet = book.sheet(
        "mlp",
        "Four neurons bend a plane",
        "Two inputs, x1 and x2. Points in opposite corners are alike, so no plane comes near all four. The puzzle is "
        "called XOR; a network of one layer cannot solve it.",
        "The first map shows what the network predicts at each place: orange is above 0, blue below, and dots show "
        "the points. The maps below show each neuron's output:",
        "0 on one side of a line, and a slope on the other. Added up, each times its weight2, they are the first map.",
    )
    sheet.width(1, 17)
    sheet.width(2, 10, 6)
    sheet.width(7, 3)
    sheet.width(8, 7)
    left = 9
    sheet.width(left, 2.2, left + 4 * (MAP + 1))
    top = sheet.next_row
    names = [spec.name for spec in MLP_INPUTS]
    lr, activation, show, low, high = sheet.inputs(top, 1, names, torch={"mlp_lr": "torch.optim.SGD(..., lr=lr)"})
    half, words = (high - low) / (2 * (MAP - 1)) * JUST_MORE, "half of a cell of the map"
    half = sheet.value(sheet.next_row - 1, 1, "map_half", half, "check", words=words, absolute=True)
    top = sheet.next_row
    for offset, label in enumerate(("x1", "x2", "y")):
        sheet.write(top, 2 + offset, label, LABEL)
    for offset in range(len(data["corner_y"])):
        sheet.write(top + 1 + offset, 1, f"point {offset + 1}", LABEL)
    words = "the points: type here"
    x = sheet.place("corner_x", _typed(data["corner_x"]), "data", top + 1, 2, words=words, torch="x", absolute=True)
    y = sheet.place("corner_y", _typed(data["corner_y"]), "data", top + 1, 4, words="what to predict", torch="y")
    start = _start(sheet, top + len(x) + 2, 1, "mlp_start", data)

    pass_sheet = book.sheet(
        "mlp step",
        "One step of the MLP, forward and backward",
        "The step is the one chosen by mlp_show_step on 'mlp'. A row is a point, a column a neuron, where both occur.",
    )
    run = _steps_sheet(book, "mlp", x, y, start, activation, lr)
    net = _mlp_step_sheet(pass_sheet, x, y, run, activation, show, lr)
    _mlp_maps(sheet, top, left, x, net, activation, (low, high, half))
    loss = Series("loss", run["step"], run["loss"], color=3, width=2.5)
    chart = scatter("The loss of each step", "step", "loss", [loss], width=17, height=11, x_range=(0, STEPS))
    sheet.chart(top, left + MAP + 2, chart)


def _mlp_step_sheet(
    sheet: Sheet, x: Array, y: Array, run: dict[str, Any], activation: Any, show: Any, lr: Any
) -> dict[str, Array]:
    """The chosen step, from its parameters to the next step's, in matrices."""
    sheet.width(1, 9, 40)

    def put(row: int, column: int, block: str, role: str, array: Any, words: str, torch: str) -> Array:
        """A matrix, or a column, below its heading; it takes two columns at least."""
        array = np.asarray(array, dtype=object)
        room = max(3, array.shape[-1] if array.ndim > 1 else 1)
        layout = {"title": block, "room": room, "absolute": role == "parameter"}
        made = sheet.headed(f"step_{block}", array, role, row, column, words=words, torch=torch, **layout)
        if made.size > 1:
            sheet.heat_map(made[:, None] if made.ndim == 1 else made, DIVERGING)
        return made

    row = sheet.next_row
    sheet.write(row, 1, "1. The parameters as they are when the step begins", HEADING)
    net = {name: _at_step(run[name], show) for name in TORCH}
    words = {"weight1": "a row a neuron", "bias1": "one a neuron", "weight2": "one a neuron", "bias2": "of y_hat"}
    columns = {"weight1": 1, "bias1": 5, "weight2": 9, "bias2": 13}
    for name, column in columns.items():
        net[name] = put(row + 2, column, name, "parameter", net[name], words[name], TORCH[name])
    row += 10
    sheet.write(row, 1, "2. Forward: from the points to the loss", HEADING)
    x = put(row + 2, 1, "x", "data", x, "a row a point", "x")
    y = put(row + 2, 5, "y", "data", y, "what to predict", "y")
    z = linear(x, net["weight1"], net["bias1"])
    z = put(row + 2, 9, "z", "activation", z, "x * weight1, added up, + bias1", "z = layer1(x)")
    hidden = activated(z, activation)
    hidden = put(row + 2, 14, "hidden", "activation", hidden, "0 where relu meets z below 0", "hidden = F.relu(z)")
    y_hat = linear(hidden, net["weight2"][None], net["bias2"])[:, 0]
    y_hat = put(
        row + 2, 19, "y_hat", "activation", y_hat, "hidden * weight2, added up, + bias2", "y_hat = layer2(hidden)"
    )
    loss = tensor.mean((y_hat - y) ** 2)
    put(row + 2, 23, "loss", "loss", [loss], "mean of (y_hat - y)^2", "loss = F.mse_loss(y_hat, y)")
    row += 10
    sheet.write(row, 1, "3. Backward: how the loss changes with each number, from the last to the first", HEADING)
    grad = 2 * (y_hat - y) / len(y)
    grad_y_hat = put(row + 2, 1, "grad_y_hat", "gradient", grad, f"2 * (y_hat - y) / {len(y)}", "y_hat.grad")
    grad = np.array([tensor.sum(grad_y_hat * output) for output in hidden.T], dtype=object)
    words = "sum of grad_y_hat * hidden"
    grads = {"weight2": put(row + 2, 5, "grad_weight2", "gradient", grad, words, "layer2.weight.grad[0]")}
    grad = [tensor.sum(grad_y_hat)]
    grads["bias2"] = put(row + 2, 9, "grad_bias2", "gradient", grad, "sum of grad_y_hat", "layer2.bias.grad")
    grad = grad_y_hat[:, None] * net["weight2"]
    grad_hidden = put(row + 2, 13, "grad_hidden", "gradient", grad, "grad_y_hat * weight2", "hidden.grad")
    grad = grad_hidden * let_through(hidden, activation)
    grad_z = put(row + 2, 18, "grad_z", "gradient", grad, "grad_hidden; 0 where relu gave 0", "z.grad")
    grad = tensor.matmul(grad_z.T, x)
    grads["weight1"] = put(row + 2, 23, "grad_weight1", "gradient", grad, "sum of grad_z * x", "layer1.weight.grad")
    grad = [tensor.sum(column) for column in grad_z.T]
    grads["bias1"] = put(row + 2, 27, "grad_bias1", "gradient", grad, "sum of grad_z", "layer1.bias.grad")
    row += 10
    sheet.write(row, 1, "4. The step: each parameter minus mlp_lr times its gradient", HEADING)
    for name, column in columns.items():
        new, words = net[name] - lr * grads[name], f"{name} - mlp_lr * grad_{name}"
        put(row + 2, column, f"new_{name}", "parameter", new, words, f"{TORCH[name]}, after optimizer.step()")
    return net


def _mlp_maps(sheet: Sheet, top: int, left: int, x: Array, net: Net, activation: Any, limits: tuple[Any, ...]) -> None:
    """What the network and its neurons say over the plane; dots show the points."""
    low, high, half = limits
    share = np.arange(MAP).astype(object) / (MAP - 1)
    layout = {"number_format": AXIS, "absolute": True}
    sheet.write(top, left, "prediction", HEADING)
    words = "y_hat; x1 grows to the right, x2 upwards"
    sheet.write(top + 1, left, f"{MAP} x {MAP} · {words}", NOTE)
    along = low + (high - low) * share
    along = sheet.place("map_x1", along, "data", top + 2, left, words="each column's x1", across=True, **layout)
    down = high - (high - low) * share
    down = sheet.place("map_x2", down, "data", top + 3, left - 1, words="each row's x2", **layout)

    below = top + MAP + 5
    planes = np.stack([np.broadcast_to(along, (MAP, MAP)), np.broadcast_to(down[:, None], (MAP, MAP))], axis=-1)
    hidden = activated(linear(planes.reshape(-1, 2), net["weight1"], net["bias1"]), activation)
    neurons = hidden.shape[1]
    for neuron in range(neurons):
        sheet.write(below, left + neuron * (MAP + 1), f"hidden, neuron {neuron + 1}", HEADING)
    words = "the activation of x1 * weight1 + x2 * weight1 + bias1, each neuron over the same plane"
    sheet.write(below + 1, left, f"{neurons} x {MAP} x {MAP} · {words}", NOTE)
    words, meaning = "each neuron's output over the plane", "F.relu(layer1(plane))"
    maps = hidden.T.reshape(neurons, MAP, MAP)
    layout = {"number_format": COLORS, "torch": meaning}
    maps = sheet.place("neuron_maps", maps, "activation", below + 2, left, words=words, **layout)
    y_hat = linear(maps.reshape(neurons, -1).T, net["weight2"][None], net["bias2"]).reshape(MAP, MAP)
    layout = {"number_format": COLORS, "torch": "model(plane)"}
    words = "the neurons' maps, each times its weight2, added up, + bias2"
    y_hat = sheet.place("prediction", y_hat, "activation", top + 3, left, words=words, **layout)
    for each in (y_hat, maps):
        sheet.heat_map(each, replace(DIVERGING, reach=1.0))

    inside = [[_inside(x, (across, half), (height, half)) for across in along] for height in down]
    words = "how many points each cell of the map holds"
    counts = sheet.headed("map_points", inside, "check", below + MAP + 3, left, words=words, number_format="0;-0;")
    sheet.dot(y_hat, counts)


def _inside(x: Array, *cell: tuple[Any, Any]) -> Call:
    """How many points lie in a cell of the map, given by the centre and half the width of each of its sides."""
    product = None
    for column, (centre, half) in zip(x.T, cell, strict=True):
        inside = compare(">=", span(column), centre - half) * compare("<=", span(column), centre + half)
        product = inside if product is None else product * inside
    return Call("SUMPRODUCT", product)


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch

    given = {
        name: torch.tensor(value, dtype=torch.float64) for name, value in values.items() if not isinstance(value, str)
    }
    x = given["data_x"]
    curve_x = x.min() + (x.max() - x.min()) * (torch.arange(CURVE, dtype=torch.float64) / (CURVE - 1))
    blocks = dict(given)
    blocks |= _reference_hand(given, curve_x, values["hand_activation"] == "relu")
    blocks |= _reference_training(given, curve_x)
    blocks |= _reference_mlp(given, values["mlp_activation"] == "relu")
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _forward(x: Any, net: Net, relu: bool) -> tuple[Any, Any, Any]:
    """z, hidden and y_hat of all points by torch's layers.

    A cell has no infinity, only an error value. ReLU would turn minus infinity into 0, so 0 * z is added: it is 0, but
    no number where z is none.
    """
    from torch.nn import functional as F  # noqa: N812

    z = F.linear(x, net["weight1"], net["bias1"])
    hidden = F.relu(z) + 0 * z if relu else z * 1
    return z, hidden, F.linear(hidden, net["weight2"][None], net["bias2"])[:, 0]


def _descent(prefix: str, x: Any, y: Any, start: Net, relu: bool, lr: float) -> dict[str, Any]:
    """A training by torch.optim.SGD, with the gradients that autograd gives for all that lies between."""
    import torch
    from torch.nn.functional import mse_loss

    net = {name: start[name].clone().requires_grad_() for name in TORCH}
    optimizer = torch.optim.SGD(net.values(), lr=lr)
    columns: dict[str, list[Any]] = {}
    for _ in range(STEPS):
        z, hidden, y_hat = _forward(x, net, relu)
        for each in (z, hidden, y_hat):
            each.retain_grad()
        loss = mse_loss(y_hat, y)
        optimizer.zero_grad()
        loss.backward()
        row = {"z": z, "hidden": hidden, "y_hat": y_hat, "loss": loss, **net}
        row |= {f"grad_{name}": each.grad for name, each in row.items() if name != "loss"}
        for name, each in row.items():
            columns.setdefault(name, []).append(each.detach().clone())
        optimizer.step()
        for name in TORCH:
            columns.setdefault(f"new_{name}", []).append(net[name].detach().clone())
    return {name: torch.stack(rows) for name, rows in columns.items()}


def _reference_steps(prefix: str, x: Any, y: Any, run: dict[str, Any]) -> dict[str, Any]:
    """The blocks of a sheet of steps."""
    import torch

    blocks = {"x": x.T, "y": y, "step": torch.arange(1, STEPS + 1)}
    for name in (*TORCH, "y_hat", "loss"):
        blocks[name] = run[name]
    for name in (*TORCH, "y_hat"):
        blocks[f"grad_{name}"] = run[f"grad_{name}"]
    for neuron in range(run["hidden"].shape[2]):
        blocks[f"z_{neuron + 1}"] = run["z"][:, :, neuron]
        blocks[f"hidden_{neuron + 1}"] = run["hidden"][:, :, neuron]
        blocks[f"grad_z_{neuron + 1}"] = run["grad_z"][:, :, neuron]
    for name in ("weight1", "grad_weight1"):
        blocks[name] = blocks[name].flatten(1)
    return {f"{prefix}_{name}": block for name, block in blocks.items()}


def _reference_hand(given: dict[str, Any], curve_x: Any, relu: bool) -> dict[str, Any]:
    """The sheets `by hand` and `two layers are one`."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    x, y = given["data_x"], given["data_y"]
    weight, bias, out = (
        torch.stack([given[f"neuron{n}_{each}"] for n in (1, 2)]) for each in ("weight", "bias", "out")
    )
    net = {"weight1": weight[:, None], "bias1": bias, "weight2": out, "bias2": given["out_bias"][None]}
    z, hidden, y_hat = _forward(x[:, None], net, relu)
    _, curve_hidden, curve_y_hat = _forward(curve_x[:, None], net, relu)
    blocks = {"hand_x": x, "hand_y": y, "curve_x": curve_x, "hand_y_hat": y_hat, "curve_y_hat": curve_y_hat}
    blocks |= {"hand_error": F.mse_loss(y_hat, y, reduction="none"), "hand_loss": F.mse_loss(y_hat, y)}

    line_z, _, two_layers = _forward(curve_x[:, None], net, relu=False)
    _, _, with_relu = _forward(curve_x[:, None], net, relu=True)
    slope, intercept = (out @ net["weight1"])[0], F.linear(bias, out[None], net["bias2"])[0]
    one_line = F.linear(curve_x[:, None], slope[None, None], intercept[None])[:, 0]
    blocks |= {"path_weight": weight, "path_bias": bias, "path_out": out}
    blocks |= {"path_slope": weight * out, "path_intercept": bias * out}
    blocks |= {"combined_slope": slope, "combined_intercept": intercept, "line_x": curve_x}
    blocks |= {"two_layers": two_layers, "one_line": one_line, "with_relu": with_relu}
    blocks |= {"difference": two_layers - one_line, "relu_difference": with_relu - one_line}
    for neuron in (0, 1):
        n = neuron + 1
        blocks |= {f"hand_z_{n}": z[:, neuron], f"hand_hidden_{n}": hidden[:, neuron]}
        blocks |= {f"layer1_z_{n}": line_z[:, neuron], f"curve_part_{n}": curve_hidden[:, neuron] * out[neuron]}
    return blocks


def _reference_training(given: dict[str, Any], curve_x: Any) -> dict[str, Any]:
    """The sheets `training`, `with ReLU` and `without ReLU`."""
    import torch
    from torch.nn.functional import mse_loss

    x, y = given["data_x"], given["data_y"]
    start = {name: given[f"start_{name}"] for name in TORCH}
    shown = min(int(given["show_step"]), STEPS) - 1
    blocks: dict[str, Any] = {"fit_x": curve_x}
    nets = []
    for prefix, activation in RUNS.items():
        relu = activation == "relu"
        run = _descent(prefix, x[:, None], y, start, relu, float(given["lr"]))
        blocks |= _reference_steps(prefix, x[:, None], y, run)
        nets.append({name: run[name][shown] for name in TORCH})
        blocks |= {f"{prefix}_last": run["loss"][-1], f"{prefix}_fit": _forward(curve_x[:, None], nets[-1], relu)[2]}
    blocks |= {f"shown_{name}": torch.stack([net[name].flatten() for net in nets]) for name in TORCH}

    middle = x - x.mean()
    if x.min() == x.max():  # all lines through the points' mean fit alike; the sheet takes the level one
        slope = torch.zeros(())
    else:
        slope = torch.linalg.lstsq(middle[:, None], (y - y.mean())[:, None]).solution[0, 0]
    intercept = y.mean() - slope * x.mean()
    loss = mse_loss(slope * x + intercept, y)
    blocks |= {"mean_x": x.mean(), "mean_y": y.mean()}
    blocks |= {
        "line_slope": slope,
        "line_intercept": intercept,
        "line_loss": loss,
        "line_fit": slope * curve_x + intercept,
    }
    return blocks | {"level_step": torch.tensor([1, STEPS]), "level_loss": loss.expand(2)}


def _reference_mlp(given: dict[str, Any], relu: bool) -> dict[str, Any]:
    """The sheets `mlp`, `mlp step` and `mlp steps`."""
    import torch

    x, y = given["corner_x"], given["corner_y"]
    start = {name: given[f"mlp_start_{name}"] for name in TORCH}
    run = _descent("mlp", x, y, start, relu, float(given["mlp_lr"]))
    blocks = _reference_steps("mlp", x, y, run)
    shown = min(int(given["mlp_show_step"]), STEPS) - 1
    blocks |= {f"step_{name}": column[shown] for name, column in run.items()}
    blocks |= {"step_x": x, "step_y": y, "step_loss": run["loss"][shown][None]}

    low, high = given["map_from"], given["map_to"]
    share = torch.arange(MAP, dtype=torch.float64) / (MAP - 1)
    along, down, half = (
        low + (high - low) * share,
        high - (high - low) * share,
        (high - low) / (2 * (MAP - 1)) * JUST_MORE,
    )
    plane = torch.stack([along.expand(MAP, MAP), down[:, None].expand(MAP, MAP)], dim=-1).view(-1, 2)
    _, hidden, y_hat = _forward(plane, {name: run[name][shown] for name in TORCH}, relu)
    inside = [
        ((each >= axis[:, None] - half) & (each <= axis[:, None] + half)).double()
        for each, axis in ((x[:, 0], along), (x[:, 1], down))
    ]
    blocks |= {"map_x1": along, "map_x2": down, "map_half": half, "prediction": y_hat.view(MAP, MAP)}
    return blocks | {"neuron_maps": hidden.T.reshape(-1, MAP, MAP), "map_points": inside[1] @ inside[0].T}


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How large the numbers are whose rounding a block shows.

    A difference of two predictions is as exact as what these add up. A training with a learning rate that is too high
    enlarges each rounding from step to step: how much, a second run tells that begins a rounding's width away.
    """
    nudged = {
        name: value if isinstance(value, str) else np.multiply(value, 1 + NUDGE) for name, value in values.items()
    }
    starts = {name: nudged[name] for name in (*(each for each in DIMS if "start" in each), "lr", "mlp_lr")}
    found: dict[str, np.ndarray] = {}
    for name, other in reference({**values, **starts}).items():
        apart = abs(other - blocks[name])
        found[name] = np.full(apart.shape, apart[np.isfinite(apart)].max(initial=0) / NUDGE)
    terms = abs(blocks["line_x"]) * abs(blocks["path_slope"]).sum() + abs(blocks["path_intercept"]).sum()
    terms += abs(values["out_bias"])
    return found | {"difference": terms, "relu_difference": terms}


def load(source: Source) -> dict[str, Any]:
    """The points, a CSV's or those along a V, and where the trainings start."""
    generator = random.Random(3)
    x = sorted(round(generator.uniform(-2, 2), 2) for _ in range(12))
    points = noisy(lambda each: abs(each - 0.5), x, generator, (-0.2, 0.2), 2)
    given = read_csv(source.csv, list(points)) if source.csv else points
    generator = random.Random(MLP_SEED)
    weight1 = [[round(generator.uniform(-0.7, 0.7), 2) for _ in range(2)] for _ in range(4)]
    weight2 = [round(generator.uniform(-0.5, 0.5), 2) for _ in range(4)]
    return {
        **given,
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
    Input("map_from", -1.1, "where the maps begin, for x1 and x2"),
    Input("map_to", 1.1, "where the maps end, for x1 and x2"),
)
INPUTS = (
    *HAND_INPUTS,
    Input("lr", 0.1, "learning rate: how far to step against the gradient", minimum=0),
    Input("show_step", STEPS, f"the step whose curves are drawn, from 1 to {STEPS}", minimum=1, whole=True),
    *MLP_INPUTS,
)
DIMS = {
    "data_x": 1,
    "data_y": 1,
    "start_weight1": 2,
    "start_bias1": 1,
    "start_weight2": 1,
    "start_bias2": 1,
    "corner_x": 2,
    "corner_y": 1,
    "mlp_start_weight1": 2,
    "mlp_start_bias1": 1,
    "mlp_start_weight2": 1,
    "mlp_start_bias2": 1,
}
RELU_NET = Lesson(
    "relu_net",
    "two neurons with and without ReLU, by hand and trained, and a small network that bends a plane",
    INPUTS,
    Data(DIMS, load, ("csv",)),
    build=build,
    reference=reference,
    sizes=sizes,
)
