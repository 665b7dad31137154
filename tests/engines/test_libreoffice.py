"""What is particular to LibreOffice: a process that must be found, watched and tidied up after."""

import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

import openpyxl
import pytest

import sgdsheet.engines.libreoffice
from sgdsheet.engines.libreoffice import LibreOffice, find_soffice
from sgdsheet.errors import Error
from sgdsheet.expr import Range

CELL = [Range("Sheet", 1, 1, 1, 1)]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for soffice is a shell script")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active["A1"] = "=1+1"
    book.save(tmp_path / "book.xlsx")
    return tmp_path / "book.xlsx"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary folders are made; there must be none left."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Puts a script in the place of soffice."""
    soffice = folder / "bin" / "soffice"
    soffice.parent.mkdir()
    soffice.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    soffice.chmod(0o755)
    monkeypatch.setenv("PATH", str(soffice.parent), prepend=os.pathsep)
    return soffice


def ended(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@posix_only
def test_the_time_limit_ends_all_that_was_started(
    tmp_path: Path, path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! $$ > {shlex.quote(str(pids))}; wait\n"
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(Error) as caught:
        LibreOffice(timeout=1).calculate(path, CELL)
    assert str(caught.value) == f"{path}: LibreOffice was stopped after 1 seconds"
    assert all(ended(int(pid)) for pid in pids.read_text(encoding="utf-8").split())
    assert list(temporary.iterdir()) == []


@posix_only
def test_what_it_printed_is_told_when_it_writes_nothing(
    tmp_path: Path, path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "echo starting\necho 'no  export filter' >&2\nexit 0\n")
    with pytest.raises(Error) as caught:
        LibreOffice().calculate(path, CELL)
    assert str(caught.value) == f"{path}: LibreOffice cannot calculate this file: no export filter"
    assert list(temporary.iterdir()) == []


@posix_only
def test_a_soffice_that_does_not_start(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soffice = stand_in(tmp_path, monkeypatch, "")
    soffice.write_bytes(b"\x7fELF is not enough")
    with pytest.raises(Error) as caught:
        LibreOffice().calculate(path, CELL)
    assert str(caught.value).startswith(f"{soffice}: ")


@pytest.mark.skipif(LibreOffice().missing() is not None, reason=str(LibreOffice().missing()))
def test_the_profile_is_removed(path: Path, temporary: Path) -> None:
    (found,) = LibreOffice().calculate(path, CELL)
    assert found.tolist() == [[2.0]]
    assert list(temporary.iterdir()) == []


@posix_only
def test_soffice_is_sought_on_path_and_then_in_the_usual_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soffice = stand_in(tmp_path, monkeypatch, "")
    assert find_soffice() == str(soffice)
    soffice = soffice.rename(soffice.with_name("libreoffice"))
    monkeypatch.setenv("PATH", str(soffice.parent))
    assert find_soffice() == str(soffice)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        sgdsheet.engines.libreoffice, "PLACES", (str(tmp_path / "nowhere"), str(tmp_path / "b*/libre*"))
    )
    assert find_soffice() == str(soffice)
    assert LibreOffice().missing() is None


def test_missing_says_how_to_get_it(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sgdsheet.engines.libreoffice, "PLACES", ())
    assert "https://www.libreoffice.org" in (LibreOffice().missing() or "")
    with pytest.raises(Error, match="^engine libreoffice: soffice is neither on PATH"):
        LibreOffice().calculate(path, CELL)
