"""Watching a workbook that is saved again and again."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from sgdsheet import live
from sgdsheet.cli import main
from sgdsheet.errors import Error


def test_each_time_it_is_saved_torch_runs_on_it(
    workbook: Callable[[str], Path], edited: Callable[[str, Mapping[Any, Any]], Path], tmp_path: Path
) -> None:
    path = tmp_path / "run.xlsx"
    shutil.copy(workbook("small"), path)
    other = edited("small", {"lr": 0.05})
    wrong = edited("small", {"lr": 0.05, ("loss", 3): "=1"})
    nonsense = edited("small", {"lr": -1})

    def replaced(by: Path) -> None:
        shutil.copy(by, tmp_path / "beside.xlsx")
        os.replace(tmp_path / "beside.xlsx", path)

    def stop() -> None:
        raise KeyboardInterrupt

    happens: Iterator[Callable[[], object]] = iter(
        [
            lambda: None,
            lambda: path.write_bytes(other.read_bytes()[:2000]),  # half-saved
            lambda: None,
            lambda: replaced(other),
            path.unlink,
            lambda: replaced(nonsense),
            lambda: None,
            lambda: replaced(wrong),
            stop,
        ]
    )
    seen: list[tuple[live.Look, live.Change]] = []
    said: list[str] = []

    def show(found: live.Look, change: live.Change) -> None:
        seen.append((found, change))

    def sleep(_: float) -> None:
        next(happens)()

    with pytest.raises(KeyboardInterrupt):
        live.watch(path, show, said.append, sleep=sleep)
    (first, begun), (second, change), (third, last) = seen
    assert first.ok
    assert not begun.inputs
    assert not begun.blocks
    assert [(name, held) for name, _, _, held in change.inputs] == [("lr", 0.05)]
    assert second.ok
    assert {"loss", "new_slope"} <= {row.block for row, _ in change.blocks}
    assert "data_x" not in {row.block for row, _ in change.blocks}
    assert not third.ok
    assert [row.block for row, _ in last.blocks if not row.ok][:1] == [last.blocks[0][0].block]
    assert "lr at sgd!A5: 0.03 -> 0.05" in live.lines(path, second, change)
    console = Console(width=120, record=True)
    console.print(live.panel(path, third, last))
    assert "do not agree with torch" in console.export_text()
    whole, gone, refused = said
    assert whole == f"{path}: it is not whole; waiting until it is saved"
    assert "No such file" in gone
    assert "(lr): expected a number" in refused
    assert "/tmp" not in refused.replace(str(tmp_path), "")


def test_once(workbook: Callable[[str], Path], tmp_path: Path) -> None:
    made = CliRunner().invoke(main, ["live", str(workbook("small")), "--once"])
    assert made.exit_code == 0, made.output
    assert "blocks agree with torch" in made.output
    made = CliRunner().invoke(main, ["live", str(tmp_path / "none.xlsx"), "--once"])
    assert made.exit_code == 2
    with pytest.raises(Error, match="no such file"):
        live.watch(tmp_path / "none.xlsx", lambda *_: None, lambda _: None)


@pytest.mark.parametrize(
    ("name", "why"),
    [(".", "got a folder"), ("none.xlsx", "there is no such file"), ("a.csv", "a name that ends with .xlsx")],
)
def test_what_is_no_workbook_is_not_waited_for(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Error, match=re.escape(why)):
        live.watch(tmp_path / name, lambda *_: None, lambda _: None)
