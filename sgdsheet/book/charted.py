"""What openpyxl leaves out of a chart: the values that it shows, and words for who cannot see it.

A program that does not calculate, as a previewer or Excel's Protected View, draws a chart from the values in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr, unescape

import numpy as np
from openpyxl.utils.cell import range_boundaries

from sgdsheet.book.chart import Chart


def with_values(part: bytes, sheets: Mapping[str, np.ndarray]) -> bytes:
    """A chart's part with the values of the cells that it shows.

    `sheets` has the values of each sheet by its name, from its first cell on. What is no number, as an error, is left
    out, as Excel does.
    """

    def numbers(match: re.Match[bytes]) -> bytes:
        values = [*numbers_of(unescape(match[1].decode()), sheets)]
        points = _points(None if value is None else repr(value) for value in values)
        cache = f'<numCache><formatCode>General</formatCode><ptCount val="{len(values)}"></ptCount>{points}</numCache>'
        return match[0].replace(b"</numRef>", cache.encode() + b"</numRef>")

    def words(match: re.Match[bytes]) -> bytes:
        values = [*_held(unescape(match[1].decode()), sheets)]
        points = _points(None if value is None else escape(_plain(value)) for value in values)
        cache = f'<strCache><ptCount val="{len(values)}"></ptCount>{points}</strCache>'
        return match[0].replace(b"</strRef>", cache.encode() + b"</strRef>")

    part = re.sub(rb"<strRef><f>([^<]*)</f></strRef>", words, part)
    return re.sub(rb"<numRef><f>([^<]*)</f></numRef>", numbers, part)


def numbers_of(place: str, sheets: Mapping[str, np.ndarray]) -> Iterator[float | None]:
    """The numbers in the cells of a place, as in `'by hand'!$A$2:$A$9`; None for what is none."""
    return map(_number, _held(place, sheets))


def _points(texts: Iterable[str | None]) -> str:
    return "".join(f'<pt idx="{n}"><v>{text}</v></pt>' for n, text in enumerate(texts) if text is not None)


def _held(place: str, sheets: Mapping[str, np.ndarray]) -> Iterator[Any]:
    sheet, _, cells = place.rpartition("!")
    bounds: Any = range_boundaries(cells)
    left, top, right, bottom = bounds
    return iter(sheets[sheet.strip("'").replace("''", "'")][top - 1 : bottom, left - 1 : right].flat)


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
