"""Operations over arrays of expressions, in torch's words.

A tensor on a sheet is a numpy object array whose elements are expressions, so numpy itself broadcasts, slices,
transposes and pads, and `+ - * / **` work as they are. Here is what numpy cannot know. Every function takes arrays of
numbers as well and then simply computes, so that one recurrence serves a sheet and a test.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from sgdsheet import expr
from sgdsheet.errors import Error
from sgdsheet.expr import Binary, Call, Expr, Negative, Number, Range, Ref

Array = np.ndarray
ARGUMENTS = 255  # that a function takes
NO_NUMBER = Call("NA")
STRETCH = 8  # terms of a long sum that are worth a range of their own


def each_element(
    build: Callable[..., Any], compute: Callable[..., Any], doc: str, infinite: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Returns a function of arrays, broadcast to one shape, from one of elements.

    Arguments:
      build: makes the expression, where one of the elements is one.
      compute: computes the number, where all are numbers; also of whole numeric arrays.
      doc: the function's docstring.
      infinite: is asked instead of `build` where one of the numbers is infinite, which no formula can hold. Without it
        that is an `Error`.

    An element that is computed from NaN is #N/A.
    """

    def one(*elements: Any) -> Any:
        for element in elements:
            if not isinstance(element, Expr) or isinstance(element, Number):
                break
        else:  # as nearly all are
            return build(*elements)
        numbers = [plain(element) for element in elements]
        if builtins.all(map(is_number, elements)):
            with np.errstate(all="ignore"):
                value = compute(*numbers)
            return value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        floats = [number for number in numbers if isinstance(number, float)]
        if builtins.any(map(math.isnan, floats)):
            return NO_NUMBER
        if builtins.any(map(math.isinf, floats)):
            if infinite is None:
                raise Error("an infinite number reaches a formula that cannot hold it")
            return infinite(*numbers)
        return build(*elements)

    def function(*operands: Any) -> Any:
        arrays = [np.asarray(operand) for operand in operands]
        if not builtins.any(array.dtype == object for array in arrays):
            return compute(*arrays)
        return np.frompyfunc(one, len(arrays), 1)(*arrays)

    function.__doc__ = doc
    return function


def is_number(value: Any) -> bool:
    """Returns whether an element is a number that is known when the workbook is made."""
    return isinstance(value, (Number, int, float, np.number, np.bool_))


def plain(value: Any) -> Any:
    """Returns a constant's number; everything else as it is."""
    return value.value if isinstance(value, Number) else value


def _function(
    name: str, compute: Callable[..., Any], doc: str, infinite: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    return each_element(lambda *operands: Call(name, *operands), compute, doc, infinite)


def _comparison(operator: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    def infinite(a: Any, b: Any) -> bool:  # a cell's number is neither infinite nor decisive
        return bool(compute(a if isinstance(a, float) else 0.0, b if isinstance(b, float) else 0.0))

    build, doc = (lambda a, b: expr.compare(operator, a, b)), f"`a {operator} b`, element by element."
    return each_element(build, compute, doc, infinite)


sqrt = _function("SQRT", np.sqrt, "The square root.")
exp = _function("EXP", np.exp, "e to the power of x.")
log = _function("LN", np.log, "The natural logarithm.")
tanh = _function("TANH", np.tanh, "The hyperbolic tangent.")
cos = _function("COS", np.cos, "The cosine of an angle in radians.")
abs = _function("ABS", np.abs, "The absolute value.")
sign = _function("SIGN", np.sign, "-1, 0 or 1.")
maximum = _function(
    "MAX",
    np.maximum,
    "The larger of two, element by element.",
    lambda a, b: b if a == -math.inf else a if b == -math.inf else math.inf,
)
minimum = _function(
    "MIN",
    np.minimum,
    "The smaller of two, element by element.",
    lambda a, b: b if a == math.inf else a if b == math.inf else -math.inf,
)
floor = _function("INT", np.floor, "The largest whole number that is not above x.")
mod = _function("MOD", np.mod, "The remainder, with the sign of the divisor.")
either = _function("OR", np.logical_or, "Whether at least one condition holds.")
both = _function("AND", np.logical_and, "Whether both conditions hold.")
finite_or = _function(
    "IFERROR",
    lambda a, b: np.where(np.isfinite(a), a, b),
    "The first where it is a number, the second where it is an error.",
)
where = each_element(expr.choose, np.where, "`yes` where the condition holds, `no` elsewhere.")
equal = _comparison("=", np.equal)
unequal = _comparison("<>", np.not_equal)
less = _comparison("<", np.less)
less_equal = _comparison("<=", np.less_equal)
greater = _comparison(">", np.greater)
greater_equal = _comparison(">=", np.greater_equal)


def sum(array: Any) -> Any:
    """Returns the sum of all elements of an array of any shape.

    Elements of one form whose references lie in step, in a row, a column or a rectangle, become one short formula over
    ranges: `SUM(A1:A9)`, `SUMPRODUCT(A1:A9,B1:B9)`, `SUMPRODUCT((A1:A9*D1-B1:B9)^2)`. Otherwise the array's first axis
    is taken apart and each part tried by itself; what is left is added term by term. Long rows whose terms are in step
    for long stretches, as the bands of a block are, become a range for each stretch.
    """
    array = np.asarray(array)
    if array.dtype != object:
        return np.sum(array)
    if array.size == 0:
        return Number(0)
    views = [array] if array.ndim == 1 else [array, array.T]
    for terms in views:
        whole = _total(list(terms.ravel()))
        if whole is not None:
            return whole
    parts = next(filter(None, map(_stretches, views if array.ndim < 3 else [])), None)
    if parts is None:
        parts = list(array) if array.ndim == 1 else [sum(part) for part in array]
    parts = [part for part in map(expr.lift, parts) if not (isinstance(part, Number) and part.value == 0)]
    if len(parts) < 2:
        return parts[0] if parts else Number(0)
    return expr.Sum(parts)


def mean(array: Any) -> Any:
    """Returns the mean of all elements of an array of any shape: their sum over their number."""
    return sum(array) / np.size(array)


def matmul(a: Any, b: Any) -> Array:
    """Returns the matrix product: each element is the sum of a row of `a` times a column of `b`.

    Shapes (n, k) and (k, m) give (n, m).
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"expected matrices of shapes (n, k) and (k, m), got {a.shape} and {b.shape}")
    return _each(lambda row, column: sum(row * column), a[:, None, :], b.T[None, :, :])


def dot(a: Any, b: Any) -> Array:
    """Returns the product of each row of `a` with each row of `b`: shapes (n, k) and (m, k) give (n, m), `a @ b.T`.

    Rows that are ranges give one short formula each, also where one of the two runs down and the other across.
    """
    a, b = np.asarray(a), np.asarray(b)
    rows, columns = [_pieces(row) for row in a], [_pieces(row) for row in b]
    result = np.empty((len(a), len(b)), dtype=object)
    for i, j in np.ndindex(result.shape):
        product = _product(rows[i], columns[j])
        result[i, j] = sum(a[i] * b[j]) if product is None else product
    return result


def pieces(row: Any) -> list[Range] | None:
    """Returns the fewest rows and columns that a row of references, of shape (n), fills one after the other.

    None if any is no reference.
    """
    if len(row) < 2 or not builtins.all(isinstance(each, Ref) for each in row):
        return None
    found, start = [], 0
    while start < len(row):
        first, end = row[start], start + 1
        down = end < len(row) and row[end].row != first.row
        while (
            end < len(row)
            and row[end].sheet == first.sheet
            and (
                (row[end].row, row[end].column)
                == (first.row + (end - start) * down, first.column + (end - start) * (not down))
            )
        ):
            end += 1
        last = row[end - 1]
        found.append(Range(first.sheet, first.row, first.column, last.row, last.column, first.absolute))
        start = end
    return found


class _Pieces:
    """A row's ranges, and those that they are cut into for one that is multiplied with it: many are cut alike."""

    def __init__(self, ranges: list[Range]) -> None:
        self.ends = tuple(_ends(ranges))
        self._ranges, self._cuts = ranges, {self.ends: ranges}

    def cut(self, ends: tuple[int, ...]) -> list[Range]:
        if ends not in self._cuts:
            self._cuts[ends] = _cut(self._ranges, ends)
        return self._cuts[ends]


def _pieces(row: Array) -> _Pieces | None:
    found = pieces(row)
    return None if found is None else _Pieces(found)


def _product(a: _Pieces | None, b: _Pieces | None) -> Expr | None:
    """The sum of products of two rows of references, or None if that takes more than a formula over ranges."""
    if a is None or b is None:
        return None
    ends = a.ends if a.ends == b.ends else tuple(sorted({*a.ends, *b.ends}))
    terms: list[Expr] = []
    for left, right in zip(a.cut(ends), b.cut(ends), strict=True):
        if left.shape == right.shape:
            terms.append(Call("SUMPRODUCT", left, right))
        else:
            across, down = (left, right) if left.shape[0] == 1 else (right, left)
            terms.append(Call("SUMPRODUCT", Call("MMULT", across, down)))
    return terms[0] if len(terms) == 1 else expr.Sum(terms)


def _ends(ranges: list[Range]) -> list[int]:
    """Where each of the ranges ends, in elements from the beginning of the first."""
    return list(accumulate(max(each.shape) for each in ranges))


def _cut(ranges: list[Range], ends: Sequence[int]) -> list[Range]:
    """The same cells as ranges that end at all of `ends`."""
    found, start, own = [], 0, zip(ranges, _ends(ranges), strict=True)
    whole, last = next(own)
    for end in ends:
        if start >= last:
            whole, last = next(own)
        first = start - (last - max(whole.shape))
        count, down = end - start, whole.shape[0] > 1
        top, left = whole.top + first * down, whole.left + first * (not down)
        bottom, right = top + (count - 1) * down, left + (count - 1) * (not down)
        found.append(Range(whole.sheet, top, left, bottom, right, whole.absolute))
        start = end
    return found


def relu(x: Any) -> Any:
    """Returns x where it is above 0, and 0 elsewhere; of any shape."""
    return maximum(x, 0)


def sigmoid(x: Any) -> Any:
    """Returns 1 / (1 + e^-x) in a form that does not overflow; of any shape."""
    return exp(minimum(x, 0)) / (1 + exp(-abs(x)))


def pad2d(x: Any, padding: int) -> Array:
    """Returns x with `padding` rows and columns of 0 on every side: (..., rows, columns) grows by twice as many."""
    x = np.asarray(x)
    rows, columns = x.shape[-2:]
    padded = np.zeros((*x.shape[:-2], rows + 2 * padding, columns + 2 * padding), dtype=x.dtype)
    padded[..., padding : padding + rows, padding : padding + columns] = x
    return padded


def windows(x: Any, size: tuple[int, int], stride: int = 1) -> Array:
    """Returns each window of `size` rows and columns: (..., rows, columns) becomes (..., i, j, size[0], size[1])."""
    x = np.asarray(x)
    if size[0] > x.shape[-2] or size[1] > x.shape[-1]:
        raise ValueError(f"a window of {size} does not fit into {x.shape[-2:]}")
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=(-2, -1))[..., ::stride, ::stride, :, :]


def conv2d(x: Any, weight: Any, bias: Any = None, stride: int = 1) -> Array:
    """Returns torch's convolution: the sum of each window of all channels times a filter, plus the filter's bias.

    `x` is (batch, channels, rows, columns), padded already; `weight` (filters, channels, rows, columns), `bias`
    (filters). The result is (batch, filters, i, j).
    """
    x, weight = np.asarray(x), np.asarray(weight)
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"expected x and weight of 4 dimensions and as many channels, got {x.shape}, {weight.shape}")
    looked = np.moveaxis(windows(x, weight.shape[2:], stride), 1, 3)[:, None]
    summed = _each(lambda window, kernel: sum(window * kernel), looked, weight[None, :, None, None], dims=3)
    return summed if bias is None else summed + np.reshape(bias, (1, -1, 1, 1))


def max_pool2d(x: Any, size: int, stride: int | None = None) -> Array:
    """Returns the largest of each window of `size` rows and columns: (..., rows, columns) becomes (..., i, j).

    Windows do not overlap unless `stride` says so.
    """
    return _each(largest, windows(x, (size, size), stride or size), dims=2)


def argmax(x: Any, top: Any = None) -> Any:
    """Returns the position of the first of the largest elements of x, of any shape, counted from 0 row by row.

    `top` is the largest, if it has a cell already.
    """
    flat = np.ravel(x)
    if flat.dtype != object:
        return np.argmax(flat)
    top = largest(flat) if top is None else top
    try:
        return Call("MATCH", top, span(flat), 0) - 1 if 1 in span(x).shape else _first_equal(flat, top)
    except ValueError:
        return _first_equal(flat, top)


def _first_equal(flat: Array, top: Any) -> Any:
    position: Any = len(flat) - 1
    for number in reversed(range(len(flat) - 1)):
        position = expr.choose(expr.compare("=", flat[number], top), number, position)
    return position


def one_hot(label: Any, classes: int) -> Array:
    """Returns 1 at the label's place and 0 at all others: shape (...) becomes (..., classes)."""
    return where(equal(np.asarray(label)[..., None], np.arange(classes)), 1, 0)


def index(array: Array, position: Any) -> Expr:
    """Returns the element of an array of references, of shape (n), at `position`, counted from 1 as worksheets do.

    `position` may be an expression, so that a reader can choose it. The references must lie in one row or column.
    """
    found = span(array)
    rows, columns = found.shape
    if 1 not in (rows, columns):
        raise ValueError(f"expected references in one row or column, got {found!r}")
    # In a row Gnumeric takes a single number for the row's, and Google Sheets complains of it.
    return Call("INDEX", found, *([1] if columns > 1 else []), position)


def smallest(array: Any) -> Any:
    """Returns the smallest element of an array of any shape."""
    return _extreme("MIN", np.min, array)


def largest(array: Any) -> Any:
    """Returns the largest element of an array of any shape."""
    return _extreme("MAX", np.max, array)


def previous(array: Array, first: Any) -> Array:
    """Returns the values of one step earlier, for a recurrence: `first`, then all of (n, ...) but the last."""
    array, first = np.asarray(array), np.asarray(first)
    shifted = np.empty(array.shape, dtype=np.result_type(array, first))
    shifted[:1], shifted[1:] = first, array[:-1]
    return shifted


def span(references: Any) -> Range:
    """Returns the range that references, of any shape, fill in their order. Raises `ValueError` if there is none."""
    flat = list(np.asarray(references, dtype=object).ravel())
    found = _range(flat) if flat and builtins.all(isinstance(each, Ref) for each in flat) else None
    if found is None:
        ends = f" from {flat[0]!r} to {flat[-1]!r}" if flat else ""
        raise ValueError(f"{len(flat)} references{ends} do not fill one range")
    return found


def _each(function: Callable[..., Any], *arrays: Any, dims: int = 1) -> Array:
    """The function of each part that remains when the last `dims` dimensions are taken together."""
    shape = np.broadcast_shapes(*(array.shape[: array.ndim - dims] for array in arrays))
    parts = [np.broadcast_to(array, shape + array.shape[array.ndim - dims :]) for array in arrays]
    results = np.empty(shape, dtype=np.result_type(*arrays))
    for position in np.ndindex(shape):
        results[position] = function(*(part[position] for part in parts))
    return results


def _extreme(name: str, compute: Callable[..., Any], array: Any) -> Any:
    flat = np.ravel(array)
    if flat.dtype != object:
        return compute(flat)
    try:
        return Call(name, span(array))
    except ValueError:
        while len(flat) > ARGUMENTS:
            flat = [Call(name, *flat[start : start + ARGUMENTS]) for start in range(0, len(flat), ARGUMENTS)]
        return Call(name, *flat)


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


def _stretches(array: Array) -> list[Expr] | None:
    """The sums of the stretches of a row, or of a matrix's rows, whose terms are in step; None if many are short."""
    row = array if array.ndim == 1 else array[0]
    starts, moves, before = [0], None, _references(row[0])
    for position, term in enumerate(row[1:], start=1):
        references = _references(term)
        moved = _moves(before, references)
        if moved is None or (moves is not None and moves != moved):
            starts.append(position)
            if len(starts) * STRETCH > len(row):
                return None
            moved = None
        moves, before = moved, references
    stretches = [array[..., start:end] for start, end in zip(starts, [*starts[1:], len(row)], strict=True)]
    totals = [_total(list(stretch.ravel())) for stretch in stretches]
    found = [total for total in totals if total is not None]
    return found if len(found) == len(totals) else None


def _references(expression: Any) -> list[Ref]:
    """The references in an arithmetic expression, from left to right."""
    if isinstance(expression, Ref):
        return [expression]
    if isinstance(expression, Negative):
        return _references(expression.operand)
    if isinstance(expression, Binary):
        return _references(expression.left) + _references(expression.right)
    return []


def _moves(before: list[Ref], after: list[Ref]) -> list[tuple[int, int]] | None:
    """By how many rows and columns each reference moved: by one cell, down or to the right, or not. Otherwise None."""
    if len(before) != len(after) or builtins.any(a.sheet != b.sheet for a, b in zip(before, after, strict=True)):
        return None
    moves = [(b.row - a.row, b.column - a.column) for a, b in zip(before, after, strict=True)]
    return moves if builtins.all(move in ((0, 0), (0, 1), (1, 0)) for move in moves) else None


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
