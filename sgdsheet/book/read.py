"""From a file back to its blocks: the manifest, and what each cell holds."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from openpyxl import load_workbook

from sgdsheet.book.about import ABOUT, parse_place, read_about
from sgdsheet.book.sheet import Block, defined_name, named
from sgdsheet.errors import Error
from sgdsheet.expr import Range

PROGRAM = "program"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # how an encrypted workbook, and an .xls of before 2007, begins


@dataclass
class Saved:
    """A workbook that sgdsheet made, as it is in its file now.

    `contents` holds, for each block, an object array of the block's shape: a cell's number or text, its formula as a
    text that begins with `=`, or None. `moved` names the blocks whose defined name points elsewhere than the manifest.
    `program` holds the cells of the sheet `program`, a list a row, where there is one: a compiled model has it.
    """

    path: Path
    lesson: str
    blocks: dict[str, Block]
    contents: dict[str, np.ndarray]
    moved: dict[str, str]
    program: list[list[Any]]

    def ranges(self) -> list[Range]:
        """The panels of all blocks, in order, for an engine to read."""
        return [panel for block in self.blocks.values() for panel in block.panels]

    def arrange(self, values: list[np.ndarray]) -> dict[str, np.ndarray]:
        """An engine's values for `ranges()`, as one array a block, of its shape."""
        remaining = iter(values)
        arranged = {}
        for name, block in self.blocks.items():
            arranged[name] = block.whole([next(remaining) for _ in block.panels])
        return arranged


def read(path: str | Path) -> Saved:
    """Reads a workbook's manifest and what its cells hold.

    Raises `Error` for a file that cannot be read, and for one that sgdsheet did not make.
    """
    path = Path(path)
    with _explained(path), path.open("rb") as file:
        workbook = load_workbook(file, read_only=True)
        if ABOUT not in workbook.sheetnames:
            raise Error(
                f"{path}: has no sheet {ABOUT!r}, so either sgdsheet did not make it or the sheet was deleted; "
                "restore it, or generate the workbook anew"
            )
        lesson, listed = read_about(_rows(workbook[ABOUT]), str(path))
        blocks = {block.name: block for block in listed}
        rows = {}
        for sheet in dict.fromkeys(panel.sheet for block in listed for panel in block.panels):
            if sheet not in workbook.sheetnames:
                raise Error(f"{path}: sheet {ABOUT!r} lists blocks on sheet {sheet!r}, but there is no such sheet")
            rows[sheet] = _rows(workbook[sheet])
        program = _rows(workbook[PROGRAM]) if PROGRAM in workbook.sheetnames else []
        names = {name: defined.attr_text or "" for name, defined in workbook.defined_names.items()}
    contents = {name: _contents(block, rows) for name, block in blocks.items()}
    moved = {}
    for name, block in blocks.items():
        target = names.get(defined_name(name))
        if target is None:
            moved[name] = f"its defined name {defined_name(name)} is gone"
        elif not _same_place(target, block.panels):
            moved[name] = f"its name {defined_name(name)} now points to {target.replace('$', '')}"
    return Saved(path, lesson, blocks, contents, moved, program)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what openpyxl raises for a file that it cannot read into one clear line."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if start == _OLE:
            raise Error(f"{path}: is encrypted, or an .xls of before 2007; save it as .xlsx without a password")
        if not zipfile.is_zipfile(path):
            raise Error(f"{path}: is no .xlsx file, or is only part of one")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl's remarks about what other programs add to a file
            yield
    except Error:
        raise
    except OSError as error:
        raise Error(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever openpyxl stumbles over in a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Error(f"{path}: is no .xlsx file that can be read: {reason}") from None


def _rows(worksheet: Any) -> list[list[Any]]:
    worksheet.reset_dimensions()  # what a file says of its own size may be wrong
    return [list(row) for row in worksheet.iter_rows(values_only=True)]


def _contents(block: Block, rows: dict[str, list[list[Any]]]) -> np.ndarray:
    pieces = []
    for panel in block.panels:
        sheet, piece = rows[panel.sheet], np.empty(panel.shape, dtype=object)
        for number, row in enumerate(sheet[panel.top - 1 : panel.bottom]):
            cells = row[panel.left - 1 : panel.right]
            piece[number, : len(cells)] = cells
        pieces.append(piece)
    return block.whole(pieces)


def _same_place(target: str, panels: list[Range]) -> bool:
    """Whether a defined name's text, with dollars and perhaps other quotes, is these ranges."""
    try:
        ranges = [parse_place(each)[0] for each in target.split(",")]
    except ValueError:
        return False
    return [(each.sheet, each.address) for each in ranges] == [(each.sheet, each.address) for each in named(panels)]
