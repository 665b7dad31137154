"""Axes end where the numbers end, unless these move with what is typed."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sgdsheet.book import Book, Input, Series, save, scatter, typed
from sgdsheet.book.axes import ends
from sgdsheet.engines import engine


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 290, (0, 290, 50)),
        (-8, 8, (-8, 8, 2)),
        (-0.5, 1.5, (-0.6, 1.5, 0.2)),
        (0, 1, (0, 1, 0.1)),
        (21, 60, (20, 60, 5)),
    ],
)
def test_where_an_axis_ends(low: float, high: float, expected: tuple[float, float, float]) -> None:
    assert ends(low, high) == pytest.approx(expected)


def test_only_steady_numbers_fix_an_axis(tmp_path: Path) -> None:
    book = Book("none", "title", [], [], [Input("scale", 2, "a factor")])
    sheet = book.sheet("a page", "title")
    (scale,) = sheet.inputs(4, 1, ["scale"])
    steps = sheet.place("steps", np.arange(1, 41), "check", 8, 1)
    moved = sheet.place("moved", steps * scale, "check", 8, 2)
    given = sheet.place("given", typed(np.arange(40)), "data", 8, 3)
    for row, x in ((8, steps), (28, moved), (48, given), (68, steps)):
        limits = (5, None) if row == 68 else None
        sheet.chart(row, 5, scatter("title", "x", "y", [Series("line", x, moved)], x_range=limits))
    save(book, tmp_path / "book.xlsx", engine("ironcalc").calculate)
    with zipfile.ZipFile(tmp_path / "book.xlsx") as archive:
        charts = [archive.read(f"xl/charts/chart{number}.xml").decode() for number in (1, 2, 3, 4)]
    found = [re.findall(r'<(max|min|majorUnit) val="([^"]*)"', chart) for chart in charts]
    said = [{name: float(value) for name, value in each} for each in found]
    assert said == [{"max": 40, "min": 0, "majorUnit": 5}, {}, {}, {"min": 5}]
