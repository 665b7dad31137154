"""One number from many: sums, means, the largest, along some of the dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.expr import Expr
from sgdsheet.tensor import Array
from sgdsheet.torch_frontend.ops.elementwise import is_number, plain

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


FORMULAS: dict[str, Function] = {
    "sum.default": sum,
    "sum.dim_IntList": sum,
    "mean.default": mean,
    "mean.dim": mean,
    "amax.default": lambda x, dims=(), keepdim=False: reduce(_largest, x, dims, keepdim),
}
