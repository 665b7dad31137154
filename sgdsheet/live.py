"""Watching a workbook while somebody works on it: each time it is saved, torch runs on what stands in it."""

from __future__ import annotations

import io
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import verification
from sgdsheet.book import typed_cells
from sgdsheet.engines.common import DAMAGED
from sgdsheet.errors import Error
from sgdsheet.lessons import Lesson
from sgdsheet.verification import Row

POLL = 0.5  # seconds between two looks at the file's date
MOST = 12  # rows of what is shown; the rest is counted


class UnfinishedError(Exception):
    """The file is gone for a moment, locked, or not whole: a program is writing it."""


@dataclass(frozen=True)
class Look:
    """A workbook as it was saved once: how each block compares, what it holds, and what is typed in by cell."""

    rows: Mapping[str, Row]
    values: Mapping[str, np.ndarray]
    typed: Mapping[tuple[str, str], Any]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every block agrees with torch."""
        return all(row.ok for row in self.rows.values())


@dataclass(frozen=True)
class Change:
    """What differs between two looks: inputs (block, cell, before, after), and blocks with how they were and are.

    `blocks` are those that do not agree first, then those whose verdict changed, then those whose values did.
    """

    inputs: tuple[tuple[str, str, Any, Any], ...]
    blocks: tuple[tuple[Row, str], ...]


def look(path: Path, lesson: Lesson | None = None) -> Look:
    """Compares a workbook with torch as it stands in its file now.

    Raises `UnfinishedError` while the file is being written, and `Error` as `sgdsheet.verify` does.
    """
    started = time.perf_counter()
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            if parts.testzip() is not None:
                raise UnfinishedError("it is not whole")
    except OSError as error:
        raise UnfinishedError(error.strerror or str(error)) from None
    except DAMAGED:
        raise UnfinishedError("it is not whole") from None
    with tempfile.TemporaryDirectory() as folder:  # a copy: the file may be saved again at any time
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        try:
            report, saved, values = verification.verified(copy, sets=0, lesson=lesson)
        except Error as error:
            raise Error(str(error).replace(str(copy), str(path))) from None
    typed = {}
    for name, block in saved.blocks.items():
        for position in np.argwhere(typed_cells(block)).tolist():
            typed[name, block.cell(position).place] = saved.contents[name][tuple(position)]
    rows = {row.block: row for row in report.rows}
    return Look(rows, values, typed, time.perf_counter() - started)


def changes(before: Look | None, now: Look) -> Change:
    """What has changed since the look before; at the first one, what does not agree."""
    wrong = [(row, _moved(before, now, row.block)) for row in now.rows.values() if not row.ok]
    if before is None:
        return Change((), tuple(wrong))
    inputs = [(*key, before.typed.get(key), held) for key, held in now.typed.items() if before.typed.get(key) != held]
    again, other = [], []
    for name, row in now.rows.items():
        was = before.rows.get(name)
        if not row.ok:
            continue
        if was is None or was.verdict != row.verdict:
            again.append((row, _moved(before, now, name)))
        elif not _same(before.values.get(name), now.values.get(name)):
            other.append((row, _moved(before, now, name)))
    return Change(tuple(inputs), (*wrong, *again, *other))


def watch(
    path: Path,
    show: Callable[[Look, Change], None],
    say: Callable[[str], None],
    lesson: Lesson | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Looks at a workbook now and whenever it is saved, until it is interrupted.

    `show` gets each look and what has changed since the one before, `say` a line where there is something to wait for
    or to put right. Raises `Error` if there is no such file in the beginning, or if its name is no workbook's.
    """
    if path.is_dir():
        raise Error(f"{path}: expected an .xlsx workbook, got a folder")
    if not path.is_file():
        raise Error(f"{path}: there is no such file")
    if path.suffix.lower() != ".xlsx":  # it would be waited for until it is one
        raise Error(f"{path}: expected a name that ends with .xlsx")
    before, seen, said = None, None, ""
    while True:
        stamp = _stamp(path)
        if stamp is None or stamp != seen:
            line = ""
            try:
                now = look(path, lesson)
            except UnfinishedError as why:
                line = f"{path}: {why}; waiting until it is saved"
            except Error as error:
                line, seen = str(error), stamp
            else:
                show(now, changes(before, now))
                before, seen = now, stamp
            if line and line != said:
                say(line)
            said = line
        sleep(POLL)


def lines(path: Path, found: Look, change: Change) -> list[str]:
    """The look in plain lines: which inputs changed, which blocks, and how many agree."""
    told = [f"{name} at {place}: {_short(was)} -> {_short(held)}" for name, place, was, held in change.inputs]
    told[MOST:] = [f"and {len(told) - MOST} more cells"] if len(told) > MOST else []
    blocks = [f"{row.block}: {row.verdict}{f'; {moved}' if moved else ''}" for row, moved in change.blocks]
    blocks[MOST:] = [f"and {len(blocks) - MOST} more blocks have other values"] if len(blocks) > MOST else []
    return [*told, *blocks, count(path, found)]


def count(path: Path, found: Look) -> str:
    """How many blocks agree, in a line."""
    wrong, total = sum(not row.ok for row in found.rows.values()), len(found.rows)
    said = f"{wrong} of {total} blocks do not agree with torch" if wrong else f"all {total} blocks agree with torch"
    return f"{time.strftime('%H:%M:%S')} {path.name}: {said}; {found.seconds:.1f} s"


def panel(path: Path, found: Look, change: Change) -> Any:
    """The same for a terminal."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for name, place, was, held in change.inputs[:MOST]:
        parts.append(Text.assemble((name, "bold"), f" ({place})  {_short(was)} -> ", (_short(held), "bold yellow")))
    if len(change.inputs) > MOST:
        parts.append(Text(f"and {len(change.inputs) - MOST} more cells"))
    if change.blocks:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("block", "where", "from -> to", "verdict"):
            table.add_column(column, overflow="fold")
        for row, moved in change.blocks[:MOST]:
            verdict = Text(row.verdict, style="green" if row.ok else "bold red")
            table.add_row(Text(row.block), Text(row.place), Text(moved), verdict)
        parts.append(table)
    if len(change.blocks) > MOST:
        parts.append(Text(f"and {len(change.blocks) - MOST} more blocks have other values"))
    parts.append(Text(count(path, found), style="bold green" if found.ok else "bold red"))
    return Panel(Group(*parts), title=f"{path.name}: watching; Ctrl-C ends", title_align="left")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None or one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return one is other
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _moved(before: Look | None, now: Look, name: str) -> str:
    """The element of a block that changed most, from what to what; "" if none did."""
    one, other = (each.values.get(name) if each else None for each in (before, now))
    if one is None or other is None or _same(one, other) or one.shape != other.shape or other.dtype.kind != "f":
        return ""
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.abs(np.atleast_1d(other - one)), nan=np.inf)
    place = int(apart.argmax())
    return f"{_short(one.flat[place])} -> {_short(other.flat[place])}"


def _short(held: Any) -> str:
    if isinstance(held, (int, float)) and not isinstance(held, bool):
        return f"{held:.6g}"
    return "blank" if held is None else str(held)
