"""The way of a picture through a small convolutional network, every number of it a formula."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, SHORT, WHOLE, Book, Input, Sheet, Typed
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.expr import Call, Range
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.network import (
    KERNEL,
    LEFT,
    PADDED,
    POOL,
    answers,
    check_layers,
    conv_layer,
    dense,
    dense_sheet,
    explain,
    maps_sheet,
    pool_layer,
    reference_answers,
    show,
    show_picture,
    weights,
)
from sgdsheet.lessons.pictures import load_picture

FILTERS = 2
PRESETS: dict[str, tuple[float, ...]] = {
    "top edge": (-1, -1, -1, 0, 0, 0, 1, 1, 1),
    "bottom edge": (1, 1, 1, 0, 0, 0, -1, -1, -1),
    "left edge": (-1, 0, 1, -1, 0, 1, -1, 0, 1),
    "right edge": (1, 0, -1, 1, 0, -1, 1, 0, -1),
    "diagonal": (2, 1, 0, 1, 0, -1, 0, -1, -2),
    "outline": (-1, -1, -1, -1, 8, -1, -1, -1, -1),
    "blur": (0.0625, 0.125, 0.0625, 0.125, 0.25, 0.125, 0.0625, 0.125, 0.0625),
    "sharpen": (0, -1, 0, -1, 5, -1, 0, -1, 0),
    "own 1": (0, 0, 0, 0, 1, 0, 0, 0, 0),
    "own 2": (0, 0, 0, 0, 0, 1, 0, 0, 0),
}


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `convolution`, `dense`, `answer`, `dropout`."""
    picture = np.asarray(data["picture"])
    _, rows, columns = picture.shape
    check_layers("convolution", rows, columns, 2, int(values["padding"]), int(values["stride"]))
    book = Book(
        "convolution",
        "A picture goes through a convolutional network",
        [
            "A convolution lays a small filter, 3 by 3 numbers, over each place of a picture, multiplies what lies on "
            "each other and adds it up. Where the picture looks like the filter, the sum is large: one filter finds "
            "top edges, another left edges. The sums are a new picture, a feature map.",
            "Follow the picture through the layers of this network: convolution, ReLU (negative numbers become 0), a "
            "second convolution that looks at both maps at once, ReLU, max-pooling (of each 2 by 2 cells the largest "
            "stays), a dense layer that gives a score to each of ten digits, softmax that makes shares of the scores, "
            "and the loss, which says how wrong the answer is. This choice of layers is the network's architecture.",
            "The filters of the first layer are chosen. All other weights (the numbers that training would change: the "
            "parameters) are random here, so the answer is only a guess. The workbook cnn_training trains them.",
        ],
        [
            "On 'convolution', choose another filter_1 from its drop-down: 'blur', 'outline', 'left edge'.",
            "Choose 'own 1' and type numbers of your own into its 3 by 3 cells.",
            "Click a cell of conv1: its formula names the nine cells of the picture, and the filter.",
            "Draw: type 1 into some cells of the picture, or set them all to 0. What remains of the maps?",
            "On 'answer', change the label: the loss is smallest for the digit that the network takes it for.",
            "On 'dropout', change a 1 of the mask into a 0 and find out which scores it moves.",
        ],
        INPUTS,
        values,
    )
    pooled, label = _convolution_sheet(book, picture)
    _, weight, bias = dense_sheet(book, pooled)
    _answer_sheet(book, pooled, weight, bias, label)
    _dropout_sheet(book, pooled, weight, bias, label)
    return book


def _convolution_sheet(book: Book, picture: Any) -> tuple[Any, Any]:
    sheet = maps_sheet(
        book,
        "convolution",
        "Two convolutions, ReLU and max-pooling",
        "From left to right: what a layer looks at, its filters, the map that each filter makes, the map after ReLU.",
        "Click on a cell of a map: its formula multiplies a window of the picture with the filter and adds up.",
    )
    padding, stride = int(book.values["padding"]), int(book.values["stride"])
    inputs = ("filter_1", "filter_2", "label", "padding", "stride")
    torch = {"padding": "nn.Conv2d(..., padding=padding)", "stride": "nn.Conv2d(..., stride=stride)"}
    filter_1, filter_2, label, *_ = sheet.inputs(sheet.next_row, 1, inputs, torch=torch)
    kernels = _chosen_kernels(sheet, sheet.next_row, (filter_1, filter_2))

    top = sheet.next_row
    explain(
        sheet,
        top,
        "Layer 1",
        "A filter lies over each window of the picture: nine products, added up, and the bias. ReLU turns what is "
        "negative into 0.",
    )
    seen, left = show_picture(sheet, picture, padding, top)
    weight = np.stack([kernels / len(picture)] * len(picture), axis=1)
    words = "the chosen filters" if len(picture) == 1 else "a third of the chosen filters for each colour"
    relu = conv_layer(sheet, "1", top, left, seen, weight, words, stride)["relu"]

    top = sheet.next_row
    explain(
        sheet,
        top,
        "Layer 2",
        "Each filter has a part for either map of layer 1. Both sums are added to one new map. Max-pooling keeps the "
        "largest of each 2 x 2 cells.",
    )
    left = LEFT
    if padding:
        seen = tensor.pad2d(relu, padding)
        seen = show(sheet, "relu1_padded", seen, "activation", top, left, words=PADDED, torch="F.pad", down=True)
        left += seen.shape[2] + 1
    else:
        seen = relu
    generator = random.Random(5)
    weight = weights(generator, (FILTERS, FILTERS, KERNEL, KERNEL))
    relu = conv_layer(sheet, "2", top, left, seen, weight, "random at first: type here", stride)["relu"]
    pool = pool_layer(sheet, top, relu)
    return pool, label


def _chosen_kernels(sheet: Sheet, row: int, choices: tuple[Any, ...]) -> Any:
    """The library of filters, and what is chosen from it: expressions of shape (filters, 3, 3)."""
    count = len(PRESETS)
    presets = np.array([Typed(value) for kernel in PRESETS.values() for value in kernel], dtype=object)
    sheet.write(row, LEFT, "presets", HEADING)
    note = f"{count} x {KERNEL} x {KERNEL} · to choose from with filter_1 and filter_2; type other numbers if you like"
    sheet.write(row + 1, LEFT, note, NOTE)
    step = KERNEL + 1
    for number, name in enumerate(PRESETS):
        sheet.write(row + 2, LEFT + step * number, name, LABEL)
    presets = presets.reshape(count, KERNEL, KERNEL)
    placed = sheet.place("presets", presets, "data", row + 3, LEFT, words="filters to choose from", number_format=SHORT)
    for each in placed:
        sheet.heat_map(each, DIVERGING)
    last = int(placed.flat[-1].column)
    names = Range(sheet.name, row + 2, LEFT, row + 2, last, absolute=True)
    library = Range(sheet.name, row + 3, LEFT, row + 2 + KERNEL, last, absolute=True)
    kernels = np.empty((len(choices), KERNEL, KERNEL), dtype=object)
    for number, choice in enumerate(choices):
        name, words = f"filter_{number + 1}_place", "the column of the presets in which the chosen one begins"
        sheet.write(row + 3 + number, 1, name, LABEL)
        match = Call("MATCH", choice, names, 0)
        place = sheet.place(name, match, "check", row + 3 + number, 2, words=words, number_format=WHOLE).item()
        for i, j in np.ndindex(KERNEL, KERNEL):
            kernels[number, i, j] = Call("INDEX", library, i + 1, place + j)
    sheet.next_row = row + 3 + KERNEL + 1
    return kernels


def _answer_sheet(book: Book, pool: Any, weight: Any, bias: Any, label: Any) -> None:
    sheet = book.sheet(
        "answer",
        "From the maps to an answer, and how wrong it is",
        "A digit's logit is the sum of all cells of the pooled maps, each times its weight, plus the digit's bias.",
        "Softmax makes shares of them that add up to 1: read them as probabilities.",
        "The loss (cross-entropy) is 0 if the share of the label is 1, and grows without end as that share goes to 0.",
    )
    answers(sheet, sheet.next_row, 1, dense(pool, weight, bias), label)
    sheet.width(1, 14)


def _dropout_sheet(book: Book, pool: Any, weight: Any, bias: Any, label: Any) -> None:
    sheet = maps_sheet(
        book,
        "dropout",
        "The same picture with dropout",
        "While a network is trained, dropout sets some cells to 0, others in each step, so that the network cannot "
        "lean on any one of them. What remains is divided by 1 - p, to make up for what is missing.",
        "A spreadsheet could draw them at random. Here the mask is data: you see what was dropped, and can choose.",
    )
    (p,) = sheet.inputs(sheet.next_row, 1, ("p",), torch={"p": "nn.Dropout(p)"})
    top, left = sheet.next_row, LEFT
    generator = random.Random(4)
    mask = np.array([Typed(int(generator.random() < 0.5)) for _ in range(pool.size)], dtype=object)
    words = "1 stays, 0 is dropped: type here"
    mask = mask.reshape(pool.shape)
    mask = show(sheet, "mask", mask, "data", top, left, words=words, down=True, number_format=WHOLE)
    left += pool.shape[2] + 1
    words = "pool * mask / (1 - p)"
    torch = "F.dropout(pool, p), with this mask"
    dropped = show(
        sheet, "dropped", pool * mask / (1 - p), "activation", top, left, words=words, torch=torch, down=True
    )
    left += pool.shape[2] + 1
    answers(sheet, top, left, dense(dropped, weight, bias), label, "dropout_")


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    typed = {name: torch.as_tensor(values[name], dtype=torch.float64) for name in DIMS}
    padding, stride, label = int(values["padding"]), int(values["stride"]), int(values["label"])
    picture, presets, names = typed["picture"], typed["presets"], list(PRESETS)
    chosen = [names.index(values[name]) for name in ("filter_1", "filter_2")]
    weight = presets[chosen].unsqueeze(1) / len(picture)
    blocks = dict(typed) | {
        "conv1_weight": weight.expand(-1, len(picture), -1, -1),
        "filter_1_place": torch.tensor(chosen[0] * (KERNEL + 1) + 1),
        "filter_2_place": torch.tensor(chosen[1] * (KERNEL + 1) + 1),
        **{name: torch.tensor(values[name]) for name in ("padding", "stride", "label", "p")},
    }
    x = picture.unsqueeze(0)
    for layer, padded in (("1", "padded"), ("2", "relu1_padded")):
        if padding:
            blocks[padded] = F.pad(x, [padding] * 4)[0]
        conv = F.conv2d(x, blocks[f"conv{layer}_weight"], blocks[f"conv{layer}_bias"], stride, padding)
        x = F.relu(conv)
        blocks |= {f"conv{layer}": conv[0], f"relu{layer}": x[0]}
    pool = F.max_pool2d(x, POOL)[0]
    dropped = pool * typed["mask"] / (1 - float(values["p"]))
    blocks |= {"pool": pool, "dropped": dropped}
    for prefix, maps in (("", pool), ("dropout_", dropped)):
        logits = F.linear(maps.flatten(), typed["dense_weight"].flatten(1), typed["dense_bias"])
        blocks |= reference_answers(logits, label, prefix)
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


INPUTS = (
    Input("filter_1", "top edge", "what the first filter looks for", choices=tuple(PRESETS)),
    Input("filter_2", "left edge", "what the second filter looks for", choices=tuple(PRESETS)),
    Input("label", 7, "the digit that the picture shows", minimum=0, maximum=9, whole=True),
    Input(
        "padding",
        1,
        "rows and columns of 0 around what a layer looks at",
        minimum=0,
        maximum=10,
        whole=True,
        fixed=True,
    ),
    Input("stride", 1, "how many cells a filter moves at a time", minimum=1, maximum=10, whole=True, fixed=True),
    Input("p", 0.5, "the share of the cells that dropout drops", minimum=0, below=1),
)
DIMS = {
    "picture": 3,
    "presets": 3,
    "conv1_bias": 1,
    "conv2_weight": 4,
    "conv2_bias": 1,
    "dense_weight": 4,
    "dense_bias": 1,
    "mask": 3,
}
CONVOLUTION = Lesson(
    "convolution",
    "a picture goes through two convolutions, pooling and a dense layer to ten probabilities",
    INPUTS,
    Data(DIMS, load_picture, ("csv", "image")),
    build=build,
    reference=reference,
)
