"""What every engine promises, asked of each one that this machine has."""

import math
import re
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from openpyxl.workbook.defined_name import DefinedName

from sgdsheet.engines import ENGINES, CellError, Engine, available, engine
from sgdsheet.engines.excel import Excel
from sgdsheet.engines.gnumeric import Gnumeric
from sgdsheet.engines.ironcalc import IronCalc
from sgdsheet.engines.libreoffice import LibreOffice
from sgdsheet.errors import Error
from sgdsheet.expr import Range

ALL: list[Engine] = [IronCalc(), LibreOffice(), Gnumeric(), Excel()]

# What stands in the first column of the sheet `by hand`, and what must come out.
NUMBERS = {
    0.1: 0.1,
    1 / 3: 1 / 3,
    -1.2345678901234567e-300: -1.2345678901234567e-300,
    9.87654321e200: 9.87654321e200,
    12345678: 12345678.0,
    "=1/3": 1 / 3,
    "=EXP(1)": math.e,
    "=SQRT(2)*1E-12": math.sqrt(2) * 1e-12,
    "=LN(10)": math.log(10),
    "=TANH(0.5)": math.tanh(0.5),
    "=0.30000000000000004*3": 0.9000000000000001,
}
PRECEDENCE = {
    "=-A1^2": 4.0,  # with A1 = 2 and a minus that binds tighter than the power
    "=-2^2": 4.0,
    "=-(2^2)": -4.0,
    "=0-2^2": -4.0,
    "=2^3^2": 64.0,
    "=2^(3^2)": 512.0,
    "=2^-1": 0.5,
    "=2--2": 4.0,
    "=10-4-3": 3.0,
    "=24/4/3": 2.0,
    "=2+3*4": 14.0,
    "=50%*4": 2.0,
    "=1+2=3": True,
    "=(1<2)+0": 1.0,
    '="n"&1+2': "n3",
}
KINDS = {
    True: True,
    False: False,
    "=TRUE": True,
    "=2<1": False,
    "text": "text",
    "Größe ≤ 1": "Größe ≤ 1",
    "<a> & 'b' \"c\"": "<a> & 'b' \"c\"",
    '="te"&"xt"': "text",
    '="#NUM!"': "#NUM!",
    "two\nlines": "two\nlines",
    '=IF(1=1,"","x")': "",
    "=ISBLANK(Z99)": True,
}
ERRORS = {
    "=1/0": "#DIV/0!",
    "=NA()": "#N/A",
    "=EXP(1000)": "#NUM!",
    '="a"+1': "#VALUE!",
    "=#REF!+1": "#REF!",
    "=NO_SUCH_NAME": "#NAME?",
    "=1/0+NA()": "#DIV/0!",
}
CHAIN = 200
STALE = 999.25


def patch(path: Path, edit: Callable[[str, bytes], bytes]) -> None:
    """Rewrites the parts of a file."""
    with zipfile.ZipFile(path) as parts:
        contents = {name: edit(name, parts.read(name)) for name in parts.namelist()}
    with zipfile.ZipFile(path, "w") as parts:
        for name, content in contents.items():
            parts.writestr(name, content)


def store_wrong_values(name: str, content: bytes) -> bytes:
    """Gives each formula a value that is wrong, and takes away the file's wish to be recalculated."""
    if name.startswith("xl/worksheets/"):
        return re.sub(rb"</f>\s*<v\s*(/>|></v>)", b"</f><v>%r</v>" % STALE, content)
    if name == "xl/workbook.xml":
        return re.sub(rb"<calcPr[^>]*>", b'<calcPr calcId="191029"/>', content)
    return content


def column(sheet: str, number: int, length: int) -> Range:
    return Range(sheet, 1, number, length, number)


def write_workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    hand = book.active
    assert hand is not None
    hand.title = "by hand"
    for number, items in enumerate((NUMBERS, KINDS, ERRORS), 1):
        for row, item in enumerate(items, 1):
            hand.cell(row, number, item)
    traps = book.create_sheet("it's")
    traps["A1"] = 2
    for row, item in enumerate(PRECEDENCE, 1):
        traps.cell(row, 2, item)
    chain = book.create_sheet("Kette")
    chain["A1"], chain["B1"] = 1, "=A1"
    for row in range(2, CHAIN + 1):  # back and forth between sheets, from the bottom up
        chain.cell(row, 1, f"='by hand'!D{CHAIN + 2 - row}+1")
        hand.cell(CHAIN + 2 - row, 4, f"=Kette!A{row - 1}")
    arrays = book.create_sheet("Q3")
    for row in range(1, 4):
        for col in range(1, 4):
            arrays.cell(row, col, row / 7 + col)
            arrays.cell(row, col + 3, f"=(A{row}-B2)/3" if row == col else col - row / 9)
    book.defined_names["weights"] = DefinedName("weights", attr_text="'Q3'!$A$1:$C$3")
    book.defined_names["rate"] = DefinedName("rate", attr_text="'by hand'!$F$1")
    hand["F1"] = 2
    for row, item in enumerate(
        (
            "=SUMPRODUCT(A1:C3,D1:F3)",
            "=SUMPRODUCT((A1:C3-D1:F3)^2)",
            "=SUMPRODUCT((weights>2)*(weights-rate))",
            "=SUM(weights)*rate",
            "=SUMPRODUCT(MMULT(A1:C3,D1:F3))",
            "=MAX(weights)-MIN(weights)",
        ),
        1,
    ):
        arrays.cell(row, 8, item)
    dates = book.create_sheet("dates")
    dates["A1"] = 0.25
    dates["A1"].number_format = "yyyy-mm-dd"
    dates["A2"] = "=-A1*4E9"
    dates["A2"].number_format = "hh:mm"
    dates["C2"] = "corner"
    book.save(path)
    patch(path, store_wrong_values)


RANGES = {
    "numbers": column("by hand", 1, len(NUMBERS)),
    "kinds": column("by hand", 2, len(KINDS)),
    "errors": column("by hand", 3, len(ERRORS)),
    "precedence": column("it's", 2, len(PRECEDENCE)),
    "chain": column("Kette", 1, CHAIN),
    "matrices": Range("Q3", 1, 1, 3, 6),
    "products": column("Q3", 8, 6),
    "dates": Range("dates", 1, 1, 3, 4),
    "beyond": Range("dates", 500, 100, 501, 102),
    "one": Range("it's", 1, 1, 1, 1),
}


@pytest.fixture(scope="module", params=ALL, ids=ENGINES)
def tool(request: pytest.FixtureRequest) -> Engine:
    if reason := request.param.missing():
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def path(tool: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(tool.name) / "mit Größe 重み" / "ein #1 & 'Wörk' buch.xlsx"
    path.parent.mkdir()
    write_workbook(path)
    return path


@pytest.fixture(scope="module")
def values(tool: Engine, path: Path) -> dict[str, np.ndarray]:
    before = path.read_bytes()
    arrays = tool.calculate(path, list(RANGES.values()))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    return dict(zip(RANGES, arrays, strict=True))


def same(found: np.ndarray, expected: list[Any]) -> None:
    """The same values of the very same types; numbers to 1e-14."""
    assert found.dtype == object
    assert [type(value) for value in found.flat] == [type(value) for value in expected]
    assert found.ravel().tolist() == [
        pytest.approx(value, rel=1e-14, abs=0) if type(value) is float else value for value in expected
    ]


def test_the_file_holds_wrong_values(path: Path) -> None:
    sheet = openpyxl.load_workbook(path, data_only=True)["it's"]
    assert all(cell.value == STALE for (cell,) in sheet.iter_rows(min_col=2, max_col=2))


def test_numbers_keep_their_precision(values: dict[str, np.ndarray]) -> None:
    same(values["numbers"], list(NUMBERS.values()))


def test_booleans_and_texts(values: dict[str, np.ndarray]) -> None:
    same(values["kinds"], list(KINDS.values()))


def test_each_kind_of_error(values: dict[str, np.ndarray]) -> None:
    same(values["errors"], [CellError(value) for value in ERRORS.values()])


def test_precedence_is_that_of_excel(tool: Engine, values: dict[str, np.ndarray]) -> None:
    # Gnumeric reads 2^3^2 from the right; `expr` never prints it.
    same(
        values["precedence"], list((PRECEDENCE | {"=2^3^2": 512.0} if tool.name == "gnumeric" else PRECEDENCE).values())
    )


def test_a_chain_across_sheets(values: dict[str, np.ndarray]) -> None:
    same(values["chain"], [float(number) for number in range(1, CHAIN + 1)])


def test_products_of_arrays_and_defined_names(values: dict[str, np.ndarray]) -> None:
    matrices = values["matrices"].astype(float)
    left, right = matrices[:, :3], matrices[:, 3:]
    assert left.tolist() == [[pytest.approx(row / 7 + col, rel=1e-14) for col in (1, 2, 3)] for row in (1, 2, 3)]
    expected = [
        (left * right).sum(),
        ((left - right) ** 2).sum(),
        ((left > 2) * (left - 2)).sum(),
        left.sum() * 2,
        (left @ right).sum(),
        left.max() - left.min(),
    ]
    assert values["products"].ravel().tolist() == [pytest.approx(value, rel=1e-13) for value in expected]


def test_blanks_and_numbers_that_look_like_dates(values: dict[str, np.ndarray]) -> None:
    assert values["dates"].tolist() == [[0.25, None, None, None], [-1e9, None, "corner", None], [None] * 4]
    assert values["beyond"].tolist() == [[None] * 3] * 2


def test_one_cell(values: dict[str, np.ndarray]) -> None:
    assert values["one"].shape == (1, 1)
    assert values["one"].tolist() == [[2.0]]


def test_a_sheet_that_is_not_there(tool: Engine, path: Path) -> None:
    with pytest.raises(Error) as caught:
        tool.calculate(path, [Range("By Hand", 1, 1, 1, 1)])
    assert str(caught.value) == f"{path}: there is no sheet 'By Hand'; did you mean 'by hand'?"


def drop_tail(name: str, content: bytes) -> bytes:
    return content[: len(content) // 2] if name == "xl/worksheets/sheet1.xml" else content


def drop_workbook(name: str, content: bytes) -> bytes:
    return b"" if name == "xl/workbook.xml" else content


@pytest.mark.parametrize(
    "damage", ["missing", "folder", "empty", "text", "truncated", "archive", "flipped", drop_tail, drop_workbook]
)
def test_a_file_that_cannot_be_used(
    tool: Engine, path: Path, tmp_path: Path, damage: str | Callable[[str, bytes], bytes]
) -> None:
    bad = tmp_path / "bad file.xlsx"
    content = path.read_bytes()
    if callable(damage):
        bad.write_bytes(content)
        patch(bad, damage)
    elif damage == "folder":
        bad.mkdir()
    elif damage == "archive":
        with zipfile.ZipFile(bad, "w") as parts:
            parts.writestr("letter.txt", "no workbook")
    elif damage == "flipped":
        place = content.index(b"<sheetData>")
        bad.write_bytes(content[: place + 1] + b"<" + content[place + 2 :])
    elif damage != "missing":
        bad.write_bytes({"empty": b"", "text": b"a,b\n1,2\n", "truncated": content[: len(content) // 2]}[damage])
    with pytest.raises(Error) as caught:
        tool.calculate(bad, [column("by hand", 1, 3)])
    assert str(caught.value).startswith(f"{bad}: ")
    assert "\n" not in str(caught.value)


def test_two_at_a_time(tool: Engine, path: Path) -> None:
    found: list[list[np.ndarray]] = []
    both = [threading.Thread(target=lambda: found.append(tool.calculate(path, [RANGES["one"]]))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert [arrays[0].tolist() for arrays in found] == [[[2.0]], [[2.0]]]


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(Error, match="^there is no engine 'libre-office'; did you mean 'libreoffice'"):
        engine("libre-office")


def test_engine_gives_what_is_available_and_refuses_the_rest() -> None:
    for one in ALL:
        if one.name in available():
            assert engine(one.name).name == one.name
        else:
            with pytest.raises(Error, match=f"^engine {one.name}: .*(install|use )"):
                engine(one.name)
    assert [one.name for one in ALL] == list(ENGINES)
