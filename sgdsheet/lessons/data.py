"""The lessons' own data, and a CSV's columns in its place.

Python's `random` gives the same numbers in every version and on every machine; numpy's generators do not promise it.
"""

from __future__ import annotations

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

    A file with exactly as many columns may call them otherwise: they are then taken in order. A column may be named
    without the `data_` that its block has. Raises `Error`, with file, row and column, for what is missing, empty or no
    number.
    """
    import pandas as pd

    short = [column.removeprefix("data_") for column in columns]
    wanted = ", ".join(short)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False, skipinitialspace=True)
    except OSError as error:
        raise Error(f"{path}: cannot be read: {error.strerror or error}") from None
    except pd.errors.EmptyDataError:
        raise Error(f"{path}: is empty; expected the columns {wanted}") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise Error(f"{path}: is no CSV that can be read: {str(error).strip()}") from None
    names = [str(name).strip() for name in frame.columns]
    if all(name in names for name in short):
        chosen = [names.index(name) for name in short]
    elif len(names) == len(short) and not any(_is_number(name) for name in names):
        chosen = list(range(len(short)))
    else:
        raise Error(f"{path}: expected a first row that names the columns {wanted}, got {', '.join(names)}")
    if len(frame) < 2:
        raise Error(f"{path}: expected at least 2 rows of numbers, got {len(frame)}")
    return {
        column: [
            _number(text, f"{path}: row {row}, column {names[position]!r}")
            for row, text in enumerate(frame.iloc[:, position], start=2)
        ]
        for column, position in zip(columns, chosen, strict=True)
    }


def _number(text: str, where: str) -> float:
    if not text.strip():
        raise Error(f"{where}: expected a number, got an empty cell")
    if not _is_number(text):
        raise Error(f"{where}: expected a number, got {text.strip()!r}")
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
