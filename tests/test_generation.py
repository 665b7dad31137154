"""What stands in the files that generate writes, read with other libraries, and what happens when writing fails."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
from openpyxl.utils import get_column_letter, range_boundaries
from openpyxl.worksheet.formula import ArrayFormula

import sgdsheet
from sgdsheet import book, generation, lessons, writing
from sgdsheet.engines import engine
from sgdsheet.expr import Range

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
Place = Callable[..., tuple[str, str]]

STEP_BLOCKS = (
    "x y intercept slope y_hat loss grad_intercept grad_slope fd_grad_intercept fd_grad_slope new_intercept new_slope"
).split()

# What Excel 2016, LibreOffice, Google Sheets and IronCalc share; RAND, NOW, OFFSET and INDIRECT are not among it.
ALLOWED = set(
    "SUM SUMPRODUCT MMULT MAX MIN ABS SIGN SQRT EXP LN TANH POWER IF AND OR INDEX MATCH CHOOSE AVERAGE ERF NA "
    "MOD INT FLOOR ROUNDDOWN TRUNC COS PI IFERROR".split()
)


def cells(path: Path, data_only: bool = False) -> dict[tuple[str, str], Any]:
    """Every cell that is not empty, by sheet and address, as openpyxl reads it."""
    loaded = openpyxl.load_workbook(path, data_only=data_only)
    return {
        (sheet.title, cell.coordinate): cell.value
        for sheet in loaded.worksheets
        for row in sheet.iter_rows()
        for cell in row
        if cell.value is not None
    }


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts(source).items():
            archive.writestr(name, change(name, part))
    return target


def stored_value(change: Callable[[float], float]) -> Callable[[str, bytes], bytes]:
    """Changes the stored value of the first formula on the sheet of steps whose value is not whole."""

    def edit(name: str, part: bytes) -> bytes:
        if name != "xl/worksheets/sheet3.xml":
            return part
        return re.sub(
            rb"(</f><v>)(-?\d+\.\d{6,})(</v>)",
            lambda match: match[1] + repr(change(float(match[2]))).encode() + match[3],
            part,
            count=1,
        )

    return edit


def csv(path: Path, points: int) -> Path:
    path.write_text("x,y\n" + "".join(f"{i / points},{1 + i / points}\n" for i in range(points)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["linear_sgd", "convolution", "conv_backward"])
def test_same_input_gives_the_same_bytes(workbook: Workbook, tmp_path: Path, name: str) -> None:
    written = sgdsheet.generate(name, tmp_path / "another name.xlsx")
    content = written.path.read_bytes()
    assert content == workbook(name).read_bytes()
    assert written.size == len(content)


@pytest.mark.parametrize("name", ["linear_sgd", "optimizers"])
def test_every_formula_carries_its_value(workbook: Workbook, name: str) -> None:
    formulas = {
        place: value
        for place, value in cells(workbook(name)).items()
        if isinstance(value, str) and value.startswith("=")
    }
    stored = cells(workbook(name), data_only=True)
    assert formulas.keys() <= stored.keys()
    ranges, expected = [], []
    for sheet in dict.fromkeys(sheet for sheet, _ in formulas):
        addresses = [range_boundaries(address) for where, address in formulas if where == sheet]
        bottom, right = max(each[3] or 0 for each in addresses), max(each[2] or 0 for each in addresses)
        ranges.append(Range(sheet, 1, 1, bottom, right))
        expected.append([(row, column) for column, row, _, _ in addresses])
    for range_, values, places in zip(
        ranges, engine("ironcalc").calculate(workbook(name), ranges), expected, strict=True
    ):
        for row, column in places:
            assert row is not None
            assert column is not None
            assert values[row - 1, column - 1] == stored[range_.sheet, f"{get_column_letter(column)}{row}"]


def test_pandas_reads_the_values(workbook: Workbook, place_of: Place) -> None:
    sheet, address = place_of("linear_sgd", "loss")
    column, row, _, _ = range_boundaries(address)
    assert column is not None
    assert row is not None
    frame = pd.read_excel(workbook("linear_sgd"), sheet_name=sheet, header=None, engine="openpyxl")
    losses = frame.iloc[row - 1 : row - 1 + 290, column - 1].astype(float)
    np.testing.assert_array_equal(losses, sgdsheet.read(workbook("linear_sgd"))["loss"])


@pytest.mark.parametrize("name", ["linear_sgd", "optimizers", "convolution", "conv_backward"])
def test_formulas_are_plain(workbook: Workbook, name: str) -> None:
    for value in cells(workbook(name)).values():
        assert not isinstance(value, ArrayFormula)
        if isinstance(value, str) and value.startswith("="):
            without_texts = re.sub(r'"[^"]*"', '""', value)
            assert set(re.findall(r"([A-Z][A-Z0-9.]*)\(", without_texts)) <= ALLOWED
            assert len(value) <= 8192
            assert "{" not in without_texts


@pytest.mark.parametrize("name", ["linear_sgd", "optimizers"])
def test_no_macros_and_nothing_from_elsewhere(workbook: Workbook, name: str) -> None:
    names = parts(workbook(name))
    assert not [each for each in names if "vba" in each.lower() or "externalLink" in each]
    for part, content in names.items():
        if part.startswith("xl/worksheets/sheet"):
            assert b't="array"' not in content
            assert b't="shared"' not in content


@pytest.mark.parametrize("name", ["linear_sgd", "optimizers", "convolution", "conv_backward"])
def test_every_block_and_input_has_a_defined_name(workbook: Workbook, name: str) -> None:
    loaded = openpyxl.load_workbook(workbook(name), read_only=True)
    saved = book.read(workbook(name))
    assert {spec.name for spec in lessons.find(name).inputs} <= saved.blocks.keys()
    for block in saved.blocks.values():
        places = list(loaded.defined_names[block.name].destinations)
        found = [(sheet, (address or "").replace("$", "")) for sheet, address in places]
        assert found == [(panel.sheet, panel.address) for panel in block.panels]
        cells_in_place = 0
        for _, address in found:
            left, top, right, bottom = (edge or 0 for edge in range_boundaries(address))
            cells_in_place += (bottom - top + 1) * (right - left + 1)
        assert cells_in_place == np.prod(block.shape, dtype=int)
    loaded.close()


def test_blocks_and_inputs_that_the_lesson_promises(workbook: Workbook) -> None:
    saved = book.read(workbook("linear_sgd"))
    assert all(saved.blocks[name].shape == (290,) for name in STEP_BLOCKS)
    assert {"lr", "batch_size", "intercept", "slope"} <= {spec.name for spec in lessons.find("linear_sgd").inputs}
    for name in ("lr", "batch_size"):
        assert saved.blocks[name].shape == ()
        assert saved.blocks[name].role == "input"


def test_lesson2_is_what_it_promises(workbook: Workbook) -> None:
    values = book.read(workbook("lesson2_sgd")).contents
    assert len(values["data_x"]) == 100
    assert len(values["loss"]) == 100
    x, y = (np.array(values[name], dtype=float) for name in ("data_x", "data_y"))
    assert (abs(x) < 1).all()
    noise = y - 3 * x - 2
    assert noise.max() - noise.min() < 1.002
    assert values["lr"].item() == 0.1


@pytest.mark.parametrize(
    ("inputs", "block", "element", "value"),
    [
        ({"lr": "0.5"}, "lr", (), 0.5),
        ({"batch_size": np.int64(5)}, "batch_size", (), 5),
        ({"lr": np.float32(0.5)}, "lr", (), 0.5),
        ({"intercept": -2.0}, "intercept", 0, -2),
        ({"slope": 7}, "slope", 0, 7),
    ],
)
def test_inputs_start_with_what_is_given(
    tmp_path: Path, inputs: dict[str, Any], block: str, element: Any, value: float
) -> None:
    points = csv(tmp_path / "points.csv", 3)
    sgdsheet.generate("linear_sgd", tmp_path / "made.xlsx", data=points, **inputs)
    assert book.read(tmp_path / "made.xlsx").contents[block][element] == value


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("lineer_sgd", {}, "'linear_sgd'"),
        ("linear_sgd", {"batchsize": 3}, "'batch_size'"),
        ("linear_sgd", {"lr": float("nan")}, "nan"),
        ("linear_sgd", {"lr": "inf"}, "inf"),
        ("linear_sgd", {"lr": True}, "True"),
        ("linear_sgd", {"batch_size": 0}, "at least 1"),
        ("linear_sgd", {"batch_size": 1.5}, "whole"),
        ("optimizers", {"schedule": "cosin"}, "cosine"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, name: str, inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(sgdsheet.Error, match=re.escape(said)):
        sgdsheet.generate(name, tmp_path / "made.xlsx", **inputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "points"), [("linear_sgd", 2), ("lesson2_sgd", 2), ("optimizers", 3)])
def test_other_data_agrees_too(tmp_path: Path, name: str, points: int) -> None:
    path = tmp_path / "made.xlsx"
    sgdsheet.generate(name, path, data=csv(tmp_path / "points.csv", points))
    assert len(sgdsheet.read(path)["data_x"]) == points
    assert sgdsheet.verify(path).ok


def test_more_points_have_more_steps_to_show(tmp_path: Path) -> None:
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("linear_sgd", path, data=csv(tmp_path / "points.csv", 40), show_step=400)
    values = sgdsheet.read(path)
    assert values["shown_slope"] == values["slope"][399]


def test_charts_have_titles_and_visible_axes(workbook: Workbook) -> None:
    for name in ("linear_sgd", "optimizers"):
        charts = [text for part, text in parts(workbook(name)).items() if part.startswith("xl/charts/chart")]
        assert len(charts) >= 5
        for text in charts:
            assert text.count(b"<title>") == 3 or text.count(b"<c:title>") == 3
            assert len(re.findall(rb'<(?:c:)?delete val="0"', text)) == 2
            assert b"scatterStyle" in text
            references = re.findall(rb"<(?:c:)?f>([^<]*)</", text)
            assert references
            assert all(b"#REF" not in each for each in references)


@pytest.mark.parametrize("name", ["linear_sgd", "optimizers"])
def test_what_programs_are_told(workbook: Workbook, name: str) -> None:
    every = parts(workbook(name))
    assert re.search(rb'<calcPr[^>]*fullCalcOnLoad="(1|true)"', every["xl/workbook.xml"])
    loaded = openpyxl.load_workbook(workbook(name))
    assert loaded.sheetnames[0] == "about"
    sheets = [part for part in every if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", part)]
    assert len(sheets) == len(loaded.sheetnames)
    for part in sheets:
        text = every[part]
        found = re.search(rb'<dimension ref="([^"]*)"', text)
        assert found
        _, _, right, bottom = range_boundaries(found[1].decode())
        addresses = [range_boundaries(each.decode()) for each in re.findall(rb'<c r="([A-Z]+\d+)"', text)]
        assert (right, bottom) == (max(each[2] or 0 for each in addresses), max(each[3] or 0 for each in addresses))
        assert b"<ignoredErrors>" in text
        assert text.index(b"<sheetData>") < text.index(b"<ignoredErrors>")
    for sheet in loaded.worksheets:
        assert sheet.page_setup.orientation == "landscape"


def test_choices_become_a_drop_down(workbook: Workbook, place_of: Place) -> None:
    sheet, address = place_of("optimizers", "schedule")
    rules = openpyxl.load_workbook(workbook("optimizers"))[sheet].data_validations.dataValidation
    (rule,) = [each for each in rules if address in each.sqref]
    assert rule.type == "list"
    assert "one-cycle" in str(rule.formula1)


def test_time_is_not_in_the_file(workbook: Workbook) -> None:
    with zipfile.ZipFile(workbook("linear_sgd")) as archive:
        assert len({entry.date_time for entry in archive.infolist()}) == 1


def test_crash_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "linear_sgd.xlsx"
    path.write_bytes(b"the old file")

    class Broken:
        def calculate(self, path: Path, ranges: Any) -> Any:
            assert path.exists()
            assert ranges
            raise KeyboardInterrupt

    points = csv(tmp_path / "points.csv", 3)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "engine", lambda name: Broken())
        with pytest.raises(KeyboardInterrupt):
            sgdsheet.generate("linear_sgd", path, data=points)
    points.unlink()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"the old file"


def test_full_disk_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "linear_sgd.xlsx"
    path.write_bytes(b"the old file")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    points = csv(tmp_path / "points.csv", 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(sgdsheet.Error, match="the disk is full"):
            sgdsheet.generate("linear_sgd", path, data=points)
    points.unlink()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"the old file"


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    with pytest.raises(sgdsheet.Error, match="cannot be written"):
        sgdsheet.generate("linear_sgd", blocked / "made.xlsx")
    folder = tmp_path / "folder.xlsx"
    folder.mkdir()
    with pytest.raises(sgdsheet.Error, match="cannot be written"):
        sgdsheet.generate("linear_sgd", folder)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder.xlsx"]


def test_check_finds_nothing_in_a_fresh_file(tmp_path: Path) -> None:
    points = csv(tmp_path / "points.csv", 3)
    sgdsheet.generate("linear_sgd", tmp_path / "made.xlsx", data=points)
    assert generation.check("linear_sgd", tmp_path / "made.xlsx", data=points) is None


def test_check_of_a_missing_file(tmp_path: Path) -> None:
    assert generation.check("linear_sgd", tmp_path / "missing.xlsx") == "is missing"


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part.replace(b"</f>", b"+0</f>", 1),
        lambda part: part.replace(b"<v>0.03</v>", b"<v>0.031</v>", 1),
        lambda part: re.sub(rb'( s="\d)', rb"\g<1>0", part, count=1),
        lambda part: part.replace(b"nothing" if b"nothing" in part else b"Stochastic", b"Other", 1),
        lambda part: re.sub(rb'<pane [^>]*ySplit="\d+', rb"\g<0>0", part, count=1),
    ],
    ids=["formula", "input", "style", "text", "layout"],
)
def test_difference_is_found(workbook: Workbook, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    fresh = workbook("linear_sgd")

    def edit(name: str, part: bytes) -> bytes:
        if name != "xl/worksheets/sheet3.xml":
            return part
        changed = change(part)
        assert changed != part
        return changed

    found = book.difference(repacked(fresh, tmp_path / "old.xlsx", edit), fresh)
    assert found is not None
    assert "sheet3.xml" in found


def test_last_bit_of_a_stored_value_is_no_difference(workbook: Workbook, tmp_path: Path) -> None:
    fresh = workbook("linear_sgd")
    nearly = repacked(fresh, tmp_path / "nearly.xlsx", stored_value(lambda value: value + np.spacing(value).item()))
    assert nearly.read_bytes() != fresh.read_bytes()
    assert parts(nearly) != parts(fresh)
    assert book.difference(nearly, fresh) is None


def test_larger_change_of_a_stored_value_is_a_difference(workbook: Workbook, tmp_path: Path) -> None:
    fresh = workbook("linear_sgd")
    other = repacked(fresh, tmp_path / "other.xlsx", stored_value(lambda value: value + 1e-10))
    found = book.difference(other, fresh)
    assert found is not None
    assert "holds the value" in found


def test_difference_with_parts_that_are_not_there(workbook: Workbook, tmp_path: Path) -> None:
    fresh, other = workbook("linear_sgd"), tmp_path / "other.xlsx"
    with zipfile.ZipFile(other, "w") as archive:
        for name, part in list(parts(fresh).items())[:-1]:
            archive.writestr(name, part)
    assert "parts differ" in (book.difference(other, fresh) or "")


def test_difference_with_a_file_that_is_broken(workbook: Workbook, tmp_path: Path) -> None:
    fresh, other = workbook("linear_sgd"), tmp_path / "other.xlsx"
    content = bytearray(fresh.read_bytes())
    other.write_bytes(content[:1000])
    with pytest.raises(sgdsheet.Error):
        book.difference(other, fresh)
    with zipfile.ZipFile(fresh) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.compress_size)
    middle = largest.header_offset + largest.compress_size // 2
    damaged = content.copy()
    damaged[middle : middle + 20] = b"\xff" * 20
    encrypted, compressed = content.copy(), content.copy()
    for start in (match.start() for match in re.finditer(b"PK\1\2", content)):  # the entries of the archive's list
        encrypted[start + 8] |= 1
        compressed[start + 10] = 99
    for each in (damaged, encrypted, compressed):
        other.write_bytes(each)
        with pytest.raises(sgdsheet.Error, match=f"{other}: is no .xlsx file, or a damaged or password-protected one"):
            book.difference(other, fresh)


def test_a_part_that_would_unpack_to_much_more_is_not_unpacked(
    workbook: Workbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = workbook("small")
    large = repacked(fresh, tmp_path / "large.xlsx", lambda name, part: part + bytes(10**7 * ("core" in name)))
    read = zipfile.ZipFile.read

    def reading(archive: zipfile.ZipFile, name: str) -> bytes:
        part = read(archive, name)
        assert len(part) < 10**7
        return part

    monkeypatch.setattr(zipfile.ZipFile, "read", reading)
    assert book.difference(large, fresh) == "docProps/core.xml differs"


def test_more_rows_than_there_is_room_for_are_refused_at_once(tmp_path: Path) -> None:
    points = csv(tmp_path / "points.csv", 100_000)
    with pytest.raises(sgdsheet.Error, match="100,000 rows of data would make about [0-9,]+ cells") as caught:
        sgdsheet.generate("linear_sgd", tmp_path / "made.xlsx", data=points)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["points.csv"]


def test_the_estimate_is_what_would_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = csv(tmp_path / "points.csv", 250)
    monkeypatch.setattr(generation, "MOST_CELLS", 0)
    with pytest.raises(sgdsheet.Error) as caught:
        sgdsheet.generate("linear_sgd", tmp_path / "made.xlsx", data=points)
    monkeypatch.undo()
    found = re.search(r"about ([0-9,]+) cells", str(caught.value))
    assert found
    lesson = lessons.find("linear_sgd")
    made = lesson.book(lesson.values({}), lesson.load(generation.source(points)))
    assert int(found[1].replace(",", "")) == pytest.approx(writing.cells(made), rel=0.01)
