"""One window's workbook: what is typed into it, what its cells then hold and show, and the way back."""

from __future__ import annotations

import base64
import math
import shutil
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import book
from sgdsheet.book import Block, Saved
from sgdsheet.book.cells import CellFile, Cells
from sgdsheet.book.read import listed
from sgdsheet.book.register import LESSON, REGISTER
from sgdsheet.engines import CellError
from sgdsheet.engines.ironcalc import IronCalc, Opened
from sgdsheet.errors import Error, nearest
from sgdsheet.explorer import formats, layout
from sgdsheet.explorer.inputs import Rule
from sgdsheet.explorer.page import Page
from sgdsheet.explorer.styles import Styles
from sgdsheet.expr import MAX_COLUMNS, MAX_ROWS, Range, Ref
from sgdsheet.lessons import Lesson
from sgdsheet.writing import retyped

Value = float | bool | str | None
Held = float | str | None
Place = tuple[str, int, int]  # a cell's sheet, row and column
Message = Mapping[str, Any]

MOST = 100_000  # cells of a view: a large screen full of the smallest cells has half of it
SLOW = ("torch", "play", "readers")  # they import torch, or read all formulas: they take the lock only to read
MOST_TYPED = 1_000_000
MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Edit:
    """What one step has changed: each cell's content before and after."""

    before: dict[Place, Held]
    after: dict[Place, Held]


class Session:
    """A workbook as one window has it: its own engine, and what is typed. The file itself is never changed.

    `path` is a copy, so that the file may be saved by another program meanwhile; `name` is the file's own name.
    Everything is read when it is first needed. `answer` may be called from several threads.

    Arguments:
      path: an .xlsx file; one that sgdsheet did not make can be looked at and typed into too.
      lesson: the lesson that the workbook was made for, if it is none of the catalogue.

    Raises `Error` for a file that cannot be read.
    """

    def __init__(self, path: str | Path, lesson: Lesson | None = None) -> None:
        self.original, self.lesson = Path(path), lesson
        self.name = self.original.name
        self.version = 0
        self.lock = threading.RLock()
        self.comparing = threading.Lock()
        self._done: list[Edit] = []
        self._undone: list[Edit] = []
        self._dragging = False  # whether the last step is a number that is being dragged
        self._first: dict[Place, Held] = {}  # what stood in the cells that were typed into
        self._now: dict[Place, Held] = {}  # what stands in them
        self._contents: dict[str, Cells] = {}
        self._pages: dict[str, Page] = {}
        self.kept: dict[Any, Any] = {}  # what was found out about the workbook, see `places.kept`
        CellFile(self.original)  # it says what is wrong with a file, by its own name
        folder = tempfile.mkdtemp(prefix="sgdsheet-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder) / self.name
        try:
            self.path.write_bytes(self.original.read_bytes())
        except OSError as error:
            raise Error(f"{self.original}: cannot be read: {error.strerror or error}") from None
        self.file = CellFile(self.path)

    def answer(self, message: Message) -> dict[str, Any]:
        """Answers a message of the page, as a dictionary of plain JSON.

        `ask` says what is wanted: `open`, `sheet`, `cells`, `set`, `undo`, `redo`, `explain`, `readers`, `torch`,
        `play`, `train` or `save`. Raises `Error` for what cannot be done; everything is then as it was.
        """
        if not isinstance(message, Mapping):
            raise Error("expected a message with 'ask'")
        asks: dict[Any, Callable[[Message], dict[str, Any]]] = {
            "open": self._open,
            "sheet": self._sheet,
            "cells": self._cells,
            "set": self._set,
            "undo": self._undo,
            "redo": self._redo,
            "explain": self._explain,
            "readers": self._readers,
            "torch": self._torch,
            "play": self._play,
            "train": self._train,
            "save": self._save,
        }
        ask = message.get("ask")
        if not isinstance(ask, str) or ask not in asks:
            raise Error(f"expected ask to be one of {', '.join(asks)}, got {str(ask)[:100]!r}")
        try:
            with nullcontext() if ask in SLOW else self.lock:
                return asks[ask](message)
        except Error as error:
            raise Error(str(error).replace(str(self.path), str(self.original))) from None

    # What the workbook is

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """The workbook's blocks by name; none in a workbook that sgdsheet did not make."""
        return self._listed[1]

    @property
    def made_for(self) -> str:
        """The lesson's name, or what else the register says that the workbook was made for; nothing without one."""
        return self._listed[0]

    @cached_property
    def saved(self) -> Saved | None:
        """What `sgdsheet.book.read` says of the file, or None for a workbook that sgdsheet did not make.

        It reads every cell, which takes seconds for large workbooks; `blocks` does not.
        """
        return book.read(self.path) if self.blocks else None

    @cached_property
    def model(self) -> Opened:
        """The workbook as ironcalc has loaded and calculated it; `enter` types into it."""
        model = IronCalc().opened(self.path)
        model.calculate((), ())
        self.version += 1
        return model

    def value(self, cell: Ref) -> Value:
        """What a cell holds now; a `CellError` for an error."""
        return self.values(Range(cell.sheet, cell.row, cell.column, cell.row, cell.column))[0, 0]

    def values(self, range_: Range) -> np.ndarray:
        """What a range holds now, as an engine's `calculate` returns it. Raises `Error` if there is no such sheet."""
        if range_.sheet not in self.file.sheets:
            raise Error(f"there is no sheet {range_.sheet!r}{nearest(range_.sheet, self.file.sheets)}")
        return self.model.read(range_)

    def content(self, cell: Ref) -> Any:
        """What stands in a cell: a number, a text, a formula with its `=`, or None; what was typed counts."""
        if (place := _place(cell)) in self._now:
            return self._now[place]
        if cell.sheet not in self._contents:
            self._contents[cell.sheet] = self.file.cells(cell.sheet)
        return self._contents[cell.sheet].get((cell.row, cell.column))

    @property
    def typed(self) -> dict[Ref, Held]:
        """The cells that hold something other than in the file, and what."""
        return {Ref(*place): held for place, held in self._now.items() if not _same(held, self._first[place])}

    def rule(self, cell: Ref) -> Rule | None:
        """What may be typed into a cell, or None if nothing may."""
        return self._page(cell.sheet).rule(cell.row, cell.column)

    def enter(self, cells: Iterable[tuple[Ref, Held]]) -> None:
        """Types into cells, as one step that can be undone, and calculates. It is not asked whether that fits."""
        typed = {_place(cell): held for cell, held in cells}
        before = {place: self._content(place) for place in typed}
        after = {place: held for place, held in typed.items() if not _same(held, before[place])}
        if after:
            edit = Edit({place: before[place] for place in after}, after)
            self._put(edit.after, edit.before)
            self._done.append(edit)
            self._undone.clear()

    def _content(self, place: Place) -> Held:
        """What an input holds: it has no formula, so that is its content."""
        held: Any = self.value(Ref(*place))
        return int(held) if isinstance(held, float) and held.is_integer() and abs(held) < 2**53 else held

    def _put(self, cells: Mapping[Place, Held], before: Mapping[Place, Held]) -> None:
        try:
            self.model.calculate(((Ref(*place), held) for place, held in cells.items()), ())
        except BaseException:
            self.model.calculate(((Ref(*place), held) for place, held in before.items()), ())
            raise
        for place in cells:
            self._first.setdefault(place, before[place])
        self._now |= cells
        self.version += 1

    @cached_property
    def _listed(self) -> tuple[str, dict[str, Block]]:
        try:
            lesson, _, blocks, *_ = listed(self.file) if self._is_ours() else ("", "", {})
        except Error:
            return "", {}
        return lesson, blocks

    def _is_ours(self) -> bool:
        """Whether there may be a register: to read every cell of a large workbook for it takes seconds."""
        if REGISTER in self.file.sheets:
            return True
        with zipfile.ZipFile(self.path) as archive:
            texts = (name for name in archive.namelist() if name.startswith("xl/") and name.endswith(".xml"))
            return any(LESSON.encode() in archive.read(name) for name in texts)

    @cached_property
    def shell(self) -> Any:
        """The workbook without its cells, as openpyxl reads it."""
        return layout.shell(self.path)

    @cached_property
    def styles(self) -> Styles:
        """How its cells look, by the numbers of their styles."""
        return Styles(self.shell)

    def _page(self, sheet: str) -> Page:
        if sheet not in self._pages:
            self._pages[sheet] = Page(self, sheet)
        return self._pages[sheet]

    # The answers

    def _open(self, message: Message) -> dict[str, Any]:
        del message
        names = [*self.file.sheets]
        sheets = [self.shell[name] for name in names]
        visible = [sheet.title for sheet in sheets if sheet.sheet_state == "visible"] or names
        active = self.shell.active.title if self.shell.active is not None else ""
        return {
            "title": self.original.stem,
            "file": self.name,
            "lesson": self._listed[0],
            "sheets": [
                {
                    "name": sheet.title,
                    "tab": self.styles.color(sheet.sheet_properties.tabColor),
                    "hidden": sheet.title not in visible,
                }
                for sheet in sheets
            ],
            "active": names.index(active if active in visible else visible[0]),
            "styles": self.styles.looks,
            "undo": len(self._done),
            "redo": len(self._undone),
        }

    def _sheet(self, message: Message) -> dict[str, Any]:
        return self._page(self._sheet_of(message)).layout

    def _cells(self, message: Message) -> dict[str, Any]:
        view = self._view(message)
        charts_too = message.get("charts", False)
        values = self.values(view)
        found = {"sheet": view.sheet, "version": self.version, "cells": self._painted(view, values)}
        return found | ({"series": self._page(view.sheet).series()} if charts_too else {})

    def _set(self, message: Message) -> dict[str, Any]:
        view = self._view(message)
        cells = message.get("cells")
        if not isinstance(cells, list) or not cells or len(cells) > MOST_TYPED:
            raise Error("expected cells to be a list of [sheet, row, column, value]")
        typed: list[tuple[Ref, Held]] = []
        for each in cells:
            if not isinstance(each, list | tuple) or len(each) != 4:
                raise Error("expected cells to be a list of [sheet, row, column, value]")
            cell = self._cell({"sheet": each[0], "row": each[1], "column": each[2]})
            typed.append((cell, self._fitting(cell, each[3])))
        before, steps = self.values(view), len(self._done)
        self.enter(typed)
        if self._dragging and len(self._done) > steps > 0:
            start, last = self._done[-2:]
            if start.after.keys() == last.after.keys():  # one way of the hand is one step back
                self._done[-2:] = [Edit(start.before, last.after)]
        self._dragging = message.get("dragging") is True
        return self._after(view, before)

    def _fitting(self, cell: Ref, value: Any) -> Held:
        rule = self.rule(cell)
        name = self._page(cell.sheet).block(cell.row, cell.column)
        where = f"{name} ({cell.place})" if name else cell.place
        if rule is None:
            what = "holds a formula" if self.model.has_formula(cell) else "is not one to type into"
            raise Error(f"{where}: this cell {what}; the yellow ones are for typing")
        return rule.parse(value, where)

    def _undo(self, message: Message) -> dict[str, Any]:
        return self._step(message, self._done, self._undone, "undo", lambda edit: (edit.before, edit.after))

    def _redo(self, message: Message) -> dict[str, Any]:
        return self._step(message, self._undone, self._done, "redo", lambda edit: (edit.after, edit.before))

    def _step(
        self,
        message: Message,
        source: list[Edit],
        target: list[Edit],
        word: str,
        cells: Callable[[Edit], tuple[dict[Place, Held], dict[Place, Held]]],
    ) -> dict[str, Any]:
        self._dragging = False
        view = self._view(message)
        if not source:
            raise Error(f"there is nothing to {word}")
        before = self.values(view)
        self._put(*cells(source[-1]))
        edit = source.pop()
        target.append(edit)
        at = dict(zip(("sheet", "row", "column"), next(iter(edit.after)), strict=True))
        return self._after(view, before) | {"at": at}

    def _after(self, view: Range, before: np.ndarray) -> dict[str, Any]:
        """What a view shows after a change, and which of its cells have changed."""
        values = self.values(view)
        changed = [
            [view.top + row, view.left + column]
            for row, (now, was) in enumerate(zip(values.tolist(), before.tolist(), strict=True))
            for column, (held, one) in enumerate(zip(now, was, strict=True))
            if not _same(held, one)
        ]
        return {
            "sheet": view.sheet,
            "version": self.version,
            "undo": len(self._done),
            "redo": len(self._undone),
            "cells": self._painted(view, values),
            "changed": changed,
            "series": self._page(view.sheet).series(),
        }

    def _painted(self, view: Range, values: np.ndarray) -> list[list[Any]]:
        page, styles = self._page(view.sheet), self.styles
        typable, rules = page.typable(view), page.rules()
        found = []
        for row, line in enumerate(values.tolist(), start=view.top):
            for column, value in enumerate(line, start=view.left):
                style = page.grid.style(row, column)
                style = style if style < len(styles.looks) else 0
                extra = rules.look(row, column, value, self.values) if rules else {}
                typed = (row, column) in typable
                if value is None and not typed and not extra and style not in styles.seen:
                    continue
                extra = dict(extra)
                number_format = extra.pop("format", styles.formats[style])
                if (kind := _kind(value)) != "s":
                    extra["kind"] = kind
                if kind == "n":
                    extra["value"] = value
                    if "color" not in extra and (color := formats.color(value, number_format)):
                        extra["color"] = color
                if typed:
                    extra["input"] = True
                text = "" if value is None else formats.text(value, number_format)
                found.append([row, column, text, style, extra] if extra else [row, column, text, style])
        return found

    def _explain(self, message: Message) -> dict[str, Any]:
        from sgdsheet.explorer import explain

        return explain.explain(self, self._cell(message))

    def _readers(self, message: Message) -> dict[str, Any]:
        from sgdsheet.explorer import explain

        return explain.read_by(self, self._cell(message))

    def _torch(self, message: Message) -> dict[str, Any]:
        from sgdsheet.explorer import beside

        return beside.torch(self, self._cell(message))

    def _play(self, message: Message) -> dict[str, Any]:
        from sgdsheet.explorer import play

        train = play.trains(self)
        with self.lock:
            return {"play": play.play(self), "train": train}

    def _train(self, message: Message) -> dict[str, Any]:
        from sgdsheet.explorer import play

        view, steps = self._view(message), _whole(message, "steps", MOST_STEPS)
        before = self.values(view)
        losses = play.train(self, steps)
        return self._after(view, before) | {"losses": losses}

    def _save(self, message: Message) -> dict[str, Any]:
        del message
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / Path(self.name).with_suffix(".xlsx")
            retyped(self.path, out, self.typed, model=self.model)
            return {"name": out.name, "base64": base64.b64encode(out.read_bytes()).decode()}

    # What messages name

    def _sheet_of(self, message: Message) -> str:
        sheet = message.get("sheet")
        if not isinstance(sheet, str) or sheet not in self.file.sheets:
            hint = nearest(sheet, self.file.sheets) if isinstance(sheet, str) else ""
            raise Error(f"there is no sheet {str(sheet)[:100]!r}{hint}")
        return sheet

    def _cell(self, message: Message) -> Ref:
        return Ref(self._sheet_of(message), _whole(message, "row", MAX_ROWS), _whole(message, "column", MAX_COLUMNS))

    def _view(self, message: Message) -> Range:
        view = message.get("view")
        if not isinstance(view, Mapping):
            raise Error("expected a view: its sheet, top, left, bottom and right")
        top, bottom = _whole(view, "top", MAX_ROWS), _whole(view, "bottom", MAX_ROWS)
        left, right = _whole(view, "left", MAX_COLUMNS), _whole(view, "right", MAX_COLUMNS)
        if top > bottom or left > right:
            raise Error(f"expected a view from its top left, got rows {top} to {bottom}, columns {left} to {right}")
        found = Range(self._sheet_of(view), top, left, bottom, right)
        if (size := math.prod(found.shape)) > MOST:
            raise Error(f"a view of {size:,} cells is too large; {MOST:,} are the most")
        return found


def _whole(message: Message, name: str, most: int) -> int:
    """A whole number from 1 on in a message."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Error(f"expected {name} to be a whole number, 1 to {most:,}, got {str(value)[:100]!r}")
    return value


def _place(cell: Ref) -> Place:
    return cell.sheet, cell.row, cell.column


def _same(one: Value, other: Value) -> bool:
    """Whether two contents are the same: a text is no number, and no error, that reads like it."""
    return one == other and _kind(one) == _kind(other)


def _kind(value: Value) -> str:
    """A value's kind as files call it: a number, a boolean, an error, or else a text."""
    if isinstance(value, bool):
        return "b"
    return "n" if isinstance(value, float | int) else "e" if isinstance(value, CellError) else "s"
