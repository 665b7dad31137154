"""What a sheet looks like: sizes, groups, links, notes and inputs, as they are in the file."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.styles.colors import Color
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.hyperlink import Hyperlink

from sgdsheet.errors import Error
from sgdsheet.explorer import inputs, layout
from sgdsheet.explorer.session import Session


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A workbook with something of everything."""
    book = openpyxl.Workbook()
    book.active = 1
    sheet = book.worksheets[0]
    other = book.create_sheet("it's <b>")
    book.create_sheet("away").sheet_state = "hidden"
    book.active = 1
    sheet.title = "one"
    sheet.sheet_properties.tabColor = "FFD966"
    sheet.freeze_panes = "B3"
    sheet.sheet_view.zoomScale = 80
    sheet.column_dimensions["A"].width = 20
    sheet.column_dimensions.group("D", "F", hidden=True)
    sheet.row_dimensions[2].height = 30
    sheet.row_dimensions.group(5, 7, outline_level=1)
    sheet.row_dimensions[9].hidden = True
    sheet.merge_cells("A1:C1")
    sheet["A1"] = "title"
    sheet["A1"].font = Font(name="Arial", size=18, bold=True, italic=True, underline="single", color="1F3864")
    sheet["A1"].alignment = Alignment(horizontal="center", vertical="center", wrap_text=True, textRotation=135)
    side = Side(style="medium", color="FF0000")
    sheet["F11"] = 7
    sheet["F11"].font = Font(size=36)
    sheet.merge_cells("F11:G13")
    for place in ("I14", "I15"):
        sheet[place] = "input\nin words, two"
        sheet[place].alignment = Alignment(wrap_text=True)
    sheet.merge_cells("I15:J15")
    sheet["A3"].border = Border(left=side, bottom=Side(style="dashed"))
    sheet["A3"].fill = PatternFill("solid", fgColor=Color(theme=4, tint=0.4))
    sheet["A4"].number_format = "0.00%"
    sheet["A4"] = 0.5
    sheet["B3"].hyperlink = "https://example.org/?a=1&b=2"
    sheet["B4"].hyperlink = "javascript:alert(1)"
    sheet["B5"].hyperlink = Hyperlink(ref="B5", location="'it''s <b>'!C7:D9")
    sheet["B6"] = "=HYPERLINK(\"#'it''s <b>'!B2\",\"there\")"
    sheet["C3"].comment = Comment("a <note>", "someone")
    other["A1"] = 1
    other.sheet_view.showGridLines = False
    path = tmp_path_factory.mktemp("drawn") / "drawn.xlsx"
    book.save(path)
    return Session(path)


def test_sizes_groups_and_what_lies_on_a_sheet(drawn: Session) -> None:
    found = drawn.answer({"ask": "sheet", "sheet": "one"})
    widths = {n: px for first, last, px in found["widths"] for n in range(first, last + 1)}
    assert widths[1] == 140  # 20 characters of 7 pixels
    # The first for its letters of 18 points; row 11 shares its 36 with others; row 14 has three lines; 15 is merged.
    assert dict(found["heights"]) == {1: 32, 2: 40, 14: 60}
    assert (found["width"], found["height"]) == (64, 20)
    assert found["hidden_columns"] == [[4, 6]]
    assert found["hidden_rows"] == [[9, 9]]
    assert found["groups"] == {"rows": [[5, 7, 1, False]], "columns": [[4, 6, 1, True]]}
    assert found["frozen"] == [2, 1]
    assert found["merged"] == [[1, 1, 1, 3], [11, 6, 13, 7], [15, 9, 15, 10]]
    assert (found["gridlines"], found["zoom"]) == (True, 80)
    assert drawn.answer({"ask": "sheet", "sheet": "it's <b>"})["gridlines"] is False
    assert found["notes"] == [[3, 3, "a <note>"]]
    there = "it's <b>"
    assert found["links"] == [
        [3, 2, {"url": "https://example.org/?a=1&b=2"}],  # and none that would run a script
        [5, 2, {"sheet": there, "row": 7, "column": 3}],
        [6, 2, {"sheet": there, "row": 2, "column": 2}],
    ]


def test_sheets_and_styles(drawn: Session) -> None:
    told = drawn.answer({"ask": "open"})
    assert [(each["name"], each["tab"], each["hidden"]) for each in told["sheets"]] == [
        ("one", "#ffd966", False),
        ("it's <b>", None, False),
        ("away", None, True),
    ]
    assert told["active"] == 1
    cells = drawn.answer({"ask": "cells", "view": {"sheet": "one", "top": 1, "left": 1, "bottom": 4, "right": 1}})
    looks = {row: (text, told["styles"][style]) for row, _, text, style, *_ in cells["cells"]}
    assert looks[1] == (
        "title",
        {
            "font": "Arial",
            "size": 18,
            "bold": True,
            "italic": True,
            "underline": True,
            "color": "#1f3864",
            "align": "center",
            "valign": "middle",
            "wrap": True,
            "rotate": -45,
        },
    )
    assert looks[3] == ("", {"fill": "#95b3d7", "left": "2px solid #ff0000", "bottom": "1px dashed #000000"})
    assert looks[4] == ("50.00%", {})


def test_what_a_lesson_lets_a_reader_type(workbook: Callable[[str], Path]) -> None:
    found = Session(workbook("small")).answer({"ask": "sheet", "sheet": "sgd"})
    rules = {rule["block"]: ([*corners], rule) for *corners, rule in found["inputs"]}
    corners, rule = rules["lr"]
    assert corners == [5, 1, 5, 1]
    assert rule["kind"] == "number"
    assert rule["least"] == 0
    assert rule["title"] == "lr"
    assert rule["message"].startswith("learning rate")
    assert rules["batch_size"][1]["whole"] is True
    assert found["columns"] >= 20
    assert found["frozen"] == [8, 1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "list", "formula1": '"SGD, Adam"'}, {"kind": "list", "choices": ["SGD", "Adam"]}),
        ({"type": "list", "formula1": "$E$1:$E$3"}, {"kind": "list", "choices": ["E1", "E2"]}),
        (
            {"type": "whole", "operator": "between", "formula1": "1", "formula2": "9"},
            {"least": 1, "most": 9, "whole": True},
        ),
        ({"type": "decimal", "operator": "lessThan", "formula1": "1"}, {"below": 1}),
        ({"type": "decimal", "operator": "between", "formula1": "-1E+300", "formula2": "1E+300"}, {}),
        (
            {"type": "custom", "formula1": "AND(ISNUMBER(B2),B2=INT(B2),B2>0,B2<1.5)"},
            {"above": 0, "below": 1.5, "whole": True},
        ),
        ({"type": "custom", "formula1": "COUNTIF(A:A,B2)=1"}, {}),
        ({"type": "decimal", "operator": "equal", "formula1": "2"}, {"least": 2, "most": 2}),
        ({"type": "textLength", "operator": "lessThan", "formula1": "9"}, {"kind": "text"}),
        ({"type": "decimal", "formula1": "5", "errorStyle": "warning"}, {"blank": True}),
        (
            {"type": "list", "formula1": '"SGD,Adam"', "showErrorMessage": False},
            {"kind": "list", "choices": ["SGD", "Adam"], "open": True, "blank": True},
        ),
    ],
)
def test_rules_of_a_sheet(given: dict[str, Any], told: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"showErrorMessage": True, "allow_blank": False}
    validation = DataValidation(**settings | given)
    found = inputs.rule(validation, lambda place: ["E1", "E2"] if place == "$E$1:$E$3" else [])
    assert found.told() == {"kind": "number"} | told


def test_an_open_list_takes_other_values() -> None:
    rule = inputs.rule(DataValidation(type="list", formula1='"0.1,SGD"', errorStyle="information"), lambda place: [])
    assert [rule.parse(each, "A1") for each in ("SGD", "0.1", "0.3", "other")] == ["SGD", 0.1, 0.3, "other"]
    with pytest.raises(Error, match="formula"):
        rule.parse("=1", "A1")


def test_rulers_know_where_a_column_begins_and_which_has_a_pixel() -> None:
    ruler = layout.Ruler(64, [(1, 1, 145), (4, 6, 0), (10, 16384, 20)], 16384)
    assert [ruler.start(n) for n in (1, 2, 4, 7, 10, 12)] == [0, 145, 273, 273, 465, 505]
    assert [ruler.at(pixel) for pixel in (0, 144, 145, 272, 273, 504, 505)] == [1, 1, 2, 3, 7, 11, 12]
    assert ruler.at(10**9) == 16384


def test_a_damaged_sheet_is_one_clear_line(drawn: Session, tmp_path: Path) -> None:
    path = tmp_path / "cut.xlsx"
    with zipfile.ZipFile(drawn.path) as whole, zipfile.ZipFile(path, "w") as cut:
        for name in whole.namelist():
            part = whole.read(name)
            cut.writestr(name, part[: len(part) // 2] if name == "xl/worksheets/sheet1.xml" else part)
    with pytest.raises(Error, match=re.escape(str(path))) as caught:
        Session(path).answer({"ask": "sheet", "sheet": "one"})
    assert "\n" not in str(caught.value)
