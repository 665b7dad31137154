"""What may be typed into a cell: a number, a text, or what a drop-down or a rule of the sheet lets stand there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sgdsheet.book import Input
from sgdsheet.errors import Error

LONGEST = 32_767  # letters in a cell
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?[\d.]*,\d[\d,.]*%?")
_UNHELD = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENDS = {">=": "minimum", ">": "above", "<=": "maximum", "<": "below"}
_OPERATORS = {
    "greaterThanOrEqual": ("minimum",),
    "greaterThan": ("above",),
    "lessThanOrEqual": ("maximum",),
    "lessThan": ("below",),
    "equal": ("minimum", "maximum"),
    "between": ("minimum", "maximum"),
}
_ANY = 1e300  # bounds from here on are none: a rule that wants a number, and no more, is written so

_ANY_NUMBER = Input("", 0, "")


@dataclass(frozen=True)
class Rule:
    """What fits into a cell.

    `kind` is `number`, `text`, or `list` where there are `choices`; other values pass too if the list is `open`. `spec`
    has a number's bounds. `blank` says whether the cell may be left blank; `title` and `message` are what the sheet
    shows beside it.
    """

    kind: str
    spec: Input = _ANY_NUMBER
    choices: tuple[str, ...] = ()
    open: bool = False
    blank: bool = True
    title: str = ""
    message: str = ""

    def told(self) -> dict[str, Any]:
        """The rule for the page: `least` and `most` may be typed, `above` and `below` are the first that may not."""
        spec = self.spec
        found: dict[str, Any] = {"kind": self.kind, "blank": self.blank, "title": self.title, "message": self.message}
        found |= {"least": spec.minimum, "above": spec.above, "most": spec.maximum, "below": spec.below}
        found |= {"whole": spec.whole, "choices": [*self.choices], "open": self.open}
        return {name: each for name, each in found.items() if each not in (None, "", []) and each is not False}

    def parse(self, value: Any, where: str) -> float | str | None:
        """What a cell holds after `value` was typed: a text that reads as a number is one, `50%` is 0.5.

        Raises `Error`, naming `where`, for what does not fit.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            if self.blank:
                return None
            raise Error(f"{where}: expected {self._expects()}, got nothing")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Error(f"{where}: expected {self._expects()}, got {str(value)[:100]!r}")
        if isinstance(value, str):
            value = self._text(value, where)
        if self.kind == "list":
            return value if self.open else self._choice(value, where)
        if self.kind == "text":
            return value if isinstance(value, str) else f"{value:.15g}"
        if isinstance(value, str):
            hint = "; write a point for a comma" if _COMMA.fullmatch(value) else ""
            raise Error(f"{where}: expected {self._expects()}, got the text {_short(value)}{hint}")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        return self.spec.check(int(number) if number.is_integer() and abs(number) < 2**53 else number, where)

    def _text(self, text: str, where: str) -> float | str:
        if text.lstrip().startswith("="):
            raise Error(
                f"{where}: expected {self._expects()}, got a formula; formulas are typed in a spreadsheet program"
            )
        if _UNHELD.search(text) or len(text) > LONGEST:
            raise Error(f"{where}: a cell holds at most {LONGEST:,} letters, and no control characters")
        return text if self.kind == "text" else parsed(text)

    def _choice(self, value: float | str, where: str) -> float | str:
        for choice in self.choices:
            if value in (choice, held := parsed(choice)):
                return held
        raise Error(f"{where}: expected {self._expects()}, got {_short(value)}")

    def _expects(self) -> str:
        if self.kind == "list":
            return f"one of {', '.join(self.choices[:20])}{', …' if len(self.choices) > 20 else ''}"
        return "a text" if self.kind == "text" else self.spec.expects


def parsed(text: str) -> float | str:
    """The number that a text reads as, with a point for decimals, or else the text itself."""
    plain = text.strip().replace("\N{MINUS SIGN}", "-")
    digits = plain.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(digits):
        return text
    number = float(digits) / 100 if plain.endswith("%") else float(digits)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def rule(validation: Any, choices: Callable[[str], Sequence[str]]) -> Rule:
    """The rule that a validation of the file is; one that only a formula could judge asks for nothing but a number.

    `choices(text)` gives the texts in the cells that a drop-down's list refers to.
    """
    free = Rule("number")
    if validation.showInputMessage:
        free = replace(free, title=validation.promptTitle or "", message=validation.prompt or "")
    first, kind = validation.formula1 or "", validation.type
    lax = validation.showErrorMessage is False or validation.errorStyle in ("warning", "information")
    strict = replace(free, blank=lax or bool(validation.allowBlank))
    if kind == "list":
        quoted = re.fullmatch(r'"(.*)"', first, re.DOTALL)
        held = [each.strip() for each in quoted[1].replace('""', '"').split(",")] if quoted else choices(first)
        return replace(strict, kind="list", choices=tuple(held), open=lax) if held else free
    if lax:
        return free
    if kind == "textLength":
        return replace(strict, kind="text")
    bounds = _custom(first) if kind == "custom" else _bounds(validation) if kind in ("whole", "decimal") else {}
    return replace(strict, spec=Input("", 0, "", **bounds))


def _bounds(validation: Any) -> dict[str, Any]:
    texts = (validation.formula1 or "", validation.formula2 or validation.formula1 or "")
    ends = zip(_OPERATORS.get(validation.operator or "between", ()), texts, strict=False)
    held = {end: parsed(text) for end, text in ends}
    bounds = {end: each for end, each in held.items() if isinstance(each, int | float) and abs(each) < _ANY}
    return {**bounds, "whole": validation.type == "whole"}


def _custom(formula: str) -> dict[str, Any]:
    """The bounds in `AND(ISNUMBER(D5),D5=INT(D5),D5>0,D5<1)`, which is how this program writes two open ends."""
    found: dict[str, Any] = {}
    inside = re.fullmatch(r"AND\(ISNUMBER\(([A-Z]+\d+)\),(.*)\)", formula)
    for part in inside[2].split(",") if inside else ():
        cell = re.escape(inside[1]) if inside else ""
        if part == f"{cell}=INT({cell})":
            found["whole"] = True
        elif bound := re.fullmatch(rf"{cell}(>=|>|<=|<)({_NUMBER.pattern})", part, re.IGNORECASE):
            found[_ENDS[bound[1]]] = float(bound[2])
    return found


def _short(value: float | str) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
