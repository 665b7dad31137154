"""Lessons that are not in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgdsheet import Error
from sgdsheet.lessons import own

LESSON = "from sgdsheet.lessons import Lesson\nA = Lesson('a', 'one', build=print, reference=dict)\n"


def test_the_lesson_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(LESSON + "SAME = A\n", encoding="utf-8")
    assert own.load(file).name == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LESSON + "B = Lesson('b', 'two', build=print, reference=dict)\n", "expected one Lesson.*got a, b"),
        ("x = 1\n", "expected one Lesson.*got none"),
        ("x = 1 / 0\n", "raises ZeroDivisionError in mine.py, line 1"),
        ("raise SystemExit(4)\n", "raises SystemExit in mine.py, line 1"),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_lesson(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(Error, match=message):
        own.load(file)
