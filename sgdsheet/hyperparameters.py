"""The optimisers' hyperparameters as cells: what they are called there, what they mean, and what makes sense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# torch's tuples are cells of their own on a sheet.
TUPLES: dict[str, tuple[str, ...]] = {
    "betas": ("beta1", "beta2", "beta3"),
    "etas": ("etaminus", "etaplus"),
    "step_sizes": ("step_size_min", "step_size_max"),
    "thresholds": ("threshold_low", "threshold_high"),
}
# Names, and the ranges that torch itself takes.
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lr": ("learning rate", {"minimum": 0}),
    "momentum": ("how much of the last step is kept", {"minimum": 0}),
    "dampening": ("how much less of the new gradient enters the buffer", {}),
    "weight_decay": ("pulls the parameters towards 0", {"minimum": 0}),
    "lr_decay": ("makes the learning rate smaller with each step", {"minimum": 0}),
    "initial_accumulator_value": ("where the sum of squares begins", {"minimum": 0}),
    "eps": ("keeps from dividing by 0", {"minimum": 0}),
    "rho": ("how much of the running mean is kept", {"minimum": 0, "maximum": 1}),
    "alpha": ("how much of the running mean is kept", {"minimum": 0}),
    "beta1": ("how much of the mean gradient is kept", {"minimum": 0, "below": 1}),
    "beta2": ("how much of the mean square is kept", {"minimum": 0, "below": 1}),
    "beta3": ("how much of the mean change of the loss is kept", {"minimum": 0, "below": 1}),
    "momentum_decay": ("how slowly the momentum grows", {"minimum": 0}),
    "lambd": ("how fast the step size shrinks", {"minimum": 0}),
    "t0": ("the step at which averaging begins", {"minimum": 0}),
    "etaminus": ("shrinks the step when the sign turns", {"above": 0, "below": 1}),
    "etaplus": ("grows the step while the sign stays", {"above": 1}),
    "step_size_min": ("the smallest step", {"above": 0}),
    "step_size_max": ("the largest step", {"above": 0}),
    "threshold_low": ("the least by which the followed loss changes (k)", {"above": 0}),
    "threshold_high": ("the most by which the followed loss changes (K)", {"above": 0}),
}


def parts(name: str, default: Any) -> Iterator[tuple[str, float]]:
    """A hyperparameter's cells and their values: one, or one for each element of a tuple."""
    if isinstance(default, tuple):
        yield from zip(TUPLES[name], default, strict=False)  # betas are two or three
    else:
        yield name, default


def arguments(cells: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters as torch's arguments: the parts of a tuple together again."""
    together = {name: value for name, value in cells.items() if not any(name in each for each in TUPLES.values())}
    for name, names in TUPLES.items():
        if names[0] in cells:
            together[name] = tuple(cells[part] for part in names if part in cells)
    return together
