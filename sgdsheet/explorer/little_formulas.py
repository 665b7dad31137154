"""The formulas of conditional formats, calculated here: they stand in no cell, so the engine has no value for them.

They are short: a comparison, a choice, a place in a grid. A formula that says more is not understood.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sgdsheet.explorer.formats import COMPARE, ERRORS, text
from sgdsheet.expr import MAX_COLUMNS, MAX_ROWS, column_number


class Failed(Exception):  # noqa: N818 - as a cell's error it is a value too
    """A formula that is not understood, or whose value is an error."""


class At(NamedTuple):
    """The cell for which a formula is calculated."""

    row: int
    column: int
    value: Any  # what it holds
    values: Callable[..., list[Any]]  # of a range: the sheet's name (None: its own), top, left, bottom, right


Formula = Callable[[At], Any]

_CELL = r"\$?[A-Za-z]{1,3}\$?\d{1,7}"
_TOKEN = re.compile(
    r"\s*(?:"
    r'"(?P<text>(?:[^"]|"")*)"'
    r"|(?:(?P<sheet>'(?:[^']|'')+'|[^\W\d][\w.]*)!)?"
    rf"(?P<first>{_CELL})(?::(?P<last>{_CELL}))?(?![\w.(])"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?)"
    r"|(?P<call>[^\W\d][\w.]*)\("
    r"|(?P<name>[^\W\d][\w.]*)"
    r"|(?P<sign><=|>=|<>|[-+*/^&=<>%(),])"
    r")\s*"
)
_BINDS = {**dict.fromkeys(COMPARE, 1), "&": 2, "+": 3, "-": 3, "*": 4, "/": 4, "^": 5}
_DEEPEST = 64


def read(formula: str, names: Mapping[str, str], corner: tuple[int, int]) -> Formula:
    """Returns what calculates a formula's text, with or without its `=`. Raises `Failed` if it is not understood.

    Arguments:
      formula: as it is written for the cell `corner`; for other cells its references move.
      names: the workbook's defined names, and the cells that each stands for.
      corner: that cell's row and column.
    """
    return _Reader(_tokens(formula.removeprefix("=")), names, corner).whole()


@lru_cache(maxsize=1024)
def _tokens(formula: str) -> tuple[re.Match[str], ...]:
    found, position = [], 0
    while position < len(formula):
        token = _TOKEN.match(formula, position)
        if token is None:
            raise Failed
        found.append(token)
        position = token.end()
    return tuple(found)


class _Reader:
    """Reads a formula from left to right, the tighter an operator binds the deeper."""

    def __init__(self, tokens: tuple[re.Match[str], ...], names: Mapping[str, str], corner: tuple[int, int]) -> None:
        self._tokens, self._names, self._corner, self._next, self._depth = tokens, names, corner, 0, 0

    def whole(self) -> Formula:
        found = self._above(0)
        if self._next < len(self._tokens):
            raise Failed
        return found

    def _sign(self, *wanted: str) -> str | None:
        """The operator or bracket that comes next, if it is one of these; it is then read."""
        sign = self._tokens[self._next]["sign"] if self._next < len(self._tokens) else None
        if sign is None or sign not in wanted:
            return None
        self._next += 1
        return sign

    def _above(self, binds: int) -> Formula:
        """Operands and the operators between them that bind tighter than so much."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Failed
        left = self._operand()
        while sign := self._sign(*(each for each, own in _BINDS.items() if own > binds)):
            left = _operation(sign, left, self._above(_BINDS[sign]))
        self._depth -= 1
        return left

    def _operand(self) -> Formula:
        if sign := self._sign("-", "+"):
            inner = self._above(_BINDS["^"])
            return inner if sign == "+" else lambda at: -number(inner(at))
        if self._sign("("):
            found = self._above(0)
            self._close()
        else:
            found = self._single()
        while self._sign("%"):
            found = _percent(found)
        return found

    def _close(self) -> None:
        if not self._sign(")"):
            raise Failed

    def _single(self) -> Formula:
        if self._next >= len(self._tokens):
            raise Failed
        token = self._tokens[self._next]
        self._next += 1
        if token["text"] is not None:
            said = token["text"].replace('""', '"')
            return lambda at: said
        if token["number"]:
            value = float(token["number"])
            return lambda at: value
        if token["first"]:
            return _cells(token, self._corner)
        if token["call"]:
            return self._call(token["call"].upper())
        if token["name"]:
            return self._named(token["name"])
        raise Failed

    def _call(self, name: str) -> Formula:
        given = []
        if not self._sign(")"):
            given.append(self._above(0))
            while self._sign(","):
                given.append(self._above(0))
            self._close()
        if name in _LAZY:
            return _LAZY[name](*given)
        if name not in _PLAIN:
            raise Failed
        function = _PLAIN[name]
        return lambda at: function(*(each(at) for each in given))

    def _named(self, name: str) -> Formula:
        if name.upper() in ("TRUE", "FALSE"):
            return lambda at: name.upper() == "TRUE"
        target = self._names.get(name) or next(
            (held for other, held in self._names.items() if other.lower() == name.lower()), ""
        )
        tokens = _tokens(target.removeprefix("="))
        if len(tokens) != 1 or not tokens[0]["first"]:
            raise Failed
        return _cells(tokens[0], self._corner)


def _cells(token: re.Match[str], corner: tuple[int, int]) -> Formula:
    """The value of a cell, or a list of those of a range."""
    sheet = token["sheet"] and token["sheet"].strip("'").replace("''", "'")
    begin, end = (_end(address, corner) for address in (token["first"], token["last"] or token["first"]))
    if sheet is None and token["last"] is None and begin == (0, True, 0, True):
        return lambda at: _sound(at.value)

    def values(at: At) -> list[Any]:
        corners = [
            place
            for row, moves, column, shifts in (begin, end)
            for place in (row + at.row if moves else row, column + at.column if shifts else column)
        ]
        top, left, bottom, right = corners
        if not (1 <= top <= bottom <= MAX_ROWS and 1 <= left <= right <= MAX_COLUMNS):
            raise Failed
        return at.values(sheet, *corners)

    return values if token["last"] else lambda at: _sound(values(at)[0])


def _sound(value: Any) -> Any:
    """A value that is no error."""
    if isinstance(value, str) and value in ERRORS:
        raise Failed
    return value


def _end(address: str, corner: tuple[int, int]) -> tuple[int, bool, int, bool]:
    """Row and column of an address, and whether each moves with the cell: then it is how far from that it is."""
    fixed, letters, fixed_row, row = re.fullmatch(r"(\$?)([A-Za-z]+)(\$?)(\d+)", address).groups()  # type: ignore[union-attr]
    place = int(row), column_number(letters.upper())
    return place[0] - (0 if fixed_row else corner[0]), not fixed_row, place[1] - (0 if fixed else corner[1]), not fixed


def number(value: Any) -> float:
    """Returns a value as a formula calculates with it. Raises `Failed` for a text."""
    if isinstance(value, (float, int)):
        return float(value)
    if value is None:
        return 0.0
    raise Failed


def truth(value: Any) -> bool:
    """Returns whether a value counts as true. Raises `Failed` for a text."""
    return number(value) != 0


def compare(sign: str, left: Any, right: Any) -> bool:
    """Returns how two values compare: a number comes before a text, whatever its case, and that before a boolean."""
    if type(left) is float is type(right):  # nearly always, and quicker
        return COMPARE[sign](left, right)
    pairs = []
    for one, other in ((left, right), (right, left)):
        if isinstance(one, list):
            raise Failed
        if one is None:
            one = "" if isinstance(other, str) else False if isinstance(other, bool) else 0.0
        kind = 2 if isinstance(one, bool) else 1 if isinstance(one, str) else 0
        pairs.append((kind, one.lower() if isinstance(one, str) else one))
    return COMPARE[sign](*pairs)


def _operation(sign: str, left: Formula, right: Formula) -> Formula:
    if sign in COMPARE:
        return lambda at: compare(sign, left(at), right(at))
    if sign == "&":
        return lambda at: text(left(at)) + text(right(at))
    calculate = _CALCULATE[sign]
    return lambda at: calculate(number(left(at)), number(right(at)))


def _percent(inner: Formula) -> Formula:
    return lambda at: number(inner(at)) / 100


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError):
        raise Failed from None


def _quotient(left: float, right: float) -> float:
    if right == 0:
        raise Failed
    return left / right


_CALCULATE: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _quotient,
    "^": _power,
}


def _if(condition: Formula, yes: Formula, no: Formula = lambda at: False) -> Formula:
    return lambda at: yes(at) if truth(condition(at)) else no(at)


def _if_error(value: Formula, otherwise: Formula) -> Formula:
    def chosen(at: At) -> Any:
        try:
            return value(at)
        except Failed:
            return otherwise(at)

    return chosen


def _is_error(value: Formula) -> Formula:
    return _if_error(lambda at: [value(at)] == [], lambda at: True)


def _kind(holds: Callable[[Any], bool]) -> Callable[[Formula], Formula]:
    """A function such as ISNUMBER, for which an error is a value like others."""
    return lambda value: _if_error(lambda at: holds(value(at)), lambda at: False)


def _numbers(given: tuple[Any, ...]) -> list[float]:
    """What SUM or MAX look at: numbers written in the formula, and only the numbers of ranges."""
    found = []
    for each in given:
        if isinstance(each, list):
            for value in each:
                if isinstance(value, str) and value in ERRORS:
                    raise Failed
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    found.append(value)
        else:
            found.append(number(each))
    return found


def _all(given: tuple[Any, ...]) -> list[bool]:
    return [value != 0 for value in _numbers(given)]


def _mean(*given: Any) -> float:
    if not (numbers := _numbers(given)):
        raise Failed
    return statistics.fmean(numbers)


def _found(wanted: Any, words: Any, start: Any = 1) -> float:
    place = text(words).lower().find(text(wanted).lower(), int(number(start)) - 1)
    if place < 0:
        raise Failed
    return place + 1.0


def _modulo(value: Any, by: Any) -> float:
    if not number(by):
        raise Failed
    return number(value) % number(by)


def _square_root(value: Any) -> float:
    return _power(number(value), 0.5)


_LAZY: dict[str, Callable[..., Formula]] = {
    "IF": _if,
    "IFERROR": _if_error,
    "ISERROR": _is_error,
    "ISNUMBER": _kind(lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    "ISTEXT": _kind(lambda value: isinstance(value, str)),
    "ISBLANK": _kind(lambda value: value is None),
    "ROW": lambda: lambda at: at.row,
    "COLUMN": lambda: lambda at: at.column,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    "ABS": lambda value: abs(number(value)),
    "AND": lambda *given: all(_all(given)),
    "AVERAGE": _mean,
    "INT": lambda value: math.floor(number(value)),
    "LEFT": lambda words, count=1: text(words)[: int(number(count))],
    "LEN": lambda words: len(text(words)),
    "MAX": lambda *given: max(_numbers(given), default=0),
    "MIN": lambda *given: min(_numbers(given), default=0),
    "MOD": _modulo,
    "NOT": lambda value: not truth(value),
    "OR": lambda *given: any(_all(given)),
    "RIGHT": lambda words, count=1: text(words)[max(0, len(text(words)) - int(number(count))) :],
    "SEARCH": _found,
    "SQRT": _square_root,
    "SUM": lambda *given: math.fsum(_numbers(given)),
    "TRIM": lambda words: " ".join(text(words).split()),
}
