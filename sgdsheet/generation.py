"""Writing a lesson's workbook, and telling whether a written one is what would be written now."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sgdsheet import lessons
from sgdsheet.book import difference
from sgdsheet.lessons import Lesson
from sgdsheet.lessons.data import Source
from sgdsheet.writing import Written, write


def generate(
    name: str | Lesson,
    path: str | Path,
    *,
    data: str | Path | None = None,
    image: str | Path | None = None,
    size: int | None = None,
    rgb: bool = False,
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
      inputs: starting values for the workbook's inputs, as in `lr=0.01`.

    Raises `Error` for an unknown name or input, a value that makes no sense, a file that does not fit, and a folder
    that cannot be written.
    """
    lesson = name if isinstance(name, Lesson) else lessons.find(name)
    values = lesson.values(inputs)
    return write(lesson.book(values, lesson.load(Source(_path(data), _path(image), size, rgb))), path)


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


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
