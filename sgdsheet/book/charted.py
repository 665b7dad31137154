"""What openpyxl leaves out of a chart: the values that it shows, and words for who cannot see it.

A program that does not calculate, as a previewer or Excel's Protected View, draws a chart from the values in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr, unescape

import numpy as np

from sgdsheet.book.chart import Chart
from sgdsheet.expr import corners


def with_values(part: bytes, sheets: Mapping[str, np.ndarray]) -> bytes:
    """A chart's part with the values of the cells that it shows.

    `sheets` has the values of each sheet by its name, from its first cell on. What is no number, as an error, is left
    out, as Excel does.
    """

    def numbers(match: re.Match[bytes]) -> bytes:
        if not _known(match, sheets):
            return match[0]
        values = [*numbers_of(unescape(match["place"].decode()), sheets)]
        points = _points(None if value is None else repr(value) for value in values)
        cache = f'<numCache><formatCode>General</formatCode><ptCount val="{len(values)}"></ptCount>{points}</numCache>'
        return _cached(match, cache)

    def words(match: re.Match[bytes]) -> bytes:
        if not _known(match, sheets):
            return match[0]
        values = [*_held(unescape(match["place"].decode()), sheets)]
        points = _points(None if value is None else escape(_plain(value)) for value in values)
        cache = f'<strCache><ptCount val="{len(values)}"></ptCount>{points}</strCache>'
        return _cached(match, cache)

    return _reference("num").sub(numbers, _reference("str").sub(words, part))


def _reference(kind: str) -> re.Pattern[bytes]:
    """What a chart refers to, with the values that are there; programs other than openpyxl write a prefix."""
    text = (
        rf"<(?P<p>(?:\w+:)?){kind}Ref><(?P=p)f>(?P<place>[^<]*)</(?P=p)f>"
        rf"(?:<(?P=p){kind}Cache>.*?</(?P=p){kind}Cache>)?</(?P=p){kind}Ref>"
    )
    return re.compile(text.encode(), re.DOTALL)


def _known(match: re.Match[bytes], sheets: Mapping[str, np.ndarray]) -> bool:
    """Whether it refers to cells; other programs also write a word there, or what has been deleted."""
    sheet, _, cells = unescape(match["place"].decode()).rpartition("!")
    return _name(sheet) in sheets and re.fullmatch(r"\$?[A-Z]+\$?\d+(:\$?[A-Z]+\$?\d+)?", cells) is not None


def _name(quoted: str) -> str:
    """A sheet's name without the quotes that a formula has around it."""
    return quoted[1:-1].replace("''", "'") if quoted[:1] == "'" else quoted


def _cached(match: re.Match[bytes], cache: str) -> bytes:
    """The reference with other values."""
    prefix = match["p"].decode()
    cache = re.sub(r"(</?)(?=\w)", rf"\1{prefix}", cache)
    kind = "num" if b"numRef" in match[0] else "str"
    place = f"<{prefix}f>{match['place'].decode()}</{prefix}f>"
    return f"<{prefix}{kind}Ref>{place}{cache}</{prefix}{kind}Ref>".encode()


def numbers_of(place: str, sheets: Mapping[str, np.ndarray]) -> Iterator[float | None]:
    """The numbers in the cells of a place, as in `'by hand'!$A$2:$A$9`; None for what is none."""
    return map(_number, _held(place, sheets))


def _points(texts: Iterable[str | None]) -> str:
    return "".join(f'<pt idx="{n}"><v>{text}</v></pt>' for n, text in enumerate(texts) if text is not None)


def _held(place: str, sheets: Mapping[str, np.ndarray]) -> Iterator[Any]:
    sheet, _, cells = place.rpartition("!")
    top, left, bottom, right = corners(cells)
    return iter(sheets[_name(sheet)][top - 1 : bottom, left - 1 : right].flat)


def _number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and np.isfinite(value) else None


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_descriptions(part: bytes, charts: Sequence[Chart]) -> bytes:
    """A drawing's part in which each of its charts is described in words (alternative text)."""
    for number, chart in enumerate(charts, start=1):
        name = f'name="Chart {number}"'
        part = part.replace(name.encode(), f"descr={quoteattr(described(chart))} {name}".encode(), 1)
    return part


def described(chart: Chart) -> str:
    """What a chart shows, in a sentence or two."""
    names = [each.tx.v for each in chart.series if each.tx and each.tx.v]
    lines = f" Shown: {', '.join(names)}." if len(names) > 1 else ""
    return f"Chart: {_text(chart.title)}. Across: {_text(chart.x_axis.title)}; up: {_text(chart.y_axis.title)}.{lines}"


def _text(title: Any) -> str:
    return "".join(run.t for paragraph in title.tx.rich.p for run in paragraph.r or [])
