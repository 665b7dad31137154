"""What each ATen operation does with arrays of expressions.

Three tables. `ELEMENTWISE` holds one formula for each element. `REARRANGED` are operations that only move elements: torch
itself says where each comes from, and they spend no cells. `FORMULAS` holds all others: functions of arrays that take
what the ATen operation takes and return what it returns.

Elements are expressions, or plain numbers where they are known when the workbook is made; an infinite one (a mask in
front of a softmax) never reaches a cell. A condition's elements are expressions that a worksheet takes for true or false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from sgdsheet import expr, tensor
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Expr, Number, Ref
from sgdsheet.tensor import Array

Function = Callable[..., Any]


def overload(op: str) -> Function:
    """torch's own function for an operation that is known here. Raises `Error` for any other."""
    if op not in ELEMENTWISE and op not in REARRANGED and op not in FORMULAS:
        raise Error(f"the operation {op!r} is not one that sgdsheet knows")
    name, _, kind = op.partition(".")
    return getattr(getattr(torch.ops.aten, name), kind)


def known(op: str) -> bool:
    """Whether an operation can be put on a sheet."""
    return op in ELEMENTWISE or op in REARRANGED or op in FORMULAS


def apply(op: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The operation on arrays of expressions: an array, or a list of arrays."""
    if op in REARRANGED:
        return _rearrange(op, args, kwargs)
    function = ELEMENTWISE.get(op) or FORMULAS[op]
    return function(*args, **kwargs)


# --- One element at a time ----------------------------------------------------------------------------------------


def _number(value: Any) -> bool:
    return not isinstance(value, Expr) or isinstance(value, Number)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Number) else value


def _each(build: Function, compute: Function, infinite: Function | None = None) -> Function:
    """A function of arrays from one of elements: `compute` where all are numbers, `build` where some are expressions.

    `infinite` is `build` where one of the numbers is infinite.
    """

    def one(*elements: Any) -> Any:
        plain = [_plain(each) for each in elements]
        if all(_number(each) for each in elements):
            with np.errstate(all="ignore"):
                value = compute(*plain)
            return value.item() if isinstance(value, np.generic) else value
        if any(isinstance(each, float) and not math.isfinite(each) for each in plain):
            if infinite is None:
                raise Error("an infinite number reaches a formula that cannot hold it")
            return infinite(*plain)
        return build(*elements)

    def function(*arrays: Any) -> Array:
        arrays = tuple(np.asarray(each, dtype=object) for each in arrays)
        return np.asarray(np.frompyfunc(one, len(arrays), 1)(*arrays), dtype=object)

    return function


def _call(name: str, compute: Function) -> Function:
    return _each(lambda *elements: Call(name, *elements), compute)


def numeric(condition: Any) -> Any:
    """A condition's element as 1 or 0, as a cell holds it."""
    if isinstance(condition, Ref) or not isinstance(condition, Expr):
        return condition if isinstance(condition, Expr) else int(condition)
    return expr.choose(condition, 1, 0)


def numerics(array: Any) -> Array:
    """A condition as an array of 1 and 0."""
    return np.asarray(np.frompyfunc(numeric, 1, 1)(np.asarray(array, dtype=object)), dtype=object)


def _infinite_sum(a: Any, b: Any) -> Any:
    return a if isinstance(a, float) and not math.isfinite(a) else b


_add = _each(expr.add, lambda a, b: a + b, _infinite_sum)
_sub = _each(expr.subtract, lambda a, b: a - b, lambda a, b: a if isinstance(a, float) else -b)
_mul = _each(expr.multiply, lambda a, b: a * b)
_div = _each(expr.divide, np.divide, lambda a, b: 0.0 if isinstance(b, float) else a)
_pow = _each(expr.power, lambda a, b: np.power(float(a), b))
_neg = _each(lambda a: -a, lambda a: -a)
exp = _call("EXP", np.exp)
log = _call("LN", np.log)
sqrt = _call("SQRT", np.sqrt)
absolute = _call("ABS", abs)
maximum = _each(
    lambda a, b: Call("MAX", a, b), max, lambda a, b: b if a == -math.inf else a if b == -math.inf else math.inf
)
minimum = _each(
    lambda a, b: Call("MIN", a, b), min, lambda a, b: b if a == math.inf else a if b == math.inf else -math.inf
)


def _comparison(operator: str) -> Function:
    def infinite(a: Any, b: Any) -> bool:
        return expr._COMPARISONS[operator](a if isinstance(a, float) else 0.0, b if isinstance(b, float) else 0.0)

    return _each(lambda a, b: expr.compare(operator, a, b), expr._COMPARISONS[operator], infinite)


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    if isinstance(condition, Number):
        condition = condition.value
    if not isinstance(condition, Expr):
        return yes if condition else no
    if _plain(yes) is _plain(no) or (_number(yes) and _number(no) and _plain(yes) == _plain(no)):
        return yes
    return expr.choose(condition, yes, no)


def where(condition: Any, yes: Any, no: Any) -> Array:
    """torch.where, which chooses at once where the condition is known."""
    arrays = [np.asarray(each, dtype=object) for each in (condition, yes, no)]
    return np.asarray(np.frompyfunc(_choose, 3, 1)(*arrays), dtype=object)


def _scaled(function: Function) -> Function:
    """add and sub take `alpha`, a factor for what is added."""
    return lambda a, b, alpha=1: function(a, b if alpha == 1 else _mul(b, alpha))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), in a form that does not overflow."""
    build = lambda a: Call("EXP", Call("MIN", a, 0)) / (1 + Call("EXP", -Call("ABS", a)))  # noqa: E731
    return _each(build, lambda a: 1 / (1 + np.exp(-a)))(x)


def _logical(name: str, compute: Function) -> Function:
    return _each(lambda *elements: Call(name, *elements), compute)


def to_copy(x: Array, dtype: str = "float") -> Array:
    """A change of dtype: whole numbers lose what is behind the point, conditions become 0 and 1 before they come here."""
    if dtype == "bool":
        return _comparison("<>")(x, 0)
    return _each(lambda a: Call("TRUNC", a), math.trunc)(x) if dtype == "int" else x


def clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    """x, but at least `low` and at most `high`."""
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


ELEMENTWISE: dict[str, Function] = {
    "add.Tensor": _scaled(_add),
    "add.Scalar": _scaled(_add),
    "sub.Tensor": _scaled(_sub),
    "sub.Scalar": _scaled(_sub),
    "rsub.Scalar": lambda a, b, alpha=1: _sub(b, _mul(a, alpha)),
    "mul.Tensor": _mul,
    "mul.Scalar": _mul,
    "div.Tensor": _div,
    "div.Scalar": _div,
    "neg.default": _neg,
    "pow.Tensor_Scalar": _pow,
    "pow.Tensor_Tensor": _pow,
    "pow.Scalar": _pow,
    "reciprocal.default": lambda x: _div(1, x),
    "sqrt.default": sqrt,
    "rsqrt.default": lambda x: _div(1, sqrt(x)),
    "exp.default": exp,
    "log.default": log,
    "abs.default": absolute,
    "sign.default": _call("SIGN", np.sign),
    "sgn.default": _call("SIGN", np.sign),
    "tanh.default": _call("TANH", np.tanh),
    "sigmoid.default": sigmoid,
    "relu.default": lambda x: maximum(x, 0),
    "maximum.default": maximum,
    "minimum.default": minimum,
    "clamp.default": clamp,
    "threshold_backward.default": lambda grad, x, threshold: where(_comparison(">")(x, threshold), grad, 0),
    "eq.Tensor": _comparison("="),
    "eq.Scalar": _comparison("="),
    "ne.Tensor": _comparison("<>"),
    "ne.Scalar": _comparison("<>"),
    "lt.Tensor": _comparison("<"),
    "lt.Scalar": _comparison("<"),
    "le.Tensor": _comparison("<="),
    "le.Scalar": _comparison("<="),
    "gt.Tensor": _comparison(">"),
    "gt.Scalar": _comparison(">"),
    "ge.Tensor": _comparison(">="),
    "ge.Scalar": _comparison(">="),
    "where.self": where,
    "masked_fill.Scalar": lambda x, mask, value: where(mask, value, x),
    "masked_fill.Tensor": lambda x, mask, value: where(mask, value, x),
    "logical_not.default": _logical("NOT", lambda a: not a),
    "logical_and.default": _logical("AND", lambda a, b: bool(a) and bool(b)),
    "logical_or.default": _logical("OR", lambda a, b: bool(a) or bool(b)),
    "_to_copy.default": to_copy,
}

# Operations that take some of their arguments as conditions; all others get 1 and 0 in their place.
CONDITIONS = {
    "where.self",
    "masked_fill.Scalar",
    "masked_fill.Tensor",
    "logical_not.default",
    "logical_and.default",
    "logical_or.default",
}

# --- Elements in other places -------------------------------------------------------------------------------------

REARRANGED = set(
    "view.default _unsafe_view.default reshape.default permute.default transpose.int t.default expand.default "
    "squeeze.default squeeze.dim squeeze.dims unsqueeze.default select.int slice.Tensor split.Tensor "
    "split_with_sizes.default unbind.int cat.default stack.default flip.default roll.default diagonal.default "
    "as_strided.default constant_pad_nd.default repeat.default select_scatter.default slice_scatter.default "
    "diagonal_scatter.default view_copy.default permute_copy.default expand_copy.default tril.default triu.default "
    "unfold.default reflection_pad1d.default reflection_pad2d.default replication_pad1d.default "
    "replication_pad2d.default pixel_shuffle.default pixel_unshuffle.default upsample_nearest1d.default "
    "upsample_nearest2d.default im2col.default as_strided_scatter.default alias.default".split()
)


def _rearrange(op: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Runs torch's operation on the elements' numbers, and puts the elements where their numbers went."""
    elements: list[Any] = [0]  # what torch fills with

    def numbered(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            start = len(elements)
            elements.extend(value.reshape(-1).tolist())
            return torch.arange(start, len(elements), dtype=torch.float64).reshape(value.shape)
        if isinstance(value, list) and any(isinstance(each, np.ndarray) for each in value):
            return [numbered(each) for each in value]
        return value

    numbers = [numbered(each) for each in args]
    if op == "constant_pad_nd.default":
        elements[0] = args[2] if len(args) > 2 else kwargs.pop("value", 0)
        numbers = numbers[:2]
    flat = np.empty(len(elements), dtype=object)
    flat[:] = elements
    found = overload(op)(*numbers, **kwargs)
    if isinstance(found, (list, tuple)):
        return [flat[each.long().numpy()] for each in found]
    return np.asarray(flat[found.long().numpy()], dtype=object).reshape(tuple(found.shape))


# --- Sums, products and the rest -----------------------------------------------------------------------------------


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
    numbers = [float(_plain(each)) for each in x.flat if _number(each)]
    others = [each for each in x.flat if not _number(each)]
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
    return _add(product if alpha == 1 else _mul(product, alpha), bias if beta == 1 else _mul(bias, beta))


FORMULAS: dict[str, Function] = {
    "sum.default": sum,
    "sum.dim_IntList": sum,
    "mean.default": mean,
    "mean.dim": mean,
    "amax.default": lambda x, dims=(), keepdim=False: reduce(_largest, x, dims, keepdim),
    "mm.default": mm,
    "bmm.default": bmm,
    "addmm.default": addmm,
}
