"""Two neurons with and without ReLU on points that no line fits, then a small network, forward and backward."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import HEADING, LABEL, LINES, NOTE
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data, Source, check_columns, noisy, read_csv
from sgdsheet.lessons.flow import Named, activation, check, columns, counter, data, gradient, loss, parameter, place
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.surface import axis, reference_axis, reference_visits, visits
from sgdsheet.tensor import Array, equal, greater, largest, mean, minimum, previous, smallest, where

STEPS = 200
CURVE = 31  # curves are drawn through so many x
MAP = 23  # the plane is shown for so many x1 and x2
MOST = 200  # points: each has eight columns on the sheets of the steps
MLP_SEED = 233
JUST_MORE = 1.000001  # a point on the edge between two cells of the map belongs to both, however it is rounded
AXIS = "0.0"
ROUNDING = "0.0E+0;-0.0E+0;0"
BROAD = len(LINES)  # added to a colour it makes dashes, so that two lines of the same numbers are both seen
COLORS = ";;;"  # the number format of a map: its colours say enough, and a click on a cell shows its number
MSE = "F.mse_loss(model(x), y)"
SGD = "torch.optim.SGD(..., lr=lr)"
ALONG = "from the smallest x to the largest"
TORCH = {"weight1": "layer1.weight", "bias1": "layer1.bias", "weight2": "layer2.weight[0]", "bias2": "layer2.bias"}
RUNS = {"with_relu": "relu", "without_relu": "none"}
TITLES = {"with_relu": "with ReLU", "without_relu": "without ReLU", "mlp": "the MLP"}
SHEETS = TITLES | {"mlp": "mlp steps"}

# The parameters of a network by name, in torch's shapes but that the one output's dimension is left out:
# weight1 (neurons, inputs), bias1 (neurons), weight2 (neurons), bias2 (1).
Net = Mapping[str, Any]


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `data`, `by hand`, `two layers are one`, `training` and its two runs, and three of an MLP."""
    check_columns(given, MOST, "relu_net", "a training step has eight cells for each of them")
    note = "They lie along a V. Change any number and everything follows."
    x, y = flow.points_sheet(book, given["data_x"], given["data_y"], note, absolute=True)
    net, curve_x = by_hand_sheet(book, x, y)
    one_line_sheet(book, net, curve_x)
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


def by_hand_sheet(book: Book, x: Array, y: Array) -> tuple[Net, Array]:
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
    for n in (1, 2):
        torch |= {f"neuron{n}_weight": f"layer1.weight[{n - 1}, 0]", f"neuron{n}_bias": f"layer1.bias[{n - 1}]"}
        torch[f"neuron{n}_out"] = f"layer2.weight[0, {n - 1}]"
    cell = flow.inputs(sheet, *(spec.name for spec in HAND_INPUTS), torch=torch)
    weight, bias, out = (np.array([cell[f"neuron{n}_{part}"] for n in (1, 2)]) for part in ("weight", "bias", "out"))
    net = {"weight1": weight[:, None], "bias1": bias, "weight2": out, "bias2": np.array([cell.out_bias])}
    loss_row, chosen = sheet.next_row, cell.hand_activation

    def neuron(n: int) -> dict[str, Any]:
        words, relu = f"x * neuron{n}_weight + neuron{n}_bias", "relu: 0 where z is below 0"
        z = activation(lambda t: layer1(t.x[:, None], net)[:, n - 1], words, f"layer1(x)[:, {n - 1}]")
        hidden = activation(lambda t: activated(t[f"z_{n}"], chosen), relu, f"F.relu(layer1(x))[:, {n - 1}]")
        return {f"z_{n}": z, f"hidden_{n}": hidden}

    hand = columns(
        sheet.table(top + 21, 1, len(x)),
        "hand_",
        x=data(x, "the point's x", "x", width=18),
        y=data(y, "the point's y", "y"),
        **neuron(1),
        **neuron(2),
        y_hat=activation(
            lambda t: layer2(np.stack([t.hidden_1, t.hidden_2], axis=1), net),
            "hidden_1 * neuron1_out + hidden_2 * neuron2_out + out_bias",
            "model(x)",
            width=20,
        ),
        error=loss(lambda t: (t.y_hat - t.y) ** 2, "(y_hat - y)^2"),
    )
    flow.values(sheet, row=loss_row, hand_loss=loss(mean(hand.error), "the mean of hand_error", MSE))

    def part(n: int) -> Any:
        return lambda t: activated(layer1(t.x[:, None], net), chosen)[:, n - 1] * out[n - 1]

    curve = columns(
        sheet.table(top + 21, 10, CURVE),
        "curve_",
        x=data(axis(smallest(x), largest(x), CURVE)[0], ALONG, "torch.linspace", width=15, absolute=True),
        part_1=activation(part(1), "hidden_1 * neuron1_out", "hidden[:, 0] * layer2.weight"),
        part_2=activation(part(2), "hidden_2 * neuron2_out", "hidden[:, 1] * layer2.weight"),
        y_hat=activation(lambda t: t.part_1 + t.part_2 + cell.out_bias, "both + out_bias", "model(curve_x)"),
    )
    lines = [
        Series("points", hand.x, hand.y, points=True, line=False, color=6),
        Series("what neuron 1 adds", curve.x, curve.part_1, color=BROAD, width=1.5),
        Series("what neuron 2 adds", curve.x, curve.part_2, color=BROAD + 2, width=1.5),
        Series("y_hat: both and out_bias", curve.x, curve.y_hat, color=3, width=4),
    ]
    sheet.chart(top, 6, scatter("Two neurons and their sum", "x", "y", lines, width=22, height=10))
    return net, curve.x


def one_line_sheet(book: Book, net: Net, curve_x: Array) -> None:
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
    flow.labels(sheet, table.first, 1, ("neuron 1", "neuron 2"))
    weight1 = "layer1.weight[:, 0]"
    path = columns(
        table,
        "path_",
        weight=parameter(net["weight1"][:, 0], "its weight", weight1),
        bias=parameter(net["bias1"], "its bias", "layer1.bias"),
        out=parameter(net["weight2"], "its share in y_hat", "layer2.weight[0]"),
        slope=parameter(lambda t: t.weight * t.out, "path_weight * path_out", f"{weight1} * layer2.weight[0]"),
        intercept=parameter(lambda t: t.bias * t.out, "path_bias * path_out", "layer1.bias * layer2.weight[0]"),
    )
    words, torch = "path_slope of both, added up", "(layer2.weight @ layer1.weight)[0, 0]"
    line = flow.values(
        sheet,
        "combined_",
        slope=parameter(tensor.sum(path.slope), words, torch, absolute=True),
        intercept=parameter(
            tensor.sum(path.intercept) + net["bias2"][0],
            "path_intercept of both, added up, + out_bias",
            "layer2(layer1.bias)[0]",
            absolute=True,
        ),
    )

    def z(n: int) -> Any:
        torch = f"layer1(x)[:, {n - 1}]"
        return activation(lambda t: layer1(t.line_x[:, None], net)[:, n - 1], "x * weight + bias", torch)

    def y_hat(t: Named, chosen: str) -> Any:
        return layer2(activated(np.stack([t.layer1_z_1, t.layer1_z_2], axis=1), chosen), net)

    row = sheet.next_row + 20
    t = columns(
        sheet.table(row, 1, CURVE),
        line_x=data(curve_x, "x from left to right", "x", width=19),
        layer1_z_1=z(1),
        layer1_z_2=z(2),
        two_layers=activation(lambda t: y_hat(t, "none"), "z_1 * out 1 + z_2 * out 2 + out_bias", "layer2(layer1(x))"),
        one_line=activation(
            lambda t: t.line_x * line.slope + line.intercept,
            "x * combined_slope + combined_intercept",
            "F.linear(x, slope, intercept)",
        ),
        difference=check(
            lambda t: t.two_layers - t.one_line, "two_layers - one_line: nothing but rounding", digits=ROUNDING
        ),
        with_relu=activation(
            lambda t: y_hat(t, "relu"), "the same two layers with ReLU between them", "layer2(F.relu(layer1(x)))"
        ),
        relu_difference=check(lambda t: t.with_relu - t.one_line, "with_relu - one_line", width=17),
    )
    sheet.repeat_rows(row, row + 2)
    lines = [
        Series("two layers without ReLU", t.line_x, t.two_layers, color=BROAD + 5, width=5),
        Series("one line", t.line_x, t.one_line, color=6, width=1.5),
        Series("two layers with ReLU", t.line_x, t.with_relu, color=3, width=2.5),
    ]
    title = "Two layers without ReLU lie on one line"
    sheet.chart(row - 19, 1, scatter(title, "x", "y_hat", lines, width=22, height=9))


def training_sheets(book: Book, x: Array, y: Array, curve_x: Array, given: Mapping[str, Any]) -> None:
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
    cell = flow.inputs(sheet, "lr", "show_step", torch={"lr": SGD})
    start = start_cells(sheet, top, 7, "start", given)
    below = sheet.next_row
    runs = {name: steps_sheet(book, name, x[:, None], y, start, chosen, cell.lr) for name, chosen in RUNS.items()}
    line, losses = best_line(sheet, below + 19, x, y)
    last: dict[str, Any] = {
        f"{name}_last": loss(t.loss[-1], f"the loss {TITLES[name]}, at step {STEPS}", MSE) for name, t in runs.items()
    }
    flow.values(sheet, row=sheet.next_row - 1, **last)
    fit = fits(sheet, curve_x, runs, line, minimum(cell.show_step, STEPS))
    curves = [
        Series("points", x, y, points=True, line=False, color=6),
        Series("the best line", fit.fit_x, fit.line_fit, color=BROAD + 1, width=5),
    ]
    for name, color, width in (("without_relu", 0, 2), ("with_relu", 3, 3)):
        losses.append(Series(TITLES[name], runs["with_relu"].step, runs[name].loss, color=color, width=width))
        curves.append(Series(TITLES[name], fit.fit_x, fit[f"{name}_fit"], color=color, width=width))
    title, y_title = "The loss of each step", "loss (powers of ten)"
    sheet.chart(below, 1, scatter(title, "step", y_title, losses, log=True, x_range=(0, STEPS)))
    sheet.chart(below, 6, scatter("Both networks at show_step", "x", "y", curves))


def start_cells(sheet: Sheet, row: int, left: int, prefix: str, given: Mapping[str, Any]) -> Net:
    """Where a training starts: cells for all parameters, below their names, a row for each neuron."""
    neurons = len(given[f"{prefix}_bias1"])
    flow.labels(sheet, row, left, ["start", *(f"neuron {n + 1}" for n in range(neurons))])
    start, left = {}, left + 1
    for name, torch in TORCH.items():
        cells = typed(given[f"{prefix}_{name}"])
        sheet.write(row, left, name, LABEL)
        cells = parameter(cells, "where training starts: type here", torch)
        start[name] = place(sheet, row + 1, left, f"{prefix}_{name}", cells)
        left += start[name].size // len(start[name])
    sheet.next_row = max(sheet.next_row, row + neurons + 2)
    return start


def best_line(sheet: Sheet, row: int, x: Array, y: Array) -> tuple[Named, list[Series]]:
    """The line with the smallest loss of all, by least squares, and its loss as a line across the chart."""

    def slope(t: Named) -> Any:
        found = tensor.sum((x - t.mean_x) * (y - t.mean_y)) / tensor.sum((x - t.mean_x) ** 2)
        return where(equal(smallest(x), largest(x)), 0, found)

    words, torch = "sum of (x - mean_x) * (y - mean_y), over the sum of (x - mean_x)^2", "torch.linalg.lstsq"
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
    ends = flow.headed(sheet, row, 7, "level_step", counter([1, STEPS], "for the chart"), across=True)
    level = flow.headed(sheet, row, 10, "level_loss", loss([line.line_loss] * 2, "for the chart"), across=True)
    return line, [Series("the best line", ends, level, color=BROAD + 1, width=5)]


def fits(sheet: Sheet, curve_x: Array, runs: Mapping[str, Named], line: Named, step: Any) -> Named:
    """The two networks at the step that the reader chose, their parameters and their curves, and the best line."""
    neurons = ["neuron 1", "neuron 2"]
    table = sheet.table(sheet.next_row, 2, len(runs), neurons)
    flow.labels(sheet, table.first, 1, (TITLES[name] for name in runs))

    def at_step(name: str) -> Any:
        both, parts = [flow.row_of(run[name], step) for run in runs.values()], [""] if name == "bias2" else neurons
        return parameter(both, "at show_step", TORCH[name], parts=parts, absolute=True)

    shown = columns(table, "shown_", **{name: at_step(name) for name in TORCH})

    def fit(position: int, run: str) -> Any:
        net = {name: shown[name][position] for name in TORCH}
        net["weight1"] = net["weight1"][:, None]
        words = f"{TITLES[run]}, at show_step"
        return activation(lambda t: layer2(activated(layer1(t.fit_x[:, None], net), RUNS[run]), net), words, "model(x)")

    row, words = sheet.next_row, "x * line_slope + line_intercept"
    sheet.repeat_rows(row, row + 2)
    return columns(
        sheet.table(row, 1, CURVE),
        fit_x=data(curve_x, ALONG, "x", width=22),
        **{f"{run}_fit": fit(position, run) for position, run in enumerate(runs)},
        line_fit=activation(lambda t: t.fit_x * line.line_slope + line.line_intercept, words),
    )


def steps_sheet(book: Book, prefix: str, x: Array, y: Array, start: Net, chosen: Any, lr: Any) -> Named:
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
    (count, wide), neurons = x.shape, range(1, len(start["bias1"]) + 1)
    row, left = sheet.next_row, 2 + sum(each.size for each in start.values())
    axes = ["x"] if wide == 1 else ["x1", "x2"]
    flow.labels(sheet, row, left - 1, [*axes, "y"])
    words = "all points, side by side"
    x = place(sheet, row, left, f"{prefix}_x", data(x.T, words, "x.T", absolute=True))
    y = place(sheet, row + wide, left, f"{prefix}_y", data(y, words, "y", absolute=True), across=True)

    heads, points = [f"neuron {n}" for n in neurons], [f"point {number}" for number in range(1, count + 1)]
    parts = {"weight1": heads, "bias1": heads, "weight2": heads, "bias2": ["y_hat"]}
    if wide > 1:
        parts["weight1"] = [f"{head}, {each}" for head in heads for each in axes]
    plain = chosen == "none"

    def param(name: str) -> Any:
        first, words = np.ravel(start[name]), "from the row above"
        return parameter(
            lambda t: previous(t[name] - lr * t[f"grad_{name}"], first), words, TORCH[name], parts=parts[name]
        )

    def neuron(n: int) -> dict[str, Any]:
        def z(t: Named) -> Any:
            weighted = zip(t.weight1[:, wide * (n - 1) : wide * n].T, x, strict=True)
            return sum(weight[:, None] * each for weight, each in weighted) + t.bias1[:, n - 1, None]

        words = f"neuron {n}: {'z' if plain else 'z where it is above 0, else 0'}"
        torch = "z" if plain else f"F.relu(z)[:, {n - 1}]"
        return {
            f"z_{n}": activation(z, f"neuron {n}: weight1 * x + bias1", f"layer1(x)[:, {n - 1}]", parts=points),
            f"hidden_{n}": activation(lambda t: activated(t[f"z_{n}"], chosen), words, torch, parts=points),
        }

    def grad_z(n: int) -> Any:
        def formula(t: Named) -> Any:
            return t.grad_y_hat * t.weight2[:, n - 1, None] * let_through(t[f"hidden_{n}"], chosen)

        words = f"grad_y_hat * weight2{'' if plain else '; 0 where relu gave 0'}"
        return gradient(formula, words, f"z.grad[:, {n - 1}]", parts=points)

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
        row=row + wide + 2,
        parts=points,
        freeze=2,
        short=True,
        width=9,
        step=counter(lambda t: previous(t.step + 1, 1), "counts", width=8),
        **{name: param(name) for name in TORCH},
        **{name: column for n in neurons for name, column in neuron(n).items()},
        y_hat=activation(y_hat, "weight2 * hidden, added up, + bias2", "model(x)", parts=points),
        loss=loss(lambda t: [mean((row - y) ** 2) for row in t.y_hat], "mean of (y_hat - y)^2", MSE),
        grad_y_hat=gradient(lambda t: 2 * (t.y_hat - y) / count, error, "y_hat.grad", parts=points),
        grad_weight2=grad(
            "weight2", "sum of grad_y_hat * hidden", lambda t: [t.grad_y_hat * t[f"hidden_{n}"] for n in neurons]
        ),
        grad_bias2=grad("bias2", "sum of grad_y_hat", lambda t: [t.grad_y_hat]),
        **{f"grad_z_{n}": grad_z(n) for n in neurons},
        grad_weight1=grad(
            "weight1", "sum of grad_z * x", lambda t: [t[f"grad_z_{n}"] * each for n in neurons for each in x]
        ),
        grad_bias1=grad("bias1", "sum of grad_z", lambda t: [t[f"grad_z_{n}"] for n in neurons]),
    )


def mlp_sheets(book: Book, given: Mapping[str, Any]) -> None:
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
    cell = flow.inputs(sheet, *(spec.name for spec in MLP_INPUTS), torch={"mlp_lr": SGD})
    along, half = axis(cell.map_from, cell.map_to, MAP)
    half = check(half * JUST_MORE, "half of a cell of the map", absolute=True)
    half = flow.values(sheet, row=sheet.next_row - 1, map_half=half).map_half
    top = sheet.next_row
    flow.labels(sheet, top, 2, ("x1", "x2", "y"), across=True)
    flow.labels(sheet, top + 1, 1, [f"point {n + 1}" for n in range(len(given["corner_y"]))])
    x = data(typed(given["corner_x"]), "the points: type here", "x", absolute=True)
    x = place(sheet, top + 1, 2, "corner_x", x)
    y = place(sheet, top + 1, 4, "corner_y", data(typed(given["corner_y"]), "what to predict", "y"))
    start = start_cells(sheet, top + len(x) + 2, 1, "mlp_start", given)

    step_sheet = book.sheet(
        "mlp step",
        "One step of the MLP, forward and backward",
        "The step is the one chosen by mlp_show_step on 'mlp'. A row is a point, a column a neuron, where both occur.",
    )
    run = steps_sheet(book, "mlp", x, y, start, cell.mlp_activation, cell.mlp_lr)
    net = mlp_step_sheet(step_sheet, x, y, run, cell)
    mlp_maps(sheet, top, left, x, net, cell, along, half)
    line = Series("loss", run.step, run.loss, color=3, width=2.5)
    chart = scatter("The loss of each step", "step", "loss", [line], width=17, height=11, x_range=(0, STEPS))
    sheet.chart(top, left + MAP + 2, chart)


def mlp_step_sheet(sheet: Sheet, x: Array, y: Array, run: Named, cell: Named) -> Net:
    """The chosen step, from its parameters to the next step's, in matrices."""
    sheet.width(1, 9, 40)
    row, chosen = sheet.next_row, cell.mlp_activation

    def put(left: int, name: str, each: flow.Column) -> Array:
        """A matrix, or a column, below its heading; it takes two columns at least."""
        wide = np.shape(each.formula)[-1] if np.ndim(each.formula) > 1 else 1
        each = replace(each, title=name, absolute=each.role == "parameter")
        made = flow.headed(sheet, row + 2, left, f"step_{name}", each, room=max(3, wide))
        if made.size > 1:
            sheet.heat_map(made[:, None] if made.ndim == 1 else made, DIVERGING)
        return made

    sheet.write(row, 1, "1. The parameters as they are when the step begins", HEADING)
    net = {name: flow.row_of(run[name], minimum(cell.mlp_show_step, STEPS)) for name in TORCH}
    net["weight1"] = net["weight1"].reshape(-1, x.shape[1])
    places = {"weight1": 1, "bias1": 5, "weight2": 9, "bias2": 13}
    words = {"weight1": "a row a neuron", "bias1": "one a neuron", "weight2": "one a neuron", "bias2": "of y_hat"}
    for name, left in places.items():
        net[name] = put(left, name, parameter(net[name], words[name], TORCH[name]))

    row += 10
    sheet.write(row, 1, "2. Forward: from the points to the loss", HEADING)
    x = put(1, "x", data(x, "a row a point", "x"))
    y = put(5, "y", data(y, "what to predict", "y"))
    z = put(9, "z", activation(layer1(x, net), "x * weight1, added up, + bias1", "z = layer1(x)"))
    words = "0 where relu meets z below 0"
    hidden = put(14, "hidden", activation(activated(z, chosen), words, "hidden = F.relu(z)"))
    words = "hidden * weight2, added up, + bias2"
    y_hat = put(19, "y_hat", activation(layer2(hidden, net), words, "y_hat = layer2(hidden)"))
    put(23, "loss", loss([mean((y_hat - y) ** 2)], "mean of (y_hat - y)^2", "loss = F.mse_loss(y_hat, y)"))

    row += 10
    sheet.write(row, 1, "3. Backward: how the loss changes with each number, from the last to the first", HEADING)

    def grad(left: int, name: str, formula: Any, words: str, torch: str) -> Array:
        return put(left, f"grad_{name}", gradient(formula, words, f"{torch}.grad"))

    grad_y_hat = grad(1, "y_hat", 2 * (y_hat - y) / len(y), f"2 * (y_hat - y) / {len(y)}", "y_hat")
    sums = [tensor.sum(grad_y_hat * each) for each in hidden.T]
    grads = {"weight2": put(5, "grad_weight2", gradient(sums, "sum of grad_y_hat * hidden", "layer2.weight.grad[0]"))}
    grads["bias2"] = grad(9, "bias2", [tensor.sum(grad_y_hat)], "sum of grad_y_hat", "layer2.bias")
    grad_hidden = grad(13, "hidden", grad_y_hat[:, None] * net["weight2"], "grad_y_hat * weight2", "hidden")
    grad_z = grad(18, "z", grad_hidden * let_through(hidden, chosen), "grad_hidden; 0 where relu gave 0", "z")
    grads["weight1"] = grad(23, "weight1", tensor.matmul(grad_z.T, x), "sum of grad_z * x", "layer1.weight")
    grads["bias1"] = grad(27, "bias1", list(map(tensor.sum, grad_z.T)), "sum of grad_z", "layer1.bias")

    row += 10
    sheet.write(row, 1, "4. The step: each parameter minus mlp_lr times its gradient", HEADING)
    for name, left in places.items():
        new, words = net[name] - cell.mlp_lr * grads[name], f"{name} - mlp_lr * grad_{name}"
        put(left, f"new_{name}", parameter(new, words, f"{TORCH[name]}, after optimizer.step()"))
    return net


def mlp_maps(sheet: Sheet, top: int, left: int, x: Array, net: Net, cell: Named, along: Array, half: Any) -> None:
    """What the network and its neurons say over the plane; dots show the points."""
    sheet.write(top, left, "prediction", HEADING)
    sheet.write(top + 1, left, f"{MAP} x {MAP} · y_hat; x1 grows to the right, x2 upwards", NOTE)
    words = "each column's x1"
    along = place(sheet, top + 2, left, "map_x1", data(along, words, digits=AXIS, absolute=True), across=True)
    down = cell.map_to - (cell.map_to - cell.map_from) * (np.arange(MAP).astype(object) / (MAP - 1))
    down = place(sheet, top + 3, left - 1, "map_x2", data(down, "each row's x2", digits=AXIS, absolute=True))

    below, neurons = top + MAP + 5, len(net["bias1"])
    plane = np.array([[x1, x2] for x2 in down for x1 in along])
    maps = activated(layer1(plane, net), cell.mlp_activation).T.reshape(neurons, MAP, MAP)
    for n in range(neurons):
        sheet.write(below, left + n * (MAP + 1), f"hidden, neuron {n + 1}", HEADING)
    words = "the activation of x1 * weight1 + x2 * weight1 + bias1, each neuron over the same plane"
    sheet.write(below + 1, left, f"{neurons} x {MAP} x {MAP} · {words}", NOTE)
    maps = activation(maps, "each neuron's output over the plane", "F.relu(layer1(plane))", digits=COLORS)
    maps = place(sheet, below + 2, left, "neuron_maps", maps)
    y_hat = layer2(maps.reshape(neurons, -1).T, net).reshape(MAP, MAP)
    words = "the neurons' maps, each times its weight2, added up, + bias2"
    y_hat = place(sheet, top + 3, left, "prediction", activation(y_hat, words, "model(plane)", digits=COLORS))
    for each in (y_hat, maps):
        sheet.heat_map(each, replace(DIVERGING, reach=1.0))

    counts = visits((x[:, 0], along, half), (x[:, 1], down, half), edges=True)
    counts = check(counts, "how many points each cell of the map holds", digits="0;-0;")
    sheet.dot(y_hat, flow.headed(sheet, below + MAP + 3, left, "map_points", counts))


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    curve_x = reference_axis(v.data_x.min(), v.data_x.max(), CURVE)[0]
    return reference_hand(v, curve_x) | reference_training(v, curve_x) | reference_mlp(v)


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
        blocks |= {name: run[name].flatten(1), f"grad_{name}": run[f"grad_{name}"].flatten(1)}
    for name in ("z", "hidden", "grad_z"):
        blocks |= {f"{name}_{n}": each for n, each in enumerate(run[name].unbind(2), start=1)}
    return run, blocks


def reference_hand(v: Named, curve_x: Any) -> dict[str, Any]:
    """The sheets `by hand` and `two layers are one`."""
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

    line_z, _, two_layers = forward(curve_x[:, None], net, relu=False)
    _, _, with_relu = forward(curve_x[:, None], net, relu=True)
    slope, intercept = (out @ net["weight1"])[0], F.linear(bias, out[None], net["bias2"])[0]
    one_line = F.linear(curve_x[:, None], slope[None, None], intercept[None])[:, 0]
    blocks |= {"path_weight": weight, "path_bias": bias, "path_out": out}
    blocks |= {"path_slope": weight * out, "path_intercept": bias * out}
    blocks |= {"combined_slope": slope, "combined_intercept": intercept, "line_x": curve_x}
    blocks |= {"two_layers": two_layers, "one_line": one_line, "with_relu": with_relu}
    blocks |= {"difference": two_layers - one_line, "relu_difference": with_relu - one_line}
    for n in (0, 1):
        blocks |= {f"hand_z_{n + 1}": z[:, n], f"hand_hidden_{n + 1}": hidden[:, n]}
        blocks |= {f"layer1_z_{n + 1}": line_z[:, n], f"curve_part_{n + 1}": curve_hidden[:, n] * out[n]}
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


def reference_mlp(v: Named) -> dict[str, Any]:
    """The sheets `mlp`, `mlp step` and `mlp steps`."""
    import torch

    x, y, relu = v.corner_x, v.corner_y, v.mlp_activation == "relu"
    start = {name: v[f"mlp_start_{name}"] for name in TORCH}
    run, blocks = reference_steps(x, y, start, relu, v.mlp_lr)
    blocks = {f"mlp_{name}": block for name, block in blocks.items()}
    shown = {name: rows[min(v.mlp_show_step, STEPS) - 1] for name, rows in vars(run).items()}
    blocks |= {f"step_{name}": each for name, each in shown.items()}
    blocks |= {"step_x": x, "step_y": y, "step_loss": shown["loss"][None]}

    along, half = reference_axis(v.map_from, v.map_to, MAP)
    half *= JUST_MORE
    down = v.map_to - (v.map_to - v.map_from) * (torch.arange(MAP) / (MAP - 1))
    plane = torch.stack([along.expand(MAP, MAP), down[:, None].expand(MAP, MAP)], dim=-1).view(-1, 2)
    _, hidden, y_hat = forward(plane, shown, relu)
    blocks |= {"map_x1": along, "map_x2": down, "map_half": half, "prediction": y_hat.view(MAP, MAP)}
    blocks["map_points"] = reference_visits((x[:, 0], along, half), (x[:, 1], down, half), edges=True)
    return blocks | {"neuron_maps": hidden.T.reshape(-1, MAP, MAP)}


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A difference of two predictions is as exact as what these add up."""
    terms = abs(blocks["line_x"]) * abs(blocks["path_slope"]).sum() + abs(blocks["path_intercept"]).sum()
    terms += abs(v.out_bias)
    return {"difference": terms, "relu_difference": terms}


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
DIMS = {name: np.ndim(numbers) for name, numbers in load(Source()).items()}
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
        "On 'by hand', choose none for hand_activation: the bend is gone, whatever the weights are.",
        "On 'by hand', choose relu and fit the points: try 1, -0.5, 1 for neuron 1 and -1, 0.5, 1 for neuron 2.",
        "On 'two layers are one', look at difference and relu_difference. Then change any weight on 'by hand'.",
        "On 'training', set show_step to 1, 5, 20, 200 and watch both networks learn. One stays a line.",
        "On 'training', type -2 for both start_bias1: ReLU lets no point through, the gradients of layer 1 are 0, "
        "and the network learns only a constant. Such neurons are called dead.",
        "On 'mlp', choose none for mlp_activation: the map fades to 0 everywhere, and the loss stays at 1.",
        "On 'mlp', set map_from to -5 and map_to to 5 to see how the bends go on.",
    ],
)
