"""A digit classifier with its trained weights in the cells: paint, and read ten probabilities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, INK, SHORT, WHOLE, Book, Input, Sheet
from sgdsheet.book.style import HEADING, LABEL
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range, compare
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.flow import Named, activation, check, counter, data, inputs, labels, steps, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CELL, CLASSES, KERNEL, LEFT, POOL
from sgdsheet.lessons.pictures import INK as FULL
from sgdsheet.lessons.pictures import SIDE, digits, held_out, read_digits, read_picture
from sgdsheet.tensor import Array

FILTERS = 6
MAP = SIDE - KERNEL + 1
POOLED = MAP // POOL
SHAPES = {
    "conv_weight": (FILTERS, KERNEL, KERNEL),
    "conv_bias": (FILTERS,),
    "dense_weight": (CLASSES, FILTERS, POOLED, POOLED),
    "dense_bias": (CLASSES,),
}
WEIGHTS = Path(__file__).with_name("classifier_weights.json")
MAX_DIGITS = 500
BAND = SIDE + 1  # rows from one digit of the held-out ones to the next
SOURCES = ("painted", "held out")
PAINTED = 17  # the digit that is painted at first, among the held-out ones
RELU = f"sum of window * filter / {FULL}, + bias; 0 where that is below 0"
TORCH_RELU = "F.relu(F.conv2d(x, conv.weight, conv.bias))"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `classifier`, `weights`, `accuracy`, `held out`."""
    count, digit = len(given["held_label"]), book.values["digit"]
    if not 1 <= int(digit) <= count:
        raise Error(f"classifier: input 'digit': expected one of the {count} held-out digits, got {digit}")
    book.inputs["digit"] = replace(book.inputs["digit"], maximum=count)
    book.summary = about(count)
    front = book.sheet(
        "classifier",
        "Paint a digit",
        "Type numbers from 0, no ink, to 16, full ink, into the yellow cells. The answer is on the right, what the "
        "filters see is below.",
        "To see one of the held-out digits instead, choose 'held out' as source and type its number.",
    )
    weights = weights_sheet(book)
    accuracy = book.sheet(
        "accuracy",
        "How many of the held-out digits are read rightly?",
        "None of these digits was used in training. The network says the digit with the largest logit.",
    )
    held = held_out_sheet(book, given["held_pixels"], weights)
    label = accuracy_sheet(accuracy, given["held_label"], scores(held.pool, weights))
    front_sheet(front, given["painted"], held.pixels, label, weights)


def weights_sheet(book: Book) -> Named:
    sheet = book.sheet(
        "weights",
        "The trained weights",
        "PyTorch found these numbers by training; sgdsheet keeps them, rounded to three decimals. Change one and see "
        "what it does to the answer and to the accuracy.",
        "A filter looks for ink on its orange cells and for no ink on its blue ones. A dense weight says how much a "
        "pooled cell speaks for a digit, or against it.",
    )
    sheet.width(1, 12)
    sheet.width(2, CELL, 60)
    trained = {name: typed(array) for name, array in json.loads(WEIGHTS.read_text(encoding="utf-8")).items()}
    m = net.maps(
        sheet,
        left=2,
        conv_weight=net.weight(trained["conv_weight"], "trained: type here", "conv.weight[:, 0]"),
        conv_bias=net.weight(trained["conv_bias"], "", "conv.bias", across=True),
        dense_bias=net.weight(trained["dense_bias"], "", "dense.bias", across=True),
    )
    sheet.next_row += 1
    for digit in range(CLASSES):
        sheet.write(sheet.next_row + 2 + digit * (POOLED + 1), 1, f"digit {digit}", LABEL)
    words = "a row for each digit, a part for each filter's map"
    weight = net.weight(trained["dense_weight"], words, "dense.weight.view(10, 6, 3, 3)")
    m.dense_weight = net.maps(sheet, left=2, dense_weight=weight).dense_weight
    return m


def relu_maps(pixels: Array, weights: Named) -> Array:
    """The maps after convolution and ReLU, as expressions: pixels (count, 8, 8) become (count, filters, 6, 6)."""
    sums = tensor.conv2d(pixels[:, None], weights.conv_weight[:, None])
    return tensor.relu(sums / FULL + weights.conv_bias[:, None, None])


def scores(pool: Array, weights: Named) -> Array:
    """The logits, as expressions: pooled maps (count, filters, 3, 3) become (count, 10)."""
    return np.array([net.dense(maps, weights.dense_weight, weights.dense_bias) for maps in pool])


def held_out_sheet(book: Book, pixels: Array, weights: Named) -> Named:
    """The held-out digits `pixels` and their maps, up to `pool`."""
    sheet = book.sheet(
        "held out",
        "The held-out digits go through the network",
        "Each digit with its six maps after convolution and ReLU, and after max-pooling. The dense layer is on "
        "'accuracy'.",
    )
    sheet.width(1, 7)
    sheet.width(2, 4.5, 120)
    sheet.freeze(sheet.next_row + 2, 2)
    m = net.maps(
        sheet,
        "held_",
        left=2,
        band=BAND,
        down=True,
        pixels=net.ink(typed(pixels), "a digit every nine rows: type here", "x * 16", "0"),
        relu=net.feature(lambda m: relu_maps(m.pixels, weights), RELU, TORCH_RELU, "0.0"),
        pool=net.feature(lambda m: tensor.max_pool2d(m.relu, POOL), net.LARGEST, "F.max_pool2d(relu, 2)", "0.0"),
    )
    for number, first in enumerate(m.pixels[:, 0, 0], start=1):
        sheet.write(first.row, 1, number, LABEL)
    return m


def accuracy_sheet(sheet: Sheet, held_label: Any, logits: Array) -> Array:
    """The logits of all held-out digits, what they say, and how often that is right; gives the labels."""
    count, each, top = len(held_label), [str(digit) for digit in range(CLASSES)], sheet.next_row
    confusion = top + 4
    t = steps(
        sheet,
        count,
        row=confusion + 2 + CLASSES + 2,
        freeze=None,
        parts=each,
        width=13,
        number=counter(np.arange(1, count + 1), "counts the digits", width=10),
        held_label=data(typed(held_label), "what it is", "y", WHOLE, 10),
        held_logits=activation(logits, "a score for each digit", "model(x)", SHORT, 9, each),
        held_predicted=counter(
            lambda t: net.each_row(tensor.argmax, t.held_logits), "the largest logit", "logits.argmax(1)"
        ),
        held_wrong=counter(
            lambda t: tensor.where(tensor.equal(t.held_predicted, t.held_label), 0, 1), "1 where it is not"
        ),
    )
    sheet.heat_map(t.held_wrong, HEAT)
    sheet.width(3, 9, 2 + CLASSES)
    sheet.repeat_rows(t.head, t.first - 1)
    values(
        sheet,
        row=top,
        right=counter(count - tensor.sum(t.held_wrong), f"of {count} are read rightly"),
        accuracy=check(lambda t: t.right / count, "the share of them", "(logits.argmax(1) == y).mean()", "0.0%"),
    )
    sheet.write(confusion, 1, "What was taken for what", HEADING)
    labels(sheet, confusion + 1, 3, [f"for a {digit}" for digit in each], across=True)
    labels(sheet, confusion + 2, 2, [f"a {digit}" for digit in each])
    label, predicted = tensor.span(t.held_label), tensor.span(t.held_predicted)
    pairs = [
        [Call("SUMPRODUCT", compare("=", label, i) * compare("=", predicted, j)) for j in range(CLASSES)]
        for i in range(CLASSES)
    ]
    words = "how often the digit of the row was taken for that of the column"
    pairs = sheet.place("confusion", pairs, "check", confusion + 2, 3, words=words, number_format="0;;")
    sheet.heat_map(pairs, HEAT)
    return t.held_label


def front_sheet(sheet: Sheet, painted: Any, held: Array, label: Array, weights: Named) -> None:
    """The picture that the reader paints or chooses, its way through the network, and the ten probabilities."""
    sheet.width(1, 12, 2)
    sheet.width(LEFT, CELL, 80)
    sheet.print_on_one_page()
    cell = inputs(sheet, "source", "digit")
    row, first, last = sheet.next_row, held[0, 0, 0], held[-1, -1, -1]
    area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)

    def chosen(painted: Array) -> Array:
        picture = np.empty((SIDE, SIDE), dtype=object)
        for i, j in np.ndindex(SIDE, SIDE):
            there = Call("INDEX", area, (cell.digit - 1) * BAND + (i + 1), j + 1)
            picture[i, j] = tensor.where(tensor.equal(cell.source, "painted"), painted[i, j], there)
        return picture

    layout: dict[str, Any] = {"torch": "x * 16", "digits": "0", "scale": INK, "takes": SIDE + 2}
    words = "what the network looks at: painted, or the held-out digit"
    shown = net.maps(
        sheet,
        row=row,
        painted=net.Map("input", typed(painted), "paint here: 0 is no ink, 16 is full ink", **layout),
        picture=net.Map("data", lambda m: chosen(m.painted), words, **layout),
    )
    relu = net.feature(relu_maps(shown.picture[None], weights)[0], RELU, TORCH_RELU + "[0]")
    relu = net.maps(sheet, row=row + 2 + CLASSES + 2, relu=relu).relu
    pool = net.feature(tensor.max_pool2d(relu[None], POOL)[0], net.LARGEST, "F.max_pool2d(relu, 2)[0]")
    pool = net.maps(sheet, pool=pool).pool
    t = net.maps(
        sheet,
        row=row,
        left=shown.right,
        digits=net.count(np.arange(CLASSES), "the ten possible answers", note=False),
        logits=net.signed(scores(pool[None], weights)[0], "a score for each", "model(x)[0]"),
        exp_logits=net.feature(
            lambda t: tensor.exp(t.logits - tensor.largest(t.logits)), "e ^ (logit - largest)", "", "0.000", scale=None
        ),
        probability=net.feature(
            lambda t: t.exp_logits / tensor.sum(t.exp_logits),
            "its share of all of them",
            "F.softmax(logits, 0)",
            "0.0%",
        ),
    )
    sheet.write(row + 2, 1, "The answer", HEADING)
    predicted = counter(tensor.argmax(t.probability), "the digit with the largest probability", "logits.argmax()")
    sure = check(tensor.largest(t.probability), "its probability", digits="0.0%")
    net.labelled(sheet, row + 3, predicted=predicted, sure=sure)
    words = "which digit the held-out one of that number is"
    net.labelled(sheet, row + 6, label_of_digit=data(tensor.index(label, cell.digit), words, digits=WHOLE))


def forward(x: Any, params: Any) -> dict[str, Any]:
    """The network in torch: pictures (count, 1, 8, 8) from 0 to 1 to maps, pooled maps and logits."""
    from torch.nn import functional as F  # noqa: N812

    relu = F.relu(F.conv2d(x, params["conv_weight"].unsqueeze(1), params["conv_bias"]))
    pool = F.max_pool2d(relu, POOL)
    logits = F.linear(pool.flatten(1), params["dense_weight"].flatten(1), params["dense_bias"])
    return {"relu": relu, "pool": pool, "logits": logits}


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch

    count, label, digit = len(v.held_label), v.held_label, torch.arange(CLASSES)
    if v.digit > count:
        raise ValueError(f"digit: expected one of the {count} held-out digits, got {v.digit}")
    picture = v.painted if v.source == "painted" else v.held_pixels[v.digit - 1]
    one = {name: block[0] for name, block in forward(picture[None, None] / FULL, v).items()}
    held = {f"held_{name}": block for name, block in forward(v.held_pixels[:, None] / FULL, v).items()}
    probability, predicted = one["logits"].softmax(0), held["held_logits"].argmax(1)
    right = predicted == label
    return {
        **one,
        **held,
        "picture": picture,
        "digits": digit,
        "exp_logits": (one["logits"] - one["logits"].max()).exp(),
        "probability": probability,
        "predicted": probability.argmax(),
        "sure": probability.max(),
        "label_of_digit": label[v.digit - 1],
        "number": torch.arange(1, count + 1),
        "held_predicted": predicted,
        "held_wrong": ~right,
        "right": right.sum(),
        "accuracy": right.double().mean(),
        "confusion": torch.stack([((label == i)[:, None] & (predicted[:, None] == digit)).sum(0) for i in digit]),
    }


def load(source: Source) -> dict[str, Any]:
    """The digit that is painted at first, and the held-out digits: scikit-learn's, or what the source names.

    A picture's dark parts are taken for ink.
    """
    if source.csv:
        pixels, labels = read_digits(source.csv)
        if len(labels) > MAX_DIGITS:
            raise Error(f"{source.csv}: expected at most {MAX_DIGITS} digits, a row each, got {len(labels):,}")
    else:
        held = held_out(len(digits()[1]))
        pixels, labels = (each[held] for each in digits())
    painted = pixels[PAINTED % len(pixels)]
    if source.image:
        if source.size not in (None, SIDE) or source.rgb:
            raise Error(f"classifier: a picture becomes {SIDE} x {SIDE} cells of ink: leave --size and --rgb out")
        painted = ((1 - read_picture(source.image, SIDE)[0]) * FULL).round()
    return {"painted": painted, "held_pixels": pixels, "held_label": labels}


def about(count: int) -> list[str]:
    return [
        "Paint a digit into 8 by 8 cells, or paste one, and read ten probabilities: how sure the network is that "
        "it is a 0, a 1, a 2 and so on. Every number between your picture and the answer is a formula.",
        "The network is a convolution with six filters, ReLU, max-pooling and a dense layer, then softmax. Its "
        f"weights were trained by PyTorch on four fifths of scikit-learn's handwritten digits. The others, {count} "
        "held-out digits that it never learned from, are in this workbook too: the sheet 'accuracy' counts how "
        "many of them it reads rightly.",
    ]


TRY = [
    "On 'classifier', change a few pixels (0 is no ink, 16 is full ink) and watch the probabilities follow.",
    "Choose 'held out' as source and type a number into digit: that digit goes through the network instead.",
    "On 'accuracy', look for the digits that are read wrongly, and look at one of them on 'classifier'.",
    "Paint a letter. The network has never seen one, but it must choose a digit: how sure is it?",
    "On 'weights', set one filter to 0. How many digits does that cost?",
]
DIMS = {"painted": 2, "held_pixels": 3, "held_label": 1} | {name: len(shape) for name, shape in SHAPES.items()}
CLASSIFIER = Lesson(
    "classifier",
    "a trained classifier of handwritten digits: paint one and read ten probabilities",
    (
        Input("source", "painted", "what the network looks at", choices=SOURCES),
        Input("digit", 1, "the number of a held-out digit", minimum=1, maximum=MAX_DIGITS, whole=True),
    ),
    Data(DIMS, load, ("csv", "image")),
    build=build,
    reference=reference,
    title="A classifier of handwritten digits, trained, in cells",
    things_to_try=TRY,
)
