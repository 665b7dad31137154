"""The lessons' own data, and a CSV's columns in its place.

Python's `random` gives the same numbers in every version and on every machine; numpy's generators do not promise it.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from sgdsheet.errors import Error


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
    ys = [round(slope * each + intercept + generator.uniform(*noise), digits) for each in xs]
    return {"data_x": xs, "data_y": ys}


def read_csv(path: str | Path, columns: Sequence[str]) -> dict[str, list[float]]:
    """The named columns of a CSV file as numbers.

    The first row names the columns, without the `data_` that a block has; a file with exactly as many columns may call
    them otherwise, they are then taken in order. Values are separated by commas, or by semicolons or tabs, and then a
    decimal comma is understood. Raises `Error`, with file, row and column, for what is missing, empty or no number.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Error(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Error(f"{path}: is no CSV file: it is not text in UTF-8")
    short = [column.removeprefix("data_") for column in columns]
    first = text.partition("\n")[0]
    separator = next((each for each in ";\t" if each in first), ",")
    try:
        rows = [
            row for row in enumerate(csv.reader(io.StringIO(text), delimiter=separator, strict=True), start=1) if row[1]
        ]
    except csv.Error as error:
        raise Error(f"{path}: is no CSV file that can be read: {error}") from None
    if not rows:
        raise Error(f"{path}: is empty; expected the columns {', '.join(short)}")
    names = [name.strip() for name in rows[0][1]]
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
            value = row[position].strip() if position < len(row) else ""
            value = value if separator == "," else value.replace(",", ".")
            numbers[column].append(_number(value, f"{path}: row {number}, column {names[position]!r}"))
    return numbers


def _shown(name: str) -> str:
    """A name from a file, fit for one line."""
    return (name if name.isprintable() else repr(name))[:40]


def _number(text: str, where: str) -> float:
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


def check_columns(data: Mapping[str, Sequence[float]], limit: int, name: str) -> None:
    """Raises `Error` if there are more than `limit` points."""
    count = len(next(iter(data.values())))
    if count > limit:
        raise Error(f"{name}: expected at most {limit:,} points, got {count:,}: a sheet has no room for more rows")
