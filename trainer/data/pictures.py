"""A picture as the trainer keeps it: whole, in its own proportions, its short side a given number of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sgdsheet.pictures import explained, read_with_size

LONGEST = 4  # times its short side, of a stored picture; one that is longer is squashed to that


def shape_for(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The height and width at which a picture of this width and height is stored.

    Its short side is `side`, and the long one in proportion up to `LONGEST` times that.
    """
    short = min(size)
    width, height = (min(round(each / short * side), LONGEST * side) for each in size)
    return height, width


def shrunk(source: Path | bytes, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The whole picture with a short side of `side` pixels, uint8 (height, width, 3), and its own width and height.

    `source` is a file, or its content. What is longer than `LONGEST` times its short side is squashed to that; what is
    smaller is enlarged. Raises `Unreadable`.
    """
    # A JPEG is decoded faster at a fraction of its size; twice the side that is asked for loses nothing that shows.
    picture, size = read_with_size(source, 2 * side)
    height, width = shape_for(size, side)
    factors = max(1, picture.width // (4 * width)), max(1, picture.height // (4 * height))
    with explained(source):  # it may be too much for the memory
        pixels = np.array(picture.reduce(factors) if max(factors) > 1 else picture)
        # The same as Pillow's `resize`, in a third of its time.
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(pixels).permute(2, 0, 1)[None], (height, width), mode="bicubic", antialias=True
        )
        return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy()), size
