"""From a file back to its blocks: the manifest, and what each cell holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.book.blocks import Block, defined_name, named
from sgdsheet.book.cells import CellFile, Cells
from sgdsheet.book.formulas import Formulas, changed, elements
from sgdsheet.book.register import LESSON, REGISTER, parse_name, read_register
from sgdsheet.book.sheet import ANSWERS
from sgdsheet.errors import Error
from sgdsheet.expr import Range

PROGRAM = "program"


@dataclass
class Saved:
    """A workbook that sgdsheet made, as it is in its file now.

    `blocks` are where their defined names point, which spreadsheet programs keep right when rows are inserted or sheets
    renamed; `moved` tells of those that the manifest has elsewhere, `astray` of those whose name is no guide: they are
    where the manifest says. `contents` holds, for each block, an object array of the block's shape: a cell's number or
    text, its formula as a text that begins with `=`, or None. `rewritten` names the blocks with formulas other than
    those that were written, and where the change is; None if no formula's own form is known, in older workbooks.
    `program` holds the cells of the sheet `program`, a list a row, where there is one: a compiled model has it.
    `answers` holds those of the sheet `answers`, which a workbook with exercises has.
    """

    path: Path
    lesson: str
    blocks: dict[str, Block]
    contents: dict[str, np.ndarray]
    moved: dict[str, str]
    astray: dict[str, str]
    rewritten: dict[str, str] | None
    program: list[list[Any]]
    answers: list[list[Any]]

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
    file = CellFile(Path(path))
    lesson, register, blocks, moved, astray, fingerprints = listed(file)
    cells = {}
    for sheet in dict.fromkeys(panel.sheet for block in blocks.values() for panel in block.panels):
        if sheet not in file.sheets:
            raise Error(f"{file.path}: sheet {register!r} lists blocks on sheet {sheet!r}, but there is no such sheet")
        cells[sheet] = file.cells(sheet)
    program, answers = (file.rows(name) if name in file.sheets else [] for name in (PROGRAM, ANSWERS))
    contents = {name: _contents(block, cells) for name, block in blocks.items()}
    rewritten = _rewritten(blocks, cells, fingerprints, astray) if fingerprints else None
    return Saved(file.path, lesson, blocks, contents, moved, astray, rewritten, program, answers)


def listed(file: CellFile) -> tuple[str, str, dict[str, Block], dict[str, str], dict[str, str], dict[str, str] | None]:
    """What a workbook's manifest says, without a look at the blocks' cells.

    Returns the lesson, the sheet that lists the blocks, then `blocks`, `moved` and `astray` as `Saved` has them, and
    the sums over the blocks' formulas. Raises `Error` as `read` does.
    """
    register, rows = _register(file)
    lesson, found, fingerprints = read_register(rows, str(file.path), register)
    blocks, moved, astray = {}, {}, {}
    for block in found:
        followed, problem = _followed(block, file.names.get(defined_name(block.name)))
        blocks[block.name] = followed
        if problem:
            astray[block.name] = problem
        elif _places(followed.panels) != _places(block.panels):
            moved[block.name] = f"moved here from {block.panels[0].place}"
    return lesson, register, blocks, moved, astray, fingerprints


def _register(file: CellFile) -> tuple[str, list[list[Any]]]:
    """The sheet that lists the blocks, whatever it is called now, and its rows; in older workbooks it is `about`."""
    for sheet in sorted(file.sheets, key=lambda name: name not in (REGISTER, "about")):
        rows = file.rows(sheet)
        if sheet == REGISTER or any(row[:1] == [LESSON] for row in rows):
            return sheet, rows
    raise Error(
        f"{file.path}: has no sheet {REGISTER!r}, so either sgdsheet did not make it or the sheet was deleted; "
        "restore it, or generate the workbook anew"
    )


def _followed(block: Block, target: str | None) -> tuple[Block, str | None]:
    """The block where its defined name points, or else where the manifest has it, and what is wrong with the name."""
    name = defined_name(block.name)
    if target is None:
        return block, f"its defined name {name} is gone"
    were = named(block.panels)
    try:
        now = parse_name(target)
    except ValueError:
        now = []
    if [each.shape for each in now] != [each.shape for each in were]:
        return block, f"its name {name} now points to {target.replace('$', '') or 'nothing'}"
    if len(were) < len(block.panels):  # the name holds the range around them
        were, now = were * len(block.panels), now * len(block.panels)
    panels, typed = [], []
    for panel, old, new in zip(block.panels, were, now, strict=True):
        down, right = new.top - old.top, new.left - old.left
        panels.append(_shifted(panel, new.sheet, down, right))
        typed += [
            _shifted(Range(each.sheet, *corners), new.sheet, down, right)
            for each in block.typed
            if (corners := _common(each, panel))
        ]
    return replace(block, panels=panels, typed=panels if block.typed == block.panels else typed), None


def _shifted(range_: Range, sheet: str, down: int, right: int) -> Range:
    return Range(sheet, range_.top + down, range_.left + right, range_.bottom + down, range_.right + right)


def _common(one: Range, other: Range) -> tuple[int, int, int, int] | None:
    """The top, left, bottom and right of what two ranges share."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom, right = min(one.bottom, other.bottom), min(one.right, other.right)
    return (top, left, bottom, right) if one.sheet == other.sheet and top <= bottom and left <= right else None


def _places(ranges: list[Range]) -> list[str]:
    return [each.place for each in ranges]


def _contents(block: Block, cells: Mapping[str, Cells]) -> np.ndarray:
    pieces = []
    for panel in block.panels:
        held, columns = cells[panel.sheet], range(panel.left, panel.right + 1)
        piece = np.empty(panel.shape, dtype=object)
        for number, row in enumerate(range(panel.top, panel.bottom + 1)):
            piece[number] = [held.get((row, column)) for column in columns]
        pieces.append(piece)
    return block.whole(pieces)


def _rewritten(
    blocks: Mapping[str, Block], cells: Mapping[str, Cells], fingerprints: Mapping[str, str], astray: Collection[str]
) -> dict[str, str]:
    """The blocks whose formulas are not those that the manifest knows, and where the change is."""
    formulas = Formulas(blocks.values())
    found = {}
    for name, block in blocks.items():
        typed = typed_cells(block).reshape(-1)
        own = []
        for number, cell in elements(block):
            held = cells[cell.sheet].get((cell.row, cell.column))
            if isinstance(held, str) and held.startswith("=") and not typed[number]:
                own.append((number, cell, held[1:]))
        now = formulas.fingerprint(block, own)
        if now != fingerprints[name] and name not in astray:
            one = changed(fingerprints[name], now, len(typed))
            found[name] = "several cells" if one is None else next(c.place for n, c in elements(block) if n == one)
    return found


def typed_cells(block: Block) -> np.ndarray:
    """Which of the block's cells the reader may type into: booleans of its shape."""
    if block.typed == block.panels:
        return np.ones(block.shape, dtype=bool)
    masks = []
    for panel in block.panels:
        mask = np.zeros(panel.shape, dtype=bool)
        for typed in block.typed:
            if corners := _common(typed, panel):
                top, left, bottom, right = corners
                mask[top - panel.top : bottom - panel.top + 1, left - panel.left : right - panel.left + 1] = True
        masks.append(mask)
    return block.whole(masks)
