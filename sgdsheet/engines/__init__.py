"""What recalculates a workbook: one small interface, one file an engine.

`engine("ironcalc").calculate(path, ranges)` calculates every formula of a file anew and hands back the values. No
engine's library is imported before the engine is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from sgdsheet.engines.common import CellError, Formula, Value
from sgdsheet.errors import Error, nearest
from sgdsheet.expr import Range, Ref

__all__ = ["ENGINES", "CellError", "Engine", "Formula", "Opened", "Value", "available", "engine", "opened"]

ENGINES = ("ironcalc", "libreoffice", "gnumeric", "excel")


class Engine(Protocol):
    """A program that can recalculate a workbook."""

    name: str

    def missing(self) -> str | None:
        """`None` if the engine can be used here, else one line: why not, and how to get it."""
        ...

    def calculate(self, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        """Recalculates everything in the file and reads the ranges.

        Values that are stored in the file are never trusted, and the file itself is never changed.

        Arguments:
          path: an .xlsx file.
          ranges: what to read.

        Returns an object array of (rows, columns) for each range: `float` for a number, `bool` for a boolean, `str`
        for text, `None` for a blank cell, `CellError` for an error value.

        Raises `Error` if the file is missing, is no workbook, cannot be calculated, or lacks a sheet that is asked for.
        """
        ...


class Opened(Protocol):
    """A workbook that an engine has loaded, to be calculated several times with other numbers in its cells."""

    def calculate(self, cells: Iterable[tuple[Ref, float | str | None]], ranges: Sequence[Range]) -> list[np.ndarray]:
        """What `Engine.calculate` returns for `ranges` when these cells hold these numbers and texts instead.

        A `Formula` is one for the cell to hold, None leaves the cell blank.
        The file is not changed; what a cell was given stays until it is given something else.
        """
        ...


def opened(engine: Engine, path: Path) -> Opened | None:
    """The workbook, loaded; None if this engine can only calculate a file as it is. Errors as for `calculate`."""
    return engine.opened(path) if hasattr(engine, "opened") else None  # type: ignore[attr-defined]


def engine(name: str) -> Engine:
    """The engine of that name, one of `ENGINES`, ready for use.

    Raises `Error` for an unknown name, with the nearest known one, and for an engine that this machine lacks, with how
    to get it.
    """
    found = _engine(name)
    if reason := found.missing():
        raise Error(f"engine {name}: {reason}")
    return found


def available() -> list[str]:
    """The names of the engines that can be used on this machine."""
    return [name for name in ENGINES if _engine(name).missing() is None]


def _engine(name: str) -> Engine:
    if name == "ironcalc":
        from sgdsheet.engines.ironcalc import IronCalc

        return IronCalc()
    if name == "libreoffice":
        from sgdsheet.engines.libreoffice import LibreOffice

        return LibreOffice()
    if name == "gnumeric":
        from sgdsheet.engines.gnumeric import Gnumeric

        return Gnumeric()
    if name == "excel":
        from sgdsheet.engines.excel import Excel

        return Excel()
    raise Error(f"there is no engine {name!r}{nearest(name, ENGINES)}")
