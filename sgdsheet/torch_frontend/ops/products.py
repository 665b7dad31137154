"""Sums of products: matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.expr import Call
from sgdsheet.tensor import Array
from sgdsheet.torch_frontend.ops.elementwise import add, multiply

TERMS = 64  # products of two ranges that certainly fit into a formula's 8,192 characters, whatever their sheets' names


def mm(a: Array, b: Array) -> Array:
    """The matrix product."""
    return tensor.dot(a, b.T)


def bmm(a: Array, b: Array) -> Array:
    """The matrix product of each matrix of a batch."""
    result = np.empty((a.shape[0], a.shape[1], b.shape[2]), dtype=object)
    for number in range(len(a)):
        result[number] = mm(a[number], b[number])
    return result


def addmm(bias: Array, a: Array, b: Array, beta: Any = 1, alpha: Any = 1) -> Array:
    """`bias + a @ b`, the linear layer."""
    product = mm(a, b)
    return add(product if alpha == 1 else multiply(product, alpha), bias if beta == 1 else multiply(bias, beta))


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    """Each window of x times a filter, added up. Shapes (n, channels, …) and (filters, channels / groups, …).

    What is neither dilated nor transposed: `decompositions` has made others so. A window that hangs over the edge is
    cut there, and the filter with it.
    """
    size, kernel = x.shape[2:], weight.shape[2:]
    stride, padding = (list(each) * (len(kernel) // len(each)) for each in (stride, padding))
    out = [(a + 2 * p - k) // s + 1 for a, p, k, s in zip(size, padding, kernel, stride, strict=True)]
    result = np.empty((len(x), len(weight), *out), dtype=object)
    channels, filters = weight.shape[1], len(weight) // groups
    ranges: dict[Any, Any] = {}

    def matrices(name: str, array: Array, position: int, cut: tuple[slice, ...]) -> list[tuple[Array, Any]]:
        """The array's matrices within the cut, each with the range that it fills, if it does."""
        key = (name, position, *((each.start, each.stop) for each in cut))
        if key not in ranges:
            part = array[(..., *cut)]
            part = part.reshape(-1, *part.shape[-2:])
            ranges[key] = [(each, _span(each)) for each in part]
        return ranges[key]

    for place in np.ndindex(*out):
        starts = [i * s - p for i, s, p in zip(place, stride, padding, strict=True)]
        seen = tuple(slice(max(0, a), min(n, a + k)) for a, n, k in zip(starts, size, kernel, strict=True))
        if any(each.stop <= each.start for each in seen):  # nothing but padding
            result[(..., *place)] = 0
            continue
        used = tuple(slice(each.start - a, each.stop - a) for each, a in zip(seen, starts, strict=True))
        for n, group in np.ndindex(len(x), groups):
            window = x[n, group * channels : (group + 1) * channels]
            looked = matrices("x", window, n * groups + group, seen)
            for f in range(group * filters, (group + 1) * filters):
                terms = [_product(*pair) for pair in zip(looked, matrices("w", weight[f], f, used), strict=True)]
                result[(n, f, *place)] = tensor.sum(np.array([None, *terms], dtype=object)[1:])
    return result if bias is None else add(result, bias.reshape(1, -1, *[1] * len(kernel)))


def _span(matrix: Array) -> Any:
    try:
        return tensor.span(matrix)
    except ValueError:
        return None


def _product(a: tuple[Array, Any], b: tuple[Array, Any]) -> Any:
    """The sum of the products of two matrices' elements."""
    if a[1] is not None and b[1] is not None and a[1].shape == b[1].shape and a[0].size > 1:
        return Call("SUMPRODUCT", a[1], b[1])
    return tensor.sum(multiply(a[0], b[0]))


FORMULAS: dict[str, Callable[..., Any]] = {
    "mm.default": mm,
    "bmm.default": bmm,
    "addmm.default": addmm,
    "convolution.default": convolution,
}
