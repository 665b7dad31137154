"""The way of a picture through a small convolutional network, every number of it a formula."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, Book, Input, Sheet
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.flow import Named, inputs, typed
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CLASSES, KERNEL, LARGEST, LEFT, POOL, SMALL, TENTHS, WINDOW
from sgdsheet.lessons.pictures import LARGE, digits, enlarged, load_picture
from sgdsheet.tensor import Array, greater_equal, index, where

FILTERS = 2
RIGHT = '[Blue]"and that is right";;[Red]"and that is wrong"'  # 1 or 0
SHOWN = "is what the network reads in the picture that label shows"
WIDE = 20 / 7  # the cells of 'dropout', for two decimals
CHOSEN = "top edge", "left edge"  # at first, and when the weights were trained
SHAPES = {
    "conv2_weight": (FILTERS, FILTERS, KERNEL, KERNEL),
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
    """The sheets `convolution`, `pictures`, `layer 2`, `dense`, `answer`, `dropout`."""
    pictures, padding, stride = data["pictures"], int(book.values["padding"]), int(book.values["stride"])
    net.check_layers(book.lesson, pictures[0], 2, padding, stride)
    if len(pictures) == 1:
        book.inputs["label"] = replace(book.inputs["label"], meaning="the digit that it is, if it is one")
    front = net.maps_sheet(
        book,
        "convolution",
        "A filter looks for its like in a picture",
        "Each filter lies over every 3 x 3 window of the picture: nine products, added up, make one cell of its map. "
        "Click a cell of a map to see which.",
        cell=SMALL,
    )
    first = front.next_row
    cell = inputs(front, "label", "filter_1", "filter_2")
    drawn, pictures = pictures_sheet(book, pictures)
    picture = net.chosen(pictures, cell.label)
    seen, beside = convolution_sheet(front, picture, (cell.filter_1, cell.filter_2), padding, stride)
    given = {name: typed(array) for name, array in json.loads(WEIGHTS.read_text(encoding="utf-8")).items()}
    pool = second_sheet(book, seen, given["conv2_weight"], padding, stride)
    fits = given["dense_weight"].shape[1:] == pool.shape
    weight = given["dense_weight"] if fits else net.weights(random.Random(3), (CLASSES, *pool.shape))
    words = f"{'trained' if fits else 'random at first'}; click a cell to see its number, and type another"
    dense, weight, bias = net.dense_sheet(book, weight, given["dense_bias"], words, 12 / 7, net.COLORS, CLASSES)
    answer = answer_sheet(book, net.dense(pool, weight, bias), cell.label)
    said = answer.predicted, tensor.largest(answer.softmax)
    net.large_answer(front, first, beside, *said)
    right = where(tensor.equal(answer.predicted, cell.label), 1, 0)
    front.write(first + 2, beside + 5, right, replace(LABEL, number_format=RIGHT, horizontal="left", shrink=True))
    front.merge(first + 2, beside + 5, beside + 14)
    net.large_answer(drawn, drawn.next_row, LEFT, *said, SHOWN)
    net.large_answer(dense, dense.next_row + 1, LEFT + 2, *said, SHOWN)
    dropout_sheet(book, pool, weight, bias, cell.label, answer)


def pictures_sheet(book: Book, pictures: Any) -> tuple[Sheet, Array]:
    """The sheet, with room for the answer at its next row, and its pictures."""
    sheet = net.maps_sheet(
        book,
        "pictures",
        "The pictures to choose from",
        "Numbers from 0, white, to 1, full ink: type others and draw. 'convolution' shows the one that label says.",
        cell=SMALL,
    )
    answer, top = sheet.next_row, sheet.next_row + 3
    ink = net.ink(typed(pictures), "from 0, white, to 1, full ink: type here", "", TENTHS)
    placed = net.maps(sheet, row=top, pictures=ink).pictures
    if len(pictures) > 1:
        for digit, first in enumerate(placed[:, 0, 0, 0]):
            sheet.write(first.row, 1, f"label {digit}", LABEL)
    net.square(sheet, top + 2)
    sheet.freeze(top, 1)
    sheet.next_row = answer
    return sheet, placed


def convolution_sheet(
    sheet: Sheet, picture: Array, choices: Sequence[Any], padding: int, stride: int
) -> tuple[Array, int]:
    """The chosen picture, the filters and the maps of the first layer. Returns the maps, and where they begin."""
    top = sheet.next_row
    kernels = chosen_kernels(sheet, top, choices)
    left = LEFT + KERNEL + 1
    shown = net.maps(sheet, row=top, left=left, down=True, picture=net.ink(picture, "ink from 0 to 1", "x[0]", TENTHS))
    seen, left = net.padded(sheet, "padded", shown.picture, padding, top, shown.right, "F.pad(x, ...)[0]")
    weight = np.stack([kernels / len(picture)] * len(picture), axis=1)
    layer = conv_layer(sheet, "conv1", top, left, seen, weight, stride)
    net.square(sheet, top + 2)
    return layer.relu, layer.left


def conv_layer(sheet: Sheet, name: str, row: int, left: int, seen: Array, filters: Array, stride: int) -> Named:
    """The filters and their bias; right of them the maps side by side, and below these the same after ReLU."""
    number = name[-1]
    weight: dict[str, Any] = {
        f"{name}_weight": net.weight(filters, "", f"{name}.weight", TENTHS, title="filters", note=False)
    }
    m = net.maps(sheet, row=row, left=left, band=KERNEL + 1, **weight)
    weight, below = m[f"{name}_weight"], row + 2 + FILTERS * (KERNEL + 1)
    sheet.write(below, left, "bias", LABEL)
    says = flow.parameter(typed([0] * FILTERS), "for the filter's map", f"{name}.bias", TENTHS, absolute=True)
    bias = flow.place(sheet, below + 1, left, f"{name}_bias", says)
    conv = tensor.conv2d(seen[None], weight, bias, stride)[0]
    maps: dict[str, Any] = {
        name: net.signed(conv, WINDOW, f"{name}(x)[0]", TENTHS, title=f"{name}: the map of each filter")
    }
    made = net.maps(sheet, row=row, left=m.right, **maps)
    conv = made[name]
    words = f"{name}, but 0 where it is below 0"
    maps = {f"relu{number}": net.feature(tensor.relu(conv), words, "F.relu(x)[0]", TENTHS, title=f"relu{number}")}
    relu = net.maps(sheet, row=conv[0, -1, 0].row + 2, left=m.right, **maps)
    return Named(relu=relu[f"relu{number}"], left=m.right, right=max(made.right, relu.right))


def chosen_kernels(sheet: Sheet, row: int, choices: Sequence[Any]) -> Array:
    """The library of filters, and what is chosen from it: expressions of shape (filters, 3, 3)."""
    sheet.write(row, 1, "presets: the filters to choose from", HEADING)
    sheet.write(row + 1, 1, "the last two are for your own", NOTE)
    top, band = row + 2, KERNEL + 1
    last = top + len(PRESETS) * band - 2
    for number, name in enumerate(PRESETS):
        sheet.write(top + band * number, 2, name, LABEL)
    presets = typed(np.reshape(list(PRESETS.values()), (len(PRESETS), KERNEL, KERNEL)))
    words = "the filters to choose from"
    for each in sheet.place("presets", presets, "data", top, LEFT, words=words, number_format=TENTHS, down=True):
        sheet.heat_map(each, DIVERGING)
    sheet.next_row = last + 2
    names = Range(sheet.name, top, 2, last, 2, absolute=True)
    library = Range(sheet.name, top, LEFT, last, LEFT + KERNEL - 1, absolute=True)
    kernels = np.empty((len(choices), KERNEL, KERNEL), dtype=object)
    for k, i, j in np.ndindex(*kernels.shape):
        kernels[k, i, j] = Call("INDEX", library, Call("MATCH", choices[k], names, 0) + i, j + 1)
    return kernels


def second_sheet(book: Book, seen: Array, weight: Array, padding: int, stride: int) -> Array:
    """The second convolution, which looks at the maps of the first, and what max-pooling leaves of it."""
    sheet = net.maps_sheet(
        book,
        "layer 2",
        "The second convolution, and max-pooling",
        "It looks at relu1, on 'convolution': each filter has a part for either map, and both sums make one new map. "
        "Max-pooling keeps the largest of each 2 x 2 cells.",
        cell=SMALL,
    )
    torch = {"padding": "nn.Conv2d(..., padding=padding)", "stride": "nn.Conv2d(..., stride=stride)"}
    inputs(sheet, "padding", "stride", across=True, torch=torch)
    top = sheet.next_row
    seen, left = net.padded(sheet, "relu1_padded", seen, padding, top, LEFT, "F.pad")
    layer = conv_layer(sheet, "conv2", top, left, seen, weight, stride)
    pool = net.feature(tensor.max_pool2d(layer.relu[None], POOL)[0], LARGEST, "F.max_pool2d(x, 2)[0]", TENTHS)
    pool = net.maps(sheet, row=top, left=layer.right, pool=pool).pool
    net.square(sheet, top + 2)
    return pool


def answer_sheet(book: Book, logits: Array, label: Any) -> Named:
    sheet = book.sheet(
        "answer",
        "From the maps to an answer, and how wrong it is",
        "A digit's logit is the sum of all cells of the pooled maps, each times its weight, plus the digit's bias.",
        "Softmax makes shares of them that add up to 1: read them as probabilities.",
        "The loss (cross-entropy) is 0 if the share of the label is 1, and grows without end as that share goes to 0.",
    )
    t = net.answers(sheet, logits, label)
    net.probability_bars(sheet, t.head, 8, t.digit, ("probability", t.softmax))
    return t


def dropout_sheet(book: Book, pool: Array, weight: Array, bias: Array, label: Any, without: Named) -> None:
    """`without` is the answer without dropout."""
    sheet = net.maps_sheet(
        book,
        "dropout",
        "The same picture with dropout",
        "While a network is trained, dropout sets some cells to 0, others in each step, so that it cannot lean on any "
        "one of them. What remains is divided by 1 - p, to make up for what is missing.",
        "For each cell a number from 0 to 1 was drawn; where it is below p, the cell is dropped. PyTorch draws anew in "
        "each step; here the draws stay, so that you see what p does.",
        cell=WIDE,
    )
    sheet.width(1, 6)
    sheet.width(2, 8)
    p = inputs(sheet, "p", torch={"p": "nn.Dropout(p)"}).p
    generator, top = random.Random(4), sheet.next_row
    draws = np.reshape([round(generator.random(), 2) for _ in range(pool.size)], pool.shape)
    m = net.maps(
        sheet,
        down=True,
        draw=net.Map("data", typed(draws), "a number from 0 to 1 for each cell: type others", scale=None),
        mask=net.feature(
            lambda m: where(greater_equal(m.draw, p), 1 / (1 - p), 0),
            "1 / (1 - p), or 0 where draw < p",
            "F.dropout(ones, p), with these draws",
            TENTHS,
        ),
        before=net.feature(pool, "what max-pooling left", "x", TENTHS),
        dropped=net.feature(lambda m: pool * m.mask, "before * mask", "F.dropout(x, p), with these draws", TENTHS),
    )
    net.square(sheet, top + 2, WIDE)
    t = net.answers(sheet, net.dense(m.dropped, weight, bias), label, "dropout_", top, m.right, short=True)
    below = t.first + CLASSES + 4
    share = index(t.softmax, label + 1)
    flow.values(
        sheet,
        row=below,
        left=m.right,
        share_before=flow.activation(index(without.softmax, label + 1), "what the label got without dropout"),
        share_dropped=flow.activation(share, "what it gets with it"),
    )
    both = ("without dropout", without.softmax), ("with dropout", t.softmax)
    net.probability_bars(sheet, below + 3, m.right, t.digit, *both, width=11.5, height=7.5)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    from torch.nn import functional as F  # noqa: N812

    picture = v.pictures[v.label if len(v.pictures) > 1 else 0]
    chosen = [list(PRESETS).index(name) for name in (v.filter_1, v.filter_2)]
    weight = (v.presets[chosen] / len(picture)).unsqueeze(1).expand(-1, len(picture), -1, -1)
    blocks: dict[str, Any] = {"picture": picture, "conv1_weight": weight}
    x = picture.unsqueeze(0)
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
        logits = F.linear(seen.flatten(), v.dense_weight.transpose(0, 1).flatten(1), v.dense_bias)
        blocks |= net.reference_answers(logits, v.label, prefix)
    shares = {"share_before": blocks["softmax"], "share_dropped": blocks["dropout_softmax"]}
    return blocks | {name: each[v.label] for name, each in shares.items()}


def load(source: Source) -> dict[str, Any]:
    """The pictures to choose from, (count, channels, rows, columns) of ink: ten digits, or the one that is given."""
    if source.csv or source.image:
        return {"pictures": load_picture(source)["picture"][None]}
    return {"pictures": enlarged(digits()[0][list(LARGE)])[:, None]}


ABOUT = [
    "A convolution lays a small filter, 3 by 3 numbers, over each place of a picture, multiplies what lies on "
    "each other and adds it up. Where the picture looks like the filter, the sum is large: one filter finds "
    "top edges, another left edges. The sums are a new picture, a feature map.",
    "Follow the picture through the layers of this network: convolution, ReLU (negative numbers become 0), a "
    "second convolution that looks at both maps at once, ReLU, max-pooling (of each 2 by 2 cells the largest "
    "stays), a dense layer that gives a score to each of ten digits, softmax that makes shares of the scores, "
    "and the loss, which says how wrong the answer is. This choice of layers is the network's architecture.",
    "The filters of the first layer are chosen. The other weights (the numbers that training changes: the parameters) "
    "were trained by PyTorch for the two filters that are chosen at first. With others the later layers see what they "
    "were never trained on.",
]
TRY = [
    "On 'convolution', change label: it shows another digit. Is it read rightly?",
    "Choose another filter_1 from its drop-down: 'blur', 'outline', 'left edge'. What does its map find?",
    "Choose 'own 1' as filter_1 and type numbers of your own into its 3 by 3 cells in presets.",
    "On 'convolution', click a cell of conv1: its formula names the nine cells of the picture, and the filter.",
    "On 'pictures', type 1 into some cells, or 0: draw, and look at 'convolution' again.",
    "On 'dropout', set p to 0, then 0.2, 0.5 and 0.9: more and more cells are dropped, and those that stay grow.",
]
DIMS = {"pictures": 4, "presets": 3, "conv1_bias": 1, "conv2_weight": 4, "conv2_bias": 1, **net.DENSE, "draw": 3}
EXERCISES = (
    Exercise(
        "conv1",
        1,
        "On 'convolution': the yellow cell of the first map. Lay the first filter over the picture so that its middle "
        "is over the same place: multiply, add up (SUMPRODUCT), add the map's bias.",
        {"the bias is missing": lambda t: t.answer - t.conv1_bias[:, None, None]},
        at=(0, 12, 12),
    ),
    Exercise(
        "pool",
        2,
        "On 'layer 2': the yellow cell of max-pooling, from four cells of relu2.",
        at=(0, 6, 6),
    ),
    Exercise(
        "softmax",
        3,
        "On 'answer': each exp_logits as a share of all.",
        {"their total is missing": lambda t: t.exp_logits},
    ),
    Exercise(
        "loss",
        3,
        "On 'answer': minus the log_softmax of the label.",
        {"softmax, not its logarithm": lambda t: -(t.one_hot * t.softmax).sum()},
    ),
)

CONVOLUTION = Lesson(
    "convolution",
    "a digit goes through two convolutions, pooling and a dense layer to ten probabilities",
    (
        Input("label", 7, "the digit to show, which is also the right answer", minimum=0, maximum=9, whole=True),
        Input("filter_1", CHOSEN[0], "what the first filter looks for", choices=tuple(PRESETS)),
        Input("filter_2", CHOSEN[1], "what the second filter looks for", choices=tuple(PRESETS)),
        Input("padding", 0, "rows and columns of 0 around what a layer looks at", minimum=0, **net.FIXED),
        Input("stride", 1, "how many cells a filter moves at a time", minimum=1, **net.FIXED),
        Input("p", 0.5, "the share of the cells that dropout drops", minimum=0, below=1),
    ),
    Data(DIMS, load, ("csv", "image")),
    build=build,
    reference=reference,
    title="A picture goes through a convolutional network",
    about=ABOUT,
    things_to_try=TRY,
    exercises=EXERCISES,
)
