"""What the lessons about convolutions share: maps side by side, and the last steps from ten scores to the loss."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, INK, LIGHT, SHORT, WHOLE, Book, Sheet
from sgdsheet.book.style import HEADING, LABEL, TEXT, Scale
from sgdsheet.errors import Error
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Column, Named, typed
from sgdsheet.tensor import Array

CLASSES = 10
KERNEL = 3
POOL = 2
LEFT = 3  # the column in which maps begin, right of the words
CELL = 6.0  # a map's cells are so many characters wide
EXPLAINED = 8  # rows for the words left of a layer
FIXED: dict[str, Any] = {"maximum": 10, "whole": True, "fixed": True}  # padding and stride
DENSE = {"dense_weight": 4, "dense_bias": 1}  # their dimensions
PADDED = "with cells of 0 around it"
FOUR = "0.0000"
WINDOW = "sum of window * filter, + bias"
LARGEST = "the largest of each 2 x 2 cells"
PLACES = "which of the 2 x 2 was the largest: 0 1, below them 2 3"
PASSED = "grad_relu where conv is above 0"
RANDOM = "random at first: type here"


@dataclass(frozen=True)
class Map(Column):
    """A block among maps, whose numbers give its cells their colours on a `scale` (None: no colours).

    It takes `takes` columns, by default what it or its heading needs and a blank one. One dimension runs down, or
    `across`. Without a `note` the words are not in its heading.
    """

    digits: str = SHORT
    scale: Scale | None = HEAT
    takes: int = 0
    across: bool = False
    note: bool = True


picture = partial(Map, "data", scale=LIGHT)
ink = partial(Map, "data", scale=INK)
weight = partial(Map, "parameter", scale=DIVERGING, absolute=True)
feature = partial(Map, "activation")
signed = partial(Map, "activation", scale=DIVERGING)
gradient = partial(Map, "gradient", scale=DIVERGING, digits="0.000")
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


def maps_sheet(book: Book, name: str, title: str, *notes: str) -> Sheet:
    """A sheet with two columns for words and inputs, and narrow ones for maps."""
    sheet = book.sheet(name, title, *notes)
    sheet.width(1, 17)
    sheet.width(2, 12)
    sheet.width(LEFT, CELL, 700)
    sheet.print_on_one_page()
    return sheet


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
        title = name if short else each.title or prefix + name
        room = max(3, beside * (columns + 1) - 1, math.ceil(1.3 * len(title) / CELL))
        says: dict[str, Any] = {"words": each.words, "torch": each.torch, "title": title, "note": each.note}
        layout: dict[str, Any] = {"across": each.across, "down": down and array.ndim == 3, "band": band}
        layout |= {"number_format": each.digits, "absolute": each.absolute, "room": room}
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


def show_picture(sheet: Sheet, pixels: Any, padding: int, row: int) -> tuple[Array, int]:
    """The picture, for the reader to change, and with its padding: what a convolution looks at, and the next column."""
    words = "from 0, dark, to 1, light: type here"
    m = maps(sheet, row=row, down=True, picture=picture(typed(pixels), words, "x[0]"))
    if not padding:
        return m.picture, m.right
    padded = picture(tensor.pad2d(m.picture, padding), PADDED, "F.pad(x, ...)[0]")
    m = maps(sheet, row=row, left=m.right, down=True, padded=padded)
    return m.padded, m.right


def weights(generator: random.Random, shape: tuple[int, ...]) -> Array:
    """Untrained weights that the reader may change: uniform within 1 / sqrt(inputs), as torch begins, and rounded."""
    bound = math.prod(shape[1:]) ** -0.5
    return typed(np.reshape([round(generator.uniform(-bound, bound), 3) for _ in range(math.prod(shape))], shape))


def explain(sheet: Sheet, row: int, heading: str, text: str) -> None:
    """A few lines left of the maps."""
    sheet.write(row, 1, heading, HEADING)
    for offset, line in enumerate(textwrap.wrap(text, 32), start=2):
        sheet.write(row + offset, 1, line, TEXT)


def conv_layer(
    sheet: Sheet, name: str, row: int, left: int, seen: Array, filters: Array, words: str, stride: int
) -> Named:
    """A layer, side by side: its `weight` and `bias`, the maps `conv`, after ReLU `relu`; `right` as for `maps`."""
    after, count = name.replace("conv", "relu"), len(filters)
    bias = flow.parameter(typed([0] * count), "", f"{name}.bias")
    (bias,) = vars(labelled(sheet, row + EXPLAINED, **{f"{name}_bias": bias})).values()
    layer: dict[str, Any] = {
        f"{name}_weight": weight(filters, words, f"{name}.weight"),
        name: signed(
            lambda m: tensor.conv2d(seen[None], m[f"{name}_weight"], bias, stride)[0], WINDOW, f"{name}(x)[0]"
        ),
        after: feature(lambda m: tensor.relu(m[name]), "the same, but 0 where it is below 0", "F.relu(x)[0]"),
    }
    m = maps(sheet, row=row, left=left, band=max(seen.shape[1], KERNEL) + 1, down=True, **layer)
    sheet.next_row = max(sheet.next_row, row + 2 + EXPLAINED + count) + 1
    return Named(weight=m[f"{name}_weight"], bias=bias, conv=m[name], relu=m[after], right=m.right)


def pool_layer(sheet: Sheet, row: int, layer: Named) -> Array:
    """The maps after max-pooling, right of the layer that is pooled."""
    pool = feature(tensor.max_pool2d(layer.relu[None], POOL)[0], LARGEST, "F.max_pool2d(x, 2)[0]")
    return maps(sheet, row=row, left=layer.right, down=True, pool=pool).pool


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


def dense_sheet(book: Book, pool: Array) -> tuple[Sheet, Array, Array]:
    """The sheet `dense`, with weights of shape (10, *pool.shape), and biases."""
    sheet = book.sheet(
        "dense",
        "The dense layer's weights",
        "Dense means that each of the ten digits looks at every cell of the pooled maps. A row of small maps here "
        "belongs to one digit, one for each pooled map: blue cells speak against the digit, orange ones for it.",
    )
    sheet.width(1, 17)
    sheet.width(2, CELL, 700)
    row, band = sheet.next_row, pool.shape[1] + 1
    numbers = weights(random.Random(3), (CLASSES, *pool.shape))
    dense_weight = weight(numbers, RANDOM, "dense.weight.view(10, 2, rows, columns)")
    m = maps(sheet, row=row, left=2, band=band, dense_weight=dense_weight)
    for digit in range(CLASSES):
        sheet.write(row + 2 + digit * band, 1, f"digit {digit}", LABEL)
    sheet.width(m.right, 14)
    layout: dict[str, Any] = {"words": "one a digit", "torch": "dense.bias"}
    bias = sheet.headed("dense_bias", typed([0] * CLASSES), "parameter", row, m.right, **layout)
    return sheet, m.dense_weight, bias


def each_row(function: Callable[[Any], Any], rows: Any) -> Array:
    """The function of each of the rows, as expressions."""
    return np.array([function(row) for row in rows], dtype=object)


def dense(maps: Array, weight: Array, bias: Array) -> Array:
    """Ten scores: the sum of all cells of the maps, each times its weight, and the bias."""
    return each_row(lambda each: tensor.sum(maps * each), weight) + bias


def answers(sheet: Sheet, logits: Array, label: Any, prefix: str = "", row: int | None = None, left: int = 1) -> Named:
    """A table from ten scores to probabilities, and the loss below it. Returns what `steps` does, and `loss`."""
    t = flow.steps(
        sheet,
        CLASSES,
        prefix,
        row=row,
        left=left,
        freeze=None,
        digit=flow.counter(np.arange(CLASSES), "the ten possible answers"),
        logits=flow.activation(logits, "a score for each digit", "model(x)", FOUR),
        exp_logits=flow.activation(
            lambda t: tensor.exp(t.logits - tensor.largest(t.logits)), "e ^ (logit - largest logit)", "", FOUR
        ),
        softmax=flow.activation(
            lambda t: t.exp_logits / tensor.sum(t.exp_logits), "its share of all of them", "F.softmax(logits)", FOUR
        ),
        log_softmax=flow.activation(
            lambda t: t.logits - tensor.largest(t.logits) - tensor.log(tensor.sum(t.exp_logits)),
            "the logarithm of softmax",
            "F.log_softmax(logits)",
            FOUR,
        ),
        one_hot=flow.data(tensor.one_hot(label, CLASSES), "1 at the label", "F.one_hot(label)", WHOLE),
    )
    sheet.heat_map(t.softmax, HEAT)
    below = flow.values(
        sheet,
        prefix,
        row=t.first + CLASSES + 1,
        left=left,
        loss=flow.loss(
            -tensor.sum(t.one_hot * t.log_softmax),
            "minus the log_softmax of the label: 0 if the network is sure and right",
            "F.cross_entropy(logits, label)",
        ),
        predicted=flow.check(tensor.argmax(t.logits), "the digit with the largest logit", "argmax", WHOLE),
    )
    t.loss = below.loss
    return t


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
