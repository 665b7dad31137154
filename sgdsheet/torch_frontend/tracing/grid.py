"""Pictures looked at through a grid, as spatial transformers do: `grid_sample`, bilinear.

What lies between pixels is their mean, weighted by a tent along the rows and one along the columns: 1 - |distance|,
and 0 beyond one pixel. Sums over whole rows and columns need no number of a pixel, which would depend on the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions

aten = torch.ops.aten

BILINEAR, ZEROS, BORDER = 0, 0, 1  # torch's numbers for the mode, and for what lies outside


def table() -> dict[Any, Callable[..., Any]]:
    """Returns each operation with the function that does it in terms of others."""
    whole = get_decompositions([aten.grid_sampler_2d])[aten.grid_sampler_2d.default]

    def forward(x: Any, grid: Any, mode: int = BILINEAR, outside: int = ZEROS, align_corners: bool = False) -> Any:
        known = mode == BILINEAR and outside in (ZEROS, BORDER)
        return (_sample if known else whole)(x, grid, mode, outside, align_corners)

    return {aten.grid_sampler_2d.default: forward, aten.grid_sampler_2d_backward.default: _backward}


def _sample(x: Any, grid: Any, mode: int, outside: int, align_corners: bool) -> Any:
    """Shapes: x (n, channels, rows, columns), grid (n, i, j, 2); returns (n, channels, i, j)."""
    n, channels, rows, columns = x.shape
    down, across, _ = _places(grid, rows, columns, outside, align_corners)
    seen = _along_rows(_tent(down, rows), x)
    found = (seen * _tent(across, columns).unsqueeze(2)).sum(3)
    return found.transpose(1, 2).reshape(n, channels, *grid.shape[1:3])


def _backward(grad: Any, x: Any, grid: Any, mode: int, outside: int, align_corners: bool, wanted: Any) -> Any:
    """The gradients of the picture and of the grid."""
    if mode != BILINEAR or outside not in (ZEROS, BORDER):
        return NotImplemented
    n, channels, rows, columns = x.shape
    down, across, moves = _places(grid, rows, columns, outside, align_corners)
    grad = grad.reshape(n, channels, -1).transpose(1, 2).unsqueeze(3)  # (n, i * j, channels, 1)
    of_rows, of_columns = _tent(down, rows), _tent(across, columns).unsqueeze(2)
    grad_x = grad_grid = None
    if wanted[0]:
        spread = (grad * of_columns).reshape(n, -1, channels * columns)
        grad_x = torch.bmm(of_rows.transpose(1, 2), spread).reshape(n, rows, channels, columns).transpose(1, 2)
    if wanted[1]:
        along = (_along_rows(of_rows, x) * _slope(across, columns).unsqueeze(2) * grad).sum((2, 3))
        ahead = (_along_rows(_slope(down, rows), x) * of_columns * grad).sum((2, 3))
        grad_grid = (torch.stack([along, ahead], 2) * moves).reshape(grid.shape)
    return grad_x, grad_grid


def _places(grid: Any, rows: int, columns: int, outside: int, align_corners: bool) -> tuple[Any, Any, Any]:
    """Where in the picture each point of the grid lies, down and across, counted in pixels: shapes (n, i * j).

    Also how far they move for a move of the grid, shape (n, i * j, 2): a point at the border is held there.
    """
    flat = grid.reshape(grid.shape[0], -1, 2)
    found, moves = [], []
    for number, size in ((0, columns), (1, rows)):
        place, move = flat.select(2, number), (size - 1 if align_corners else size) / 2
        place = (place + 1) * move - (0.0 if align_corners else 0.5)
        moves.append(torch.full_like(place, move))
        if outside == BORDER:
            moves[-1] = torch.where((place > 0) & (place < size - 1), move, 0.0)
            place = place.clamp(0, size - 1)
        found.append(place)
    return found[1], found[0], torch.stack(moves, 2)


def _distances(places: Any, size: int) -> Any:
    """From each row or column to each place: shapes (n, points) and (n, points, size)."""
    return places.unsqueeze(2) - torch.arange(size, dtype=places.dtype)


def _tent(places: Any, size: int) -> Any:
    return (1 - _distances(places, size).abs()).clamp(min=0)


def _slope(places: Any, size: int) -> Any:
    """The tent's slope; at a pixel, that of the next ones."""
    away = _distances(places, size)
    return torch.where((away >= 0) & (away < 1), -1.0, torch.where((away >= -1) & (away < 0), 1.0, 0.0))


def _along_rows(weights: Any, x: Any) -> Any:
    """Each column's sum with these weights of its rows: (n, points, rows) gives (n, points, channels, columns)."""
    n, channels, rows, columns = x.shape
    lines = x.transpose(1, 2).reshape(n, rows, channels * columns)
    return torch.bmm(weights, lines).reshape(n, -1, channels, columns)
