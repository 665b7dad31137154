"""How well copies of pictures are told from other pictures, and how long that takes.

    python tests/benchmarks/alike.py PICTURES... [--planted 300]

Copies of some of the pictures below the folders are made in each way, and it is counted how many are found beside their
originals. Then all pairs that are found among the pictures themselves are printed, to be looked at; and the time for
25,000 pictures, once they are decoded.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not

from sgdsheet.pictures import read  # noqa: E402
from trainer.cleaning.alike import NEAR, Look, _joined, look, look_at, same_look  # noqa: E402
from trainer.data.walk import walk  # noqa: E402


def cut(image: Image.Image, each_side: float) -> Image.Image:
    across, down = round(image.width * each_side), round(image.height * each_side)
    return image.crop((across, down, image.width - across, image.height - down))


def changed(image: Image.Image) -> Image.Image:
    less = cut(image, 0.015)
    return ImageEnhance.Brightness(less.resize((less.width * 2 // 3, less.height * 2 // 3))).enhance(1.15)


# How a copy is made, and at which quality it is saved.
COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "half the size": (lambda image: image.resize((image.width // 2, image.height // 2)), 90),
    "160 pixels wide": (lambda image: image.resize((160, max(1, 160 * image.height // image.width))), 90),
    "saved at quality 30": (lambda image: image, 30),
    "cut by 3 %": (lambda image: cut(image, 0.015), 90),
    "cut by 6 %": (lambda image: cut(image, 0.03), 90),
    "brighter by 30 %": (lambda image: ImageEnhance.Brightness(image).enhance(1.3), 90),
    "darker by 30 %": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), 90),
    "more contrast by 30 %": (lambda image: ImageEnhance.Contrast(image).enhance(1.3), 90),
    "grey": (lambda image: image.convert("L"), 90),
    "squeezed by 10 %": (lambda image: image.resize((image.width, image.height * 9 // 10)), 90),
    "mirrored": (ImageOps.mirror, 90),
    "cut, smaller, brighter, quality 60": (changed, 60),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--planted", type=int, default=300)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    looks = {}
    started = time.process_time()
    for root in given.pictures:
        looks |= {str(root / name): each for name, each in look_at(root, walk(root).all_pictures()).items()}
    seen = {name: each for name, each in looks.items() if isinstance(each, Look) and each.bits is not None}
    each = (time.process_time() - started) / len(looks)
    print(f"{len(seen):,} pictures, {each * 1e3:.1f} ms of the processor each to decode and look at")
    planted(random.Random(0).sample(sorted(seen), min(given.planted, len(seen))), seen)
    groups = same_look(seen)
    print(
        f"among {len(seen) * (len(seen) - 1) // 2:,} pairs of the pictures themselves {len(groups)} groups are alike:"
    )
    for group in groups:
        print("  " + ", ".join(group))
    bits = np.random.default_rng(0).random((25_000, 2, 256)) < 0.5
    started = time.process_time()
    _joined(bits)
    print(f"to compare 25,000 pictures takes {time.process_time() - started:.1f} s of the processor")


def planted(names: list[str], seen: dict[str, Look]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.jpg"
        for words, (copy, quality) in COPIES.items():
            apart = []
            for name in names:
                copy(read(Path(name))).save(path, quality=quality)
                original, copied = seen[name].bits, look(path).bits
                if original is not None and copied is not None:
                    apart.append(int((original[0] != copied).sum(axis=1).min()))
            found = np.mean(np.array(apart) <= NEAR)
            print(
                f"{words:<35} {found:7.1%} of {len(apart)} found, {np.median(apart):3.0f} bits apart, most {max(apart)}"
            )


if __name__ == "__main__":
    main()
