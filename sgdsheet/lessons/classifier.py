"""A digit classifier with its trained weights in the cells: paint, and read ten probabilities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, INK, SHORT, SPARSE, WHOLE, Book, Input, Sheet
from sgdsheet.book.style import HEADING, LABEL
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range, compare
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.flow import Named, activation, check, counter, data, inputs, labels, steps, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CELL, CLASSES, KERNEL, LEFT, POOL, TENTHS
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
BRUSH = 28 / 7  # a cell to paint is so many characters wide: 28 pixels
DOT = '0;-0;"\u00b7"'
PAINTED = 17  # the digit that is painted at first, among the held-out ones
MISREAD = 6  # as many of the digits that are read wrongly are shown
NUMBER, IS, READ = '"no. "0;;', '"is a "0;;"is a "0', '"read as "0;;"read as "0'  # nothing where there is none
RELU = f"sum of window * filter / {FULL}, + bias; 0 where that is below 0"
TORCH_RELU = "F.relu(F.conv2d(x, conv.weight, conv.bias))"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `classifier`, `accuracy`, `weights`, `one by one`, `held out`."""
    count, digit = len(given["held_label"]), book.values["digit"]
    if not 1 <= int(digit) <= count:
        raise Error(f"classifier: input 'digit': expected one of the {count} held-out digits, got {digit}")
    book.inputs["digit"] = replace(book.inputs["digit"], maximum=count)
    book.summary = about(count)
    front = book.sheet(
        "classifier",
        "Paint a digit",
        f"Type numbers from 0, no ink, to {FULL}, full ink, into painted. Right of it are the answer and "
        "ten probabilities, below it what the filters see.",
        f"To see one of {count} digits that it never learned from, choose 'held out' as source and type its number.",
    )
    accuracy = book.sheet(
        "accuracy",
        "How many of the held-out digits are read rightly?",
        "None of these digits was used in training. The network says the digit with the largest logit. All of them are "
        "on 'one by one'.",
    )
    weights = weights_sheet(book)
    answers = book.sheet(
        "one by one",
        "What the network says of each held-out digit",
        "Their pictures, and the maps that the filters make of them, are on 'held out'.",
    )
    held = held_out_sheet(book, given["held_pixels"], weights)
    t = answers_sheet(answers, given["held_label"], scores(held.pool, weights))
    share = accuracy_sheet(accuracy, t, held.pixels)
    said = front_sheet(front, given["painted"], held.pixels, t.held_label, weights)
    shown_with_weights(weights, said, share)


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
        conv_bias=net.weight(trained["conv_bias"], "one a filter", "conv.bias", across=True),
    )
    sheet.next_row += 1
    for digit in range(CLASSES):
        sheet.write(sheet.next_row + 2 + digit * (POOLED + 1), 1, f"digit {digit}", LABEL)
    words = "a row for each digit, a part for each filter's map"
    weight = net.weight(trained["dense_weight"], words, "dense.weight.view(10, 6, 3, 3)")
    bias = net.weight(trained["dense_bias"], "one a digit", "dense.bias", across=True)
    below = net.maps(sheet, left=2, dense_weight=weight, dense_bias=bias)
    return Named(sheet=sheet, conv_weight=m.conv_weight, conv_bias=m.conv_bias, **vars(below))


def shown_with_weights(weights: Named, said: Named, share: Any) -> None:
    """Beside the weights, what a change of them does to the answer and to the accuracy."""
    sheet, row, left = weights.sheet, weights.dense_bias[0].row + 3, weights.dense_bias[0].column
    net.large_answer(sheet, row, left, said.predicted, said.sure, "is what the network reads on 'classifier'")
    sheet.write(row + 4, left, share, replace(net.ANSWER, number_format="0.0%", size=20))
    sheet.merge(row + 4, left, left + 1, row + 5)
    sheet.write(row + 4, left + 3, "of the held-out digits are read rightly", HEADING)


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
        "Each digit with its six maps after convolution and ReLU, and after max-pooling. What the dense layer makes of "
        "them is on 'one by one'.",
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
        pixels=net.ink(typed(pixels), "a digit every nine rows: type here", "x * 16", DOT),
        relu_maps=net.feature(lambda m: relu_maps(m.pixels, weights), RELU, TORCH_RELU, TENTHS),
        pool=net.feature(lambda m: tensor.max_pool2d(m.relu_maps, POOL), net.LARGEST, "F.max_pool2d(relu, 2)", TENTHS),
    )
    for number, first in enumerate(m.pixels[:, 0, 0], start=1):
        sheet.write(first.row, 1, number, LABEL)
    return m


def answers_sheet(sheet: Sheet, held_label: Any, logits: Array) -> Named:
    """A row for each held-out digit: what it is, its logits, what they say, and whether that is wrong."""
    count, each = len(held_label), [str(digit) for digit in range(CLASSES)]
    t = steps(
        sheet,
        count,
        parts=each,
        number=counter(np.arange(1, count + 1), "counts the digits"),
        held_label=data(typed(held_label), "what it is", "y", WHOLE, 8),
        held_predicted=counter(
            lambda t: net.each_row(tensor.argmax, t.held_logits), "the largest logit", "logits.argmax(1)", width=10
        ),
        held_wrong=counter(
            lambda t: tensor.where(tensor.equal(t.held_predicted, t.held_label), 0, 1), "1 where it is not", width=9
        ),
        held_logits=activation(logits, "a score for each digit", "model(x)", SHORT, 8, each),
        wrong_so_far=counter(lambda t: tensor.previous(t.wrong_so_far, 0) + t.held_wrong, "wrong ones", folded=True),
    )
    sheet.heat_map(t.held_wrong, HEAT)
    return t


def accuracy_sheet(sheet: Sheet, t: Named, pixels: Array) -> Any:
    """How often the answers of `t` are right (returned), what is taken for what, and the pictures of the wrong ones."""
    count, top = len(t.held_label), sheet.next_row
    sheet.width(1, 13)
    sheet.width(2, 9)
    sheet.width(LEFT, 22 / 7, 90)
    wrong = tensor.sum(t.held_wrong)
    shares = values(
        sheet,
        row=top,
        right=counter(count - wrong, f"of {count} are read rightly"),
        accuracy=check(lambda t: t.right / count, "the share of them", "(logits.argmax(1) == y).mean()", "0.0%"),
    )
    row = top + 4
    sheet.write(row - 1, 1, "What was taken for what", HEADING)
    labels(sheet, row, LEFT, map(str, range(CLASSES)), across=True)
    sheet.write(row, 1, "it is \u2193  read as \u2192", LABEL)
    labels(sheet, row + 1, 2, [f"a {digit}" for digit in range(CLASSES)])
    label, predicted = tensor.span(t.held_label), tensor.span(t.held_predicted)
    pairs = [
        [Call("SUMPRODUCT", compare("=", label, i) * compare("=", predicted, j)) for j in range(CLASSES)]
        for i in range(CLASSES)
    ]
    words = "how often the digit of the row was taken for that of the column"
    pairs = sheet.place("confusion", pairs, "check", row + 1, LEFT, words=words, number_format="0;;")
    sheet.heat_map(pairs, HEAT)

    left, below = LEFT + CLASSES + 2, row + CLASSES + 3
    sheet.write(row - 1, left, f"The digits that it misreads: the first {MISREAD}", HEADING)
    sheet.write(below - 1, 1, "The first six that it misreads", HEADING)
    first, last = pixels[0, 0, 0], pixels[-1, -1, -1]
    area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    number = [
        tensor.where(tensor.greater_equal(wrong, k), Call("MATCH", k, tensor.span(t.wrong_so_far), 0), -1)
        for k in range(1, MISREAD + 1)
    ]
    says: dict[str, Any] = {"across": True, "number_format": "0;;0"}
    number = sheet.place("misread_number", number, "check", below, LEFT, words="its number, for digit", **says)

    def of_it(column: Array) -> list[Any]:
        return [tensor.where(tensor.greater(each, 0), tensor.index(column, each), -1) for each in number]

    what = sheet.place("misread_is", of_it(t.held_label), "check", below + 1, LEFT, words="what it is", **says)
    words = "what the network read"
    read = sheet.place("misread_as", of_it(t.held_predicted), "check", below + 2, LEFT, words=words, **says)
    labels(sheet, below, 1, ("number", "is", "read as"))
    picture = np.empty((MISREAD, SIDE, SIDE), dtype=object)
    for k, i, j in np.ndindex(*picture.shape):
        pixel = Call("INDEX", area, (number[k] - 1) * BAND + (i + 1), j + 1)
        picture[k, i, j] = tensor.where(tensor.greater(number[k], 0), pixel, 0)
    layout: dict[str, Any] = {"most": MISREAD * BAND, "number_format": DOT}
    picture = sheet.place("misread", picture, "data", row + 2, left, words="their pictures", **layout)
    sheet.heat_map(picture, INK)
    for k, corner in enumerate(picture[:, 0, 0]):
        for cell, look, place, cells in ((number, NUMBER, 0, 3), (what, IS, 3, 2), (read, READ, 5, 3)):
            at = corner.row - 1, corner.column + place
            sheet.write(*at, cell[k], replace(LABEL, number_format=look, size=10, shrink=True, color="1F3864"))
            sheet.merge(*at, at[1] + cells - 1)
    return shares.accuracy


def front_sheet(sheet: Sheet, painted: Any, held: Array, label: Array, weights: Named) -> Named:
    """The picture that the reader paints or chooses, its way through the network, and the ten probabilities.

    Returns what is `predicted`, and how `sure`.
    """
    sheet.width(1, 11)
    sheet.width(2, 9)
    sheet.width(LEFT, BRUSH, 80)
    sheet.print_on_one_page()
    cell = inputs(sheet, "source", "digit", across=True)
    row = sheet.next_row

    def chosen(painted: Array) -> Array:
        there = net.chosen(held, cell.digit - 1)
        return tensor.where(tensor.equal(cell.source, "painted"), painted, there)

    layout: dict[str, Any] = {"torch": "x * 16", "digits": DOT, "scale": INK, "takes": SIDE + 1}
    words = "what the network looks at"
    shown = net.maps(
        sheet,
        row=row,
        painted=net.Map("input", typed(painted), "paint here: 0 is no ink, 16 is full ink", **layout),
        picture=net.Map("data", lambda m: chosen(m.painted), words, **layout),
    )
    for each in range(row + 2, row + 2 + SIDE):
        sheet.row_heights[each] = 19.5
    below = row + 2 + SIDE + 1
    relu = net.feature(relu_maps(shown.picture[None], weights)[0], RELU, TORCH_RELU + "[0]", SPARSE)
    relu = net.maps(sheet, row=below, relu_maps=relu).relu_maps
    pool = net.feature(tensor.max_pool2d(relu[None], POOL)[0], net.LARGEST, "F.max_pool2d(relu, 2)[0]", SPARSE)
    m = net.maps(sheet, row=below + 2 + MAP, pool=pool)
    t = net.maps(
        sheet,
        row=below + 2 + MAP,
        left=m.right + 1,
        digits=net.count(np.arange(CLASSES), "the ten answers", note=False),
        logits=net.signed(scores(m.pool[None], weights)[0], "a score", "model(x)[0]", TENTHS),
        exp_logits=net.feature(
            lambda t: tensor.exp(t.logits - tensor.largest(t.logits)),
            "e ^ (logit - largest)",
            digits=SHORT,
            scale=None,
            note=False,
        ),
        probability=net.feature(
            lambda t: t.exp_logits / tensor.sum(t.exp_logits), "its share of all", "F.softmax(logits, 0)", "0.0%"
        ),
    )
    predicted = counter(tensor.argmax(t.probability), "the digit with the largest probability", "logits.argmax()")
    sure = check(tensor.largest(t.probability), "its probability", digits="0.0%")
    words = "what the held-out digit is; none for a painted one"
    true = tensor.where(tensor.equal(cell.source, "painted"), -1, tensor.index(label, cell.digit))
    said = net.labelled(
        sheet, row + 2, predicted=predicted, sure=sure, true_digit=data(true, words, digits='0;"\u2013"')
    )
    net.large_answer(sheet, row + 2, shown.right, said.predicted, said.sure)
    net.probability_bars(sheet, row, shown.right + 11, t.digits, ("probability", t.probability), height=8.5)
    return said


def forward(x: Any, params: Any) -> dict[str, Any]:
    """The network in torch: pictures (count, 1, 8, 8) from 0 to 1 to maps, pooled maps and logits."""
    from torch.nn import functional as F  # noqa: N812

    relu = F.relu(F.conv2d(x, params["conv_weight"].unsqueeze(1), params["conv_bias"]))
    pool = F.max_pool2d(relu, POOL)
    logits = F.linear(pool.flatten(1), params["dense_weight"].flatten(1), params["dense_bias"])
    return {"relu_maps": relu, "pool": pool, "logits": logits}


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch

    count, label, digit = len(v.held_label), v.held_label, torch.arange(CLASSES)
    if v.digit > count:
        raise ValueError(f"digit: expected one of the {count} held-out digits, got {v.digit}")
    picture = v.painted if v.source == "painted" else v.held_pixels[v.digit - 1]
    one = {name: block[0] for name, block in forward(picture[None, None] / FULL, v).items()}
    true_digit = torch.tensor(-1) if v.source == "painted" else label[v.digit - 1]
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
        "true_digit": true_digit,
        "number": torch.arange(1, count + 1),
        "held_predicted": predicted,
        "held_wrong": ~right,
        "wrong_so_far": (~right).cumsum(0),
        **misread(v, predicted),
        "right": right.sum(),
        "accuracy": right.double().mean(),
        "confusion": torch.stack([((label == i)[:, None] & (predicted[:, None] == digit)).sum(0) for i in digit]),
    }


def misread(v: Named, predicted: Any) -> dict[str, Any]:
    """The first of those that are read wrongly, -1 where there are no more."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    wrong = (predicted != v.held_label).nonzero()[:MISREAD, 0]
    found = {"number": wrong + 1, "is": v.held_label[wrong].long(), "as": predicted[wrong]}
    rest = MISREAD - len(wrong)
    pictures = torch.cat([v.held_pixels[wrong], torch.zeros(rest, SIDE, SIDE, dtype=torch.float64)])
    return {"misread": pictures} | {f"misread_{name}": F.pad(each, [0, rest], value=-1) for name, each in found.items()}


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
    "On 'classifier', change a few pixels of painted and watch the probabilities follow.",
    "On 'classifier', choose held out as source and type a number into digit: the network reads that one instead.",
    "On 'accuracy', look at the digits that are misread. Would you have known? Type one's number into digit.",
    "On 'classifier', paint a letter into painted. The network must choose one of ten all the same: how sure is it?",
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
