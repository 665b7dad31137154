"""What is particular to Gnumeric: the command `ssconvert`."""

import os
import sys
from pathlib import Path

import openpyxl
import pytest

from sgdsheet.engines.common import CellError
from sgdsheet.engines.gnumeric import Gnumeric
from sgdsheet.errors import Error
from sgdsheet.expr import Range

CELLS = [Range("Sheet", 1, 1, 1, 3)]
installed = pytest.mark.skipif(Gnumeric().missing() is not None, reason=str(Gnumeric().missing()))
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ssconvert is a shell script")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["=EXP(710)", "=EXP(-800)", "=INDEX(A2:C2,1,2)"])
    book.active.append([4, 5, 6])
    book.save(tmp_path / "book.xlsx")
    return tmp_path / "book.xlsx"


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a script in the place of ssconvert."""
    ssconvert = folder / "bin" / "ssconvert"
    ssconvert.parent.mkdir()
    ssconvert.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    ssconvert.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssconvert.parent), prepend=os.pathsep)


@installed
def test_what_is_beyond_float64_is_an_error_as_elsewhere(path: Path) -> None:
    assert Gnumeric().calculate(path, CELLS)[0].tolist() == [[CellError("#NUM!"), 0.0, 5.0]]


@posix_only
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sleep 60\n", "Gnumeric was stopped after 0.5 seconds"),
        ("echo 'no  such format' >&2\n", "Gnumeric cannot calculate this file: no such format"),
    ],
)
def test_it_says_what_went_wrong(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(Error) as caught:
        Gnumeric(timeout=0.5).calculate(path, CELLS)
    assert str(caught.value) == f"{path}: {said}"


def test_missing_says_how_to_get_it(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="^engine gnumeric: ssconvert is not on PATH; install Gnumeric"):
        Gnumeric().calculate(path, CELLS)
