"""A small convolutional network learns to read digits: forward, backward and update, one sheet a step."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sgdsheet import optim, tensor
from sgdsheet.book import DIVERGING, HEAT, SHORT, WHOLE, Book, Input, Series, Sheet, scatter
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import network as net
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.flow import Named, check, counter, inputs, loss, steps, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.network import CELL, CLASSES, KERNEL, POOL
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
PARAMETER_ROWS = 2 + FILTERS * (KERNEL + 1) + 1
SECTION = replace(HEADING, size=14, underline=True)
# What belongs to a parameter: its role, what it is in torch, its number format.
KINDS = {
    "param": ("parameter", "{}", SHORT),
    "grad": ("gradient", "{}.grad", "0.000"),
    "state/momentum_buffer": ("optimiser state", "optimizer.state[{}]['momentum_buffer']", SHORT),
    "state/exp_avg": ("optimiser state", "optimizer.state[{}]['exp_avg']", "0.000"),
    "state/exp_avg_sq": ("optimiser state", "optimizer.state[{}]['exp_avg_sq']", "0.0E+0"),
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
        "Whether a network has learned to read shows on digits that it has not seen. Here with the weights before and "
        "after training.",
    )
    cell = training_inputs(training)
    pixels, labels = digits_sheet(book, data)
    runs: list[Named] = []
    for step in range(1, count + 1):
        chosen = [((step - 1) * batch + place) % len(labels["train"]) for place in range(batch)]
        params, state = (runs[-1].new_params, runs[-1].state) if runs else (start(), {})
        sheet = step_sheet(book, step, count)
        runs.append(one_step(sheet, step, params, state, pixels["train"][chosen], labels["train"][chosen], cell))
    top = filters.next_row
    filters.width(1, 12)
    number = inputs(filters, "show_digit").show_digit
    trained = filters_sheet(filters, top + 3, runs[0].params, runs[-1].new_params, count)
    seen, right = held_out_sheet(held, pixels["held"], labels["held"], trained)
    show_one(filters, top + 3, number, seen)
    training_sheet(training, runs, right)


def training_inputs(sheet: Sheet) -> Named:
    torch = {"momentum": "torch.optim.SGD(..., momentum=momentum)", "batch_size": "DataLoader(..., batch_size)"}
    torch |= {f"{name}_lr": "torch.optim." + {"momentum": "SGD"}.get(name, name) + "(..., lr)" for name in OPTIMIZERS}
    torch |= dict.fromkeys(("beta1", "beta2", "eps"), "torch.optim.Adam(..., betas, eps)")
    return inputs(sheet, *(spec.name for spec in INPUTS if spec.name != "show_digit"), torch=torch)


def digits_sheet(book: Book, data: Mapping[str, Any]) -> tuple[Params, Params]:
    """The digits, one a row: the pixels as references of shape (count, 8, 8), and the labels."""
    sheet = book.sheet(
        "digits",
        "The digits: one a row, 64 pixels from 0 (no ink) to 16",
        "The rows of a picture follow each other. The label says which digit it is: change it, and the network learns "
        "something else.",
    )
    sheet.width(1, 12)
    sheet.width(2, 3.6, 1 + SIDE * SIDE)
    pixels, labels = {}, {}
    for part, words in (("train", "to learn from, mini-batch after mini-batch"), ("held", "never learned from")):
        row, label = sheet.next_row, typed(data[f"{part}_label"])
        layout: dict[str, Any] = {"room": 1, "torch": "y", "number_format": WHOLE}
        labels[part] = sheet.headed(f"{part}_label", label, "data", row, 1, **layout)
        rows = net.ink(typed(data[f"{part}_pixels"].reshape(len(label), -1)), words, "x.flatten(1) * 16", "0")
        rows = net.maps(sheet, f"{part}_", row=row, left=2, pixels=rows).pixels
        pixels[part] = rows.reshape(-1, SIDE, SIDE)
    return pixels, labels


def start() -> Params:
    """Untrained parameters that the reader may change."""
    generator = random.Random(SEED)
    return {
        name: net.weights(generator, shape) if name.endswith("weight") else typed([0] * shape[0])
        for name, shape in SHAPES.items()
    }


def step_sheet(book: Book, step: int, count: int) -> Sheet:
    sheet = book.sheet(
        f"step {step}",
        f"Step {step} of {count}",
        "The parameters, the way forward with each digit of the mini-batch, the loss, the way back, the update.",
    )
    sheet.width(1, CELL, 120)
    for column, (text, target) in enumerate((("back", step - 1), ("next", step + 1), ("all steps", 0))):
        name = f"step {target}" if target else "training"
        if target <= count:
            sheet.link(sheet.next_row - 1, 1 + 2 * column, text, Range(name, 1, 1, 1, 1))
    sheet.next_row += 1
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
        x=net.ink(pixels[:, None] / INK, f"pixels / {INK}", "x"),
        conv=net.signed(
            lambda m: tensor.conv2d(m.x, filters, params["conv.bias"]),
            "sum of window * filter, + the filter's bias; a map for each filter",
            "F.conv2d(x, conv.weight, conv.bias)",
        ),
        relu=net.feature(lambda m: tensor.relu(m.conv), "the same, but 0 where it is below 0", "F.relu(conv)"),
        pool=net.feature(lambda m: tensor.max_pool2d(m.relu, POOL), "largest of each 2 x 2", "F.max_pool2d(relu, 2)"),
    )

    section(sheet, "3. All digits of the mini-batch, one a row: from their maps to the loss")
    t = maps(
        label=net.Map("data", labels, "", "y", WHOLE, scale=None, takes=3),
        features=net.feature(m.pool.reshape(batch, FEATURES), "the three pooled maps in one row", "pool.flatten(1)"),
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
        pool_from=net.count(net.pooled_from(m.relu, m.pool), net.PLACES, "from return_indices=True"),
        grad_relu=net.gradient(
            lambda g: net.unpooled(back.grad_features.reshape(m.pool.shape), g.pool_from, m.conv.shape),
            "grad_features, at the cell that was the largest",
            "relu.grad",
        ),
        grad_conv=net.gradient(
            lambda g: tensor.where(tensor.greater(m.conv, 0), g.grad_relu, 0), net.PASSED, "conv.grad"
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
    sheet.width(LEFT, CELL, 120)
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

    def picked(maps: Array) -> Array:
        """The maps of the digit that the reader asked for."""
        first, last = maps.flat[0], maps.flat[-1]
        area = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
        found = np.empty(maps.shape[1:], dtype=object)
        for position in np.ndindex(*found.shape):
            cell = maps[(0, *position)]
            down = (number - 1) * (SIDE + 1) + (cell.row - first.row + 1)
            found[position] = Call("INDEX", area, down, cell.column - first.column + 1)
        return found

    x = net.ink(picked(seen["x"])[0], "the digit that you chose", "x[show_digit - 1]", title="picture")
    net.maps(sheet, "shown/", row=row, left=LEFT, x=x)
    for when, left in SHOWN.items():
        says: dict[str, Any] = {"torch": "F.relu(conv(x))[show_digit - 1]", "title": f"maps {when}"}
        relu: dict[str, Any] = {when: net.feature(picked(seen[when]), "convolution and ReLU", **says)}
        net.maps(sheet, "shown/", row=row, left=left + KERNEL + 2, band=MAP + 1, down=True, **relu)


def held_out_sheet(
    sheet: Sheet, pixels: Array, labels: Array, trained: Mapping[str, Params]
) -> tuple[Mapping[str, Array], Mapping[str, Any]]:
    """The way forward of digits that no step has seen, before and after training.

    Returns the pictures `x` and their maps `before` and `after`, and how many are read rightly.
    """
    sheet.width(1, 16)
    sheet.width(2, CELL, 120)
    counts, top, below = sheet.next_row, sheet.next_row + 4, sheet.next_row + len(labels) + 8
    scores = net.maps(sheet, row=top, left=2, held_y=net.Map("data", labels, "", "y", WHOLE, scale=None))
    label, x = scores.held_y, net.ink(pixels[:, None] / INK, f"pixels / {INK}", "x")
    m = net.maps(sheet, row=below, left=2, band=SIDE + 1, held_x=x)
    x = m.held_x
    seen, right = {"x": x}, {}
    for when, params in trained.items():
        m = net.maps(
            sheet,
            f"{when}/",
            row=below,
            left=m.right,
            band=SIDE + 1,
            relu=net.feature(
                tensor.relu(tensor.conv2d(x, params["conv.weight"], params["conv.bias"])),
                f"convolution and ReLU, {when} training",
                "F.relu(F.conv2d(x, ...))",
            ),
            pool=net.feature(
                lambda m: tensor.max_pool2d(m.relu, POOL), "largest of each 2 x 2", "F.max_pool2d(relu, 2)"
            ),
        )
        weight = params["dense.weight"].reshape(CLASSES, *m.pool.shape[1:])
        logits = [net.dense(maps, weight, params["dense.bias"]) for maps in m.pool]
        scores = net.maps(
            sheet,
            f"{when}/",
            row=top,
            left=scores.right,
            logits=net.signed(logits, f"a score for each digit, {when} training", "model(x)"),
            predicted=net.count(
                lambda t: net.each_row(tensor.argmax, t.logits), "largest logit", "logits.argmax(1)", takes=4
            ),
            good=net.count(
                lambda t: tensor.where(tensor.equal(t.predicted, label), 1, 0), "1 where it is the label", scale=HEAT
            ),
        )
        words = f"of {len(labels)} are read rightly {when} training"
        good: dict[str, Any] = {when: check(tensor.sum(scores.good), words, digits=WHOLE)}
        seen[when], right[when] = m.relu, values(sheet, "right_", row=counts + len(right), **good)[when]
    return seen, right


def training_sheet(sheet: Sheet, runs: Sequence[Named], right: Mapping[str, Any]) -> None:
    """The losses of all steps, a chart of them, and links to the sheets."""
    row = sheet.next_row
    for when, cell in right.items():
        sheet.write(row, 1, f"right {when}", LABEL)
        words = f"held-out digits of {HELD_OUT} read rightly {when} training: see 'held out'"
        sheet.place(f"overview_right_{when}", cell, "check", row, 2, words=words, number_format=WHOLE)
        sheet.write(row, 3, words, NOTE)
        row += 1
    t = steps(
        sheet,
        len(runs),
        row=row + 1,
        freeze=None,
        step=counter(np.arange(1, len(runs) + 1), "counts the updates"),
        loss=loss([run.loss for run in runs], "mean over the mini-batch, before the update", "loss"),
        batch_right=counter([run.right for run in runs], "of the mini-batch's digits"),
    )
    sheet.width(1, 16)
    for step in range(1, len(runs) + 1):
        sheet.link(t.first + step - 1, 4, f"step {step}", Range(f"step {step}", 1, 1, 1, 1))
    sheet.chart(row + 1, 6, scatter("The loss falls", "step", "loss", [Series("loss", t.step, t.loss, points=True)]))


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
        way |= {f"grad_{name}": way[name].grad for name in ("conv", "relu", "features", "logits")}
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
    blocks |= {"held_x": held_x, "held_y": v.held_label, "shown/x": held_x[v.show_digit - 1, 0]}
    for when, used in (("before", before), ("after", params)):
        way = reference_forward(held_x, used)
        predicted, shown = way["logits"].argmax(1), way["relu"][v.show_digit - 1]
        right = predicted == v.held_label
        blocks |= {f"{when}/{name}": way[name] for name in ("relu", "pool", "logits")}
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
    return {"conv": conv, "relu": relu, "pool": pool, "places": places, "features": features, "logits": logits}


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
    "On 'filters', compare the three filters before and after. What did they learn to look for?",
    "On 'held out', find a digit that was read wrongly. Would you have known?",
    "On 'digits', give the first ten digits wrong labels. How much harm do they do?",
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
DIMS = {"train_pixels": 2, "train_label": 1, "held_pixels": 2, "held_label": 1}
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
