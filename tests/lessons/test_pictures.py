"""Pictures as people see them, and clear refusals of what is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sgdsheet.errors import Error
from sgdsheet.lessons.data import Source
from sgdsheet.lessons.pictures import LARGE, digits, enlarged, held_out, load_picture, read_digits, read_picture

HALF = np.array([[0, 255], [0, 255]], dtype=np.uint8)  # dark on the left, light on the right


def saved(folder: Path, picture: Image.Image, name: str = "picture.png", **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def refused(path: Path, size: int = 8) -> str:
    with pytest.raises(Error) as caught:
        read_picture(path, size)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_grey_and_colour(tmp_path: Path) -> None:
    red = saved(tmp_path, Image.new("RGB", (20, 20), (255, 0, 0)))
    np.testing.assert_array_equal(read_picture(red, 4, rgb=True), np.broadcast_to([[[1]], [[0]], [[0]]], (3, 4, 4)))
    grey = read_picture(red, 4)
    assert grey.shape == (1, 4, 4)
    np.testing.assert_allclose(grey, 76 / 255)  # the eye's share of red


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(HALF),
        Image.fromarray(HALF).convert("1"),
        Image.fromarray(HALF).convert("P"),
        Image.fromarray(HALF).convert("RGBA"),
        Image.fromarray(HALF.astype(np.uint16) * 257),
        Image.fromarray(HALF.astype(np.int32) * 257),
    ],
    ids=["L", "1", "P", "RGBA", "16 bit", "32 bit"],
)
def test_every_kind_of_picture(tmp_path: Path, picture: Image.Image) -> None:
    np.testing.assert_array_equal(read_picture(saved(tmp_path, picture, "picture.tif"), 2)[0], [[0, 1], [0, 1]])


def test_cmyk(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (9, 9), (0, 0, 0, 255)), "picture.tif")
    np.testing.assert_array_equal(read_picture(path, 3), np.zeros((1, 3, 3)))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGBA", (5, 5), (0, 0, 0, 0)))
    np.testing.assert_array_equal(read_picture(path, 5), np.ones((1, 5, 5)))


def test_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side
    path = saved(tmp_path, Image.fromarray(np.kron(HALF, np.ones((8, 8), dtype=np.uint8))), exif=exif)
    np.testing.assert_allclose(read_picture(path, 2)[0], [[0, 0], [1, 1]], atol=0.15)


def test_the_middle_is_taken_without_distortion(tmp_path: Path) -> None:
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 10:20] = 255
    np.testing.assert_array_equal(read_picture(saved(tmp_path, Image.fromarray(wide)), 10), np.ones((1, 10, 10)))


def test_refusals(tmp_path: Path) -> None:
    text, empty, cut = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    text.write_text("no picture")
    empty.write_bytes(b"")
    whole = saved(tmp_path, Image.effect_noise((50, 50), 90))
    cut.write_bytes(whole.read_bytes()[:900])
    assert refused(text) == f"{text}: no picture can be read from it: not a picture"
    assert "the file is empty" in refused(empty)
    assert "cut off after 900 bytes" in refused(cut)
    assert "no such file" in refused(tmp_path / "missing.png")
    assert "directory" in refused(tmp_path)
    assert "at least 1, got 0" in refused(whole, 0)
    assert "at most 256 x 256 pixels, got 257 x 257" in refused(whole, 257)
    assert "16,384 columns" in refused(whole, 16_385)
    with pytest.raises(Error, match="at least 1, got 0"):
        load_picture(Source(image=whole, size=0))


def test_twelve_bits_in_sixteen_are_not_dark(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(HALF.astype(np.uint16) * 16))  # white is 4,080 of 4,095
    np.testing.assert_array_equal(read_picture(path, 2)[0] * 255, [[0, 254], [0, 254]])


def test_a_csv_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.csv"
    path.write_text("0,0.5,1\n0.25,0,0\n")
    np.testing.assert_array_equal(load_picture(Source(csv=path))["picture"], [[[0, 0.5, 1], [0.25, 0, 0]]])
    path.write_text("0,0.5,1\n0.25,0\n")
    with pytest.raises(Error, match=re.escape("row 2: expected 3 values, got 2")):
        load_picture(Source(csv=path))
    path.write_text("0,0.5,1\n0.25,x,0\n")
    with pytest.raises(Error, match=re.escape("row 2, column 2: expected a number, got 'x'")):
        load_picture(Source(csv=path))
    path.write_text(",".join(["0"] * 20_000) + "\n")
    with pytest.raises(Error, match="16,384 columns"):
        load_picture(Source(csv=path))


def test_digits() -> None:
    pixels, labels = digits()
    assert pixels.shape == (1797, 8, 8)
    assert (pixels.min(), pixels.max()) == (0, 16)
    assert set(labels) == set(range(10))
    assert held_out(len(labels)).sum() == 359


def test_large_digits_are_clear_ones_that_no_weight_was_trained_on() -> None:
    pixels, labels = digits()
    chosen = list(LARGE)
    assert labels[chosen].tolist() == list(range(10))
    assert held_out(len(labels))[chosen].all()
    large = enlarged(pixels[chosen])
    assert large.shape == (10, 28, 28)
    np.testing.assert_array_equal(large, large.round(1))
    assert (large.min(), large.max()) == (0, 1)
    small = large[:, 2:26, 2:26].reshape(10, 8, 3, 8, 3).mean((2, 4)) * 16
    assert np.abs(small - pixels[chosen]).mean() < 1.5, "each is still the digit that it was"


def test_a_csv_of_digits(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv"
    pixels = [str(value % 17) for value in range(64)]
    path.write_text("\n".join([",".join(["label"] + [f"p{i}" for i in range(64)]), ",".join(["7", *pixels])]))
    read, labels = read_digits(path)
    assert labels.tolist() == [7]
    assert read.reshape(-1).tolist() == [value % 17 for value in range(64)]
    for row, complaint in [
        (["7", *pixels[1:]], "expected 65 values, got 64"),
        (["10", *pixels], "expected a label from 0 to 9 before its pixels, got 10"),
        (["1", "17", *pixels[1:]], "pixel 1: expected 0 to 16, got 17"),
        (["1", "-1", *pixels[1:]], "pixel 1: expected 0 to 16, got -1"),
    ]:
        path.write_text(",".join(row) + "\n")
        with pytest.raises(Error, match=re.escape(complaint)):
            read_digits(path)
