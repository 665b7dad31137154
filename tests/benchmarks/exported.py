"""Whether a workbook of `trainer export-workbook` says of 200 held-out pictures what torch says of them.

    python -m tests.benchmarks.exported RUN FILE.xlsx [my_model.py:Net]

Each picture is typed into the cells, in IronCalc's memory, and the probabilities are compared with those of the run's
model in float64.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from sgdsheet import book
from sgdsheet.engines import engine, opened
from sgdsheet.exported.workbook import pictured
from trainer.cleaning import run as runs
from trainer.models.own import from_file
from trainer.serving.workbook import pixels_of


def probabilities(path: Path, pictures: np.ndarray) -> np.ndarray:
    """What the workbook says of each picture: (count, classes)."""
    saved, model = book.read(path), opened(engine("ironcalc"), path)
    assert model is not None
    source = saved.blocks["source"].cell(())
    cells = saved.blocks["painted"].references().ravel()
    found = []
    for picture in pictures:
        typed = [(source, "painted"), *zip(cells, picture.ravel().tolist(), strict=True)]
        found.append(model.calculate(typed, saved.blocks["probability"].panels)[0].astype(float).ravel())
    return np.array(found)


def main(folder: str, file: str, arch: str = "") -> None:
    """Compares, and prints what came of it."""
    run = runs.opened(Path(folder), show=False, arch=from_file(arch) if arch else None)
    data = run.setup.data
    numbers = data.valid[:200]
    pictures = pixels_of(data, numbers)
    model = pictured(run.model, run.said["mean"], run.said["std"])
    with torch.no_grad():
        torch_says = np.stack([model(torch.from_numpy(each.astype(float))).numpy() for each in pictures])
    started = time.perf_counter()
    cells = probabilities(Path(file), pictures)
    seconds = time.perf_counter() - started
    labels = data.labels.numpy()[numbers]
    right = [int((each.argmax(1) == labels).sum()) for each in (torch_says, cells)]
    apart = np.abs(cells - torch_says).max()
    print(
        f"{len(pictures)} pictures: probabilities differ by {apart:.1e} at most; torch reads {right[0]} rightly, "
        f"the workbook {right[1]}; {seconds / len(pictures):.3f} s a picture"
    )
    assert apart <= 1e-9
    assert right[0] == right[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
