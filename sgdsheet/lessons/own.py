"""A lesson of somebody's own: a Python file that makes a `Lesson`."""

from __future__ import annotations

from pathlib import Path

from sgdsheet.errors import Error
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.user_code import module


def load(file: str | Path) -> Lesson:
    """Runs a Python file and returns the lesson that it makes.

    Raises `Error` if there is no such file, if it raises, or unless it holds one `Lesson`.
    """
    found = {id(value): value for value in vars(module(Path(file))).values() if isinstance(value, Lesson)}
    if len(found) != 1:
        names = ", ".join(lesson.name for lesson in found.values()) or "none"
        raise Error(f"{file}: expected one Lesson, as in LESSON = Lesson(…), got {names}")
    return next(iter(found.values()))
