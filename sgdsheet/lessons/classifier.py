"""A digit classifier with its trained weights in the cells: paint, and read ten probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, INK, SHORT, WHOLE, Book, Input, Sheet, Typed
from sgdsheet.book.style import HEADING, LABEL
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range, compare
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.old_network import CELL, CLASSES, KERNEL, LEFT, POOL, labelled, show
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
PAINTED = 17  # the digit that stands there at first, among the held-out ones


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `classifier`, `weights`, `accuracy`, `held out`."""
    count = len(data["held_label"])
    if not 1 <= int(values["digit"]) <= count:
        raise Error(f"classifier: input 'digit': expected one of the {count} held-out digits, got {values['digit']}")
    book = Book(
        "classifier",
        "A classifier of handwritten digits, trained, in cells",
        [
            "Paint a digit into 8 by 8 cells, or paste one, and read ten probabilities: how sure the network is that "
            "it is a 0, a 1, a 2 and so on. Every number between your picture and the answer is a formula.",
            "The network is a convolution with six filters, ReLU, max-pooling and a dense layer, then softmax. Its "
            f"weights were trained by PyTorch on four fifths of scikit-learn's handwritten digits. The others, {count} "
            "held-out digits that it never learned from, are in this workbook too: the sheet 'accuracy' counts how "
            "many of them it reads rightly.",
        ],
        [
            "On 'classifier', change a few pixels (0 is no ink, 16 is full ink) and watch the probabilities follow.",
            "Choose 'held out' as source and type a number into digit: that digit goes through the network instead.",
            "On 'accuracy', look for the digits that are read wrongly, and look at one of them on 'classifier'.",
            "Paint a letter. The network has never seen one, but it must choose a digit: how sure is it?",
            "On 'weights', set one filter to 0. How many digits does that cost?",
        ],
        INPUTS,
        values,
    )
    front = book.sheet(
        "classifier",
        "Paint a digit",
        "Type numbers from 0, no ink, to 16, full ink, into the yellow cells. The answer is on the right, what the "
        "filters see is below.",
        "To see one of the held-out digits instead, choose 'held out' as source and type its number.",
    )
    weights = _weights_sheet(book)
    accuracy = book.sheet(
        "accuracy",
        "How many of the held-out digits are read rightly?",
        "None of these digits was used in training. The network says the digit with the largest logit.",
    )
    pixels, pools = _held_out_sheet(book, data["held_pixels"], weights)
    labels = _accuracy_sheet(accuracy, data["held_label"], pools, weights)
    _front_sheet(front, data["painted"], pixels, labels, weights)
    return book


def _typed(array: Any) -> Array:
    numbers = [int(value) if float(value).is_integer() else float(value) for value in np.ravel(array)]
    return np.array([Typed(number) for number in numbers], dtype=object).reshape(np.shape(array))


def _weights_sheet(book: Book) -> dict[str, Array]:
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
    trained = {name: _typed(array) for name, array in json.loads(WEIGHTS.read_text(encoding="utf-8")).items()}
    row = sheet.next_row
    placed = {}
    layout: dict[str, Any] = {"words": "trained: type here", "torch": "conv.weight[:, 0]"}
    left = 2
    for name in ("conv_weight", "conv_bias", "dense_bias"):
        placed[name] = show(sheet, name, trained[name], "parameter", row, left, DIVERGING, **layout)
        left = int(placed[name].flat[-1].column) + 2
        layout = {"across": True, "torch": f"{name.partition('_')[0]}.bias"}
    row += 2 + KERNEL + 2
    layout = {"words": "a row for each digit, a part for each filter's map", "torch": "dense.weight.view(10, 6, 3, 3)"}
    weight = show(sheet, "dense_weight", trained["dense_weight"], "parameter", row, 2, DIVERGING, **layout)
    for digit in range(CLASSES):
        sheet.write(row + 2 + digit * (POOLED + 1), 1, f"digit {digit}", LABEL)
    return placed | {"dense_weight": weight}


def _network(pixels: Array, weights: dict[str, Array]) -> Array:
    """The maps after convolution and ReLU, as expressions: pixels (count, 8, 8) become (count, filters, 6, 6)."""
    sums = tensor.conv2d(pixels[:, None], weights["conv_weight"][:, None])
    return tensor.relu(sums / FULL + weights["conv_bias"][:, None, None])


def _scores(pool: Array, weights: dict[str, Array]) -> Array:
    """The logits, as expressions: pooled maps (count, filters, 3, 3) become (count, 10)."""
    logits = [[tensor.sum(maps * weight) for weight in weights["dense_weight"]] for maps in pool]
    return np.array(logits, dtype=object) + weights["dense_bias"]


def _held_out_sheet(book: Book, pixels: Any, weights: dict[str, Array]) -> tuple[Array, Array]:
    """The held-out digits and their maps; gives the pixels and the pooled maps."""
    sheet = book.sheet(
        "held out",
        "The held-out digits go through the network",
        "Each digit with its six maps after convolution and ReLU, and after max-pooling. The dense layer is on "
        "'accuracy'.",
    )
    sheet.width(1, 7)
    sheet.width(2, 4.5, 120)
    row, left = sheet.next_row, 2
    layout: dict[str, Any] = {"down": True, "band": BAND, "number_format": "0", "torch": "x * 16"}
    words = "a digit every nine rows: type here"
    placed = show(sheet, "held_pixels", _typed(pixels), "data", row, left, INK, words=words, **layout)
    for number, first in enumerate(placed[:, 0, 0], start=1):
        sheet.write(first.row, 1, number, LABEL)
    left += SIDE + 1
    layout = {"band": BAND, "number_format": "0.0"}
    words = f"sum of window * filter / {FULL}, + bias; 0 where that is below 0"
    torch = "F.relu(F.conv2d(x, conv.weight, conv.bias))"
    relu = _network(placed, weights)
    relu = show(sheet, "held_relu", relu, "activation", row, left, words=words, torch=torch, **layout)
    left += FILTERS * (MAP + 1)
    words = "the largest of each 2 x 2 cells"
    pool = tensor.max_pool2d(relu, POOL)
    pool = show(sheet, "held_pool", pool, "activation", row, left, words=words, torch="F.max_pool2d(relu, 2)", **layout)
    sheet.freeze(row + 2, 2)
    return placed, pool


def _accuracy_sheet(sheet: Sheet, labels: Any, pool: Array, weights: dict[str, Array]) -> Array:
    """The logits of all held-out digits, what they say, and how often that is right; gives the labels."""
    count = len(labels)
    summary = sheet.next_row
    confusion_top = summary + 4
    table = sheet.table(confusion_top + 2 + CLASSES + 2, 1, count, [str(digit) for digit in range(CLASSES)])
    table.column("number", "check", np.arange(1, count + 1), words="counts the digits", number_format=WHOLE, width=10)
    label = table.column(
        "held_label", "data", _typed(labels), words="what it is", torch="y", number_format=WHOLE, width=10
    )
    logits = table.column(
        "held_logits",
        "activation",
        _scores(pool, weights),
        words="a score for each digit",
        torch="model(x)",
        number_format=SHORT,
        width=9,
    )
    predicted = np.array([tensor.argmax(each) for each in logits], dtype=object)
    predicted = table.column(
        "held_predicted", "check", predicted, words="the largest logit", torch="logits.argmax(1)", number_format=WHOLE
    )
    wrong = tensor.where(tensor.equal(predicted, label), 0, 1)
    wrong = table.column("held_wrong", "check", wrong, words="1 where it is not", number_format=WHOLE)
    sheet.heat_map(wrong, HEAT)
    sheet.width(3, 9, 2 + CLASSES)
    layout: dict[str, Any] = {"words": f"of {count} are read rightly", "number_format": WHOLE}
    total = sheet.value(summary, 1, "right", count - tensor.sum(wrong), "check", **layout)
    words, torch = "the share of them", "(logits.argmax(1) == y).mean()"
    sheet.value(summary + 1, 1, "accuracy", total / count, "check", words=words, torch=torch, number_format="0.0%")
    digit = range(CLASSES)
    pairs = [[_both(label, i, predicted, j) for j in digit] for i in digit]
    sheet.write(confusion_top, 1, "What was taken for what", HEADING)
    for each in digit:
        sheet.write(confusion_top + 1, 3 + each, f"for a {each}", LABEL)
        sheet.write(confusion_top + 2 + each, 2, f"a {each}", LABEL)
    layout = {"words": "how often the digit of the row was taken for that of the column", "number_format": "0;;"}
    pairs = np.array(pairs, dtype=object)
    sheet.heat_map(sheet.place("confusion", pairs, "check", confusion_top + 2, 3, **layout), HEAT)
    sheet.repeat_rows(table.head, table.first - 1)
    return label


def _both(label: Array, i: int, predicted: Array, j: int) -> Any:
    """How many digits i were taken for j."""
    return Call("SUMPRODUCT", compare("=", tensor.span(label), i) * compare("=", tensor.span(predicted), j))


def _front_sheet(sheet: Sheet, painted: Any, held: Array, labels: Array, weights: dict[str, Array]) -> None:
    """The picture that the reader paints or chooses, its way through the network, and the ten probabilities."""
    sheet.width(1, 12)
    sheet.width(2, 12)
    sheet.width(LEFT, CELL, 80)
    sheet.print_on_one_page()
    source, digit = sheet.inputs(sheet.next_row, 1, ("source", "digit"))
    row, left = sheet.next_row, LEFT
    words = "paint here: 0 is no ink, 16 is full ink"
    layout: dict[str, Any] = {"words": words, "number_format": "0", "torch": "x * 16"}
    mine = show(sheet, "painted", _typed(painted), "input", row, left, INK, **layout)
    left += SIDE + 2
    first, last = held[0, 0, 0], held[-1, -1, -1]
    area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    chosen = np.empty((SIDE, SIDE), dtype=object)
    for i, j in np.ndindex(SIDE, SIDE):
        there = Call("INDEX", area, (digit - 1) * BAND + (i + 1), j + 1)
        chosen[i, j] = tensor.where(tensor.equal(source, "painted"), mine[i, j], there)
    layout |= {"words": "what the network looks at: painted, or the held-out digit"}
    picture = show(sheet, "picture", chosen, "data", row, left, INK, **layout)
    maps_row = row + 2 + CLASSES + 2
    words = f"sum of window * filter / {FULL}, + bias; 0 where that is below 0"
    layout = {"words": words, "torch": "F.relu(F.conv2d(x, conv.weight, conv.bias))[0]"}
    relu = show(sheet, "relu", _network(picture[None], weights)[0], "activation", maps_row, LEFT, **layout)
    layout = {"words": "the largest of each 2 x 2 cells", "torch": "F.max_pool2d(relu, 2)[0]"}
    pool = tensor.max_pool2d(relu[None], POOL)[0]
    pool = show(sheet, "pool", pool, "activation", maps_row + 2 + MAP + 1, LEFT, **layout)

    left += SIDE + 2
    layout = {"words": "the ten possible answers", "note": False, "number_format": WHOLE}
    show(sheet, "digits", np.arange(CLASSES), "check", row, left, None, **layout)
    left += 4
    layout = {"words": "a score for each", "torch": "model(x)[0]"}
    logits = show(sheet, "logits", _scores(pool[None], weights)[0], "activation", row, left, DIVERGING, **layout)
    left += 4
    powers = tensor.exp(logits - tensor.largest(logits))
    layout = {"words": "e ^ (logit - largest)", "number_format": "0.000"}
    powers = show(sheet, "exp_logits", powers, "activation", row, left, None, **layout)
    left += 4
    layout = {"words": "its share of all of them", "torch": "F.softmax(logits, 0)", "number_format": "0.0%"}
    shares = show(sheet, "probability", powers / tensor.sum(powers), "activation", row, left, **layout)
    layout = {"words": "the digit with the largest probability", "number_format": WHOLE, "torch": "logits.argmax()"}
    labelled(sheet, "predicted", tensor.argmax(shares), "check", row + 3, **layout)
    layout = {"words": "its probability", "number_format": "0.0%"}
    labelled(sheet, "sure", tensor.largest(shares), "check", row + 4, **layout)
    layout = {"words": "which digit the held-out one of that number is", "number_format": WHOLE}
    labelled(sheet, "label_of_digit", tensor.index(labels, digit), "data", row + 6, **layout)
    sheet.write(row + 2, 1, "The answer", HEADING)


def forward(x: Any, params: dict[str, Any]) -> dict[str, Any]:
    """The network in torch: pictures (count, 1, 8, 8) from 0 to 1 to maps, pooled maps and logits."""
    from torch.nn import functional as F  # noqa: N812

    relu = F.relu(F.conv2d(x, params["conv_weight"].unsqueeze(1), params["conv_bias"]))
    pool = F.max_pool2d(relu, POOL)
    logits = F.linear(pool.flatten(1), params["dense_weight"].flatten(1), params["dense_bias"])
    return {"relu": relu, "pool": pool, "logits": logits}


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch

    blocks: dict[str, Any] = {name: torch.as_tensor(values[name], dtype=torch.float64) for name in DIMS}
    count, number = len(blocks["held_label"]), int(values["digit"])
    if number > count:
        raise ValueError(f"digit: expected one of the {count} held-out digits, got {number}")
    labels = blocks["held_label"]
    picture = blocks["painted"] if values["source"] == "painted" else blocks["held_pixels"][number - 1]
    one = {name: block[0] for name, block in forward(picture[None, None] / FULL, blocks).items()}
    many = forward(blocks["held_pixels"][:, None] / FULL, blocks)
    predicted = many["logits"].argmax(1)
    right = predicted == labels
    digit = torch.arange(CLASSES)
    probability = one["logits"].softmax(0)
    blocks |= one | {f"held_{name}": block for name, block in many.items()}
    blocks |= {
        "digit": torch.tensor(number),
        "picture": picture,
        "digits": digit,
        "exp_logits": (one["logits"] - one["logits"].max()).exp(),
        "probability": probability,
        "predicted": probability.argmax(),
        "sure": probability.max(),
        "label_of_digit": labels[number - 1],
        "number": torch.arange(1, count + 1),
        "held_predicted": predicted,
        "held_wrong": ~right,
        "right": right.sum(),
        "accuracy": right.double().mean(),
        "confusion": torch.stack([((labels == i)[:, None] & (predicted[:, None] == digit)).sum(0) for i in digit]),
    }
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def load(source: Source) -> dict[str, Array]:
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


INPUTS = (
    Input("source", "painted", "what the network looks at", choices=SOURCES),
    Input("digit", 1, "the number of a held-out digit", minimum=1, maximum=MAX_DIGITS, whole=True),
)
DIMS = {
    "painted": 2,
    "held_pixels": 3,
    "held_label": 1,
    "conv_weight": 3,
    "conv_bias": 1,
    "dense_weight": 4,
    "dense_bias": 1,
}
CLASSIFIER = Lesson(
    "classifier",
    "a trained classifier of handwritten digits: paint one and read ten probabilities",
    INPUTS,
    Data(DIMS, load, ("csv", "image")),
    build=build,
    reference=reference,
)
