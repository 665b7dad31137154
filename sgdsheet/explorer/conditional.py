"""What conditional formats make of a cell: heat maps, data bars, and looks that depend on a formula."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.explorer import little_formulas
from sgdsheet.explorer.little_formulas import At, Failed, Formula, truth
from sgdsheet.expr import Range

Read = Callable[[Range], np.ndarray]

_MOST = 500_000  # cells of a range that are looked at; a rule about more is left out
_SIDES = ("top", "right", "bottom", "left")
_CELL_IS = {
    "equal": "=",
    "notEqual": "<>",
    "lessThan": "<",
    "lessThanOrEqual": "<=",
    "greaterThan": ">",
    "greaterThanOrEqual": ">=",
}
_BY_FORMULA = {
    *("expression", "containsText", "notContainsText", "beginsWith", "endsWith"),
    *("containsBlanks", "notContainsBlanks", "containsErrors", "notContainsErrors"),
}


def rgb(color: Any) -> str | None:
    """Returns openpyxl's colour as `#rrggbb`; None for one of a theme or by number."""
    held = getattr(color, "rgb", None)
    return f"#{held[-6:].lower()}" if isinstance(held, str) and re.fullmatch("[0-9A-Fa-f]{6,8}", held) else None


class Rules:
    """The conditional formats of one sheet, for the values of one moment: what is read of them is kept.

    Of what is not understood (sets of icons, a formula with a function that is not known) nothing is shown.

    Arguments:
      formatting: openpyxl's `worksheet.conditional_formatting`.
      sheet: the sheet's name.
      names: the workbook's defined names and the cells that each stands for, as in `'by hand'!$D$12`.
      color: what makes `#rrggbb` or None of openpyxl's colours.
    """

    def __init__(
        self,
        formatting: Iterable[Any],
        sheet: str,
        names: Mapping[str, str] | None = None,
        color: Callable[[Any], str | None] = rgb,
    ) -> None:
        self._sheet, self._names, self._color = sheet, names or {}, color
        self._read: Read | None = None
        self._kept: dict[tuple[str, int, int, int, int], list[Any]] = {}
        self._rows: dict[int, list[tuple[int, int, _Rule]]] = {}
        self._rules = []
        for held in formatting:
            areas = [(part.min_row, part.min_col, part.max_row, part.max_col) for part in held.sqref.ranges]
            for rule in held.rules:
                try:
                    if made := self._made(rule, areas):
                        self._rules.append(made)
                except (
                    AttributeError,
                    IndexError,
                    TypeError,
                    ValueError,
                    Failed,
                ):  # whatever a strange file leaves out
                    continue
        self._rules.sort(key=lambda rule: rule.priority)

    def __len__(self) -> int:
        """How many rules there are that are understood."""
        return len(self._rules)

    def look(self, row: int, column: int, value: Any, read: Read) -> dict[str, Any]:
        """Returns what differs from the cell's own look because of its value, or that of others.

        Any of `fill` and `color` (`#rrggbb`), `bold`, `italic`, `underline`, `top`, `right`, `bottom`, `left` (a
        border, as `1px solid #rrggbb`), `format` (a number format) and `bar` (`from` and `to`, parts of the cell's
        width, and `color`).

        Arguments:
          row, column: the cell, counted from 1.
          value: what it holds: a number, boolean, text, error as text, or None.
          read: what a range holds, an object array of its shape.
        """
        found: dict[str, Any] = {}
        self._read = read
        at = At(row, column, value, self._values)
        for left, right, rule in self._in_row(row):
            if left <= column <= right:
                try:
                    shown = rule.shows(at)
                except (Failed, Error, ArithmeticError, RecursionError):
                    continue
                if shown is not None:
                    found = shown | found
                    if rule.stops:
                        break
        return found

    def _in_row(self, row: int) -> list[tuple[int, int, _Rule]]:
        """The rules that hold somewhere in a row, each with its first and last column there."""
        if row not in self._rows:
            self._rows[row] = [
                (left, right, rule)
                for rule in self._rules
                for top, left, bottom, right in rule.areas
                if top <= row <= bottom
            ]
        return self._rows[row]

    def _values(self, sheet: str | None, top: int, left: int, bottom: int, right: int) -> list[Any]:
        """What the cells hold that a rule reads, of its own sheet if that has no name."""
        place = (sheet or self._sheet, top, left, bottom, right)
        if place not in self._kept:
            range_ = Range(*place)
            if self._read is None or math.prod(range_.shape) > _MOST:
                raise Failed
            self._kept[place] = np.asarray(self._read(range_), dtype=object).ravel().tolist()
        return self._kept[place]

    def _made(self, rule: Any, areas: list[tuple[int, int, int, int]]) -> _Rule | None:
        def formula(text: Any) -> Formula:
            return little_formulas.read(str(text), self._names, corner)

        corner = _corner(areas)

        def stops(held: Any) -> list[_Stop]:
            return [_Stop(each.type, None if each.val is None else formula(each.val)) for each in held.cfvo]

        common = (areas, int(rule.priority or 0), bool(rule.stopIfTrue))
        if rule.type == "colorScale" and rule.colorScale:
            colors = [_parts(self._color(color)) for color in rule.colorScale.color]
            known = [color for color in colors if color]
            return _Scale(*common, stops(rule.colorScale), known) if len(known) == len(colors) > 1 else None
        if rule.type == "dataBar" and rule.dataBar:
            bar = rule.dataBar
            ends = (10 if bar.minLength is None else bar.minLength, 90 if bar.maxLength is None else bar.maxLength)
            return _Bar(*common, stops(bar), self._color(bar.color) or "#638ec6", ends)
        if rule.dxf is None:
            return None
        shown = self._differs(rule.dxf)
        formulas = [formula(each) for each in rule.formula]
        if rule.type in _BY_FORMULA and formulas:
            return _When(*common, formulas[0], shown)
        if rule.type == "cellIs" and formulas:
            return _When(*common, _cell_is(rule.operator, formulas), shown)
        return None

    def _differs(self, style: Any) -> dict[str, Any]:
        """What a rule's own style says."""
        found: dict[str, Any] = {}
        if style.numFmt is not None and style.numFmt.formatCode:
            found["format"] = style.numFmt.formatCode
        if style.fill is not None:  # unlike a cell's, its colour is the background
            found["fill"] = self._color(getattr(style.fill, "bgColor", None)) or self._color(
                getattr(style.fill, "fgColor", None)
            )
        if style.font is not None:
            found["color"] = self._color(style.font.color)
            found |= {"bold": style.font.b, "italic": style.font.i, "underline": bool(style.font.u)}
        for side in _SIDES if style.border is not None else ():
            line = getattr(style.border, side)
            if line is not None and line.style:
                found[side] = f"1px solid {self._color(line.color) or '#000000'}"
        return {name: value for name, value in found.items() if value}


@dataclass(eq=False)
class _Rule:
    """What a rule says, and for which cells."""

    areas: list[tuple[int, int, int, int]]
    priority: int
    stops: bool

    def shows(self, at: At) -> dict[str, Any] | None:
        """What it makes of a cell; None if it does not hold there."""
        raise NotImplementedError


@dataclass(eq=False)
class _When(_Rule):
    """A look where a formula holds."""

    formula: Formula
    look: dict[str, Any]

    def shows(self, at: At) -> dict[str, Any] | None:
        return self.look if truth(self.formula(at)) else None


@dataclass
class _Stop:
    """One of the values between which colours or lengths go."""

    kind: str
    formula: Formula | None

    def value(self, at: At, numbers: list[float]) -> float:
        if self.kind in ("min", "autoMin"):
            return numbers[0]
        if self.kind in ("max", "autoMax"):
            return numbers[-1]
        given = self.formula(at) if self.formula else None
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise Failed
        if self.kind == "percent":
            return numbers[0] + (numbers[-1] - numbers[0]) * given / 100
        if self.kind == "percentile":
            place = (len(numbers) - 1) * min(100, max(0, given)) / 100
            low, part = int(place), place % 1
            return numbers[low] + (numbers[min(low + 1, len(numbers) - 1)] - numbers[low]) * part
        return given


@dataclass(eq=False)
class _Measured(_Rule):
    """A rule that compares a number with others of its range; the stops are found once."""

    stops_at: list[_Stop]
    _values: list[float] | None = field(default=None, init=False)

    def measured(self, at: At) -> list[float]:
        """The stops' values; none where there is no number, or they cannot be found."""
        if self._values is None:
            self._values = []
            numbers = sorted(value for area in self.areas for value in at.values(None, *area) if _is_number(value))
            if numbers:
                own = At(*_corner(self.areas), None, at.values)
                self._values = [stop.value(own, numbers) for stop in self.stops_at]
        return self._values


@dataclass(eq=False)
class _Scale(_Measured):
    """A heat map."""

    colors: list[tuple[int, int, int]]

    def shows(self, at: At) -> dict[str, Any] | None:
        if not _is_number(at.value) or not (values := self.measured(at)):
            return None
        place = 1
        while place < len(values) - 1 and at.value > values[place]:
            place += 1
        low, high = values[place - 1], values[place]
        one, other = self.colors[place - 1], self.colors[place]
        part = 0 if at.value <= low else 1 if at.value >= high else (at.value - low) / (high - low)
        red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
        return {"fill": f"#{red:02x}{green:02x}{blue:02x}"}


@dataclass(eq=False)
class _Bar(_Measured):
    """A bar as long as the number is large."""

    color: str
    lengths: tuple[float, float]

    def shows(self, at: At) -> dict[str, Any] | None:
        if not _is_number(at.value) or not (values := self.measured(at)):
            return None
        low, high = values
        part = 0 if at.value <= low else 1 if at.value >= high else (at.value - low) / (high - low)
        shortest, longest = self.lengths
        end = round((shortest + (longest - shortest) * part) / 100, 4)
        return {"bar": {"from": 0, "to": end, "color": self.color}}


def _corner(areas: list[tuple[int, int, int, int]]) -> tuple[int, int]:
    """The cell for which formulas are written that hold for these areas: the top left of them all."""
    return min(area[0] for area in areas), min(area[1] for area in areas)


def _is_number(value: Any) -> bool:
    """Whether a cell's value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _cell_is(operator: str, formulas: list[Formula]) -> Formula:
    """A formula that says whether a cell's value stands so to one or two others."""
    compare = little_formulas.compare

    def between(at: At) -> bool:
        low, high = (each(at) for each in formulas[:2])
        if compare(">", low, high):
            low, high = high, low
        return compare(">=", at.value, low) and compare("<=", at.value, high)

    if operator == "between":
        return between
    if operator == "notBetween":
        return lambda at: not between(at)
    sign = _CELL_IS[operator]
    return lambda at: compare(sign, at.value, formulas[0](at))


def _parts(color: str | None) -> tuple[int, int, int] | None:
    return (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)) if color else None
