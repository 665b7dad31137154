"""The largest or the mean of each window, and where their gradients go back to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.expr import Call, Expr
from sgdsheet.tensor import Array

SMALL = 16  # elements of a window that are asked one by one which is the largest

Window = tuple[tuple[int, ...], tuple[Array, ...]]


def max_pool(
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> list[Array]:
    """The largest of each window, and its place: the number, row by row, of the first element that is so large."""
    dims = len(kernel)
    size = x.shape[x.ndim - dims :]
    return _largest_of(x, size, list(_windows(size, kernel, stride, padding, dilation, ceil_mode)))


def _largest_of(x: Array, size: Sequence[int], windows: Sequence[Window]) -> list[Array]:
    dims = len(size)
    shape = tuple(1 + max(place[axis] for place, _ in windows) for axis in range(dims))
    largest, where = (np.empty((*x.shape[: x.ndim - dims], *shape), dtype=object) for _ in range(2))
    numbers = np.arange(int(np.prod(size))).reshape(size)
    for lead in np.ndindex(x.shape[: x.ndim - dims]):
        for place, axes in windows:
            window, names = x[lead][np.ix_(*axes)], numbers[np.ix_(*axes)].reshape(-1, len(axes[-1]))
            top = _largest(window)
            largest[(*lead, *place)] = top
            where[(*lead, *place)] = _first_at(window.reshape(-1, window.shape[-1]), names, top)
    return [largest, where]


def _largest(window: Array) -> Any:
    """The largest element of a window of one to three dimensions."""
    return Call("MAX", *map(_largest, window)) if window.ndim == 3 else tensor.largest(window)


def _first_at(window: Array, names: Array, top: Any) -> Any:
    """The name of the first element that is `top`. Shapes: `window` and `names` (rows, columns).

    A small window is asked element by element. A larger one row by row, in halves: IFs stand inside each other only 64
    deep.
    """
    rows, columns = window.shape
    if window.size <= SMALL or columns == 1 == rows:
        found: Any = int(names.flat[-1])
        for element, name in zip(window.reshape(-1)[-2::-1], names.reshape(-1)[-2::-1].tolist(), strict=True):
            found = expr.choose(expr.compare("=", element, top), name, found)
        return found
    if rows == 1 and names[0, -1] - names[0, 0] == columns - 1:
        try:
            return Call("MATCH", top, tensor.span(window), 0) + (int(names[0, 0]) - 1)
        except ValueError:
            pass
    cut = (slice(None, rows // 2), slice(rows // 2, None))
    first, second = cut if rows > 1 else ((0, slice(None, columns // 2)), (0, slice(columns // 2, None)))
    halves = [(np.atleast_2d(window[half]), np.atleast_2d(names[half])) for half in (first, second)]
    yes, no = (_first_at(*half, top) for half in halves)
    return expr.choose(expr.compare("=", _largest(halves[0][0]), top), yes, no)


def max_pool_backward(
    grad: Array,
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Array,
) -> Array:
    """Each gradient goes to the element that was the largest of its window; all others get 0."""
    dims = len(kernel)
    size = x.shape[x.ndim - dims :]
    return _sent_back(grad, x, indices, dims, _windows(size, kernel, stride, padding, dilation, ceil_mode))


def _sent_back(grad: Array, x: Array, indices: Array, dims: int, windows: Iterator[Window]) -> Array:
    size = x.shape[x.ndim - dims :]
    seen: dict[int, list[tuple[int, ...]]] = {}
    numbers = np.arange(int(np.prod(size))).reshape(size)
    for place, axes in windows:
        for number in numbers[np.ix_(*axes)].reshape(-1).tolist():
            seen.setdefault(number, []).append(place)
    result = np.empty(x.shape, dtype=object)
    for lead in np.ndindex(x.shape[: x.ndim - dims]):
        for position in np.ndindex(*size):
            number = int(numbers[position])
            result[(*lead, *position)] = _added(
                expr.choose(expr.compare("=", indices[(*lead, *place)], number), grad[(*lead, *place)], 0)
                for place in seen.get(number, [])
            )
    return result


def avg_pool(
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window."""
    dims = len(kernel)
    size = x.shape[x.ndim - dims :]
    windows = list(_windows(size, kernel, stride, padding, (1,), ceil_mode))
    shape = tuple(1 + max(place[axis] for place, _ in windows) for axis in range(dims))
    counts = _counts(size, kernel, stride, padding, windows, count_include_pad, divisor_override)
    result = np.empty((*x.shape[: x.ndim - dims], *shape), dtype=object)
    for lead in np.ndindex(x.shape[: x.ndim - dims]):
        for (place, axes), count in zip(windows, counts, strict=True):
            window = x[lead][np.ix_(*axes)]
            total = tensor.sum(window)
            result[(*lead, *place)] = expr.divide(total, count)
    return result


def avg_pool_backward(
    grad: Array,
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """Each gradient goes to all elements of its window in equal parts."""
    dims = len(kernel)
    size = x.shape[x.ndim - dims :]
    windows = list(_windows(size, kernel, stride, padding, (1,), ceil_mode))
    counts = _counts(size, kernel, stride, padding, windows, count_include_pad, divisor_override)
    seen: dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]] = {}
    for (place, axes), count in zip(windows, counts, strict=True):
        for position in np.ndindex(*(len(axis) for axis in axes)):
            at = tuple(int(axis[i]) for axis, i in zip(axes, position, strict=True))
            seen.setdefault(at, []).append((place, count))
    result = np.empty(x.shape, dtype=object)
    for lead in np.ndindex(x.shape[: x.ndim - dims]):
        for position in np.ndindex(size):
            parts = seen.get(position, [])
            result[(*lead, *position)] = _added(expr.divide(grad[(*lead, *place)], n) for place, n in parts)
    return result


def adaptive_avg_pool(x: Array, output: Sequence[int]) -> Array:
    """The mean of each of so many windows as there are to be, as equal as they can be."""
    dims = len(output)
    result = np.empty((*x.shape[: x.ndim - dims], *output), dtype=object)
    for lead in np.ndindex(x.shape[: x.ndim - dims]):
        for place, axes in _adaptive(x.shape[x.ndim - dims :], output):
            window = x[lead][np.ix_(*axes)]
            total = tensor.sum(window)
            result[(*lead, *place)] = expr.divide(total, window.size)
    return result


def adaptive_avg_pool_backward(grad: Array, x: Array) -> Array:
    """Each gradient goes to all elements of its window in equal parts."""
    dims = grad.ndim - 2 if grad.ndim > 3 else 2
    seen: dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]] = {}
    for place, axes in _adaptive(x.shape[x.ndim - dims :], grad.shape[x.ndim - dims :]):
        for at in product(*(axis.tolist() for axis in axes)):
            seen.setdefault(at, []).append((place, int(np.prod([len(axis) for axis in axes]))))
    result = np.empty(x.shape, dtype=object)
    for lead in np.ndindex(x.shape[: x.ndim - dims]):
        for position, parts in seen.items():
            result[(*lead, *position)] = _added(expr.divide(grad[(*lead, *place)], n) for place, n in parts)
    return result


def adaptive_max_pool(x: Array, output: Sequence[int]) -> list[Array]:
    """The largest of each of so many windows as there are to be, and its place."""
    dims = len(output)
    size = x.shape[x.ndim - dims :]
    return _largest_of(x, size, list(_adaptive(size, output)))


def adaptive_max_pool_backward(grad: Array, x: Array, indices: Array) -> Array:
    """Each gradient goes to the element that was the largest of its window."""
    dims = grad.ndim - 2 if grad.ndim > 3 else 2
    return _sent_back(grad, x, indices, dims, _adaptive(x.shape[x.ndim - dims :], grad.shape[x.ndim - dims :]))


def _adaptive(size: Sequence[int], output: Sequence[int]) -> Iterator[Window]:
    """Every window's place, and what it looks at."""
    axes = [
        [np.arange(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        for n, count in zip(size, output, strict=True)
    ]
    for place in np.ndindex(*output):
        yield place, tuple(axis[i] for axis, i in zip(axes, place, strict=True))


def _added(terms: Iterator[Expr]) -> Any:
    total: Any = 0
    for term in terms:
        total = expr.add(total, term)
    return total


def _windows(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Iterator[Window]:
    """Every window's place in the output, and the rows, the columns, … that it looks at, without the padding."""
    dims = len(kernel)
    padding, dilation = list(padding) * (dims // len(padding)), list(dilation) * (dims // len(dilation))
    stride = list(stride) or list(kernel)
    stride = stride * (dims // len(stride))
    axes = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        reach = n + 2 * p - d * (k - 1) - 1
        count = (reach + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        axes.append(
            [np.array([i * s - p + j * d for j in range(k) if 0 <= i * s - p + j * d < n]) for i in range(count)]
        )
    for place in np.ndindex(*(len(axis) for axis in axes)):
        yield place, tuple(axis[i] for axis, i in zip(axes, place, strict=True))


def _counts(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    windows: Sequence[Window],
    count_include_pad: bool,
    divisor_override: int | None,
) -> list[int]:
    """What each window's sum is divided by: torch counts padding, but not what hangs over it."""
    dims = len(kernel)
    padding = list(padding) * (dims // len(padding))
    stride = list(stride) or list(kernel)
    stride = stride * (dims // len(stride))
    counts = []
    for place, axes in windows:
        if divisor_override:
            counts.append(divisor_override)
        elif count_include_pad:
            ends = [
                min(i * s - p + k, n + p) - (i * s - p)
                for i, s, p, k, n in zip(place, stride, padding, kernel, size, strict=True)
            ]
            counts.append(int(np.prod(ends)))
        else:
            counts.append(int(np.prod([len(axis) for axis in axes])))
    return counts


FORMULAS: dict[str, Callable[..., Any]] = {
    "max_pool2d_with_indices.default": max_pool,
    "max_pool2d_with_indices_backward.default": max_pool_backward,
    "max_pool3d_with_indices.default": max_pool,
    "max_pool3d_with_indices_backward.default": max_pool_backward,
    "avg_pool2d.default": avg_pool,
    "avg_pool2d_backward.default": avg_pool_backward,
    "avg_pool3d.default": avg_pool,
    "avg_pool3d_backward.default": avg_pool_backward,
    "_adaptive_avg_pool2d.default": adaptive_avg_pool,
    "_adaptive_avg_pool2d_backward.default": adaptive_avg_pool_backward,
    "_adaptive_avg_pool3d.default": adaptive_avg_pool,
    "_adaptive_avg_pool3d_backward.default": adaptive_avg_pool_backward,
    "adaptive_max_pool2d.default": adaptive_max_pool,
    "adaptive_max_pool2d_backward.default": adaptive_max_pool_backward,
    "adaptive_max_pool3d.default": adaptive_max_pool,
    "adaptive_max_pool3d_backward.default": adaptive_max_pool_backward,
}
