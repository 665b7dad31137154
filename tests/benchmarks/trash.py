"""Kills programs that move pictures at random moments, and looks whether all is there and can be brought back.

python tests/benchmarks/trash.py --kills 2000
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not

from trainer.cleaning import trash  # noqa: E402

FILES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bears"
        before = fill(root)
        started = time.perf_counter()
        for _ in range(5):
            work(root)
        seconds = (time.perf_counter() - started) / 5
        found = Counter(killed(root, before, draw.uniform(0, seconds)) for _ in range(given.kills))
    seen = ", ".join(f"{count} {words}" for words, count in found.most_common())
    print(f"{given.kills} times killed within {seconds * 1e3:.1f} ms: {seen}")


def fill(root: Path) -> dict[str, bytes]:
    for number in range(FILES):
        path = root / ("teddy", "black", "grizzly")[number % 3] / f"{number // 6}.jpg"
        path = path if number % 6 < 3 else path.with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"picture {number}")
    return files(root)


def files(root: Path) -> dict[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if not each.is_dir()}


def work(root: Path) -> None:
    trash.apply(root, ["teddy/0.jpg", "black/1.jpg"], {"teddy/1.jpg": "grizzly", "teddy/2.jpg": "black"})
    trash.apply(root, ["black/2.jpg", "black/2-2.jpg"], {"grizzly/1-2.jpg": "teddy", "grizzly/3.png": "teddy"})
    trash.undo(root)


def killed(root: Path, before: dict[str, bytes], seconds: float) -> str:
    """Ends the work after so long, and says what was found then. Raises `AssertionError` for anything lost."""
    child = os.fork()
    if not child:
        work(root)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    journal = trash.trash_of(root) / trash.JOURNAL
    begun = "in the midst of moving" if journal.exists() and '"begun": []' not in journal.read_text() else "between"
    trash.recover(root)
    away = files(trash.trash_of(root)) if trash.trash_of(root).exists() else {}
    pictures = [content for name, content in away.items() if not name.startswith((".", trash.JOURNAL))]
    assert sorted([*pictures, *files(root).values()]) == sorted(before.values()), (
        "a picture was lost, or is there twice"
    )
    assert len(pictures) in (0, 2, 4), f"{len(pictures)} pictures in the trash: half of what was to be moved"
    trash.undo(root)
    assert files(root) == before, "not everything came back to its place"
    left = [*files(trash.trash_of(root))] if trash.trash_of(root).exists() else []
    assert all(name.startswith(".") for name in left), f"the trash folder still has {left}"
    return begun


if __name__ == "__main__":
    main()
