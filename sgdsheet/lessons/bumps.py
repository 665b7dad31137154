"""A model that can overfit and be drawn: a curve that is a sum of bumps; its training as columns, and in torch."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, SPARSE, Book, Series, scatter
from sgdsheet.expr import Call, Expr
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Column, Named, activation, check, data, gradient, headed, parameter
from sgdsheet.lessons.surface import axis, reference_axis
from sgdsheet.tensor import Array, largest, previous, smallest, span

BUMPS = 12
CURVE = 61  # curves are drawn through so many x
PARTS = ("bias", *(f"w{bump}" for bump in range(1, BUMPS + 1)))
MSE = "F.mse_loss(model(x), y)"


def clouds(points: Named) -> list[Series]:
    """The training and the validation points, for a chart."""
    return [
        Series("training points", points.train.x, points.train.y, points=True, line=False, color=0),
        Series("validation points", points.valid.x, points.valid.y, points=True, line=False, color=1),
    ]


def shuffled(points: int, epochs: int, seed: int) -> Array:
    """So many points in a new order for each epoch, a row each, counted from 0."""
    generator = random.Random(seed)
    orders = np.tile(np.arange(points), (epochs, 1)).tolist()
    for order in orders:
        generator.shuffle(order)
    return np.array(orders)


def model_sheet(book: Book, points: Named) -> Named:
    """The sheet `model`, for the `x` and `y` of the points `train` and `valid`, with the input `bump_width`.

    Returns the bumps at every point, and what every point's y is to be. `bumps` has a row for each training point and a
    column for each bump; `across` is the same turned round, and `y` runs across. For the validation points these begin
    with `valid_`; `curve_x` and `curve_bumps` are there to draw a curve. `chart` is to go onto `sheet`, the model's.
    """
    sheet = book.sheet(
        "model",
        f"The model: a curve made of {BUMPS} bumps",
        f"y_hat = bias + w1 * bump 1 + w2 * bump 2 + … up to bump {BUMPS}. A bump is 1 at its centre and falls to 0 "
        "on both sides: e ^ -((x - centre) / width)^2.",
        f"The parameters, what is learned, are the bias and the weights, {BUMPS + 1} numbers: how high each bump is to "
        "be. The bumps themselves stay as they are.",
    )
    sheet.width(1, 13)
    share = flow.inputs(sheet, "bump_width").bump_width
    low, high = smallest(points.train.x), largest(points.train.x)
    width = check(share * (high - low), "bump_width * (largest - smallest x)")
    width = flow.values(sheet, row=sheet.next_row - 1, width=width).width
    details = book.sheet(
        "bumps",
        "How much of each bump there is at each point",
        "A row a point, a column a bump; and the same turned on its side, so that every sum is one short formula.",
        details=True,
    )
    details.width(1, 9)
    details.width(2, 7, 80)
    row, left = details.next_row, BUMPS + 4

    def put(row: int, left: int, name: str, each: Column) -> Array:
        made = headed(details, row, left, name, replace(each, absolute=True), across=np.ndim(each.formula) == 1)
        if made.ndim == 2:
            details.heat_map(made, HEAT)
        return made

    def bumps_at(x: Array) -> Array:
        return tensor.exp(-(((x[:, None] - centres) / width) ** 2))

    words = "evenly from the smallest x to the largest"
    centres = put(row, 2, "bump_centre", check(axis(low, high, BUMPS)[0], words))
    model, row = {}, row + 4
    for part, prefix, which in (("train", "", "training"), ("valid", "valid_", "validation")):
        words = f"how much of each bump at each {which} point"
        bumps = put(row, 2, f"{prefix}bumps", activation(bumps_at(points[part].x), words, "x", SPARSE))
        turned = put(row, left, f"{prefix}bumps_across", activation(bumps.T, "the same turned round", "x.T", SPARSE))
        y = data(points[part].y, f"the {which} points' y", "y")
        y = put(row + BUMPS + 3, left, f"{prefix}y_across", y)
        model |= {f"{prefix}bumps": bumps, f"{prefix}across": turned, f"{prefix}y": y}
        row += max(len(bumps) + 3, BUMPS + 7)
    curve_x = check(axis(low, high, CURVE)[0], "", "torch.linspace", absolute=True)
    curve_x = headed(details, row, 1, "curve_x", curve_x, note=False)
    curve_bumps = activation(bumps_at(curve_x), "the same along the curve, to draw it", "", SPARSE)
    curve_bumps = put(row, 2, "curve_bumps", curve_bumps)
    lines = [Series(f"bump {bump}", curve_x, each) for bump, each in enumerate(curve_bumps.T, start=1)]
    chart = scatter("The bumps", "x", "how much of each bump", lines, width=20, height=14, y_range=(0, 1))
    return Named(**model, curve_x=curve_x, curve_bumps=curve_bumps, sheet=sheet, chart=chart)


def predict(param: Array, bumps: Array) -> Array:
    """y_hat by the parameters, the bias first and then the weights, for points by their bumps, a row each."""
    return param[0] + tensor.matmul(param[None, 1:], bumps.T)[0]


def mean_loss(param: Array, across: Array, y: Array) -> Expr:
    """The mean of (y_hat - y)^2 over all points, in a single formula."""
    y_hat = param[0] + Call("MMULT", span(param[1:]), span(across))
    return Call("SUMPRODUCT", (y_hat - span(y)) ** 2) / len(y)


def step_losses(t: Named, model: Named, batches: Array) -> list[Any]:
    """The loss of each step, as formulas, from the columns of its training."""
    return [tensor.mean((y_hat - y) ** 2) for y_hat, y in zip(t.y_hat, model.y[batches], strict=True)]


def training(model: Named, batches: Array, lr: Any, momentum: Any = None) -> dict[str, Any]:
    """The columns of a training, a row for each step: it learns from the points in its row of `batches`.

    `lr` is one for all steps, or an array with one for each, as `momentum` is.
    """
    count, y = batches.shape[1], model.y[batches]
    names = [f"point {point + 1}" for point in batches[0]]  # unless they differ from step to step
    if (batches != batches[0]).any():
        names = [f"{number} of {count}" for number in range(1, count + 1)]
    lr = lr[:, None] if np.ndim(lr) else lr
    step = "grad" if momentum is None else "momentum_buffer"

    def y_hat(t: Named) -> Any:
        return [predict(param, model.bumps[batch]) for param, batch in zip(t.param, batches, strict=True)]

    def grad(t: Named) -> Any:
        return [
            [tensor.sum(each), *tensor.matmul(each[None], model.across[:, batch].T)[0]]
            for each, batch in zip(t.grad_y_hat, batches, strict=True)
        ]

    words = "the new_param of the row above; 0 at first"
    columns: dict[str, Any] = {
        "param": parameter(
            lambda t: previous(t.new_param, 0), words, "model.bias, model.weight", parts=PARTS, folded=True
        ),
        "y_hat": activation(y_hat, "bias + each weight * its bump, added up", "model(x)", parts=names, folded=True),
        "grad_y_hat": gradient(
            lambda t: 2 * (t.y_hat - y) / count,
            "2 * (y_hat - y) / how many points",
            "y_hat.grad",
            parts=names,
            folded=True,
        ),
        "grad": gradient(grad, "each grad_y_hat * the bump at its point, added up", "model.weight.grad", parts=PARTS),
    }
    if momentum is not None:
        columns["momentum_buffer"] = flow.state(
            lambda t: momentum[:, None] * previous(t.momentum_buffer, 0) + t.grad,
            "momentum * that of the row above + grad",
            "state['momentum_buffer']",
            parts=PARTS,
        )
    words = f"param, the new_param of the row above, - lr * {step}"
    new = parameter(lambda t: t.param - lr * t[step], words, "the same after optimizer.step()", parts=PARTS)
    return {**columns, "new_param": new}


def reference_model(v: Named) -> dict[str, Any]:
    """The blocks of the sheet `model` by torch."""
    import torch

    low, high = v.train_x.min(), v.train_x.max()
    width = v.bump_width * (high - low)
    centres, curve_x = (reference_axis(low, high, count)[0] for count in (BUMPS, CURVE))
    blocks = {"width": width, "bump_centre": centres, "curve_x": curve_x}
    for name, x in (("bumps", v.train_x), ("valid_bumps", v.valid_x), ("curve_bumps", curve_x)):
        blocks[name] = torch.exp(-(((x[:, None] - centres) / width) ** 2))
    blocks |= {"bumps_across": blocks["bumps"].T, "valid_bumps_across": blocks["valid_bumps"].T}
    return blocks | {"y_across": v.train_y, "valid_y_across": v.valid_y}


def predict_torch(param: Any, bumps: Any) -> Any:
    """y_hat by torch's linear layer, for one row of parameters."""
    from torch.nn.functional import linear

    return linear(bumps, param[None, 1:], param[:1])[:, 0]


def reference_training(
    model: Named,
    batches: Array,
    lr: float | Callable[[Any], float],
    momentum: float = 0.0,
    schedule: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """The columns of a training, each a tensor with a row for each step, by torch.optim.SGD.

    `lr` is one for all steps, or a function that makes one of a step's loss before it is taken. `schedule` makes a
    scheduler of torch for the optimiser.
    """
    import torch
    from torch.nn.functional import mse_loss

    param = torch.zeros(BUMPS + 1, requires_grad=True)
    optimizer = torch.optim.SGD([param], lr=0.0 if callable(lr) else lr, momentum=momentum)
    scheduler, group = schedule(optimizer) if schedule else None, optimizer.param_groups[0]

    def loss_of(batch: Any, note: Any) -> Any:
        y_hat = predict_torch(param, model.bumps[batch])
        y_hat.retain_grad()
        loss = mse_loss(y_hat, model.y_across[batch])
        if callable(lr):
            group["lr"] = lr(loss.detach())
        note(y_hat=y_hat, lr=group["lr"], momentum=group["momentum"])
        return loss

    def after(_: Any, note: Any) -> None:
        note(momentum_buffer=optimizer.state[param].get("momentum_buffer", param.grad))
        if scheduler is not None:
            scheduler.step()

    run = vars(flow.descend({"param": param}, optimizer, torch.as_tensor(batches), loss_of, after))
    run["grad"] = run.pop("grad_param")
    return run
