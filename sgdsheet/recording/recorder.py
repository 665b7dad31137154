"""The recorder: hooks around an optimizer's step set a few numbers aside, on the device, without waiting for it."""

from __future__ import annotations

import atexit
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sgdsheet.errors import Error
from sgdsheet.hyperparameters import TUPLES, parts
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.recording import record
from sgdsheet.recording.watched import chosen

if TYPE_CHECKING:
    import pandas as pd

KEPT = 128  # steps that stay on the device until they are copied, all at once
# What a parameter group holds that is no hyperparameter: how torch computes, and what schedulers note down.
UNSAID = {"params", "param_names", "foreach", "differentiable", "swap_tensors", "initial_lr", "peak"}
ALL = -1  # stands for a weight's number where something is the same for all
NONE: tuple[tuple[Any, ...], list[Any]] = ((), [])
Place = tuple[int, str]  # a weight's number, and what of it: grad, param, a state's name …


class Recorder:
    """Follows a few weights through a training, whoever's loop it is, and writes down what the optimizer did to them.

        recorder = Recorder(optimizer, watch=12, model=model, out="record.csv")
        for batch in batches:
            ...
            optimizer.step()
            recorder.step(loss=loss)
        recorder.close()

    The optimizer's own hooks do the work, so `step` is not needed for the numbers, see there. Of each step there are
    the gradient as the optimizer saw it (accumulated, averaged over processes, unscaled, clipped), all hyperparameters
    of the weight's group, the weight and its states before and after (the columns: `sgdsheet.recording.record`).
    A step makes no GPU wait, nor does anything wait for one: the numbers stay there and are copied every 128 steps,
    beside what the loop does. Of several processes the first one records. `sgdsheet replay record.csv` makes a workbook
    of it in which each number is a formula.

    Arguments:
      optimizer: a `torch.optim.Optimizer`, or what wraps one as its `optimizer` or `opt` (Lightning, Accelerate and
        Transformers, fastai's OptimWrapper).
      watch: how many weights, spread over the layers; or which, a list of `("conv1.weight", (0, 0, 1, 2))` or
        `"conv1.weight[0,0,1,2]"`. A weight that is in none of the optimizer's groups (yet) has no rows until it is.
      out: the file, .csv or .parquet (which needs pyarrow), written by `write` and `close`, and when the program ends;
        None for none, `frame` has the rows.
      model: gives parameters their names, and tells convolutions, norms and the head. Without it the names are those
        that the optimizer was given, or else `group0.param3`.
      resume: goes on with the record in `out` after so many of its steps; 0 begins anew.

    Raises `Error` for what is no torch optimizer, for weights that there are not, and for a file that cannot be.
    """

    def __init__(
        self,
        optimizer: Any,
        watch: int | str | Sequence[Any] = 12,
        out: str | Path | None = None,
        *,
        model: nn.Module | None = None,
        resume: int = 0,
    ) -> None:
        self.optimizer = _torch_s(optimizer)
        self.out = None if out is None else Path(out)
        if self.out is not None:
            record.require_name(self.out)
        self.weights = chosen(watch, self.optimizer, model)
        self.steps = 0  # that were recorded
        self._chunks: list[tuple[Any, ...]] = []  # as they were copied
        self._held: pd.DataFrame | None = None  # the rows that were made of them
        self._handles: list[Any] = []
        self._empty()
        if self._is_first and resume:
            self._go_on(resume)
        self.follow(self.optimizer)

    @property
    def _is_first(self) -> bool:
        """Whether it is this process that records."""
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        return not several or torch.distributed.get_rank() == 0

    def follow(self, optimizer: Any) -> None:
        """Goes on with another optimizer of the same weights, as in a training's next phase; also after `close`."""
        self._release()
        self.optimizer = _torch_s(optimizer)
        self._groups: tuple[list[int], dict[int, int]] = ([], {})  # their sizes, and which weight is in which
        self._found_at: dict[str, tuple[list[int], _Numbers, dict[int, dict[str, Any]], list[Any]]] = {}
        self._open, self._closed = False, 0  # whether a step has begun; the steps since `step` was called
        if self._is_first:
            self._handles = [
                self.optimizer.register_step_pre_hook(self._before_step),
                self.optimizer.register_step_post_hook(self._after_step),
            ]
            atexit.register(self.close)

    def step(self, loss: Any = None) -> None:
        """Says that a step of the loop is over: call it once for each, after the optimizer's, wherever that was called.

        It adds two things to what is recorded without it: the loss, a number or a tensor of one, of which a GPU's is
        not waited for; and the steps from which a GradScaler kept the optimizer, as skipped.
        """
        if not self._handles:
            return
        if not self._closed:
            self._begin()
            self._end(skipped=True)
        if loss is not None and self._losses:
            self._losses[-1] = _lone(loss) if isinstance(loss, torch.Tensor) else float(loss)
        self._closed = 0

    def frame(self) -> pd.DataFrame:
        """The rows so far. A GPU is waited for."""
        import pandas as pd

        self._drain()
        if torch.cuda.is_initialized():
            for device in {each.param.device for each in self.weights if each.param.is_cuda}:
                torch.cuda.synchronize(device)
        made = [*(row for chunk in self._chunks for row in self._rows(*chunk))]
        self._chunks = []
        if made:
            self._held = pd.concat([each for each in (self._held, pd.DataFrame(made)) if each is not None])
        if self._held is None:
            return pd.DataFrame(columns=record.COLUMNS)
        rows: Any = self._held.reset_index(drop=True)
        old = [name for name in rows if name.startswith("old_")]
        last = ["count", "grad", "param", *old, "new_param", *(name.removeprefix("old_") for name in old)]
        first = ["step", *record.TEXTS, "loss"]
        between = [name for name in rows if name not in {*first, *last}]
        return rows[[name for name in dict.fromkeys([*first, *between, *last]) if name in rows]]

    def write(self) -> None:
        """Writes all rows so far to `out`."""
        if self.out is not None and self._handles:
            record.write(self.frame(), self.out)

    def close(self) -> None:
        """Writes the record and leaves the optimizer alone. Once more does nothing."""
        if not self._handles:
            return
        try:
            self.write()
        finally:
            self._release()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- one step -----------------------------------------------------------------------------------------------------

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Takes down what the step begins with; where a closure makes the gradients, once it has."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if not callable(closure):
            self._begin()
            return None
        self._open = False  # an optimizer that calls its closure several times is recorded at the first

        def seen() -> Any:
            loss = closure()
            if not self._open:
                self._begin(loss)
            return loss

        return ((args[0], seen, *args[2:]), kwargs) if len(args) > 1 else (args, kwargs | {"closure": seen})

    def _after_step(self, *_: Any) -> None:
        if self._open:
            self._end()

    @torch.no_grad()
    def _begin(self, loss: Any = None) -> None:
        self._open = False
        if self._filled == KEPT:
            self._drain()
        del self._told[self._filled :], self._losses[self._filled :]  # of a step that broke off
        kept, places = self._before, self._group_of()
        groups = {place: self.optimizer.param_groups[place] for place in sorted({*places.values()})}
        said = {place: _hyperparameters(group) for place, group in groups.items()}
        told = self._add_held(kept, places, "old_")
        own = {number: said[place] | told[number] for number, place in places.items()}
        for number, place in places.items():
            weight, lr = self.weights[number], groups[place].get("lr")
            if weight.param.grad is None:
                own[number]["happened"] = record.NO_GRADIENT
                kept.add((number, "grad"), _nothing(weight.param.device, weight.param.dtype))
            else:
                kept.add((number, "grad"), weight.element(weight.param.grad))
            if isinstance(lr, torch.Tensor):
                kept.add((number, "lr"), lr.detach().reshape(1))
        for name in ("grad_scale", "found_inf"):  # a fused optimizer unscales by itself, and skips by itself
            given = getattr(self.optimizer, name, None)
            if isinstance(given, torch.Tensor):
                kept.add((ALL, name), given.detach().reshape(1))
        kept.take(self._filled)
        self._losses.append(_lone(loss))
        self._told.append(own)
        self._open = True

    @torch.no_grad()
    def _end(self, skipped: bool = False) -> None:
        kept, told = self._after, self._told[-1]
        for number, own in self._add_held(kept, told, "new_").items():
            told[number] |= own
            if skipped:
                told[number]["happened"] = record.SKIPPED
        kept.take(self._filled)
        self._closed += 1
        self._open = False
        if told:  # else none of the weights is trained now
            self._filled += 1
            self.steps += 1

    def _add_held(self, kept: _Kept, numbers: Iterable[int], when: str) -> dict[int, dict[str, Any]]:
        """Adds the weights themselves and their states; returns, by weight, the states that are plain numbers.

        Where each of them is found is looked up once: as long as nothing else has taken its place, that stays.
        """
        state, none, now = self.optimizer.state, dict[str, Any](), list[int]()
        for number in numbers:
            param = self.weights[number].param
            now.append(param.data_ptr())
            now += map(id, state.get(param, none).values())
        before, added, told, _ = self._found_at.get(when, ([], _Numbers(), {}, []))
        if now != before:
            added, told = self._found(numbers, when)
            # Kept besides, so that no other object gets the same id.
            objects = [[*state.get(self.weights[number].param, none).values()] for number in numbers]
            self._found_at[when] = now, added, told, objects
        kept.begin(added)
        return told

    def _found(self, numbers: Iterable[int], when: str) -> tuple[_Numbers, dict[int, dict[str, Any]]]:
        """What `_add_held` adds and returns: tensors of one in the memory of what is followed, and plain numbers."""
        added, told = _Numbers(), {}
        for number in numbers:
            weight, own = self.weights[number], dict[str, Any]()
            added.add((number, "param" if when == "old_" else "new_param"), weight.element(weight.param))
            for name, value in self.optimizer.state.get(weight.param, {}).items():
                column = ("old_" if when == "old_" else "") + ("count" if name == "step" else name)
                if isinstance(value, torch.Tensor):
                    if value.shape == weight.param.shape or value.numel() == 1:
                        added.add((number, column), weight.element(value))
                elif isinstance(value, int | float):
                    own[column] = float(value)
            told[number] = own
        return added, told

    def _group_of(self) -> dict[int, int]:
        """The number of the parameter group of each weight that is in one. Groups may come later."""
        groups = self.optimizer.param_groups
        sizes = [len(group["params"]) for group in groups]
        if self._groups[0] != sizes:
            places = {id(param): place for place, group in enumerate(groups) for param in group["params"]}
            weights = enumerate(self.weights)
            self._groups = sizes, {n: places[id(each.param)] for n, each in weights if id(each.param) in places}
        return self._groups[1]

    # --- what was kept ------------------------------------------------------------------------------------------------

    def _empty(self) -> None:
        self._before, self._after, self._filled = _Kept(), _Kept(), 0
        self._told: list[dict[int, dict[str, Any]]] = []
        self._losses: list[Any] = []

    def _drain(self) -> None:
        """Has what is kept on the devices copied, without waiting for it. A step that is not over stays out."""
        if not self._filled or self._open:
            return
        self._before.copy()
        self._after.copy()
        tensors = [place for place, each in enumerate(self._losses) if isinstance(each, torch.Tensor)]
        if tensors:
            numbers = _copied(torch.stack([self._losses[place] for place in tensors]))
            for place, number in zip(tensors, numbers.unbind(), strict=True):
                self._losses[place] = number
        kept = self._told, self._losses, self._before, self._after
        self._chunks.append((self.steps - self._filled + 1, _kind(self.optimizer), *kept))
        self._empty()

    def _rows(
        self, first: int, kind: str, told: list[Any], losses: list[Any], before: _Kept, after: _Kept
    ) -> Iterator[dict[str, Any]]:
        """The rows of what was copied at once."""
        begun, ended = before.rows(), after.rows()
        for place, (said, loss) in enumerate(zip(told, losses, strict=True)):
            shared = begun[place].get(ALL, {})
            lost = None if loss is None else float(loss)
            for number, own in said.items():
                weight = self.weights[number]
                dtype = str(weight.param.dtype).removeprefix("torch.")
                row = {"step": first + place, "weight": str(weight), "optimizer": kind, "dtype": dtype}
                row |= {"happened": record.STEPPED, "loss": lost} | own | begun[place][number] | ended[place][number]
                row["grad"] /= shared.get("grad_scale", 1.0)
                if shared.get("found_inf"):
                    row["happened"] = record.SKIPPED
                yield row

    def _go_on(self, steps: int) -> None:
        """Takes up the record in `out`, as far as so many steps."""
        if self.out is None:
            raise Error("resume: expected out as well, the record to go on with")
        rows: Any = record.read(self.out)
        own = {str(each) for each in self.weights}
        if other := [each for each in dict.fromkeys(rows["weight"]) if each not in own]:
            raise Error(f"{self.out}: followed {other[0]}, which this run does not; resume with the same weights")
        if steps > (last := int(rows["step"].max())):
            raise Error(f"{self.out}: ends at step {last}, the run that is to go on with it at step {steps}")
        self._held, self.steps = rows[rows["step"] <= steps], steps

    def _release(self) -> None:
        if self._handles:
            self._drain()
        for each in self._handles:
            each.remove()
        self._handles = []
        atexit.unregister(self.close)


class _Numbers:
    """Tensors of one, each for a place, by their device and dtype."""

    def __init__(self) -> None:
        self.groups: dict[tuple[torch.device, torch.dtype], tuple[tuple[Place, ...], list[torch.Tensor]]] = {}

    def add(self, place: Place, value: torch.Tensor) -> None:
        key = (value.device, value.dtype)
        places, values = self.groups.get(key, ((), []))
        self.groups[key] = (*places, place), [*values, value]


class _Kept:
    """Single numbers of each step, a row a step, in a table for all of one device and dtype."""

    def __init__(self) -> None:
        self._held, self._more = _Numbers(), _Numbers()
        self._tables: dict[tuple[Any, ...], tuple[torch.Tensor, list[int]]] = {}  # and the rows that are filled

    def begin(self, held: _Numbers) -> None:
        """Begins a row with numbers that are the same tensors in most rows."""
        self._held, self._more = held, _Numbers()

    def add(self, place: Place, value: torch.Tensor) -> None:
        """A tensor of one, for the row that is begun."""
        self._more.add(place, value)

    def take(self, row: int) -> None:
        """Sets the numbers of the row aside."""
        held, more = self._held.groups, self._more.groups
        for key in (held | more) if more.keys() - held.keys() else held:
            (places, values), (others, new) = held.get(key, NONE), more.get(key, NONE)
            known = (key, places, others)
            if known not in self._tables:
                count = len(places) + len(others)
                self._tables[known] = torch.empty(KEPT, count, dtype=key[1], device=key[0]), []
            table, filled = self._tables[known]
            torch.cat([*values, *new], out=table[row])
            filled.append(row)

    def copy(self) -> None:
        """Takes all of it off its devices; see `_copied`."""
        self._tables = {key: (_copied(table), filled) for key, (table, filled) in self._tables.items()}

    def rows(self) -> dict[int, dict[int, dict[str, float]]]:
        """Of each row, by weight, the numbers by name."""
        found: dict[int, dict[int, dict[str, float]]] = {}
        for (_, held, more), (table, filled) in self._tables.items():
            numbers = table.double().tolist()
            for row in filled:
                own = found.setdefault(row, {})
                for (weight, name), number in zip((*held, *more), numbers[row], strict=True):
                    own.setdefault(weight, {})[name] = number
        return found


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """A copy off its device. A CUDA one's is in pinned memory and not waited for: synchronize before it is read."""
    return tensor.to("cpu", non_blocking=tensor.is_cuda)


@functools.cache
def _nothing(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((1,), math.nan, device=device, dtype=dtype)


def _lone(loss: Any) -> Any:
    """What a closure returned, if it is one number."""
    if isinstance(loss, torch.Tensor):
        return loss.detach().reshape(()) if loss.numel() == 1 else None
    return loss if isinstance(loss, float) else None


def _hyperparameters(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group's hyperparameters that are numbers, as columns; flags as 0 and 1."""
    said: dict[str, Any] = {}
    for name, value in group.items():
        if name in TUPLES and isinstance(value, tuple | list):
            said |= {part: float(each) for part, each in parts(name, tuple(value))}
        elif name not in UNSAID and isinstance(value, int | float):
            said[name] = float(value)
    return said


def _torch_s(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer, taken out of what wraps it."""
    found = optimizer
    for _ in range(5):
        inner = next(
            (i for n in ("optimizer", "opt") if isinstance(i := getattr(found, n, None), torch.optim.Optimizer)), None
        )
        if inner is None:
            break
        found = inner
    if not isinstance(found, torch.optim.Optimizer):
        said = f"expected a torch.optim.Optimizer, got {type(optimizer).__module__}.{type(optimizer).__qualname__}"
        if type(optimizer).__module__.startswith("fastai"):
            said += "; give the Learner opt_func=partial(OptimWrapper, opt=torch.optim.AdamW)"
        raise Error(f"optimizer: {said}")
    return found


def _kind(optimizer: torch.optim.Optimizer) -> str:
    """The optimizer's class as the core calls it; one that the core lacks with its module."""
    kind = type(optimizer)
    own = OPTIMIZERS.get(kind.__name__)
    return kind.__name__ if own and own.torch_class is kind else f"{kind.__module__}.{kind.__qualname__}"
