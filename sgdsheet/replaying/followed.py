"""A record, weight by weight, as it is to be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.hyperparameters import arguments
from sgdsheet.optim import OPTIMIZERS, Optimizer
from sgdsheet.recording.record import SKIPPED, STEPPED

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8}  # half of what is between 1 and the next number
OPTIONAL = ("weight_decay", "momentum", "dampening", "lr_decay")  # whose formulas are left out where they are always 0
LONGEST = 2000  # steps on a sheet


@dataclass
class Followed:
    """One weight's steps.

    `constant` has the hyperparameters that stay the same, `varying` the others, a number for each step; flags are
    apart. `data` holds what was recorded, by column: `grad`, `new_param`, states …, `taken` is 1 for each step that the
    optimizer took. `starts` are the rows at which the chain begins: the first, and wherever something else than the
    optimizer's last step had made weight or states; `why` says so in words. `end` is why there are no more rows.
    """

    name: str
    optimizer: Optimizer
    dtype: str
    flags: dict[str, bool]
    capturable: bool
    fused: bool
    constant: dict[str, float]
    varying: dict[str, np.ndarray]
    data: dict[str, np.ndarray]
    happened: list[str]
    starts: list[int] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    end: str = ""

    @property
    def steps(self) -> int:
        return len(self.data["step"])

    @property
    def taken(self) -> np.ndarray:
        return np.array([1.0 if each == STEPPED else 0.0 for each in self.happened])

    @property
    def states(self) -> list[str]:
        """The states that this configuration has."""
        return [*self.optimizer.init(**arguments(self.numbers(0)), **self.flags)]

    def numbers(self, row: int) -> dict[str, float]:
        """The hyperparameters of one step."""
        return {**self.constant, **{name: float(values[row]) for name, values in self.varying.items()}}

    def before(self, name: str, row: int) -> float:
        """A state before a step, as it was recorded; NaN where there was none yet."""
        return float(self.data[f"old_{name}"][row]) if f"old_{name}" in self.data else np.nan

    def start(self, name: str, row: int) -> float:
        """A state before a step: what it begins with where there was none yet."""
        found = self.before(name, row)
        return (
            found
            if np.isfinite(found)
            else float(self.optimizer.init(**arguments(self.numbers(row)), **self.flags)[name])
        )

    @property
    def fresh(self) -> bool:
        """Whether the optimizer remembered nothing yet wherever the chain begins."""
        return not any(np.isfinite(self.before(name, row)) for name in self.states for row in self.starts)

    def count(self, row: int) -> int:
        """How many steps the optimizer had made of this weight before a row; SGD, which counts none, only whether."""
        if "count" in self.data and np.isfinite(self.data["count"][row]):
            return int(self.data["count"][row] - self.taken[row])
        return int(np.isfinite(self.before("momentum_buffer", row)))


def followed(rows: Any, path: Path, steps: tuple[int, int] | None = None) -> list[Followed]:
    """The weights of a record, in its order, at the steps from one to another: all, or else the first 2,000.

    Raises `Error` for an optimizer that the core lacks, one that changes, and for what is missing.
    """
    first, last = steps or (1, LONGEST)
    if not 1 <= first <= last or last - first >= LONGEST:
        raise Error(f"steps: expected the first and the last of at most {LONGEST:,} steps, got {first}:{last}")
    chosen = rows[(rows["step"] >= first) & (rows["step"] <= last)]
    if not len(chosen):
        raise Error(f"{path}: has no step from {first} to {last}; it ends at step {rows['step'].max():g}")
    return [_one(own, path) for _, own in chosen.groupby("weight", sort=False)]


def _one(rows: Any, path: Path) -> Followed:
    name = str(rows["weight"].iloc[0])
    where = f"{path}: {name}"
    kind, dtype = (_only(rows[column], column, where) for column in ("optimizer", "dtype"))
    data = {str(column): rows[column].to_numpy() for column in rows if rows[column].dtype.kind == "f"}
    if kind == "Adam" and data.get("decoupled_weight_decay", np.zeros(1)).all():
        kind = "AdamW"
    if kind not in OPTIMIZERS:
        raise Error(f"{where}: {kind} is no optimizer that can be replayed; there is {', '.join(OPTIMIZERS)}")
    if dtype not in UNIT:
        raise Error(f"{where}: expected a weight in {', '.join(UNIT)}, got {dtype}")
    optimizer = OPTIMIZERS[kind]
    needed = [*optimizer.cells(), *(flag for flag, value in optimizer.defaults().items() if isinstance(value, bool))]
    needed += ["loss"] * optimizer.takes_loss
    for column in needed:
        if column not in data or not np.isfinite(data[column]).all():
            raise Error(f"{where}: {kind} needs the column {column!r}, a number in each row")
    flags = {
        flag: bool(_only(data[flag], flag, where))
        for flag, v in optimizer.defaults().items()
        if v in (True, False) and isinstance(v, bool)
    }
    values = {column: data[column] for column in optimizer.cells() if column != "initial_accumulator_value"}
    constant = {column: float(each[0]) for column, each in values.items() if (each == each[0]).all()}
    varying = {column: each for column, each in values.items() if column not in constant}
    if "momentum" in varying and not varying["momentum"].all():
        raise Error(f"{where}: the momentum is 0 at some steps and not at others, which cannot be replayed")
    if flags.get("nesterov") and constant.get("dampening") != 0:
        raise Error(f"{where}: SGD with nesterov takes no dampening")
    happened = [str(each) for each in rows["happened"]]
    capturable, fused = (bool(data.get(each, np.zeros(1)).any()) for each in ("capturable", "fused"))
    found = Followed(name, optimizer, str(dtype), flags, capturable, fused, constant, varying, data, happened)
    _cut(found)
    if not found.steps:
        raise Error(f"{where}: {found.end}, so there is nothing to replay")
    for state in found.states:
        taken = found.taken > 0
        if state not in data or not np.isfinite(found.data[state][taken]).all():
            raise Error(f"{where}: {kind} needs the column {state!r}, a number in each row")
    _find_starts(found)
    return found


def _only(values: Any, column: str, where: str) -> Any:
    different = [*dict.fromkeys(np.asarray(values).tolist())]
    if len(different) > 1:
        raise Error(f"{where}: {column} changes from {different[0]} to {different[1]}, which cannot be replayed as one")
    return different[0]


def _cut(found: Followed) -> None:
    """Ends the rows before the first step that was taken with, or to, what is no finite number."""
    data, taken = found.data, found.taken > 0
    wrong = np.flatnonzero((taken & ~np.isfinite(data["grad"])) | ~np.isfinite(data["param"] + data["new_param"]))
    if not len(wrong):
        return
    row = wrong[0]
    what = "gradient" if taken[row] and not np.isfinite(data["grad"][row]) else "weight"
    value = data["grad"][row] if what == "gradient" else data["new_param"][row]
    found.end = f"at step {data['step'][row]:.0f} the {what} is {value}"
    found.data = {name: values[:row] for name, values in data.items()}
    found.varying = {name: values[:row] for name, values in found.varying.items()}
    found.happened = found.happened[:row]


def _find_starts(found: Followed) -> None:
    for row in range(found.steps):
        if row == 0:
            fresh = not found.count(0)
            found.starts, found.why = [0], ["the first step" if fresh else "the first step that was recorded"]
            continue
        if said := [*_changes(found, row)]:
            found.starts.append(row)
            found.why.append(said[0])


def _changes(found: Followed, row: int) -> Iterator[str]:
    """What something else than the last step had made of the weight and its states, in words."""
    data, step = found.data, f"before step {found.data['step'][row]:.0f} "
    states = [name for name in found.states if f"old_{name}" in data]
    if any(np.isnan(data[f"old_{name}"][row]) and np.isfinite(data[name][row - 1]) for name in states):
        yield f"{step}the optimizer was made anew"
    if data["param"][row] != data["new_param"][row - 1]:
        yield f"{step}the weight was changed outside the optimizer"
    for name in states:
        old, last = data[f"old_{name}"][row], data[name][row - 1]
        if old != last and not (np.isnan(old) and np.isnan(last)):
            yield f"{step}the state {name} was changed outside the optimizer"


def note(found: Followed, row: int) -> str:
    """What is to be said of a step that was not taken."""
    if found.happened[row] == SKIPPED:
        grad = found.data["grad"][row]
        return (
            f"skipped: the gradient is {grad}" if not np.isfinite(grad) else "skipped: another gradient is not finite"
        )
    return "" if found.happened[row] == STEPPED else found.happened[row]
