"""The loss over two parameters: maps and where a path came through, and the valley with its lines of equal loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import Book, Series, Sheet
from sgdsheet.book.style import MORE
from sgdsheet.expr import Call, compare
from sgdsheet.lessons.flow import Named, check, columns, counter, loss, parameter, steps, values
from sgdsheet.tensor import Array, abs, cos, finite_or, maximum, mean, span, sqrt

FAR = 1e300  # where a run that diverged beyond all numbers is on its path
LEVELS = (1.0, 1 / 4, 1 / 16)  # the lines of equal loss: so much of the start's height above the bottom
ANGLES = 10 * np.arange(37)  # of the points of such a line, in degrees
AROUND = 1.6  # the picture of a valley reaches so many times as far as its outermost line
FLAT = 1e-12  # points that have all the same x have no one best line: their variance counts as so much


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


def closed_maps(sheet: Sheet, top: int, left: int, maps: Mapping[str, tuple[Any, str]]) -> list[Array]:
    """Marks for maps, blocks whose first row is at `top`, in closed columns from `left` on. Returns their references.

    `maps` has by name what each block holds, of shape (rows, columns), and its words.
    """
    placed, column = [], left
    for name, (marks, words) in maps.items():
        placed.append(sheet.headed(name, marks, "check", top - 2, column, words=words, number_format="0;-0;"))
        column += np.shape(marks)[1] + 1
    sheet.width(left, 4, column - 1)
    sheet.fold(left, column - 1)
    sheet.width(column, 12)
    sheet.write(top - 2, column, f"+ {len(placed)} more maps", MORE)
    sheet.write(top - 1, column, "click the +", MORE)
    return placed


def valley(book: Book, x: Any, y: Any, intercept: Any, slope: Any) -> Named:
    """The sheet `valley`: the line with the smallest loss, and around it lines of equal loss, as on a map of hills.

    The loss of a line is its mean squared error at the points `x`, `y`; the outermost line of equal loss goes through
    the start, `intercept` and `slope`. Returns `best_intercept`, `best_slope`, `reach_intercept` and `reach_slope`
    (how far the picture goes to each side of it), `series`, the lines for a chart, and `head`, the row in which their
    table begins.
    """
    sheet = book.sheet(
        "valley",
        "The valley of the loss",
        "The line with the smallest loss, and parameters around it that share a loss, for the maps of the paths.",
        details=True,
    )
    v = values(
        sheet,
        mean_x=check(mean(x), "the mean of x", absolute=True),
        var_x=check(
            lambda t: maximum(mean((x - t.mean_x) ** 2), FLAT), "the variance of x, at least 1E-12", absolute=True
        ),
        best_slope=parameter(lambda t: mean((x - t.mean_x) * y) / t.var_x, "the slope of the best line", absolute=True),
        best_intercept=parameter(
            lambda t: mean(y) - t.best_slope * t.mean_x, "the intercept of the best line", absolute=True
        ),
        best_loss=loss(lambda t: mean((t.best_slope * x + t.best_intercept - y) ** 2), "its mean loss"),
        start_loss=loss(mean((slope * x + intercept - y) ** 2), "the mean loss at the start"),
        radius=check(
            lambda t: sqrt(maximum(t.start_loss - t.best_loss, 0)),
            "the root of the start's height above the bottom",
            absolute=True,
        ),
        reach_intercept=check(
            lambda t: AROUND * t.radius * sqrt(1 + t.mean_x**2 / t.var_x),
            "how far the pictures go to each side",
            absolute=True,
        ),
        reach_slope=check(lambda t: AROUND * t.radius / sqrt(t.var_x), "the same for the slope", absolute=True),
    )
    t = steps(
        sheet,
        len(ANGLES),
        freeze=None,
        angle=counter(ANGLES, "once around, in degrees"),
        cosine=check(lambda t: cos(t.angle * Call("PI") / 180), "of the angle"),
        sine=check(lambda t: cos((t.angle - 90) * Call("PI") / 180), "of the angle"),
    )
    sheet.width(1, 16)
    v.head, v.series = t.head, []
    for n, level in enumerate(LEVELS, start=1):
        size = level**0.5 * v.radius
        ring = columns(
            t.table,
            f"level_{n}_",
            intercept=parameter(
                v.best_intercept + size * (t.cosine - v.mean_x * t.sine / sqrt(v.var_x)), "around best_intercept"
            ),
            slope=parameter(v.best_slope + size * t.sine / sqrt(v.var_x), "around best_slope"),
        )
        v.series.append(Series("equal loss" if n == 1 else "", ring.intercept, ring.slope, color="BFBFBF"))
    return v


def inside(land: Named, intercept: Any, slope: Any) -> dict[str, Array]:
    """A path, as columns `intercept` and `slope`, as the picture of a valley shows it.

    What leaves the picture stays at its edge, in the direction in which it is seen from the bottom; numbers too large
    for a cell stay in its upper right corner.
    """
    beyond = maximum(
        maximum(abs(intercept - land.best_intercept) / land.reach_intercept, 1),
        abs(slope - land.best_slope) / land.reach_slope,
    )
    return {
        part: finite_or(
            land[f"best_{part}"] + (way - land[f"best_{part}"]) / beyond, land[f"best_{part}"] + land[f"reach_{part}"]
        )
        for part, way in (("intercept", intercept), ("slope", slope))
    }


def reference_inside(land: Mapping[str, Any], intercept: Any, slope: Any) -> dict[str, Any]:
    """The same from torch's tensors."""
    import torch

    way = torch.stack([intercept, slope], 1)
    best, reach = (torch.stack([land[f"{what}_intercept"], land[f"{what}_slope"]]) for what in ("best", "reach"))
    beyond = ((way - best).abs() / reach).amax(1, keepdim=True).clamp(min=1)
    seen = best + (way - best) / beyond
    seen = torch.where((way.isfinite() & seen.isfinite()).all(1, keepdim=True), seen, best + reach)
    return {"intercept": seen[:, 0], "slope": seen[:, 1]}


def reference_valley(x: Any, y: Any, intercept: float, slope: float) -> dict[str, Any]:
    """The blocks of the sheet `valley`: the best line by least squares, the rest by the Hessian."""
    import torch
    from torch.nn.functional import mse_loss

    design = torch.stack([torch.ones_like(x), x], 1)
    best = torch.linalg.lstsq(design, y.unsqueeze(1)).solution.squeeze(1)
    best = best.where(x.var().isfinite(), torch.nan)  # as in a cell, where the squares of such points are too large
    low, high = (mse_loss(design @ at, y) for at in (best, torch.tensor([intercept, slope])))
    radius = (high - low).clamp(min=0).sqrt()
    hessian: Any = torch.autograd.functional.hessian(lambda p: mse_loss(design @ p, y), torch.zeros(2))
    angle = torch.deg2rad(torch.tensor(ANGLES, dtype=torch.float64))
    circle = torch.stack([angle.cos(), angle.sin()])
    factor, failed = torch.linalg.cholesky_ex(hessian / 2)
    factor = factor.where(failed == 0, torch.nan)  # of squares that are too large; some processors' BLAS has nan too
    ellipse = torch.linalg.solve_triangular(factor.T, circle, upper=True)
    blocks = {
        "mean_x": x.mean(),
        "var_x": x.var(correction=0).clamp(min=FLAT),
        "best_intercept": best[0],
        "best_slope": best[1],
        "best_loss": low,
        "start_loss": high,
        "radius": radius,
        "angle": torch.tensor(ANGLES),
        "cosine": circle[0],
        "sine": circle[1],
    }
    reaches = AROUND * radius * torch.linalg.inv(hessian / 2).diagonal().sqrt()
    blocks |= {"reach_intercept": reaches[0], "reach_slope": reaches[1]}
    for n, level in enumerate(LEVELS, start=1):
        around = best.unsqueeze(1) + level**0.5 * radius * ellipse
        blocks |= {f"level_{n}_intercept": around[0], f"level_{n}_slope": around[1]}
    return blocks
