"""What stands where in a workbook: which block a cell is of, what a student calls it, and which rows are steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sgdsheet.book import Block
from sgdsheet.expr import Range, Ref

if TYPE_CHECKING:
    from sgdsheet.explorer.session import Session

HEAD = 5  # rows above a block in which its name may stand
COUNTED = ("step", "epoch", "place")
T = TypeVar("T")


def kept(make: Callable[[Session], T]) -> Callable[[Session], T]:
    """Returns `make` so that it is called once for a session, which keeps what it returns."""

    def get(session: Session) -> T:
        if make not in session.kept:
            session.kept[make] = make(session)
        return session.kept[make]

    return get


@dataclass(frozen=True)
class Panel:
    """One of a block's ranges, with the number of its first element, and by how much that grows with each row."""

    block: Block
    range: Range
    first: int
    stride: int

    def position(self, row: int, column: int) -> tuple[int, ...]:
        """Which element of the block's tensor stands there."""
        flat = self.first + (row - self.range.top) * self.stride + column - self.range.left
        return tuple(int(each) for each in np.unravel_index(flat, self.block.shape)) if self.block.shape else ()


@dataclass(frozen=True)
class Table:
    """Rows of a sheet that are steps, counted by a column, and the blocks that have a row for each."""

    sheet: str
    first: int
    last: int
    counter: Block
    what: str
    blocks: dict[str, Block]

    def holds(self, block: Block, row: int) -> bool:
        """Whether a row is a step of this table, of a block that belongs to it."""
        return block.name in self.blocks and self.first <= row <= self.last


class Places:
    """Finds blocks by cell, and what they are called on their sheet."""

    def __init__(self, session: Session) -> None:
        self.value, self.blocks = session.value, session.blocks
        self._panels: list[Panel] = []
        self._labels: dict[str, str] = {}
        sheets: dict[str, list[int]] = {}
        for block in self.blocks.values():
            rows, columns = block.matrix()
            for range_, matrix, held in block.parts():
                sheets.setdefault(range_.sheet, []).append(len(self._panels))
                self._panels.append(Panel(block, range_, matrix * rows * columns + held.start, columns))
        self._grids = {sheet: self._grid(numbers) for sheet, numbers in sheets.items()}

    def _grid(self, numbers: list[int]) -> np.ndarray:
        """Which panel each cell of a sheet belongs to."""
        ranges = [self._panels[number].range for number in numbers]
        grid = np.full((max(each.bottom for each in ranges), max(each.right for each in ranges)), -1, dtype=np.int32)
        for number, each in zip(numbers, ranges, strict=True):
            grid[each.top - 1 : each.bottom, each.left - 1 : each.right] = number
        return grid

    def panel(self, sheet: str, row: int, column: int) -> Panel | None:
        """The panel that a cell belongs to, if it does to one."""
        grid = self._grids.get(sheet)
        if grid is None or row > grid.shape[0] or column > grid.shape[1]:
            return None
        number = int(grid[row - 1, column - 1])
        return None if number < 0 else self._panels[number]

    def label(self, block: Block) -> str:
        """What a block is called on its sheet, by the head above it or the text left of it, or else by its name."""
        if block.name not in self._labels:
            self._labels[block.name] = self._label(block)
        return self._labels[block.name]

    def _label(self, block: Block) -> str:
        number, _, rest = block.name.partition("/")
        kind, _, name = rest.partition("/")
        if not name:
            return rest or self._head(block) or block.name
        if kind == "grad":
            return f"{name}.grad"
        if kind == "state":  # a state's and a parameter's name, in either order
            first, _, last = name.partition("/")
            return first if f"0/param/{last}" in self.blocks else last
        if kind == "new_param" or (
            kind == "param" and number != "0" and f"{number}/new_param/{name}" not in self.blocks
        ):
            return f"new {name}"
        return name.rpartition("/")[2]

    def _head(self, block: Block) -> str:
        """The nearest text above a block, or left of it, that is its name or the end of it."""
        first = block.panels[0]
        for row, column in [*((first.top - up, first.left) for up in range(1, HEAD + 1)), (first.top, first.left - 1)]:
            held = self.value(Ref(first.sheet, row, column)) if row > 0 and column > 0 else None
            text = _joined(held) if isinstance(held, str) else ""
            if text and (block.name == text or block.name.endswith(f"_{text}")):
                return text
        return ""

    def step(self, block: Block) -> int | None:
        """The step that a block belongs to, from 1, where each step has blocks of its own."""
        match = re.match(r"(\d+)/(\w+)", block.name)
        if match is None:
            return None
        number = int(match[1])
        made = number > 0 and (match[2] in ("state", "new_param") or self.label(block).startswith("new "))
        return number if made else number + 1

    @cached_property
    def tables(self) -> list[Table]:
        """The tables of steps, in the order of their blocks."""
        held: dict[tuple[str, int, int], dict[str, Block]] = {}
        for block in self.blocks.values():
            if len(block.panels) == 1 and len(block.shape) in (1, 2) and block.panels[0].shape[0] == block.shape[0] > 1:
                panel = block.panels[0]
                held.setdefault((panel.sheet, panel.top, panel.bottom), {})[block.name] = block
        found = []
        for (sheet, first, last), blocks in held.items():
            counter = next((each for each in blocks.values() if self._counts(each)), None)
            if counter is not None and len(blocks) > 1:
                found.append(Table(sheet, first, last, counter, self._what(counter), blocks))
        return found

    def _counts(self, block: Block) -> bool:
        """Whether a block counts its rows, from 0 or 1, and is called so."""
        if block.role != "check" or len(block.shape) != 1 or not {*_words(block.name)} & {*COUNTED}:
            return False
        count = block.shape[0]
        values = [self.value(block.cell((number,))) for number in (0, 1, count - 1)]
        return values in ([0, 1, count - 1], [1, 2, count])

    def _what(self, counter: Block) -> str:
        """What a counter counts: the word above it, or one of its name."""
        panel = counter.panels[0]
        above = [self.value(Ref(panel.sheet, row, panel.left)) for row in range(panel.top - 1, 0, -1)[:HEAD]]
        return next(each for each in (*above, *_words(counter.name)) if each in COUNTED)

    def table(self, sheet: str, row: int, block: Block) -> Table | None:
        """The table of steps in which a block has that row."""
        return next((each for each in self.tables if each.sheet == sheet and each.holds(block, row)), None)


places = kept(Places)


def address(range_: Range, sheet: str) -> str:
    """A range's address as a cell on `sheet` would write it."""
    return range_.address if range_.sheet == sheet else range_.place


def described(range_: Range) -> dict[str, Any]:
    """A range as a message has it."""
    return {name: getattr(range_, name) for name in ("sheet", "top", "left", "bottom", "right")}


def _joined(text: str) -> str:
    """A head's text in one line: it was broken after a sign, or at a space."""
    return " ".join(re.sub(r"(?<=[_.])\n", "", text).split())


def _words(text: str) -> list[str]:
    return [each for each in re.split(r"[/._\s]+", text) if each]
