"""How long a report of very many pictures and classes takes, from predictions to the whole file.

    python tests/benchmarks/report.py [CLASSESxPICTURES…]

Wall-clock seconds, and those of the processor, which other programs on the machine disturb less. Then confusion.png and
predictions.csv of the same predictions. Target: 1,000 classes and 50,000 pictures, as of ImageNet, within 60 s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not

from trainer.results import report  # noqa: E402
from trainer.results.predictions import Predictions  # noqa: E402
from trainer.show import drawing  # noqa: E402

SIZES = ("10x2000", "60x20000", "100x20000", "1000x50000")


def drawn(classes: int, pictures: int) -> Predictions:
    """Four in five are right, the others mostly taken for a neighbour."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, pictures)
    seen = np.where(rng.random(pictures) < 0.2, (labels + rng.geometric(0.3, pictures)) % classes, labels)
    probabilities = rng.random((pictures, classes), dtype=np.float32) ** 8
    probabilities[np.arange(pictures), seen] += 2
    probabilities /= probabilities.sum(1, keepdims=True)
    names = [f"class_{label:04}/ILSVRC2012_val_{number:08}.JPEG" for number, label in enumerate(labels)]
    return Predictions(names, [f"class_{number:04}" for number in range(classes)], labels, probabilities)


def main(sizes: list[str]) -> None:
    for size in sizes:
        classes, pictures = (int(each) for each in size.split("x"))
        made = drawn(classes, pictures)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            written: dict[str, Callable[[Path], None]] = {
                "report.xlsx": lambda path, made=made: report.save(made, path),
                "confusion.png": lambda path, made=made: drawing.save(made.plot_confusion(), path),
                "predictions.csv": lambda path, made=made: made.save_csv(path),
            }
            for name, write in written.items():
                wall, processor = time.perf_counter(), time.process_time()
                write(out / name)
                wall, processor = time.perf_counter() - wall, time.process_time() - processor
                megabytes = (out / name).stat().st_size / 1e6
                print(
                    f"{classes:>5,} classes, {pictures:>6,} pictures  {name:<15} "
                    f"{wall:6.1f} s, {processor:5.1f} s of the processor, {megabytes:5.1f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:] or list(SIZES))
