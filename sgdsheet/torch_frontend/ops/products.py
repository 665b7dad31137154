"""Sums of products: matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.tensor import Array
from sgdsheet.torch_frontend.ops.elementwise import add, multiply


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


FORMULAS: dict[str, Callable[..., Any]] = {
    "mm.default": mm,
    "bmm.default": bmm,
    "addmm.default": addmm,
}
