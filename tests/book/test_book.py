"""Books, sheets and inputs: names, limits, and text from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

import sgdsheet
from sgdsheet.book import DIVERGING, Book, Input, Known, Typed, columns_of, read, save, typed
from sgdsheet.book.text import broken
from sgdsheet.engines import engine
from sgdsheet.errors import Error
from sgdsheet.expr import MAX_COLUMNS, MAX_ROWS


def new_book() -> Book:
    return Book("lesson", "A title", ["What it is."], ["Try it."])


def saved(book: Book, path: Path) -> Any:
    save(book, path, engine("ironcalc").calculate)
    return openpyxl.load_workbook(path)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "<b>&amp;</b>", " x ", "é☃𝔸", "a\nb"]
)
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    book = new_book()
    book.sheet("page", text).write(5, 2, text)
    loaded = saved(book, tmp_path / "book.xlsx")
    for address in ("A1", "B5"):
        cell = loaded["page"][address]
        assert cell.value == text
        assert cell.data_type in ("s", "inlineStr")


def test_control_characters_do_not_break_the_file(tmp_path: Path) -> None:
    book = new_book()
    book.sheet("page", "title").write(5, 2, "a\x00b\x0bc\ud800")
    assert len(saved(book, tmp_path / "book.xlsx")["page"]["B5"].value) == 6


def test_a_value_that_is_known_is_not_calculated(tmp_path: Path) -> None:
    """The engine is given the number; the file has the formula with it."""
    book = new_book()
    sheet = book.sheet("page", "title")
    x = sheet.place("x", [Typed(1), Typed(2)], "data", 4, 1)
    y = sheet.place("y", [Known(x[0] + x[1], 7.5), 3 * x[1]], "check", 4, 2)
    sheet.place("z", y[:1] + 1, "check", 4, 3)
    save(book, tmp_path / "book.xlsx", engine("ironcalc").calculate)
    formulas = openpyxl.load_workbook(tmp_path / "book.xlsx")["page"]
    values = openpyxl.load_workbook(tmp_path / "book.xlsx", data_only=True)["page"]
    assert [formulas[cell].value for cell in ("B4", "B5", "C4")] == ["=A4+A5", "=3*A5", "=B4+1"]
    assert [values[cell].value for cell in ("B4", "B5", "C4")] == [7.5, 6, 8.5]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e300, -5e-324, 12345678901234567, np.float64(0.1), np.int64(3)])
def test_numbers_keep_every_digit(tmp_path: Path, value: float) -> None:
    book = new_book()
    book.sheet("page", "title").write(5, 2, value)
    assert float(saved(book, tmp_path / "book.xlsx")["page"]["B5"].value) == float(value)


@pytest.mark.parametrize("name", ["a" * 32, "a/b", "a[b", "a:b", "a*b", "what?", "a\\b", "answers"])
def test_sheet_names_that_excel_refuses(name: str) -> None:
    with pytest.raises(Error, match="cannot name a sheet"):
        new_book().sheet(name, "title")


@pytest.mark.parametrize("name", ["sheet", "Sheet", "about this", "it's", "é"])
def test_sheet_keeps_the_name_it_is_given(tmp_path: Path, name: str) -> None:
    book = new_book()
    book.sheet(name, "title").place("values", np.array([1, 2], dtype=object), "data", 3, 1)
    assert saved(book, tmp_path / "book.xlsx").sheetnames == ["about", name, "blocks"]
    assert read(tmp_path / "book.xlsx").moved == {}


@pytest.mark.parametrize("name", ["page", "Page", "about"])
def test_two_sheets_of_one_name(name: str) -> None:
    book = new_book()
    book.sheet("page", "title")
    with pytest.raises(Error, match=name):
        book.sheet(name, "title")


@pytest.mark.parametrize(
    ("name", "defined"),
    [
        ("w1", "_w1"),
        ("R", "_R"),
        ("c", "_c"),
        ("err2", "_err2"),
        ("r1c1", "_r1c1"),
        ("conv1.weight", "conv1_weight"),
        ("lr", "lr"),
        ("2x", "_2x"),
    ],
)
def test_block_names_that_look_like_cells(tmp_path: Path, name: str, defined: str) -> None:
    book = new_book()
    book.sheet("by hand", "title").place(name, np.array([[1, 2], [3, 4]], dtype=object), "data", 3, 2)
    loaded = saved(book, tmp_path / "book.xlsx")
    assert loaded.defined_names[defined].attr_text.replace("'", "") == "by hand!$B$3:$C$4"
    assert read(tmp_path / "book.xlsx").moved == {}


def test_names_are_taken_once() -> None:
    sheet = new_book().sheet("page", "title")
    sheet.block("loss", (2,), "loss", 3, 1)
    with pytest.raises(Error, match="loss"):
        sheet.block("loss", (2,), "loss", 3, 2)
    with pytest.raises(Error, match="defined name"):
        sheet.block("Loss", (2,), "loss", 3, 2)
    with pytest.raises(Error, match="unknown role"):
        sheet.block("other", (2,), "nonsense", 3, 2)


@pytest.mark.parametrize(("shape", "row", "column"), [((3,), MAX_ROWS - 1, 1), ((2, 3), 5, MAX_COLUMNS - 1)])
def test_block_beyond_the_sheet(shape: tuple[int, ...], row: int, column: int) -> None:
    with pytest.raises(Error, match="beyond a sheet's"):
        new_book().sheet("page", "title").block("big", shape, "data", row, column)


def test_block_of_four_dimensions_comes_back(tmp_path: Path) -> None:
    values = np.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    book = new_book()
    book.sheet("page", "title").place("weight", values, "parameter", 3, 1)
    save(book, tmp_path / "book.xlsx", engine("ironcalc").calculate)
    made = read(tmp_path / "book.xlsx")
    computed = made.arrange(engine("ironcalc").calculate(tmp_path / "book.xlsx", made.ranges()))
    assert made.blocks["weight"].shape == values.shape
    assert len(made.blocks["weight"].panels) == 6
    np.testing.assert_array_equal(computed["weight"].astype(float), values)


def test_typed_cells_are_listed(tmp_path: Path) -> None:
    book = new_book()
    values: Any = [Typed(1.5), 2, Typed(3.5), Typed(4.5)]
    book.sheet("page", "title").place("mixed", np.array(values, dtype=object), "data", 3, 1)
    save(book, tmp_path / "book.xlsx", engine("ironcalc").calculate)
    made = read(tmp_path / "book.xlsx")
    assert made.contents["mixed"].tolist() == [1.5, "=2", 3.5, 4.5]
    listed = {
        address
        for each in made.blocks["mixed"].typed
        for row in range(each.top, each.bottom + 1)
        for address in [f"A{row}"]
    }
    assert listed == {"A3", "A5", "A6"}


NUMBER = Input("lr", 0.1, "a rate", above=0, maximum=1)
WHOLE = Input("count", 3, "a count", minimum=1, whole=True)
CHOICE = Input("kind", "one", "a kind", choices=("one", "two"))


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        (NUMBER, "1", 1),
        (NUMBER, "5e-1", 0.5),
        (NUMBER, " .25 ", 0.25),
        (WHOLE, "7", 7),
        (WHOLE, "7.0", 7),
        (CHOICE, "two", "two"),
    ],
)
def test_input_that_fits(spec: Input, text: str, value: float | str) -> None:
    assert spec.parse(text, "here") == value


@pytest.mark.parametrize(
    ("spec", "text"),
    [(NUMBER, text) for text in ("0", "-1", "1.0001", "nan", "inf", "", "1,5", "abc")]
    + [(WHOLE, text) for text in ("0", "1.5", "-3", "1e999")]
    + [(CHOICE, text) for text in ("three", "", "One", "1")],
)
def test_input_that_does_not_fit(spec: Input, text: str) -> None:
    with pytest.raises(Error, match="^here: expected"):
        spec.parse(text, "here")


def test_frame_and_heat_map_share_their_cells(tmp_path: Path) -> None:
    """Or else LibreOffice shows only one of them."""
    book = new_book()
    sheet = book.sheet("page", "title")
    cells = sheet.place("cells", np.arange(12).reshape(2, 2, 3), "data", 3, 2)
    sheet.heat_map(cells)
    sheet.frame(cells, row=cells[0, 0, 0] + 3)
    sheet.frame(cells, row=3, column=cells[0, 0, 1] + 4)
    loaded = saved(book, tmp_path / "book.xlsx")["page"].conditional_formatting
    (formats,) = (each for each in loaded if any(rule.type == "colorScale" for rule in each.rules))
    assert set(str(formats.sqref).split()) == {"B3:D4", "F3:H4"}
    assert [rule.formula[0] for rule in formats.rules if rule.formula] == [
        "IF(AND(ROW()=(B3+3)),1,0)>0",
        "IF(AND(ROW()=3,COLUMN()=(C3+4)),1,0)>0",
    ]


def test_a_table_names_the_parts_of_each_block(tmp_path: Path) -> None:
    book = new_book()
    table = book.sheet("page", "title").table(3, 1, 2, ["first", "second"])
    ones = np.full((2, 2), 1, dtype=object)
    table.column("usual", "data", ones)
    table.column("own", "data", np.full((2, 3), 1, dtype=object), parts=["a", "b", "c"])
    table.columns("later", "data", parts=["d"])
    table.fill("later", 1)
    heads = saved(book, tmp_path / "book.xlsx")["page"][5]
    assert [cell.value for cell in heads][:6] == ["first", "second", "a", "b", "c", "d"]


def test_dots_and_the_reach_of_a_heat_map(tmp_path: Path) -> None:
    book = new_book()
    sheet = book.sheet("page", "title")
    values, marks = (
        sheet.place(name, np.full((2, 2), 0.5, dtype=object), "check", row, 2, words=name)
        for name, row in (("values", 3), ("marks", 6))
    )
    sheet.heat_map(values, replace(DIVERGING, reach=2.0))
    sheet.dot(values, marks)
    rules = {
        rule.type: rule
        for each in saved(book, tmp_path / "book.xlsx")["page"].conditional_formatting
        for rule in each.rules
        if str(each.sqref) == "B3:C4"
    }
    furthest = "MAX(MAX($B$3:$C$4),-MIN($B$3:$C$4),2.0)"
    low, _, high = rules["colorScale"].colorScale.cfvo
    assert (low.val, high.val) == (f"-{furthest}", furthest)
    assert rules["expression"].formula == ["B6>0"]
    assert rules["expression"].dxf.numFmt.formatCode == '"●";"●";"●"'


@pytest.mark.parametrize(
    ("layout", "ranges"),
    [
        ({}, ["B2:C3", "E2:F3", "B5:C6", "E5:F6"]),
        ({"band": 5}, ["B2:C3", "E2:F3", "B7:C8", "E7:F8"]),
        ({"down": True}, ["B2:C3", "B5:C6", "B8:C9", "B11:C12"]),
        ({"down": True, "band": 2}, ["B2:C3", "B4:C5", "B6:C7", "B8:C9"]),
    ],
)
def test_where_the_matrices_of_a_block_stand(tmp_path: Path, layout: dict[str, Any], ranges: list[str]) -> None:
    book = new_book()
    numbers = np.arange(16).reshape(2, 2, 2, 2)
    book.sheet("page", "title").place("grid", numbers, "data", 2, 2, words="numbers", **layout)
    saved(book, tmp_path / "book.xlsx")
    panels = read(tmp_path / "book.xlsx").blocks["grid"].panels
    assert [panel.place.rpartition("!")[2] for panel in panels] == ranges
    np.testing.assert_array_equal(sgdsheet.read(tmp_path / "book.xlsx")["grid"], numbers)


def test_a_heading_stays_within_its_room(tmp_path: Path) -> None:
    book = new_book()
    sheet = book.sheet("page", "title")
    sheet.width(2, 6, until=4)
    words = "a sentence that is far too long for three such narrow columns"
    cells = sheet.headed("block", np.ones((2, 3)), "data", 5, 2, words=words, title="A title", room=3)
    assert cells[0, 0].address == "B7"
    page = saved(book, tmp_path / "book.xlsx")["page"]
    assert (page["B5"].value, page["B6"].value) == ("A title", f"2 x 3 \u00b7 {words}")
    assert {str(each) for each in page.merged_cells.ranges} == {"B6:D6"}
    assert page["B6"].alignment.wrap_text
    assert page.row_dimensions[6].height > 3 * 13.5


def test_a_heading_leads_to_what_its_block_reads_and_to_what_reads_it(tmp_path: Path) -> None:
    book = new_book()
    book.sheet("first", "title").headed("x", typed([1, 2]), "data", 5, 2)
    page = book.sheet("second", "title")
    x = book.blocks["x"].references()
    y = page.headed("y", 2 * x, "activation", 5, 2)
    page.headed("z", y + 1, "activation", 5, 8)
    page.headed("narrow", y + 2, "activation", 5, 9)  # leaves z no room for links
    loaded = saved(book, tmp_path / "book.xlsx")
    links = {cell.value: cell.hyperlink.location for cell in loaded["second"][5] if cell.hyperlink}
    assert links == {
        "\u2190 x": "first!B7:B8",
        "\u2192 z": "second!H7:H8",
        "\u2192 narrow": "second!I7:I8",
        "\u2190 y": "second!B7:B8",
    }


def test_closed_columns_are_said(tmp_path: Path) -> None:
    book = new_book()
    sheet = book.sheet("page", "title")
    table = sheet.table(4, 1, 2)
    table.column("seen", "data", np.full(2, 1, dtype=object))
    for each in ("a", "b"):
        table.column(each, "check", np.full(2, 1, dtype=object))
    before = sheet.left_of(3)
    table.fold(2)
    assert sheet.left_of(4) == sheet.left_of(2) < before
    page = saved(book, tmp_path / "book.xlsx")["page"]
    assert page["D4"].value == "+ 2 more"
    assert [page.column_dimensions[each].hidden for each in "ABD"] == [False, True, False]


def test_advice_leads_to_the_cell_that_it_names(tmp_path: Path) -> None:
    things = ["Type a larger lr.", "On 'second', change lr.", "On 'second', look.", "Look at new_w.", "Rest."]
    book = Book("lesson", "title", [], things, [Input("lr", 0.1, "a rate")])
    book.sheet("first", "title").inputs(4, 1, ["lr"])
    book.sheet("second", "title").place("new_w", np.ones(2), "parameter", 7, 3)
    page = saved(book, tmp_path / "book.xlsx")["about"]
    links = [cell.hyperlink.location for row in page["A"] for cell in [row] if cell.hyperlink]
    assert links == ["first!B4", "second!A1", "second!A1", "second!C7:C8"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("lr", "lr"),
        ("batch_size", "batch_size"),
        ("new_intercept", "new_\nintercept"),
        ("loss of x", "loss of x"),
        ("a longer title", "a longer\ntitle"),
    ],
)
def test_a_long_name_goes_on_below(name: str, lines: str) -> None:
    assert broken(name) == lines


def test_a_fixed_input_stands_there_as_a_formula(tmp_path: Path) -> None:
    book = Book("lesson", "title", [], [], [Input("size", 3, "its size", fixed=True), Input("lr", 0.1, "the rate")])
    book.sheet("page", "title").inputs(3, 1, ["size", "lr"])
    page = saved(book, tmp_path / "book.xlsx")["page"]
    assert (page["B3"].value, page["B4"].value) == ("=3", 0.1)
    assert "chosen when this workbook was made" in page["C3"].value
    blocks = read(tmp_path / "book.xlsx").blocks
    assert (blocks["size"].typed, len(blocks["lr"].typed)) == ([], 1)


BLOCKS = [
    ((2, 20_000), {}, ["A3:NTP4", "A6:NTP7"]),  # a sheet has 16,384 columns: two bands of 10,000
    ((20_000,), {"across": True}, ["A3:NTP3", "A5:NTP5"]),
    ((2, 1, 16_001), {}, ["A3:KUS3", "A5:KUR5", "A7:KUS7", "A9:KUR9"]),  # each matrix's bands, then the next one's
    ((5, 2, 3), {"most": 11}, ["A3:C4", "E3:G4", "I3:K4", "A6:C7", "E6:G7"]),
    ((2, 3, 1, 2), {"most": 7}, ["A3:B3", "D3:E3", "A5:B5", "A7:B7", "D7:E7", "A9:B9"]),
    ((2, 1, 5), {"most": 3}, ["A3:E3", "A5:E5"]),  # a matrix stays whole as long as it fits on the sheet
]


@pytest.mark.parametrize(("shape", "layout", "ranges"), BLOCKS)
def test_a_block_wider_than_there_is_room_goes_on_below(
    tmp_path: Path, shape: tuple[int, ...], layout: dict[str, Any], ranges: list[str]
) -> None:
    book, numbers = new_book(), np.arange(float(np.prod(shape))).reshape(shape)
    sheet = book.sheet("page", "title")
    references = sheet.place("wide", numbers, "data", 3, 1, **layout)
    sheet.heat_map(references)
    path = tmp_path / "book.xlsx"
    loaded = saved(book, path)
    (rule,) = [each for each in loaded["page"].conditional_formatting if "colorScale" in [r.type for r in each.rules]]
    assert sorted(str(rule.sqref).split()) == sorted(ranges)
    made = read(path)
    assert [panel.address for panel in made.blocks["wide"].panels] == ranges
    assert not made.moved
    assert [text[1:] for text in made.contents["wide"].flat] == [str(number) for number in range(numbers.size)]
    np.testing.assert_array_equal(sgdsheet.read(path)["wide"], numbers)
    last = tuple(size - 1 for size in shape)
    assert made.blocks["wide"].cell(last).address == ranges[-1].partition(":")[2] == references[last].address
    assert columns_of(shape, layout.get("most", MAX_COLUMNS)) == max(
        panel.right for panel in made.blocks["wide"].panels
    )


@pytest.mark.parametrize("edited", ["page!A3:C3 A5:E5", "page!A3:E3 A5:C5", "page!A3:D3 A4:D4", "page!A3:A10"])
def test_a_place_that_does_not_make_up_the_shape(tmp_path: Path, edited: str) -> None:
    book = new_book()
    book.sheet("page", "title").place("wide", np.arange(8).reshape(2, 1, 4), "data", 3, 1)
    path = tmp_path / "book.xlsx"
    workbook = saved(book, path)
    place = next(row[3] for row in workbook["blocks"].iter_rows() if row[0].value == "wide")
    assert read(path).blocks["wide"].panels[1].address == "F3:I3"
    place.value = edited
    workbook.save(path)
    if edited == "page!A3:D3 A4:D4":  # as many cells, in the right rows: another place, which the name does not know
        assert list(read(path).moved) == ["wide"]
    else:
        with pytest.raises(Error, match=r"row \d+: column 'place' of block 'wide' was edited: A[35]"):
            read(path)


def test_a_block_of_very_many_panels_has_a_name_for_all_of_them(tmp_path: Path) -> None:
    book, numbers = new_book(), np.arange(1200.0).reshape(1200, 1, 1)
    book.sheet("page", "title").place("many", numbers, "data", 3, 1, most=20)
    path = tmp_path / "book.xlsx"
    assert saved(book, path).defined_names["many"].attr_text == "page!$A$3:$S$241"
    assert not read(path).moved
    np.testing.assert_array_equal(sgdsheet.read(path)["many"], numbers)
