"""What holds for every lesson of the catalogue."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sgdsheet
from sgdsheet import book, lessons
from sgdsheet.reference import COMPILED

Workbook = Callable[[str], Path]

NAMES = list(lessons.catalogue())
ALLOWED = set(
    "SUM SUMPRODUCT MMULT MAX MIN ABS SIGN SQRT EXP LN TANH POWER IF AND OR INDEX MATCH CHOOSE AVERAGE NA MOD INT COS "
    "PI IFERROR".split()
)


@pytest.mark.parametrize("name", NAMES)
def test_every_block_agrees_with_torch(workbook: Workbook, name: str) -> None:
    """As IronCalc calculates it; .ci/run does the same for LibreOffice."""
    report = sgdsheet.verify(workbook(name))
    assert {row.block: row.verdict for row in report.rows if not row.ok} == {}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_small_and_their_formulas_plain(workbook: Workbook, name: str) -> None:
    path = workbook(name)
    assert path.stat().st_size < 5_000_000
    with zipfile.ZipFile(path) as archive:
        sheets = [archive.read(part) for part in archive.namelist() if part.startswith("xl/worksheets/sheet")]
    formulas = b"\n".join(each for sheet in sheets for each in re.findall(rb"<f>([^<]*)</f>", sheet)).decode()
    assert formulas
    without_texts = re.sub(r"&quot;.*?&quot;|\"[^\"\n]*\"|'[^'\n]*'", "", formulas)
    assert set(re.findall(r"([A-Z][A-Z0-9.]*)\(", without_texts)) <= ALLOWED
    assert max(map(len, formulas.split("\n"))) <= 8192


@pytest.mark.parametrize("name", NAMES)
def test_every_block_says_what_it_is(workbook: Workbook, name: str) -> None:
    lesson, saved = lessons.find(name), book.read(workbook(name))
    assert saved.lesson in (name, COMPILED)
    # How many steps a compiled model takes is told by its sheets.
    told = {"steps"} if saved.lesson == COMPILED else set()
    assert {spec.name for spec in lesson.inputs} - saved.blocks.keys() == told
    assert lesson.data.dims.keys() <= saved.blocks.keys()
    assert {len(saved.blocks[block].shape) == dims for block, dims in lesson.data.dims.items()} <= {True}
    unsaid = [block.name for block in saved.blocks.values() if not block.words and not block.torch]
    assert not unsaid, "neither words nor a meaning in torch"


# Charts leave out what is #N/A: the epochs that were not trained, and the rates after the finder stopped.
GAPS = {"learning_rate": ["few_training", "few_validation", "finder_shown_loss", "finder_shown_smoothed"]}


@pytest.mark.parametrize("name", NAMES)
def test_values_are_numbers_at_first(workbook: Workbook, name: str) -> None:
    blocks = {block: values for block, values in sgdsheet.read(workbook(name)).items() if values.dtype.kind == "f"}
    assert [block for block, values in blocks.items() if not np.isfinite(values).all()] == GAPS.get(name, [])
