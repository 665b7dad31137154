"""One formula for each element: arithmetic, functions, comparisons and choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet import expr
from sgdsheet.errors import Error
from sgdsheet.expr import Call, Expr, Number, Ref
from sgdsheet.tensor import Array

Function = Callable[..., Any]


def is_number(value: Any) -> bool:
    return not isinstance(value, Expr) or isinstance(value, Number)


def plain(value: Any) -> Any:
    return value.value if isinstance(value, Number) else value


def each_element(build: Function, compute: Function, infinite: Function | None = None) -> Function:
    """A function of arrays from one of elements: `compute` where all are numbers, `build` where some are expressions.

    `infinite` is `build` where one of the numbers is infinite.
    """

    def one(*elements: Any) -> Any:
        values = [plain(each) for each in elements]
        if all(is_number(each) for each in elements):
            with np.errstate(all="ignore"):
                value = compute(*values)
            return value.item() if isinstance(value, np.generic) else value
        if any(isinstance(each, float) and not math.isfinite(each) for each in values):
            if infinite is None:
                raise Error("an infinite number reaches a formula that cannot hold it")
            return infinite(*values)
        return build(*elements)

    def function(*arrays: Any) -> Array:
        arrays = tuple(np.asarray(each, dtype=object) for each in arrays)
        return np.asarray(np.frompyfunc(one, len(arrays), 1)(*arrays), dtype=object)

    return function


def call(name: str, compute: Function) -> Function:
    return each_element(lambda *elements: Call(name, *elements), compute)


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


add = each_element(expr.add, lambda a, b: a + b, _infinite_sum)
subtract = each_element(expr.subtract, lambda a, b: a - b, lambda a, b: a if isinstance(a, float) else -b)
multiply = each_element(expr.multiply, lambda a, b: a * b)
divide = each_element(expr.divide, np.divide, lambda a, b: 0.0 if isinstance(b, float) else a)
power = each_element(expr.power, lambda a, b: np.power(float(a), b))
negative = each_element(lambda a: -a, lambda a: -a)
exp = call("EXP", np.exp)
log = call("LN", np.log)
sqrt = call("SQRT", np.sqrt)
absolute = call("ABS", abs)
maximum = each_element(
    lambda a, b: Call("MAX", a, b), max, lambda a, b: b if a == -math.inf else a if b == -math.inf else math.inf
)
minimum = each_element(
    lambda a, b: Call("MIN", a, b), min, lambda a, b: b if a == math.inf else a if b == math.inf else -math.inf
)


def comparison(operator: str) -> Function:
    def infinite(a: Any, b: Any) -> bool:
        return expr._COMPARISONS[operator](a if isinstance(a, float) else 0.0, b if isinstance(b, float) else 0.0)

    return each_element(lambda a, b: expr.compare(operator, a, b), expr._COMPARISONS[operator], infinite)


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    if isinstance(condition, Number):
        condition = condition.value
    if not isinstance(condition, Expr):
        return yes if condition else no
    if plain(yes) is plain(no) or (is_number(yes) and is_number(no) and plain(yes) == plain(no)):
        return yes
    return expr.choose(condition, yes, no)


def where(condition: Any, yes: Any, no: Any) -> Array:
    """torch.where, which chooses at once where the condition is known."""
    arrays = [np.asarray(each, dtype=object) for each in (condition, yes, no)]
    return np.asarray(np.frompyfunc(_choose, 3, 1)(*arrays), dtype=object)


def _scaled(function: Function) -> Function:
    """add and sub take `alpha`, a factor for what is added."""
    return lambda a, b, alpha=1: function(a, b if alpha == 1 else multiply(b, alpha))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), in a form that does not overflow."""
    build = lambda a: Call("EXP", Call("MIN", a, 0)) / (1 + Call("EXP", -Call("ABS", a)))  # noqa: E731
    return each_element(build, lambda a: 1 / (1 + np.exp(-a)))(x)


def _logical(name: str, compute: Function) -> Function:
    return each_element(lambda *elements: Call(name, *elements), compute)


def to_copy(x: Array, dtype: str = "float") -> Array:
    """A change of dtype: whole numbers lose what is behind the point, conditions become 0 and 1 before they come here."""
    if dtype == "bool":
        return comparison("<>")(x, 0)
    return each_element(lambda a: Call("TRUNC", a), math.trunc)(x) if dtype == "int" else x


def clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    """x, but at least `low` and at most `high`."""
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


ELEMENTWISE: dict[str, Function] = {
    "add.Tensor": _scaled(add),
    "add.Scalar": _scaled(add),
    "sub.Tensor": _scaled(subtract),
    "sub.Scalar": _scaled(subtract),
    "rsub.Scalar": lambda a, b, alpha=1: subtract(b, multiply(a, alpha)),
    "mul.Tensor": multiply,
    "mul.Scalar": multiply,
    "div.Tensor": divide,
    "div.Scalar": divide,
    "neg.default": negative,
    "pow.Tensor_Scalar": power,
    "pow.Tensor_Tensor": power,
    "pow.Scalar": power,
    "reciprocal.default": lambda x: divide(1, x),
    "sqrt.default": sqrt,
    "rsqrt.default": lambda x: divide(1, sqrt(x)),
    "exp.default": exp,
    "log.default": log,
    "abs.default": absolute,
    "sign.default": call("SIGN", np.sign),
    "sgn.default": call("SIGN", np.sign),
    "tanh.default": call("TANH", np.tanh),
    "sigmoid.default": sigmoid,
    "relu.default": lambda x: maximum(x, 0),
    "maximum.default": maximum,
    "minimum.default": minimum,
    "clamp.default": clamp,
    "threshold_backward.default": lambda grad, x, threshold: where(comparison(">")(x, threshold), grad, 0),
    "eq.Tensor": comparison("="),
    "eq.Scalar": comparison("="),
    "ne.Tensor": comparison("<>"),
    "ne.Scalar": comparison("<>"),
    "lt.Tensor": comparison("<"),
    "lt.Scalar": comparison("<"),
    "le.Tensor": comparison("<="),
    "le.Scalar": comparison("<="),
    "gt.Tensor": comparison(">"),
    "gt.Scalar": comparison(">"),
    "ge.Tensor": comparison(">="),
    "ge.Scalar": comparison(">="),
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
