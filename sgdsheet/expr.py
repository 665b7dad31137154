"""Expressions: immutable formula trees that know how to print themselves.

An expression is a number, a text, a reference to a cell or a range, an operation or a function call. Python's own
operators build trees (`w * x + b`); `formula` prints one for the sheet it stands on.

Excel disagrees with mathematics in two places: it reads `-A1^2` as `(-A1)^2`, and `2^3^2` from the left. The printer
leaves neither to the reader: a power's base and exponent are always a single thing or in parentheses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from sgdsheet.errors import Error

MAX_ROWS, MAX_COLUMNS, MAX_FORMULA = 1_048_576, 16_384, 8_192
MAX_LEVELS = 64  # of functions and parentheses within each other
_ADDRESS = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})(?::\$?([A-Z]{1,3})\$?(\d{1,7}))?", re.IGNORECASE)

# How tightly an operator binds: the higher, the tighter.
_COMPARE, _ADD, _MULTIPLY, _POWER, _ATOM = 1, 2, 3, 4, 5
_BINDS = {
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">="), _COMPARE),
    "+": _ADD,
    "-": _ADD,
    "*": _MULTIPLY,
    "/": _MULTIPLY,
    "^": _POWER,
}

# How tightly its left and its right operand must bind to stand without parentheses.
_OPERANDS = {
    _COMPARE: (_ATOM, _ATOM),
    _ADD: (_ADD, _MULTIPLY),
    _MULTIPLY: (_MULTIPLY, _POWER),
    _POWER: (_ATOM, _ATOM),
}


class Expr:
    """A formula tree. Build one with operators; print it with `formula`.

    With a numpy array on the other side the operator is left to numpy, which applies it to each element.
    """

    __slots__ = ()
    binds = _ATOM

    def text(self, sheet: str) -> str:
        """Returns the formula's text without `=`, for a cell on `sheet` (references to other sheets name them)."""
        done: list[str] = []
        waiting: list[Expr | str] = [self]
        while waiting:  # not by recursion: a sum that was added up in a loop is as deep as it is long
            part = waiting.pop()
            if isinstance(part, str):
                done.append(part)
            else:
                waiting += part.parts(sheet)[::-1]
        return "".join(done)

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        """Returns what the text consists of, from left to right: texts, and the expressions between them."""
        raise NotImplementedError

    def operands(self) -> Sequence[Expr]:
        """Returns the expressions that it is directly made of."""
        return ()

    def __add__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else add(self, other)

    def __radd__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else add(other, self)

    def __sub__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else subtract(self, other)

    def __rsub__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else subtract(other, self)

    def __mul__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else multiply(self, other)

    def __rmul__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else multiply(other, self)

    def __truediv__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else divide(self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else divide(other, self)

    def __pow__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else power(self, other)

    def __rpow__(self, other: Any) -> Expr:
        return NotImplemented if isinstance(other, np.ndarray) else power(other, self)

    def __neg__(self) -> Expr:
        return negative(self)

    def __pos__(self) -> Expr:
        return self

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value in Python; use sgdsheet.tensor.where to choose by one")


class Leaf(Expr):
    """An expression that is made of no others: its text is at hand."""

    __slots__ = ()

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        return [self.text(sheet)]


class Number(Leaf):
    """A constant, printed so that the very same float64 comes back."""

    __slots__ = ("binds", "value")

    def __init__(self, value: float) -> None:
        if not math.isfinite(value):
            raise Error(f"a cell can hold finite numbers only, not {value}")
        self.value = value
        # A leading minus binds like one: before a power or behind another operator it needs parentheses.
        self.binds = _ATOM if math.copysign(1, value) > 0 else _ADD

    def text(self, sheet: str) -> str:
        # Python's shortest text is the one that reads back as the same float64.
        return repr(float(self.value)).upper().removesuffix(".0")


class Text(Leaf):
    """A text constant, as in a comparison with a drop-down's choice."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def text(self, sheet: str) -> str:
        return '"' + self.value.replace('"', '""') + '"'


class Ref(Leaf):
    """One cell. `row` and `column` count from 1. `absolute` prints `$A$1`; `name` prints a defined name instead."""

    __slots__ = ("absolute", "column", "name", "row", "sheet")

    def __init__(self, sheet: str, row: int, column: int, absolute: bool = False, name: str | None = None) -> None:
        self.sheet, self.row, self.column, self.absolute, self.name = sheet, row, column, absolute, name

    @property
    def address(self) -> str:
        """The address within its sheet, as in `D12`."""
        return f"{column_letters(self.column)}{self.row}"

    @property
    def place(self) -> str:
        """The address with its sheet, as in `'by hand'!D12`."""
        return f"{quoted(self.sheet)}!{self.address}"

    def text(self, sheet: str) -> str:
        if self.name:
            return self.name
        letters = column_letters(self.column)
        cell = f"${letters}${self.row}" if self.absolute else f"{letters}{self.row}"
        return cell if self.sheet == sheet else f"{quoted(self.sheet)}!{cell}"

    def __repr__(self) -> str:
        return f"Ref({self.place})"


class Range(Leaf):
    """A rectangle of cells, `top`, `left`, `bottom`, `right` counted from 1 and inclusive."""

    __slots__ = ("absolute", "bottom", "left", "right", "sheet", "top")

    def __init__(self, sheet: str, top: int, left: int, bottom: int, right: int, absolute: bool = False) -> None:
        self.sheet, self.top, self.left, self.bottom, self.right = sheet, top, left, bottom, right
        self.absolute = absolute

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top + 1, self.right - self.left + 1

    @property
    def address(self) -> str:
        """The address within its sheet, as in `D12:D40`; a single cell as `D12`."""
        first = f"{column_letters(self.left)}{self.top}"
        last = f"{column_letters(self.right)}{self.bottom}"
        return first if first == last else f"{first}:{last}"

    @property
    def place(self) -> str:
        """The address with its sheet, as in `'by hand'!D12:D40`."""
        return f"{quoted(self.sheet)}!{self.address}"

    @property
    def absolute_place(self) -> str:
        """The address with its sheet and dollar signs, as a defined name or a chart wants it."""
        first = f"${column_letters(self.left)}${self.top}"
        last = f"${column_letters(self.right)}${self.bottom}"
        return f"{quoted(self.sheet)}!{first}" + ("" if first == last else f":{last}")

    def text(self, sheet: str) -> str:
        if self.absolute:
            place = self.absolute_place
            return place.rpartition("!")[2] if self.sheet == sheet else place
        return self.address if self.sheet == sheet else self.place

    def __repr__(self) -> str:
        return f"Range({self.place})"


class Negative(Expr):
    """`-x`."""

    __slots__ = ("operand",)
    binds = _ADD

    def __init__(self, operand: Expr) -> None:
        self.operand = operand

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        (operand,) = self.operands()
        return ["-", *_inside(operand, _ATOM, sheet)] if operand is self.operand else [operand]

    def operands(self) -> Sequence[Expr]:
        operand = self.operand
        if isinstance(operand, Binary) and operand.binds == _MULTIPLY:
            # IronCalc 0.9 loses the parentheses of -(a*b): the first factor takes the minus, to the same number.
            return (Binary(operand.operator, -operand.left, operand.right),)
        return (operand,)


class Binary(Expr):
    """`left operator right`. Parentheses keep the order of evaluation that the tree has, and so its rounding."""

    __slots__ = ("binds", "left", "operator", "right")

    def __init__(self, operator: str, left: Expr, right: Expr) -> None:
        self.operator, self.left, self.right = operator, left, right
        self.binds = _BINDS[operator]

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        left_binds, right_binds = _OPERANDS[self.binds]
        return [*_inside(self.left, left_binds, sheet), self.operator, *_inside(self.right, right_binds, sheet)]

    def operands(self) -> Sequence[Expr]:
        return self.left, self.right


class Sum(Expr):
    """`a+b+c+…`, of any length, from left to right."""

    __slots__ = ("terms",)
    binds = _ADD

    def __init__(self, terms: Sequence[Expr]) -> None:
        self.terms = tuple(terms)

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        first, *rest = self.terms
        found = _inside(first, _ADD, sheet)
        for term in rest:
            found += ["+", *_inside(term, _MULTIPLY, sheet)]
        return found

    def operands(self) -> Sequence[Expr]:
        return self.terms


class Call(Expr):
    """A worksheet function, as in `SQRT(A1)`."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = function, tuple(lift(argument) for argument in arguments)

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        found: list[Expr | str] = [self.function, "("]
        for number, argument in enumerate(self.arguments):
            part = argument.text(sheet) if isinstance(argument, Leaf) else argument
            found += [",", part] if number else [part]
        found.append(")")
        return found

    def operands(self) -> Sequence[Expr]:
        return self.arguments


def lift(value: Any) -> Expr:
    """`value` as an expression: an expression stays, a number or a text becomes a constant.

    Raises `TypeError` for anything else.
    """
    if isinstance(value, Expr):
        return value
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, int):  # True and False count as 1 and 0, as they do in torch
        value = int(value)
    try:
        return Number(float(value))
    except OverflowError:
        raise Error(f"a cell can hold numbers up to 1.8E+308 only, not one of {len(str(value))} digits") from None
    except TypeError:
        raise TypeError(f"expected an expression, a number or a text, got {type(value).__name__}") from None


def formula(value: Any, sheet: str) -> str:
    """The cell's formula, with its `=`, for a cell on `sheet`.

    Raises `Error` if it is longer than the 8,192 characters that Excel accepts, or deeper than 64 levels.
    """
    text = "=" + lift(value).text(sheet)
    if len(text) > MAX_FORMULA:
        raise Error(f"a formula of {len(text):,} characters is longer than the {MAX_FORMULA:,} that Excel accepts")
    if text.count("(") > MAX_LEVELS and (levels := _levels(text)) > MAX_LEVELS:
        raise Error(f"a formula of {levels:,} levels is deeper than the {MAX_LEVELS} that Excel accepts")
    return text


def _levels(text: str) -> int:
    """Returns how many parentheses are open at once, those of texts and of sheets' names aside."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    return max(accumulate((sign == "(") - (sign == ")") for sign in plain))


def add(left: Any, right: Any) -> Expr:
    """`left + right`; adding the constant 0 leaves no trace."""
    left, right = lift(left), lift(right)
    if isinstance(right, Number):
        if isinstance(left, Number):
            return Number(left.value + right.value)
        if right.value == 0:
            return left
    elif isinstance(left, Number) and left.value == 0:
        return right
    return Binary("+", left, right)


def subtract(left: Any, right: Any) -> Expr:
    """`left - right`; subtracting the constant 0 leaves no trace."""
    left, right = lift(left), lift(right)
    if isinstance(right, Number):
        if isinstance(left, Number):
            return Number(left.value - right.value)
        if right.value == 0:
            return left
    elif isinstance(left, Number) and left.value == 0:
        return -right
    return Binary("-", left, right)


def multiply(left: Any, right: Any) -> Expr:
    """`left * right`; a constant factor of 1 leaves no trace, one of 0 leaves 0."""
    left, right = lift(left), lift(right)
    if isinstance(left, Number) and isinstance(right, Number):
        return Number(left.value * right.value)
    for factor, other in ((left, right), (right, left)):
        if isinstance(factor, Number):
            if factor.value == 0:
                return Number(0)
            if factor.value == 1:
                return other
    return Binary("*", left, right)


def negative(value: Any) -> Expr:
    """Returns `-value`; of a negative what it is the negative of, of a number the number."""
    value = lift(value)
    if isinstance(value, Negative):
        # Two in a row would be lost on IronCalc 0.9 too: it reads (-(-A1*B1))^2 as (-A1)*B1^2.
        return value.operand
    return Number(-value.value) if isinstance(value, Number) else Negative(value)


def divide(left: Any, right: Any) -> Expr:
    """`left / right`; dividing by the constant 1 leaves no trace. Raises `ZeroDivisionError` for the constant 0."""
    left, right = lift(left), lift(right)
    if isinstance(right, Number):
        if right.value == 0:
            raise ZeroDivisionError("a formula divides by the constant 0")
        if isinstance(left, Number):
            return Number(left.value / right.value)
        if right.value == 1:
            return left
    elif isinstance(left, Number) and left.value == 0:
        return Number(0)
    return Binary("/", left, right)


def power(left: Any, right: Any) -> Expr:
    """`left ^ right`; the exponent 1 leaves no trace, the exponent 0 leaves 1 (Excel calls 0^0 an error)."""
    left, right = lift(left), lift(right)
    if isinstance(right, Number) and right.value == 0:
        return Number(1)
    if isinstance(right, Number) and right.value == 1:
        return left
    return Binary("^", left, right)


def compare(operator: str, left: Any, right: Any) -> Expr | bool:
    """`left operator right` for `=`, `<>`, `<`, `<=`, `>`, `>=`; decided at once for two constants."""
    left, right = lift(left), lift(right)
    if isinstance(left, Number) and isinstance(right, Number):
        return _COMPARISONS[operator](left.value, right.value)
    return Binary(operator, left, right)


def choose(condition: Any, yes: Any, no: Any) -> Expr:
    """`IF(condition, yes, no)`; decided at once where the condition is already known."""
    if isinstance(condition, Expr):
        return Call("IF", condition, yes, no)
    return lift(yes if condition else no)


@cache
def column_letters(column: int) -> str:
    """`1` is `A`, `27` is `AA`."""
    letters = ""
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(65 + digit) + letters
    return letters


@cache
def column_number(letters: str) -> int:
    """`A` is `1`, `AA` is `27`."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


def corners(address: str) -> tuple[int, int, int, int]:
    """The top, left, bottom and right of `D12` or `D12:E40`, with or without dollar signs.

    Raises `ValueError` for any other text.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(address)
    rows = sorted((int(match[2]), int(match[4] or match[2])))
    columns = sorted((column_number(match[1]), column_number(match[3] or match[1])))
    return rows[0], columns[0], rows[1], columns[1]


def looks_like_cell(name: str) -> bool:
    """Whether a spreadsheet would read `name` as a cell (`W1`, `r2c3`, `R`), so that it cannot be a name."""
    if match := re.fullmatch(r"([A-Za-z]{1,3})([0-9]+)", name):
        return column_number(match[1]) <= MAX_COLUMNS
    return bool(re.fullmatch(r"[rR]?[0-9]*[cC]?[0-9]*", name))


@cache
def quoted(sheet: str) -> str:
    """The sheet's name as a formula writes it: in quotes where it is not a plain word."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", sheet) and not looks_like_cell(sheet)
    return sheet if plain else "'" + sheet.replace("'", "''") + "'"


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _inside(operand: Expr, binds: int, sheet: str) -> list[Expr | str]:
    """Returns the operand, a leaf as its text, in parentheses if it binds less tightly than that."""
    part = operand.text(sheet) if isinstance(operand, Leaf) else operand
    return ["(", part, ")"] if operand.binds < binds else [part]
