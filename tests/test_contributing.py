"""What CONTRIBUTING.md shows works as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sgdsheet import optim
from sgdsheet.cli import main

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def shown(heading: str) -> str:
    """The Python under a heading."""
    section = TEXT.partition(f"## {heading}")[2].partition("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return textwrap.dedent(found[1])


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


def test_an_optimiser() -> None:
    """It is registered as shown, and its steps are those of the paper."""
    there: dict[str, Any] = dict(vars(optim))
    exec(shown("Add an optimiser"), there)
    entry = re.search(r"`(Optimizer\(.*\))`", TEXT)
    assert entry
    made = eval(entry[1], there)
    assert made.summary == "SignSGD with momentum: only the buffer's sign counts."
    assert "signSGD" in made.source

    param, state = np.array([1.0, -2.0]), made.init(momentum=0.5)
    expected, buffer = param.copy(), np.zeros(2)
    for step in range(1, 6):
        grad = np.array([0.3, -0.2]) * step * (-1) ** step
        param, state = made.step(lambda name, array, words: array, param, grad, state, step=step, lr=0.1, momentum=0.5)
        buffer = (buffer + grad) / 2
        expected -= 0.1 * np.sign(buffer)
        np.testing.assert_allclose(param, expected, rtol=1e-15)
