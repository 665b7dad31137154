"""One formula for each element: arithmetic, functions, comparisons and choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.expr import Call, Expr, Number, Ref
from sgdsheet.tensor import NO_NUMBER, Array, is_number, plain

Function = Callable[..., Any]
INFINITE = 1e307  # what stands for infinity where a cell decides whether it is one


def each_element(build: Function, compute: Function, infinite: Function | None = None) -> Function:
    """Returns `tensor.each_element`'s function for arrays of objects: they go in, and one comes out."""
    return objects(tensor.each_element(build, compute, "", infinite))


def objects(function: Function) -> Function:
    """Returns a function of `tensor` for arrays of objects."""

    def of_objects(*arrays: Any) -> Array:
        return np.asarray(function(*(np.asarray(each, dtype=object) for each in arrays)), dtype=object)

    return of_objects


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
multiply = each_element(expr.multiply, lambda a, b: a * b, lambda a, b: NO_NUMBER)
divide = each_element(expr.divide, np.divide, lambda a, b: 0.0 if isinstance(b, float) else a)
power = each_element(expr.power, lambda a, b: np.power(float(a), b))
negative = each_element(lambda a: -a, lambda a: -a)
exp = objects(tensor.exp)
log = objects(tensor.log)
sqrt = objects(tensor.sqrt)
absolute = objects(tensor.abs)
maximum = objects(tensor.maximum)
minimum = objects(tensor.minimum)
sigmoid = objects(tensor.sigmoid)
COMPARISONS = {
    "=": objects(tensor.equal),
    "<>": objects(tensor.unequal),
    "<": objects(tensor.less),
    "<=": objects(tensor.less_equal),
    ">": objects(tensor.greater),
    ">=": objects(tensor.greater_equal),
}


def comparison(operator: str) -> Function:
    """Returns the comparison of two arrays, element by element."""
    return COMPARISONS[operator]


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    if isinstance(condition, Number):
        condition = condition.value
    if not isinstance(condition, Expr):
        return yes if condition else no
    if plain(yes) is plain(no) or (is_number(yes) and is_number(no) and plain(yes) == plain(no)):
        return yes
    return expr.choose(condition, _cell(yes), _cell(no))


def _cell(value: Any) -> Any:
    """A number that a cell can hold: what stands for an infinite one is so large that e to its negative is 0."""
    if isinstance(value, float) and math.isnan(value):
        return NO_NUMBER
    return math.copysign(INFINITE, value) if isinstance(value, float) and math.isinf(value) else value


def where(condition: Any, yes: Any, no: Any) -> Array:
    """torch.where, which chooses at once where the condition is known."""
    arrays = [np.asarray(each, dtype=object) for each in (condition, yes, no)]
    return np.asarray(np.frompyfunc(_choose, 3, 1)(*arrays), dtype=object)


def _scaled(function: Function) -> Function:
    """add and sub take `alpha`, a factor for what is added."""
    return lambda a, b, alpha=1: function(a, b if alpha == 1 else multiply(b, alpha))


def _logical(name: str, compute: Function) -> Function:
    return each_element(lambda *elements: Call(name, *elements), compute)


def to_copy(x: Array, dtype: str = "float") -> Array:
    """A change of dtype: whole numbers lose what is behind the point; conditions are 0 and 1 when they come here."""
    if dtype == "bool":
        return comparison("<>")(x, 0)
    return each_element(lambda a: Call("TRUNC", a), math.trunc)(x) if dtype == "int" else x


def clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    """x, but at least `low` and at most `high`."""
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


def erf(x: Array) -> Array:
    """The error function, as a gamma distribution: IronCalc's ERF and NORMSDIST have ten digits only."""
    return each_element(_erf, math.erf)(x)


def _erf(a: Any) -> Expr:
    squared = Call("MIN", Call("ABS", a), 9) ** 2  # beyond which it is 1, and a square may overflow
    return Call("SIGN", a) * Call("GAMMADIST", squared, 0.5, 1, 1)


def erfc(x: Array) -> Array:
    """1 - erf(x), which keeps its digits where erf is nearly 1."""

    def build(a: Any) -> Any:
        return expr.choose(expr.compare("<", a, 3), 1 - _erf(a), 2 * Call("NORMSDIST", -a * math.sqrt(2)))

    return each_element(build, math.erfc)(x)


def expm1(x: Array) -> Array:
    """e^x - 1, exact for small x too: 2 * e^(x/2) * sinh(x/2)."""
    return each_element(lambda a: 2 * Call("EXP", a / 2) * Call("SINH", a / 2), math.expm1)(x)


def log1p(x: Array) -> Array:
    """ln(1 + x), exact for small x too: what 1 + x loses by rounding is put back (Kahan)."""

    def build(a: Any) -> Any:
        whole = 1 + a
        return expr.choose(expr.compare("=", whole, 1), a, Call("LN", whole) * a / (whole - 1))

    return each_element(build, math.log1p)(x)


def atan2(y: Array, x: Array) -> Array:
    """The angle of the point (x, y); worksheets take x first, and have none for (0, 0)."""

    def build(y: Any, x: Any) -> Any:
        at_origin = Call("AND", expr.compare("=", x, 0), expr.compare("=", y, 0))
        return expr.choose(at_origin, 0, Call("ATAN2", x, y))

    return each_element(build, math.atan2)(y, x)


def _round(x: Array, decimals: int = 0) -> Array:
    """The nearest whole number, the even one of two that are as near."""

    def build(a: Any) -> Any:
        half = expr.compare("=", Call("ABS", a - Call("TRUNC", a)), 0.5)
        return expr.choose(half, 2 * Call("ROUND", a / 2, 0), Call("ROUND", a, 0))

    return each_element(build, round)(x)


def remainder(a: Array, b: Array) -> Array:
    """What a division to the floor leaves: the sign is the divisor's."""
    return each_element(lambda a, b: a - b * Call("INT", a / b), lambda a, b: a % b)(a, b)


def fmod(a: Array, b: Array) -> Array:
    """What a division towards 0 leaves: the sign is the dividend's."""
    return each_element(lambda a, b: a - b * Call("TRUNC", a / b), math.fmod)(a, b)


def _rounded_quotient(a: Array, b: Array, rounding_mode: str | None = None) -> Array:
    quotient = divide(a, b)
    if rounding_mode is None:
        return quotient
    return _FUNCTIONS["floor" if rounding_mode == "floor" else "trunc"](quotient)


def _copysign(x: Array, sign: Array) -> Array:
    return where(comparison("<")(sign, 0), negative(absolute(x)), absolute(x))


def _xlogy(x: Array, y: Array) -> Array:
    """x * ln(y), and 0 where x is 0, whatever y is."""
    return where(comparison("=")(x, 0), 0, multiply(x, log(y)))


def _elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    """x where it is above 0, else alpha * (e^x - 1)."""
    below = multiply(expm1(multiply(minimum(x, 0), input_scale)), alpha * scale)
    return where(comparison(">")(x, 0), multiply(x, scale), below)


def _truth(x: Array) -> Array:
    """A condition, or whether a number is not 0."""
    return np.asarray(
        np.frompyfunc(lambda a: expr.compare("<>", a, 0) if isinstance(a, Ref) else a, 1, 1)(x), dtype=object
    )


def lgamma(x: Array) -> Array:
    """ln|gamma(x)|; what worksheets know of positive numbers says it of the others too, by reflection."""

    def build(a: Any) -> Any:
        to_whole = a - Call("ROUND", a, 0)  # not a itself, whose sine loses digits when a is large
        reflected = math.log(math.pi) - Call("LN", Call("ABS", Call("SIN", math.pi * to_whole)))
        return expr.choose(expr.compare(">", a, 0), Call("GAMMALN", a), reflected - Call("GAMMALN", 1 - a))

    return each_element(build, math.lgamma)(x)


def _never(x: Array, holds: Function) -> Array:
    """A condition on numbers that no cell can hold: it holds for constants alone."""
    return each_element(lambda a: False, holds, holds)(x)


# One worksheet function, or a short formula, for each.
_FUNCTIONS: dict[str, Function] = {
    "sin": call("SIN", np.sin),
    "cos": objects(tensor.cos),
    "tan": call("TAN", np.tan),
    "asin": call("ASIN", np.arcsin),
    "acos": call("ACOS", np.arccos),
    "atan": call("ATAN", np.arctan),
    "sinh": call("SINH", np.sinh),
    "cosh": call("COSH", np.cosh),
    "asinh": call("ASINH", np.arcsinh),
    "acosh": call("ACOSH", np.arccosh),
    "atanh": call("ATANH", np.arctanh),
    "floor": objects(tensor.floor),
    "trunc": call("TRUNC", np.trunc),
    "ceil": each_element(lambda a: -Call("INT", -a), np.ceil),
    "frac": each_element(lambda a: a - Call("TRUNC", a), lambda a: a - np.trunc(a)),
    "exp2": each_element(lambda a: Number(2) ** a, np.exp2),
    "log2": each_element(lambda a: Call("LN", a) / math.log(2), np.log2),
    "log10": call("LOG10", np.log10),
}


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
    "sign.default": objects(tensor.sign),
    "sgn.default": objects(tensor.sign),
    "tanh.default": objects(tensor.tanh),
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
    "logical_xor.default": lambda a, b: comparison("<>")(numerics(_truth(a)), numerics(_truth(b))),
    "_to_copy.default": to_copy,
    **{f"{name}.default": function for name, function in _FUNCTIONS.items()},
    "elu.default": _elu,
    "erf.default": erf,
    "erfc.default": erfc,
    "expm1.default": expm1,
    "log1p.default": log1p,
    "atan2.default": atan2,
    "round.default": _round,
    "remainder.Tensor": remainder,
    "remainder.Scalar": remainder,
    "remainder.Scalar_Tensor": remainder,
    "fmod.Tensor": fmod,
    "fmod.Scalar": fmod,
    "div.Tensor_mode": _rounded_quotient,
    "floor_divide.default": lambda a, b: _rounded_quotient(a, b, rounding_mode="floor"),
    "clamp.Tensor": clamp,
    "clamp_min.default": maximum,
    "clamp_min.Tensor": maximum,
    "clamp_max.default": minimum,
    "clamp_max.Tensor": minimum,
    "hypot.default": lambda a, b: sqrt(add(multiply(a, a), multiply(b, b))),
    "copysign.Tensor": _copysign,
    "copysign.Scalar": _copysign,
    "signbit.default": lambda x: comparison("<")(x, 0),
    "heaviside.default": lambda x, middle: where(comparison("=")(x, 0), middle, where(comparison(">")(x, 0), 1, 0)),
    "isnan.default": lambda x: _never(x, math.isnan),
    "isinf.default": lambda x: _never(x, math.isinf),
    "isposinf.default": lambda x: _never(x, lambda a: a == math.inf),
    "isneginf.default": lambda x: _never(x, lambda a: a == -math.inf),
    "bitwise_not.default": _logical("NOT", lambda a: not a),
    "bitwise_and.Tensor": _logical("AND", lambda a, b: bool(a) and bool(b)),
    "bitwise_or.Tensor": _logical("OR", lambda a, b: bool(a) or bool(b)),
    "bitwise_xor.Tensor": lambda a, b: comparison("<>")(numerics(a), numerics(b)),
    "xlogy.Tensor": _xlogy,
    "xlogy.Scalar_Self": _xlogy,
    "xlogy.Scalar_Other": _xlogy,
    "fmax.default": maximum,
    "fmin.default": minimum,
    "hardtanh.default": lambda x, low=-1, high=1: clamp(x, low, high),
    "leaky_relu.default": lambda x, slope=0.01: where(comparison(">")(x, 0), x, multiply(x, slope)),
    "ldexp.Tensor": lambda x, other: multiply(x, _FUNCTIONS["exp2"](other)),
    "round.decimals": lambda x, decimals=0: divide(_round(multiply(x, 10.0**decimals)), 10.0**decimals),
    "softshrink_backward.default": lambda grad, x, limit: where(comparison("<=")(absolute(x), limit), 0, grad),
    "hardshrink_backward.default": lambda grad, x, limit: where(comparison("<=")(absolute(x), limit), 0, grad),
    "lgamma.default": lgamma,
}

# Operations that take some of their arguments as conditions; all others get 1 and 0 in their place.
CONDITIONS = {
    "where.self",
    "masked_fill.Scalar",
    "masked_fill.Tensor",
    "logical_not.default",
    "logical_and.default",
    "logical_or.default",
    "logical_xor.default",
    "bitwise_not.default",
    "bitwise_and.Tensor",
    "bitwise_or.Tensor",
    "bitwise_xor.Tensor",
    "any.default",
    "any.dim",
    "any.dims",
    "all.default",
    "all.dim",
    "all.dims",
}
