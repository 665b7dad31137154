"""Elements chosen by numbers that stand in cells: embeddings, class targets, gathering and scattering.

Where the numbers are known when the workbook is made, elements only move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Expr
from sgdsheet.tensor import Array

CHOICES = 254  # that CHOOSE takes


def pick(line: Array, number: Any) -> Any:
    """The element of a line at a place that is a number or an expression, counted from 0."""
    if not isinstance(number, Expr):
        return line[int(number)]
    if len(line) == 1:
        return line[0]
    try:
        return tensor.index(line, number + 1)
    except ValueError:
        if len(line) > CHOICES:
            raise Error(f"a choice among {len(line)} elements that fill no range; at most {CHOICES} can be") from None
        return Call("CHOOSE", number + 1, *line)


def gather(x: Array, dim: int, index: Array, sparse_grad: bool = False) -> Array:
    """For each number of `index` the element of x with that number along `dim`."""
    result = np.empty(index.shape, dtype=object)
    if not x.ndim:
        result[...] = x
        return result
    lines = np.moveaxis(x, dim, -1)
    for position in np.ndindex(index.shape):
        others = tuple(np.delete(position, dim))
        result[position] = pick(lines[others], index[position])
    return result


def embedding(weight: Array, index: Array, *_: Any) -> Array:
    """For each number of `index` that row of `weight`."""
    result = np.empty((*index.shape, weight.shape[1]), dtype=object)
    for position in np.ndindex(index.shape):
        for column in range(weight.shape[1]):
            result[(*position, column)] = pick(weight[:, column], index[position])
    return result


def embedding_backward(grad: Array, index: Array, count: int, padding: int, scale: bool) -> Array:
    """For each row of the weights the sum of the gradients of all places that took it."""
    if scale:
        raise Error("scale_grad_by_freq of an embedding cannot be put on a sheet")
    flat, grads = index.reshape(-1), grad.reshape(-1, grad.shape[-1])
    result = np.empty((count, grads.shape[1]), dtype=object)
    for row, column in np.ndindex(result.shape):
        result[row, column] = 0 if row == padding else _taken(flat, grads[:, column], row)
    return result


def _taken(index: Array, values: Array, number: int) -> Any:
    """The sum of the values whose index is this number."""
    if isinstance(index[0], Expr) and len(index) > 1:
        try:
            where, what = tensor.span(index), tensor.span(values)
        except ValueError:
            where = what = None
        if where is not None and what is not None and where.shape == what.shape:
            return Call("SUMPRODUCT", expr.compare("=", where, number) * what)
    terms = [_if_equal(each, number, value) for each, value in zip(index, values, strict=True)]
    return tensor.sum(np.array([None, *terms], dtype=object)[1:])


def _if_equal(index: Any, number: int, value: Any) -> Any:
    found = expr.compare("=", index, number)
    return expr.multiply(found, value) if isinstance(found, Expr) else value if found else 0


def scatter(x: Array, dim: int, index: Array, src: Any) -> Array:
    """x, with each element of `src` (or the one number) put where `index` says along `dim`."""
    return _scattered(
        x, dim, index, src, lambda index, place, value, old: expr.choose(expr.compare("=", index, place), value, old)
    )


def scatter_add(x: Array, dim: int, index: Array, src: Any) -> Array:
    """x, with each element of `src` added where `index` says along `dim`."""
    return _scattered(
        x, dim, index, src, lambda index, place, value, old: expr.add(old, _if_equal(index, place, value))
    )


def _scattered(x: Array, dim: int, index: Array, src: Any, put: Callable[..., Any]) -> Array:
    if not x.ndim:
        x, index, src = x.reshape(1), index.reshape(1), np.asarray(src, dtype=object).reshape(-1)
        return _scattered(x, 0, index, src, put).reshape(())
    result = x.copy()
    dim %= x.ndim
    src = np.broadcast_to(np.asarray(src, dtype=object), index.shape) if np.ndim(src) == 0 else src
    for position in np.ndindex(index.shape):
        number, value = index[position], src[position]
        places = [int(number)] if not isinstance(number, Expr) else range(x.shape[dim])
        for place in places:
            at = (*position[:dim], place, *position[dim + 1 :])
            result[at] = put(number, place, value, result[at])
    return result


def index(x: Array, indices: Sequence[Array | None]) -> Array:
    """`x[indices]`, for indices that are known, or for one that is not."""
    if all(each is None or _known(each) for each in indices):
        return np.asarray(x[tuple(slice(None) if each is None else _plain(each) for each in indices)], dtype=object)
    given = [(axis, each) for axis, each in enumerate(indices) if each is not None]
    numbers = np.broadcast_arrays(*(each for _, each in given))
    axes = [axis for axis, _ in given]
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    flat = x.transpose(*axes, *rest).reshape(-1, *(x.shape[axis] for axis in rest))
    result = np.empty((*numbers[0].shape, *flat.shape[1:]), dtype=object)
    for position in np.ndindex(numbers[0].shape):
        place: Any = 0
        for axis, each in zip(axes, numbers, strict=True):
            place = expr.add(expr.multiply(place, x.shape[axis]), _counted(each[position], x.shape[axis]))
        place = place if not isinstance(place, expr.Number) else place.value
        for other in np.ndindex(flat.shape[1:]):
            result[(*position, *other)] = pick(flat[(slice(None), *other)], place)
    if together and axes[0]:  # torch puts the result where the indices stood
        count = numbers[0].ndim
        result = np.moveaxis(result, range(count), range(axes[0], axes[0] + count))
    return result


def index_select(x: Array, dim: int, number: Array) -> Array:
    """The slices of x with these numbers along `dim`."""
    return index(x, [*[None] * (dim % x.ndim), number])


def _counted(number: Any, size: int) -> Any:
    """A number from the front, of one that may count from the end."""
    if not isinstance(number, Expr):
        return int(number) % size
    return number


def index_put(x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """x, with `values` put (or added) at `x[indices]`."""
    given = [None if each is None else each for each in indices]
    if all(each is None or _known(each) for each in given):
        at = tuple(slice(None) if each is None else _plain(each) for each in given)
        result = x.copy()
        if not accumulate:
            result[at] = values
            return result
        places = np.arange(x.size).reshape(x.shape)[at]
        flat = result.reshape(-1)
        for place, value in zip(places.reshape(-1), np.broadcast_to(values, places.shape).reshape(-1), strict=True):
            flat[place] = expr.add(flat[place], value)
        return flat.reshape(x.shape)
    if len(given) != 1 or given[0] is None:
        raise Error("index_put with more than one index that stands in cells cannot be put on a sheet")
    number = given[0]
    assert number is not None
    values = np.broadcast_to(values, (*number.shape, *x.shape[1:]))
    flat, values = number.reshape(-1), values.reshape(-1, *x.shape[1:])
    result = x.copy()
    for place in np.ndindex(x.shape):
        line = values[(slice(None), *place[1:])]
        if accumulate:
            result[place] = expr.add(result[place], _taken(flat, line, place[0]))
        else:
            for each, value in zip(flat, line, strict=True):
                result[place] = expr.choose(expr.compare("=", each, place[0]), value, result[place])
    return result


def _known(array: Array) -> bool:
    return not any(isinstance(each, Expr) for each in np.asarray(array, dtype=object).reshape(-1))


def _plain(array: Array) -> Any:
    flat = np.asarray(array, dtype=object).reshape(-1).tolist()
    kind = bool if flat and isinstance(flat[0], bool) else int
    return np.array([kind(each) for each in flat], dtype=kind).reshape(np.shape(array))


FORMULAS: dict[str, Callable[..., Any]] = {
    "gather.default": gather,
    "embedding.default": embedding,
    "embedding_dense_backward.default": embedding_backward,
    "scatter.src": scatter,
    "scatter.value": scatter,
    "scatter_add.default": scatter_add,
    "index.Tensor": index,
    "_unsafe_index.Tensor": index,
    "index_put.default": index_put,
    "_unsafe_index_put.default": index_put,
    "index_select.default": index_select,
}
