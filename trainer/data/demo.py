"""scikit-learn's handwritten digits as a folder of pictures, for somebody who has none at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_digits(folder: Path) -> Path:
    """Writes the 1,797 digits as PNG files of 8 x 8 pixels, dark on light, a folder for each of the ten classes."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(digit) / f"{number:04}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(255 - pixels * 255 / 16)).save(path)
    return folder
