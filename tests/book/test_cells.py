"""Whether a file's cells are read as they are, however a program wrote them; every file here is written by hand."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl.formula.translate import Translator

from sgdsheet.book.cells import CellFile
from sgdsheet.book.formulas import shifted
from sgdsheet.errors import Error

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT_KIND = "http://purl.oclc.org/ooxml/officeDocument/relationships"

Make = Callable[..., CellFile]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """A workbook with one sheet of these rows, its shared texts being `one` and `two words`."""

    def make(
        rows: str, prefix: str = "", main: str = MAIN, kind: str = KIND, target: str = "worksheets/one.xml"
    ) -> Any:
        path, p = tmp_path / "made.xlsx", f"{prefix}:" if prefix else ""
        spaces = f'xmlns{":" if prefix else ""}{prefix}="{main}" xmlns:r="{kind}"'
        link = f'<Relationship Type="{kind}'
        parts = {
            "_rels/.rels": f'<Relationships>{link}/officeDocument" Id="x" Target="xl/workbook.xml"/></Relationships>',
            "xl/_rels/workbook.xml.rels": f'<Relationships>{link}/worksheet" Id="r1" Target="{target}"/>'
            f'{link}/sharedStrings" Id="r2" Target="/xl/texts.xml"/></Relationships>',
            "xl/workbook.xml": f"<{p}workbook {spaces}>"
            f'<{p}sheets><{p}sheet name="a &amp; b" sheetId="1" r:id="r1"/></{p}sheets><{p}definedNames>'
            f"<{p}definedName name='lr'>'a &amp; b'!$A$1</{p}definedName>"
            f"<{p}definedName name='lr' localSheetId='0'>elsewhere</{p}definedName></{p}definedNames></{p}workbook>",
            "xl/texts.xml": f"<{p}sst {spaces}><{p}si><{p}t>one</{p}t></{p}si>"
            f"<{p}si><{p}r><{p}t>two </{p}t></{p}r><{p}r><{p}t>words</{p}t></{p}r>"
            f"<{p}rPh><{p}t>zwei</{p}t></{p}rPh></{p}si></{p}sst>",
            "xl/worksheets/one.xml": f"<{p}worksheet {spaces}><{p}sheetData>{rows}</{p}sheetData></{p}worksheet>",
        }
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
        return CellFile(path)

    return make


@pytest.mark.parametrize(
    "target", ["worksheets/one.xml", "/xl/worksheets/one.xml", "./worksheets/../worksheets/one.xml"]
)
def test_what_cells_hold(made: Make, target: str) -> None:
    file = made(
        '<row r="2"><c r="A2" s="14"><v>0.1</v></c><c r="C2"><f>A2*2</f><v>0.2</v></c><c t="s"><v>1</v></c></row>'
        '<row><c><v>-12</v></c><c t="b"><v>1</v></c><c t="inlineStr"><is><t>=text</t></is></c>'
        '<c t="str"><f>"a"&amp;"b"</f><v>ab</v></c><c t="d"><v>2026-01-01</v></c><c t="e"><v>#N/A</v></c>'
        '<c s="3"/></row>',
        target=target,
    )
    assert list(file.sheets) == ["a & b"]
    assert file.names == {"lr": "'a & b'!$A$1"}
    assert file.cells("a & b") == {
        (2, 1): 0.1,
        (2, 3): "=A2*2",
        (2, 4): "two words",
        (3, 1): -12,
        (3, 2): True,
        (3, 3): "=text",
        (3, 4): '="a"&"b"',
        (3, 5): "2026-01-01",
        (3, 6): "#N/A",
    }
    assert file.rows("a & b") == [
        [],
        [0.1, None, "=A2*2", "two words"],
        [-12, True, "=text", '="a"&"b"', "2026-01-01", "#N/A"],
    ]


def test_strict_open_xml_with_prefixes(made: Make) -> None:
    rows = '<x:row r="1"><x:c r="A1"><x:v>1e-3</x:v></x:c><x:c r="B1" t="s"><x:v>0</x:v></x:c></x:row>'
    assert made(rows, "x", STRICT, STRICT_KIND).cells("a & b") == {(1, 1): 0.001, (1, 2): "one"}


def test_formula_that_cells_share(made: Make) -> None:
    """As Excel writes a column that was filled down."""
    cells = made(
        '<row r="1"><c r="B1"><f t="shared" ref="B1:B3" si="0">A1*$C$1+\'s 1\'!A$2+LOG10(A1)</f></c></row>'
        '<row r="2"><c r="B2"><f t="shared" si="0"/></c></row><row r="3"><c r="C3"><f t="shared" si="0"/></c></row>'
    ).cells("a & b")
    assert cells[2, 2] == "=A2*$C$1+'s 1'!A$2+LOG10(A2)"
    assert cells[3, 3] == "=B3*$C$1+'s 1'!B$2+LOG10(B3)"


@pytest.mark.parametrize(
    "formula",
    ["A1:B$2+$C3", 'IF(A1="A1",AA10,sheet1!B7)', "'A1 b'!A1+name_1*x1y", "SUMPRODUCT(A1:A3,LOG10(B1:B3))", "1E5+A1E5"],
)
def test_shifted_as_openpyxl_translates(formula: str) -> None:
    assert shifted(formula, 2, 1) == Translator(f"={formula}", "A1").translate_formula("B3")[1:]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('<row r="99999999999"><c><v>1</v></c></row>', "row 99999999999"),
        ('<row r="0"><c><v>1</v></c></row>', "row 0"),
        ('<row r="1"><c r="XFE1"><v>1</v></c></row>', "XFE1"),
        ('<row r="1"><c r="A1"><f t="shared" si="7"/></c></row>', "7"),
        ('<row r="1"><c r="A1" t="s"><v>2</v></c></row>', "range"),
    ],
)
def test_cells_that_make_no_sense(made: Make, rows: str, said: str) -> None:
    with pytest.raises(Error, match=said) as caught:
        made(rows).cells("a & b")
    assert "made.xlsx" in str(caught.value)


def test_doctype_is_refused(made: Make, tmp_path: Path) -> None:
    file = made("")
    with zipfile.ZipFile(file.path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("xl/worksheets/one.xml", '<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet>&a;</worksheet>')
    with pytest.raises(Error, match="DOCTYPE"):
        file.cells("a & b")
