"""What becomes of each column of a table: the numbers that a model sees. It stands in the workbook, for `verify`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sgdsheet.errors import Error

FIT = "a fit of a table"  # stands for the lesson's name in the workbook
NUMBER, DATE, TEXT = "number", "date", "text"
KINDS = (NUMBER, DATE, TEXT)
GAP, REST = "gap", "rest"

Cell = float | str | None  # None is a blank one
Level = float | str


@dataclass(frozen=True)
class Column:
    """A column that the model sees: numbers, dates as days (since 1900, as spreadsheets count), or texts.

    `levels` are the texts that get a column of the model's own, of 0 and 1. There is another one for blank cells if
    there is a `gap`, and one for all other cells if there is a `rest`.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    gap: bool = False
    rest: bool = False

    def row(self) -> list[str]:
        """Returns it as the cells of a row."""
        more = [each for each, there in ((GAP, self.gap), (REST, self.rest)) if there]
        return ["column", self.kind, " ".join(more), self.name, *self.levels]

    def features(self) -> list[str]:
        """Returns the names of the numbers that the model sees of it."""
        if self.kind == TEXT:
            more = [each for each, there in (("blank", self.gap), ("other", self.rest)) if there]
            return [f"{self.name}: {level}" for level in (*self.levels, *more)]
        return [self.name, f"{self.name}: month"] if self.kind == DATE else [self.name]


@dataclass(frozen=True)
class Target:
    """The column to predict: numbers, or one of two `classes`, of which the second counts as 1."""

    name: str
    classes: tuple[Level, ...] = ()

    @property
    def text(self) -> bool:
        """Whether its cells hold texts."""
        return bool(self.classes) and isinstance(self.classes[0], str)

    def row(self) -> list[Level]:
        return ["target", TEXT if self.text else NUMBER, "", self.name, *self.classes]


@dataclass(frozen=True)
class Plan:
    """The columns that the model sees, in the table's order, and the one that it predicts."""

    columns: tuple[Column, ...]
    target: Target

    @property
    def features(self) -> list[str]:
        """The numbers that the model sees of a row, by name."""
        return [name for column in self.columns for name in column.features()]

    @property
    def numbers(self) -> list[int]:
        """The positions of the columns that hold numbers or dates."""
        return [n for n, each in enumerate(self.columns) if each.kind != TEXT]

    @property
    def holds_numbers(self) -> list[bool]:
        """For each column whether its cells hold numbers."""
        return [column.kind != TEXT for column in self.columns]

    def rows(self) -> list[list[Level]]:
        """Returns it as rows of cells, for `from_rows`."""
        return [self.target.row(), *([*column.row()] for column in self.columns)]

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]], where: str) -> Plan:
        """Returns the plan that a sheet holds. Raises `Error`, naming `where`, if it was edited."""
        columns, targets = [], []
        for row in rows:
            if row[:1] == ["column"] and len(row) > 3 and row[1] in KINDS:
                more = str(row[2] or "").split()
                columns.append(Column(str(row[3]), row[1], tuple(map(str, row[4:])), GAP in more, REST in more))
            elif row[:1] == ["target"] and len(row) > 3:
                classes = tuple(str(each) if row[1] == TEXT else float(each) for each in row[4:])
                targets.append(Target(str(row[3]), classes))
        if len(targets) != 1 or not columns or len(targets[0].classes) not in (0, 2):
            raise Error(f"{where}: was edited; restore it, or fit the table anew")
        return cls(tuple(columns), targets[0])
