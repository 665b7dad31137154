"""What cells show, against what LibreOffice shows for the same cells, and Excel where the two differ."""

import math
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sgdsheet.explorer.formats import color, text

WORKBOOKS = Path(__file__).parents[2] / "workbooks"
SMALL = "[=0]0.000;[<0.005]0.0E+00;0.000"
ACCOUNTS = '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)'

# LibreOffice's own text, in a file that it wrote as .csv.
LIBREOFFICE = [
    ("0.000", [(0, "0.000"), (1 / 3, "0.333"), (-1 / 3, "-0.333"), (0.0005, "0.001"), (99999.9996, "100000.000")]),
    ('0.000;-0.000;"·"', [(0, "·"), (0.0005, "0.001"), (-2.5, "-2.500"), (-0.0001, "-0.000"), ("word", "word")]),
    (SMALL, [(0, "0.000"), (0.004, "4.0E-03"), (1e-8, "1.0E-08"), (0.0005, "5.0E-04"), (2.5, "2.500")]),
    ("0.0E+00", [(0, "0.0E+00"), (-1234567.891, "-1.2E+06"), (99999.9996, "1.0E+05"), (1e15, "1.0E+15")]),
    ('0.0E+0;;"·"', [(0.004, "4.0E-3"), (-1, ""), (0, "·")]),
    ("##0.0E+0", [(1234.5678, "1.2E+3"), (45000.75, "45.0E+3"), (0.0005, "500.0E-6")]),
    ('"is a "0;;"is a "0', [(2.5, "is a 3"), (-2.5, ""), (0, "is a 0"), ("word", "word")]),
    ('0;"–"', [(2.5, "3"), (-2.5, "–"), (0, "0")]),
    ('"●";"●";"●"', [(1, "●"), (-1, "●"), (0, "●")]),
    (";;;", [(1, ""), (-1, ""), (0, ""), ("word", "")]),
    ("0.0%", [(1 / 3, "33.3%"), (-2.5, "-250.0%")]),
    ("#,##0.00", [(-1234567.891, "-1,234,567.89"), (1.005, "1.01"), (2.5, "2.50")]),
    ("0,000", [(2.5, "0,003"), (1234.5678, "1,235"), (99999.9996, "100,000")]),
    ("#.0#", [(1 / 3, ".33"), (2.5, "2.5"), (0, ".0")]),
    ('0.0,"k"', [(45000.75, "45.0k"), (1234.5678, "1.2k")]),
    ('0.00\\ "kg"', [(2.5, "2.50 kg")]),
    ("[$€-407] 0.00", [(2.5, "€ 2.50")]),
    ('"<b>"@', [("word", "<b>word")]),
    ("[Red][<1]0.00;[>=100]#,##0;0.0", [(1 / 3, "0.33"), (2.5, "2.5"), (1234.5678, "1,235")]),
    ("yyyy-mm-dd hh:mm:ss", [(45000.75, "2023-03-15 18:00:00")]),
    ("d mmm yy h:mm AM/PM", [(45000.75, "15 Mar 23 6:00 PM"), (99999.9996, "13 Oct 73 11:59 PM")]),
    ("dddd d mmmm", [(45000.75, "Wednesday 15 March")]),
    ("[h]:mm:ss", [(1.5, "36:00:00"), (1 / 3, "8:00:00")]),
    (ACCOUNTS, [(2.5, " 2.50 "), (-2.5, " (2.50)"), (0, " -   "), ("word", " word ")]),
    ("General", [(2.5, "2.5"), (0, "0"), (-1234567.891, "-1234567.891"), (True, "TRUE"), (0.1 + 0.2, "0.3")]),
]
# Excel has 11 characters for General, keeps the minus sign of what it rounds to 0, and under conditions.
EXCEL = [
    ("General", [(1 / 3, "0.333333333"), (1e-8, "1E-08"), (1e15, "1E+15"), (123456789012, "1.23457E+11")]),
    ("General", [(12345678901, "12345678901"), (9999999999.7, "10000000000"), (1e-4 / 3, "3.33333E-05")]),
    ("General", [(0.0001, "0.0001"), (1234567.891234, "1234567.891"), (1e200 / 3, "3.3333E+199")]),
    ("0.000", [(-0.0001, "-0.000"), (True, "TRUE"), (None, ""), ("#N/A", "#N/A"), (math.nan, "#NUM!")]),
    ("[>=1000]0.0E+0;0.000", [(-0.5, "-0.500"), (1234, "1.2E+3")]),
    ("[<1]0.00", [(5, "########")]),
    ("yyyy-mm-dd", [(-1, "########"), (math.inf, "#NUM!")]),
    ('"is a "0', [(-3, "-is a 3")]),
    ("0.#", [(1, "1.")]),
    ("0.0??", [(2.5, "2.5  ")]),
    (";;;", [("#DIV/0!", "#DIV/0!")]),
]
CASES = [(code, value, shown) for code, cells in LIBREOFFICE + EXCEL for value, shown in cells]


@pytest.mark.parametrize(("code", "value", "shown"), CASES)
def test_a_cell_shows_what_it_shows_elsewhere(code, value, shown):
    assert text(value, code) == shown


STRANGE = ["<script>alert(1)</script>", "# ?/?", "0;0;0;0;0", '"open', "[", "0.0.0", "\\", "0" * 2000, "0." + "0" * 90]


@pytest.mark.parametrize("code", STRANGE)
def test_a_format_that_is_not_understood_counts_as_general(code):
    assert text(0.25, code) == "0.25"
    assert text("word", code) == "word"


def test_a_format_may_bring_a_colour():
    verdict = '[Blue]"✓";;[Red]"✗"'
    assert [(text(value, verdict), color(value, verdict)) for value in (1, 0)] == [("✓", "#0000ff"), ("✗", "#ff0000")]
    assert color(1, "0.000") is color("word", verdict) is color(None, verdict) is color(math.nan, verdict) is None


def test_each_format_of_the_workbooks_is_understood():
    codes = set()
    for path in WORKBOOKS.rglob("*.xlsx"):
        with zipfile.ZipFile(path) as file:
            styles = ElementTree.fromstring(file.read("xl/styles.xml"))
        codes |= {element.attrib["formatCode"] for element in styles.iter() if element.tag.endswith("}numFmt")}
    assert len(codes) > 20
    of_general = {code for code in codes if text(1 / 3, code) == text(1 / 3)}
    assert of_general <= {'General;-General;"·"'}
