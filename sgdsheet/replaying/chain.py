"""The recurrences of a weight: chained from its start, and one step from what the trainer had; cells or numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.hyperparameters import arguments
from sgdsheet.optim import Optimizer
from sgdsheet.replaying import rounding
from sgdsheet.tensor import maximum, previous, where

# What the recurrence makes of the step's number and the hyperparameters alone: one step from there has the same.
OF_THE_STEP = ("bias_correction1", "bias_correction2", "rho_inf", "rho_t", "rect", "mu", "mu_next", "clr")


def given(optimizer: Optimizer, flags: Mapping[str, bool], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The recurrence's arguments of hyperparameters by the names of their cells."""
    known = optimizer.defaults().keys() - {"initial_accumulator_value"}
    return {name: value for name, value in arguments(dict(hyperparameters)).items() if name in known} | dict(flags)


def placed(optimizer: Optimizer, flags: Mapping[str, bool], hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """What the recurrence places, in its order, with its words."""
    found: dict[str, str] = {}

    def place(name: str, array: Any, words: str) -> Any:
        found[name] = words
        return array

    numbers = {name: np.array(0.5) if rounding.given(value) else value for name, value in hyperparameters.items()}
    said = given(optimizer, flags, numbers)
    state = dict.fromkeys(optimizer.init(**said), 1.0)
    with np.errstate(all="ignore"):
        optimizer.step(
            place, 1.0, np.array(1.0), state, step=2.0, **said, **{"loss": 1.0} if optimizer.takes_loss else {}
        )
    return found


def before(after: Any, starts: list[int], values: Any) -> Any:
    """What stands before each step: what stood after the one before, but at the rows where a chain begins."""
    found = previous(after, values[0]).astype(object)
    for row, value in zip(starts, values, strict=True):
        found[row] = value
    return found


def step(
    optimizer: Optimizer,
    arguments: Mapping[str, Any],
    place: Callable[[str, Any, str], Any],
    param: Any,
    state: Mapping[str, Any],
    t: Any,
    taken: Any,
) -> None:
    """All steps at once. `t` has `count`, `grad` and perhaps `loss`; where `taken` is 0 weight and states stay."""

    def kept(name: str, array: Any, words: str) -> Any:
        old = param if name == "new_param" else state.get(name)
        if taken is not None and old is not None:
            array = where(tensor.equal(taken, 0), old, array)
        return place(name, array, words)

    count = t.count if taken is None else maximum(t.count, 1)
    loss = {"loss": t.loss} if optimizer.takes_loss else {}
    with np.errstate(all="ignore"):
        optimizer.step(kept, param, t.grad, state, step=count, **arguments, **loss)
