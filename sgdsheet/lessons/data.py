"""The numbers that a lesson begins with: its own, or a CSV's in their place.

Python's `random` gives the same numbers in every version and on every machine; numpy's generators do not promise it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgdsheet import csv_file
from sgdsheet.errors import Error


@dataclass(frozen=True)
class Source:
    """What is to take the place of a lesson's own numbers: a CSV file or a picture, or neither.

    A picture is made `size` pixels wide and high (the lesson's own choice if None), grey unless it is to stay `rgb`.
    Raises `Error` if both are given.
    """

    csv: Path | None = None
    image: Path | None = None
    size: int | None = None
    rgb: bool = False

    def __post_init__(self) -> None:
        if self.csv is not None and self.image is not None:
            raise Error("expected --data FILE.csv or --image FILE, got both")


@dataclass(frozen=True)
class Data:
    """The numbers that a lesson begins with and that its reader may change, other than single inputs.

    `dims` names the blocks and their numbers of dimensions, `load` gets what the lesson's `build` is to be given, and
    `takes` says which of `csv` and `image` may take the place of the lesson's own.
    """

    dims: Mapping[str, int]
    load: Callable[[Source], Mapping[str, Any]]
    takes: tuple[str, ...] = ()


NO_DATA = Data({}, lambda source: {})


def csv_columns(built_in: Mapping[str, Sequence[float]]) -> Data:
    """Columns of numbers, which the columns of a CSV may replace."""

    def load(source: Source) -> Mapping[str, Sequence[float]]:
        return read_csv(source.csv, list(built_in)) if source.csv else built_in

    return Data(dict.fromkeys(built_in, 1), load, ("csv",))


def noisy_line(
    seed: int,
    count: int,
    x: tuple[float, float],
    slope: float,
    intercept: float,
    noise: tuple[float, float],
    digits: int = 3,
) -> dict[str, list[float]]:
    """`count` points of y = slope * x + intercept + noise, x and the noise uniform in their ranges, rounded."""
    generator = random.Random(seed)
    xs = [round(generator.uniform(*x), digits) for _ in range(count)]
    return noisy(lambda each: slope * each + intercept, xs, generator, noise, digits)


def noisy(
    function: Callable[[float], float],
    x: Sequence[float],
    generator: random.Random,
    noise: tuple[float, float],
    digits: int = 3,
) -> dict[str, list[float]]:
    """Points of y = function(x) + noise, the noise uniform in its range, rounded."""
    return {"data_x": list(x), "data_y": [round(function(each) + generator.uniform(*noise), digits) for each in x]}


def read_csv(path: str | Path, columns: Sequence[str]) -> dict[str, list[float]]:
    """The named columns of a CSV file as numbers.

    The first row names the columns, without the `data_` that a block has; a file with exactly as many columns may call
    them otherwise, they are then taken in order. Values are separated by commas, or by semicolons or tabs, and then a
    decimal comma is understood. Raises `Error`, with file, row and column, for what is missing, empty or no number.
    """
    short = [column.removeprefix("data_") for column in columns]
    rows, separator = _rows(path, f"the columns {', '.join(short)}")
    names = rows[0][1]
    if all(name in names for name in short):
        chosen = [names.index(name) for name in short]
    elif len(names) == len(short) and not any(map(_is_number, names)):
        chosen = list(range(len(short)))
    else:
        wanted, got = ", ".join(short), ", ".join(_shown(name) for name in names[:10])
        raise Error(f"{path}: expected a first row that names the columns {wanted}, got {got}")
    if len(rows) < 3:
        raise Error(f"{path}: expected at least 2 rows of numbers, got {len(rows) - 1}")
    numbers: dict[str, list[float]] = {column: [] for column in columns}
    for number, row in rows[1:]:
        if len(row) > len(names):
            raise Error(f"{path}: row {number}: expected {len(names)} values, got {len(row)}")
        for column, position in zip(columns, chosen, strict=True):
            value = row[position] if position < len(row) else ""
            numbers[column].append(_number(value, separator, f"{path}: row {number}, column {names[position]!r}"))
    return numbers


def read_grid(path: str | Path, width: int | None = None) -> list[list[float]]:
    """The numbers of a CSV file without names, row by row, all of the same width (`width`, if that is given).

    Separators as in `read_csv`; a first row of names is passed over. Raises `Error`, with file, row and column, for
    rows of another width and for what is no number.
    """
    rows, separator = _rows(path, f"rows of {width or ''} numbers".replace("  ", " "))
    if len(rows) > 1 and not any(_is_number(value.replace(",", ".")) for value in rows[0][1]):
        rows = rows[1:]
    width = width or len(rows[0][1])
    grid = []
    for number, row in rows:
        if len(row) != width:
            raise Error(f"{path}: row {number}: expected {width} values, got {len(row)}")
        grid.append(
            [
                _number(value, separator, f"{path}: row {number}, column {column}")
                for column, value in enumerate(row, start=1)
            ]
        )
    return grid


def _rows(path: str | Path, expected: str) -> tuple[list[tuple[int, list[str]]], str]:
    """The rows of a CSV file, each with its number, and what separates their values."""
    read = csv_file.read(path)
    if not read.rows:
        raise Error(f"{path}: is empty; expected {expected}")
    return read.rows, read.separator


def _shown(name: str) -> str:
    """A name from a file, fit for one line."""
    return (name if name.isprintable() else repr(name))[:40]


def _number(text: str, separator: str, where: str) -> float:
    text = text if separator == "," else text.replace(",", ".")
    if not text:
        raise Error(f"{where}: expected a number, got an empty cell")
    if not _is_number(text):
        raise Error(f"{where}: expected a number, got {text!r}")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_columns(
    data: Mapping[str, Any], limit: int, name: str, why: str = "a sheet has no room for more rows"
) -> None:
    """Raises `Error` if there are more than `limit` points, and says why no more will do."""
    count = len(next(iter(data.values())))
    if count > limit:
        raise Error(f"{name}: expected at most {limit:,} points, got {count:,}: {why}")
