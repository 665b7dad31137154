"""Other inputs and data than those that stand in a workbook: what is right for those by accident shows with these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from sgdsheet.book import Input

TRIES = 30
NEAR = 0.2  # a reach below which data of a single whole number stays as it is


def drawn(
    inputs: Mapping[str, Any],
    specs: Mapping[str, Input],
    whole: Collection[str] | None,
    generator: np.random.Generator,
    reach: float,
) -> dict[str, Any]:
    """Inputs and data like the given ones, each somewhat away from its value but within its limits.

    Whole numbers stay whole, choices change, and what is fixed stays. In a block of data, numbers that are all positive
    or all from 0 to 1 stay so. Labels and other whole numbers are drawn anew among themselves; so is what stands in a
    column of texts and numbers.

    Arguments:
      inputs: a float, a text or an array by block name.
      specs: the single cells among them.
      whole: the blocks that hold labels, indices and the like; those of whole numbers if None.
      generator: where the numbers come from.
      reach: how far a number goes, as a share of its size.
    """
    return {
        name: _input(specs[name], value, generator, reach)
        if name in specs
        else _mixed(value, generator)
        if _is_mixed(value)
        else _block(np.asarray(value, dtype=float), None if whole is None else name in whole, generator, reach)
        for name, value in inputs.items()
    }


def farther(inputs: Mapping[str, Any], specs: Mapping[str, Input], generator: np.random.Generator) -> dict[str, Any]:
    """The same but for one input, a positive number, that is up to ten thousand times as large: an
    epsilon, or the step of a difference, whose own size hides what is made of it."""
    names = [n for n, spec in specs.items() if not (spec.fixed or spec.whole or spec.choices) and inputs[n] > 0]
    if not names:
        return dict(inputs)
    name = str(generator.choice(names))
    new = float(inputs[name] * 10 ** generator.uniform(-1, 4))
    return {**inputs, name: new if specs[name].fits(new) else inputs[name]}


def _input(spec: Input, value: float | str, generator: np.random.Generator, reach: float) -> float | str:
    if spec.fixed:
        return value
    if isinstance(value, str):
        return str(generator.choice(spec.choices))
    low = spec.above if spec.minimum is None else spec.minimum
    high = spec.below if spec.maximum is None else spec.maximum
    size = abs(value) or (1.0 if low is None or high is None else min(1.0, (high - low) / 2))
    for _ in range(TRIES):
        new = value + reach * size * generator.uniform(-1, 1)
        if spec.whole:
            new = float(value + generator.integers(-1, 2) * max(1, round(reach * size * generator.uniform())))
        if spec.fits(new):
            return new
    return value


def _block(values: np.ndarray, whole: bool | None, generator: np.random.Generator, reach: float) -> np.ndarray:
    kinds = np.unique(values)
    if whole is None:
        whole = bool((kinds == np.trunc(kinds)).all())
        if whole and len(kinds) == 1 and reach > NEAR:  # a bias of 0; where it is a label, torch may refuse others
            kinds = kinds + np.arange(3)
    if whole:
        return generator.choice(kinds, values.shape)
    largest = float(np.abs(kinds).max()) or 1.0
    size = largest * float(np.std(values / largest)) or largest  # whose squares do not overflow
    new = values + reach * size * generator.standard_normal(values.shape)
    new = np.where(np.isfinite(new), new, values)
    if (kinds >= 0).all() and kinds.any():
        new = np.abs(new)
        if (kinds <= 1).all():
            new = np.abs((new + 1) % 2 - 1)  # as if reflected at 1
    return new


def _is_mixed(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "O"


def _mixed(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What stands in each column of texts, numbers and blank cells, drawn anew from the same column."""
    drawn = np.array(values.reshape(len(values), -1))
    for column in drawn.T:
        column[:] = column[generator.integers(len(column), size=len(column))]
    return drawn.reshape(values.shape)


def nudged(
    inputs: Mapping[str, Any],
    specs: Mapping[str, Input],
    generator: np.random.Generator,
    by: float = 1e-15,
    whole: Collection[str] | None = None,
) -> dict[str, Any]:
    """The inputs with each number changed in its last digits, up or down, but for whole ones.

    Those are the numbers in the blocks that `whole` names, or if it is None, all that happen to be whole now.
    """

    def near(value: Any) -> Any:
        plain = not isinstance(value, float) or (whole is None and value.is_integer())
        return value if plain else value * (1 + by * generator.choice((-1.0, 1.0)))

    found = {}
    for name, value in inputs.items():
        fixed = isinstance(value, str) or (
            specs[name].fixed or specs[name].whole if name in specs else name in (whole or ())
        )
        if _is_mixed(value):
            value = np.frompyfunc(near, 1, 1)(value)
        elif not fixed:
            array = np.asarray(value, dtype=float)
            moved = array * (1 + by * generator.choice((-1.0, 1.0), array.shape))
            if whole is None or name in specs:
                moved = np.where(array == np.trunc(array), array, moved)
            value = float(moved) if name in specs else moved
        found[name] = value
    return found
