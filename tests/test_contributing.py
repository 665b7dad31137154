"""What CONTRIBUTING.md shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from sgdsheet.cli import main

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def shown(heading: str) -> str:
    """The Python under a heading."""
    section = TEXT.partition(f"## {heading}")[2].partition("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def test_a_lesson_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_lesson.py").write_text(shown("Add a lesson"), encoding="utf-8")
    assert len(shown("Add a lesson").splitlines()) <= 80

    run = CliRunner().invoke(main, ["generate", "my_lesson.py"])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(main, ["verify", "parabola.xlsx", "--lesson", "my_lesson.py"])
    assert run.exit_code == 0, run.output
    assert "all 6 blocks agree" in run.output

    Path("my_lesson.py").write_text(shown("Add a lesson").replace("lr=v.lr", "lr=2 * v.lr"), encoding="utf-8")
    run = CliRunner().invoke(main, ["verify", "parabola.xlsx", "--lesson", "my_lesson.py"])
    assert run.exit_code == 1, run.output

    run = CliRunner().invoke(main, ["verify", "parabola.xlsx"])
    assert run.exit_code == 2
    assert "--lesson FILE.py" in run.output
