"""What the engines share: the values of cells, the checks that give the same `Error` whichever engine is used, and how
another program is run."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.parsers import expat

import numpy as np

from sgdsheet.errors import Error, nearest, one_line
from sgdsheet.expr import Range
from sgdsheet.files import why_no_file

Value = float | bool | str | None

# What zipfile raises for archives that are damaged, encrypted or compressed in a way that it does not know.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)

MOST_BYTES = 2 * 10**9  # of an unpacked workbook: a few hundred are the most that anybody has


class CellError(str):
    """An error value in a cell, as in `CellError("#NUM!")`; a cell's text is a plain `str` even when it reads so."""

    __slots__ = ()


class Formula(str):
    """A formula for a cell, with its `=`; a cell's text is a plain `str` even when it reads so."""

    __slots__ = ()


def require_workbook(path: Path) -> None:
    """Raises `Error` unless `path` is an .xlsx file: LibreOffice would make a sheet of anything."""
    kind = b""
    if why := why_no_file(path):
        raise Error(f"{path}: {why}")
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
            if size > MOST_BYTES:
                raise Error(f"{path}: it would unpack to {size / 1e9:,.1f} GB, {MOST_BYTES / 1e9:.0f} are the most")
            kind = parts.read("[Content_Types].xml")
    except OSError as error:
        raise Error(f"{path}: {error.strerror or error}") from None
    except Error:
        raise
    except (*DAMAGED, KeyError):
        pass
    if b"spreadsheetml" not in kind:
        raise Error(f"{path}: not an .xlsx workbook, or a damaged or password-protected one")


def require_whole(path: Path) -> None:
    """Raises `Error` if part of the file cannot be read: office programs show such a sheet as blank, without a word."""
    with zipfile.ZipFile(path) as parts:
        for name in parts.namelist():
            if name.endswith((".xml", ".rels")):
                try:
                    with parts.open(name) as part:
                        expat.ParserCreate().ParseFile(part)
                except (*DAMAGED, expat.ExpatError) as error:
                    raise Error(f"{path}: {name} in this file is damaged: {one_line(error)}") from None


def require_sheets(path: Path, ranges: Iterable[Range], sheets: Iterable[str]) -> None:
    """Raises `Error` if a range lies on a sheet that is not among `sheets`."""
    sheets = list(sheets)
    for range_ in ranges:
        if range_.sheet not in sheets:
            raise Error(f"{path}: there is no sheet {range_.sheet!r}{nearest(range_.sheet, sheets)}")


def as_array(values: Sequence[Value], shape: tuple[int, int]) -> np.ndarray:
    """The values, row after row, as an object array of that shape."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def run(command: list[str], timeout: float) -> str:
    """Runs a program and returns what it printed.

    If it takes longer than `timeout` seconds, or the user interrupts, it dies with all that it started.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=timeout)[0]
        except BaseException:
            # soffice is a script around the program that does the work: to kill the script alone ends nothing.
            if sys.platform == "win32":
                subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
            else:
                with contextlib.suppress(OSError):  # it may just have ended by itself
                    os.killpg(process.pid, signal.SIGKILL)
            raise
