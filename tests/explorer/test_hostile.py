"""A workbook that holds script wherever a text may stand: it comes out as text, and only colours and web addresses."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.chart.series import SeriesLabel
from openpyxl.comments import Comment
from openpyxl.formatting.rule import FormulaRule
from openpyxl.styles import Font, PatternFill
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.styles.numbers import NumberFormat
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation

from sgdsheet.explorer.session import Session

SCRIPT = "<script>alert(1)</script>"
SHEET = "<img onerror=alert(1)>"  # 31 characters are the most, and no slash
LINKS = {
    "A7": ("javascript:alert(1)", None),
    "A8": (" JaVaScRiPt:alert(1)", None),
    "A9": ("data:text/html,<script>alert(1)</script>", None),
    "A10": ("file:///etc/passwd", None),
    "A11": ("https://example.org/?<script>", "https://example.org/?<script>"),
    "A12": ("mailto:a@example.org", "mailto:a@example.org"),
    "A13": ("vbscript:x", None),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Session:
    book = Workbook()
    sheet: Any = book.active
    sheet.title = SHEET
    sheet["A1"], sheet["A2"], sheet["A3"], sheet["A4"] = SCRIPT, 1.5, 2.5, "=A2+A3"
    sheet["A2"].number_format = f'"{SCRIPT}"0.0'
    sheet["A3"].number_format = "[<script>]0.0"
    sheet["A1"].comment = Comment(SCRIPT, SCRIPT)
    sheet["A1"].font = Font(name=f'x"; background: url(https://example.org/{SCRIPT})')
    for address, (link, _) in LINKS.items():
        sheet[address] = "link"
        sheet[address].hyperlink = link
    choices = DataValidation("list", formula1=f'"{SCRIPT},b"', promptTitle="<b>", prompt=SCRIPT, error=SCRIPT)
    choices.showErrorMessage = choices.showInputMessage = True
    choices.add("A5")
    sheet.add_data_validation(choices)
    book.defined_names["hostile"] = DefinedName("hostile", attr_text=f'"{SCRIPT}"')
    style = DifferentialStyle(
        numFmt=NumberFormat(200, f'"{SCRIPT}"'), font=Font(color="FF00FF00"), fill=PatternFill(bgColor="FFFF0000")
    )
    rule = FormulaRule(["A4>1"])
    rule.dxf = style
    sheet.conditional_formatting.add("A4", rule)
    sheet.conditional_formatting.add("A2", FormulaRule([f'"{SCRIPT}"'], fill=PatternFill(bgColor="FFFF0000")))
    chart: Any = BarChart()
    chart.title = chart.x_axis.title = chart.y_axis.title = SCRIPT
    chart.add_data(Reference(sheet, min_col=1, min_row=2, max_row=3))
    chart.set_categories(Reference(sheet, min_col=1, min_row=1, max_row=2))
    chart.series[0].tx = SeriesLabel(v=SCRIPT)
    sheet.add_chart(chart, "C2")
    path = tmp_path_factory.mktemp("hostile") / "hostile.xlsx"
    book.save(path)
    return Session(path)


@pytest.fixture(scope="module")
def answers(session) -> dict[str, Any]:
    view = {"sheet": SHEET, "top": 1, "left": 1, "bottom": 20, "right": 5}
    asked = {
        "open": {},
        "sheet": {"sheet": SHEET},
        "cells": {"view": view, "charts": True},
        "explain": {"sheet": SHEET, "row": 4, "column": 1},
    }
    return {ask: session.answer({"ask": ask} | given) for ask, given in asked.items()}


def held(answer: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that an answer holds, with what it is called."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            yield from held(value, name)
    elif isinstance(answer, list):
        for value in answer:
            yield from held(value, key)
    else:
        yield key, answer


def test_texts_come_as_they_are(answers):
    assert [sheet["name"] for sheet in answers["open"]["sheets"]] == [SHEET]
    texts = {(row, column): text for row, column, text, *_ in answers["cells"]["cells"]}
    assert [texts[row, 1] for row in (1, 2, 3, 4)] == [SCRIPT, f"{SCRIPT}1.5", "2.5", SCRIPT]
    (chart,) = answers["sheet"]["charts"]
    assert [chart["title"], chart["x"]["title"], chart["y"]["title"], chart["series"][0]["name"]] == [SCRIPT] * 4
    assert answers["cells"]["series"]["0"] == [{"x": [SCRIPT, 1.5], "y": [1.5, 2.5], "name": SCRIPT}]
    assert [note[2] for note in answers["sheet"]["notes"]] == [SCRIPT]
    rule = answers["sheet"]["inputs"][0][4]
    assert (rule["choices"], rule["title"], rule["message"]) == ([SCRIPT, "b"], "<b>", SCRIPT)


def test_only_links_to_the_web_are_handed_on(answers):
    urls = {f"A{row}": target["url"] for row, _, target in answers["sheet"]["links"]}
    assert urls == {address: url for address, (_, url) in LINKS.items() if url}


def test_colours_are_colours_and_nothing_else(answers):
    colors = [(key, value) for key, value in held(answers) if key in ("color", "fill", "tab") and value is not None]
    assert {value for _, value in colors} >= {"#ff0000", "#00ff00"}
    assert [each for each in colors if not re.fullmatch("#[0-9a-f]{6}", each[1])] == []
    edges = [value for key, value in held(answers) if key in ("top", "right", "bottom", "left")]
    assert all(isinstance(edge, int) or re.fullmatch(r"\d+px \w+ #[0-9a-f]{6}", edge) for edge in edges)


def test_answers_are_plain_json(answers):
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers
