"""Charts as a program sees them that does not calculate, or a person who cannot see them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from openpyxl.utils.cell import range_boundaries

Workbook = Callable[[str], Path]


def test_every_chart_holds_the_values_of_its_cells(workbook: Workbook) -> None:
    path = workbook("linear_sgd")
    shown: Any = openpyxl.load_workbook(path)
    held: Any = openpyxl.load_workbook(path, data_only=True)
    count = 0
    for sheet in shown:
        for chart in sheet._charts:
            for line in chart.series:
                for data in (line.xVal.numRef, line.yVal.numRef):
                    name, _, cells = data.f.rpartition("!")
                    left, top, right, bottom = range_boundaries(cells)
                    rows = held[name.strip("'")].iter_rows(top, bottom, left, right, values_only=True)
                    values = [value for row in rows for value in row]
                    assert data.numCache.ptCount == len(values)
                    cached = {point.idx: float(point.v) for point in data.numCache.pt}
                    assert cached == {n: value for n, value in enumerate(values) if isinstance(value, (int, float))}
                    count += len(cached)
    assert count > 1000


@pytest.mark.parametrize("name", ["linear_sgd", "optimizers", "convolution"])
def test_charts_are_described_and_square(workbook: Workbook, name: str) -> None:
    with zipfile.ZipFile(workbook(name)) as archive:
        drawings = [archive.read(part).decode() for part in archive.namelist() if "drawings/drawing" in part]
        charts = [archive.read(part).decode() for part in archive.namelist() if "charts/chart" in part]
    described = [text for each in drawings for text in re.findall(r'<cNvPr descr="Chart: ([^"]+)"', each)]
    titles = [re.search(r"<a:t>([^<]*)</a:t>", chart) for chart in charts]
    assert len(described) == len(charts)
    for text, title in zip(described, titles, strict=True):
        assert title is not None
        assert text.startswith(f"{title[1]}. Across: ")
    for chart in charts:
        assert '<roundedCorners val="0">' in chart
        assert "<legend>" not in chart or '<overlay val="0"></overlay></legend>' in chart


def test_what_is_no_number_is_left_out_of_a_chart() -> None:
    from sgdsheet.book.charted import with_values

    part = b"<xVal><numRef><f>'it''s'!$B$2:$B$5</f></numRef></xVal>"
    sheet = np.array([[None, None], [None, 1.5], [None, "#N/A"], [None, np.inf], [None, 2]], dtype=object)
    found = with_values(part, {"it's": sheet}).decode()
    assert 'ptCount val="4"' in found
    assert re.findall(r'idx="(\d)"><v>([^<]*)', found) == [("0", "1.5"), ("3", "2.0")]


def test_the_words_below_columns_are_held_too() -> None:
    from sgdsheet.book.charted import with_values

    part = b"<cat><strRef><f>page!$A$1:$A$3</f></strRef></cat>"
    found = with_values(part, {"page": np.array([["a < b"], [None], [3.0]], dtype=object)}).decode()
    assert re.findall(r'idx="(\d)"><v>([^<]*)', found) == [("0", "a &lt; b"), ("2", "3")]
