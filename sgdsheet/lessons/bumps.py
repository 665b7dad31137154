"""A model that can overfit and be drawn: a curve that is a sum of bumps; its training as columns, and in torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, Book, Series, Table, scatter
from sgdsheet.expr import Call, Expr
from sgdsheet.optim import sgd
from sgdsheet.tensor import Array, previous, span

BUMPS = 12
CURVE = 61  # curves are drawn through so many x
PARTS = ("bias", *(f"weight {bump}" for bump in range(1, BUMPS + 1)))


@dataclass(frozen=True)
class Model:
    """The bumps at every point, and what every point's y is to be.

    `bumps` has a row for each training point and a column for each bump; `across` is the same turned round. The
    parameters of a model are one row, the bias first and then the weights.
    """

    bumps: Array
    across: Array
    y: Array
    valid_bumps: Array
    valid_across: Array
    valid_y: Array
    curve_x: Array
    curve_bumps: Array


def clouds(points: Mapping[str, Array]) -> list[Series]:
    """The training and the validation points, for a chart."""
    parts = (("train", "training points"), ("valid", "validation points"))
    return [
        Series(label, points[f"{part}_x"], points[f"{part}_y"], points=True, line=False, color=color)
        for color, (part, label) in enumerate(parts)
    ]


def shuffled(points: int, epochs: int, seed: int) -> Array:
    """So many points in a new order for each epoch, a row each, counted from 0."""
    generator = random.Random(seed)
    orders = np.tile(np.arange(points), (epochs, 1)).tolist()
    for order in orders:
        generator.shuffle(order)
    return np.array(orders)


def model_sheet(book: Book, points: Mapping[str, Array]) -> Model:
    """The sheet `model`, for points named `train_x`, `train_y`, `valid_x`, `valid_y`, with the input `bump_width`."""
    sheet = book.sheet(
        "model",
        f"The model: a curve made of {BUMPS} bumps",
        f"y_hat = bias + weight 1 * bump 1 + weight 2 * bump 2 + … up to bump {BUMPS}. A bump is 1 at its centre and "
        "falls to 0 on both sides: e ^ -((x - centre) / width)^2.",
        f"The parameters, what is learned, are the bias and the weights, {BUMPS + 1} numbers: how high each bump is to "
        "be. The bumps themselves stay as they are.",
    )
    sheet.width(1, 17)
    sheet.width(2, 9, 80)
    left = BUMPS + 4
    row = sheet.next_row
    (share,) = sheet.inputs(row, 1, ("bump_width",))
    low, high = tensor.smallest(points["train_x"]), tensor.largest(points["train_x"])
    width = sheet.value(row + 1, 1, "width", share * (high - low), "check", words="bump_width * (largest - smallest x)")
    chart_row = row + 3

    def along(count: int) -> Array:
        return low + (high - low) * (np.arange(count).astype(object) / (count - 1))

    def put(name: str, array: Any, role: str, row: int, column: int, words: str, torch: str = "") -> Array:
        across: dict[str, Any] = {"across": True} if np.ndim(array) == 1 else {}
        return sheet.headed(name, array, role, row, column, words=words, torch=torch, absolute=True, **across)

    def bumps_at(x: Array) -> Array:
        return tensor.exp(-(((x[:, None] - centres) / width) ** 2))

    row += 23
    centres = put("bump_centre", along(BUMPS), "check", row, 2, "evenly from the smallest x to the largest")
    blocks: dict[str, Array] = {}
    row += 4
    for part, prefix, which in (("train", "", "training"), ("valid", "valid_", "validation")):
        words = f"how much of each bump at each {which} point"
        bumps = put(f"{prefix}bumps", bumps_at(points[f"{part}_x"]), "activation", row, 2, words, "x")
        words, torch = "the same turned round", "x.T"
        across = put(f"{prefix}bumps_across", bumps.T, "activation", row, left, words, torch)
        words = f"the {which} points' y"
        y = put(f"{prefix}y_across", points[f"{part}_y"], "data", row + BUMPS + 3, left, words, "y")
        blocks |= {f"{prefix}bumps": bumps, f"{prefix}across": across, f"{prefix}y": y}
        row += max(len(bumps) + 3, BUMPS + 7)
    layout: dict[str, Any] = {"note": False, "torch": "torch.linspace", "absolute": True}
    curve_x = sheet.headed("curve_x", along(CURVE), "check", row, 1, **layout)
    words = "the same along the curve, to draw it"
    curve_bumps = put("curve_bumps", bumps_at(curve_x), "activation", row, 2, words)
    for block in (*blocks.values(), curve_bumps):
        if block.ndim == 2:
            sheet.heat_map(block, HEAT)
    lines = [Series(f"bump {bump}", curve_x, curve_bumps[:, bump - 1]) for bump in range(1, BUMPS + 1)]
    sheet.chart(chart_row, 1, scatter("The bumps", "x", "how much of each bump", lines, width=24, height=10))
    return Model(**blocks, curve_x=curve_x, curve_bumps=curve_bumps)


def predict(param: Array, bumps: Array) -> Array:
    """y_hat by the parameters, for points by their bumps, a row each."""
    return param[0] + tensor.matmul(param[None, 1:], bumps.T)[0]


def mean_loss(param: Array, across: Array, y: Array) -> Expr:
    """The mean of (y_hat - y)^2 over all points, in a single formula."""
    y_hat = param[0] + Call("MMULT", span(param[1:]), span(across))
    return Call("SUMPRODUCT", (y_hat - span(y)) ** 2) / len(y)


def training_columns(
    table: Table, run: str, lr: Any, model: Model, batches: Array, momentum: Array | None = None
) -> tuple[Array, Array]:
    """The columns of a training, a row for each step: it learns from the points in its row of `batches`.

    `lr` is one for all steps, or an array with one for each, as `momentum` is. Returns the loss of each step as
    formulas yet to be placed, and the parameters after it.
    """
    steps, count = batches.shape
    names = [f"point {point + 1}" for point in batches[0]]  # unless they differ from step to step
    if (batches != batches[0]).any():
        names = [f"{number} of {count}" for number in range(1, count + 1)]

    def columns(name: str, role: str, words: str, torch: str, parts: Sequence[str] = PARTS) -> Array:
        return table.columns(f"{run}_{name}", role, words=words, torch=torch, title=name, parts=parts, width=9.5)

    param = columns("param", "parameter", "the new_param of the row above; 0 at first", "model.bias, model.weight")
    y_hat = columns("y_hat", "activation", "bias + each weight * its bump, added up", "model(x)", names)
    grad_y_hat = columns("grad_y_hat", "gradient", "2 * (y_hat - y) / how many points", "y_hat.grad", names)
    grad = columns("grad", "gradient", "each grad_y_hat * the bump at its point, added up", "model.weight.grad")
    placed = {}
    if momentum is not None:
        words, torch = "momentum * that of the row above + grad", "state['momentum_buffer']"
        placed["momentum_buffer"] = columns("momentum_buffer", "optimiser state", words, torch)
    words = f"param - lr * {'grad' if momentum is None else 'momentum_buffer'}"
    placed["new_param"] = columns("new_param", "parameter", words, "the same after optimizer.step()")

    y = model.y[batches]
    gradient = [
        [tensor.sum(each), *tensor.matmul(each[None], model.across[:, batch].T)[0]]
        for each, batch in zip(grad_y_hat, batches, strict=True)
    ]
    predicted = [predict(each, model.bumps[batch]) for each, batch in zip(param, batches, strict=True)]
    table.fill(f"{run}_y_hat", np.array(predicted, dtype=object))
    table.fill(f"{run}_grad_y_hat", 2 * (y_hat - y) / count)
    table.fill(f"{run}_grad", np.array(gradient, dtype=object))

    def place(name: str, array: Any, _: str) -> Array:
        table.fill(f"{run}_{name}", array)
        return placed[name]

    state = {name: previous(each, 0) for name, each in placed.items() if name != "new_param"}
    new_param, _ = sgd(
        place,
        param,
        grad,
        state,
        step=np.arange(1, steps + 1)[:, None],
        lr=lr[:, None] if np.ndim(lr) else lr,
        momentum=0 if momentum is None else momentum[:, None],
    )
    table.fill(f"{run}_param", previous(new_param, 0))
    losses = [tensor.mean((each - wanted) ** 2) for each, wanted in zip(y_hat, y, strict=True)]
    return np.array(losses, dtype=object), new_param


def reference_model(given: dict[str, Any]) -> dict[str, Any]:
    """The blocks of the sheet `model` by torch."""
    import torch

    low, high = given["train_x"].min(), given["train_x"].max()
    width = given["bump_width"] * (high - low)
    centres, curve_x = (low + (high - low) * (torch.arange(n, dtype=torch.float64) / (n - 1)) for n in (BUMPS, CURVE))
    blocks = {"width": width, "bump_centre": centres, "curve_x": curve_x}
    for name, x in (("bumps", given["train_x"]), ("valid_bumps", given["valid_x"]), ("curve_bumps", curve_x)):
        blocks[name] = torch.exp(-(((x[:, None] - centres) / width) ** 2))
    return blocks | {
        "bumps_across": blocks["bumps"].T,
        "valid_bumps_across": blocks["valid_bumps"].T,
        "y_across": given["train_y"],
        "valid_y_across": given["valid_y"],
    }


def predict_torch(param: Any, bumps: Any) -> Any:
    """y_hat by torch's linear layer, for one row of parameters."""
    from torch.nn.functional import linear

    return linear(bumps, param[None, 1:], param[:1])[:, 0]


def reference_training(
    bumps: Any,
    y: Any,
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

    param = torch.zeros(BUMPS + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([param], lr=0.0 if callable(lr) else lr, momentum=momentum)
    scheduler = schedule(optimizer) if schedule else None
    columns: dict[str, list[Any]] = {}
    for number, batch in enumerate(torch.as_tensor(batches)):
        group = optimizer.param_groups[0]
        y_hat = predict_torch(param, bumps[batch])
        y_hat.retain_grad()
        loss = mse_loss(y_hat, y[batch])
        optimizer.zero_grad()
        loss.backward()
        if callable(lr):
            group["lr"] = lr(loss.detach())
        assert y_hat.grad is not None
        assert param.grad is not None
        row = {"param": param, "y_hat": y_hat, "grad_y_hat": y_hat.grad, "grad": param.grad, "loss": loss}
        row |= {
            "lr": torch.tensor(group["lr"], dtype=torch.float64),
            "momentum": torch.tensor(group["momentum"], dtype=torch.float64),
        }
        row = {name: value.detach().double().clone() for name, value in row.items()}
        optimizer.step()
        row["momentum_buffer"] = optimizer.state[param].get("momentum_buffer", param.grad).clone()
        row["new_param"] = param.detach().clone()
        if scheduler is not None and number + 1 < len(batches):
            scheduler.step()
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: torch.stack(rows) for name, rows in columns.items()}
