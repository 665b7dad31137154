"""A map of the loss over two parameters, and how often a path came through each of its cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdsheet.expr import Call, compare
from sgdsheet.tensor import Array, span

FAR = 1e300  # where a run that diverged beyond all numbers is on its path


def axis(low: Any, high: Any, cells: int) -> tuple[Array, Any]:
    """The centres of a map's cells along one axis, from `low` to `high`, and half a cell's width, as formulas."""
    return low + (high - low) * (np.arange(cells).astype(object) / (cells - 1)), (high - low) / (2 * (cells - 1))


def reference_axis(low: float, high: float, cells: int) -> tuple[Any, float]:
    """The same as a tensor and a number."""
    import torch

    return low + (high - low) * (torch.arange(cells) / (cells - 1)), (high - low) / (2 * (cells - 1))


def visits(across: tuple[Array, Array, Any], down: tuple[Array, Array, Any]) -> list[list[Call]]:
    """How many steps of a path lie within each cell of a map: a row for each centre down, a column for each across.

    Each axis is the path along it, the centres of the cells, and half a cell's width.
    """
    return [[_inside((across[0], x, across[2]), (down[0], y, down[2])) for x in across[1]] for y in down[1]]


def _inside(*axes: tuple[Array, Any, Any]) -> Call:
    product = None
    for way, centre, half in axes:
        inside = compare(">=", span(way), centre - half) * compare("<", span(way), centre + half)
        product = inside if product is None else product * inside
    return Call("SUMPRODUCT", product)


def reference_visits(across: tuple[Any, Any, Any], down: tuple[Any, Any, Any]) -> Any:
    """The same from torch's tensors."""
    inside = []
    for way, centres, half in (across, down):
        place = way.unsqueeze(-1)
        inside.append(((place >= centres - half) & (place < centres + half)).double())
    return inside[1].T @ inside[0]
