"""Elements in order: sorted, the k largest, the median, running maxima.

The k-th smallest is a worksheet function. Its place is the element whose rank is k: how many are smaller, and how many
of those that are equal stand before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.expr import Call
from sgdsheet.tensor import Array, is_number, plain


def sort(x: Array, dim: int = -1, descending: bool = False) -> list[Array]:
    """The elements in order along `dim`, and the places that they come from; equal ones keep their order."""
    if not x.ndim:
        return [x, np.array(0, dtype=object)]
    lines = np.moveaxis(x, dim, -1)
    values, places = (np.empty(lines.shape, dtype=object) for _ in range(2))
    for position in np.ndindex(lines.shape[:-1]):
        values[position], places[position] = _sorted(lines[position], descending)
    return [np.moveaxis(values, -1, dim), np.moveaxis(places, -1, dim)]


def _sorted(line: Array, descending: bool) -> tuple[list[Any], list[Any]]:
    if all(is_number(each) for each in line):
        numbers = np.array([float(plain(each)) for each in line])
        order = np.argsort(-numbers if descending else numbers, kind="stable").tolist()
        return [numbers[place] for place in order], order
    count = len(line)
    if count == 1:
        return [line[0]], [0]
    ranks = [_rank(line, place, descending) for place in range(count)]
    name = "LARGE" if descending else "SMALL"
    try:
        among: Any = tensor.span(line)
        values = [Call(name, among, k + 1) for k in range(count)]
    except ValueError:
        values = [_chosen(ranks, k, line) for k in range(count)]
    return values, [_chosen(ranks, k, np.arange(count)) for k in range(count)]


def _rank(line: Array, place: int, descending: bool) -> Any:
    """How many elements come before this one."""
    sign = ">" if descending else "<"
    terms = [
        expr.compare(sign if other > place else sign + "=", line[other], line[place])
        for other in range(len(line))
        if other != place
    ]
    return tensor.sum(np.array([None, *(expr.choose(term, 1, 0) for term in terms)], dtype=object)[1:])


def _chosen(ranks: list[Any], k: int, values: Any) -> Any:
    found: Any = values[len(ranks) - 1]
    found = int(found) if isinstance(found, np.integer) else found
    for rank, value in zip(ranks[-2::-1], values[-2::-1], strict=True):
        value = int(value) if isinstance(value, np.integer) else value
        found = expr.choose(expr.compare("=", rank, k), value, found)
    return found


def topk(x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> list[Array]:  # noqa: A002, torch's own name
    """The k largest (or smallest) along `dim`, in order, and their places."""
    if not x.ndim:
        return [x, np.array(0, dtype=object)]
    return [each.take(range(k), axis=dim) for each in sort(x, dim, descending=largest)]


def kthvalue(x: Array, k: int, dim: int = -1, keepdim: bool = False) -> list[Array]:
    """The k-th smallest along `dim`, and its place."""
    if not x.ndim:
        return [x, np.array(0, dtype=object)]
    found = [each.take([k - 1], axis=dim) for each in sort(x, dim)]
    return found if keepdim else [each.squeeze(dim) for each in found]


def median(x: Array, dim: int = -1, keepdim: bool = False) -> list[Array]:
    """The one in the middle along `dim`, the lower of two, and its place."""
    return kthvalue(x, (x.shape[dim] + 1) // 2 if x.ndim else 1, dim, keepdim)


def _median_of_all(x: Array) -> Array:
    return kthvalue(x.reshape(-1), (x.size + 1) // 2)[0]


def _running(largest: bool) -> Callable[..., list[Array]]:
    """The largest (or smallest) so far along `dim`, and the last place that it stood at."""

    def function(x: Array, dim: int) -> list[Array]:
        if not x.ndim:
            return [x, np.array(0, dtype=object)]
        lines = np.moveaxis(x, dim, -1)
        values, places = (np.empty(lines.shape, dtype=object) for _ in range(2))
        for position in np.ndindex(lines.shape[:-1]):
            line = lines[position]
            for last in range(len(line)):
                top = (tensor.largest if largest else tensor.smallest)(line[: last + 1])
                place: Any = 0
                for number in range(1, last + 1):
                    place = expr.choose(expr.compare("=", line[number], top), number, place)
                values[(*position, last)], places[(*position, last)] = top, place
        return [np.moveaxis(values, -1, dim), np.moveaxis(places, -1, dim)]

    return function


FORMULAS: dict[str, Callable[..., Any]] = {
    "sort.default": sort,
    "sort.stable": lambda x, stable=None, dim=-1, descending=False: sort(x, dim, descending),
    "topk.default": topk,
    "kthvalue.default": kthvalue,
    "median.dim": median,
    "median.default": _median_of_all,
    "nanmedian.dim": median,
    "nanmedian.default": _median_of_all,
    "cummax.default": _running(largest=True),
    "cummin.default": _running(largest=False),
}
