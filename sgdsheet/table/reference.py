"""What the workbook of a fit must agree with: the same table, prepared by numpy, and trained by torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sgdsheet.book import Saved
from sgdsheet.lessons.flow import Named, descend
from sgdsheet.reference import Reference
from sgdsheet.table.model import Fit
from sgdsheet.table.plan import DATE, TEXT, Plan
from sgdsheet.table.training import init, run


def reference(saved: Saved) -> Reference:
    """The fit that the workbook's sheet `program` describes, as `verify` wants it.

    Raises `Error` if that sheet is missing or was edited.
    """
    where = f"{saved.path}: sheet 'program'"
    fit, plan = Fit.from_rows(saved.program, where), Plan.from_rows(saved.program, where)
    kinds = plan.holds_numbers
    mixed = {"data": kinds, "new_rows": kinds} | ({"target": [False]} if plan.target.text else {})
    dims = {"data": 2, "target": 1, "new_rows": 2, "start": 1}
    whole = {"target"} if plan.target.classes else set()
    run = partial(fitted, fit, plan)
    return Reference(saved.lesson, fit.inputs(), dims, run, partial(sizes, run), mixed=mixed, whole=whole)


def sizes(run: Any, values: Mapping[str, Any], blocks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How large the numbers are whose rounding a block shows.

    Where the terms of a gradient cancel, all that is left is their rounding, and Adam divides it by its own size. A
    second run tells what becomes of it, whose x and y are a rounding's width away: ten times as far a block may be off.
    """
    found = {}
    for name, near in run(values, np.random.default_rng(0)).items():
        apart = np.abs(near - blocks[name])
        found[name] = np.full(apart.shape, 10 * apart[np.isfinite(apart)].max(initial=0) / Reference.tolerance)
    return found


def fitted(
    fit: Fit, plan: Plan, values: Mapping[str, Any], nudge: np.random.Generator | None = None
) -> dict[str, np.ndarray]:
    """Returns every block, from what stands in the cells for typing; a `nudge` moves x and y by a rounding."""
    import torch

    blocks, x, y, new = prepared(fit, plan, values)
    if nudge is not None:
        x, y = (each * (1 + 1e-15 * nudge.choice((-1.0, 1.0), each.shape)) for each in (x, y))
    x, y, new = (torch.from_numpy(each) for each in (x, y, new))
    run = trained(fit, values, x, y, bool(plan.target.classes))
    blocks |= run
    param = torch.from_numpy(run["new_param"])
    blocks |= checked(fit, plan, x, y, param, blocks)
    out = says(fit, new, param[-1])
    blocks |= {"new_out": out.out} | ({"new_hidden": out.hidden} if fit.hidden else {})
    if plan.target.classes:
        blocks["probability"] = out.out.sigmoid()
    else:
        blocks["prediction"] = out.out * float(blocks["y_std"]) + float(blocks["y_mean"])
    if not fit.hidden:
        blocks["weight"] = param[-1, :-1]
    given = {spec.name: values[spec.name] for spec in fit.inputs() if not spec.choices}
    given |= {"epochs": fit.epochs, "batch_size": fit.batch_size, "start": values["start"]}
    return {name: np.asarray(block, dtype=np.float64) for name, block in (given | blocks).items()}


def prepared(fit: Fit, plan: Plan, values: Mapping[str, Any]) -> tuple[dict[str, Any], Any, Any, Any]:
    """What stands on the sheet `prepared`, and of it what the model learns from: x, y, and x of the new rows."""
    blocks: dict[str, Any] = {}
    train, target = slice(0, fit.train), values["target"]
    if plan.numbers:
        numbers, new = (_floats(values[name][:, plan.numbers]) for name in ("data", "new_rows"))
        known = [column[~np.isnan(column)] for column in numbers[train].T]
        median = np.array([np.median(each) if len(each) else 0.0 for each in known])
        filled, new_filled = (np.where(np.isnan(each), median, each) for each in (numbers, new))
        mean = filled[train].mean(0)
        blocks |= {"median": median, "filled": filled, "new_filled": new_filled, "mean": mean}
        blocks["std"] = _deviation(filled[train])
    x, new_x = (
        _seen(plan, values[cells], blocks, name) for cells, name in (("data", "filled"), ("new_rows", "new_filled"))
    )
    if plan.target.classes:
        y = np.array([_same(each, plan.target.classes[1]) for each in target], dtype=np.float64)
    else:
        blocks |= {"target": target, "y_mean": target[train].mean(), "y_std": _deviation(target[train])}
        y = (target - blocks["y_mean"]) / blocks["y_std"]
    if not plan.target.text:
        blocks["target"] = target
    return blocks | {"x": x, "new_x": new_x, "y": y}, x, y, new_x


def _seen(plan: Plan, cells: np.ndarray, blocks: Mapping[str, Any], name: str) -> np.ndarray:
    """What the model sees of each row."""
    columns: list[Any] = []
    number = 0
    for own, column in zip(cells.T, plan.columns, strict=True):
        if column.kind == TEXT:
            begun = len(columns)
            columns += [[_same(each, level) for each in own] for level in column.levels]
            columns += [[each is None for each in own]] * column.gap
            columns += [1 - np.sum(columns[begun:], 0)] * column.rest
            continue
        value = blocks[name][:, number]
        columns.append((value - blocks["mean"][number]) / blocks["std"][number])
        if column.kind == DATE:
            days = np.datetime64("1899-12-30") + np.floor(value + 1e-6).astype("timedelta64[D]")
            columns.append((days.astype("datetime64[M]").astype(int) % 12 + 1 - 6.5) / 3.5)
        number += 1
    return np.array(columns, dtype=np.float64).T.copy()


def _floats(cells: np.ndarray) -> np.ndarray:
    return np.array([[np.nan if each is None else each for each in row] for row in cells], dtype=np.float64)


def _deviation(numbers: np.ndarray) -> np.ndarray:
    return np.where(numbers.max(0) > numbers.min(0), numbers.std(0), 1.0)


def _same(cell: Any, level: Any) -> bool:
    """Whether a formula takes a cell's content for the level: to it, capital letters are small ones too."""
    if isinstance(cell, str) and isinstance(level, str):
        return cell.casefold() == level.casefold()
    return cell == level and isinstance(cell, str) == isinstance(level, str)


def says(fit: Fit, x: Any, param: Any) -> Named:
    """What the model says of rows: `out`, and what is between, by torch."""
    from torch.nn.functional import linear

    first, first_bias, last, bias = fit.split(param, x.shape[1])
    if not fit.hidden:
        return Named(out=linear(x, last[None], bias[None])[:, 0])
    inside = linear(x, first, first_bias)
    hidden = inside.relu()
    return Named(hidden_in=inside, hidden=hidden, out=linear(hidden, last[None], bias[None])[:, 0])


def losses(out: Any, y: Any, classes: bool) -> Any:
    """Each row's loss, by torch."""
    from torch.nn import functional

    of = functional.binary_cross_entropy_with_logits if classes else functional.mse_loss
    return of(out, y, reduction="none")


def trained(fit: Fit, values: Mapping[str, Any], x: Any, y: Any, classes: bool) -> dict[str, Any]:
    """The steps: parameters, losses, gradients and states are torch's; what lies between two of them, such as a bias
    correction, is computed from those of the same step."""
    import torch

    cells = {name: values[name] for name in fit.hyperparameters()}
    param = torch.tensor(values["start"], requires_grad=True)
    made = fit.recurrence[0].torch_class([param], **fit.arguments(cells))
    states = init(fit, cells)
    empty = torch.zeros(len(param))

    def padded(each: Any) -> Any:
        return torch.nn.functional.pad(each, (0, fit.batch_size - each.shape[-1]))

    def loss_of(batch: slice, note: Any) -> Any:
        made_of = says(fit, x[batch], param)
        row_loss = losses(made_of.out, y[batch], classes)
        for each in vars(made_of).values():
            each.retain_grad()
        note(row_loss=padded(row_loss))
        kept.update(vars(made_of))
        return row_loss.mean()

    kept: dict[str, Any] = {}

    def after(batch: slice, note: Any) -> None:
        note(out=padded(kept["out"]), grad_out=padded(kept["out"].grad))
        if fit.hidden:
            names = {"hidden_in": kept["hidden_in"], "hidden": kept["hidden"], "grad_hidden": kept["hidden_in"].grad}
            note(**{name: padded(each.T) for name, each in names.items()})
        note(**{name: made.state[param].get(name, empty) for name in states})

    found = descend({"param": param}, made, [fit.batch(k) for k in range(fit.steps)], loss_of, after)
    rows = {name: array.numpy() for name, array in vars(found).items()}
    rows["grad"] = rows.pop("grad_param")
    rows |= {"step": np.arange(1.0, fit.steps + 1), "epoch": np.repeat(np.arange(1, fit.epochs + 1), len(fit.batches))}
    for name in ("hidden_in", "hidden", "grad_hidden") if fit.hidden else ():
        rows[name] = rows[name].transpose(1, 0, 2)
    between: dict[str, Any] = {}

    def record(name: str, array: Any, words: str) -> Any:
        between[name] = array[:, 0] if np.shape(array)[1] == 1 else array
        return array

    with np.errstate(all="ignore"):
        run(
            fit,
            {name: np.array(each) for name, each in cells.items()},
            record,
            lambda n: rows[n].reshape(fit.steps, -1),
        )
    unseen = {name for name in states if name not in made.state[param]}
    return between | {name: array for name, array in rows.items() if name not in unseen}


def checked(fit: Fit, plan: Plan, x: Any, y: Any, param: Any, blocks: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows that only check say of each epoch."""
    import torch

    count, classes = len(fit.batches), bool(plan.target.classes)
    x, y = x[fit.train :], y[fit.train :]
    after = torch.arange(1, fit.epochs + 1) * count
    made = [says(fit, x, param[step - 1]) for step in after]
    out = torch.stack([each.out for each in made], 1)
    row_loss = losses(out, y[:, None].expand_as(out), classes)
    per_epoch = blocks["row_loss"].reshape(fit.epochs, -1).sum(1) / fit.train
    found: dict[str, Any] = {"after": after, "epoch_number": torch.arange(1, fit.epochs + 1), "train_loss": per_epoch}
    found |= {"valid_out": out, "valid_row_loss": row_loss, "valid_loss": row_loss.mean(0), "valid_mean": y.mean()}
    if fit.hidden:
        found["valid_hidden"] = torch.stack([each.hidden for each in made])
    if classes:
        right = ((out > 0) == (y[:, None] > 0.5)).double().where(out.isfinite(), torch.nan)
        majority = torch.maximum(y.mean(), 1 - y.mean()).expand(fit.epochs)
        return found | {"valid_right": right, "accuracy": right.mean(0), "majority": majority}
    spread = (y - y.mean()).square().sum()
    found["spread"] = spread
    found["r_squared"] = 1 - row_loss.sum(0) / spread if y.max() > y.min() else torch.zeros(fit.epochs)
    found["off_by"] = row_loss.mean(0).sqrt() * float(blocks["y_std"])
    return found
