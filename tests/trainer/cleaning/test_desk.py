"""What is chosen, what becomes of it, and that all of it comes back."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sgdsheet.errors import Error
from trainer.cleaning import desk as desks
from trainer.cleaning.desk import ChangedError, Desk
from trainer.data.image_folder import ImageFolder


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def number(desk: Desk, name: str) -> int:
    return desk.names.index(name)


def test_the_worst_come_first(few: Path, desk_of: Callable[..., Desk]) -> None:
    desk = desk_of(few, {"down/003.png": "across", "across/001.png": "down"})
    assert {desk.names[each] for each in desk.worst()[:2]} == {"down/003.png", "across/001.png"}
    assert desk.names[desk.worst(label=1)[0]] == "down/003.png"
    assert len(desk.worst()) == 16
    assert len(desk.worst(part="train")) + len(desk.worst(part="valid")) == 16


def test_what_was_chosen_is_carried_out_and_taken_back(few: Path, tmp_path: Path, desk_of: Callable[..., Desk]) -> None:
    (few / "down/broken.png").write_bytes(b"")
    before, desk = tree(few), desk_of(few, {"down/003.png": "across"}, [["down/001.png", "down/002.png"]])
    across = desk.classes.index("across")
    desk.choose(number(desk, "down/003.png"), str(across))  # there is an across/003.png already
    desk.choose(number(desk, "down/001.png"), "delete")
    desk.choose(number(desk, "down/broken.png"), "delete")
    desk.choose(number(desk, "across/000.png"), str(across))
    assert desk.counts() == {"delete": 2, "relabel": 1, "keep": 1}
    assert tree(few) == before
    with pytest.raises(ChangedError):
        desk.apply("another mark")
    assert tree(few) == before
    desk.apply(desk.plan().mark)
    assert before - tree(few) == {"down/003.png", "down/001.png", "down/broken.png"}
    assert tree(few) - before == {"across/003-2.png"}
    table = pd.read_csv(tmp_path / "run/cleaned.csv", keep_default_na=False).set_index("path")
    assert len(table) == 17
    assert list(table.loc["across/003-2.png", ["label", "cleaned", "was"]]) == ["across", "relabelled", "down"]
    assert table.loc["down/001.png", "cleaned"] == table.loc["down/broken.png", "cleaned"] == "deleted"
    assert table.loc["across/000.png", "cleaned"] == "kept"
    assert (table["cleaned"] == "").sum() == 13
    assert desk.alike() == []
    assert not {"down/003.png", "across/000.png"} & {desk.names[each] for each in desk.worst()}
    with pytest.raises(ChangedError, match="carried out"):
        desk.choose(number(desk, "down/001.png"), "keep")

    again = ImageFolder(few, csv=tmp_path / "run/cleaned.csv", size=32, cache=tmp_path / "cache", show=False)
    assert (len(again.listing.names), again.classes) == (15, ["across", "down"])
    assert {*np.array(again.listing.names)[again.valid]} == {*np.array(desk.names)[desk.data.valid]} - {"down/001.png"}

    assert desk.undo() == 3
    assert tree(few) == before
    assert not (tmp_path / "run/cleaned.csv").exists()
    assert desk.counts() == {"delete": 2, "relabel": 1, "keep": 1}


def test_choices_are_there_in_another_program(few: Path, tmp_path: Path, desk_of: Callable[..., Desk]) -> None:
    first = desk_of(few, {})
    first.choose(3, "delete")
    first.choose(4, "keep")
    first.choose(4, "")
    assert desk_of(few, {}).choices == {3: "delete"}
    (tmp_path / "run/cleaning.json").write_text('{"pictures": "these", "choices": {"down/001.png": 7}, "done": {}}')
    assert desk_of(few, {}).choices == {}
    said = {"pictures": "those", "choices": {"down/001.png": "delete"}, "done": {}}
    (tmp_path / "run/cleaning.json").write_text(json.dumps(said))
    assert desk_of(few, {}).choices == {}


def test_what_cannot_be_chosen(few: Path, desk_of: Callable[..., Desk]) -> None:
    (few / "down/broken.png").write_bytes(b"")
    desk = desk_of(few, {})
    for place, choice in ((99, "keep"), (-1, "keep"), (0, "2"), (0, "-1"), (0, "burn"), (16, "0"), (0, "\u0663")):
        with pytest.raises(Error):
            desk.choose(place, choice)
    desk.choose(0, "keep")
    with pytest.raises(ChangedError, match="another window"):
        desk.choose(0, "delete", instead_of="")
    assert desk.choices == {0: "keep"}


def test_a_relabel_of_what_a_csv_labels_moves_no_file(few: Path, tmp_path: Path, desk_of: Callable[..., Desk]) -> None:
    rows = [f"{path},{'ab'[path.startswith('down')]}" for path in sorted(tree(few))]
    (few / "labels.csv").write_text("\n".join(["path,label", *rows]))
    before, desk = tree(few), desk_of(few, {}, csv="labels.csv")
    desk.choose(number(desk, "down/002.png"), "0")
    desk.apply(desk.plan().mark)
    assert tree(few) == before
    again = desk_of(few, {}, csv="labels.csv")  # in another program
    again.choose(number(again, "down/003.png"), "delete")
    again.apply(again.plan().mark)
    data = ImageFolder(few, csv=tmp_path / "run/cleaned.csv", size=32, cache=tmp_path / "cache", show=False)
    labels = dict(zip(data.listing.names, data.listing.labels.tolist(), strict=True))
    assert (labels["down/002.png"], labels["down/001.png"], "down/003.png" in labels) == (0, 1, False)
    again.undo()
    assert tree(few) == before


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="its file systems do not take these names")
def test_names_that_are_hard_to_write_down(few: Path, tmp_path: Path, desk_of: Callable[..., Desk]) -> None:
    names = ["a,b.png", 'q"q.png', "new\nline.png", "\N{BEAR FACE}.png", "=1+1.png", os.fsdecode(b"not-\xe4-utf8.png")]
    for place, name in enumerate(names):
        (few / f"down/00{place}.png").rename(few / "down" / name)
    before, desk = tree(few), desk_of(few, {})
    for name in names:
        desk.choose(number(desk, f"down/{name}"), "keep" if name == names[0] else "0")
    desk.apply(desk.plan().mark)
    assert desk.unnamed() == [f"down/{names[-1]}"]
    data = ImageFolder(few, csv=tmp_path / "run/cleaned.csv", size=32, cache=tmp_path / "cache", show=False)
    assert {f"across/{name}" for name in names[1:-1]} < {*data.listing.names}
    assert len(data.listing.names) == 15
    assert desk_of(few, {}, run="other").folder != desk.folder
    assert desks.undo(desk.folder, few) == 5
    assert tree(few) == before


# A desk without torch, which another program can begin in no time.
APPLY = """
import sys, json
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from trainer.cleaning.desk import Desk
root, folder = map(Path, sys.argv[1:])
names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
labels = np.array([int(name.startswith("down")) for name in names])
listing = SimpleNamespace(names=names, root=root, labels=labels, part=np.full(len(names), "train"), csv=None)
data = SimpleNamespace(listing=listing, unreadable={}, classes=["across", "down"], given=lambda: {"label": None})
judged = SimpleNamespace(probabilities=np.full((len(names), 2), 0.5), groups=[])
desk = Desk(data, judged, folder, "these")
desk.choices = {number: "delete" if number % 3 else str(1 - labels[number]) for number in range(len(names))}
print("now", flush=True)
desk.apply(desk.plan().mark)
print("done", flush=True)
"""


def test_a_program_that_is_killed_leaves_nothing_half_done(tmp_path: Path) -> None:
    root, run = tmp_path / "data", tmp_path / "run"
    run.mkdir()
    for place in range(300):
        path = root / ("across", "down")[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(place))
    before, rng = tree(root), random.Random(1)
    for _ in range(5):
        program = subprocess.Popen(
            [sys.executable, "-c", APPLY, str(root), str(run)], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "now\n"
        time.sleep(rng.uniform(0, 0.06))
        program.kill()
        program.communicate()
        csv = run / "cleaned.csv"
        assert not csv.exists() or len(csv.read_text().splitlines()) == 301
        desks.undo(run, root)
        assert tree(root) == before
        assert all(path.read_text() == path.stem for path in root.rglob("*.png"))
        assert not csv.exists()


def test_many_pictures_are_sorted_in_no_time(tmp_path: Path) -> None:
    count = 25_000
    labels = np.arange(count) % 10
    names = [f"{label}/{place}.png" for place, label in enumerate(labels)]
    part = np.where(np.arange(count) % 5, "train", "valid")
    listing = SimpleNamespace(names=names, root=tmp_path, labels=labels, part=part, csv=None)
    classes = [str(each) for each in range(10)]
    data: Any = SimpleNamespace(listing=listing, unreadable={}, classes=classes, given=lambda: {"label": None})
    judged: Any = SimpleNamespace(probabilities=np.random.default_rng(0).random((count, 10)), groups=[])
    desk = Desk(data, judged, tmp_path, "these")
    begun = time.perf_counter()
    assert len(desk.worst()) == count
    desk.choose(7, "delete")
    assert time.perf_counter() - begun < 1
