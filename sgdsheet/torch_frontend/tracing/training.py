"""What a torch optimiser holds: groups of parameters, hyperparameters at each step, and state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sgdsheet.errors import Error
from sgdsheet.eve import Eve
from sgdsheet.hyperparameters import parts
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.torch_frontend.program.program import Group

# The hyperparameters of each group, by torch's names.
Settings = Sequence[Mapping[str, Any]]

_WHY = {
    "LBFGS": "computes the loss many times a step",
    "SparseAdam": "takes sparse gradients; Adam takes the same ones as plain tensors",
    "Adafactor": "keeps a row and a column for each matrix",
    "Muon": "turns each matrix as a whole",
}


@dataclass(frozen=True)
class Training:
    """An optimiser as a program holds it, and its state by block; `begun` as in `Program`."""

    optimizer: str | None = None
    groups: tuple[Group, ...] = ()
    begun: int = 0
    state: Mapping[str, np.ndarray] = field(default_factory=dict)


def training(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Sequence[Settings],
    moving: set[str],
    with_state: bool = False,
) -> Training:
    """The optimiser of `model`, whose parameters `moving` have a gradient, with its settings at each step.

    Its state comes along if it has made steps, or `with_state`.

    Raises `Error` for one that is not element-wise, not over this model's parameters, or moves none of them.
    """
    name = kind(optimizer)
    paths = {id(param): path for path, param in model.named_parameters()}
    given = [param for group in optimizer.param_groups for param in group["params"]]
    if any(id(param) not in paths for param in given):
        raise Error("the optimizer has parameters that are not the model's; make it from model.parameters()")
    groups = []
    for number, group in enumerate(optimizer.param_groups):
        fixed, cells = _hyperparameters(name, [each[number] for each in settings])
        groups.append(Group(tuple(paths[id(param)] for param in group["params"] if param.requires_grad), fixed, cells))
    learned = {path for group in groups for path in group.params}
    if not learned & moving:
        raise Error("the loss has no gradient for any parameter of the optimizer: nothing would change")
    states = {paths[id(param)]: state for param, state in optimizer.state.items() if id(param) in paths}
    begun = _begun(name, {path: states.get(path, {}) for path in learned & moving})
    shapes = {path: tuple(param.shape) for path, param in model.named_parameters()}
    return Training(name, tuple(groups), begun, _state(name, groups, states, shapes) if begun or with_state else {})


def kind(optimizer: Any) -> str:
    """The optimiser's name in `sgdsheet.optim`."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise Error(f"optimizer: expected a torch.optim optimiser, got {type(optimizer).__name__}")
    name = type(optimizer).__name__
    known = name in OPTIMIZERS and type(optimizer) is (Eve if name == "Eve" else getattr(torch.optim, name))
    if not known:
        why = f"it {_WHY[name]}" if name in _WHY else "it is none of torch's element-wise ones"
        raise Error(f"the optimiser {name} cannot be put on a sheet: {why}; there is {', '.join(OPTIMIZERS)}")
    decoupled = {bool(group.get("decoupled_weight_decay")) for group in optimizer.param_groups}
    if name == "Adam" and True in decoupled:  # which is what AdamW is
        if False in decoupled and any(group["weight_decay"] for group in optimizer.param_groups):
            raise Error("the optimiser Adam has groups with and without decoupled_weight_decay; choose one for all")
        return "AdamW"
    return name


def schedulers(given: Any, optimizer: torch.optim.Optimizer | None) -> list[Any]:
    """The schedulers that are stepped after each step: none, one, or several in order.

    Raises `Error` for what is no scheduler, and for one of another optimiser.
    """
    found = [] if given is None else [*given] if isinstance(given, (list, tuple)) else [given]
    if found and optimizer is None:
        raise Error("a scheduler needs its optimizer, as in compile(..., optimizer=scheduler.optimizer)")
    for each in found:
        if not hasattr(each, "optimizer") or not callable(getattr(each, "step", None)):
            raise Error(f"scheduler: expected a torch.optim.lr_scheduler, got {type(each).__name__}")
        if each.optimizer is not optimizer:
            raise Error("the scheduler belongs to another optimizer; make it with the one that compile is given")
    return found


def settings(optimizer: torch.optim.Optimizer) -> Settings:
    """The hyperparameters of each group as they are now."""
    # Adagrad begins with one value for all groups, whatever they say.
    same = {name: value for name, value in optimizer.defaults.items() if name == "initial_accumulator_value"}
    return [
        {name: _plain(value) for name, value in (group | same).items() if name != "params"}
        for group in optimizer.param_groups
    ]


def _plain(value: Any) -> Any:
    """A hyperparameter as a number, or a tuple of numbers."""
    if isinstance(value, (torch.Tensor, np.generic, np.ndarray)) and value.ndim == 0:
        return value.item()
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value


def _hyperparameters(name: str, steps: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of one group that decide which formulas there are, and those that have cells, from its settings."""
    fixed: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for key in OPTIMIZERS[name].defaults():
        for part, first in parts(key, steps[0][key]):
            over = [dict(parts(key, each[key]))[part] for each in steps]
            if not all(isinstance(each, (bool, int, float)) and math.isfinite(each) for each in over):
                raise Error(f"the optimizer's {key}: expected a finite number, got {steps[0][key]!r}")
            if isinstance(first, bool) or (key != "lr" and not any(over)):
                fixed[part] = first
            else:
                cells[part] = over if len(set(over)) > 1 else first
    return fixed, cells


def _begun(name: str, states: Mapping[str, Mapping[str, Any]]) -> int:
    """How many steps have been made, which must be as many for all parameters that move."""
    if name == "SGD":  # which does not count; its momentum begins with the first step
        counts = {int(state.get("momentum_buffer") is not None) for state in states.values()}
    else:
        counts = {int(state.get("step", 0)) for state in states.values()}
    if len(counts) > 1:
        raise Error(
            f"the optimizer has made {min(counts)} steps with some parameters and {max(counts)} with others, and a "
            "sheet counts them once; make a new optimizer"
        )
    return counts.pop()


def _state(
    name: str, groups: Sequence[Group], states: Mapping[str, Mapping[str, Any]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Each parameter's state by block; where it has none yet, what it begins with."""
    found = {}
    for group in groups:
        first = {part: value[0] if isinstance(value, list) else value for part, value in group.cells.items()}
        for path in group.params:
            for state, start in group.begins(name, first).items():
                shape = () if state in OPTIMIZERS[name].scalars else shapes[path]
                held = states.get(path, {}).get(state)
                value = np.full(shape, float(start)) if held is None else np.array(_double(held))
                found[f"0/state/{path}/{state}"] = value.reshape(shape)
    return found


def _double(value: Any) -> Any:
    return value.detach().double().cpu().numpy() if isinstance(value, torch.Tensor) else float(value)
