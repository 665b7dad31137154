"""What a replay must agree with: torch's own optimizer in float64, over the gradients that stand in the workbook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from sgdsheet.book import Saved
from sgdsheet.errors import Error
from sgdsheet.lessons.flow import Named
from sgdsheet.optim import OPTIMIZERS, Optimizer
from sgdsheet.reference import REPLAY, Reference
from sgdsheet.replaying import chain
from sgdsheet.replaying.followed import UNIT
from sgdsheet.replaying.sheets import bounds, fixed, free, share, worst


@dataclass(frozen=True)
class _Sheet:
    """What a weight's sheet says of its formulas."""

    prefix: str
    optimizer: Optimizer
    dtype: str
    flags: dict[str, bool]
    capturable: bool
    fused: bool
    step: np.ndarray
    starts: list[int]
    typed: frozenset[str]  # its blocks of data, and cells to type into, without the prefix

    @property
    def states(self) -> list[str]:
        given = {name: 1.0 if name in self.typed else 0.0 for name in self.optimizer.cells()}
        return [*self.optimizer.init(**chain.given(self.optimizer, self.flags, given))]


def reference(saved: Saved) -> Reference:
    """The runs of the workbook, as `verify` wants them. Raises `Error` where it was edited so that there are none."""
    sheets, inputs, dims = [], [], {}
    while f"w{len(sheets) + 1}_optimizer" in saved.contents:
        number = len(sheets) + 1
        sheets.append(sheet := _sheet(saved, f"w{number}_"))
        texts = (_text(saved, f"{sheet.prefix}{name}") for name in ("optimizer", "dtype", "flags"))
        inputs += fixed(number, *texts)
        inputs += [
            free(number, sheet.optimizer, name, 0.0)
            for name in sheet.optimizer.cells()
            if saved.contents.get(f"{sheet.prefix}{name}", np.empty(1)).shape == ()
        ]
    if not sheets:
        raise Error(f"{saved.path}: the sheet 'blocks' lists no cell 'w1_optimizer'; replay the record anew")
    loss = {"run_loss": _constants(saved, "run_loss")} if "run_loss" in saved.contents else {}
    singles = {each.name for each in inputs}
    dims = {name: len(block.shape) for name, block in saved.blocks.items() if block.typed and name not in singles}
    whole = {name for name in dims if name.endswith(("_taken", "_start_count"))}

    def run(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        blocks: dict[str, Any] = {name: values[name] for name in (*dims, *singles)}
        found = [_run(sheet, values) for sheet in sheets]
        for sheet, own in zip(sheets, found, strict=True):
            blocks |= {sheet.prefix + name: array for name, array in own.items()}
        blocks["overview_largest"] = [np.abs(own["difference"]).max() for own in found]
        blocks["overview_allowed"] = [own["allowed"].max() for own in found]
        blocks["overview_worst"] = [own["worst"].max() for own in found]
        blocks |= loss
        blocks["run_step"] = max((sheet.step for sheet in sheets), key=len)
        texts = {each.name for each in inputs if each.fixed}
        return {name: np.asarray(array, dtype=float) for name, array in blocks.items() if name not in texts}

    return Reference(REPLAY, tuple(inputs), dims, run, whole=whole)


def _sheet(saved: Saved, prefix: str) -> _Sheet:
    name, dtype, said = (_text(saved, prefix + each) for each in ("optimizer", "dtype", "flags"))
    flags = said.split(", ")
    if name not in OPTIMIZERS or dtype not in UNIT:
        raise Error(f"{saved.path}: {prefix}optimizer and {prefix}dtype say {name!r} and {dtype!r}; it was edited")
    optimizer = OPTIMIZERS[name]
    known = {flag: flag in flags for flag, value in optimizer.defaults().items() if isinstance(value, bool)}
    typed = {
        each.removeprefix(prefix) for each, block in saved.blocks.items() if each.startswith(prefix) and block.typed
    }
    starts = [int(row) - 1 for row in _constants(saved, f"{prefix}start_begins")]
    step = _constants(saved, f"{prefix}step")
    if not all(0 <= row < len(step) for row in starts) or starts[:1] != [0]:
        raise Error(f"{saved.path}: {prefix}start_begins says rows that there are not; it was edited")
    return _Sheet(
        prefix, optimizer, dtype, known, "capturable" in flags, "fused" in flags, step, starts, frozenset(typed)
    )


def _text(saved: Saved, name: str) -> str:
    return str(saved.contents[name].item() if name in saved.contents else "").removeprefix("=").strip('"')


def _constants(saved: Saved, name: str) -> np.ndarray:
    """The numbers that a column holds as formulas, as in `=5`."""
    try:
        return np.array([float(str(held).removeprefix("=")) for held in saved.contents[name].flat])
    except (KeyError, ValueError):
        raise Error(
            f"{saved.path}: the block {name!r} is gone or holds no plain numbers; replay the record anew"
        ) from None


def _run(sheet: _Sheet, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All blocks of a weight's sheet that are formulas."""
    optimizer, states, n = sheet.optimizer, sheet.states, len(sheet.step)
    read = {name: values[sheet.prefix + name] for name in sheet.typed}
    h: dict[str, Any] = {
        name: np.asarray(read[name], dtype=float) if name in read else 0
        for name in optimizer.cells()
        if name != "initial_accumulator_value"
    }
    taken = read.get("taken", np.ones(n))
    starts = dict(zip(sheet.starts, range(len(sheet.starts)), strict=True))
    t = Named(grad=read["grad"], trainer=read["trainer"], **({"loss": read["loss"]} if "loss" in read else {}))

    def start(name: str, place: int) -> float:
        if f"start_{name}" in read:
            return float(read[f"start_{name}"][place])
        row = sheet.starts[place]
        at = {each: float(value if np.ndim(value) == 0 else value[row]) for each, value in h.items()}
        return float(optimizer.init(**chain.given(optimizer, sheet.flags, at))[name])

    begun = {name: np.array([start(name, place) for place in range(len(starts))]) for name in states}
    count, counts = 0.0, []
    for row in range(n):
        count = float(read["start_count"][starts[row]]) if row in starts else count
        count += taken[row]
        counts.append(count)
    t.count = np.array(counts)

    def one(row: int, param: float, state: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """The weight and its states after torch's own step."""
        if not taken[row]:
            return param, dict(state)
        at = {each: float(value if np.ndim(value) == 0 else value[row]) for each, value in h.items()}
        loss = float(t.loss[row]) if optimizer.takes_loss else 0.0
        return _torch(optimizer, sheet.flags, at, param, float(t.grad[row]), dict(state), t.count[row] - 1, loss)

    here, there = _chained(n, starts, read["start_param"], begun, one), {}
    t.new_param = here.pop("new_param")
    vars(t).update(here)
    had = {"new_param": t.trainer, **{name: read[f"trainer_{name}"] for name in states}}
    begins = {"new_param": read["start_param"], **begun}
    old = {name: chain.before(array, sheet.starts, begins[name]).astype(float) for name, array in had.items()}
    param = old.pop("new_param")
    rows = [one(row, param[row], {name: old[name][row] for name in states}) for row in range(n)]
    there = {name: np.array([each[name] for _, each in rows]) for name in states}
    t.from_param = np.array([new for new, _ in rows])
    vars(t).update({f"from_{name}": array for name, array in there.items()})

    def place(name: str, array: Any, words: str) -> Any:
        found = getattr(t, name) if name == "new_param" or name in states else np.asarray(array, dtype=float)
        if name not in states and name != "new_param":
            setattr(t, name, np.broadcast_to(found, n).copy())
        return found

    mine = {name: chain.before(here[name], sheet.starts, begins[name]).astype(float) for name in states}
    before = chain.before(t.new_param, sheet.starts, begins["new_param"]).astype(float)
    skips = taken if "taken" in read else None
    chain.step(optimizer, chain.given(optimizer, sheet.flags, h), place, before, mine, t, skips)
    says = SimpleNamespace(
        optimizer=optimizer,
        flags=sheet.flags,
        dtype=sheet.dtype,
        capturable=sheet.capturable,
        fused=sheet.fused,
        states=states,
    )
    for _ in range(2):  # the allowances use the column of moves
        vars(t).update(
            {name: np.broadcast_to(a, n).astype(float) for name, a in bounds(says, h, t, param, old).items()}
        )
    t.difference = t.new_param - t.trainer
    vars(t).update({f"trainer_{name}": read[f"trainer_{name}"] for name in states})
    t.share = share(t, says, "new_param")
    t.worst = worst(t, says)
    t.lower, t.off, t.moved = (
        -t.allowed,
        np.where(np.isnan(t.worst), np.nan, t.worst > 1),
        t.new_param - read["start_param"][0],
    )
    rest = {
        "step": sheet.step,
        "start_begins": np.array(sheet.starts) + 1,
        **{f"start_{n}": a for n, a in begun.items()},
    }
    return {name: array for name, array in (vars(t) | rest).items() if name not in sheet.typed}


def _chained(
    n: int, starts: Mapping[int, int], params: Any, begun: Mapping[str, Any], one: Any
) -> dict[str, np.ndarray]:
    param, state, rows = 0.0, {}, []
    for row in range(n):
        if row in starts:
            param, state = float(params[starts[row]]), {name: each[starts[row]] for name, each in begun.items()}
        param, state = one(row, param, state)
        rows.append({"new_param": param, **state})
    return {name: np.array([each[name] for each in rows]) for name in rows[0]}


def _torch(
    optimizer: Optimizer,
    flags: Mapping[str, bool],
    hyperparameters: Mapping[str, float],
    value: float,
    grad: float,
    state: dict[str, float],
    count: float,
    loss: float,
) -> tuple[float, dict[str, float]]:
    """One step of the torch optimizer from these states. Eve and SGD's buffer have none before the first step."""
    import torch

    param = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    made = optimizer.torch_class([param], **chain.given(optimizer, flags, hyperparameters))
    param.grad = torch.tensor([grad], dtype=torch.float64)
    python = optimizer.name == "Eve"  # which keeps Python's numbers
    begins = count <= 0 and (python or optimizer.name == "SGD") and not state.get("momentum_buffer")
    if not begins:
        held: dict[str, Any] = {
            name: each
            if name in optimizer.scalars and python
            else torch.tensor(each, dtype=torch.float64).reshape(() if name in optimizer.scalars else 1)
            for name, each in state.items()
        }
        if optimizer.name != "SGD":
            held["step"] = int(count) if python else torch.tensor(count, dtype=torch.float64)
        made.state[param].update(held)
    made.step(lambda: torch.tensor(loss, dtype=torch.float64))
    found = made.state[param]
    return param.item(), {name: float(found[name]) if name in found else state[name] for name in state}
