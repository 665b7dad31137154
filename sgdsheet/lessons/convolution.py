"""The way of a picture through a small convolutional network, every number of it a formula."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, SHORT, Book, Input, Sheet
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Named, counter, inputs, typed
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CLASSES, KERNEL, LEFT, POOL
from sgdsheet.lessons.pictures import load_picture
from sgdsheet.tensor import Array, greater_equal, index, where

FILTERS = 2
CHOSEN = "top edge", "left edge"  # at first, and when the weights were trained
SHAPES = {
    "conv2_weight": (FILTERS, FILTERS, KERNEL, KERNEL),
    "conv2_bias": (FILTERS,),
    "dense_weight": (CLASSES, FILTERS, 12, 12),
    "dense_bias": (CLASSES,),
}
WEIGHTS = Path(__file__).with_name("convolution_weights.json")
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


def build(book: Book, data: Mapping[str, Any]) -> None:
    """The sheets `convolution`, `dense`, `answer`, `dropout`."""
    picture, padding, stride = data["picture"], int(book.values["padding"]), int(book.values["stride"])
    net.check_layers(book.lesson, picture, 2, padding, stride)
    pool, label = convolution_sheet(book, picture, padding, stride)
    _, weight, bias = net.dense_sheet(book, pool)
    answer = answer_sheet(book, net.dense(pool, weight, bias), label)
    dropout_sheet(book, pool, weight, bias, label, index(answer.softmax, label + 1))


def convolution_sheet(book: Book, picture: Array, padding: int, stride: int) -> tuple[Array, Any]:
    sheet = net.maps_sheet(
        book,
        "convolution",
        "Two convolutions, ReLU and max-pooling",
        "From left to right: what a layer looks at, its filters, the map that each filter makes, the map after ReLU.",
        "Click on a cell of a map: its formula multiplies a window of the picture with the filter and adds up.",
    )
    torch = {"padding": "nn.Conv2d(..., padding=padding)", "stride": "nn.Conv2d(..., stride=stride)"}
    cell = inputs(sheet, "filter_1", "filter_2", "label", "padding", "stride", torch=torch)
    kernels = chosen_kernels(sheet, sheet.next_row, (cell.filter_1, cell.filter_2))

    top = sheet.next_row
    net.explain(sheet, top, "Layer 1", LAYER_1)
    seen, left = net.show_picture(sheet, picture, padding, top)
    weight = np.stack([kernels / len(picture)] * len(picture), axis=1)
    words = "the chosen filters" if len(picture) == 1 else "a third of the chosen filters for each colour"
    seen, left = net.conv_layer(sheet, "conv1", top, left, seen, weight, words, stride).relu, LEFT

    top = sheet.next_row
    net.explain(sheet, top, "Layer 2", LAYER_2)
    if padding:
        m = net.maps(
            sheet, row=top, down=True, relu1_padded=net.feature(tensor.pad2d(seen, padding), net.PADDED, "F.pad")
        )
        seen, left = m.relu1_padded, m.right
    weight = net.weights(random.Random(5), (FILTERS, FILTERS, KERNEL, KERNEL))
    layer = net.conv_layer(sheet, "conv2", top, left, seen, weight, net.RANDOM, stride)
    return net.pool_layer(sheet, top, layer), cell.label


def chosen_kernels(sheet: Sheet, row: int, choices: tuple[Any, ...]) -> Array:
    """The library of filters, and what is chosen from it: expressions of shape (filters, 3, 3)."""
    count, last = len(PRESETS), LEFT + len(PRESETS) * (KERNEL + 1) - 2
    sheet.write(row, LEFT, "presets", HEADING)
    note = f"{count} x {KERNEL} x {KERNEL} · to choose from with filter_1 and filter_2; type other numbers if you like"
    sheet.write(row + 1, LEFT, note, NOTE)
    for number, name in enumerate(PRESETS):
        sheet.write(row + 2, LEFT + (KERNEL + 1) * number, name, LABEL)
    presets = typed(np.reshape(list(PRESETS.values()), (count, KERNEL, KERNEL)))
    words = "filters to choose from"
    for each in sheet.place("presets", presets, "data", row + 3, LEFT, words=words, number_format=SHORT):
        sheet.heat_map(each, DIVERGING)
    names = Range(sheet.name, row + 2, LEFT, row + 2, last, absolute=True)
    library = Range(sheet.name, row + 3, LEFT, row + 2 + KERNEL, last, absolute=True)
    words = "the column of the presets in which the chosen one begins"
    places = {
        f"filter_{number}_place": counter(Call("MATCH", choice, names, 0), words)
        for number, choice in enumerate(choices, start=1)
    }
    places = net.labelled(sheet, row + 3, **places)
    sheet.next_row = row + 3 + KERNEL + 1
    kernels = [
        [[Call("INDEX", library, i + 1, place + j) for j in range(KERNEL)] for i in range(KERNEL)]
        for place in vars(places).values()
    ]
    return np.array(kernels, dtype=object)


def answer_sheet(book: Book, logits: Array, label: Any) -> Named:
    sheet = book.sheet(
        "answer",
        "From the maps to an answer, and how wrong it is",
        "A digit's logit is the sum of all cells of the pooled maps, each times its weight, plus the digit's bias.",
        "Softmax makes shares of them that add up to 1: read them as probabilities.",
        "The loss (cross-entropy) is 0 if the share of the label is 1, and grows without end as that share goes to 0.",
    )
    sheet.width(1, 14)
    return net.answers(sheet, logits, label)


def dropout_sheet(book: Book, pool: Array, weight: Array, bias: Array, label: Any, sure: Any) -> None:
    """`sure` is the share of the label without dropout."""
    sheet = net.maps_sheet(
        book,
        "dropout",
        "The same picture with dropout",
        "While a network is trained, dropout sets some cells to 0, others in each step, so that the network cannot "
        "lean on any one of them. What remains is divided by 1 - p, to make up for what is missing.",
        "For each cell a number from 0 to 1 was drawn; where it is below p, the cell is dropped. PyTorch draws anew in "
        "each step. Here the draws stay, so that you see what p does; type other numbers to draw again.",
    )
    p = inputs(sheet, "p", torch={"p": "nn.Dropout(p)"}).p
    generator, top = random.Random(4), sheet.next_row
    draws = np.reshape([round(generator.random(), 2) for _ in range(pool.size)], pool.shape)
    m = net.maps(
        sheet,
        down=True,
        draw=net.Map("data", typed(draws), "from 0 to 1: type here"),
        mask=net.feature(
            lambda m: where(greater_equal(m.draw, p), 1 / (1 - p), 0),
            "1 / (1 - p), or 0 where draw < p",
            "F.dropout(ones, p), with these draws",
        ),
        before=net.feature(pool, "pool", "x"),
        dropped=net.feature(lambda m: pool * m.mask, "pool * mask", "F.dropout(x, p), with these draws"),
    )
    t = net.answers(sheet, net.dense(m.dropped, weight, bias), label, "dropout_", top, m.right)
    share = index(t.softmax, label + 1)
    flow.values(
        sheet,
        row=t.first + CLASSES + 4,
        left=m.right,
        share_before=flow.activation(sure, "what the label got without dropout"),
        share_dropped=flow.activation(share, "what it gets with it"),
    )


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    from torch.nn import functional as F  # noqa: N812

    first, second = (list(PRESETS).index(name) for name in (v.filter_1, v.filter_2))
    weight = (v.presets[[first, second]] / len(v.picture)).unsqueeze(1).expand(-1, len(v.picture), -1, -1)
    places = {"filter_1_place": first * (KERNEL + 1) + 1, "filter_2_place": second * (KERNEL + 1) + 1}
    blocks: dict[str, Any] = {"conv1_weight": weight, **places}
    x = v.picture.unsqueeze(0)
    layers = ("1", weight, "padded"), ("2", v.conv2_weight, "relu1_padded")
    for layer, weight, padded in layers:
        if v.padding:
            blocks[padded] = F.pad(x, [v.padding] * 4)[0]
        conv = F.conv2d(x, weight, v[f"conv{layer}_bias"], v.stride, v.padding)
        x = F.relu(conv)
        blocks |= {f"conv{layer}": conv[0], f"relu{layer}": x[0]}
    pool = F.max_pool2d(x, POOL)[0]
    mask = (v.draw >= v.p) / (1 - v.p)
    dropped = pool * mask
    blocks |= {"pool": pool, "mask": mask, "before": pool, "dropped": dropped}
    for prefix, seen in (("", pool), ("dropout_", dropped)):
        logits = F.linear(seen.flatten(), v.dense_weight.flatten(1), v.dense_bias)
        blocks |= net.reference_answers(logits, v.label, prefix)
    shares = {"share_before": blocks["softmax"], "share_dropped": blocks["dropout_softmax"]}
    return blocks | {name: each[v.label] for name, each in shares.items()}


LAYER_1 = (
    "A filter lies over each window of the picture: nine products, added up, and the bias. ReLU turns what is negative "
    "into 0."
)
LAYER_2 = (
    "Each filter has a part for either map of layer 1. Both sums are added to one new map. Max-pooling keeps the "
    "largest of each 2 x 2 cells."
)
ABOUT = [
    "A convolution lays a small filter, 3 by 3 numbers, over each place of a picture, multiplies what lies on "
    "each other and adds it up. Where the picture looks like the filter, the sum is large: one filter finds "
    "top edges, another left edges. The sums are a new picture, a feature map.",
    "Follow the picture through the layers of this network: convolution, ReLU (negative numbers become 0), a "
    "second convolution that looks at both maps at once, ReLU, max-pooling (of each 2 by 2 cells the largest "
    "stays), a dense layer that gives a score to each of ten digits, softmax that makes shares of the scores, "
    "and the loss, which says how wrong the answer is. This choice of layers is the network's architecture.",
    "The filters of the first layer are chosen. All other weights (the numbers that training would change: the "
    "parameters) are random here, so the answer is only a guess. The workbook cnn_training trains them.",
]
TRY = [
    "On 'convolution', choose another filter_1 from its drop-down: 'blur', 'outline', 'left edge'.",
    "Choose 'own 1' and type numbers of your own into its 3 by 3 cells.",
    "Click a cell of conv1: its formula names the nine cells of the picture, and the filter.",
    "Draw: type 1 into some cells of the picture, or set them all to 0. What remains of the maps?",
    "On 'answer', change the label: the loss is smallest for the digit that the network takes it for.",
    "On 'dropout', set p to 0, then 0.2, 0.5 and 0.9: more and more cells are dropped, and those that stay grow.",
]
DIMS = {"picture": 3, "presets": 3, "conv1_bias": 1, "conv2_weight": 4, "conv2_bias": 1, **net.DENSE, "draw": 3}
CONVOLUTION = Lesson(
    "convolution",
    "a picture goes through two convolutions, pooling and a dense layer to ten probabilities",
    (
        Input("filter_1", "top edge", "what the first filter looks for", choices=tuple(PRESETS)),
        Input("filter_2", "left edge", "what the second filter looks for", choices=tuple(PRESETS)),
        Input("label", 7, "the digit that the picture shows", minimum=0, maximum=9, whole=True),
        Input("padding", 1, "rows and columns of 0 around what a layer looks at", minimum=0, **net.FIXED),
        Input("stride", 1, "how many cells a filter moves at a time", minimum=1, **net.FIXED),
        Input("p", 0.5, "the share of the cells that dropout drops", minimum=0, below=1),
    ),
    Data(DIMS, load_picture, ("csv", "image")),
    build=build,
    reference=reference,
    title="A picture goes through a convolutional network",
    about=ABOUT,
    things_to_try=TRY,
)
