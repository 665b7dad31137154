"""Writing a lesson's workbook, and telling whether a written one is what would be written now."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import lessons
from sgdsheet.book import Book, difference
from sgdsheet.errors import Error
from sgdsheet.exercises.blanks import blank
from sgdsheet.exercises.exercise import Exercise, chosen
from sgdsheet.lessons import Lesson
from sgdsheet.lessons.data import Source
from sgdsheet.writing import Written, cells, write

MOST_CELLS = 3_000_000  # of a workbook: some 2 GB while it is written, and a minute or two
FEW = 20  # rows of data of a workbook that tells how large one of all rows would be


def generate(
    name: str | Lesson,
    path: str | Path,
    *,
    data: str | Path | None = None,
    image: str | Path | None = None,
    size: int | None = None,
    rgb: bool = False,
    exercise: int | None = None,
    **inputs: float | str,
) -> Written:
    """Writes the workbook of a lesson, every formula with its value.

    Arguments:
      name: a lesson of the catalogue, as in `"linear_sgd"`, or a `Lesson` of your own.
      path: the .xlsx file to write; an existing one is replaced when the new one is complete.
      data: a CSV file whose numbers take the place of the built-in data.
      image: a picture (JPEG, PNG, GIF, WebP, BMP, TIFF, …), to take the place of the built-in picture.
      size: how many pixels wide and high the picture becomes; the lesson's own choice by default.
      rgb: whether the picture keeps its three colours; it becomes grey by default.
      exercise: a level, 1 to 3, to leave the formulas of the lesson's exercises up to it blank for a learner.
      inputs: starting values for the workbook's inputs, as in `lr=0.01`.

    Raises `Error` for an unknown name or input, a value that makes no sense, a file that does not fit, a lesson without
    exercises, and a folder that cannot be written.
    """
    lesson = name if isinstance(name, Lesson) else lessons.find(name)
    book = build(lesson, source(data, image, size, rgb), inputs)
    if exercise is not None:
        blank(book, exercises(lesson, exercise), exercise)
    return write(book, path)


def exercises(lesson: Lesson, level: int) -> list[Exercise]:
    """Returns a lesson's exercises up to a level, 1 to 3. Raises `Error` if there are none."""
    if not lesson.exercises:
        some = ", ".join(each.name for each in lessons.catalogue().values() if each.exercises)
        raise Error(f"{lesson.name} has no exercises; these have: {some}")
    return chosen(lesson.name, lesson.exercises, level)


def source(
    data: str | Path | None = None, image: str | Path | None = None, size: int | None = None, rgb: bool = False
) -> Source:
    """Returns what is to take the place of a lesson's own numbers, with the arguments that `generate` has."""
    csv, picture = (None if each is None else Path(each) for each in (data, image))
    return Source(csv, picture, size, rgb)


def build(lesson: Lesson, given: Source, inputs: Mapping[str, float | str]) -> Book:
    """Returns a lesson's workbook, not yet written.

    Raises `Error` for inputs and numbers that it cannot be built with, and if it would be too large.
    """
    values, data = lesson.values(inputs), lesson.load(given)
    if given.csv is not None:  # a lesson's own data has room
        _require_room(lesson, values, data)
    return lesson.book(values, data)


def _require_room(lesson: Lesson, values: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Raises `Error` if the workbook would be too large, judged by those of a few of its many rows of data."""
    rows = max((len(each) for each in data.values() if np.ndim(each)), default=0)
    if rows <= 10 * FEW:
        return

    def with_rows(few: int) -> int:
        part = {name: each[: few * len(each) // rows] if len(each) > FEW else each for name, each in data.items()}
        return cells(lesson.book(values, part))

    first, second = with_rows(FEW), with_rows(2 * FEW)
    estimate = first + (second - first) * (rows - FEW) / FEW
    if estimate > MOST_CELLS:
        raise Error(
            f"{lesson.name}: {rows:,} rows of data would make about {estimate:,.0f} cells, and {MOST_CELLS:,} are the "
            f"most; give {rows * MOST_CELLS / estimate:,.0f} rows or fewer"
        )


def check(name: str | Lesson, path: str | Path, **arguments: Any) -> str | None:
    """What makes the workbook at `path` other than `generate` would write it now, in one line; None if nothing does.

    Formulas, inputs, styles and layout are compared exactly, stored values to 1e-12. Arguments as for `generate`.
    """
    path = Path(path)
    if not path.is_file():
        return "is missing"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / path.name
        generate(name, fresh, **arguments)
        return difference(path, fresh)
