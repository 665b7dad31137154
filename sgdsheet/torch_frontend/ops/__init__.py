"""What each ATen operation does with arrays of expressions.

Three kinds: `ELEMENTWISE` operations are one formula for each element, `REARRANGED` ones only move elements, and
`FORMULAS` are all others: functions of arrays that take what the ATen operation takes and return what it returns, a
list of arrays where that is several tensors.

Elements are expressions, or plain numbers where they are known when the workbook is made; an infinite one (a mask in
front of a softmax) never reaches a cell. A condition's elements are expressions that a worksheet takes for true or
false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sgdsheet.errors import Error
from sgdsheet.torch_frontend.ops import lookup, pooling, products, reductions, sorting
from sgdsheet.torch_frontend.ops.elementwise import CONDITIONS, ELEMENTWISE, numerics
from sgdsheet.torch_frontend.ops.rearranged import REARRANGED, rearrange

__all__ = ["CONDITIONS", "ELEMENTWISE", "FORMULAS", "REARRANGED", "apply", "known", "numerics", "overload"]

FORMULAS: dict[str, Callable[..., Any]] = reductions.FORMULAS | products.FORMULAS | pooling.FORMULAS
FORMULAS |= lookup.FORMULAS | sorting.FORMULAS


def known(op: str) -> bool:
    """Whether an operation, as in `mm.default`, can be put on a sheet."""
    return op in ELEMENTWISE or op in REARRANGED or op in FORMULAS


def overload(op: str) -> Callable[..., Any]:
    """torch's own function for an operation that is known here. Raises `Error` for any other."""
    import torch

    if not known(op):
        raise Error(f"the operation {op!r} is not one that sgdsheet knows")
    name, _, kind = op.partition(".")
    return getattr(getattr(torch.ops.aten, name), kind)


def apply(op: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The operation on arrays of expressions: an array, or a list of arrays."""
    if op in REARRANGED:
        return rearrange(overload(op), op, args, dict(kwargs))
    function = ELEMENTWISE.get(op) or FORMULAS[op]
    return function(*args, **kwargs)
