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


def visits(
    across: tuple[Array, Array, Any], down: tuple[Array, Array, Any], *, edges: bool = False
) -> list[list[Call]]:
    """How many steps of a path lie within each cell of a map: a row for each centre down, a column for each across.

    Each axis is the path along it, the centres of the cells, and half a cell's width. With `edges` a step on the edge
    between two cells lies within both, else within the higher one.
    """

    def within(way: Array, centre: Any, half: Any) -> Any:
        return compare(">=", span(way), centre - half) * compare("<=" if edges else "<", span(way), centre + half)

    (x_way, x, x_half), (y_way, y, y_half) = across, down
    return [[Call("SUMPRODUCT", within(x_way, a, x_half) * within(y_way, b, y_half)) for a in x] for b in y]


def reference_visits(across: tuple[Any, Any, Any], down: tuple[Any, Any, Any], *, edges: bool = False) -> Any:
    """The same from torch's tensors."""
    inside = []
    for way, centres, half in (across, down):
        place, end = way.unsqueeze(-1), centres + half
        inside.append(((place >= centres - half) & ((place <= end) if edges else (place < end))).double())
    return inside[1].T @ inside[0]
