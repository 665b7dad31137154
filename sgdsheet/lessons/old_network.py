"""What the lessons about convolutions share: how maps are shown, and the last steps from ten scores to the loss."""

from __future__ import annotations

import math
import random
import textwrap
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, LIGHT, SHORT, WHOLE, Book, Sheet, Typed
from sgdsheet.book.style import HEADING, LABEL, TEXT, Scale
from sgdsheet.errors import Error
from sgdsheet.tensor import Array

CLASSES = 10
KERNEL = 3
POOL = 2
LEFT = 3  # the column in which maps begin, right of the words
CELL = 6.0  # a map's cells are so many characters wide
EXPLAINED = 8  # rows for the words left of a layer
PADDED = "with cells of 0 around it"


def check_layers(lesson: str, rows: int, columns: int, layers: int, padding: int, stride: int) -> None:
    """Raises `Error` if a picture is too small for so many convolutions and the max-pooling after them."""
    chosen = f"with padding={padding}, stride={stride}; choose a larger padding, smaller stride or larger picture"
    for layer in range(1, layers + 1):
        rows, columns = rows + 2 * padding, columns + 2 * padding
        if min(rows, columns) < KERNEL:
            which = f"layer {layer}" if layers > 1 else "the convolution"
            raise Error(
                f"{lesson}: a kernel of {KERNEL} x {KERNEL} is larger than the {rows} x {columns} that {which} looks "
                f"at {chosen}"
            )
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


def show(
    sheet: Sheet, name: str, array: Any, role: str, row: int, column: int, scale: Scale | None = HEAT, **layout: Any
) -> Array:
    """A block below a heading that keeps to its columns, as a heat map. `layout` as for `place`."""
    array = np.asarray(array, dtype=object)
    beside = 1 if array.ndim < 3 or layout.get("down") else array.shape[-3]
    wide = beside * (array.shape[-1] + 1) - 1 if array.ndim > 1 else 1
    room = max(3, wide, math.ceil(1.3 * len(layout.get("title", name)) / CELL))
    references = sheet.headed(
        name, array, role, row, column, room=room, **{"number_format": SHORT, "absolute": role == "parameter"} | layout
    )
    if scale is not None:
        sheet.heat_map(references, scale)
    return references


def show_picture(sheet: Sheet, picture: Any, padding: int, row: int) -> tuple[Array, int]:
    """The picture, for the reader to change, and with its padding: what a convolution looks at, and the next column."""
    pixels = np.array([Typed(float(value)) for value in np.ravel(picture)], dtype=object).reshape(picture.shape)
    words = "from 0, dark, to 1, light: type here"
    seen = show(sheet, "picture", pixels, "data", row, LEFT, LIGHT, words=words, torch="x[0]", down=True)
    left = LEFT + seen.shape[2] + 1
    if padding:
        seen = tensor.pad2d(seen, padding)
        seen = show(sheet, "padded", seen, "data", row, left, LIGHT, words=PADDED, torch="F.pad(x, ...)[0]", down=True)
        left += seen.shape[2] + 1
    return seen, left


def weights(generator: random.Random, shape: tuple[int, ...]) -> Array:
    """Untrained weights that the reader may change: uniform within 1 / sqrt(inputs), as torch begins, and rounded."""
    bound = float(np.prod(shape[1:])) ** -0.5
    numbers = [Typed(round(generator.uniform(-bound, bound), 3)) for _ in range(int(np.prod(shape)))]
    return np.array(numbers, dtype=object).reshape(shape)


def zeros(count: int) -> Array:
    """Biases of 0 that the reader may change."""
    return np.array([Typed(0) for _ in range(count)], dtype=object)


def explain(sheet: Sheet, row: int, heading: str, text: str) -> None:
    """A few lines left of the maps."""
    sheet.write(row, 1, heading, HEADING)
    for offset, line in enumerate(textwrap.wrap(text, 32), start=2):
        sheet.write(row + offset, 1, line, TEXT)


def labelled(sheet: Sheet, name: str, array: Any, role: str, row: int, **layout: Any) -> Array:
    """A number, or a few below each other, left of the maps. `layout` as for `place`."""
    sheet.write(row, 1, name, LABEL)
    return sheet.place(name, array, role, row, 2, **layout)


def conv_layer(
    sheet: Sheet, number: str, row: int, left: int, seen: Any, weight: Any, words: str, stride: int
) -> dict[str, Array]:
    """The filters, the maps and the maps after ReLU of one layer, side by side: `weight`, `bias`, `conv`, `relu`."""
    band = max(seen.shape[1], KERNEL) + 1
    count, channels = weight.shape[:2]
    conv, relu = f"conv{number}", f"relu{number}"
    bias = labelled(sheet, f"{conv}_bias", zeros(count), "parameter", row + EXPLAINED, torch=f"{conv}.bias")
    weight = show(
        sheet,
        f"{conv}_weight",
        weight,
        "parameter",
        row,
        left,
        DIVERGING,
        words=words,
        torch=f"{conv}.weight",
        band=band,
    )
    left += channels * (KERNEL + 1)
    maps = tensor.conv2d(seen[None], weight, bias, stride)[0]
    layout = {"down": True, "band": band}
    words = "sum of window * filter, + bias"
    maps = show(sheet, conv, maps, "activation", row, left, DIVERGING, words=words, torch=f"{conv}(x)[0]", **layout)
    left += maps.shape[2] + 1
    words = "the same, but 0 where it is below 0"
    after = tensor.relu(maps)
    after = show(sheet, relu, after, "activation", row, left, words=words, torch="F.relu(x)[0]", **layout)
    sheet.next_row = row + 2 + max(count * band, len(seen) * (seen.shape[1] + 1), EXPLAINED + count) + 1
    return {"weight": weight, "bias": bias, "conv": maps, "relu": after}


def pool_layer(sheet: Sheet, row: int, maps: Any) -> Array:
    """The maps after max-pooling, right of what is pooled."""
    left = int(maps.flat[-1].column) + 2
    pool = tensor.max_pool2d(maps[None], POOL)[0]
    words = "the largest of each 2 x 2 cells"
    return show(sheet, "pool", pool, "activation", row, left, words=words, torch="F.max_pool2d(x, 2)[0]", down=True)


def pooled_from(maps: Array, pool: Array) -> Array:
    """Which cell of each window was the largest, as expressions: 0 1, below them 2 3; the first if several were."""
    windows = tensor.windows(maps, (POOL, POOL), POOL)
    places = np.empty(pool.shape, dtype=object)
    for position in np.ndindex(*pool.shape):
        places[position] = tensor.argmax(windows[position], pool[position])
    return places


def unpooled(grad: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of max-pooling's input, of that shape: the largest of each window gets it all, the others 0."""
    back = np.zeros(shape, dtype=object)
    for position in np.ndindex(*places.shape):
        *leading, i, j = position
        for place, (a, b) in enumerate(np.ndindex(POOL, POOL)):
            arrives = tensor.where(tensor.equal(places[position], place), grad[position], 0)
            back[(*leading, POOL * i + a, POOL * j + b)] = arrives
    return back


def dense_sheet(book: Book, pool: Any) -> tuple[Sheet, Array, Array]:
    """The sheet `dense`, with weights of shape (10, *pool.shape), and biases."""
    sheet = book.sheet(
        "dense",
        "The dense layer's weights",
        "Dense means that each of the ten digits looks at every cell of the pooled maps. A row of small maps here "
        "belongs to one digit, one for each pooled map: blue cells speak against the digit, orange ones for it.",
    )
    sheet.width(1, 17)
    sheet.width(2, CELL, 700)
    weight = weights(random.Random(3), (CLASSES, *pool.shape))
    row = sheet.next_row
    band = pool.shape[1] + 1
    words = "random at first: type here"
    torch = "dense.weight.view(10, 2, rows, columns)"
    weight = show(sheet, "dense_weight", weight, "parameter", row, 2, DIVERGING, words=words, torch=torch, band=band)
    for digit in range(CLASSES):
        sheet.write(row + 2 + digit * band, 1, f"digit {digit}", LABEL)
    left = int(weight.flat[-1].column) + 2
    sheet.width(left, 14)
    bias = sheet.headed("dense_bias", zeros(CLASSES), "parameter", row, left, words="one a digit", torch="dense.bias")
    return sheet, weight, bias


def dense(maps: Any, weight: Any, bias: Any) -> Any:
    """Ten scores: the sum of all cells of the maps, each times its weight, and the bias."""
    return np.array([tensor.sum(maps * each) for each in weight], dtype=object) + bias


def answers(sheet: Sheet, row: int, column: int, logits: Any, label: Any, prefix: str = "") -> dict[str, Any]:
    """A table from ten scores to probabilities, and the loss below it.

    Gives its blocks by name, without the prefix, and the `table`.
    """
    table = sheet.table(row, column, CLASSES)

    def put(name: str, role: str, array: Any, words: str, torch: str = "", digits: str = "0.0000") -> Array:
        return table.column(f"{prefix}{name}", role, array, words=words, torch=torch, number_format=digits)

    classes = np.arange(CLASSES)
    put("digit", "check", classes, "the ten possible answers", digits=WHOLE)
    logits = put("logits", "activation", logits, "a score for each digit", "model(x)")
    powers = tensor.exp(logits - tensor.largest(logits))
    powers = put("exp_logits", "activation", powers, "e ^ (logit - largest logit)")
    softmax = put("softmax", "activation", powers / tensor.sum(powers), "its share of all of them", "F.softmax(logits)")
    sheet.heat_map(softmax, HEAT)
    log_softmax = logits - tensor.largest(logits) - tensor.log(tensor.sum(powers))
    words = "the logarithm of softmax"
    log_softmax = put("log_softmax", "activation", log_softmax, words, "F.log_softmax(logits)")
    one_hot = put("one_hot", "data", tensor.one_hot(label, CLASSES), "1 at the label", "F.one_hot(label)", WHOLE)
    below = table.first + CLASSES + 1
    words = "minus the log_softmax of the label: 0 if the network is sure and right"
    loss = -tensor.sum(one_hot * log_softmax)
    torch = "F.cross_entropy(logits, label)"
    loss = sheet.value(below, column, f"{prefix}loss", loss, "loss", words=words, torch=torch)
    words = "the digit with the largest logit"
    predicted = tensor.argmax(logits)
    layout = {"words": words, "torch": "argmax", "number_format": WHOLE}
    sheet.value(below + 1, column, f"{prefix}predicted", predicted, "check", **layout)
    return {"table": table, "softmax": softmax, "one_hot": one_hot, "loss": loss}


def reference_answers(logits: Any, label: Any, prefix: str = "") -> dict[str, Any]:
    """The blocks of `answers` by torch, from logits of shape (10) and the label as a whole number."""
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
