"""Pictures for the lessons: scikit-learn's handwritten digits, and a reader's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.expr import MAX_COLUMNS, MAX_ROWS
from sgdsheet.lessons.data import Source, read_grid

SEVEN = 7  # the place of a good one among scikit-learn's digits; it is a 7
LARGE = (229, 1514, 629, 259, 194, 1044, 474, 494, 294, 254)  # a clear 0, 1, 2 ... 9 among those that are held out
SIZE = 28  # of a large digit, and of a reader's picture if nothing else is said
SIDE = 8  # scikit-learn's digits have so many rows and columns
INK = 16  # and whole numbers from 0, no ink, to this
MAX_SIDE = 256  # of a picture on a sheet


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits of scikit-learn: pictures (1797, 8, 8) of 0 to 16, and their labels (1797)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels).reshape(-1, SIDE, SIDE), np.asarray(labels)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """Digits (count, 8, 8) of 0 to 16 as pictures (count, 28, 28) of ink from 0 to 1, in tenths.

    Enlarged smoothly by three, and as sharp again as a pen's stroke. Pillow calculates with whole numbers, so that they
    are the same on every machine.
    """
    from PIL import Image

    found = []
    for digit in pixels:
        small = np.rint(np.pad(digit, 1) * (255 / INK)).astype(np.uint8)  # an edge, for strokes that end at it
        large = Image.fromarray(small).resize((SIZE + 2, SIZE + 2), Image.Resampling.BICUBIC)
        ink = np.asarray(large)[1:-1, 1:-1] / 255
        found.append(np.clip((ink - 0.22) / 0.56, 0, 1).round(1))
    return np.array(found)


def held_out(count: int) -> np.ndarray:
    """Which of so many digits no weight was trained on: every fifth."""
    return np.arange(count) % 5 == 4


def read_digits(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels from a CSV whose rows hold a label, 0 to 9, and 64 pixels, 0 to 16.

    Raises `Error`, with file and row, for rows of another width and for numbers beyond these.
    """
    rows = np.array(read_grid(path, 1 + SIDE * SIDE))
    labels, pixels = rows[:, 0], rows[:, 1:]
    for number, label in enumerate(labels, start=1):
        if label not in range(10):
            raise Error(f"{path}: digit {number}: expected a label from 0 to 9 before its pixels, got {label:g}")
    wrong = np.argwhere((pixels < 0) | (pixels > INK))
    if len(wrong):
        digit, pixel = wrong[0]
        value = pixels[digit, pixel]
        raise Error(f"{path}: digit {digit + 1}, pixel {pixel + 1}: expected 0 to {INK}, got {value:g}")
    return pixels.reshape(-1, SIDE, SIDE), labels.astype(int)


def read_picture(path: str | Path, size: int, rgb: bool = False) -> np.ndarray:
    """A picture of a kind that `sgdsheet.pictures` reads, as numbers from 0, dark, to 1, light.

    The largest square in its middle is resized to `size` x `size`; turned as its camera says, and with white behind
    what is transparent. Shape (3, size, size) in colour, (1, size, size) in grey. Raises `Error` for a file that is no
    picture, is damaged or has too many pixels, and for a size that no sheet has room for.
    """
    from PIL import Image, ImageOps

    from sgdsheet.pictures import Unreadable, read

    if size < 1:
        raise Error(f"--size: expected a size of at least 1, got {size:,}")
    check_size(size, size, f"--size {size}")
    try:
        picture = read(Path(path))
    except Unreadable as reason:
        raise Error(f"{path}: no picture can be read from it: {reason}") from None
    square = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    values = np.asarray(square.convert("RGB" if rgb else "L"), dtype=float) / 255
    return values.transpose(2, 0, 1) if rgb else values[None]


def load_picture(source: Source) -> dict[str, np.ndarray]:
    """The block `picture`, ink from 0 to 1, of shape (channels, rows, columns): a digit, or what the source names.

    A picture's dark parts are taken for ink.
    """
    if source.csv:
        grid = np.array([read_grid(source.csv)])
        check_size(grid.shape[1], grid.shape[2], str(source.csv))
        return {"picture": grid}
    if source.image:
        light = read_picture(source.image, SIZE if source.size is None else source.size, source.rgb)
        return {"picture": (1 - light).round(3)}
    return {"picture": digits()[0][[SEVEN]] / INK}


def check_size(rows: int, columns: int, what: str) -> None:
    """Raises `Error` for a picture that no sheet, or nobody's patience, has room for."""
    if rows > MAX_ROWS or columns > MAX_COLUMNS:
        raise Error(
            f"{what}: a picture of {rows:,} x {columns:,} pixels has no room on a sheet, which has {MAX_ROWS:,} rows "
            f"and {MAX_COLUMNS:,} columns"
        )
    if rows * columns > MAX_SIDE**2:
        raise Error(
            f"{what}: expected a picture of at most {MAX_SIDE} x {MAX_SIDE} pixels, got {rows:,} x {columns:,}: each "
            "needs some twenty formulas"
        )
