"""Backpropagation through a convolution: where each gradient comes from, cell by cell."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, WHOLE, Book, Input, Sheet
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.old_network import (
    EXPLAINED,
    KERNEL,
    LEFT,
    POOL,
    answers,
    check_layers,
    conv_layer,
    dense,
    dense_sheet,
    explain,
    labelled,
    maps_sheet,
    pool_layer,
    pooled_from,
    reference_answers,
    show,
    show_picture,
    unpooled,
    weights,
)
from sgdsheet.lessons.pictures import load_picture
from sgdsheet.tensor import Array

FILTERS = 2
SIDES = ("up", "down")


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `forward`, `dense`, `answer`, `backward`, `finite difference`."""
    picture = np.asarray(data["picture"])
    padding, stride = int(values["padding"]), int(values["stride"])
    _, rows, columns = picture.shape
    check_layers("conv_backward", rows, columns, 1, padding, stride)
    book = Book(
        "conv_backward",
        "Backpropagation through a convolution",
        [
            "A network learns by changing its parameters (the filters, the weights, the biases) so that the loss gets "
            "smaller. The gradient of a parameter says how much the loss grows if the parameter grows a little. "
            "Backpropagation works all gradients out in one go: it begins at the loss and walks back through the "
            "layers, and at each layer it asks how much each number there had to do with the loss.",
            "The network here is a convolution, ReLU, max-pooling, a dense layer, softmax and the loss "
            "(cross-entropy). Each block of numbers on the way forward has its gradient on the way back, a block of "
            "the same shape.",
        ],
        [
            "On 'backward', follow one cell: a cell of grad_pool goes to the one cell of grad_relu that was the "
            "largest of its 2 x 2 (pool_from says which); the others had no say and get 0.",
            "Where conv is below 0, ReLU made it 0: grad_conv is 0 there. Nothing is learned through such a cell.",
            "Click a cell of grad_conv_weight: it is the part of the picture that the weight met, times grad_conv, "
            "added up.",
            "On 'finite difference', pick another weight of a filter. Does the gradient agree with what the loss does "
            "when that weight is nudged? Make the nudge 0.5: the difference is no longer a slope.",
            "On 'forward', choose the label that the network already prefers: all gradients become small.",
        ],
        INPUTS,
        values,
    )
    forward = _forward_sheet(book, picture, padding, stride)
    dense_layer, forward["dense_weight"], forward["dense_bias"] = dense_sheet(book, forward["pool"])
    grad_logits = _answer_sheet(book, forward)
    _dense_gradient(dense_layer, forward, grad_logits)
    grad_weight = _backward_sheet(book, forward, grad_logits, padding, stride)
    _finite_difference_sheet(book, forward, grad_weight, stride)
    return book


def _forward_sheet(book: Book, picture: Any, padding: int, stride: int) -> dict[str, Any]:
    sheet = maps_sheet(
        book,
        "forward",
        "The way forward",
        "What each layer makes of the picture. All of it is needed again on the way back.",
    )
    torch = {"padding": "nn.Conv2d(..., padding=padding)", "stride": "nn.Conv2d(..., stride=stride)"}
    label, *_ = sheet.inputs(sheet.next_row, 1, ("label", "padding", "stride"), torch=torch)
    top = sheet.next_row
    explain(
        sheet,
        top,
        "Forward",
        "Convolution: each window of the picture times the filter, added up. ReLU: 0 where that is negative. "
        "Max-pooling: the largest of each 2 x 2.",
    )
    seen, left = show_picture(sheet, picture, padding, top)
    weight = weights(random.Random(27), (FILTERS, 1, KERNEL, KERNEL))
    layer = conv_layer(sheet, "", top, left, seen, weight, "random at first: type here", stride)
    return {"label": label, "seen": seen, **layer, "pool": pool_layer(sheet, top, layer["relu"])}


def _answer_sheet(book: Book, forward: dict[str, Any]) -> Array:
    sheet = book.sheet(
        "answer",
        "The loss, and the first gradient",
        "The way back begins here. Softmax and cross-entropy together have a gradient that could not be simpler: the "
        "probability that was given, minus the one that would have been right.",
        "A bias is added to its logit, so its gradient is the logit's.",
    )
    sheet.width(1, 14)
    logits = dense(forward["pool"], forward["dense_weight"], forward["dense_bias"])
    made = answers(sheet, sheet.next_row, 1, logits, forward["label"])
    table = made["table"]
    grad = made["softmax"] - made["one_hot"]
    grad = table.column("grad_logits", "gradient", grad, words="softmax - one_hot", torch="logits.grad")
    table.column("grad_dense_bias", "gradient", grad, words="grad_logits", torch="dense.bias.grad", width=16)
    return grad


def _dense_gradient(sheet: Sheet, forward: dict[str, Any], grad_logits: Array) -> None:
    """Right of the dense layer's weights, their gradient."""
    pool, bias = forward["pool"], forward["dense_bias"]
    top, left = forward["dense_weight"].flat[0].row - 2, bias[0].column + 2
    grad = grad_logits[:, None, None, None] * pool
    words = "the digit's grad_logits * pool"
    _show_gradient(
        sheet,
        "grad_dense_weight",
        grad,
        top,
        left,
        words,
        "dense.weight.grad.view_as(dense_weight)",
        band=pool.shape[1] + 1,
    )


def _backward_sheet(book: Book, forward: dict[str, Any], grad_logits: Any, padding: int, stride: int) -> Array:
    sheet = maps_sheet(
        book,
        "backward",
        "The way back",
        "From the gradient of the logits (on 'answer') to that of every parameter, and of the picture itself.",
        "A gradient has the shape of what it belongs to. Orange: the loss would grow with this number. Blue: it would "
        "shrink.",
    )
    pool, conv, weight, seen = (forward[name] for name in ("pool", "conv", "weight", "seen"))
    band = max(conv.shape[1], KERNEL) + 1
    layout: dict[str, Any] = {"down": True, "band": band}
    top = sheet.next_row
    explain(
        sheet,
        top,
        "1. To the maps",
        "A pooled cell touched all ten logits: its gradient adds up ten products. Pooling passes it to the cell that "
        "was the largest, ReLU to those above 0.",
    )
    grad = np.empty(pool.shape, dtype=object)
    for position in np.ndindex(*pool.shape):
        grad[position] = tensor.sum(grad_logits * forward["dense_weight"][(slice(None), *position)])
    words = "sum over the ten digits of grad_logits * dense_weight"
    grad_pool = _show_gradient(sheet, "grad_pool", grad, top, LEFT, words, "pool.grad[0]", **layout)
    left = LEFT + pool.shape[2] + 1
    came_from = pooled_from(forward["relu"], pool)
    words = "which of the 2 x 2 was the largest: 0 1, below them 2 3"
    torch = "from F.max_pool2d(..., return_indices=True)"
    layout["number_format"] = WHOLE
    pool_from = show(sheet, "pool_from", came_from, "check", top, left, None, words=words, torch=torch, **layout)
    del layout["number_format"]
    left += pool.shape[2] + 1
    grad = unpooled(grad_pool, pool_from, conv.shape)
    words = "grad_pool at the cell that was the largest"
    grad_relu = _show_gradient(sheet, "grad_relu", grad, top, left, words, "relu.grad[0]", **layout)
    left += conv.shape[2] + 1
    grad = tensor.where(tensor.greater(conv, 0), grad_relu, 0)
    words = "grad_relu where conv is above 0"
    grad_conv = _show_gradient(sheet, "grad_conv", grad, top, left, words, "conv.grad[0]", **layout)

    top += 2 + FILTERS * band
    explain(
        sheet,
        top,
        "2. To the filters",
        "A filter's weight met a whole shifted picture: its gradient is that picture times grad_conv, added up. The "
        "bias met every cell.",
    )
    left = LEFT
    spread = _spread(grad_conv, stride)
    if stride > 1:
        words = f"grad_conv, {stride - 1} cells of 0 between its cells"
        spread = _show_gradient(sheet, "grad_conv_spread", spread, top, left, words, "", down=True)
        left += spread.shape[2] + 1
    band = max(spread.shape[1] if stride > 1 else 0, KERNEL) + 1
    grad = np.empty(weight.shape, dtype=object)
    for k, c, i, j in np.ndindex(*weight.shape):
        grad[k, c, i, j] = tensor.sum(spread[k] * seen[c, i : i + spread.shape[1], j : j + spread.shape[2]])
    words = "sum of shifted picture * grad_conv"
    layout = {"band": band, "number_format": "0.000"}
    grad_weight = _show_gradient(sheet, "grad_conv_weight", grad, top, left, words, "conv.weight.grad", **layout)
    left += KERNEL + 3
    grad = np.array([tensor.sum(each) for each in grad_conv], dtype=object)
    _show_gradient(
        sheet, "grad_conv_bias", grad, top, left, "sum of grad_conv", "conv.bias.grad", number_format="0.000"
    )

    top += 2 + FILTERS * band + max(0, EXPLAINED - FILTERS * band)
    explain(
        sheet,
        top,
        "3. To the picture",
        "The same convolution the other way round: the filter turned upside down and back to front runs over grad_conv "
        "with cells of 0 around it.",
    )
    band = max(seen.shape[1] + KERNEL, KERNEL) + 1
    left = LEFT
    turned = weight[:, :, ::-1, ::-1]
    words = "conv_weight, turned by 180 degrees"
    layout = {"words": words, "torch": "conv.weight.flip(2, 3)", "band": band}
    turned = show(sheet, "conv_weight_flip", turned, "parameter", top, left, DIVERGING, **layout)
    left += KERNEL + 3
    around = _around(spread, seen.shape[1] - 2 * padding, seen.shape[2] - 2 * padding, padding)
    words = "grad_conv_spread" if stride > 1 else "grad_conv"
    words += ", with cells of 0 around it"
    around = _show_gradient(sheet, "grad_conv_padded", around, top, left, words, "", down=True, band=band)
    left += around.shape[2] + 1
    grad = tensor.conv2d(around[None], turned.transpose(1, 0, 2, 3))[0]
    words = "sum of window * turned filter, over both filters"
    _show_gradient(sheet, "grad_picture", grad, top, left, words, "x.grad[0]", down=True)
    return grad_weight


def _show_gradient(
    sheet: Sheet, name: str, grad: Any, row: int, column: int, words: str, torch: str, **layout: Any
) -> Array:
    layout = {"number_format": "0.000"} | layout
    return show(sheet, name, grad, "gradient", row, column, DIVERGING, words=words, torch=torch, **layout)


def _spread(grad: Array, stride: int) -> Array:
    """The gradient's cells `stride` apart, with 0 between: where the filter stood on what it looked at."""
    count, rows, columns = grad.shape
    spread = np.zeros((count, (rows - 1) * stride + 1, (columns - 1) * stride + 1), dtype=object)
    spread[:, ::stride, ::stride] = grad
    return spread


def _around(spread: Array, rows: int, columns: int, padding: int) -> Array:
    """The gradient with 0 around it, so that each of the picture's cells has a window of its own."""
    around = np.zeros((len(spread), rows + KERNEL - 1, columns + KERNEL - 1), dtype=object)
    for k, i, j in np.ndindex(*spread.shape):
        row, column = i + KERNEL - 1 - padding, j + KERNEL - 1 - padding
        if 0 <= row < around.shape[1] and 0 <= column < around.shape[2]:
            around[k, row, column] = spread[k, i, j]
    return around


def _finite_difference_sheet(book: Book, forward: dict[str, Any], grad_weight: Array, stride: int) -> None:
    sheet = maps_sheet(
        book,
        "finite difference",
        "Is the gradient right? Nudge a weight and look at the loss",
        "A gradient can be found without any backpropagation: make one weight a little larger, go all the way forward, "
        "do the same with the weight a little smaller, and see how much the loss changed.",
        "It takes two ways forward for one weight. Backpropagation finds the gradients of all of them in one way back.",
    )
    *picked, nudge = sheet.inputs(sheet.next_row, 1, ("fd_filter", "fd_row", "fd_column", "nudge"))
    results = sheet.next_row
    sheet.next_row += 4
    losses = {
        side: _nudged_pass(sheet, side, forward, picked, sign * nudge, stride)
        for side, sign in zip(SIDES, (1, -1), strict=True)
    }
    first, last = grad_weight[0, 0, 0, 0], grad_weight[-1, 0, -1, -1]
    area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    step = grad_weight[1, 0, 0, 0].row - first.row
    number, i, j = picked
    grad = Call("INDEX", area, (number - 1) * step + i, j)
    slope = (losses["up"] - losses["down"]) / (2 * nudge)
    layout = {"number_format": "0.00000000"}
    words = "what backpropagation found: grad_conv_weight of the weight that was picked"
    grad = sheet.value(results, 1, "picked_grad", grad, "gradient", words=words, torch="conv.weight.grad", **layout)
    words = "what the loss does: (loss_up - loss_down) / (2 * nudge)"
    slope = sheet.value(results + 1, 1, "fd_grad", slope, "gradient", words=words, torch="finite difference", **layout)
    words = "how far they are apart: large only where the nudge changes which cell is the largest, or is above 0"
    sheet.value(results + 2, 1, "fd_error", tensor.abs(grad - slope), "check", words=words, **layout)


def _nudged_pass(
    sheet: Sheet, side: str, forward: dict[str, Any], picked: Sequence[Any], nudge: Any, stride: int
) -> Any:
    """The way forward with one weight nudged, and its loss."""
    top, left = sheet.next_row, LEFT
    explain(
        sheet, top, f"Nudged {side}", f"The way forward with the picked weight {'+' if side == 'up' else '-'} nudge."
    )
    layout: dict[str, Any] = {"down": True, "band": max(forward["conv"].shape[1], KERNEL) + 1}
    weight = forward["weight"].copy()
    for k, c, i, j in np.ndindex(*weight.shape):
        here = tensor.equal(picked[0], k + 1), tensor.equal(picked[1], i + 1), tensor.equal(picked[2], j + 1)
        weight[k, c, i, j] = weight[k, c, i, j] + tensor.where(Call("AND", *here), nudge, 0)
    words = "conv_weight, one nudged"
    weight = show(sheet, f"weight_{side}", weight, "parameter", top, left, DIVERGING, words=words, **layout)
    left += KERNEL + 3
    conv = tensor.conv2d(forward["seen"][None], weight, forward["bias"], stride)[0]
    words = "sum of window * filter, + bias"
    conv = show(sheet, f"conv_{side}", conv, "activation", top, left, DIVERGING, words=words, **layout)
    left += conv.shape[2] + 1
    pool = tensor.relu(tensor.max_pool2d(conv[None], POOL)[0])
    words = "the largest of each 2 x 2, 0 if that is below 0"
    pool = show(sheet, f"pool_{side}", pool, "activation", top, left, words=words, **layout)
    left += pool.shape[2] + 1
    logits = dense(pool, forward["dense_weight"], forward["dense_bias"])
    logits = show(sheet, f"logits_{side}", logits, "activation", top, left, None, words="ten scores")
    largest = tensor.largest(logits)
    loss = tensor.log(tensor.sum(tensor.exp(logits - largest)))
    loss = loss - (tensor.index(logits, forward["label"] + 1) - largest)
    words = "F.cross_entropy of these"
    loss = labelled(sheet, f"loss_{side}", loss, "loss", top + 6, words=words, number_format="0.00000000")
    sheet.next_row = top + 2 + FILTERS * layout["band"] + 1
    return loss.item()


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    typed = {name: torch.as_tensor(values[name], dtype=torch.float64).requires_grad_() for name in DIMS}
    padding, stride, label = int(values["padding"]), int(values["stride"]), int(values["label"])
    weight, bias = typed["conv_weight"], typed["conv_bias"]

    x = typed["picture"].unsqueeze(0)
    conv = F.conv2d(x, weight, bias, stride, padding)
    relu = F.relu(conv)
    pool, places = F.max_pool2d(relu, POOL, return_indices=True)
    logits = F.linear(pool.flatten(), typed["dense_weight"].flatten(1), typed["dense_bias"])
    ways = {"conv": conv, "relu": relu, "pool": pool, "logits": logits}
    for each in ways.values():
        each.retain_grad()
    blocks: dict[str, Any] = dict(typed) | reference_answers(logits, label)
    blocks["loss"].backward()

    if padding:
        blocks["padded"] = F.pad(x, [padding] * 4)[0]
    for name, way in (typed | ways).items():
        assert way.grad is not None
        blocks[f"grad_{name}"] = way.grad if name in typed or name == "logits" else way.grad[0]
    blocks |= {name: way[0] for name, way in ways.items() if name != "logits"}
    columns = conv.shape[3]
    blocks["pool_from"] = (places // columns % POOL * POOL + places % columns % POOL)[0]
    grad = conv.grad
    assert grad is not None
    blocks["conv_weight_flip"] = weight.flip(2, 3)
    if stride > 1:
        blocks["grad_conv_spread"] = _apart(grad, stride)[0]
    rows, columns = x.shape[2:]
    beyond = KERNEL - 1 - padding
    spread = _apart(grad, stride)
    sides = [
        beyond,
        columns + KERNEL - 1 - beyond - spread.shape[3],
        beyond,
        rows + KERNEL - 1 - beyond - spread.shape[2],
    ]
    blocks["grad_conv_padded"] = F.pad(spread, sides)[0]
    for side, sign in zip(SIDES, (1, -1), strict=True):
        blocks |= _nudged(typed, values, sign * values["nudge"], padding, stride, side)
    place = tuple(int(values[name]) - 1 if name else 0 for name in ("fd_filter", "", "fd_row", "fd_column"))
    blocks["picked_grad"] = blocks["grad_conv_weight"][place]
    blocks["fd_grad"] = (blocks["loss_up"] - blocks["loss_down"]) / (2 * values["nudge"])
    blocks["fd_error"] = (blocks["picked_grad"] - blocks["fd_grad"]).abs()
    blocks |= {spec.name: torch.tensor(values[spec.name]) for spec in INPUTS}
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _apart(grad: Any, stride: int) -> Any:
    """The gradient with 0 between its cells, as a transposed convolution sees it."""
    from torch.nn import functional as F  # noqa: N812

    one = grad.new_ones(len(grad[0]), 1, 1, 1)
    return F.conv_transpose2d(grad, one, stride=stride, groups=len(grad[0]))


def _nudged(
    typed: dict[str, Any], values: Values, nudge: float, padding: int, stride: int, side: str
) -> dict[str, Any]:
    """The way forward with one weight nudged."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    weight = typed["conv_weight"].detach().clone()
    weight[tuple(int(values[name]) - 1 if name else 0 for name in ("fd_filter", "", "fd_row", "fd_column"))] += nudge
    conv = F.conv2d(typed["picture"].unsqueeze(0), weight, typed["conv_bias"], stride, padding)
    pool = F.max_pool2d(F.relu(conv), POOL)
    logits = F.linear(pool.flatten(), typed["dense_weight"].flatten(1), typed["dense_bias"])
    loss = F.cross_entropy(logits, torch.tensor(int(values["label"])))
    found = {"weight": weight, "conv": conv[0], "pool": pool[0], "logits": logits, "loss": loss}
    return {f"{name}_{side}": block for name, block in found.items()}


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is as exact as the largest logit.
    """
    largest = max(1.0, *(float(np.abs(blocks[f"logits_{side}"]).max()) for side in SIDES))
    return dict.fromkeys(("fd_grad", "fd_error"), np.array(largest / values["nudge"]))


def _grey(source: Source) -> dict[str, Any]:
    if source.rgb:
        raise Error("conv_backward shows grey pictures: leave --rgb out")
    return load_picture(source)


INPUTS = (
    Input("label", 7, "the digit that the picture shows", minimum=0, maximum=9, whole=True),
    Input("padding", 1, "rows and columns of 0 around the picture", minimum=0, maximum=10, whole=True, fixed=True),
    Input("stride", 1, "how many cells a filter moves at a time", minimum=1, maximum=10, whole=True, fixed=True),
    Input("fd_filter", 1, "the filter whose weight is nudged", minimum=1, maximum=FILTERS, whole=True),
    Input("fd_row", 1, "the weight's row in the filter", minimum=1, maximum=KERNEL, whole=True),
    Input("fd_column", 1, "the weight's column in the filter", minimum=1, maximum=KERNEL, whole=True),
    Input("nudge", 0.0001, "how far the weight is moved", above=0),
)
DIMS = {"picture": 3, "conv_weight": 4, "conv_bias": 1, "dense_weight": 4, "dense_bias": 1}
CONV_BACKWARD = Lesson(
    "conv_backward",
    "backpropagation through a convolution, every gradient a block of cells, with a finite difference beside it",
    INPUTS,
    Data(DIMS, _grey, ("csv", "image")),
    build=build,
    reference=reference,
    sizes=sizes,
)
