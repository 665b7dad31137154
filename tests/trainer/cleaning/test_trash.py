"""What is moved can be brought back, whoever is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sgdsheet.errors import Error
from trainer.cleaning import trash
from trainer.data.walk import walk

BENCHMARK = Path(__file__).parents[2] / "benchmarks/trash.py"


@pytest.fixture
def bears(tmp_path: Path) -> Path:
    """Six files in three folders, each with its own name as content."""
    root = tmp_path / "bears"
    for name in ("teddy/1.jpg", "teddy/2.jpg", "teddy/deep/1.jpg", "black/1.jpg", "black/3.jpg", "grizzly/1.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def files(folder: Path) -> dict[str, str]:
    """The content of each file below a folder, by its path from there."""
    return {str(each.relative_to(folder)): each.read_text() for each in folder.rglob("*") if not each.is_dir()}


def test_pictures_move_and_come_back(bears: Path) -> None:
    before, away = files(bears), trash.trash_of(bears)
    trash.apply(
        bears, ["teddy/1.jpg", "teddy//deep/1.jpg", "teddy/1.jpg"], {"teddy/2.jpg": "new", "black/1.jpg": "grizzly"}
    )
    assert files(bears) == {
        "new/2.jpg": "teddy/2.jpg",
        "black/3.jpg": "black/3.jpg",
        "grizzly/1.jpg": "grizzly/1.jpg",
        "grizzly/1-2.jpg": "black/1.jpg",
    }
    (away / trash.JOURNAL).rename(bears.parent / "journal")
    assert files(away) == {"teddy/1.jpg": "teddy/1.jpg", "teddy/deep/1.jpg": "teddy/deep/1.jpg"}
    (bears.parent / "journal").rename(away / trash.JOURNAL)
    assert trash.moved(bears) == 4
    # The same picture once more; and one that comes to lie where another one was deleted.
    trash.apply(bears, ["grizzly/1-2.jpg"])
    trash.apply(bears, [], {"grizzly/1.jpg": "teddy", "new/2.jpg": "teddy"})
    assert files(bears) == {
        "black/3.jpg": "black/3.jpg",
        "teddy/1-2.jpg": "grizzly/1.jpg",
        "teddy/2.jpg": "teddy/2.jpg",
    }
    assert trash.moved(bears) == 4
    assert trash.undo(bears) == 4
    assert files(bears) == before
    assert not away.exists()
    assert trash.undo(bears) == 0


def test_two_that_changed_places_come_back(bears: Path) -> None:
    before = files(bears)
    for name, folder in (("teddy/1.jpg", "grizzly"), ("black/1.jpg", "teddy"), ("grizzly/1-2.jpg", "black")):
        trash.apply(bears, [], {name: folder})
    assert trash.undo(bears) == 2
    assert files(bears) == before


def test_what_took_a_place_meanwhile_stays_and_what_is_gone_is_gone(bears: Path) -> None:
    before = files(bears)
    trash.apply(bears, ["teddy/1.jpg", "teddy/2.jpg"])
    (bears / "teddy/1.jpg").write_text("another")
    (trash.trash_of(bears) / "teddy/2.jpg").unlink()
    assert trash.moved(bears) == 2
    assert trash.undo(bears) == 1
    del before["teddy/2.jpg"]
    assert files(bears) == before | {"teddy/1.jpg": "another", "teddy/1-2.jpg": "teddy/1.jpg"}


def _gone(root: Path) -> str:
    (root / "black/1.jpg").unlink()
    return "no such file any more"


def _file_for_folder(root: Path) -> str:
    (root / "other").write_text("no folder")
    return "expected a folder, got a file"


def _linked_folder(root: Path) -> str:
    (root / "black").rename(root.parent / "elsewhere")
    (root / "black").symlink_to(root.parent / "elsewhere")
    return "a symbolic link leads there"


def _relative_link(root: Path) -> str:
    (root / "black/1.jpg").unlink()
    (root / "black/1.jpg").symlink_to("3.jpg")
    return "would lead elsewhere"


def _garbled(root: Path) -> str:
    trash.trash_of(root).mkdir()
    (trash.trash_of(root) / trash.JOURNAL).write_text('{"done": 1}')
    return "move them back by hand"


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("spoil", [_gone, _file_for_folder, _linked_folder, _relative_link, _garbled])
def test_what_cannot_be_moved_is_said_and_nothing_is(bears: Path, spoil: Callable[[Path], str]) -> None:
    said = spoil(bears)
    before = files(bears.parent)
    with pytest.raises(Error, match=said) as raised:
        trash.apply(bears, ["teddy/1.jpg"], {"teddy/2.jpg": "black", "black/1.jpg": "other"})
    assert "\n" not in str(raised.value)
    assert files(bears.parent) == before


@pytest.mark.parametrize("name", ["../bears/teddy/1.jpg", "/etc/hosts", "", "teddy", "teddy/../../x", "none.jpg"])
def test_names_that_are_no_files_below_the_folder_are_refused(bears: Path, name: str) -> None:
    before = files(bears.parent)
    with pytest.raises(Error, match="expected a|no such file"):
        trash.apply(bears, ["teddy/1.jpg", name])
    with pytest.raises(Error, match="expected a|got both"):
        trash.apply(bears, ["teddy/1.jpg"], {"teddy/2.jpg": "../out", "teddy/1.jpg": "black"})
    assert files(bears.parent) == before


@pytest.mark.parametrize("stop", [PermissionError(13, "Permission denied", "x.jpg"), KeyboardInterrupt()])
def test_what_fails_midway_is_taken_back(bears: Path, stop: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    trash.apply(bears, ["grizzly/1.jpg"])
    before = files(bears.parent)
    real, calls = os.rename, []

    def rename(one: Path, other: Path) -> None:
        calls.append(one)
        if len(calls) == 3:
            raise stop
        real(one, other)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises((Error, KeyboardInterrupt)):
        trash.apply(bears, ["teddy/1.jpg", "teddy/2.jpg"], {"black/1.jpg": "teddy"})
    assert len(calls) == 5
    assert files(bears.parent) == before
    assert trash.undo(bears) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is killed like this on Windows")
def test_killed_at_any_moment_nothing_is_lost() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK), "--kills", "50"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("50 times killed"), done.stdout


def test_a_trash_folder_inside_of_the_data_is_no_class(bears: Path) -> None:
    trash.apply(bears / "teddy", ["1.jpg"])
    assert trash.trash_of(bears / "teddy").parent == bears
    assert list(walk(bears).passed) == ["teddy.trash"]
