"""The sheets of a compiled workbook: what they are called, where each block stands on them, and the links to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sgdsheet.book import DIVERGING, NUMBER, WHOLE, Book, Series, Sheet, columns_of, scatter, style
from sgdsheet.expr import MAX_COLUMNS, Range
from sgdsheet.tensor import Array
from sgdsheet.torch_frontend.program.graph import FED, LOSS
from sgdsheet.torch_frontend.program.program import Program

GAP, ROOM = 5, 12  # columns that a block takes at least, beside others and alone, so that its heading has room
ACROSS = 26  # columns up to which blocks that are alike stand side by side
WIDE = 60  # columns after which the matrices of a block go on below
WIDTH = 10  # characters of a column


@dataclass(frozen=True)
class Label:
    """A block before it has a place. `title` is its name on its own sheet; all else as in `sgdsheet.book.Block`.

    `station` and `line` say where it stands on the sheet of a whole step: what belongs to one thing, its gradient, say,
    stands below it. `takes` are the stations that it needs before it.
    """

    block: str
    shape: tuple[int, ...]
    title: str
    role: str
    words: str = ""
    torch: str = ""
    number_format: str = NUMBER
    station: str = ""
    line: int = 0
    takes: tuple[str, ...] = ()
    across: bool = True


@dataclass(frozen=True)
class Space:
    """Where a block's heading begins, and how many columns wide it may be; the block itself is `HEAD` rows below."""

    sheet: Sheet
    row: int
    left: int
    room: int


class Pages:
    """A book, a sheet for each step and module. `cells` holds the references of each block that has a place."""

    HEAD = 2  # rows of a heading
    MOST = WIDE  # columns of a block

    def __init__(self, book: Book, program: Program) -> None:
        self.book, self.cells = book, dict[str, Array]()
        self._program, self._last = program, len(program.which)
        self._taken = {sheet.name.lower() for sheet in book.sheets}
        self._sheets: dict[tuple[int, str | None], Sheet] = {}  # by step and module; None for the data
        self._waiting: dict[str, tuple[Space, Label]] = {}  # what was set aside and is not yet filled
        self._newest: dict[Sheet, tuple[Space, Label]] = {}  # what `place` has put on a sheet last
        self.labels: dict[str, Label] = {}

    def sheet(self, k: int, path: str) -> Sheet:
        """Returns the sheet of a step and a module, made when it is first asked for."""
        if (k, path) not in self._sheets:
            name, title, note = self._heads(k, path)
            name = re.sub(r"[\[\]:*?/\\'\x00-\x1f]", "_", name)
            if len(name) > 31:  # the end of a path says more than its beginning
                keep = len(str(k)) + 1
                name = f"{name[:keep]}…{name[keep - 30 :]}"
            short, count = name, 1
            while short.lower() in self._taken:
                count += 1
                short = f"{name[: 30 - len(str(count))]}~{count}"
            later = k not in (*shown(self._last), self._last)
            self._sheets[k, path] = sheet = self.book.sheet(short, title, note, details=later)
            self._taken.add(short.lower())
            sheet.width(1, WIDTH, until=ROOM)
            sheet.default_width(WIDTH)
        return self._sheets[k, path]

    def _heads(self, k: int, path: str) -> tuple[str, str, str]:
        """The name of the sheet of a step and a module, its title, and the note below it."""
        where = self._module(path)
        what = f"step {k + 1}" if k < self._last else "after the last step"
        title = f"{where}, {what}" if path != LOSS else f"The {path}, {what}"
        return f"{k} {where}", title, "The same in other steps:"

    def data(self, k: int, about: str) -> Sheet:
        """Returns a new sheet for the batch of step k, or for the one that all steps share."""
        name = "data" if self._program.shared else f"{k} data"
        self._sheets[k, None] = sheet = self.book.sheet(name, about, "Change any number here.")
        self._taken.add(name)
        return sheet

    def set_aside(self, sheet: Sheet, labels: Iterable[Label]) -> None:
        """Gives blocks a place side by side, as far as the sheet is wide, below all else; `fill` fills them."""
        row = bottom = sheet.next_row
        left = 1
        for label in labels:
            following = _beside(left, label)
            if following - 2 > MAX_COLUMNS and left > 1:
                row, left = bottom, 1
                following = _beside(left, label)
            self._reserve(label, Space(sheet, row, left, following - left - 1))
            left, bottom = following, max(bottom, sheet.next_row)
        sheet.next_row = bottom

    def place(self, sheet: Sheet, label: Label, array: Array) -> Array:
        """Fills a new block: right of the one before if that is alike and there is room, else below all.

        Returns the references to its cells.
        """
        space = self._free(sheet, label)
        self._reserve(label, space)
        self._newest[sheet] = (space, label)
        self.fill(label.block, array)
        return self.cells[label.block]

    def fill(self, block: str, array: Array, words: str = "") -> None:
        """Fills a block that was set aside, and writes its heading, with its formula in words if that is known now."""
        space, label = self._waiting.pop(block)
        sheet, room = space.sheet, min(space.room, WIDE)
        listed = self.book.blocks[block]
        listed.words = words or label.words
        self._head(replace(space, room=room), label, listed.words)
        sheet.fill(block, array, label.number_format)
        if self._coloured(label):
            sheet.heat_map(self.cells[block], DIVERGING)

    def start(self, front: Sheet) -> None:
        """Gets the first sheet ready."""

    def begin(self, k: int) -> None:
        """Gets ready for step k."""

    def _head(self, space: Space, label: Label, words: str) -> None:
        sheet = space.sheet
        if space.left > ROOM:
            sheet.width(space.left, WIDTH, until=space.left + space.room)
        sheet.heading(space.row, space.left, label.title, label.shape, words, space.room)

    def link(self) -> None:
        """Links each sheet to the same module in the steps beside it."""
        for (k, path), sheet in self._sheets.items():
            links = [(f"← step {k}", k - 1), (f"step {k + 2} →", k + 1)]
            there = [(text, self._sheets[other, path]) for text, other in links if (other, path) in self._sheets]
            for number, (text, other) in enumerate(there if path is not None else ()):
                sheet.link(2, 5 + 2 * number, text, Range(other.name, 1, 1, 1, 1))

    def _coloured(self, label: Label) -> bool:
        """Whether a block is a heat map."""
        return len(label.shape) > 2

    def is_filled(self, block: str) -> bool:
        """Returns whether the block's cells hold something."""
        return block in self.cells and block not in self._waiting

    def arrange(self) -> None:
        """Puts the sheets in the order of the data: parameters were set aside first, whatever uses them."""
        paths: dict[str | None, None] = {None: None}
        for graph in self._program.graphs:
            owners = {node.name: node.owner for node in graph.nodes if node.op in ("param", "buffer")}
            for node in graph.nodes:
                if node.op not in FED:
                    paths |= dict.fromkeys([*(owners[name] for name in node.uses() if name in owners), node.path])
        paths |= dict.fromkeys(path for _, path in self._sheets)
        order = {path: number for number, path in enumerate(paths)}
        self._sheets = dict(sorted(self._sheets.items(), key=lambda each: (each[0][0], order[each[0][1]])))
        places = {sheet: number for number, sheet in enumerate(self._sheets.values())}
        self.book.arrange(lambda sheet: places.get(sheet, -1))

    def overview(self, front: Sheet) -> None:
        """The loss of every step, its chart, and links to the sheets."""
        top = front.next_row
        if "0/loss" in self.cells:
            table = front.table(top, 1, self._last)
            losses = np.array([self.cells[f"{k}/loss"].item() for k in range(self._last)], dtype=object)
            steps = np.arange(1, self._last + 1)
            step = table.column("step", "check", steps, words="counts the steps", number_format=WHOLE)
            loss = table.column("loss", "loss", losses, words="before the step", torch="loss.item()")
            if self._last > 1:
                title = "The loss at each step"
                front.chart(top, 5, scatter(title, "step", "loss", [Series("loss", step, loss, points=True)]))
            front.next_row = max(front.next_row, top + 20)
        self._links(front, front.next_row)
        front.width(1, 18)

    def _links(self, front: Sheet, row: int) -> None:
        """A row for each step, a link for each module; the data of a step first."""
        front.write(row, 1, "Sheets", style.HEADING)
        front.write(row + 1, 1, "A row for each step, in the order of the data; click to go there.", style.NOTE)
        first = row + 2
        columns: dict[str | None, int] = {}
        for (k, path), sheet in self._sheets.items():
            if path is None and self._program.shared:
                front.link(first, 1, sheet.name, Range(sheet.name, 1, 1, 1, 1))
                first += 1
                continue
            column = columns.setdefault(path, 1 + len(columns))
            front.link(first + k, column, sheet.name, Range(sheet.name, 1, 1, 1, 1))
        for path, column in columns.items():
            if path is not None:
                front.width(column, max(12, len(self._module(path)) + 5))
        front.next_row = first + self._last + 2

    def _module(self, path: str) -> str:
        """What a sheet calls a module: its path, with its class where that is only a number."""
        last = path.rpartition(".")[2]
        kind = self._program.modules.get(path, "")
        return f"{path} {kind}".strip() if last.isdigit() else path or kind or "model"

    def _free(self, sheet: Sheet, label: Label) -> Space:
        if sheet in self._newest:
            space, other = self._newest[sheet]
            left = _beside(space.left, other)
            following = _beside(left, label)
            alike = (other.shape, other.role) == (label.shape, label.role)
            if alike and self._below(other) == sheet.next_row and following - 1 <= ACROSS:
                return Space(sheet, space.row, left, following - left - 1)
        following = _beside(1, label)
        alone = 2 * following > ACROSS or len(label.shape) > 2
        return Space(sheet, sheet.next_row, 1, ROOM if alone else following - 2)

    def _reserve(self, label: Label, space: Space) -> None:
        """Room for a heading, and cells to be filled later."""
        row, left, words, torch = space.row + self.HEAD, space.left, label.words, label.torch
        self.labels[label.block] = label
        self.cells[label.block] = space.sheet.block(
            label.block,
            label.shape,
            label.role,
            row,
            left,
            words=words,
            torch=torch,
            across=label.across,
            most=self.MOST,
        )
        self._waiting[label.block] = (space, label)
        space.sheet.next_row = self._below(label)

    def _below(self, label: Label) -> int:
        """The first row for what stands below a block."""
        return max(panel.bottom for panel in self.book.blocks[label.block].panels) + 2


def shown(count: int) -> list[int]:
    """The steps that a first reader is shown, of so many: the first two and the last."""
    return sorted({0, min(1, count - 1), count - 1})


def _beside(left: int, label: Label) -> int:
    """The first column right of a block that begins at `left`."""
    return left + max(GAP, columns_of(label.shape, WIDE) + 1)
