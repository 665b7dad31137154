"""What the lessons about convolutions share: maps side by side, and the last steps from ten scores to the loss."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, INK, SHORT, WHOLE, Book, Sheet, bars
from sgdsheet.book.geometry import LETTER
from sgdsheet.book.style import HEADING, LABEL, PARAGRAPH, TEXT, Look, Scale
from sgdsheet.errors import Error
from sgdsheet.expr import MAX_COLUMNS, Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Column, Named, typed
from sgdsheet.tensor import Array

CLASSES = 10
KERNEL = 3
POOL = 2
LEFT = 3  # the column in which maps begin, right of the words
CELL = 6.0  # a map's cells are so many characters wide
SMALL = 16 / 7  # and those of large maps: 16 pixels, as high as they are wide
FIXED: dict[str, Any] = {"maximum": 10, "whole": True, "fixed": True}  # padding and stride
DENSE = {"dense_weight": 4, "dense_bias": 1}  # their dimensions
PADDED = "with cells of 0 around it"
ANSWER = Look(fill="FFFFFF", color="1F3864", bold=True, size=40, horizontal="center")
SURE = replace(TEXT, number_format="0.0%", horizontal="center")
COLORS = ";;;"  # the number format of a map whose colours say enough: a click on a cell shows its number
TENTHS = '0.0;-0.0;"\u00b7"'  # a dot for a zero
WINDOW = "sum of window * filter, + bias"
LARGEST = "the largest of each 2 x 2 cells"
PLACES = "which of the 2 x 2 was the largest: 0 1, below them 2 3"
PASSED = "grad_relu_maps where conv is above 0"
RANDOM = "random at first: type here"


@dataclass(frozen=True)
class Map(Column):
    """A block among maps, whose numbers give its cells their colours on a `scale` (None: no colours).

    It takes `takes` columns, by default what it or its heading needs and a blank one. One dimension runs down, or
    `across`; maps that would be side by side over more than `most` columns go on below. Without a `note` the words are
    not in its heading.
    """

    digits: str = SHORT
    scale: Scale | None = HEAT
    takes: int = 0
    across: bool = False
    note: bool = True
    most: int = MAX_COLUMNS


ink = partial(Map, "data", scale=INK)
weight = partial(Map, "parameter", scale=DIVERGING, absolute=True)
feature = partial(Map, "activation")
signed = partial(Map, "activation", scale=DIVERGING)
gradient = partial(Map, "gradient", scale=DIVERGING, digits='0.000;-0.000;"\u00b7"')
loss = partial(Map, "loss", scale=None)
count = partial(Map, "check", scale=None, digits=WHOLE)


def check_layers(lesson: str, picture: Array, layers: int, padding: int, stride: int) -> None:
    """Raises `Error` if a picture is too small for so many convolutions and the max-pooling after them."""
    chosen = f"with padding={padding}, stride={stride}; choose a larger padding, smaller stride or larger picture"
    rows, columns = picture.shape[1:]
    for layer in range(1, layers + 1):
        rows, columns = rows + 2 * padding, columns + 2 * padding
        if min(rows, columns) < KERNEL:
            which = f"{rows} x {columns} that {f'layer {layer}' if layers > 1 else 'the convolution'} looks at"
            raise Error(f"{lesson}: a kernel of {KERNEL} x {KERNEL} is larger than the {which} {chosen}")
        rows, columns = ((side - KERNEL) // stride + 1 for side in (rows, columns))
    if min(rows, columns) < POOL:
        raise Error(f"{lesson}: max-pooling takes {POOL} x {POOL} cells, but has {rows} x {columns} {chosen}")


def maps_sheet(book: Book, name: str, title: str, *notes: str, cell: float = CELL, details: bool = False) -> Sheet:
    """A sheet with two columns for words and inputs, and narrow ones for maps, `cell` characters wide."""
    sheet = book.sheet(name, title, *notes, details=details)
    sheet.width(1, 17)
    sheet.width(2, 12)
    sheet.width(LEFT, cell, 300)
    sheet.print_on_one_page()
    return sheet


def square(sheet: Sheet, first: int, cell: float = SMALL) -> None:
    """Makes the rows from `first` to the last that is used as high as cells are wide, but for those of headings."""
    for row in range(first, sheet.next_row):
        sheet.row_heights.setdefault(row, cell * 7 * 0.75)


def maps(
    sheet: Sheet,
    prefix: str = "",
    *,
    row: int | None = None,
    left: int = LEFT,
    band: int | None = None,
    down: bool = False,
    short: bool = False,
    **given: Map,
) -> Named:
    """Blocks side by side, each below a heading that keeps to its columns. Returns their references by name.

    A formula may be a function of the blocks left of it. The last two dimensions are a map, of which one begins every
    `band` rows; of three dimensions the maps are side by side, or one below the other with `down`. `prefix` and
    `short` are those of `columns`. `right` is the first column that is free beside them.
    """
    m = Named()
    row = sheet.next_row if row is None else row
    for name, each in given.items():
        array = np.asarray(flow.formulas(each, m), dtype=object)
        rows, columns = (1, 1, *array.shape)[-2:] if array.ndim > 1 or each.across else (array.size, 1)
        below, beside = (1, 1, *array.shape[:-2])[-2:]
        if down and array.ndim == 3:
            below, beside = beside, 1
        lines = math.ceil(beside / max(1, (each.most + 1) // (columns + 1)))
        below, beside = below * lines, math.ceil(beside / lines)
        title = name if short else each.title or prefix + name
        cell = sheet.left_of(left + 1) - sheet.left_of(left)
        room = max(3, beside * (columns + 1) - 1, math.ceil(9.1 * len(title) / cell))
        says: dict[str, Any] = {"words": each.words, "torch": each.torch, "title": title, "note": each.note}
        layout: dict[str, Any] = {"across": each.across, "down": down and array.ndim == 3, "band": band}
        layout |= {"number_format": each.digits, "absolute": each.absolute, "room": room, "most": each.most}
        sheet.row_heights.setdefault(row, 18)
        placed = sheet.headed(prefix + name, array, each.role, row, left, **says, **layout)
        if each.scale is not None:
            sheet.heat_map(placed, each.scale)
        setattr(m, name, placed if placed.ndim else placed.item())
        left += each.takes or room + 1
        sheet.next_row = max(sheet.next_row, row + 2 + below * max(band or 0, rows + 1))
    m.right = left
    return m


def labelled(sheet: Sheet, row: int, **given: Column) -> Named:
    """Numbers, or a few below each other, left of the maps. Returns their references by name."""
    t = Named()
    for name, each in given.items():
        says: dict[str, Any] = {"words": each.words, "torch": each.torch, "number_format": each.digits}
        sheet.write(row, 1, name, LABEL)
        placed = sheet.place(name, flow.formulas(each, t), each.role, row, 2, **says)
        setattr(t, name, placed if placed.ndim else placed.item())
        row += placed.size
    return t


def chosen(maps: Array, number: Any) -> Array:
    """One of several maps, (count, ..., rows, columns) below each other, by its number from 0, as expressions."""
    if len(maps) == 1:
        return maps[0]
    first, last, band = maps.flat[0], maps.flat[-1], maps[1].flat[0].row - maps[0].flat[0].row
    area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    found = np.empty(maps.shape[1:], dtype=object)
    for position, cell in np.ndenumerate(maps[0]):
        down, right = cell.row - first.row + 1, cell.column - first.column + 1
        found[position] = Call("INDEX", area, number * band + down, right)
    return found


def padded(
    sheet: Sheet, name: str, seen: Array, padding: int, row: int, left: int, torch: str, digits: str = TENTHS
) -> tuple[Array, int]:
    """What a convolution looks at, with its padding if there is any, as a block `name`; and the next column."""
    if not padding:
        return seen, left
    block: dict[str, Any] = {name: Map("activation", tensor.pad2d(seen, padding), PADDED, torch, digits, scale=INK)}
    m = maps(sheet, row=row, left=left, down=True, **block)
    return m[name], m.right


def weights(generator: random.Random, shape: tuple[int, ...]) -> Array:
    """Untrained weights that the reader may change: uniform within 1 / sqrt(inputs), as torch begins, and rounded."""
    bound = math.prod(shape[1:]) ** -0.5
    return typed(np.reshape([round(generator.uniform(-bound, bound), 3) for _ in range(math.prod(shape))], shape))


def explain(sheet: Sheet, row: int, heading: str, text: str) -> None:
    """A heading and a few lines left of the maps."""
    sheet.write(row, 1, heading, HEADING)
    sheet.write(row + 2, 1, text, PARAGRAPH)
    lines = textwrap.wrap(text, int(sheet.left_of(LEFT) / LETTER))
    sheet.merge(row + 2, 1, 2, row + 1 + len(lines))


def pooled_from(maps: Array, pool: Array) -> Array:
    """Which cell of each window was the largest, as expressions: 0 1, below them 2 3; the first if several were."""
    looked_at = zip(tensor.windows(maps, (POOL, POOL), POOL).reshape(-1, POOL, POOL), pool.flat, strict=True)
    return np.array([tensor.argmax(window, top) for window, top in looked_at], dtype=object).reshape(pool.shape)


def reference_places(indices: Any, columns: int) -> Any:
    """The same from torch's indices into maps of so many columns."""
    return indices // columns % POOL * POOL + indices % columns % POOL


def unpooled(grad: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of max-pooling's input, of that shape: the largest of each window gets it all, the others 0."""
    back = np.zeros(shape, dtype=object)
    for place, (i, j) in enumerate(np.ndindex(POOL, POOL)):
        arrives = tensor.where(tensor.equal(places, place), grad, 0)
        back[..., i : POOL * grad.shape[-2] : POOL, j : POOL * grad.shape[-1] : POOL] = arrives
    return back


def dense_sheet(
    book: Book, weight: Array, bias: Array, words: str, cell: float, digits: str = SHORT, most: int = CLASSES // 2
) -> tuple[Sheet, Array, Array]:
    """The sheet `dense`, and its cells for the weights (10, maps, rows, columns) and biases (10) given.

    `cell`, `digits` and `most` are those of `of_each_digit`.
    """
    sheet = book.sheet(
        "dense",
        "The dense layer's weights",
        "Dense means that each of the ten digits looks at every cell of the pooled maps. Orange cells speak for the "
        "digit, blue ones against it.",
    )
    sheet.width(1, 7)
    sheet.width(2, 7)
    sheet.width(LEFT, cell, 300)
    weight_ = Map("parameter", weight, words, "dense.weight.view(10, ...).transpose(0, 1)", digits, absolute=True)
    placed = of_each_digit(sheet, sheet.next_row, "dense_weight", weight_, "weights", LEFT, cell, most)
    row = sheet.next_row
    sheet.write(row, 1, "dense_bias", HEADING)
    biases = sheet.place("dense_bias", bias, "parameter", row + 1, 2, words="one a digit", torch="dense.bias")
    for digit in range(CLASSES):
        sheet.write(row + 1 + digit, 1, f"digit {digit}", LABEL)
    return sheet, placed, biases


def of_each_digit(
    sheet: Sheet, row: int, name: str, each: Map, title: str, left: int, cell: float, most: int = CLASSES // 2
) -> Array:
    """A block of small maps, (10, maps, rows, columns): `most` digits side by side, the rest below, map after map.

    The map's cells are `cell` characters wide, and as high in a sheet whose cells show no numbers.
    """
    turned = np.moveaxis(np.asarray(each.formula, dtype=object), 1, 0)
    rows, columns = turned.shape[2:]
    band = most * (columns + 1)
    sheet.heading(row, left, title, turned.shape, each.words, band)
    says: dict[str, Any] = {"words": each.words, "torch": each.torch, "absolute": each.absolute}
    placed = sheet.place(
        name, turned, each.role, row + 3, left, band=rows + 2, most=band, number_format=each.digits, **says
    )
    sheet.heat_map(placed, DIVERGING)
    for (number, digit), first in np.ndenumerate(placed[:, :, 0, 0]):
        sheet.write(first.row - 1, first.column, f"digit {digit}", LABEL)
        sheet.write(first.row - 1, 1, f"map {number + 1}", LABEL)
        if each.digits == COLORS:
            for inside in range(rows):
                sheet.row_heights[first.row + inside] = cell * 7 * 0.75
    sheet.next_row = placed.flat[-1].row + 2
    return np.moveaxis(placed, 1, 0)


def each_row(function: Callable[[Any], Any], rows: Any) -> Array:
    """The function of each of the rows, as expressions."""
    return np.array([function(row) for row in rows], dtype=object)


def dense(maps: Array, weight: Array, bias: Array) -> Array:
    """Ten scores: the sum of all cells of the maps, each times its weight, and the bias."""
    return each_row(lambda each: tensor.sum(maps * each), weight) + bias


def answers(
    sheet: Sheet,
    logits: Array,
    label: Any,
    prefix: str = "",
    row: int | None = None,
    left: int = 1,
    short: bool = False,
) -> Named:
    """A table from ten scores to probabilities, and the loss below it. Returns what `steps` does, and `loss`."""
    t = flow.steps(
        sheet,
        CLASSES,
        prefix,
        row=row,
        left=left,
        freeze=None,
        short=short,
        digit=flow.counter(np.arange(CLASSES), "the ten possible answers"),
        logits=flow.activation(logits, "a score for each digit", "model(x)"),
        exp_logits=flow.activation(
            lambda t: tensor.exp(t.logits - tensor.largest(t.logits)), "e ^ (logit - largest logit)"
        ),
        softmax=flow.activation(
            lambda t: t.exp_logits / tensor.sum(t.exp_logits), "its share of all of them", "F.softmax(logits)"
        ),
        log_softmax=flow.activation(
            lambda t: t.logits - tensor.largest(t.logits) - tensor.log(tensor.sum(t.exp_logits)),
            "the logarithm of softmax",
            "F.log_softmax(logits)",
        ),
        one_hot=flow.data(tensor.one_hot(label, CLASSES), "1 at the label", "F.one_hot(label)", WHOLE),
    )
    sheet.width(left, 17)
    sheet.heat_map(t.softmax, HEAT)
    below = flow.values(
        sheet,
        prefix,
        row=t.first + CLASSES + 1,
        left=left,
        loss=flow.loss(
            -tensor.sum(t.one_hot * t.log_softmax),
            "minus the log_softmax of the label",
            "F.cross_entropy(logits, label)",
        ),
        predicted=flow.check(tensor.argmax(t.logits), "the digit with the largest logit", "argmax", WHOLE),
    )
    t.loss, t.predicted = below.loss, below.predicted
    return t


def large_answer(
    sheet: Sheet, row: int, left: int, predicted: Any, sure: Any, says: str = "is what the network reads"
) -> None:
    """The answer in large figures, over three rows, and how sure it is."""
    cells = max(1, round(70 / (sheet.left_of(left + 1) - sheet.left_of(left))))
    sheet.write(row, left, predicted, ANSWER)
    sheet.merge(row, left, left + cells - 1, row + 2)
    beside = left + cells + 1
    sheet.write(row, beside, says, HEADING)
    sheet.write(row + 1, beside, sure, SURE)
    sheet.merge(row + 1, beside, beside + cells - 1)
    sheet.write(row + 1, beside + cells, "sure", TEXT)


def probability_bars(
    sheet: Sheet, row: int, left: int, digits: Array, *heights: tuple[str, Array], width: float = 15, height: float = 9
) -> None:
    """A chart of the ten probabilities: a bar for each digit."""
    chart = bars("How sure it is", "digit", "probability", digits, heights, width=width, height=height, y_range=(0, 1))
    sheet.chart(row, left, chart)


def reference_answers(logits: Any, label: int, prefix: str = "") -> dict[str, Any]:
    """The blocks of `answers` by torch, from logits of shape (10) and the label."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    target = torch.tensor(label)
    blocks = {
        "digit": torch.arange(CLASSES),
        "logits": logits,
        "exp_logits": torch.exp(logits - logits.max()),
        "softmax": F.softmax(logits, 0),
        "log_softmax": F.log_softmax(logits, 0),
        "one_hot": F.one_hot(target, CLASSES),
        "loss": F.cross_entropy(logits, target),
        "predicted": logits.argmax(),
    }
    return {f"{prefix}{name}": block for name, block in blocks.items()}
