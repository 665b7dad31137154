"""Conditional formats: heat maps against their definition, formulas against what ironcalc calculates in a cell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.formatting.rule import CellIsRule, ColorScaleRule, DataBarRule, FormulaRule, IconSetRule
from openpyxl.styles import Border, Font, PatternFill, Side

from sgdsheet.book import style
from sgdsheet.book.cells import CellFile
from sgdsheet.engines.ironcalc import IronCalc
from sgdsheet.explorer.conditional import Rules
from sgdsheet.explorer.little_formulas import At, Failed, read
from sgdsheet.expr import Range, column_letters

WORKBOOKS = Path(__file__).parents[2] / "workbooks"
NUMBERS = [[1.0, 2.0, 4.0], [8.0, 5.0, None], ["word", -3.0, True]]
RED = PatternFill(bgColor="FFFF0000")


def looks(*rules, numbers=NUMBERS, place=None, names=None):
    """What each cell looks like under these rules of all of them, row by row."""
    sheet: Any = Workbook().active
    last = f"{column_letters(len(numbers[0]))}{len(numbers)}"
    for rule in rules:
        sheet.conditional_formatting.add(place or f"A1:{last}", rule)
    held = Rules(sheet.conditional_formatting, "Sheet", names)
    cells = np.array(numbers, dtype=object)

    def values(range_: Range):
        assert range_.sheet == "Sheet"
        return cells[range_.top - 1 : range_.bottom, range_.left - 1 : range_.right]

    return [[held.look(i, j, value, values) for j, value in enumerate(row, 1)] for i, row in enumerate(numbers, 1)]


def fills(*rules, **given):
    return [[look.get("fill") for look in row] for row in looks(*rules, **given)]


def test_a_heat_map_of_two_colours():
    rule = ColorScaleRule(start_type="min", start_color="FF000000", end_type="max", end_color="FFC86432")
    assert fills(rule, numbers=[[0.0, 5.0, 10.0, "word", True, None]]) == [
        ["#000000", "#643219", "#c86432", None, None, None]
    ]


@pytest.mark.parametrize(
    ("middle", "value", "at_five"),
    [
        ("percentile", 50, "#80ff00"),
        ("percent", 50, "#00ff00"),
        ("num", 5, "#00ff00"),
        ("formula", "$A$1+5", "#00ff00"),
    ],
)
def test_a_heat_map_of_three_colours_turns_at_its_middle(middle, value, at_five):
    ends = {"start_type": "min", "start_color": "FF0000", "end_type": "max", "end_color": "FFFF00"}
    rule = ColorScaleRule(**ends, mid_type=middle, mid_value=value, mid_color="00FF00")
    if middle == "percentile":  # the median is 0
        assert fills(rule, numbers=[[0.0, 0.0, 5.0, 10.0, 0.0]])[0][2] == at_five
    else:
        assert fills(rule, numbers=[[0.0, 2.5, 5.0, 10.0]]) == [["#ff0000", "#808000", at_five, "#ffff00"]]


def test_the_diverging_heat_map_is_white_at_zero():
    rule = style.color_scale(style.DIVERGING, "$A$1:$D$1")
    low, _, high = (f"#{color.lower()}" for color in style.DIVERGING.colors)
    assert fills(rule, numbers=[[-4.0, 0.0, 4.0, 2.0]]) == [[low, "#ffffff", high, "#fed6b5"]]
    assert fills(rule, numbers=[[0.0, 0.0, 0.0, 0.0]]) == [["#ffffff"] * 4]


def test_powers_of_ten_where_three_decimals_do_not_do():
    numbers = [[1e-5, 0.0, 123456.0, 1.0, "word", None]]
    (found,) = looks(style.large_numbers("A1"), style.small_numbers("A1"), numbers=numbers)
    assert [look.get("format") for look in found] == ["0.0E+00", None, "0.0E+00", None, None, None]


@pytest.mark.parametrize(
    ("operator", "formulas", "hold"),
    [
        ("greaterThan", ["4"], [8.0, 5.0, "word", True]),
        ("equal", ['"WORD"'], ["word"]),
        ("notEqual", ["1"], [2.0, 4.0, 8.0, 5.0, None, "word", -3.0, True]),
        ("between", ["5", "2"], [2.0, 4.0, 5.0]),
        ("lessThan", ["$A$1"], [None, -3.0]),
    ],
)
def test_cells_that_compare(operator, formulas, hold):
    found = fills(CellIsRule(operator=operator, formula=formulas, fill=RED))
    held = [
        value
        for row, colors in zip(NUMBERS, found, strict=True)
        for value, fill in zip(row, colors, strict=True)
        if fill
    ]
    assert held == hold


def test_references_move_with_the_cell_and_the_first_rule_wins():
    frame = Side(style="thin", color="FF000000")
    first = FormulaRule(["$A1>4"], font=Font(b=True, color="FF00FF00"), border=Border(top=frame))
    second = FormulaRule(["A1>1"], font=Font(color="FF0000FF"), fill=RED)
    found = looks(first, second)
    assert found[0] == [{}, *2 * [{"color": "#0000ff", "fill": "#ff0000"}]]
    bold = {"bold": True, "color": "#00ff00", "top": "1px solid #000000"}
    assert found[1] == [bold | {"fill": "#ff0000"}, bold | {"fill": "#ff0000"}, bold]
    first.stopIfTrue = True
    assert looks(first, second)[1] == [bold] * 3


def test_a_name_stands_for_a_cell():
    rule = FormulaRule(["IF(AND(ROW()=(1+INT(follow/3)),COLUMN()=(1+MOD(follow,3))),1,0)>0"], fill=RED)
    numbers = [[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert fills(rule, numbers=numbers, names={"follow": "Sheet!$A$1"})[1] == [None, None, "#ff0000"]
    assert fills(rule, numbers=numbers) == [[None] * 3] * 2  # nobody knows the name


def test_a_bar_is_as_long_as_its_number_is_large():
    rule = DataBarRule("min", None, "max", None, color="FF638EC6", minLength=0, maxLength=100)
    found = looks(rule, numbers=[[0.0, 5.0, 20.0, None]])[0]
    assert found == [*({"bar": {"from": 0, "to": part, "color": "#638ec6"}} for part in (0, 0.25, 1)), {}]


UNKNOWN = [
    "RAND()>0",
    "A1:B2:C3",
    "1+",
    "(" * 200 + "1" + ")" * 200,
    "[book.xlsx]s!A1",
    "<script>",
    "1/0>0",
    '"a"+1',
    "XFE0",
]


@pytest.mark.parametrize("formula", UNKNOWN)
def test_what_is_not_understood_is_left_out(formula):
    assert fills(FormulaRule([formula], fill=RED)) == [[None] * 3] * 3
    assert looks(IconSetRule("3Arrows", "percent", [0, 33, 67])) == [[{}] * 3] * 3


FORMULAS = [
    "-2^2", "2^3^2", "-A1^2", "50%*4", "1+2*3-4/2", '"a"&1=A1&"b"', '"b">"A"', '"a"<1', "TRUE>9", "C2=0", 'C2=""',
    "IF(A1>1,5)", "IF(A3=1,2,3)", "IFERROR(A3+1,7)", "ISNUMBER(A3)", "ISNUMBER(1/0)", "ISERROR(1/0)", "ISBLANK(C2)",
    "ISTEXT(A3)", "AND(A1,B1>1)", "OR(A1>1,B1>9)", "NOT(C2)", "MAX(A1:C3)", "MIN(A1:C3,-9)", "SUM(A1:C3)",
    "AVERAGE(A1:B2)",
    "INT(-2.5)", "MOD(-7,3)", "ABS(B3)", "SQRT(C1)", "LEN(A3)", "LEFT(A3,2)", "RIGHT(A3,3)", 'SEARCH("R",A3)',
    'TRIM("  a  b ")', "MAX(C2:C2)", "ROW()*100+COLUMN()", "Sheet!B1+$B$2",
]  # fmt: skip


def test_formulas_give_what_ironcalc_gives(tmp_path):
    book = Workbook()
    sheet: Any = book.active
    for numbers in NUMBERS:
        sheet.append(numbers)
    for row, formula in enumerate(FORMULAS, 1):
        sheet.cell(row, 5, "=" + formula)
    book.save(tmp_path / "formulas.xlsx")
    (there,) = IronCalc().calculate(tmp_path / "formulas.xlsx", [Range("Sheet", 1, 5, len(FORMULAS), 5)])

    def values(sheet, top, left, bottom, right):
        return [NUMBERS[i - 1][j - 1] for i in range(top, bottom + 1) for j in range(left, right + 1)]

    wrong = []
    for row, (formula, expected) in enumerate(zip(FORMULAS, there.ravel(), strict=True), 1):
        try:
            found = read(formula, {}, (row, 5))(At(row, 5, None, values))
        except Failed:
            found = "#"
        if found != expected and (found, str(expected)[:1]) != ("#", "#"):
            wrong.append((formula, found, expected))
    assert wrong == []


def test_every_rule_of_a_workbook_is_understood():
    names = CellFile(WORKBOOKS / "tensors.xlsx").names
    for sheet in load_workbook(WORKBOOKS / "tensors.xlsx"):
        formats = sheet.conditional_formatting
        assert len(Rules(formats, sheet.title, names)) == sum(len(held.rules) for held in formats)
