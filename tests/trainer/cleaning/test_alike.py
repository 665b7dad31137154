"""Copies of photographs are found, other photographs are not taken for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images

from sgdsheet.pictures import Unreadable
from trainer.cleaning.alike import BLOCK, _joined, alike, identical, look_at, same_look


def _cut(image: Image.Image, share: float) -> Image.Image:
    across, down = round(image.width * share), round(image.height * share)
    return image.crop((across, down, image.width - across, image.height - down))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((image.width // 2, image.height // 2)),
    "larger": lambda image: image.resize((image.width * 2, image.height * 2)),
    "squeezed": lambda image: image.resize((image.width, round(image.height * 0.9))),
    "cut": lambda image: _cut(image, 0.015),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "grey": lambda image: image.convert("L"),
    "mirrored": ImageOps.mirror,
    "again": lambda image: image,  # as a JPEG of low quality
}


@pytest.fixture(scope="module")
def tiles() -> list[Image.Image]:
    """The two photographs that scikit-learn has, cut into pieces, without those that show nothing but a soft green."""
    photos = [Image.fromarray(each) for each in load_sample_images().images]
    pieces = [
        photo.crop((x, y, x + 150, y + 130)) for photo in photos for x in range(0, 600, 160) for y in (0, 140, 280)
    ]
    return [piece for piece in pieces if np.asarray(piece.convert("L")).std() > 8]


def test_copies_are_found_and_nothing_else(tmp_path: Path, tiles: list[Image.Image]) -> None:
    expected = []
    for number, tile in enumerate(tiles):
        kinds = list(COPIES)[number % 3 :: 3]
        expected.append([f"{number:02}-{kind}.jpg" for kind in ["a", *kinds]])
        tile.save(tmp_path / expected[-1][0], quality=95)
        for kind in kinds:
            COPIES[kind](tile).save(tmp_path / f"{number:02}-{kind}.jpg", quality=40)
    names = [name for group in expected for name in group]
    found = alike(tmp_path, names)
    assert found == expected


def test_files_of_the_same_content(tmp_path: Path, tiles: list[Image.Image]) -> None:
    tiles[0].save(tmp_path / "a.png")
    tiles[1].save(tmp_path / "b.png")
    tiles[0].convert("RGBA").save(tmp_path / "d.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "e.png").write_bytes(b"no picture")
    names = ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]
    assert identical(tmp_path, names) == [["a.png", "c.png"]]
    assert alike(tmp_path, names) == [["a.png", "c.png", "d.png"]]
    looks = look_at(tmp_path, names)
    assert [str(looks[name]) for name in names[4:]] == ["not a picture", "there is no such file"]
    assert all(isinstance(looks[name], Unreadable) for name in names[4:])


def test_too_few_pixels_are_like_nothing(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (31, 40), "red").save(tmp_path / f"{name}.png")
    looks = look_at(tmp_path, ["a.png", "b.png"])
    assert same_look(looks) == same_look({}) == []


def test_every_pair_is_compared() -> None:
    rng = np.random.default_rng(0)
    count = 2 * BLOCK + 3
    bits = rng.random((count, 2, 256)) < 0.5
    bits[-1, 0] = bits[5, 0]
    bits[-2, 1] = bits[BLOCK + 1, 0]  # mirrored
    bits[9, 0] = bits[8, 0]
    bits[9, 0, :64] ^= True
    bits[BLOCK, 0] = bits[3, 0]
    bits[BLOCK, 0, :65] ^= True
    groups = _joined(bits)
    assert len(set(groups.tolist())) == count - 3
    assert groups[-1] == groups[5]
    assert groups[-2] == groups[BLOCK + 1]
    assert groups[9] == groups[8]
