"""A small convolutional network learns to read digits: forward, backward and update, one sheet a step."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sgdsheet import optim, tensor
from sgdsheet.book import DIVERGING, SHORT, SPARSE, WHOLE, Book, Input, Series, Sheet, scatter
from sgdsheet.book import INK as SCALE
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.errors import Error
from sgdsheet.expr import Range
from sgdsheet.lessons import flow
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.flow import Named, check, counter, inputs, loss, steps, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CLASSES, KERNEL, POOL
from sgdsheet.lessons.pictures import INK, SIDE, digits, read_digits
from sgdsheet.tensor import Array

FILTERS = 3
MAP = SIDE - KERNEL + 1
FEATURES = FILTERS * (MAP // POOL) ** 2
HELD_OUT = 20
SHAPES = {
    "conv.weight": (FILTERS, 1, KERNEL, KERNEL),
    "conv.bias": (FILTERS,),
    "dense.weight": (CLASSES, FEATURES),
    "dense.bias": (CLASSES,),
}
OPTIMIZERS = ("SGD", "momentum", "Adam")
TRAIN = 240
SEED = 32  # a start from which all three optimisers get somewhere
# Where things stand on the sheet of a step.
LEFT = 2
COLUMNS = {"conv.weight": 2, "conv.bias": 6, "dense.weight": 10, "dense.bias": 11 + FEATURES}
SHOWN = {"before": LEFT + SIDE + 2, "after": LEFT + SIDE + 2 + KERNEL + MAP + 4}  # on the sheet of the filters
NARROW, DOTS = 36 / 7, 17 / 7  # cells for two decimals, and for pictures
TEN, BAND = 10, SIDE + 4  # pictures in a row, and the rows that each takes with its captions
DOT = '0;-0;"\u00b7"'  # a dot for no ink
GRADIENT = '0.000;-0.000;"\u00b7"'
GOOD = '[Blue]"\u2713";;[Red]"\u2717"'  # a tick for 1, a cross for 0
CAPTION = replace(LABEL, size=9, horizontal="left", shrink=True)
PARAMETER_ROWS = 2 + FILTERS * (KERNEL + 1) + 1
SECTION = replace(HEADING, size=14, underline=True)
# What belongs to a parameter: its role, what it is in torch, its number format.
KINDS = {
    "param": ("parameter", "{}", SHORT),
    "grad": ("gradient", "{}.grad", GRADIENT),
    "state/momentum_buffer": ("optimiser state", "optimizer.state[{}]['momentum_buffer']", SPARSE),
    "state/exp_avg": ("optimiser state", "optimizer.state[{}]['exp_avg']", GRADIENT),
    "state/exp_avg_sq": ("optimiser state", "optimizer.state[{}]['exp_avg_sq']", '0.0E+0;;"\u00b7"'),
    "new_param": ("parameter", "{}, after the step", SHORT),
}
UPDATES = {
    "momentum_buffer": "6. What momentum remembers: momentum_buffer",
    "exp_avg": "7. What Adam remembers: exp_avg, the running mean of the gradients",
    "exp_avg_sq": "8. What Adam remembers: exp_avg_sq, the running mean of their squares",
    "new_param": "9. The new parameters, with which the next step begins",
}
STATES = tuple(UPDATES)[:3]

Params = Mapping[str, Array]


def build(book: Book, data: Mapping[str, Any]) -> None:
    """The sheets `training`, `filters`, `held out`, `digits`, and one for each step."""
    count, batch = int(book.values["steps"]), int(book.values["batch_size"])
    book.summary = about(count, batch)
    training = book.sheet(
        "training",
        "The training at a glance",
        "The loss says how wrong the network is on the mini-batch of a step: about 2.3 for pure guessing among ten, 0 "
        "for being sure and right every time.",
        "It goes up and down because every step looks at other digits.",
    )
    filters = book.sheet(
        "filters",
        "The weights before and after",
        "A filter makes a large number where the picture has ink on its orange cells and none on its blue ones.",
        "Choose another of the held-out digits and see what each filter finds in it, before and after training.",
    )
    held = book.sheet(
        "held out",
        "Digits that it never trained on",
        "Whether a network has learned to read shows on digits that it has not seen. Below each picture is what it was "
        "taken for before training and after it.",
    )
    cell = training_inputs(training)
    pixels, labels = digits_sheet(book, data)
    runs: list[Named] = []
    for step in range(1, count + 1):
        chosen = [((step - 1) * batch + place) % len(labels["train"]) for place in range(batch)]
        params, state = (runs[-1].new_params, runs[-1].state) if runs else (start(), {})
        sheet = step_sheet(book, step, count, [each + 1 for each in chosen])
        runs.append(one_step(sheet, step, params, state, pixels["train"][chosen], labels["train"][chosen], cell))
    top = filters.next_row
    filters.width(1, 12)
    number = inputs(filters, "show_digit").show_digit
    trained = filters_sheet(filters, top + 3, runs[0].params, runs[-1].new_params, count)
    way = book.sheet(
        "held out maps",
        "The way of the held-out digits through the network, before training and after it",
        details=True,
    )
    seen, right = held_out_sheet(held, way, pixels["held"], labels["held"], trained)
    show_one(filters, top + 3, number, seen)
    training_sheet(training, runs, right)


def training_inputs(sheet: Sheet) -> Named:
    torch = {"momentum": "torch.optim.SGD(..., momentum=momentum)", "batch_size": "DataLoader(..., batch_size)"}
    torch |= {f"{name}_lr": "torch.optim." + {"momentum": "SGD"}.get(name, name) + "(..., lr)" for name in OPTIMIZERS}
    torch |= dict.fromkeys(("beta1", "beta2", "eps"), "torch.optim.Adam(..., betas, eps)")
    names = (spec.name for spec in INPUTS if spec.name != "show_digit")
    return inputs(sheet, *names, torch=torch, across=True)


def digits_sheet(book: Book, data: Mapping[str, Any]) -> tuple[Params, Params]:
    """The digits, ten beside each other: the pixels as references of shape (count, 8, 8), and the labels.

    A row of digits takes ten rows of cells, so that the column of labels beside them has one for each.
    """
    sheet = net.maps_sheet(
        book,
        "digits",
        "The digits: 8 x 8 pixels from 0, no ink, to 16",
        "Left of each row of digits are its ten labels, from top to bottom. Change one, and the network learns "
        "something else; or change the ink.",
        cell=DOTS,
    )
    sheet.width(1, 11)
    sheet.width(2, 2)
    pixels, labels = {}, {}
    for part, words in (("train", "to learn from, mini-batch after mini-batch"), ("held", "never learned from")):
        row, given = sheet.next_row, data[f"{part}_pixels"]
        sheet.heading(row, net.LEFT, f"{part}_pixels", given.shape, words, TEN * (SIDE + 1))
        sheet.write(row, 1, f"{part}_label", LABEL)
        label = flow.data(typed(data[f"{part}_label"]), "the digits that they are", "y", WHOLE)
        labels[part] = flow.place(sheet, row + 2, 1, f"{part}_label", label)
        ink = flow.data(typed(given), words, "x * 16", DOT)
        layout: dict[str, Any] = {"band": TEN, "most": TEN * (SIDE + 1)}
        pixels[part] = flow.place(sheet, row + 3, net.LEFT, f"{part}_pixels", ink, **layout)
        sheet.heat_map(pixels[part], SCALE)
        for number, corner in zip(labels[part], pixels[part][:, 0, 0], strict=True):
            sheet.write(corner.row - 1, corner.column, number, CAPTION)
        sheet.next_row = row + 2 + TEN * math.ceil(len(given) / TEN) + 1
        net.square(sheet, row + 2, DOTS)
    return pixels, labels


def start() -> Params:
    """Untrained parameters that the reader may change."""
    generator = random.Random(SEED)
    return {
        name: net.weights(generator, shape) if name.endswith("weight") else typed([0] * shape[0])
        for name, shape in SHAPES.items()
    }


def step_sheet(book: Book, step: int, count: int, numbers: Sequence[int]) -> Sheet:
    """`numbers` are those of the digits that the step looks at."""
    sheet = book.sheet(
        f"step {step}",
        f"Step {step} of {count}, with digits {numbers[0]} to {numbers[-1]}",
        "The parameters, the way forward with each digit of the mini-batch, the loss, the way back, the update.",
        details=step > 1,
    )
    sheet.width(1, NARROW, 120)
    return sheet


def one_step(
    sheet: Sheet, step: int, params: Params, state: Mapping[Any, Array], pixels: Array, labels: Array, cell: Named
) -> Named:
    """One step of training: its `params`, `loss`, `right` answers, and with what the next begins."""
    made, batch = step - 1, len(labels)  # names count the updates that were made before, as the parameters do
    maps = partial(net.maps, sheet, f"{made}/", left=LEFT, short=True)
    section(sheet, "1. The parameters that this step begins with")
    words = net.RANDOM if step == 1 else "the new_param of the step before"
    params = parameters(sheet, f"{made}/param", {name: (array, words) for name, array in params.items()})
    filters, weight, bias = params["conv.weight"], params["dense.weight"], params["dense.bias"]

    section(sheet, "2. Forward, digit by digit: convolution, ReLU, max-pooling")
    m = maps(
        band=SIDE + 1,
        x=net.ink(pixels[:, None] / INK, f"pixels / {INK}", "x", SPARSE),
        conv=net.signed(
            lambda m: tensor.conv2d(m.x, filters, params["conv.bias"]),
            "sum of window * filter, + the filter's bias; a map for each filter",
            "F.conv2d(x, conv.weight, conv.bias)",
            SPARSE,
        ),
        relu_maps=net.feature(lambda m: tensor.relu(m.conv), "conv, but 0 where it is below 0", "F.relu(conv)", SPARSE),
        pool=net.feature(
            lambda m: tensor.max_pool2d(m.relu_maps, POOL), "largest of each 2 x 2", "F.max_pool2d(relu, 2)", SPARSE
        ),
    )

    section(sheet, "3. All digits of the mini-batch, one a row: from their maps to the loss")
    t = maps(
        label=net.Map("data", labels, "", "y", WHOLE, scale=None, takes=3),
        features=net.feature(
            m.pool.reshape(batch, FEATURES), "the three pooled maps in one row", "pool.flatten(1)", SPARSE
        ),
        logits=net.signed(
            lambda t: tensor.matmul(t.features, weight.T) + bias,
            "sum of features * the digit's weights, + bias",
            "model(x)",
        ),
        exp_logits=net.feature(
            lambda t: tensor.exp(t.logits - net.each_row(tensor.largest, t.logits)[:, None]),
            "e ^ (logit - largest logit)",
        ),
        softmax=net.feature(
            lambda t: t.exp_logits / net.each_row(tensor.sum, t.exp_logits)[:, None],
            "exp_logits / their sum",
            "F.softmax(logits, 1)",
        ),
        losses=net.loss(
            lambda t: tensor.log(net.each_row(tensor.sum, t.exp_logits)) - above_largest(t.logits, t.label),
            "-log(softmax)",
            "F.cross_entropy(..., reduction='none')",
            takes=3,
        ),
        predicted=net.count(
            lambda t: net.each_row(tensor.argmax, t.logits), "largest logit", "logits.argmax(1)", takes=3
        ),
        loss=net.loss(lambda t: tensor.mean(t.losses), "their mean", "F.cross_entropy(logits, y)"),
    )

    section(sheet, "4. Backward: from the loss to the maps")
    back = maps(
        grad_logits=net.gradient(
            (t.softmax - tensor.one_hot(t.label, CLASSES)) / batch,
            f"(softmax - 1 at the label) / {batch}",
            "logits.grad",
        ),
        grad_features=net.gradient(
            lambda back: tensor.matmul(back.grad_logits, weight),
            "sum over the digits of grad_logits * dense.weight",
            "features.grad",
        ),
    )
    grad_conv = maps(
        band=MAP + 1,
        pool_from=net.count(net.pooled_from(m.relu_maps, m.pool), net.PLACES, "from return_indices=True"),
        grad_relu_maps=net.gradient(
            lambda g: net.unpooled(back.grad_features.reshape(m.pool.shape), g.pool_from, m.conv.shape),
            "grad_features, at the cell that was the largest",
            "relu.grad",
        ),
        grad_conv=net.gradient(
            lambda g: tensor.where(tensor.greater(m.conv, 0), g.grad_relu_maps, 0), net.PASSED, "conv.grad"
        ),
    ).grad_conv

    section(sheet, "5. The gradients of the parameters: how the loss would change with each")
    grad_weight = np.empty(SHAPES["conv.weight"], dtype=object)
    for k, c, i, j in np.ndindex(*grad_weight.shape):
        grad_weight[k, c, i, j] = tensor.sum(m.x[:, c, i : i + MAP, j : j + MAP] * grad_conv[:, k])
    grads = {
        "conv.weight": (grad_weight, "sum over the batch of shifted x * grad_conv"),
        "conv.bias": (net.each_row(tensor.sum, grad_conv.transpose(1, 0, 2, 3)), "sum of grad_conv"),
        "dense.weight": (tensor.matmul(back.grad_logits.T, t.features), "sum over the batch of grad_logits * features"),
        "dense.bias": (net.each_row(tensor.sum, back.grad_logits.T), "sum of grad_logits"),
    }
    grads = parameters(sheet, f"{made}/grad", grads)
    new_params, state = update(sheet, step, params, grads, state, cell)
    right = tensor.sum(tensor.where(tensor.equal(t.predicted, t.label), 1, 0))
    return Named(params=params, new_params=new_params, state=state, loss=t.loss, right=right)


def section(sheet: Sheet, heading: str) -> None:
    """The heading of a part of a step."""
    sheet.write(sheet.next_row, 1, heading, SECTION)
    sheet.next_row += 1


def above_largest(logits: Array, labels: Array) -> Array:
    """The label's logit minus the largest, of each digit."""
    chosen = [tensor.index(row, label + 1) for row, label in zip(logits, labels, strict=True)]
    return np.array(chosen, dtype=object) - net.each_row(tensor.largest, logits)


def parameters(sheet: Sheet, prefix: str, given: Mapping[str, tuple[Array, str]]) -> Params:
    """A block for each of the network's parameters, side by side, from its formulas and their words."""
    row = sheet.next_row
    placed = {name: parameter(sheet, row, prefix, name, *each) for name, each in given.items()}
    sheet.next_row = row + PARAMETER_ROWS
    return placed


def parameter(sheet: Sheet, row: int, prefix: str, name: str, array: Array, words: str) -> Array:
    """One of the parameters, or what belongs to it: `prefix` ends with one of `KINDS`."""
    role, torch, digits = KINDS[prefix.partition("/")[2]]
    layout: dict[str, Any] = {"scale": DIVERGING, "note": name == "dense.weight", "absolute": role == "parameter"}
    block: dict[str, Any] = {name: net.Map(role, array, words, torch.format(name), digits, **layout)}
    return net.maps(sheet, f"{prefix}/", row=row, left=COLUMNS[name], short=True, **block)[name]


def update(
    sheet: Sheet, step: int, params: Params, grads: Params, state: Mapping[Any, Array], cell: Named
) -> tuple[Params, Mapping[Any, Array]]:
    """What the optimiser remembers, and the new parameters."""
    rows = {}
    for kind, heading in UPDATES.items():
        section(sheet, heading)
        rows[kind] = sheet.next_row
        sheet.next_row += PARAMETER_ROWS
    new_params, new_state = {}, {}
    for name, param in params.items():

        def place(kind: str, array: Any, words: str, name: str = name) -> Any:
            if kind not in STATES:
                return array
            used = "momentum" if kind == "momentum_buffer" else "Adam"
            array = tensor.where(tensor.equal(cell.optimizer, used), array, 0)
            words = f"{words}; 0 unless {used} is chosen"
            new_state[name, kind] = parameter(sheet, rows[kind], f"{step}/state/{kind}", name, array, words)
            return new_state[name, kind]

        before = {kind: state.get((name, kind), np.zeros(param.shape, dtype=object)) for kind in STATES}
        given, betas = (place, param, grads[name], before), (cell.beta1, cell.beta2)
        by_sgd = param - cell.SGD_lr * grads[name]
        by_momentum, _ = optim.sgd(*given, step=step, lr=cell.momentum_lr, momentum=cell.momentum)
        by_adam, _ = optim.adam(*given, step=step, lr=cell.Adam_lr, betas=betas, eps=cell.eps)
        new = tensor.where(tensor.equal(cell.optimizer, "momentum"), by_momentum, by_adam)
        new = tensor.where(tensor.equal(cell.optimizer, "SGD"), by_sgd, new)
        words = "param - lr * what the chosen optimizer makes of the gradient"
        new_params[name] = parameter(sheet, rows["new_param"], f"{step}/new_param", name, new, words)
    return new_params, new_state


def filters_sheet(sheet: Sheet, row: int, before: Params, after: Params, count: int) -> Mapping[str, Params]:
    """The parameters before and after training, by name, in places of their own."""
    sheet.width(LEFT, NARROW, 120)
    sets = {"before": (before, "before", "random"), "after": (after, str(count), f"after {count} updates")}
    placed: dict[str, Any] = {}
    for when, (params, made, words) in sets.items():
        filters = net.weight(params["conv.weight"], words, "conv.weight", title=f"filters {when}")
        block: dict[str, Any] = {"conv.weight": filters}
        placed[when] = net.maps(sheet, f"{made}/param/", row=row, left=SHOWN[when], band=MAP + 1, **block)
    for when, (params, made, _) in sets.items():
        section(sheet, f"The other parameters {when} training")
        others = {name: (array, "") for name, array in params.items() if name != "conv.weight"}
        others = parameters(sheet, f"{made}/param", others)
        placed[when] = {"conv.weight": placed[when]["conv.weight"], **others}
    return placed


def show_one(sheet: Sheet, row: int, number: Any, seen: Mapping[str, Array]) -> None:
    """One of the held-out digits, and what the filters see in it before and after training."""

    says: dict[str, Any] = {"torch": "x[show_digit - 1]", "title": "picture", "digits": SPARSE}
    x = net.ink(net.chosen(seen["x"], number - 1)[0], "the digit that you chose", **says)
    net.maps(sheet, "shown/", row=row, left=LEFT, x=x)
    for when, left in SHOWN.items():
        says = {"torch": "F.relu(conv(x))[show_digit - 1]", "title": f"maps {when}", "digits": SPARSE}
        relu: dict[str, Any] = {when: net.feature(net.chosen(seen[when], number - 1), "convolution and ReLU", **says)}
        net.maps(sheet, "shown/", row=row, left=left + KERNEL + 2, band=MAP + 1, down=True, **relu)


def held_out_sheet(
    sheet: Sheet, way: Sheet, pixels: Array, labels: Array, trained: Mapping[str, Params]
) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
    """Digits that no step has seen, what they are taken for before and after training, and the way there.

    Returns the pictures `x` and their maps `before` and `after`, and how many are read rightly.
    """
    count, top = len(labels), sheet.next_row
    sheet.width(1, 16)
    sheet.width(2, 6)
    sheet.width(net.LEFT, DOTS, 120)
    way.width(1, NARROW, 200)
    x = net.ink(pixels[:, None] / INK, f"pixels / {INK}", "x", SPARSE, title="the digits")
    m = net.maps(way, left=LEFT, row=way.next_row, band=SIDE + 1, held_x=x)
    x, row = m.held_x, way.next_row - (SIDE + 1) * count - 2
    seen: dict[str, Array] = {"x": x}
    logits: dict[str, Array] = {}
    for when, params in trained.items():
        m = net.maps(
            way,
            f"{when}/",
            row=row,
            left=m.right,
            band=SIDE + 1,
            relu_maps=net.feature(
                tensor.relu(tensor.conv2d(x, params["conv.weight"], params["conv.bias"])),
                "convolution and ReLU",
                "F.relu(F.conv2d(x, ...))",
                SPARSE,
                title=f"maps {when} training",
            ),
            pool=net.feature(
                lambda m: tensor.max_pool2d(m.relu_maps, POOL),
                "largest of each 2 x 2",
                "F.max_pool2d(relu, 2)",
                SPARSE,
                title=f"pooled {when} training",
            ),
        )
        seen[when] = m.relu_maps
        weight = params["dense.weight"].reshape(CLASSES, *m.pool.shape[1:])
        scores = [net.dense(maps, weight, params["dense.bias"]) for maps in m.pool]
        title = f"scores {when} training"
        scores = net.signed(scores, "a row for each digit", "model(x)", title=title, takes=CLASSES + 1)
        m2 = net.maps(way, f"{when}/", row=row, left=m.right, logits=scores)
        logits[when], m = m2.logits, m2

    below = top + 4 + 2 * BAND * math.ceil(count / TEN) // 2
    lines: dict[str, Any] = {"held_y": flow.data(labels, "what it is", "y", WHOLE)}
    for when, scores in logits.items():
        read = net.each_row(tensor.argmax, scores)
        lines[f"{when}/predicted"] = counter(read, f"the largest score {when} training", "logits.argmax(1)")
        lines[f"{when}/good"] = None
    names = iter(("label", *(text for when in logits for text in (f"read {when} training", "right"))))
    held: dict[str, Array] = {}
    right: dict[str, Any] = {}
    for row, (name, line) in enumerate(lines.items(), start=below):
        when = name.partition("/")[0]
        if line is None:
            good = tensor.where(tensor.equal(held[f"{when}/predicted"], held["held_y"]), 1, 0)
            line = counter(good, "1 where it is the label", digits=GOOD)
        sheet.write(row, 1, next(names), LABEL)
        held[name] = flow.place(sheet, row, net.LEFT, name, line, across=True)
    for offset, when in enumerate(logits):
        words = f"of {count} are read rightly {when} training"
        good: dict[str, Any] = {when: check(tensor.sum(held[f"{when}/good"]), words, digits=WHOLE)}
        right[when] = values(sheet, "right_", row=top + offset, **good)[when]

    ink = flow.data(pixels, "the digits", "x * 16", DOT)
    pictures = flow.place(sheet, top + 4, net.LEFT, "held_digits", ink, band=BAND, most=TEN * (SIDE + 1))
    sheet.heat_map(pictures, SCALE)
    for number, corner in enumerate(pictures[:, 0, 0]):
        row, left = corner.row, corner.column
        sheet.write(row - 1, left, held["held_y"][number], replace(CAPTION, number_format='"is a "0'))
        sheet.merge(row - 1, left, left + SIDE - 1)
        for offset, when in enumerate(logits, start=SIDE):
            read, good = held[f"{when}/predicted"][number], held[f"{when}/good"][number]
            sheet.write(row + offset, left, read, replace(CAPTION, number_format=f'"{when}: "0', bold=False))
            sheet.merge(row + offset, left, left + 5)
            sheet.write(row + offset, left + 6, good, replace(CAPTION, number_format=GOOD))
    sheet.next_row = below + len(lines) + 1
    return seen, right


def training_sheet(sheet: Sheet, runs: Sequence[Named], right: Mapping[str, Any]) -> None:
    """The losses of all steps, a chart of them, and links to the sheets."""
    row = sheet.next_row
    for when, cell in right.items():
        sheet.write(row, 1, f"right {when}", LABEL)
        words = f"of the digits on 'held out' are read rightly {when} training"
        sheet.place(f"overview_right_{when}", cell, "check", row, 2, words=words, number_format=WHOLE)
        sheet.write(row, 3, words, NOTE)
        row += 1
    t = steps(
        sheet,
        len(runs),
        row=row + 1,
        freeze=None,
        step=counter(np.arange(1, len(runs) + 1), "counts the updates"),
        loss=loss([run.loss for run in runs], "before the update", "loss"),
        batch_right=counter([run.right for run in runs], "of the mini-batch's digits"),
    )
    sheet.width(1, 13, len(INPUTS))
    for step in range(1, len(runs) + 1):
        sheet.link(t.first + step - 1, 4, f"step {step}", Range(f"step {step}", 1, 1, 1, 1))
    line = Series("loss", t.step, t.loss, points=True)
    sheet.chart(row + 1, 6, scatter("The loss of each step", "step", "loss", [line], height=11, x_range=(0, len(runs))))


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    for part in ("train", "held"):
        if not torch.isin(v[f"{part}_label"], torch.arange(float(CLASSES))).all():
            raise ValueError(f"{part}_label: expected whole numbers from 0 to {CLASSES - 1}")
    x, held_x = (pixels.view(-1, 1, SIDE, SIDE) / INK for pixels in (v.train_pixels, v.held_pixels))
    params = {name: v[f"0/param/{name}"].clone().requires_grad_() for name in SHAPES}
    optimizer = reference_optimizer(v, params)
    blocks: dict[str, Any] = {f"before/param/{name}": param.detach().clone() for name, param in params.items()}
    before = {name: blocks[f"before/param/{name}"] for name in SHAPES}
    for made in range(v.steps):
        chosen = (torch.arange(v.batch_size) + made * v.batch_size) % len(x)
        label = v.train_label[chosen].long()
        blocks |= {f"{made}/param/{name}": param.detach().clone() for name, param in params.items()}
        optimizer.zero_grad()
        way = reference_forward(x[chosen], params)
        places, logits = way.pop("places"), way["logits"]
        for each in way.values():
            each.retain_grad()
        loss = F.cross_entropy(logits, label)
        loss.backward()
        optimizer.step()
        way |= {f"grad_{name}": way[name].grad for name in ("conv", "relu_maps", "features", "logits")}
        way |= {f"grad/{name}": param.grad for name, param in params.items()}
        way |= {
            "x": x[chosen],
            "label": label,
            "pool_from": net.reference_places(places, MAP),
            "exp_logits": (logits - logits.amax(1, keepdim=True)).exp(),
            "softmax": logits.softmax(1),
            "losses": F.cross_entropy(logits, label, reduction="none"),
            "predicted": logits.argmax(1),
            "loss": loss,
        }
        blocks |= {f"{made}/{name}": each for name, each in way.items()}
        for name, param in params.items():
            blocks[f"{made + 1}/new_param/{name}"] = param.detach().clone()
            for kind in STATES:
                kept = optimizer.state[param].get(kind)
                blocks[f"{made + 1}/state/{kind}/{name}"] = torch.zeros_like(param) if kept is None else kept.clone()
    blocks |= {f"{v.steps}/param/{name}": param for name, param in params.items()}
    blocks |= {
        "held_digits": v.held_pixels,
        "held_x": held_x,
        "held_y": v.held_label,
        "shown/x": held_x[v.show_digit - 1, 0],
    }
    for when, used in (("before", before), ("after", params)):
        way = reference_forward(held_x, used)
        predicted, shown = way["logits"].argmax(1), way["relu_maps"][v.show_digit - 1]
        right = predicted == v.held_label
        blocks |= {f"{when}/{name}": way[name] for name in ("relu_maps", "pool", "logits")}
        blocks |= {f"{when}/predicted": predicted, f"{when}/good": right, f"shown/{when}": shown}
        blocks |= dict.fromkeys((f"right_{when}", f"overview_right_{when}"), right.sum())
    made = range(v.steps)
    right = [(blocks[f"{step}/predicted"] == blocks[f"{step}/label"]).sum() for step in made]
    losses = torch.stack([blocks[f"{step}/loss"] for step in made])
    return blocks | {"step": torch.arange(1, v.steps + 1), "loss": losses, "batch_right": torch.stack(right)}


def reference_forward(x: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The network, as torch's functions."""
    from torch.nn import functional as F  # noqa: N812

    conv = F.conv2d(x, params["conv.weight"], params["conv.bias"])
    relu = F.relu(conv)
    pool, places = F.max_pool2d(relu, POOL, return_indices=True)
    features = pool.flatten(1)
    logits = F.linear(features, params["dense.weight"], params["dense.bias"])
    way = {"conv": conv, "relu_maps": relu, "pool": pool, "places": places}
    return way | {"features": features, "logits": logits}


def reference_optimizer(v: Named, params: Mapping[str, Any]) -> Any:
    import torch

    if v.optimizer == "Adam":
        return torch.optim.Adam(params.values(), lr=v.Adam_lr, betas=(v.beta1, v.beta2), eps=v.eps)
    if v.optimizer == "momentum":
        return torch.optim.SGD(params.values(), lr=v.momentum_lr, momentum=v.momentum)
    return torch.optim.SGD(params.values(), lr=v.SGD_lr)


def load(source: Source) -> dict[str, np.ndarray]:
    """Digits to learn from and digits that are held out: scikit-learn's, or the rows of a CSV.

    Of scikit-learn's there are as many of each digit, and they come in turns from 0 to 9, so that each mini-batch of
    ten has one of each. Of a CSV the last rows are held out: a fifth of them, at most 20.
    """
    if source.csv:
        pixels, labels = read_digits(source.csv)
        held = min(HELD_OUT, len(labels) // 5)
        if not held:
            raise Error(f"{source.csv}: expected at least 5 digits, a row each, got {len(labels)}")
        order = list(range(len(labels)))
    else:
        pixels, labels = digits()
        held = HELD_OUT
        shuffled = list(range(len(labels)))
        random.Random(SEED).shuffle(shuffled)
        of_each = [[place for place in shuffled if labels[place] == digit] for digit in range(CLASSES)]
        order = [of_each[place % CLASSES][place // CLASSES] for place in range(TRAIN + HELD_OUT)]
    train, held_out = order[:-held], order[-held:]
    return {
        "train_pixels": pixels[train],
        "train_label": labels[train],
        "held_pixels": pixels[held_out],
        "held_label": labels[held_out],
    }


def about(steps: int, batch: int) -> list[str]:
    return [
        "Real handwritten digits, 8 by 8 pixels, go through a small network: a convolution with three filters, "
        "ReLU, max-pooling, and a dense layer that gives a score to each of the ten digits. At first its weights "
        "are random and it guesses.",
        f"Each of {steps} sheets is one step of training on a mini-batch, {batch} digits that are looked at "
        "together: the way forward to the loss, the way back to the gradient of every weight, and the update of "
        "every weight by the optimiser. The new weights begin the next sheet. Nothing is hidden: each number of "
        "each step is a formula.",
    ]


TRY = [
    "On 'training', choose another optimizer. Each has a learning rate of its own: make it ten times larger, "
    "then ten times smaller.",
    "On 'filters', change show_digit. What did the three filters learn to look for?",
    "On 'held out', find a digit that was read wrongly. Would you have known?",
    "On 'digits', type wrong digits into the first ten cells of train_label. How much harm do they do?",
    "On 'step 1', follow one weight: its value, its gradient, what the optimiser remembers, its new value.",
]
INPUTS = (
    Input("optimizer", "Adam", "what makes the new parameters of the gradients", choices=OPTIMIZERS),
    Input("SGD_lr", 0.5, "learning rate of SGD: new = old - lr * gradient", minimum=0),
    Input("momentum_lr", 0.15, "learning rate of SGD with momentum", minimum=0),
    Input("momentum", 0.9, "how much of the last step momentum keeps", above=0),
    Input("Adam_lr", 0.05, "learning rate of Adam", minimum=0),
    Input("beta1", 0.9, "how much of the mean gradient Adam keeps", above=0, below=1),
    Input("beta2", 0.999, "how much of the mean square Adam keeps", above=0, below=1),
    Input("eps", 1e-8, "keeps Adam from dividing by 0", above=0),
    Input("show_digit", 1, "the held-out digit that is shown", minimum=1, maximum=HELD_OUT, whole=True),
    Input("steps", 24, "how many updates are made", minimum=1, maximum=40, whole=True, fixed=True),
    Input("batch_size", 10, "how many digits a step looks at", minimum=1, maximum=20, whole=True, fixed=True),
)
DIMS = {"train_pixels": 3, "train_label": 1, "held_pixels": 3, "held_label": 1}
CNN_TRAINING = Lesson(
    "cnn_training",
    "a small convolutional network learns to read digits: forward, backward and update, one sheet a step",
    INPUTS,
    Data(DIMS | {f"0/param/{name}": len(shape) for name, shape in SHAPES.items()}, load, ("csv",)),
    build=build,
    reference=reference,
    title="A convolutional network learns to read digits",
    things_to_try=TRY,
)
