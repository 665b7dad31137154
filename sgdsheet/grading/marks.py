"""Marks as a table for a teacher, as CSV and as data."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgdsheet.grading.grader import BLANK, RIGHT, Graded

COLUMNS = ("file", "lesson", "program", "exercise", "level", "mark", "right", "cells", "cell", "reason", "elsewhere")


def rows(graded: Sequence[Graded]) -> list[dict[str, Any]]:
    """A row for each file and exercise, with a value for each of `COLUMNS`."""
    return [
        {
            "file": str(each.path),
            "lesson": each.lesson,
            "program": each.program,
            "exercise": mark.exercise,
            "level": mark.level,
            "mark": mark.verdict,
            "right": mark.right,
            "cells": mark.cells,
            "cell": mark.cell,
            "reason": mark.reason,
            "elsewhere": "; ".join(each.elsewhere),
        }
        for each in graded
        for mark in each.marks
    ]


def write_csv(graded: Sequence[Graded], file: TextIO) -> None:
    """Writes the rows, with a head, as CSV."""
    writer: csv.DictWriter[str] = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(graded))


def plain(graded: Sequence[Graded]) -> list[dict[str, Any]]:
    """The marks as JSON holds them, a file each."""
    return [
        {
            "file": str(each.path),
            "lesson": each.lesson,
            "program": each.program,
            "level": each.level,
            "right": each.right,
            "exercises": [vars(mark) for mark in each.marks],
            "elsewhere": list(each.elsewhere),
        }
        for each in graded
    ]


def show(graded: Sequence[Graded]) -> None:
    """Prints a table, a row for each file and exercise, and a line for what was changed elsewhere."""
    table = Table()
    for column in ("file", "exercise", "mark"):
        table.add_column(column, no_wrap=True)
    table.add_column("right", justify="right", no_wrap=True)
    table.add_column("cell", no_wrap=True)
    table.add_column("why", overflow="fold")
    for each in graded:
        for number, mark in enumerate(each.marks):
            name = Text(_short(each.path, graded) if number == 0 else "")
            color = {RIGHT: "green", BLANK: "dim"}.get(mark.verdict, "bold red")
            right = f"{mark.right} of {mark.cells}"
            cells = (name, Text(mark.exercise), Text(mark.verdict, style=color), right, Text(mark.cell))
            table.add_row(*cells, Text(mark.reason), end_section=number == len(each.marks) - 1)
    # A narrow pipe must not cut a cell's address short.
    width = None if sys.stdout is not None and sys.stdout.isatty() else 10_000
    console = Console(width=width, highlight=False)
    console.print(table)
    for each in graded:
        total = len(each.marks)
        changed = f"; changed elsewhere: {'; '.join(each.elsewhere)}" if each.elsewhere else ""
        console.print(Text(f"{each.path}: {each.right} of {total} right{changed}"), soft_wrap=True)
    programs = {(each.lesson, each.program, each.level) for each in graded}
    if len(programs) > 1:
        console.print("These files were not all made from the same workbook: --csv says which are alike.")


def _short(path: Path, graded: Sequence[Graded]) -> str:
    """The file's name, with its folder where that is not the same for all."""
    return path.name if len({each.path.parent for each in graded}) == 1 else str(path)
