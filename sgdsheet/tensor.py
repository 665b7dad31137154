"""Operations over arrays of expressions, in torch's words.

A tensor on a sheet is a numpy object array whose elements are expressions, so numpy itself broadcasts, slices,
transposes and pads, and `+ - * / **` work as they are. Here is what numpy cannot know. Every function takes arrays of
numbers as well and then simply computes, so that one recurrence serves a sheet and a test.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgdsheet import expr
from sgdsheet.expr import Binary, Call, Expr, Negative, Number, Range, Ref

Array = np.ndarray


def _elementwise(build: Callable[..., Any], compute: Callable[..., Any], doc: str) -> Callable[..., Any]:
    def function(*operands: Any) -> Any:
        arrays = [np.asarray(operand) for operand in operands]
        if not any(array.dtype == object for array in arrays):
            return compute(*arrays)
        return np.frompyfunc(build, len(arrays), 1)(*arrays)

    function.__doc__ = doc
    return function


def _function(name: str, compute: Callable[..., Any], doc: str) -> Callable[..., Any]:
    return _elementwise(lambda *operands: Call(name, *operands), compute, doc)


def _comparison(operator: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    return _elementwise(lambda a, b: expr.compare(operator, a, b), compute, f"`a {operator} b`, element by element.")


sqrt = _function("SQRT", np.sqrt, "The square root.")
exp = _function("EXP", np.exp, "e to the power of x.")
log = _function("LN", np.log, "The natural logarithm.")
tanh = _function("TANH", np.tanh, "The hyperbolic tangent.")
cos = _function("COS", np.cos, "The cosine of an angle in radians.")
abs = _function("ABS", np.abs, "The absolute value.")
sign = _function("SIGN", np.sign, "-1, 0 or 1.")
maximum = _function("MAX", np.maximum, "The larger of two, element by element.")
minimum = _function("MIN", np.minimum, "The smaller of two, element by element.")
floor = _function("INT", np.floor, "The largest whole number that is not above x.")
mod = _function("MOD", np.mod, "The remainder, with the sign of the divisor.")
either = _function("OR", np.logical_or, "Whether at least one condition holds.")
both = _function("AND", np.logical_and, "Whether both conditions hold.")
finite_or = _function(
    "IFERROR",
    lambda a, b: np.where(np.isfinite(a), a, b),
    "The first where it is a number, the second where it is an error.",
)
where = _elementwise(expr.choose, np.where, "`yes` where the condition holds, `no` elsewhere.")
equal = _comparison("=", np.equal)
less = _comparison("<", np.less)
less_equal = _comparison("<=", np.less_equal)
greater = _comparison(">", np.greater)
greater_equal = _comparison(">=", np.greater_equal)


def sum(array: Any) -> Any:
    """The sum of all elements.

    Elements of one form whose references lie in step, in a row, a column or a rectangle, become one short formula over
    ranges: `SUM(A1:A9)`, `SUMPRODUCT(A1:A9,B1:B9)`, `SUMPRODUCT((A1:A9*D1-B1:B9)^2)`. Otherwise the array's first axis
    is taken apart and each part tried by itself; what is left is added term by term.
    """
    array = np.asarray(array)
    if array.dtype != object:
        return np.sum(array)
    if array.size == 0:
        return Number(0)
    for terms in {array.ndim: [array, array.T], 1: [array]}[array.ndim]:
        whole = _total(list(terms.ravel()))
        if whole is not None:
            return whole
    parts = list(array) if array.ndim == 1 else [sum(part) for part in array]
    parts = [part for part in map(expr.lift, parts) if not (isinstance(part, Number) and part.value == 0)]
    if len(parts) < 2:
        return parts[0] if parts else Number(0)
    return expr.Sum(parts)


def mean(array: Any) -> Any:
    """The mean of all elements: their sum over their number."""
    return sum(array) / np.size(array)


def index(array: Array, position: Any) -> Expr:
    """The element of a 1-D array of references at `position`, counted from 1 as worksheets do.

    `position` may be an expression, so that a reader can choose it. The references must lie in one row or column.
    """
    found = span(array)
    if 1 not in found.shape:
        raise ValueError(f"expected references in one row or column, got {found!r}")
    return Call("INDEX", found, position)


def smallest(array: Array) -> Expr:
    """The smallest of references that fill one range."""
    return Call("MIN", span(array))


def largest(array: Array) -> Expr:
    """The largest of references that fill one range."""
    return Call("MAX", span(array))


def previous(array: Array, first: Any) -> Array:
    """What stands one step earlier: `first`, then all but the last. The way a recurrence refers to its past."""
    array, first = np.asarray(array), np.asarray(first)
    shifted = np.empty(array.shape, dtype=np.result_type(array, first))
    shifted[:1], shifted[1:] = first, array[:-1]
    return shifted


def span(references: Any) -> Range:
    """The one range that these references fill, in their order. Raises `ValueError` if there is none."""
    flat = list(np.asarray(references, dtype=object).ravel())
    found = _range(flat) if flat and builtins.all(isinstance(each, Ref) for each in flat) else None
    if found is None:
        ends = f" from {flat[0]!r} to {flat[-1]!r}" if flat else ""
        raise ValueError(f"{len(flat)} references{ends} do not fill one range")
    return found


def _total(terms: Sequence[Any]) -> Expr | None:
    """The sum of terms of one form as a formula over ranges, or None if they are not in step."""
    if len(terms) < 2:
        return expr.lift(terms[0])
    merged = _merge([expr.lift(term) for term in terms])
    if merged is None:
        return None
    ranges = list(_ranges(merged))
    if not ranges:  # the same term again and again
        return len(terms) * merged
    if builtins.any(found.shape != ranges[0].shape for found in ranges):
        return None
    if isinstance(merged, Range):
        return Call("SUM", merged)
    if isinstance(merged, Binary) and merged.operator == "*" and {type(merged.left), type(merged.right)} == {Range}:
        return Call("SUMPRODUCT", merged.left, merged.right)
    return Call("SUMPRODUCT", merged)


def _merge(terms: list[Expr]) -> Expr | None:
    """One expression that stands for all the terms, with a range where they differ; None if their forms differ.

    Only arithmetic is merged: a function or a comparison of ranges is not computed element by element everywhere.
    """
    first = terms[0]
    kind = type(first)
    if builtins.any(type(term) is not kind for term in terms):
        return None
    if isinstance(first, Ref):
        return first if builtins.all(_same_cell(first, term) for term in terms) else _range(terms)
    if isinstance(first, Number):
        return first if builtins.all(term.value == first.value for term in terms) else None  # type: ignore[attr-defined]
    if isinstance(first, Negative):
        operand = _merge([term.operand for term in terms])  # type: ignore[attr-defined]
        return None if operand is None else Negative(operand)
    if isinstance(first, Binary) and first.operator in "+-*/^":
        if builtins.any(term.operator != first.operator for term in terms):  # type: ignore[attr-defined]
            return None
        left = _merge([term.left for term in terms])  # type: ignore[attr-defined]
        right = None if left is None else _merge([term.right for term in terms])  # type: ignore[attr-defined]
        return None if left is None or right is None else Binary(first.operator, left, right)
    return None


def _same_cell(a: Any, b: Any) -> bool:
    return a is b or (a.row == b.row and a.column == b.column and a.sheet == b.sheet)


def _range(references: Sequence[Any]) -> Range | None:
    """The rectangle that the references fill row by row, or None."""
    first, last = references[0], references[-1]
    rows, columns = last.row - first.row + 1, last.column - first.column + 1
    if rows < 1 or columns < 1 or rows * columns != len(references):
        return None
    sheet, top, left = first.sheet, first.row, first.column
    for position, reference in enumerate(references):
        row, column = divmod(position, columns)
        if reference.row != top + row or reference.column != left + column or reference.sheet != sheet:
            return None
    return Range(sheet, top, left, last.row, last.column, first.absolute)


def _ranges(expression: Expr) -> list[Range]:
    if isinstance(expression, Range):
        return [expression]
    if isinstance(expression, Negative):
        return _ranges(expression.operand)
    if isinstance(expression, Binary):
        return _ranges(expression.left) + _ranges(expression.right)
    return []
