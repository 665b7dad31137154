"""A sheet's charts as plain data, of our workbooks and of what another program makes of one."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import Workbook
from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.data_source import StrRef
from openpyxl.chart.series import SeriesLabel
from openpyxl.drawing.spreadsheet_drawing import AnchorMarker, TwoCellAnchor

from sgdsheet.book.cells import CellFile
from sgdsheet.errors import Error
from sgdsheet.explorer.charts import charts, ranges, series
from sgdsheet.explorer.layout import shell
from sgdsheet.expr import Range

WORKBOOKS = Path(__file__).parents[2] / "workbooks"


@pytest.mark.parametrize("path", sorted(WORKBOOKS.rglob("*.xlsx")), ids=lambda path: path.stem)
def test_every_chart_of_the_workbooks_is_whole(path):
    with zipfile.ZipFile(path) as archive:
        parts = [archive.read(name).decode() for name in archive.namelist() if name.startswith("xl/charts/")]
    book = shell(path)
    found = [chart for sheet in book for chart in charts(sheet)]
    assert len(found) == len(parts)
    assert sum(len(chart["series"]) for chart in found) == sum(part.count("<ser>") for part in parts)
    places = {place.replace("$", "") for part in parts for place in re.findall(r"<f>(.*?)</f>", part)}
    held = {each.place for chart in found for each in ranges(chart)}
    assert {re.sub("'(\\w+)'!", r"\1!", place) for place in held} == {
        re.sub("'(\\w+)'!", r"\1!", place).replace("&amp;", "&") for place in places
    }
    for chart in found:
        assert all([chart["title"], chart["y"]["title"], chart["x"]["title"] or chart["kind"] == "bar"])
        assert "None" not in (chart["title"], chart["x"]["title"], chart["y"]["title"])
        assert min(chart["place"]["width"], chart["place"]["height"]) > 100
        assert all(re.fullmatch("#[0-9a-f]{6}", each["color"]) for each in chart["series"])
        assert all(each["line"] or each["marker"] or chart["kind"] == "bar" for each in chart["series"])
    json.dumps(found, allow_nan=False)


def test_a_chart_as_it_is_in_the_file():
    sheet = next(sheet for sheet in shell(WORKBOOKS / "linear_sgd.xlsx") if sheet.title == "data")
    (chart,) = charts(sheet, across=lambda column: 100 * column, down=lambda row: 10 * row)
    assert chart["place"] == {"left": 400, "top": 40, "width": 680, "height": 416}
    assert (chart["kind"], chart["title"], chart["legend"]) == ("scatter", "The points to fit", False)
    axis = {"title": "x", "min": None, "max": None, "log": None, "unit": None, "format": "General"}
    axis["at"] = "autoZero"
    assert (chart["x"], chart["y"]) == (axis, axis | {"title": "y"})
    xs = {"sheet": "data", "top": 6, "left": 1, "bottom": 34, "right": 1}
    assert chart["series"] == [
        {
            "name": "points",
            "x": xs,
            "y": xs | {"left": 2, "right": 2},
            "color": "#0072b2",
            "line": False,
            "width": None,
            "dash": "solid",
            "marker": {"kind": "circle", "size": 6, "color": "#0072b2"},
            "smooth": False,
            "named": False,
        }
    ]
    cells = CellFile(WORKBOOKS / "linear_sgd.xlsx").cells("data")

    def values(range_):
        return np.array([[cells.get((row, range_.left))] for row in range(range_.top, range_.bottom + 1)], dtype=object)

    (points,) = series(chart, values)
    assert (points["name"], points["x"][:2], points["y"][:2]) == ("points", [0.648, 0.302], [4.378, 3.743])


def another():
    """A sheet with charts of kinds that our workbooks have not, between two anchors."""
    sheet: Any = Workbook().active
    sheet.title = "it's"
    bars: Any = BarChart()
    lines: Any = LineChart()
    bars.type, bars.grouping, bars.gapWidth, bars.y_axis.majorUnit = "bar", "stacked", 40, 0.5
    for chart in (bars, lines):
        chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=3))
        chart.set_categories(Reference(sheet, min_col=1, min_row=1, max_row=3))
        chart.series[0].tx = SeriesLabel(strRef=StrRef(f="'it''s'!$B$9"))
        corners = AnchorMarker(col=1, row=2), AnchorMarker(col=5, row=12, colOff=95250)
        chart.anchor = TwoCellAnchor(_from=corners[0], to=corners[1])
        sheet.add_chart(chart)
    bars.series[0].graphicalProperties.solidFill = "FF0000"
    return sheet


def test_bars_and_lines_of_another_program():
    bars, lines = charts(another())
    assert bars["place"] == {"left": 64, "top": 40, "width": 4 * 64 + 10, "height": 200}
    assert (bars["kind"], bars["bars"], bars["series"][0]["color"]) == ("bar", "horizontal", "#ff0000")
    assert (bars["grouping"], bars["gap"], bars["y"]["unit"], lines["grouping"]) == ("stacked", 40, 0.5, "standard")
    assert (lines["kind"], lines["series"][0]["line"], lines["series"][0]["color"]) == ("line", True, None)
    assert bars["series"][0]["name"] == {"sheet": "it's", "top": 9, "left": 2, "bottom": 9, "right": 2}
    numbers = {"A1:A3": ["a", "b", "c"], "B1:B3": [1.5, float("nan"), "#N/A"], "B9": [0.25]}
    (drawn,) = series(bars, lambda range_: np.array([numbers[range_.address]], dtype=object).T)
    assert drawn == {"x": ["a", "b", "c"], "y": [1.5, None, "#N/A"], "name": "0.25"}


def test_a_chart_of_a_sheet_that_is_gone_has_no_numbers():
    def gone(range_: Range):
        raise Error(f"there is no sheet {range_.sheet!r}")

    assert series(charts(another())[0], gone) == [{"x": [], "y": [], "name": ""}]
