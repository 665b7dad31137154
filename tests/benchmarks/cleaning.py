"""What `trainer clean` finds of what was planted into real pictures: wrong labels, duplicates, broken files.

    python tests/benchmarks/cleaning.py DATA_FOLDER [--folds 3] [--keep FOLDER]

DATA_FOLDER has a folder for each class. A copy gets 5 % wrong labels, 15 duplicates (the same bytes, recompressed,
resized), some in another class, and three broken files, as a seed decides. EfficientNet-Lite0 is trained on it, its
pictures are judged, and this says how many of the wrong labels are among the first 15 % of what the page shows, and how
many of the duplicates are in its groups; what the page asks of a person is at least 80 % and 95 %.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not

from sgdsheet.pictures import Unreadable, read  # noqa: E402
from trainer.cleaning.desk import Desk  # noqa: E402
from trainer.cleaning.judging import judged  # noqa: E402
from trainer.cleaning.run import opened  # noqa: E402
from trainer.data.walk import is_picture  # noqa: E402

WRONG, DOUBLES, SHOWN = 0.05, 15, 0.15


def readable(path: Path) -> bool:
    try:
        read(path, 64)
    except Unreadable:
        return False
    return True


def planted(source: Path, to: Path, seed: int) -> tuple[list[str], list[tuple[str, str]]]:
    """A copy in which something is wrong: the pictures with another label, and the duplicates with their originals."""
    rng = np.random.default_rng(seed)
    shutil.copytree(source, to)
    classes = sorted(each.name for each in to.iterdir() if each.is_dir())
    files = [path for name in classes for path in sorted((to / name).iterdir()) if is_picture(path.name)]
    files = [path for path in files if readable(path)]
    chosen = rng.permutation(len(files))
    wrong = []
    for place in chosen[: round(WRONG * len(files))]:
        path = files[place]
        other = rng.choice([name for name in classes if name != path.parent.name])
        moved = path.rename(to / other / f"moved-{path.parent.name}-{path.name}")
        wrong.append(moved.relative_to(to).as_posix())
    doubles = []
    for number, place in enumerate(chosen[-DOUBLES:]):
        path = files[place]
        folder = path.parent if number % 3 else to / str(rng.choice(classes))
        double = folder / f"double-{number}{path.suffix if number % 3 == 0 else '.jpg'}"
        if number % 3 == 0:
            shutil.copyfile(path, double)
        else:
            picture = read(path)
            if number % 3 == 2:
                factor = rng.uniform(0.4, 0.8)
                picture = picture.resize((round(picture.width * factor), round(picture.height * factor)))
            picture.save(double, quality=int(rng.integers(40, 80)))
        doubles.append((double.relative_to(to).as_posix(), path.relative_to(to).as_posix()))
    for number, content in enumerate((b"", b"<html>404</html>", files[chosen[100]].read_bytes()[:2000])):
        (to / classes[0] / f"broken-{number}.jpg").write_bytes(content)
    return wrong, doubles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the copy and the run, which stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        wrong, doubles = planted(given.data, work / "data", given.seed)
        command = [sys.executable, "-m", "trainer", "fit", str(work / "data"), "--size", "160", "--seed", "42"]
        begun = time.perf_counter()
        subprocess.run([*command, "--cache", str(work / "cache"), "--out", str(work / "run")], check=True)
        fitted = time.perf_counter()
        run = opened(work / "run")
        found = judged(run, given.folds, work / "run")
        took = time.perf_counter() - fitted
        desk = Desk(run.setup.data, found, work / "run", run.pictures)
        order = [desk.names[number] for number in desk.worst()]
        first = set(order[: round(SHOWN * len(order))])
        groups = [{desk.names[number] for number in group} for group in desk.alike()]
        hits = [each for each in wrong if each in first]
        pairs = [pair for pair in doubles if any(set(pair) <= group for group in groups)]
        print(f"\n{len(order)} pictures by loss, {len(wrong)} of them with a wrong label; {found.folds} folds")
        print(f"trained in {fitted - begun:.1f} s, judged and compared in {took:.1f} s")
        print(f"wrong labels among the first {SHOWN:.0%} ({len(first)}): {len(hits)} = {len(hits) / len(wrong):.0%}")
        places = sorted(order.index(each) + 1 for each in wrong)
        print(f"  their places: {', '.join(map(str, places))}")
        print(f"duplicates beside their originals: {len(pairs)} of {len(doubles)} = {len(pairs) / len(doubles):.0%}")
        print(f"groups: {len(groups)}; unreadable: {len(desk.unreadable())}")


if __name__ == "__main__":
    main()
