"""Batch normalisation on two screens, forward and backward, in numbers small enough for mental arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet.book import PRECISE, SHORT, Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import HEADING, NOTE, Look
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Column, Named, activation, check, counter, data, gradient, inputs, loss, parameter
from sgdsheet.lessons.flow import state as remembered
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, abs, both, equal, index, mean, sqrt, where
from sgdsheet.tensor import sum as total

EXAMPLES, FEATURES = 8, 2
PARTS = ("feature 1", "feature 2")
BATCHES = 40  # how often the same batch comes by, on the sheet `running`
MODES = ("train", "eval")
SIDES = {"up": 1, "down": -1}
# The first column of each pair of columns, from left to right as the numbers flow, on the way forward and back.
RAW, X, CENTRED, X_HAT, Y, TARGET = 2, 5, 8, 11, 14, 17
AGAIN, GRAD_Y, GRAD_X_HAT, DIRECT, VAR, MEAN, GRAD_X = 2, 5, 8, 11, 14, 17, 20
SIGN = Look(color="7F7F7F", size=14, horizontal="center")
COUNTED = Look(color="595959", size=9, horizontal="right")
NAMED = Look(bold=True, horizontal="right")


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `forward`, `backward`, `running`, and `nudged`."""
    sheet = book.sheet(
        "forward",
        "Every feature of a batch gets mean 0 and variance 1",
        "From left to right: the batch comes in, its mean is taken off, and it is divided by its standard deviation. "
        "gamma and beta, which are learned, then give each feature the spread and the mean that serve best.",
    )
    torch = {"mode": "bn.train() or bn.eval()", "eps": "torch.nn.BatchNorm1d(..., eps=eps)"}
    cell = inputs(sheet, "mode", "eps", "batches", torch=torch, across=True)
    cell.training = equal(cell.mode, MODES[0])
    top = sheet.next_row
    way = batch(sheet, top, given)
    back = book.sheet(
        "backward",
        "The three ways back from x_hat to x",
        "A number of x counts in its own x_hat, in the mean and in the variance of its feature, and through these in "
        "all others' x_hat. Each way has its gradient, and the sum of the three is the gradient of x.",
    )
    running(book, cell, way)
    normalised(sheet, top, cell, way, given)
    backward(back, cell, way)


def room(sheet: Sheet, *lefts: int) -> None:
    """Makes room for pairs of columns, with a narrow one after each for what leads to the next."""
    sheet.width(1, 9)
    for left in lefts:
        sheet.width(left, 9.5, left + FEATURES - 1)
        sheet.width(left + FEATURES, 3)


def pair(sheet: Sheet, row: int, left: int, name: str, each: Column) -> Array:
    """A block of examples and features below its name and its words."""
    return flow.headed(sheet, row, left, name, each, room=FEATURES)


def line(sheet: Sheet, row: int, left: int, name: str, each: Column, *, note: bool = True) -> Array:
    """A number for each feature, with its name on the left and, unless without a `note`, its words on the right."""
    sheet.write(row, left - 1, name, NAMED)
    if note:
        sheet.write(row, left + FEATURES, each.words, NOTE)
    return flow.place(sheet, row, left, name, each, across=True)


def over(block: Array, function: Callable[[Array], Any] = total) -> Array:
    """The sum over the examples, or another function of them, for each feature."""
    return np.array([function(column) for column in block.T], dtype=object)


def batch(sheet: Sheet, top: int, given: Mapping[str, Any]) -> Named:
    """The batch that comes in, its mean and its variance."""
    room(sheet, RAW, X, CENTRED, X_HAT, Y, TARGET)
    way = Named(head=top + 2, first=top + 4, below=top + 5 + EXAMPLES)
    for name, row, left, words, torch in (
        ("scale", top, X, "what the layer before multiplies by", ""),
        ("shift", top + 1, X, "what the layer before adds", ""),
        ("gamma", top, Y, "learned: the spread", "bn.weight"),
        ("beta", top + 1, Y, "learned: the mean", "bn.bias"),
    ):
        setattr(way, name, line(sheet, row, left, name, parameter(typed(given[name]), words, torch, PRECISE)))
    flow.labels(sheet, way.first, 1, (f"example {number}" for number in range(1, EXAMPLES + 1)), COUNTED)
    raw = pair(sheet, way.head, RAW, "raw", data(typed(given["raw"]), "type here", "raw", PRECISE))
    made = activation(raw * way.scale + way.shift, "raw * scale + shift", "x", SHORT)
    way.x = pair(sheet, way.head, X, "x", made)
    middle = activation(over(way.x, mean), "the mean of x", "x.mean(0)", SHORT)
    way.batch_mean = line(sheet, way.below, X, "batch_mean", middle)
    squares = over((way.x - way.batch_mean) ** 2, mean)
    spread = activation(squares, "the mean of (x - batch_mean)^2", "x.var(0, unbiased=False)", SHORT)
    way.batch_var = line(sheet, way.below + 1, X, "batch_var", spread)
    unbiased = activation(
        way.batch_var * EXAMPLES / (EXAMPLES - 1), f"* {EXAMPLES} / {EXAMPLES - 1}", "x.var(0)", SHORT
    )
    way.unbiased_var = line(sheet, way.below + 2, X, "unbiased_var", unbiased)
    way.raw = raw
    return way


def running(book: Book, cell: Named, way: Named) -> None:
    """What the layer remembers of batches, if this one came again and again."""
    sheet = book.sheet(
        "running",
        "What the layer remembers for the day when there is no batch",
        "In training each batch moves the running mean and variance a little: new = (1 - momentum) * old + momentum * "
        "the batch's. For the variance that is the unbiased one. With eval these take the place of the batch's own.",
    )

    torch = {"momentum": "torch.nn.BatchNorm1d(..., momentum=momentum)"}
    cell.momentum = inputs(sheet, "momentum", torch=torch, across=True).momentum

    def mixed(name: str, own: Array, begin: float) -> Callable[[Named], Array]:
        def formula(t: Named) -> Array:
            before = t[name][:-1]
            return np.concatenate([np.full((1, FEATURES), begin), (1 - cell.momentum) * before + cell.momentum * own])

        return formula

    t = flow.steps(
        sheet,
        BATCHES + 1,
        parts=PARTS,
        seen=counter(np.arange(BATCHES + 1), "batches", width=12),
        running_means=remembered(
            mixed("running_means", way.batch_mean, 0), "0, then mixed with batch_mean", "bn.running_mean", parts=PARTS
        ),
        running_vars=remembered(
            mixed("running_vars", way.unbiased_var, 1), "1, then mixed with unbiased_var", "bn.running_var", parts=PARTS
        ),
    )
    made = [
        scatter(
            f"The running {title} of {part}",
            "batches",
            title,
            [Series(part, t.seen, block[:, number], points=True)],
            width=14,
            x_range=(0, BATCHES),
        )
        for title, block in (("mean", t.running_means), ("variance", t.running_vars))
        for number, part in enumerate(PARTS)
    ]
    flow.charts(sheet, *made, row=t.head, left=7)
    way.running_mean, way.running_var = (
        np.array([index(column, cell.batches + 1) for column in block.T]) for block in (t.running_means, t.running_vars)
    )


def normalised(sheet: Sheet, top: int, cell: Named, way: Named, given: Mapping[str, Any]) -> None:
    """From x to y, with the statistics of the batch or the running ones, and the loss."""
    row = way.below + 2
    for name, own, words in (
        ("mean", "batch_mean", "mixed with batch_mean in training"),
        ("var", "unbiased_var", "mixed with unbiased_var in training"),
    ):
        old = remembered(way[f"running_{name}"], "'running', after so many batches", f"bn.running_{name}", SHORT)
        old = line(sheet, row, Y, f"running_{name}", old, note=False)
        new = where(cell.training, (1 - cell.momentum) * old + cell.momentum * way[own], old)
        new = remembered(new, words, f"bn.running_{name}, after", SHORT)
        line(sheet, row + 1, Y, f"new_running_{name}", new, note=False)
        setattr(way, f"used_{name}", where(cell.training, way[f"batch_{name}"], old))
        row += 2
    words = "the batch's, or the running"
    way.used_mean = line(sheet, way.below + 3, X, "used_mean", activation(way.used_mean, words, "", SHORT))
    way.used_var = line(sheet, way.below + 4, X, "used_var", activation(way.used_var, words, "", SHORT))
    std = activation(sqrt(way.used_var + cell.eps), "sqrt(used_var + eps)", "", SHORT)
    way.std = line(sheet, way.below + 5, X, "std", std)

    centred = activation(way.x - way.used_mean, "x - used_mean", "x - x.mean(0)", SHORT)
    way.centred = pair(sheet, way.head, CENTRED, "centred", centred)
    made = activation(way.centred / way.std, "centred / std", "F.batch_norm(x, ...)", SHORT)
    way.x_hat = pair(sheet, way.head, X_HAT, "x_hat", made)
    out = activation(way.gamma * way.x_hat + way.beta, "gamma * x_hat + beta", "bn(x)", SHORT)
    way.y = pair(sheet, way.head, Y, "y", out)
    wanted = data(typed(given["target"]), "type here", "target", PRECISE)
    way.target = pair(sheet, way.head, TARGET, "target", wanted)
    middle = activation(over(way.y, mean), "the mean of y", "y.mean(0)", SHORT)
    middle = line(sheet, way.below, Y, "y_mean", middle, note=False)
    spread = activation(over((way.y - middle) ** 2, mean), "its variance", "y.var(0, unbiased=False)", SHORT)
    line(sheet, way.below + 1, Y, "y_var", spread, note=False)
    words = "half the sum of (y - target)^2"
    wrong = loss(half_squares(way.y, way.target), words, "((y - target) ** 2).sum() / 2", SHORT)
    sheet.write(way.below, TARGET, "loss", NAMED)
    flow.place(sheet, way.below, TARGET + 1, "loss", wrong)
    for left, sign in ((X, "→"), (CENTRED, "→"), (X_HAT, "→"), (Y, "→"), (TARGET, "↔")):
        sheet.write(way.first + EXAMPLES // 2, left - 1, sign, SIGN)
    clouds = [
        Series("before: x", way.x[:, 0], way.x[:, 1], points=True, line=False, color=1),
        Series("after: y", way.y[:, 0], way.y[:, 1], points=True, line=False, color=0),
    ]
    chart = scatter("The batch before and after", "feature 1", "feature 2", clouds, width=15, height=12)
    sheet.chart(top, TARGET + FEATURES + 1, chart)
    sheet.print_on_one_page()


def half_squares(y: Array, target: Array) -> Any:
    """Half the sum of the squared errors: its gradient is the error itself."""
    return total((y - target) ** 2) / 2


def backward(sheet: Sheet, cell: Named, way: Named) -> None:
    """From the gradient of y to that of x, of gamma and of beta, and one step."""
    lr = inputs(sheet, "lr", torch={"lr": "torch.optim.SGD(..., lr=lr)"}, across=True).lr
    room(sheet, AGAIN, GRAD_Y, GRAD_X_HAT, DIRECT, VAR, MEAN, GRAD_X)
    head = sheet.next_row
    first, below = head + 2, head + 3 + EXAMPLES
    flow.labels(sheet, first, 1, (f"example {number}" for number in range(1, EXAMPLES + 1)), COUNTED)
    again = activation(way.x_hat, "again: it is needed", "F.batch_norm(x, ...)", SHORT, title="x_hat")
    x_hat = pair(sheet, head, AGAIN, "x_hat_again", again)
    grad_y = pair(sheet, head, GRAD_Y, "grad_y", gradient(way.y - way.target, "y - target", "y.grad", SHORT))
    slope = gradient(grad_y * way.gamma, "grad_y * gamma", "x_hat.grad", SHORT)
    grad_x_hat = pair(sheet, head, GRAD_X_HAT, "grad_x_hat", slope)

    through = where(cell.training, -over(grad_x_hat) / way.std, 0)
    slope = gradient(through, "- the sum of grad_x_hat, / std; 0 with eval", "mean.grad", SHORT)
    grad_mean = line(sheet, below, MEAN, "grad_mean", slope)
    through = where(cell.training, over(grad_x_hat * x_hat) / (-2 * (way.used_var + cell.eps)), 0)
    slope = gradient(
        through, "- the sum of grad_x_hat * x_hat, / (2 * (used_var + eps)); 0 with eval", "var.grad", SHORT
    )
    grad_var = line(sheet, below + 1, VAR, "grad_var", slope)
    ways = (
        ("direct", DIRECT, grad_x_hat / way.std, "grad_x_hat / std"),
        ("through_var", VAR, grad_var * 2 * way.centred / EXAMPLES, f"grad_var * 2 * centred / {EXAMPLES}"),
        ("through_mean", MEAN, np.broadcast_to(grad_mean / EXAMPLES, way.x.shape), f"grad_mean / {EXAMPLES}"),
    )
    parts = [pair(sheet, head, left, name, gradient(made, words, "", SHORT)) for name, left, made, words in ways]
    whole = gradient(parts[0] + parts[1] + parts[2], "the sum of the three", "x.grad", SHORT)
    grad_x = pair(sheet, head, GRAD_X, "grad_x", whole)
    for left, sign in ((GRAD_X_HAT, "→"), (DIRECT, "→"), (VAR, "+"), (MEAN, "+"), (GRAD_X, "=")):
        sheet.write(first + EXAMPLES // 2, left - 1, sign, SIGN)

    for name, row, left, made, words, torch in (
        ("gamma", below, GRAD_Y, over(grad_y * x_hat), "the sum of grad_y * x_hat", "bn.weight"),
        ("beta", below + 1, GRAD_Y, over(grad_y), "the sum of grad_y", "bn.bias"),
        ("scale", below + 2, GRAD_X, over(grad_x * way.raw), "the sum of grad_x * raw", "scale"),
        ("shift", below + 3, GRAD_X, over(grad_x), "the sum of grad_x", "shift"),
    ):
        grad = line(sheet, row, left, f"grad_{name}", gradient(made, words, f"{torch}.grad", SHORT))
        if left == GRAD_Y:
            words = f"{name} - lr * grad_{name}"
            new = parameter(way[name] - lr * grad, words, f"{torch}, after optimizer.step()", SHORT)
            line(sheet, row + 3, left, f"new_{name}", new)
    finite_difference(sheet, below + 6, cell, way, grad_x)
    sheet.print_on_one_page()


def finite_difference(sheet: Sheet, row: int, cell: Named, way: Named, grad_x: Array) -> None:
    """Whether the loss changes as the gradient says when one number of x does."""
    sheet.write(row, DIRECT, "Is the gradient right? Nudge one number of x", HEADING)
    at = inputs(sheet, "row", "column", "by", prefix="nudged_", row=row + 1, left=DIRECT)
    begin, end = grad_x[0, 0], grad_x[-1, -1]
    sheet.frame(grad_x, begin.row - 1 + at.row, begin.column - 1 + at.column)
    area = Range(begin.sheet, begin.row, begin.column, end.row, end.column)
    up, down = nudged_losses(sheet.book, at, cell, way)
    t = Named()
    for offset, (name, each) in enumerate(
        {
            "picked_grad": gradient(Call("INDEX", area, at.row, at.column), "its grad_x, in the frame", "x.grad"),
            "fd_grad": gradient((up - down) / (2 * at.by), "what the loss does: (loss_up - loss_down) / (2 * by)"),
            "fd_error": check(lambda t: abs(t.picked_grad - t.fd_grad), "how far they are apart"),
        }.items()
    ):
        sheet.write(row + 4 + offset, DIRECT, name, NAMED)
        sheet.write(row + 4 + offset, DIRECT + 2, each.words, NOTE)
        made = replace(each, formula=flow.formulas(each, t))
        setattr(t, name, flow.place(sheet, row + 4 + offset, DIRECT + 1, name, made).item())


def nudged_losses(book: Book, at: Named, cell: Named, way: Named) -> list[Any]:
    """The way forward twice more, with one number of x nudged up and down. Returns the losses."""
    sheet = book.sheet(
        "nudged",
        "The way forward with one number of x nudged up, and nudged down",
        "As on 'forward', for the finite difference of 'backward'. The running mean and variance stay as they are.",
        details=True,
    )
    lefts = {"up": (RAW, X), "down": (CENTRED, X_HAT)}
    room(sheet, RAW, X, CENTRED, X_HAT)
    head, losses = sheet.next_row, []
    below = head + 3 + EXAMPLES
    here = np.empty(way.x.shape, dtype=object)
    for row, column in np.ndindex(*here.shape):
        here[row, column] = both(equal(at.row, row + 1), equal(at.column, column + 1))
    for side, sign in SIDES.items():
        left, right = lefts[side]
        moved = activation(where(here, way.x + sign * at.by, way.x), f"x, one nudged {side}", "", PRECISE)
        x = pair(sheet, head, left, f"x_{side}", moved)
        m = line(sheet, below, left, f"mean_{side}", activation(over(x, mean), "the mean of x", "x.mean(0)", SHORT))
        spread = activation(over((x - m) ** 2, mean), "its variance", "x.var(0, unbiased=False)", SHORT)
        v = line(sheet, below + 1, left, f"var_{side}", spread)
        m, v = where(cell.training, m, way.used_mean), where(cell.training, v, way.used_var)
        out = way.gamma * (x - m) / sqrt(v + cell.eps) + way.beta
        y = pair(sheet, head, right, f"y_{side}", activation(out, "as on 'forward'", "bn(x)", SHORT))
        sheet.write(below + 2, right - 1, f"loss_{side}", NAMED)
        wrong = loss(half_squares(y, way.target), "half the sum of (y - target)^2", "", "0.000000")
        losses.append(flow.place(sheet, below + 2, right, f"loss_{side}", wrong).item())
    return losses


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64, by `torch.nn.BatchNorm1d` and autograd."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    training = v.mode == MODES[0]
    raw, scale, shift = (v[name].clone().requires_grad_() for name in ("raw", "scale", "shift"))
    x = raw * scale + shift
    x.retain_grad()
    bn: Any = torch.nn.BatchNorm1d(FEATURES, v.eps, v.momentum, dtype=torch.float64)
    bn.load_state_dict(bn.state_dict() | {"weight": v.gamma, "bias": v.beta})
    means, variances = [bn.running_mean.clone()], [bn.running_var.clone()]
    for _ in range(BATCHES):
        bn(x.detach())
        means.append(bn.running_mean.clone())
        variances.append(bn.running_var.clone())
    running = {"running_mean": means[v.batches], "running_var": variances[v.batches]}
    bn.load_state_dict(bn.state_dict() | running)
    bn.train(training)

    def out(x: Any) -> Any:
        """The layer, leaving what it remembers as it is."""
        mean, var = (each.clone() for each in running.values())
        return F.batch_norm(x, mean, var, v.gamma, v.beta, training, v.momentum, v.eps)

    optimizer = torch.optim.SGD(bn.parameters(), lr=v.lr)
    y = bn(x)
    y.retain_grad()
    loss = ((y - v.target) ** 2).sum() / 2
    loss.backward()
    grads = {"grad_gamma": bn.weight.grad.clone(), "grad_beta": bn.bias.grad.clone()}
    optimizer.step()
    own = {"mean": x.detach().mean(0), "var": x.detach().var(0, unbiased=False)}
    used = own if training else {"mean": running["running_mean"], "var": running["running_var"]}
    blocks = {
        **grads,
        **running,
        "x": x,
        "y": y,
        "loss": loss,
        "grad_y": y.grad,
        "grad_x": x.grad,
        "grad_scale": scale.grad,
        "grad_shift": shift.grad,
        "new_gamma": bn.weight,
        "new_beta": bn.bias,
        "new_running_mean": bn.running_mean,
        "new_running_var": bn.running_var,
        "batch_mean": own["mean"],
        "batch_var": own["var"],
        "unbiased_var": x.var(0),
        "used_mean": used["mean"],
        "used_var": used["var"],
        "std": (used["var"] + v.eps).sqrt(),
        "y_mean": y.mean(0),
        "y_var": y.var(0, unbiased=False),
        "seen": torch.arange(BATCHES + 1),
        "running_means": torch.stack(means),
        "running_vars": torch.stack(variances),
    }
    for side, sign in SIDES.items():
        moved = x.detach().clone()
        moved[v.nudged_row - 1, v.nudged_column - 1] += sign * v.nudged_by
        after = out(moved)
        blocks |= {f"x_{side}": moved, f"mean_{side}": moved.mean(0), f"var_{side}": moved.var(0, unbiased=False)}
        blocks |= {f"y_{side}": after, f"loss_{side}": ((after - v.target) ** 2).sum() / 2}
    picked = x.grad[v.nudged_row - 1, v.nudged_column - 1]
    difference = (blocks["loss_up"] - blocks["loss_down"]) / (2 * v.nudged_by)
    blocks |= {"picked_grad": picked, "fd_grad": difference, "fd_error": (picked - difference).abs()}
    return blocks | three_ways(v, x.detach(), used, training)


def three_ways(v: Named, x: Any, used: Mapping[str, Any], training: bool) -> dict[str, Any]:
    """The gradients inside of the layer, each by autograd with all other ways closed."""

    def inside(x: Any, mean: Any, var: Any) -> tuple[Any, Any]:
        centred = x - mean
        return centred, centred / (var + v.eps).sqrt()

    at = {"x": x, **used}
    centred, x_hat = inside(**at)
    seen = x_hat.clone().requires_grad_()
    (((seen * v.gamma + v.beta) - v.target) ** 2).sum().div(2).backward()
    blocks = {"centred": centred, "x_hat": x_hat, "x_hat_again": x_hat, "grad_x_hat": seen.grad}
    for way, made in (
        ("direct", lambda x: {"x": x}),
        ("through_mean", lambda x: {"mean": x.mean(0)}),
        ("through_var", lambda x: {"var": x.var(0, unbiased=False)}),
    ):
        leaf = x.clone().requires_grad_()
        changed = made(leaf)
        name, value = next(iter(changed.items()))
        value.retain_grad()
        inside(**{**at, name: value})[1].backward(seen.grad)
        open_ = training or name == "x"
        blocks[way] = leaf.grad * open_
        if name != "x":
            blocks[f"grad_{name}"] = value.grad * open_
    return blocks


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A finite difference keeps only the digits that the two losses have: their rounding counts, not its own size."""
    largest = max(1.0, *(float(np.abs(blocks[f"loss_{side}"]).max()) for side in SIDES))
    return dict.fromkeys(("fd_grad", "fd_error"), largest / v.nudged_by)


ABOUT = [
    "A network learns best if the numbers inside are neither huge nor tiny, and none has another unit than the rest. "
    "Batch normalisation takes each feature of a batch, subtracts its mean, and divides by its standard deviation. "
    "Two learned numbers, gamma and beta, may then spread and move the feature again.",
    "The mean and the variance are made of the batch itself, so the gradient goes back through them too. When the "
    "network is used, there may be no batch: then a running mean and variance, remembered from training, take over.",
]
TRY = [
    "Set scale of feature 1 to 100, or its shift: x and the orange points move far, x_hat and y stay where they are.",
    "Change one number of raw: all of its column changes in x_hat, for the mean and the variance have changed.",
    "On 'forward', check feature 1 in your head: its mean is 5, its variance 4, so that 9 becomes (9 - 5) / 2 = 2.",
    "Set mode to eval: the running mean and variance are used. Then batches to 0, 10, 40: y nears that of training.",
    "On 'backward', look at grad_shift and grad_scale: both are 0. A bias before a batch normalisation learns nothing.",
    "On 'backward', set nudged_row to 8: does the gradient agree with what the loss does? And with nudged_by at 2?",
    "Set momentum to 0.5, and look at the curves of 'running'.",
]
STARTS: dict[str, Any] = {
    "raw": [[2, 25], [4, 10], [4, 45], [4, 20], [5, 35], [5, 20], [7, 25], [9, 20]],
    "scale": [1, 1],
    "shift": [0, 0],
    "gamma": [1, 2],
    "beta": [0, 1],
    "target": [[-1, 1], [0, -1], [0, 4], [-1, 0], [0, 2], [1, 1], [1, 1], [2, -1]],
}
EXERCISES = (
    Exercise(
        "grad_gamma",
        1,
        "On 'backward': how fast does the loss grow with each gamma? y has it times x_hat, in each of the eight rows.",
        {"x_hat is missing": lambda t: t.grad_beta, "the sum, not the mean": lambda t: t.answer / len(t.grad_y)},
    ),
    Exercise(
        "new_gamma",
        2,
        "On 'backward': one step of gradient descent for gamma.",
        {
            "it climbs: step against it": lambda t: t.gamma + t.lr * t.grad_gamma,
            "lr is missing": lambda t: t.gamma - t.grad_gamma,
            "the old gamma is missing": lambda t: -t.lr * t.grad_gamma,
        },
    ),
    Exercise(
        "x_hat",
        3,
        "On 'forward': what is centred, measured in standard deviations.",
        {
            "std is missing": lambda t: t.centred,
            "the variance, not its root": lambda t: t.centred / t.used_var,
        },
    ),
    Exercise(
        "grad_x",
        3,
        "On 'backward': x has three ways to the loss: through itself, through the variance and through the mean.",
        {
            "two ways are missing": lambda t: t.direct,
            "the way through the mean is missing": lambda t: t.direct + t.through_var,
            "the way through the variance is missing": lambda t: t.direct + t.through_mean,
        },
    ),
)

BATCH_NORM = Lesson(
    "batch_norm",
    "batch normalisation: forward, the three ways back, running statistics, training against evaluation",
    (
        Input(
            "mode", "train", "whether the batch's own mean and variance are used, or the running ones", choices=MODES
        ),
        Input("eps", 1e-5, "is added to the variance, so that nobody divides by 0", minimum=0),
        Input("momentum", 0.1, "how much a new batch counts in the running mean and variance", minimum=0, maximum=1),
        Input("batches", 10, "how often this batch has come by before", minimum=0, maximum=BATCHES, whole=True),
        Input("lr", 0.1, "learning rate", minimum=0),
        Input("nudged_row", 1, "the example whose number is nudged", minimum=1, maximum=EXAMPLES, whole=True),
        Input("nudged_column", 1, "the feature of it that is nudged", minimum=1, maximum=FEATURES, whole=True),
        Input("nudged_by", 0.001, "how far it is moved", above=0),
    ),
    Data({name: np.ndim(numbers) for name, numbers in STARTS.items()}, lambda source: STARTS),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Batch normalisation",
    about=ABOUT,
    things_to_try=TRY,
    exercises=EXERCISES,
)
