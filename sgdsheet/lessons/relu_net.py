"""Two neurons with and without ReLU on points that no line fits, then a small network, forward and backward."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.expr import Call, compare
from sgdsheet.lessons.data import Data, Source, check_columns, noisy, read_csv
from sgdsheet.lessons.lesson import Lesson, Values
from sgdsheet.tensor import Array, previous, span

STEPS = 200
CURVE = 41  # curves are drawn through so many x
MAP = 21  # the plane is shown for so many x1 and x2
MOST = 200  # points: each has six columns on the sheets of the steps
COLORS = ";;;"  # the number format of a map: its colours say enough, and a click on a cell shows its number
TORCH = {"weight1": "layer1.weight", "bias1": "layer1.bias", "weight2": "layer2.weight[0]", "bias2": "layer2.bias[0]"}
RUNS = {"with_relu": "relu", "without_relu": "none"}

# The parameters of a network by name, in torch's shapes but that the one output's dimension is left out:
# weight1 (neurons, inputs), bias1 (neurons), weight2 (neurons), bias2 (a single number).
Net = Mapping[str, Any]


def build(values: Values, data: Values) -> Book:
    """The workbook: `data`, `by hand`, `two layers are one`, `training` and its two runs, and three sheets of an MLP."""
    check_columns(data, MOST, "relu_net", "a training step has six cells for each of them")
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
            "On 'training', type -9 for both start_bias1: ReLU lets no point through, the gradients of layer 1 are 0, "
            "and the network learns only a constant. Such neurons are called dead.",
            "On 'mlp', choose none for mlp_activation: the map fades to 0 everywhere, the best that a plane can do.",
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
        "The loss says how wrong it is: the mean of (y_hat - y)^2 over all points. Can you bring it below 0.01?",
    )
    top = sheet.next_row
    torch = {name: each for neuron in (1, 2) for name, each in zip(_hand_names(neuron), _hand_torch(neuron - 1))}
    activation, *cells, out_bias = sheet.inputs(
        top, 1, ("hand_activation", *torch, "out_bias"), torch=torch | {"out_bias": "layer2.bias[0]"}
    )
    weights = np.array(cells, dtype=object).reshape(2, 3)
    net = {"weight1": weights[:, :1], "bias1": weights[:, 1], "weight2": weights[:, 2], "bias2": out_bias}

    table = sheet.table(top + 22, 1, len(x))
    x = table.column("hand_x", "data", x, words="the point's x", torch="x", width=17)
    y = table.column("hand_y", "data", y, words="the point's y", torch="y")
    hidden = []
    for neuron in (0, 1):
        n = neuron + 1
        z = linear(x[:, None], net["weight1"], net["bias1"])[:, neuron]
        words = f"x * neuron{n}_weight + neuron{n}_bias"
        z = table.column(f"hand_z_{n}", "activation", z, words=words, torch=f"layer1(x)[:, {neuron}]", width=16)
        output = activated(z, activation)
        words, meaning = "with relu: 0 where z is below 0", f"F.relu(layer1(x))[:, {neuron}]"
        hidden.append(table.column(f"hand_hidden_{n}", "activation", output, words=words, torch=meaning, width=16))
    y_hat = linear(np.stack(hidden, axis=1), net["weight2"][None], net["bias2"])[:, 0]
    words = "hidden_1 * neuron1_out + hidden_2 * neuron2_out + out_bias"
    y_hat = table.column("hand_y_hat", "activation", y_hat, words=words, torch="model(x)", width=22)
    error = table.column("hand_error", "loss", (y_hat - y) ** 2, words="(y_hat - y)^2")
    words = "the mean of hand_error"
    sheet.value(
        sheet.next_row if len(x) == 0 else top + 9,
        1,
        "hand_loss",
        tensor.mean(error),
        "loss",
        words=words,
        torch="F.mse_loss(model(x), y)",
    )
    return net, _hand_curve(sheet, top, x, y, net, activation)
