"""A sheet's charts as plain data: what is drawn, where, and which cells its numbers are in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from sgdsheet.book.geometry import COLUMN, ROW
from sgdsheet.book.register import parse_place
from sgdsheet.errors import Error
from sgdsheet.explorer.formats import text
from sgdsheet.expr import Range

_PIXEL, _POINT = 9525, 12700  # in English metric units, in which a file has all lengths
_SIDES = {"b": "bottom", "r": "right", "l": "left", "t": "top", "tr": "right"}
_MOST = 200_000  # cells of a range that are drawn; one with more is left out


def charts(
    worksheet: Any,
    across: Callable[[int], float] = lambda column: (column - 1) * COLUMN,
    down: Callable[[int], float] = lambda row: (row - 1) * ROW,
) -> list[dict[str, Any]]:
    """Returns the charts of a sheet, without their numbers, in the file's order.

    Each has `kind`, `title`, `place` (pixels from the sheet's top left), the axes `x` and `y` (`title`, `min`, `max`,
    `log`: the base, `unit`: from one tick to the next, `format`, `at`: where it crosses the other one, a number or
    `autoZero`, `min`, `max`), `legend` (its side, or False), `grouping` (of bars and lines: `standard`, `clustered`,
    `stacked`, `percentStacked`; None of others), for a bar chart `bars` (its direction) and `gap` (between two groups
    of bars, in percent of a bar's width), and `series`. A series has its `name` (a text, a range
    or None; the legend leaves an empty one out), `x` and `y` (ranges, or lists of what the file itself holds),
    `color`, whether there is a `line`, its `width` in points and `dash`, a `marker` (`kind`, `size` in points,
    `color`) or None, whether it is `smooth`, and whether each point is `named`. What the file leaves to the program is
    None. A chart that cannot be read is left out.

    Arguments:
      worksheet: the sheet as openpyxl reads it.
      across: how many pixels from the left a column, counted from 1, begins; all as wide as usual by default.
      down: how many pixels from the top a row, counted from 1, begins; all as high as usual by default.
    """
    found = []
    for chart in worksheet._charts:
        try:
            found.append(_chart(chart, worksheet.title, across, down))
        except (AttributeError, IndexError, TypeError, ValueError):  # whatever a strange file leaves out
            continue
    return found


def ranges(chart: dict[str, Any]) -> list[Range]:
    """Returns the cells that a chart of `charts` shows, each range once."""
    held = [Range(**each[part]) for each in chart["series"] for part in ("name", "x", "y") if _is_range(each[part])]
    return list({each.place: each for each in held}.values())


def series(chart: dict[str, Any], values: Callable[[Range], np.ndarray]) -> list[dict[str, Any]]:
    """Returns `x`, `y` (lists of numbers, texts or None) and `name` of each series of a chart of `charts`.

    Arguments:
      chart: one of `charts`.
      values: what a range's cells hold: numbers, booleans, texts, errors as text, or None. Where it raises `Error`, as
        for a sheet that is gone, there are no values.
    """

    def read(part: Any) -> list[Any]:
        if not _is_range(part):
            return part if isinstance(part, list) else []
        range_ = Range(**part)
        if math.prod(range_.shape) > _MOST:
            return []
        try:
            return [_plain(value) for value in np.asarray(values(range_), dtype=object).ravel().tolist()]
        except Error:
            return []

    return [
        {
            "x": read(each["x"]),
            "y": read(each["y"]),
            "name": " ".join(map(text, read(each["name"]))) if _is_range(each["name"]) else each["name"],
        }
        for each in chart["series"]
    ]


def _is_range(part: Any) -> bool:
    return isinstance(part, dict)


def _plain(value: Any) -> Any:
    """A cell's value as JSON may have it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _chart(chart: Any, sheet: str, across: Callable[[int], float], down: Callable[[int], float]) -> dict[str, Any]:
    kind = chart.tagname.removesuffix("Chart")
    hidden = {entry.idx for entry in chart.legend.legendEntry if entry.delete} if chart.legend is not None else ()
    drawn = [(part, each) for part in chart._charts for each in part.series]
    found = {
        "kind": kind,
        "title": _words(chart.title),
        "place": _place(chart.anchor, across, down),
        "x": _axis(getattr(chart, "x_axis", None)),
        "y": _axis(getattr(chart, "y_axis", None)),
        "grouping": getattr(chart, "grouping", None),
        "legend": _SIDES.get(chart.legend.position, "right") if chart.legend is not None else False,
        "series": [_series(each, part, sheet, number in hidden) for number, (part, each) in enumerate(drawn)],
    }
    if kind == "bar":
        found["bars"] = "horizontal" if chart.barDir == "bar" else "vertical"
        found["gap"] = 150 if chart.gapWidth is None else chart.gapWidth
    return found


def _words(title: Any) -> str:
    """What a title says; nothing where it takes its words from a cell."""
    rich = title and title.tx and title.tx.rich
    lines = ["".join(run.t or "" for run in paragraph.r or []) for paragraph in rich.p] if rich else []
    return " ".join(line for line in lines if line)


def _place(anchor: Any, across: Callable[[int], float], down: Callable[[int], float]) -> dict[str, float]:
    """The pixels at which a chart begins, and how large it is."""
    begin, end, size = (getattr(anchor, name, None) for name in ("_from", "to", "ext"))
    if begin is None:
        left, top = anchor.pos.x / _PIXEL, anchor.pos.y / _PIXEL
    else:
        left, top = _corner(begin, across, down)
    if size is not None:
        width, height = size.width / _PIXEL, size.height / _PIXEL
    else:
        right, bottom = _corner(end, across, down)
        width, height = right - left, bottom - top
    return {"left": round(left), "top": round(top), "width": round(width), "height": round(height)}


def _corner(marker: Any, across: Callable[[int], float], down: Callable[[int], float]) -> tuple[float, float]:
    return across(marker.col + 1) + marker.colOff / _PIXEL, down(marker.row + 1) + marker.rowOff / _PIXEL


def _axis(axis: Any) -> dict[str, Any]:
    if axis is None:
        return {"title": "", "min": None, "max": None, "log": None, "unit": None, "format": None, "at": "autoZero"}
    scaling = axis.scaling
    return {
        "title": _words(axis.title),
        "min": scaling.min,
        "max": scaling.max,
        "log": scaling.logBase,
        "unit": getattr(axis, "majorUnit", None),
        "format": axis.numFmt and axis.numFmt.formatCode,
        "at": axis.crossesAt if axis.crossesAt is not None else axis.crosses or "autoZero",
    }


def _series(each: Any, chart: Any, sheet: str, hidden: bool) -> dict[str, Any]:
    look = each.graphicalProperties
    line, bars = look and look.line, chart.tagname == "barChart"
    marker = each.marker if not bars else None
    of_marker = _color(marker.graphicalProperties) if marker else None
    color = (_color(look) or _color(line)) if bars else (_color(line) or of_marker or _color(look))
    if marker is None and chart.tagname == "scatterChart":  # left to the program, which shows one
        marker = {"kind": "circle", "size": None, "color": color}
    elif marker is not None:
        kind = marker.symbol or "none"  # openpyxl reads none as None
        shown = {"kind": "circle" if kind in ("auto", "picture") else kind, "size": marker.size}
        marker = shown | {"color": of_marker or color} if kind != "none" else None
    labels, name = each.dLbls, _name(each.tx, sheet)
    return {
        "name": "" if name is None and hidden else name,
        "x": _source(each.xVal or each.cat, sheet),
        "y": _source(each.yVal or each.val, sheet),
        "color": color,
        "line": not bars and not (line is not None and line.noFill),
        "width": round(line.w / _POINT, 2) if line is not None and line.w is not None else None,
        "dash": line.prstDash or "solid" if line is not None else "solid",
        "marker": marker,
        "smooth": bool(each.smooth),
        "named": bool(labels and labels.showSerName),
    }


def _name(label: Any, sheet: str) -> Any:
    """A series' name: a text, or the range that holds it; None if it has none."""
    if label is None:
        return None
    if label.strRef is None:
        return label.v or ""
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"', label.strRef.f)  # LibreOffice writes a text so
    return quoted[1].replace('""', '"') if quoted else _range(label.strRef.f, sheet)


def _source(source: Any, sheet: str) -> Any:
    """Where a series' values are: a range, or a list of them where the file itself holds them."""
    if source is None:
        return []
    for reference in ("numRef", "strRef", "multiLvlStrRef"):
        if held := getattr(source, reference, None):
            return _range(held.f, sheet) or []
    literal = getattr(source, "numLit", None) or getattr(source, "strLit", None)
    return [point.v for point in literal.pt] if literal else []


def _range(place: str, sheet: str) -> dict[str, Any] | None:
    """A range as `'by hand'!$D$12:$D$40`; None for what is no single one."""
    try:
        found = parse_place(place if "!" in place else f"{sheet}!{place}")
    except ValueError:
        return None
    parts = ("sheet", "top", "left", "bottom", "right")
    return {part: getattr(found[0], part) for part in parts} if len(found) == 1 else None


def _color(look: Any) -> str | None:
    """A fill's colour as `#rrggbb`; None where the file leaves it to the program."""
    fill = getattr(look, "solidFill", None)
    rgb = getattr(fill, "srgbClr", None)
    rgb = getattr(rgb, "val", rgb)
    return f"#{rgb.lower()}" if isinstance(rgb, str) and re.fullmatch("[0-9A-Fa-f]{6}", rgb) else None
