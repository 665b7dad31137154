"""One number from many: sums, means, the largest, along some of the dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.expr import Call, Expr, Range
from sgdsheet.tensor import ARGUMENTS, Array, is_number, plain

Function = Callable[..., Any]


def _dims(x: Array, dims: Any) -> tuple[int, ...]:
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        return tuple(range(x.ndim))
    dims = dims if isinstance(dims, (list, tuple)) else [dims]
    return tuple(sorted(dim % x.ndim for dim in dims)) if x.ndim else ()


def reduce(function: Function, x: Array, dims: Any = None, keepdim: bool = False) -> Array:
    """`function` of the elements along `dims`, for each position in the other dimensions."""
    axes = _dims(x, dims)
    others = [axis for axis in range(x.ndim) if axis not in axes]
    parts = x.transpose(*others, *axes).reshape(*(x.shape[axis] for axis in others), -1)
    result = np.empty(parts.shape[:-1], dtype=object)
    taken = tuple(x.shape[axis] for axis in axes)
    for position in np.ndindex(result.shape):
        result[position] = function(parts[position].reshape(taken))
    if keepdim:
        result = result.reshape([1 if axis in axes else size for axis, size in enumerate(x.shape)])
    return result


def _sum(x: Array) -> Any:
    if all(not isinstance(each, Expr) for each in x.flat):
        return float(np.sum(x.astype(float)))
    return tensor.sum(x if x.ndim <= 2 else x.reshape(-1, x.shape[-1]))


def _mean(x: Array) -> Any:
    return expr.divide(_sum(x), x.size)


def _largest(x: Array) -> Any:
    numbers = [float(plain(each)) for each in x.flat if is_number(each)]
    others = [each for each in x.flat if not is_number(each)]
    if not others:
        return max(numbers)
    if numbers and max(numbers) != -math.inf:
        others.append(max(numbers))
    return tensor.largest(np.array(others, dtype=object) if numbers else x)


def sum(x: Array, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Array:
    """The sum along `dims`, or of all elements."""
    return reduce(_sum, x, dims, keepdim)


def mean(x: Array, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Array:
    """The mean along `dims`, or of all elements."""
    return reduce(_mean, x, dims, keepdim)


def _smallest(x: Array) -> Any:
    return _negated(_largest(np.frompyfunc(_negated, 1, 1)(x))) if _constants(x) else tensor.smallest(x)


def _negated(value: Any) -> Any:
    return -plain(value)


def _constants(x: Array) -> bool:
    return all(is_number(each) for each in x.flat)


def _product(x: Array) -> Any:
    try:
        return Call("PRODUCT", tensor.span(x))
    except ValueError:
        total: Any = 1
        for each in x.flat:
            total = expr.multiply(total, each)
        return total


def _first_of(largest: bool) -> Function:
    """The place of the first of the largest (or smallest) elements, counted from 0."""

    extreme = _largest if largest else _smallest

    def place(x: Array, top: Any, before: int) -> Any:
        if x.size == 1:
            return before
        try:
            found = Call("MATCH", top, _line(x), 0)
            return found + (before - 1) if before else found - 1
        except ValueError:
            # In halves, for a formula's functions may stand inside each other only 64 deep.
            half = len(x) // 2 if len(x) > 1 else x.shape[1] // 2
            first, second = (x[:half], x[half:]) if len(x) > 1 else (x[:, :half], x[:, half:])
            here, there = extreme(first), extreme(second)
            if is_number(here) and math.isinf(plain(here)):  # left out, by a mask
                return place(second, top, before + first.size)
            if is_number(there) and math.isinf(plain(there)):
                return place(first, top, before)
            yes, no = place(first, top, before), place(second, top, before + first.size)
            return expr.choose(expr.compare("=", here, top), yes, no)

    return lambda x: place(x.reshape(-1, x.shape[-1] if x.ndim else 1), extreme(x), 0)


def _line(x: Array) -> Range:
    """The one row or column that references fill. Raises `ValueError` if there is none."""
    found = tensor.span(x.reshape(-1))
    if found.top != found.bottom and found.left != found.right:
        raise ValueError(f"{found.address} has rows and columns")
    return found


def _extreme(largest: bool) -> Function:
    def both(x: Array, dim: int, keepdim: bool = False) -> list[Array]:
        return [
            reduce(_largest if largest else _smallest, x, dim, keepdim),
            reduce(_first_of(largest), x, dim, keepdim),
        ]

    return both


def _asked(name: str) -> Function:
    """Whether any, or all, of some conditions hold."""

    def function(x: Array) -> Any:
        decides = name == "OR"
        known = [bool(plain(each)) for each in x.flat if is_number(each)]
        others = [each for each in x.flat if not is_number(each)]
        if decides in known or not others:
            return decides if decides in known else not decides
        while len(others) > ARGUMENTS:
            others = [Call(name, *others[i : i + ARGUMENTS]) for i in range(0, len(others), ARGUMENTS)]
        return Call(name, *others)

    return function


def _running(combine: Function) -> Function:
    """Each element combined with all before it along `dim`."""

    def function(x: Array, dim: int, dtype: Any = None) -> Array:
        if not x.ndim:
            return x
        lines = np.moveaxis(x, dim, -1)
        result = np.empty(lines.shape, dtype=object)
        for position in np.ndindex(lines.shape[:-1]):
            for last in range(lines.shape[-1]):
                result[(*position, last)] = combine(lines[position][: last + 1])
        return np.moveaxis(result, -1, dim)

    return function


FORMULAS: dict[str, Function] = {
    "sum.default": sum,
    "sum.dim_IntList": sum,
    "mean.default": mean,
    "mean.dim": mean,
    "amax.default": lambda x, dims=(), keepdim=False: reduce(_largest, x, dims, keepdim),
    "amin.default": lambda x, dims=(), keepdim=False: reduce(_smallest, x, dims, keepdim),
    "max.default": lambda x: reduce(_largest, x),
    "min.default": lambda x: reduce(_smallest, x),
    "max.dim": _extreme(largest=True),
    "min.dim": _extreme(largest=False),
    "argmax.default": lambda x, dim=None, keepdim=False: reduce(_first_of(True), x, dim, keepdim),
    "argmin.default": lambda x, dim=None, keepdim=False: reduce(_first_of(False), x, dim, keepdim),
    "prod.default": lambda x, dtype=None: reduce(_product, x),
    "prod.dim_int": lambda x, dim, keepdim=False, dtype=None: reduce(_product, x, dim, keepdim),
    "any.default": lambda x: reduce(_asked("OR"), x),
    "any.dim": lambda x, dim, keepdim=False: reduce(_asked("OR"), x, dim, keepdim),
    "any.dims": lambda x, dim=None, keepdim=False: reduce(_asked("OR"), x, dim, keepdim),
    "all.default": lambda x: reduce(_asked("AND"), x),
    "all.dim": lambda x, dim, keepdim=False: reduce(_asked("AND"), x, dim, keepdim),
    "all.dims": lambda x, dim=None, keepdim=False: reduce(_asked("AND"), x, dim, keepdim),
    "cumsum.default": _running(_sum),
    "cumprod.default": _running(_product),
}
