"""A small convolutional network learns to read digits: forward, backward and update, one sheet a step."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import optim, tensor
from sgdsheet.book import DIVERGING, HEAT, INK, SHORT, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Range
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.old_network import CELL, CLASSES, KERNEL, POOL, pooled_from, show, unpooled, weights, zeros
from sgdsheet.lessons.pictures import INK as FULL
from sgdsheet.lessons.pictures import SIDE, digits, read_digits
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
STATES = ("momentum_buffer", "exp_avg", "exp_avg_sq")
OPTIMIZERS = ("SGD", "momentum", "Adam")
PIXELS = SIDE * SIDE
TRAIN = 240
SEED = 32  # a start from which all three optimisers get somewhere
# Where things stand on the sheet of a step.
LEFT = 2
COLUMNS = {"conv.weight": 2, "conv.bias": 6, "dense.weight": 10, "dense.bias": 11 + FEATURES}
PARAMETER_ROWS = 2 + FILTERS * (KERNEL + 1) + 1
SECTION = replace(HEADING, size=14, underline=True)
UPDATES = {
    "momentum_buffer": "6. What momentum remembers: momentum_buffer",
    "exp_avg": "7. What Adam remembers: exp_avg, the running mean of the gradients",
    "exp_avg_sq": "8. What Adam remembers: exp_avg_sq, the running mean of their squares",
    "new_param": "9. The new parameters, with which the next step begins",
}


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `training`, `filters`, `held out`, `digits`, and one for each step."""
    steps, batch = int(values["steps"]), int(values["batch_size"])
    book = Book(
        "cnn_training",
        "A convolutional network learns to read digits",
        [
            "Real handwritten digits, 8 by 8 pixels, go through a small network: a convolution with three filters, "
            "ReLU, max-pooling, and a dense layer that gives a score to each of the ten digits. At first its weights "
            "are random and it guesses.",
            f"Each of {steps} sheets is one step of training on a mini-batch, {batch} digits that are looked at "
            "together: the way forward to the loss, the way back to the gradient of every weight, and the update of "
            "every weight by the optimiser. The new weights begin the next sheet. Nothing is hidden: each number of "
            "each step is a formula.",
        ],
        [
            "On 'training', choose another optimizer. Each has a learning rate of its own: make it ten times larger, "
            "then ten times smaller.",
            "On 'filters', compare the three filters before and after. What did they learn to look for?",
            "On 'held out', find a digit that was read wrongly. Would you have known?",
            "On 'digits', give the first ten digits wrong labels. How much harm do they do?",
            "On 'step 1', follow one weight: its value, its gradient, what the optimiser remembers, its new value.",
        ],
        INPUTS,
        values,
    )
    overview = book.sheet(
        "training",
        "The training at a glance",
        "The loss says how wrong the network is on the mini-batch of a step: about 2.3 for pure guessing among ten, 0 "
        "for being sure and right every time.",
        "It goes up and down because every step looks at other digits.",
    )
    cells = _input_cells(overview)
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
    pixels, labels = _digits_sheet(book, data)
    count = len(labels["train"])
    params = {name: np.array([]) for name in SHAPES}
    start, state, runs = params, {}, []
    for step in range(1, steps + 1):
        chosen = [(step - 1) * batch % count + place for place in range(batch)]
        chosen = [place % count for place in chosen]
        sheet = _step_sheet(book, step, steps)
        made = _step(sheet, step, params, state, pixels["train"][chosen], labels["train"][chosen], cells)
        start = start if step > 1 else made["start"]
        params, state = made["params"], made["state"]
        runs.append(made)
    top = filters.next_row
    filters.width(1, 12)
    (number,) = filters.inputs(top, 1, ("show_digit",))
    filters.next_row = top
    trained = _filters_sheet(filters, start, params, steps)
    maps, right = _held_out_sheet(held, pixels["held"], labels["held"], trained)
    filters.next_row = top + 3
    _show_one(filters, number, maps)
    _overview(overview, runs, right, steps)
    return book


def _input_cells(sheet: Sheet) -> dict[str, Any]:
    sheet.width(1, 16)
    torch = {"momentum": "torch.optim.SGD(..., momentum=momentum)", "batch_size": "DataLoader(..., batch_size)"}
    torch |= {f"{name}_lr": "torch.optim." + {"momentum": "SGD"}.get(name, name) + "(..., lr)" for name in OPTIMIZERS}
    torch |= dict.fromkeys(("beta1", "beta2", "eps"), "torch.optim.Adam(..., betas, eps)")
    names = [spec.name for spec in INPUTS if spec.name != "show_digit"]
    return dict(zip(names, sheet.inputs(sheet.next_row, 1, names, torch=torch), strict=True))


def _digits_sheet(book: Book, data: Values) -> tuple[dict[str, Array], dict[str, Array]]:
    """The digits, one a row: the pixels as references of shape (count, 8, 8), and the labels."""
    sheet = book.sheet(
        "digits",
        "The digits: one a row, 64 pixels from 0 (no ink) to 16",
        "The rows of a picture follow each other. The label says which digit it is: change it, and the network learns "
        "something else.",
    )
    sheet.width(1, 12)
    sheet.width(2, 3.6, 1 + PIXELS)
    pixels, labels = {}, {}
    row = sheet.next_row
    for part, words in (("train", "to learn from, mini-batch after mini-batch"), ("held", "never learned from")):
        picture, label = data[f"{part}_pixels"], data[f"{part}_label"]
        count = len(label)
        typed = np.array([Typed(int(value)) for value in label], dtype=object)
        name = f"{part}_label"
        labels[part] = sheet.headed(name, typed, "data", row, 1, words="", room=1, torch="y", number_format=WHOLE)
        typed = np.array([Typed(_plain(value)) for value in np.ravel(picture)], dtype=object).reshape(count, PIXELS)
        layout = {"torch": "x.flatten(1) * 16", "number_format": "0", "words": words}
        placed = show(sheet, f"{part}_pixels", typed, "data", row, 2, INK, **layout)
        pixels[part] = placed.reshape(count, SIDE, SIDE)
        row += count + 3
    return pixels, labels


def _plain(value: float) -> float:
    return int(value) if float(value).is_integer() else float(value)


def _step_sheet(book: Book, step: int, steps: int) -> Sheet:
    sheet = book.sheet(
        f"step {step}",
        f"Step {step} of {steps}",
        "The parameters, the way forward with each digit of the mini-batch, the loss, the way back, the update.",
    )
    sheet.width(1, CELL, 120)
    row = sheet.next_row - 1
    for column, (text, target) in enumerate((("back", step - 1), ("next", step + 1), ("all steps", 0)), start=1):
        name = f"step {target}" if target else "training"
        if target <= steps:
            sheet.link(row, 2 * column - 1, text, Range(name, 1, 1, 1, 1))
    sheet.next_row += 1
    return sheet


def _step(
    sheet: Sheet,
    step: int,
    params: dict[str, Array],
    state: dict[tuple[str, str], Array],
    pixels: Array,
    labels: Array,
    cells: dict[str, Any],
) -> dict[str, Any]:
    """One step of training on one sheet: its parameters, its loss, and what the next step begins with."""
    made, batch = step - 1, len(labels)  # names count the updates that were made before, as the parameters do
    if step == 1:
        params = _start()
    row = _section(sheet, sheet.next_row, "1. The parameters that this step begins with")
    words = "random at first: type here" if step == 1 else "the new_param of the step before"
    now = _parameters(sheet, row, f"{made}/param", params, "parameter", dict.fromkeys(SHAPES, words))

    row = _section(sheet, sheet.next_row, "2. Forward, digit by digit: convolution, ReLU, max-pooling")
    forward = _forward(sheet, row, made, pixels, now)

    row = _section(sheet, sheet.next_row, "3. All digits of the mini-batch, one a row: from their maps to the loss")
    pool = forward["pool"]
    features = pool.reshape(batch, FEATURES)
    left = LEFT

    def matrix(
        name: str, array: Any, role: str, words: str, torch: str, scale: Any = DIVERGING, digits: str = SHORT
    ) -> Array:
        nonlocal left
        layout = {"title": name, "words": words, "torch": torch, "number_format": digits}
        placed = show(sheet, f"{made}/{name}", array, role, row, left, scale, **layout)
        left += (placed.shape[1] if placed.ndim == 2 else 2) + 1
        return placed

    label = matrix("label", labels, "data", "", "y", None, WHOLE)
    features = matrix("features", features, "activation", "the three pooled maps in one row", "pool.flatten(1)", HEAT)
    logits = tensor.matmul(features, now["dense.weight"].T) + now["dense.bias"]
    words = "sum of features * the digit's weights, + bias"
    logits = matrix("logits", logits, "activation", words, "model(x)")
    largest = np.array([tensor.largest(each) for each in logits], dtype=object)[:, None]
    powers = matrix("exp_logits", tensor.exp(logits - largest), "activation", "e ^ (logit - largest logit)", "", HEAT)
    sums = np.array([tensor.sum(each) for each in powers], dtype=object)[:, None]
    softmax = matrix("softmax", powers / sums, "activation", "exp_logits / their sum", "F.softmax(logits, 1)", HEAT)
    chosen = np.array([tensor.index(each, y + 1) for each, y in zip(logits, label, strict=True)], dtype=object)
    losses = tensor.log(sums[:, 0]) - (chosen - largest[:, 0])
    losses = matrix("losses", losses, "loss", "-log(softmax)", "F.cross_entropy(..., reduction='none')", None)
    predicted = np.array([tensor.argmax(each) for each in logits], dtype=object)
    predicted = matrix("predicted", predicted, "check", "largest logit", "logits.argmax(1)", None, WHOLE)
    loss = matrix("loss", tensor.mean(losses), "loss", "their mean", "F.cross_entropy(logits, y)", None)

    row, left = _section(sheet, row + 2 + batch + 1, "4. Backward: from the loss to the maps"), LEFT
    grad_logits = (softmax - tensor.one_hot(label, CLASSES)) / batch
    words = f"(softmax - 1 at the label) / {batch}"
    grad_logits = matrix("grad_logits", grad_logits, "gradient", words, "logits.grad", digits="0.000")
    grad_features = tensor.matmul(grad_logits, now["dense.weight"])
    words = "sum over the digits of grad_logits * dense.weight"
    grad_features = matrix("grad_features", grad_features, "gradient", words, "features.grad", digits="0.000")
    sheet.next_row = row + 2 + batch + 1
    grad_conv = _backward(sheet, sheet.next_row, made, forward, grad_features.reshape(pool.shape))

    row = _section(sheet, sheet.next_row, "5. The gradients of the parameters: how the loss would change with each")
    x = forward["x"]
    grad_weight = np.empty(SHAPES["conv.weight"], dtype=object)
    for k, c, i, j in np.ndindex(*grad_weight.shape):
        grad_weight[k, c, i, j] = tensor.sum(x[:, c, i : i + MAP, j : j + MAP] * grad_conv[:, k])
    grads = {
        "conv.weight": grad_weight,
        "conv.bias": np.array([tensor.sum(grad_conv[:, k]) for k in range(FILTERS)], dtype=object),
        "dense.weight": tensor.matmul(grad_logits.T, features),
        "dense.bias": np.array([tensor.sum(column) for column in grad_logits.T], dtype=object),
    }
    words = {
        "conv.weight": "sum over the batch of shifted x * grad_conv",
        "conv.bias": "sum of grad_conv",
        "dense.weight": "sum over the batch of grad_logits * features",
        "dense.bias": "sum of grad_logits",
    }
    grads = _parameters(sheet, row, f"{made}/grad", grads, "gradient", words)
    new, state = _update(sheet, step, now, grads, state, cells)
    return {"start": now, "params": new, "state": state, "loss": loss.item(), "label": label, "predicted": predicted}


def _start() -> dict[str, Array]:
    """Untrained parameters that the reader may change."""
    generator = random.Random(SEED)
    return {
        "conv.weight": weights(generator, SHAPES["conv.weight"]),
        "conv.bias": zeros(FILTERS),
        "dense.weight": weights(generator, SHAPES["dense.weight"]),
        "dense.bias": zeros(CLASSES),
    }


def _section(sheet: Sheet, row: int, heading: str) -> int:
    """The heading of a part of a step; gives the row below it."""
    sheet.write(row, 1, heading, SECTION)
    return row + 1


def _parameters(
    sheet: Sheet, row: int, prefix: str, arrays: dict[str, Any], role: str, words: dict[str, str]
) -> dict[str, Array]:
    """A block for each of the network's parameters, side by side."""
    placed = {name: _parameter(sheet, row, prefix, name, array, role, words[name]) for name, array in arrays.items()}
    sheet.next_row = row + PARAMETER_ROWS
    return placed


def _parameter(sheet: Sheet, row: int, prefix: str, name: str, array: Any, role: str, words: str) -> Array:
    kind = prefix.partition("/")[2]
    torch = {"param": name, "new_param": f"{name}, after the step", "grad": f"{name}.grad"}
    says = torch.get(kind, f"optimizer.state[{name}]['{kind}']")
    digits = {"grad": "0.000", "state/exp_avg": "0.000", "state/exp_avg_sq": "0.0E+0"}.get(kind, SHORT)
    wide = name == "dense.weight"
    layout = {"title": name, "words": words, "note": wide, "torch": says, "number_format": digits}
    return show(sheet, f"{prefix}/{name}", array, role, row, COLUMNS[name], DIVERGING, **layout)


def _forward(sheet: Sheet, row: int, made: int, pixels: Array, now: dict[str, Array]) -> dict[str, Array]:
    band, left = SIDE + 1, LEFT
    placed = {}

    def maps(name: str, array: Any, role: str, words: str, torch: str, scale: Any = HEAT) -> Array:
        nonlocal left
        layout = {"title": name, "words": words, "torch": torch, "band": band}
        placed[name] = show(sheet, f"{made}/{name}", array, role, row, left, scale, **layout)
        left += placed[name].shape[1] * (placed[name].shape[3] + 1)
        return placed[name]

    x = maps("x", pixels[:, None] / FULL, "data", f"pixels / {FULL}", "x", INK)
    conv = tensor.conv2d(x, now["conv.weight"], now["conv.bias"])
    words = "sum of window * filter, + the filter's bias; a map for each filter"
    conv = maps("conv", conv, "activation", words, "F.conv2d(x, conv.weight, conv.bias)", DIVERGING)
    relu = maps("relu", tensor.relu(conv), "activation", "the same, but 0 where it is below 0", "F.relu(conv)")
    maps("pool", tensor.max_pool2d(relu, POOL), "activation", "largest of each 2 x 2", "F.max_pool2d(relu, 2)")
    sheet.next_row = row + 2 + len(pixels) * band
    return placed


def _backward(sheet: Sheet, row: int, made: int, forward: dict[str, Array], grad_pool: Array) -> Array:
    """From the gradient of the pooled maps to that of the convolution's."""
    conv, relu, pool = (forward[name] for name in ("conv", "relu", "pool"))
    band, left = MAP + 1, LEFT
    layout: dict[str, Any] = {"band": band, "title": "pool_from", "torch": "from return_indices=True"}
    came_from = pooled_from(relu, pool)
    words = "which of the 2 x 2 was the largest: 0 1, below them 2 3"
    layout |= {"words": words, "number_format": WHOLE}
    pool_from = show(sheet, f"{made}/pool_from", came_from, "check", row, left, None, **layout)
    left += FILTERS * (pool.shape[3] + 1)
    grad = unpooled(grad_pool, pool_from, conv.shape)
    layout = {"band": band, "title": "grad_relu", "torch": "relu.grad", "number_format": "0.000"}
    words = "grad_features, at the cell that was the largest"
    grad = show(sheet, f"{made}/grad_relu", grad, "gradient", row, left, DIVERGING, words=words, **layout)
    left += FILTERS * (MAP + 1)
    layout |= {"title": "grad_conv", "torch": "conv.grad"}
    words = "grad_relu where conv is above 0"
    grad = tensor.where(tensor.greater(conv, 0), grad, 0)
    grad = show(sheet, f"{made}/grad_conv", grad, "gradient", row, left, DIVERGING, words=words, **layout)
    sheet.next_row = row + 2 + len(conv) * band
    return grad


def _update(
    sheet: Sheet,
    step: int,
    now: dict[str, Array],
    grads: dict[str, Array],
    state: dict[tuple[str, str], Array],
    cells: dict[str, Any],
) -> tuple[dict[str, Array], dict[tuple[str, str], Array]]:
    """What the optimiser remembers, and the new parameters."""
    row = sheet.next_row
    rows = {}
    for kind, words in UPDATES.items():
        rows[kind] = row + 1
        sheet.write(row, 1, words, SECTION)
        row += 1 + PARAMETER_ROWS
    sheet.next_row = row
    optimizer = cells["optimizer"]
    new_state: dict[tuple[str, str], Array] = {}
    new_params = {}
    for name, param in now.items():

        def place(kind: str, array: Any, words: str, name: str = name) -> Any:
            if kind not in STATES:
                return array
            used = "momentum" if kind == "momentum_buffer" else "Adam"
            array = tensor.where(tensor.equal(optimizer, used), array, 0)
            prefix, words = f"{step}/state/{kind}", f"{words}; 0 unless {used} is chosen"
            new_state[name, kind] = _parameter(sheet, rows[kind], prefix, name, array, "optimiser state", words)
            return new_state[name, kind]

        before = {kind: state.get((name, kind), np.zeros(param.shape, dtype=object)) for kind in STATES}
        by_sgd = param - cells["SGD_lr"] * grads[name]
        lr, momentum = cells["momentum_lr"], cells["momentum"]
        by_momentum, _ = optim.sgd(place, param, grads[name], before, step=step, lr=lr, momentum=momentum)
        lr, betas, eps = cells["Adam_lr"], (cells["beta1"], cells["beta2"]), cells["eps"]
        by_adam, _ = optim.adam(place, param, grads[name], before, step=step, lr=lr, betas=betas, eps=eps)
        new = tensor.where(tensor.equal(optimizer, "momentum"), by_momentum, by_adam)
        new = tensor.where(tensor.equal(optimizer, "SGD"), by_sgd, new)
        words = "param - lr * what the chosen optimizer makes of the gradient"
        new_params[name] = _parameter(sheet, rows["new_param"], f"{step}/new_param", name, new, "parameter", words)
    return new_params, new_state


def _filters_sheet(
    sheet: Sheet, start: dict[str, Array], end: dict[str, Array], steps: int
) -> dict[str, dict[str, Array]]:
    """The parameters before and after training, by name, in places of their own."""
    sheet.width(LEFT, CELL, 120)
    row, band = sheet.next_row + 3, MAP + 1
    columns = {"before": LEFT + SIDE + 2, "after": LEFT + SIDE + 2 + KERNEL + MAP + 4}
    params = {"before": start, "after": end}
    prefixes = {"before": "before/param", "after": f"{steps}/param"}
    placed: dict[str, dict[str, Array]] = {"before": {}, "after": {}}
    for when, column in columns.items():
        words = "random" if when == "before" else f"after {steps} updates"
        layout = {"title": f"filters {when}", "words": words, "torch": "conv.weight", "band": band}
        name = f"{prefixes[when]}/conv.weight"
        array = params[when]["conv.weight"]
        placed[when]["conv.weight"] = show(sheet, name, array, "parameter", row, column, DIVERGING, **layout)
    sheet.next_row = row + 2 + FILTERS * band
    for when in columns:
        heading = {"before": "The other parameters before training", "after": "The other parameters after training"}
        row = _section(sheet, sheet.next_row, heading[when])
        others = {name: array for name, array in params[when].items() if name != "conv.weight"}
        placed[when] |= _parameters(sheet, row, prefixes[when], others, "parameter", dict.fromkeys(SHAPES, ""))
    return placed


def _show_one(sheet: Sheet, number: Any, held: dict[str, Array]) -> None:
    """One of the held-out digits, and what the filters see in it before and after training."""
    row, band = sheet.next_row, MAP + 1
    columns = {"before": LEFT + SIDE + 2 + KERNEL + 2, "after": LEFT + SIDE + 2 + 2 * KERNEL + MAP + 6}

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

    layout: dict[str, Any] = {"band": band, "words": "the digit that you chose", "torch": "x[show_digit - 1]"}
    show(sheet, "shown/x", picked(held["x"])[0], "data", row, LEFT, INK, title="picture", **layout)
    for when, column in columns.items():
        layout = {"title": f"maps {when}", "down": True, "band": band, "words": "convolution and ReLU"}
        layout["torch"] = "F.relu(conv(x))[show_digit - 1]"
        show(sheet, f"shown/{when}", picked(held[when]), "activation", row, column, **layout)


def _held_out_sheet(
    sheet: Sheet, pixels: Array, labels: Array, params: dict[str, dict[str, Array]]
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The way forward of digits that no step has seen, with two sets of parameters.

    Gives the pictures `x` and their maps `before` and `after`, and how many are read rightly.
    """
    sheet.width(1, 16)
    sheet.width(2, CELL, 120)
    count = len(labels)
    counts = sheet.next_row
    top = counts + 4
    left = 2
    label = show(sheet, "held_y", labels, "data", top, left, None, torch="y", number_format=WHOLE)
    left += 4
    maps_top, maps_left = top + count + 4, 2
    band = SIDE + 1
    x = pixels[:, None] / FULL
    layout: dict[str, Any] = {"band": band, "torch": "x", "words": f"pixels / {FULL}"}
    x = show(sheet, "held_x", x, "data", maps_top, maps_left, INK, **layout)
    maps_left += SIDE + 1
    maps, right = {"x": x}, {}
    for when, made in params.items():
        layout = {"band": band, "torch": "F.relu(F.conv2d(x, ...))", "words": f"convolution and ReLU, {when} training"}
        relu = tensor.relu(tensor.conv2d(x, made["conv.weight"], made["conv.bias"]))
        maps[when] = relu = show(sheet, f"{when}/relu", relu, "activation", maps_top, maps_left, **layout)
        maps_left += FILTERS * (MAP + 1)
        layout |= {"torch": "F.max_pool2d(relu, 2)", "words": "largest of each 2 x 2"}
        pool = tensor.max_pool2d(relu, POOL)
        pool = show(sheet, f"{when}/pool", pool, "activation", maps_top, maps_left, **layout)
        maps_left += FILTERS * (MAP // POOL + 1)
        weight = made["dense.weight"].reshape(CLASSES, *pool.shape[1:])
        logits = [[tensor.sum(maps * each) for each in weight] for maps in pool]
        logits = np.array(logits, dtype=object) + made["dense.bias"]
        words = f"a score for each digit, {when} training"
        logits = show(
            sheet, f"{when}/logits", logits, "activation", top, left, DIVERGING, words=words, torch="model(x)"
        )
        left += CLASSES + 1
        predicted = np.array([tensor.argmax(each) for each in logits], dtype=object)
        layout = {"words": "largest logit", "torch": "logits.argmax(1)", "number_format": WHOLE}
        predicted = show(sheet, f"{when}/predicted", predicted, "check", top, left, None, **layout)
        left += 4
        good = tensor.where(tensor.equal(predicted, label), 1, 0)
        layout = {"words": "1 where it is the label", "torch": "", "number_format": WHOLE}
        good = show(sheet, f"{when}/good", good, "check", top, left, **layout)
        left += 4
        words = f"of {count} are read rightly {when} training"
        right[when] = sheet.value(
            counts, 1, f"right_{when}", tensor.sum(good), "check", words=words, number_format=WHOLE
        )
        counts += 1
    return maps, right


def _count_equal(a: Array, b: Array) -> Any:
    return tensor.sum(tensor.where(tensor.equal(a, b), 1, 0))


def _overview(sheet: Sheet, runs: list[dict[str, Any]], right: dict[str, Any], steps: int) -> None:
    """The losses of all steps, a chart of them, and links to the sheets."""
    row = sheet.next_row
    for when, cell in right.items():
        sheet.write(row, 1, f"right {when}", LABEL)
        words = f"held-out digits of {HELD_OUT} read rightly {when} training: see 'held out'"
        sheet.place(f"overview_right_{when}", cell, "check", row, 2, words=words, number_format=WHOLE)
        sheet.write(row, 3, words, NOTE)
        row += 1
    table = sheet.table(row + 1, 1, steps)
    number = table.column("step", "check", np.arange(1, steps + 1), words="counts the updates", number_format=WHOLE)
    loss = np.array([run["loss"] for run in runs], dtype=object)
    loss = table.column("loss", "loss", loss, words="mean over the mini-batch, before the update", torch="loss")
    good = [_count_equal(run["predicted"], run["label"]) for run in runs]
    words = "of the mini-batch's digits"
    table.column("batch_right", "check", np.array(good, dtype=object), words=words, number_format=WHOLE)
    for step in range(1, steps + 1):
        sheet.link(table.first + step - 1, 4, f"step {step}", Range(f"step {step}", 1, 1, 1, 1))
    sheet.chart(row + 1, 6, scatter("The loss falls", "step", "loss", [Series("loss", number, loss, points=True)]))


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    steps, batch = int(values["steps"]), int(values["batch_size"])
    data = {name: torch.as_tensor(values[name], dtype=torch.float64) for name in DIMS}
    for part in ("train", "held"):
        label = data[f"{part}_label"]
        if not bool(((label >= 0) & (label < CLASSES) & (label % 1 == 0)).all()):
            raise ValueError(f"{part}_label: expected whole numbers from 0 to {CLASSES - 1}")
    x = {part: data[f"{part}_pixels"].view(-1, 1, SIDE, SIDE) / FULL for part in ("train", "held")}
    y = {part: data[f"{part}_label"].long() for part in ("train", "held")}
    params = {name: data[f"0/param/{name}"].clone().requires_grad_() for name in SHAPES}
    before = {name: param.detach().clone() for name, param in params.items()}
    optimizer = _torch_optimizer(values, params)
    blocks: dict[str, Any] = dict(data) | {f"before/param/{name}": param for name, param in before.items()}
    good = []
    for made in range(steps):
        chosen = (torch.arange(batch) + made * batch) % len(y["train"])
        blocks |= {f"{made}/param/{name}": param.detach().clone() for name, param in params.items()}
        optimizer.zero_grad()
        ways = _torch_forward(x["train"][chosen], params)
        for name in ("conv", "relu", "features", "logits"):
            ways[name].retain_grad()
        label, logits = y["train"][chosen], ways["logits"]
        losses = F.cross_entropy(logits, label, reduction="none")
        loss = F.cross_entropy(logits, label)
        loss.backward()
        places = ways.pop("places")
        ways |= {f"grad_{name}": ways[name].grad for name in ("conv", "relu", "features", "logits")}
        ways |= {
            "x": x["train"][chosen],
            "label": label,
            "pool_from": places // MAP % POOL * POOL + places % MAP % POOL,
            "exp_logits": (logits - logits.amax(1, keepdim=True)).exp(),
            "softmax": logits.softmax(1),
            "losses": losses,
            "predicted": logits.argmax(1),
            "loss": loss,
        }
        good.append((ways["predicted"] == label).sum())
        optimizer.step()
        for name, param in params.items():
            ways[f"grad/{name}"] = param.grad
            state = optimizer.state.get(param, {})
            kept = {kind: state.get(kind) for kind in STATES}
            none = torch.zeros_like(param)
            blocks |= {
                f"{made + 1}/state/{kind}/{name}": (none if each is None else each).clone()
                for kind, each in kept.items()
            }
            blocks[f"{made + 1}/new_param/{name}"] = param.detach().clone()
        blocks |= {f"{made}/{name}": None if way is None else way.detach().clone() for name, way in ways.items()}
    blocks |= {f"{steps}/param/{name}": param for name, param in params.items()}
    blocks |= {"held_x": x["held"], "held_y": y["held"]}
    for when, used in (("before", before), ("after", params)):
        ways = _torch_forward(x["held"], used)
        blocks |= {f"{when}/{name}": ways[name] for name in ("relu", "pool", "logits")}
        predicted = ways["logits"].argmax(1)
        right = predicted == y["held"]
        blocks |= {f"{when}/predicted": predicted, f"{when}/good": right, f"right_{when}": right.sum()}
        blocks[f"overview_right_{when}"] = right.sum()
    shown = int(values["show_digit"]) - 1
    blocks |= {f"shown/{when}": blocks[f"{when}/relu"][shown] for when in ("before", "after")}
    blocks |= {
        "shown/x": x["held"][shown, 0],
        "step": torch.arange(1, steps + 1),
        "loss": torch.stack([blocks[f"{made}/loss"] for made in range(steps)]),
        "batch_right": torch.stack(good),
        **{spec.name: torch.tensor(values[spec.name]) for spec in INPUTS if not spec.choices},
    }
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _torch_forward(x: Any, params: dict[str, Any]) -> dict[str, Any]:
    """The network, as torch's functions."""
    from torch.nn import functional as F  # noqa: N812

    conv = F.conv2d(x, params["conv.weight"], params["conv.bias"])
    relu = F.relu(conv)
    pool, places = F.max_pool2d(relu, POOL, return_indices=True)
    features = pool.flatten(1)
    logits = F.linear(features, params["dense.weight"], params["dense.bias"])
    return {"conv": conv, "relu": relu, "pool": pool, "places": places, "features": features, "logits": logits}


def _torch_optimizer(values: Values, params: dict[str, Any]) -> Any:
    import torch

    if values["optimizer"] == "Adam":
        betas = (values["beta1"], values["beta2"])
        return torch.optim.Adam(params.values(), lr=values["Adam_lr"], betas=betas, eps=values["eps"])
    if values["optimizer"] == "momentum":
        return torch.optim.SGD(params.values(), lr=values["momentum_lr"], momentum=values["momentum"])
    return torch.optim.SGD(params.values(), lr=values["SGD_lr"])


def load(source: Source) -> dict[str, Array]:
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
DIMS = {
    "train_pixels": 2,
    "train_label": 1,
    "held_pixels": 2,
    "held_label": 1,
    **{f"0/param/{name}": len(shape) for name, shape in SHAPES.items()},
}
CNN_TRAINING = Lesson(
    "cnn_training",
    "a small convolutional network learns to read digits: forward, backward and update, one sheet a step",
    INPUTS,
    Data(DIMS, load, ("csv",)),
    build=build,
    reference=reference,
)
