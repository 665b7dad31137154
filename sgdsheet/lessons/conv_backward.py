"""Backpropagation through a convolution: where each gradient comes from, cell by cell."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import SPARSE, Book, Input, Series, Sheet, scatter
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.flow import Named, check, columns, gradient, inputs, loss, parameter, steps, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CLASSES, KERNEL, LEFT, POOL
from sgdsheet.lessons.pictures import load_picture
from sgdsheet.tensor import Array

FILTERS = 2
SIDES = {"up": 1, "down": -1}
WIDE = KERNEL + 3  # columns for filters with a long name
NARROW, WIDER = 30 / 7, 33 / 7  # cells that let all of a way, or two ways, stand side by side
SIX = "0.000000"


def build(book: Book, data: Mapping[str, Any]) -> None:
    """The sheets `forward`, `dense`, `answer`, `backward`, `finite difference`."""
    picture, padding, stride = data["picture"], int(book.values["padding"]), int(book.values["stride"])
    net.check_layers(book.lesson, picture, 1, padding, stride)
    way = forward_sheet(book, picture, padding, stride)
    weight = net.weights(random.Random(3), (CLASSES, *way.pool.shape))
    sheet, way.dense_weight, way.dense_bias = net.dense_sheet(book, weight, typed([0] * CLASSES), net.RANDOM, NARROW)
    answer = answer_sheet(book, way)
    dense_gradient(sheet, way, answer.grad_logits)
    grad_weight = backward_sheet(book, way, answer.grad_logits, padding, stride)
    finite_difference_sheet(book, way, grad_weight, answer.loss, stride)


def forward_sheet(book: Book, picture: Array, padding: int, stride: int) -> Named:
    sheet = net.maps_sheet(
        book,
        "forward",
        "The way forward",
        "What each layer makes of the picture. All of it is needed again on the way back. The weights are random: the "
        "network has not been trained, and has much to learn.",
        cell=NARROW,
    )
    sheet.width(1, 13)
    torch = {"padding": "nn.Conv2d(..., padding=padding)", "stride": "nn.Conv2d(..., stride=stride)"}
    cell = inputs(sheet, "label", "padding", "stride", torch=torch)
    top = sheet.next_row
    net.explain(sheet, top, "Forward", FORWARD)
    words = "from 0, white, to 1, full ink: type here"
    shown = net.maps(sheet, row=top, down=True, picture=net.ink(typed(picture), words, "x[0]", SPARSE))
    seen, left = net.padded(sheet, "padded", shown.picture, padding, top, shown.right, "F.pad(x, ...)[0]", SPARSE)
    bias = parameter(typed([0] * FILTERS), "", "conv.bias")
    bias = net.labelled(sheet, top + 8, conv_bias=bias).conv_bias
    weight = net.weights(random.Random(27), (FILTERS, 1, KERNEL, KERNEL))
    way = net.maps(
        sheet,
        row=top,
        left=left,
        band=max(seen.shape[1], KERNEL) + 1,
        down=True,
        conv_weight=net.weight(weight, net.RANDOM, "conv.weight"),
        conv=net.signed(
            lambda m: tensor.conv2d(seen[None], m.conv_weight, bias, stride)[0], net.WINDOW, "conv(x)[0]", SPARSE
        ),
        relu_maps=net.feature(lambda m: tensor.relu(m.conv), "conv, but 0 where it is below 0", "F.relu(x)[0]", SPARSE),
        pool=net.feature(
            lambda m: tensor.max_pool2d(m.relu_maps[None], POOL)[0], net.LARGEST, "F.max_pool2d(x, 2)[0]", SPARSE
        ),
    )
    way.weight, way.bias, way.label, way.seen = way.conv_weight, bias, cell.label, seen
    return way


def answer_sheet(book: Book, way: Named) -> Named:
    """The loss, and `grad_logits`."""
    sheet = book.sheet(
        "answer",
        "The loss, and the first gradient",
        "The way back begins here. Softmax and cross-entropy together have a gradient that could not be simpler: the "
        "probability that was given, minus the one that would have been right.",
        "A bias is added to its logit, so its gradient is the logit's.",
    )
    t = net.answers(sheet, net.dense(way.pool, way.dense_weight, way.dense_bias), way.label)
    grad = gradient(t.softmax - t.one_hot, "softmax - one_hot", "logits.grad")
    bias = gradient(lambda t: t.grad_logits, "grad_logits", "dense.bias.grad")
    net.probability_bars(sheet, t.head, 10, t.digit, ("probability", t.softmax), ("the right answer", t.one_hot))
    return Named(loss=t.loss, grad_logits=columns(t.table, grad_logits=grad, grad_dense_bias=bias).grad_logits)


def dense_gradient(sheet: Sheet, way: Named, grad_logits: Array) -> None:
    """Right of the dense layer's weights, their gradient."""
    first, last = way.dense_weight[0, 0, 0, 0], way.dense_weight[4, 0, 0, -1]
    grad = grad_logits[:, None, None, None] * way.pool
    grad = net.gradient(grad, "the digit's grad_logits * pool", "dense.weight.grad.view(10, ...).transpose(0, 1)")
    below = sheet.next_row
    title = "grad_dense_weight: their gradient"
    net.of_each_digit(sheet, first.row - 3, "grad_dense_weight", grad, title, last.column + 2, NARROW)
    sheet.next_row = below


def backward_sheet(book: Book, way: Named, grad_logits: Array, padding: int, stride: int) -> Array:
    sheet = net.maps_sheet(
        book,
        "backward",
        "The way back",
        "From the gradient of the logits (on 'answer') to that of every parameter, and of the picture itself.",
        "A gradient has the shape of what it belongs to. Orange: the loss would grow with this number. Blue: it would "
        "shrink.",
    )
    net.explain(sheet, sheet.next_row, "1. To the maps", TO_MAPS)
    grad_pool = [tensor.sum(grad_logits * each) for each in way.dense_weight.reshape(len(grad_logits), -1).T]
    m = net.maps(
        sheet,
        band=max(way.conv.shape[1], KERNEL) + 1,
        down=True,
        grad_pool=net.gradient(
            np.reshape(grad_pool, way.pool.shape),
            "sum over the ten digits of grad_logits * dense_weight",
            "pool.grad[0]",
        ),
        pool_from=net.count(
            net.pooled_from(way.relu_maps, way.pool), net.PLACES, "from F.max_pool2d(..., return_indices=True)"
        ),
        grad_relu_maps=net.gradient(
            lambda m: net.unpooled(m.grad_pool, m.pool_from, way.conv.shape),
            "grad_pool at the cell that was the largest",
            "relu.grad[0]",
        ),
        grad_conv=net.gradient(
            lambda m: tensor.where(tensor.greater(way.conv, 0), m.grad_relu_maps, 0), net.PASSED, "conv.grad[0]"
        ),
    )

    top, left, spread, name = sheet.next_row, LEFT, m.grad_conv, "grad_conv"
    net.explain(sheet, top, "2. To the filters", TO_FILTERS)
    if stride > 1:
        words = f"grad_conv, {stride - 1} cells of 0 between its cells"
        spread, name = with_zeros(m.grad_conv, stride), "grad_conv_spread"
        apart = net.maps(sheet, row=top, down=True, grad_conv_spread=net.gradient(spread, words))
        spread, left = apart.grad_conv_spread, apart.right
    rows, columns = spread.shape[1:]
    grad_weight = np.empty(way.weight.shape, dtype=object)
    for k, c, i, j in np.ndindex(*grad_weight.shape):
        grad_weight[k, c, i, j] = tensor.sum(spread[k] * way.seen[c, i : i + rows, j : j + columns])
    grad_bias = np.array([tensor.sum(each) for each in m.grad_conv], dtype=object)
    filters = net.maps(
        sheet,
        row=top,
        left=left,
        band=max(rows if stride > 1 else 0, KERNEL) + 1,
        grad_conv_weight=net.gradient(
            grad_weight, "sum of shifted picture * grad_conv", "conv.weight.grad", takes=WIDE
        ),
        grad_conv_bias=net.gradient(grad_bias, "sum of grad_conv", "conv.bias.grad"),
    )

    net.explain(sheet, sheet.next_row, "3. To the picture", TO_PICTURE)
    net.maps(
        sheet,
        band=way.seen.shape[1] + KERNEL + 1,
        down=True,
        conv_weight_flip=net.weight(
            way.weight[:, :, ::-1, ::-1], "conv_weight, turned by 180 degrees", "conv.weight.flip(2, 3)", takes=WIDE
        ),
        grad_conv_padded=net.gradient(around(spread, way.seen, padding), f"{name}, with cells of 0 around it"),
        grad_picture=net.gradient(
            lambda m: tensor.conv2d(m.grad_conv_padded[None], m.conv_weight_flip.transpose(1, 0, 2, 3))[0],
            "sum of window * turned filter, over both filters",
            "x.grad[0]",
        ),
    )
    return filters.grad_conv_weight


def with_zeros(grad: Array, stride: int) -> Array:
    """The gradient's cells `stride` apart, with 0 between: where the filter stood on what it looked at."""
    count, rows, columns = grad.shape
    spread = np.zeros((count, (rows - 1) * stride + 1, (columns - 1) * stride + 1), dtype=object)
    spread[:, ::stride, ::stride] = grad
    return spread


def around(spread: Array, seen: Array, padding: int) -> Array:
    """The gradient with 0 around it, so that each of the picture's cells has a window of its own."""
    beyond, (_, rows, columns) = KERNEL - 1, spread.shape
    wide = np.zeros((len(spread), seen.shape[1] + beyond, seen.shape[2] + beyond), dtype=object)
    wide[:, beyond : beyond + rows, beyond : beyond + columns] = spread
    return wide[:, padding : wide.shape[1] - padding, padding : wide.shape[2] - padding]


def finite_difference_sheet(book: Book, way: Named, grad_weight: Array, loss_now: Any, stride: int) -> None:
    sheet = net.maps_sheet(
        book,
        "finite difference",
        "Is the gradient right? Nudge a weight and look at the loss",
        "A gradient can be found without any backpropagation: make one weight a little larger, go all the way forward, "
        "do the same with the weight a little smaller, and see how much the loss changed.",
        "It takes two ways forward for one weight. Backpropagation finds the gradients of all of them in one way back.",
        cell=WIDER,
    )
    sheet.width(1, 12)
    sheet.width(2, 11)
    cell = inputs(sheet, "fd_filter", "fd_row", "fd_column", "nudge")
    results = sheet.next_row
    top = sheet.next_row = results + 8
    up = nudged_pass(sheet, "up", way, cell, stride, top, LEFT)
    down = nudged_pass(sheet, "down", way, cell, stride, top, up.right)
    first, last = grad_weight[0, 0, 0, 0], grad_weight[-1, 0, -1, -1]
    area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    row = (cell.fd_filter - 1) * (grad_weight[1, 0, 0, 0].row - first.row) + cell.fd_row
    t = values(
        sheet,
        row=results,
        picked_grad=gradient(
            Call("INDEX", area, row, cell.fd_column),
            "what backpropagation found: grad_conv_weight of the weight that was picked",
            "conv.weight.grad",
            SIX,
        ),
        fd_grad=gradient(
            (up.loss - down.loss) / (2 * cell.nudge),
            "what the loss does: (loss_up - loss_down) / (2 * nudge)",
            "finite difference",
            SIX,
        ),
        fd_error=check(
            lambda t: tensor.abs(t.picked_grad - t.fd_grad),
            "how far they are apart: the larger the nudge, the more the loss bends on the way",
            digits="0.0E+00",
        ),
    )
    drawn = steps(
        sheet,
        len(SIDES) + 1,
        row=top,
        left=down.right + 1,
        freeze=None,
        weight_at=parameter(
            lambda d: np.array([up.picked - 2 * cell.nudge, up.picked - cell.nudge, up.picked], dtype=object),
            "the picked weight: nudged down, as it is, nudged up",
        ),
        loss_at=loss([down.loss, loss_now, up.loss], "the loss with it", digits=SIX),
        line_at=check(
            lambda d: loss_now + t.picked_grad * (d.weight_at - d.weight_at[1]),
            "what the gradient promises: loss + picked_grad * nudge",
            digits=SIX,
        ),
    )
    lines = [
        Series("the loss: nudged down, as it is, nudged up", drawn.weight_at, drawn.loss_at, points=True, line=False),
        Series("the slope that backpropagation found", drawn.weight_at, drawn.line_at),
    ]
    title = "The loss, and its slope, as the picked weight moves"
    sheet.chart(4, LEFT + 18, scatter(title, "the picked weight", "loss", lines, width=17, height=7))


def nudged_pass(sheet: Sheet, side: str, way: Named, cell: Named, stride: int, top: int, left: int) -> Named:
    """The way forward with the picked weight nudged; `loss`, the `picked` weight, and the next free column."""
    sign, nudge = ("+", cell.nudge) if side == "up" else ("-", -cell.nudge)
    nudged = way.weight.copy()
    for k, c, i, j in np.ndindex(*nudged.shape):
        places = ((cell.fd_filter, k), (cell.fd_row, i), (cell.fd_column, j))
        here = (tensor.equal(chosen, place + 1) for chosen, place in places)
        nudged[k, c, i, j] = nudged[k, c, i, j] + tensor.where(Call("AND", *here), nudge, 0)
    weight, conv, pool, logits, end = (f"{name}_{side}" for name in ("weight", "conv", "pool", "logits", "loss"))
    forward: dict[str, Any] = {
        weight: net.weight(nudged, f"the framed one {sign} nudge", digits="0.000"),
        conv: net.signed(
            lambda m: tensor.conv2d(way.seen[None], m[weight], way.bias, stride)[0], net.WINDOW, "", SPARSE
        ),
        pool: net.feature(
            lambda m: tensor.relu(tensor.max_pool2d(m[conv][None], POOL)[0]),
            "largest of each 2 x 2, 0 if below 0",
            "",
            SPARSE,
        ),
        logits: net.feature(lambda m: net.dense(m[pool], way.dense_weight, way.dense_bias), "scores", scale=None),
    }
    band = max(way.conv.shape[1], KERNEL) + 1
    m = net.maps(sheet, row=top, left=left, band=band, down=True, **forward)
    first = m[weight].flat[0]
    row = first.row - 1 + (cell.fd_filter - 1) * band + cell.fd_row
    sheet.frame(m[weight], row, first.column - 1 + cell.fd_column)
    scores = m[logits]
    largest = tensor.largest(scores)
    entropy = tensor.log(tensor.sum(tensor.exp(scores - largest)))
    entropy = entropy - (tensor.index(scores, way.label + 1) - largest)
    found = net.labelled(sheet, top + (3 if side == "up" else 5), **{end: loss(entropy, "F.cross_entropy", digits=SIX)})
    area = Range(first.sheet, first.row, first.column, first.row + band + KERNEL - 1, first.column + KERNEL - 1)
    picked = Call("INDEX", area, (cell.fd_filter - 1) * band + cell.fd_row, cell.fd_column)
    return Named(loss=found[end], picked=picked, right=m.right)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    typed = {name: v[name].requires_grad_() for name in DIMS}
    ways = reference_forward(v, v.conv_weight)
    places, conv = ways.pop("places"), ways["conv"]
    for each in ways.values():
        each.retain_grad()
    blocks = ways | net.reference_answers(ways["logits"], v.label)
    blocks["loss"].backward()
    blocks |= {f"grad_{name}": each.grad for name, each in (typed | ways).items()}
    blocks |= {"pool_from": net.reference_places(places, conv.shape[2]), "conv_weight_flip": v.conv_weight.flip(2, 3)}
    if v.padding:
        blocks["padded"] = F.pad(v.picture, [v.padding] * 4)
    spread = torch.zeros(FILTERS, *((side - 1) * v.stride + 1 for side in conv.shape[1:]))
    spread[:, :: v.stride, :: v.stride] = conv.grad
    if v.stride > 1:
        blocks["grad_conv_spread"] = spread
    before = KERNEL - 1 - v.padding
    right, below = (v.picture.shape[k] + KERNEL - 1 - before - spread.shape[k] for k in (2, 1))
    blocks["grad_conv_padded"] = F.pad(spread, [before, right, before, below])

    picked = v.fd_filter - 1, 0, v.fd_row - 1, v.fd_column - 1
    moved = v.nudge * torch.arange(-1.0, 2.0, dtype=torch.float64)
    for side, sign in SIDES.items():
        weight = v.conv_weight.detach().clone()
        weight[picked] += sign * v.nudge
        way = reference_forward(v, weight)
        way |= {"weight": weight, "loss": F.cross_entropy(way["logits"], torch.tensor(v.label))}
        blocks |= {f"{name}_{side}": way[name] for name in ("weight", "conv", "pool", "logits", "loss")}
    found, slope = blocks["grad_conv_weight"][picked], (blocks["loss_up"] - blocks["loss_down"]) / (2 * v.nudge)
    blocks |= {"picked_grad": found, "fd_grad": slope, "fd_error": (found - slope).abs()}
    losses = torch.stack([blocks[name].detach() for name in ("loss_down", "loss", "loss_up")])
    drawn = {"weight_at": v.conv_weight[picked].detach() + moved, "line_at": losses[1] + found * moved}
    return blocks | drawn | {"loss_at": losses}


def reference_forward(v: Named, weight: Any) -> dict[str, Any]:
    """The way forward, as torch's functions."""
    from torch.nn import functional as F  # noqa: N812

    conv = F.conv2d(v.picture, weight, v.conv_bias, v.stride, v.padding)
    relu = F.relu(conv)
    pool, places = F.max_pool2d(relu, POOL, return_indices=True)
    logits = F.linear(pool.flatten(), v.dense_weight.transpose(0, 1).flatten(1), v.dense_bias)
    return {"conv": conv, "relu_maps": relu, "pool": pool, "places": places, "logits": logits}


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is as exact as the largest logit.
    """
    largest = max(1.0, *(float(np.abs(blocks[f"logits_{side}"]).max()) for side in SIDES))
    return dict.fromkeys(("fd_grad", "fd_error"), largest / v.nudge)


def grey(source: Source) -> dict[str, Any]:
    if source.rgb:
        raise Error("conv_backward shows grey pictures: leave --rgb out")
    return load_picture(source)


FORWARD = (
    "Convolution: each window of the picture times the filter, added up. ReLU: 0 where that is negative. "
    "Max-pooling: the largest of each 2 x 2."
)
TO_MAPS = (
    "A pooled cell touched all ten logits: its gradient adds up ten products. Pooling passes it to the cell that "
    "was the largest, ReLU to those above 0."
)
TO_FILTERS = (
    "A filter's weight met a whole shifted picture: its gradient is that picture times grad_conv, added up. The "
    "bias met every cell."
)
TO_PICTURE = (
    "The same convolution the other way round: the filter turned upside down and back to front runs over grad_conv "
    "with cells of 0 around it."
)
ABOUT = [
    "A network learns by changing its parameters (the filters, the weights, the biases) so that the loss gets "
    "smaller. The gradient of a parameter says how much the loss grows if the parameter grows a little. "
    "Backpropagation works all gradients out in one go: it begins at the loss and walks back through the "
    "layers, and at each layer it asks how much each number there had to do with the loss.",
    "The network here is a convolution, ReLU, max-pooling, a dense layer, softmax and the loss "
    "(cross-entropy). Each block of numbers on the way forward has its gradient on the way back, a block of "
    "the same shape.",
]
TRY = [
    "On 'backward', follow one cell: a cell of grad_pool goes to the one cell of grad_relu_maps that was the "
    "largest of its 2 x 2 (pool_from says which); the others had no say and get 0.",
    "Where conv is below 0, ReLU made it 0: grad_conv is 0 there. Nothing is learned through such a cell.",
    "Click a cell of grad_conv_weight: it is the part of the picture that the weight met, times grad_conv, added up.",
    "On 'finite difference', pick another weight with fd_row. Does the gradient agree with what the loss does when "
    "that weight is nudged?",
    "Make nudge 0.5: the loss bends on such a long way, and the two no longer agree.",
    "On 'dense', type 20 into dense_bias at digit 7: the network is sure, and right. Where are the gradients?",
]
DIMS = {"picture": 3, "conv_weight": 4, "conv_bias": 1, **net.DENSE}
CONV_BACKWARD = Lesson(
    "conv_backward",
    "backpropagation through a convolution, every gradient a block of cells, with a finite difference beside it",
    (
        Input(
            "label",
            7,
            "the right answer, which the loss compares with the scores",
            minimum=0,
            maximum=9,
            whole=True,
        ),
        Input("padding", 1, "rows and columns of 0 around the picture", minimum=0, **net.FIXED),
        Input("stride", 1, "how many cells a filter moves at a time", minimum=1, **net.FIXED),
        Input("fd_filter", 1, "the filter whose weight is nudged", minimum=1, maximum=FILTERS, whole=True),
        Input("fd_row", 1, "the weight's row in the filter", minimum=1, maximum=KERNEL, whole=True),
        Input("fd_column", 1, "the weight's column in the filter", minimum=1, maximum=KERNEL, whole=True),
        Input("nudge", 0.01, "how far the weight is moved, up and down", above=0),
    ),
    Data(DIMS, grey, ("csv", "image")),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Backpropagation through a convolution",
    about=ABOUT,
    things_to_try=TRY,
)
