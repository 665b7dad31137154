"""What a cell shows for its value under its number format, as Excel would."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import NamedTuple

Value = float | bool | str | None
Show = Callable[[float], str]

ERRORS = frozenset("#NULL! #DIV/0! #VALUE! #REF! #NAME? #NUM! #N/A #GETTING_DATA #SPILL! #CALC!".split())
COMPARE: dict[str, Callable[..., bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_COLORS = {
    "black": "#000000",
    "blue": "#0000ff",
    "cyan": "#00ffff",
    "green": "#00ff00",
    "magenta": "#ff00ff",
    "red": "#ff0000",
    "white": "#ffffff",
    "yellow": "#ffff00",
}
_UNFIT = "########"  # what Excel shows where no section's condition holds, and for a date that there is none of
_LAST_DAY = 2958466  # the year 10000 begins
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)  # enough for 1e308 in full; Excel rounds halves away from zero
_MOST_DECIMALS = 30
_LONGEST = 1000

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"'
    r"|\\(?P<escaped>.)"
    r"|_(?P<room>.)"
    r"|\*(?P<fill>.)"
    r"|\[(?P<elapsed>h+|m+|s+)\]"
    r"|\[(?P<bracket>[^\]]*)\]"
    r"|(?P<general>General)"
    r"|(?P<number>(?P<whole>[0#?][0#?,]*|(?=\.[0#?]))(?P<part>\.[0#?]*)?(?P<commas>,*)(?P<power>E[+-]0+)?)"
    r"|(?P<noon>AM/PM|A/P)"
    r"|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?)"
    r"|(?P<end>;)"
    r"|(?P<text>@)"
    r"|(?P<literal>[^A-Za-z\"\\\[])",
    re.DOTALL | re.IGNORECASE,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?)", re.IGNORECASE)


class _UnknownError(Exception):
    """A format that is not understood."""


@dataclass
class _Section:
    """One part of a format: for which numbers it is, and how it shows them."""

    show: Show
    condition: tuple[str, float] | None = None
    color: str | None = None
    signs: bool = False  # it says itself that a number is negative
    dates: bool = False


class _Format(NamedTuple):
    sections: Sequence[_Section]  # the first whose condition holds shows a number
    words: Sequence[str | None] | None  # the pieces that show a text, None for the text itself

    def section(self, value: float) -> _Section | None:
        for section in self.sections:
            if section.condition is None or COMPARE[section.condition[0]](value, section.condition[1]):
                return section
        return None


def text(value: Value, number_format: str = "General") -> str:
    """Returns what the cell shows for `value`: a number, a boolean, a text, an error's text such as `#N/A`, or None.

    A number that is not finite shows as `#NUM!`. A format that is not understood counts as General; none raises.
    Words and the decimal point are English, whatever the format's language; the column's width plays no part.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        words = None if value in ERRORS else _format(number_format).words
        return value if words is None else "".join(value if piece is None else piece for piece in words)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if not math.isfinite(value):
        return "#NUM!"
    section = _format(number_format).section(value)
    if section is None or (section.dates and not 0 <= value < _LAST_DAY):
        return _UNFIT
    return "-" + section.show(-value) if value < 0 and not section.signs else section.show(abs(value))


def color(value: Value, number_format: str) -> str | None:
    """Returns the colour as `#rrggbb` that the format itself asks for, as in `[Red]0.0`, for a number; or else None."""
    if value is None or isinstance(value, (str, bool)) or not math.isfinite(value):
        return None
    section = _format(number_format).section(value)
    return section and section.color


def _general(value: float) -> str:
    """Excel's General for a number that is not negative: at most 11 characters, powers of ten where it must be."""
    if value < 1e11 and value == int(value):
        return str(int(value))
    exponent = int(f"{value:.9e}"[12:])
    if -5 < exponent < 11:
        # One character is the point, and one a leading 0.
        shown = f"{_rounded(value, max(0, 9 - max(0, exponent))):f}"
        return shown.rstrip("0").rstrip(".") if "." in shown else shown
    mantissa, power = f"{value:.{5 if abs(exponent) < 100 else 4}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}E{power}"


def _rounded(value: float, decimals: int, shift: int = 0) -> Decimal:
    """A number, times a power of ten, to so many decimals: of the 15 digits that Excel keeps, halves away from zero."""
    exact = Decimal(f"{value:.15g}")
    if shift:
        exact = exact.scaleb(shift, _EXACT)
    return exact.quantize(_UNITS[decimals], context=_EXACT)


_UNITS = [Decimal(1).scaleb(-decimals) for decimals in range(_MOST_DECIMALS + 1)]
_GENERAL = _Format([_Section(_general)], None)


@lru_cache(maxsize=1024)
def _format(code: str) -> _Format:
    """A format, read once."""
    try:
        return _parsed(code)
    except _UnknownError:
        return _GENERAL


def _parsed(code: str) -> _Format:
    parts = _split(code)
    words = None
    if len(parts) == 4 or any(token["text"] for token in parts[-1]):
        words = _words(parts.pop())
    if len(parts) > 3:
        raise _UnknownError
    sections = [_section(part) for part in parts] or [_Section(_general)]
    first = sections[0]
    if len(sections) > 1 and first.condition is None:
        first.condition = (">" if len(sections) > 2 else ">=", 0)
        if sections[1].condition is None:
            sections[1].condition = ("<", 0)
    elif len(sections) > 2 and sections[1].condition is None:
        sections[1].condition = ("<", 0)
    for section in sections:
        if section.condition and len(sections) > 1:
            sign, limit = section.condition
            section.signs = (sign == "<" and limit <= 0) or (sign in ("<=", "=") and limit < 0)
    return _Format(sections, words)


def _split(code: str) -> list[list[re.Match[str]]]:
    """The tokens of each of a format's sections."""
    if len(code) > _LONGEST:
        raise _UnknownError
    code = code or "General"
    parts: list[list[re.Match[str]]] = [[]]
    position = 0
    while position < len(code):
        token = _TOKEN.match(code, position)
        if token is None:
            raise _UnknownError
        position = token.end()
        if token["end"]:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _literal(token: re.Match[str]) -> str | None:
    """What a token shows by itself; None for one that stands for the value."""
    if token["bracket"] is not None:
        return token["bracket"][1:].partition("-")[0] if token["bracket"].startswith("$") else ""
    if token["room"] is not None:
        return " "
    if token["fill"] is not None:  # repeated to the cell's width, which plays no part here
        return ""
    return next((token[kind] for kind in ("quoted", "escaped", "literal") if token[kind] is not None), None)


def _words(tokens: Sequence[re.Match[str]]) -> list[str | None]:
    """The pieces of the section for texts."""
    pieces = []
    for token in tokens:
        literal = _literal(token)
        if literal is None and not token["text"] and not token["general"]:
            raise _UnknownError
        pieces.append(literal)
    return pieces


def _section(tokens: Sequence[re.Match[str]]) -> _Section:
    """A section for numbers."""
    condition, shade = None, None
    for token in tokens:
        if (inside := token["bracket"]) is None or inside.startswith("$"):
            continue
        if found := _CONDITION.fullmatch(inside):
            condition = (found[1], float(found[2]))
        elif inside.lower() in _COLORS:
            shade = _COLORS[inside.lower()]
        elif not re.fullmatch(r"color\s*\d+", inside, re.IGNORECASE):
            raise _UnknownError
    literals = [_literal(token) for token in tokens]
    values = [place for place, literal in enumerate(literals) if literal is None]
    if any(tokens[place]["text"] for place in values):
        raise _UnknownError
    if any(tokens[place]["date"] or tokens[place]["elapsed"] for place in values):
        return _Section(_dates(tokens, literals), condition, shade, dates=True)
    if len(values) > 1:  # digits with letters between them, fractions
        raise _UnknownError
    if not values:
        shown = "".join(literal or "" for literal in literals)
        return _Section(lambda value: shown, condition, shade)
    place = values[0]
    before, after = ("".join(piece or "" for piece in held) for held in (literals[:place], literals[place + 1 :]))
    if tokens[place]["general"]:
        digits = _general
    elif tokens[place]["number"]:
        percents = sum(token["literal"] == "%" for token in tokens)
        digits = _number(tokens[place], percents)
    else:
        raise _UnknownError
    if not before and not after:
        return _Section(digits, condition, shade)
    return _Section(lambda value: f"{before}{digits(value)}{after}", condition, shade)


def _number(token: re.Match[str], percents: int) -> Show:
    """How a number's digits are shown, as in `#,##0.0#` or `0.00E+00`."""
    whole, part, power = token["whole"], (token["part"] or "")[1:], token["power"]
    scaling = len(token["commas"]) + len(whole) - len(whole.rstrip(","))
    groups = "," in whole.rstrip(",")
    whole = whole.replace(",", "")
    if max(len(part), len(whole)) > _MOST_DECIMALS:
        raise _UnknownError
    decimals, shift = len(part), 2 * percents - 3 * scaling
    plain = whole in ("0", "#0", "##0", "###0") and part == "0" * decimals and token["part"] != "."
    grouping = "," if groups else ""
    obliged = whole.lstrip("#")  # a digit stands for each of these, though it be a 0 or a space

    def digits(number: Decimal) -> str:
        shown = f"{number:{grouping}f}"
        if plain:
            return shown
        left, _, right = shown.partition(".")
        left = "" if left == "0" else left
        missing = obliged[: max(0, len(obliged) - len(left.replace(",", "")))]
        if missing and groups:
            left = f"{int('1' + missing.replace('?', '0') + left.replace(',', '')):,}"[1:].lstrip(",")
        else:
            left = missing.replace("?", " ").replace("#", "0") + left
        while right and right[-1] == "0" and part[len(right) - 1] == "#":
            right = right[:-1]
        kept = len(right.rstrip("0"))
        right = right[:kept] + "".join(
            " " if hold == "?" else digit for hold, digit in zip(part[kept:], right[kept:], strict=False)
        )
        return f"{left}.{right}" if token["part"] else left

    if not power:
        unit, quick = 10.0**decimals, plain and not shift
        pattern = f"{grouping}.{decimals}f"

        def rounded(value: float) -> str:
            scaled = value * unit
            if quick and scaled < 1e9 and abs(scaled % 1 - 0.5) > 1e-5:  # far from a half that must go up
                return format(value, pattern)
            return digits(_rounded(value, decimals, shift))

        return rounded

    places = max(1, len(whole))  # the exponent is a multiple of so many
    sign, least = power[1], len(power) - 2

    def powers(value: float) -> str:
        exact = Decimal(f"{value:.15g}").scaleb(shift, _EXACT)
        exponent = exact.adjusted() // places * places if exact else 0
        mantissa = exact.scaleb(-exponent, _EXACT).quantize(_UNITS[decimals], context=_EXACT)
        if mantissa >= 10**places:
            exponent += places
            mantissa = exact.scaleb(-exponent, _EXACT).quantize(_UNITS[decimals], context=_EXACT)
        shown = "-" if exponent < 0 else "+" if sign == "+" else ""
        return f"{digits(mantissa)}E{shown}{str(abs(exponent)).zfill(least)}"

    return powers


def _dates(tokens: Sequence[re.Match[str]], literals: Sequence[str | None]) -> Show:
    """How a day's number, counted from 1900, is shown, as in `yyyy-mm-dd hh:mm`."""
    kinds = [(token["date"] or token["elapsed"] or token["noon"] or "").lower() for token in tokens]
    if any(literal is None and not kind for literal, kind in zip(literals, kinds, strict=True)):
        raise _UnknownError
    held = [place for place, kind in enumerate(kinds) if kind and not tokens[place]["noon"]]
    for before, place, after in zip([None, *held], held, [*held[1:], None], strict=False):
        beside_hours = before is not None and kinds[before][0] == "h"
        beside_seconds = after is not None and kinds[after][0] == "s"
        if kinds[place][0] == "m" and not tokens[place]["elapsed"] and (beside_hours or beside_seconds):
            kinds[place] = "i" * len(kinds[place])  # minutes
    finest = max((len(kind) - kind.index(".") - 1 for kind in kinds if "." in kind), default=0)
    if finest > 6:
        raise _UnknownError
    noon = any(token["noon"] for token in tokens)

    def show(value: float) -> str:
        seconds = round(value * 86400, finest)
        # Excel knows a 29 February 1900.
        moment = datetime(1899, 12, 31 if value < 60 else 30) + timedelta(seconds=seconds)
        pieces = []
        for token, literal, kind in zip(tokens, literals, kinds, strict=True):
            if literal is not None:
                pieces.append(literal)
            elif token["elapsed"]:
                pieces.append(str(int(seconds // {"h": 3600, "m": 60, "s": 1}[kind[0]])).zfill(len(kind)))
            elif token["noon"]:
                pieces.append(("AM", "PM")[moment.hour >= 12][: 1 if len(kind) == 3 else 2])
            else:
                pieces.append(_of_a_date(moment, kind, noon))
        return "".join(pieces)

    return show


def _of_a_date(moment: datetime, kind: str, noon: bool) -> str:
    """The part of a date or time that letters such as `yyyy`, `mmm` or `ss.00` stand for."""
    count = len(kind)
    if kind[0] == "y":
        return f"{moment.year:04}" if count > 2 else f"{moment.year % 100:02}"
    if kind[0] == "m" and count > 2:
        name = _MONTHS[moment.month - 1]
        return name if count == 4 else name[: 3 if count == 3 else 1]
    if kind[0] == "d" and count > 2:
        name = _DAYS[moment.weekday()]
        return name if count > 3 else name[:3]
    number = {"m": moment.month, "d": moment.day, "h": moment.hour, "i": moment.minute, "s": moment.second}[kind[0]]
    if kind[0] == "h" and noon:
        number = number % 12 or 12
    letters, point, fraction = kind.partition(".")
    shown = str(number).zfill(min(2, len(letters)))
    return shown + point + f"{moment.microsecond:06}"[: len(fraction)] if point else shown
