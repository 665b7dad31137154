"""A run's classifier as a workbook, whose every number from the picture to the probabilities is a live formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgdsheet.errors import Error, require
from sgdsheet.exported import workbook
from sgdsheet.writing import Written
from trainer.cleaning import run as runs
from trainer.data.image_folder import ImageFolder
from trainer.show.text import plain as shown
from trainer.training.augment import plain
from trainer.training.cutting import Cutter

MOST = 200  # pictures in the file


def from_run(
    folder: Path,
    path: Path,
    *,
    arch: Any = None,
    data: Path | None = None,
    fold: bool = False,
    pictures: int = workbook.PICTURES,
    say: Callable[[str], None] = lambda line: None,
) -> Written:
    """Writes the classifier of a run as a workbook.

    Arguments:
      folder: the run, as `trainer fit --out` or `Classifier.save` has written it.
      path: the file, .xlsx; it is written whole or not at all.
      arch: what makes the model, where it is a class or function of the user's own.
      data: where the pictures are now, if they were moved.
      fold: whether each batch norm is folded into the convolution before it, or has blocks of its own.
      pictures: how many of the validation's pictures stand in the file to choose from, 1 to 200.
      say: gets a line with the number of cells before anything is built.

    Raises `Error` for a model that would take more than 3,000,000 cells, for one with several labels a picture, for
    operations that no sheet knows, and as `trainer.cleaning.run.opened` does.
    """
    require(pictures, "pictures", 1, MOST, whole=True)
    if path.suffix.lower() != ".xlsx":
        raise Error(f"{path}: expected a name that ends with .xlsx")
    run = runs.opened(folder, data, show=False, arch=arch)
    said, listing = run.said, run.setup.data
    if listing.multi_label:
        raise Error(f"{folder}: its pictures have several labels each; only a classifier of one label has a workbook")
    model = workbook.pictured(run.model, said["mean"], said["std"], fold=fold)
    chosen = listing.valid[np.unique(np.linspace(0, len(listing.valid) - 1, pictures).round().astype(int))]
    pixels = pixels_of(listing, chosen)
    needs = workbook.needed(model, pixels)
    count = sum(each.numel() for each in model.parameters())
    what = f"{shown(said['arch'])} with {count:,} weights, at {listing.size} x {listing.size} pixels"
    if not needs.fits:
        raise Error(
            f"{folder}: {what}, would take about {needs.cells:,} cells, and {needs.limit:,} is the most; train a "
            "smaller model on smaller pictures, as trainer fit PICTURES --arch my_model.py:Net --size 8 --weights none"
        )
    say(f"{what}: about {needs.cells:,} cells")
    rows = said.get("history") or []
    lines = [
        f"It was trained by `trainer fit` on {len(listing.train):,} pictures and has never seen the held-out ones."
    ]
    if rows:
        lines.append(
            f"Of all {len(listing.valid):,} held-out pictures it reads {1 - rows[-1]['error_rate']:.1%} rightly."
        )
    labels = listing.labels.numpy()[chosen]
    title = f"What a trained classifier sees: {len(listing.classes)} classes"
    return workbook.save(model, path, pixels, labels, [*listing.classes], title=title, said=lines)


def pixels_of(listing: ImageFolder, numbers: np.ndarray) -> np.ndarray:
    """The pictures of these numbers as validation sees them, before their colours are normalised.

    Whole numbers from 0 to 255, (count, height, width) where all are grey, else (count, 3, height, width).
    """
    cutter = Cutter(torch.device("cpu"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    cut = cutter.each(
        [listing.cache.picture(number) for number in numbers], plain(listing.cache.sizes[numbers]), listing.size
    )
    pixels = (cut * 255).round().numpy().astype(int)
    return pixels[:, 0] if (pixels == pixels[:, :1]).all() else pixels
