"""Odd pictures come out as people see them; what cannot be decoded says why."""

from __future__ import annotations

import errno
import importlib
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, ImageCms, ImageFile, ImageOps, features

from sgdsheet import pictures
from sgdsheet.pictures import Refused, Unreadable, read
from trainer.data.pictures import shrunk

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
RNG = np.random.default_rng(5)
NOISE = Image.fromarray(RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8))


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Writes a picture in a format, under a name that says nothing of it, and gives its path."""

    def save(image: Image.Image, kind: str = "PNG", **options: Any) -> Path:
        path = tmp_path / "picture.jpg"
        image.save(path, kind, **options)
        return path

    return save


def pixels(path: Path) -> np.ndarray:
    picture = read(path)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 0,
    data: bytes = b"",
    significant: bytes | None = None,
    clear: bytes | None = None,
) -> bytes:
    """A PNG by the book, which may say that it is larger than it is."""

    def chunk(kind: bytes, content: bytes | None) -> bytes:
        if content is None:
            return b""
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    head += chunk(b"tEXt", b"Comment\0sBIT") + chunk(b"sBIT", significant) + chunk(b"tRNS", clear)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff(
    width: int, height: int, bits: tuple[int, ...], data: bytes, tags: dict[int, int] | None = None, order: str = "<"
) -> bytes:
    """A TIFF by the book, of one strip, or of one for each colour if its tag 284 is 2."""
    colours, start = len(bits), 8
    separate = (tags or {}).get(284) == 2
    strip = len(data) // colours if separate else len(data)
    values: dict[int, Any] = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: colours, 278: height}
    values |= {273: [start + strip * each for each in range(colours)] if separate else start}
    values |= {279: [strip] * colours if separate else strip, **(tags or {})}
    data += bytes(len(data) % 2)
    entries, beside = b"", b""
    behind = start + len(data) + 2 + 12 * len(values) + 4
    for tag, value in sorted(values.items()):
        several = list(value) if isinstance(value, (tuple, list)) else [value]
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        content = struct.pack(f"{order}{len(several)}{letter}", *several)
        entries += struct.pack(f"{order}HHI", tag, kind, len(several))
        if len(content) > 4:
            entries += struct.pack(f"{order}I", behind + len(beside))
            beside += content
        else:
            entries += content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start + len(data))
    return head + data + struct.pack(f"{order}H", len(values)) + entries + bytes(4) + beside


def two_colours(mode: str = "RGB") -> Image.Image:
    """Left red, right blue; 32 by 16, so that JPEG's blocks lie within."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (16, 0, 32, 16))
    return image.convert(mode)


ROW_AND_COLUMN = [
    *(("top", "left"), ("top", "right"), ("bottom", "right"), ("bottom", "left")),
    *(("left", "top"), ("right", "top"), ("right", "bottom"), ("left", "bottom")),
]


# --- Upright --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(saved: Any, kind: str, orientation: int) -> None:
    upright = np.zeros((32, 64, 3), dtype=np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32], upright[16:, 32:] = RED, GREEN, BLUE, WHITE
    # The definition: which side of what is seen the first row of what is stored is, and which the first column.
    row, column = ROW_AND_COLUMN[orientation - 1]
    seen = upright[:: -1 if "bottom" in (row, column) else 1, :: -1 if "right" in (row, column) else 1]
    stored = seen if row in ("top", "bottom") else seen.swapaxes(0, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    path = saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert np.abs(pixels(path) - upright).max() <= 3
    small, size = shrunk(path, 8)
    assert size == (64, 32)
    for corner, colour in (((0, 0), RED), ((0, -1), GREEN), ((-1, 0), BLUE), ((-1, -1), WHITE)):
        assert np.abs(small[corner] - np.array(colour)).max() <= 30


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_no_harm(saved: Any) -> None:
    path = saved(two_colours(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read(path).size == (32, 16)
    path = saved(two_colours(), "JPEG", exif=b"Exif\0\0nonsense")
    assert read(path).size == (32, 16)


# --- Colours --------------------------------------------------------------------------------------------------------


def test_what_is_transparent_is_white_and_what_is_half_transparent_half_white(saved: Any) -> None:
    image = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    image.putpixel((2, 0), (200, 0, 100, 51))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        result = pixels(saved(image, kind, **options))
        assert result.tolist() == [[[200, 0, 0], [255, 255, 255], [244, 204, 224]]], kind


def test_grey_with_alpha(saved: Any) -> None:
    image = Image.new("LA", (2, 1), (100, 255))
    image.putpixel((1, 0), (0, 51))
    assert pixels(saved(image))[0].tolist() == [[100] * 3, [204] * 3]


def test_palettes_with_a_transparent_colour_and_with_many(saved: Any) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    image.putpalette([*RED, *GREEN, *BLUE])
    assert pixels(saved(image))[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert pixels(saved(image, "GIF", transparency=1))[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    assert pixels(saved(image, transparency=1))[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    alphas = bytes([255, 0, 51])
    assert pixels(saved(image, transparency=alphas))[0].tolist() == [[255, 0, 0], [255, 255, 255], [204, 204, 255]]


def test_one_colour_of_a_picture_without_a_palette_may_be_transparent(saved: Any) -> None:
    assert pixels(saved(two_colours(), transparency=RED))[0, [0, -1]].tolist() == [[255, 255, 255], [0, 0, 255]]
    grey = Image.fromarray(np.array([[0, 9]], dtype=np.uint8))
    assert pixels(saved(grey, transparency=0))[0].tolist() == [[255] * 3, [9] * 3]


def test_black_and_white(saved: Any) -> None:
    image = Image.fromarray(np.array([[0, 255, 255, 0]], dtype=np.uint8)).convert("1")
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        assert pixels(saved(image, kind))[0, :, 0].tolist() == [0, 255, 255, 0], kind


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_are_not_clipped_to_white(saved: Any, kind: str) -> None:
    values = np.array([[0, 257, 12_850, 32_896, 65_535]], dtype=np.uint16)
    assert pixels(saved(Image.fromarray(values), kind))[0, :, 1].tolist() == [0, 1, 50, 128, 255]
    # A dark picture stays rather dark: white is the largest number of that many bits, not of the picture.
    assert pixels(saved(Image.fromarray(values[:, :3]), kind))[0, :, 1].tolist() == [0, 4, 200]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_numbers_of_fewer_bits_in_sixteen_are_not_black(saved: Any, kind: str, bits: int) -> None:
    white = 2**bits - 1
    shares = np.linspace(0, 1, 64).reshape(4, 16)
    path = saved(Image.fromarray(np.rint(shares * white).astype(np.uint16)), kind)
    assert np.abs(pixels(path)[..., 0] - 255 * shares).max() <= 1
    whole = np.rint(shares * 0.8 * white).astype(np.int32)  # none of them white
    assert np.abs(pixels(saved(Image.fromarray(whole), "TIFF"))[..., 0] - 255 * 0.8 * shares).max() <= 1
    real = Image.fromarray((shares * white).astype(np.float32))
    assert np.abs(pixels(saved(real, "TIFF"))[..., 0] - 255 * shares).max() <= 1


def test_a_png_that_says_its_bits_is_taken_by_its_word(tmp_path: Path) -> None:
    path = tmp_path / "dark.png"
    rows = b"\0" + struct.pack(">3H", 0, 300, 1000)
    for bits, seen in ((None, [0, 75, 249]), (12, [0, 19, 62]), (14, [0, 5, 16]), (16, [0, 1, 4]), (9, [0, 75, 249])):
        said = None if bits is None else bytes([bits])
        path.write_bytes(png(3, 1, depth=16, data=rows, significant=said))
        assert pixels(path)[0, :, 0].tolist() == seen, bits


def test_a_tiff_that_says_its_bits_is_taken_by_its_word(tmp_path: Path) -> None:
    path = tmp_path / "dark.tif"
    rows = struct.pack("<3H", 0, 300, 1000)
    for said, seen in (
        ({}, [0, 75, 249]),
        ({281: 4095}, [0, 19, 62]),
        ({281: 3000}, [0, 19, 62]),
        ({281: 7}, [0, 75, 249]),
    ):
        path.write_bytes(tiff(3, 1, (16,), rows, said))
        assert pixels(path)[0, :, 0].tolist() == seen, said
    path.write_bytes(tiff(2, 1, (12,), bytes([0x03, 0xE8, 0x00])))  # 62 and 2048: twelve bits each, packed
    assert pixels(path)[0, :, 0].tolist() == [4, 128]
    path.write_bytes(tiff(3, 1, (16,), struct.pack("<3H", 0, 300, 4095), {262: 0}))  # white is zero
    assert pixels(path)[0, :, 0].tolist() == [255, 236, 0]
    path.write_bytes(tiff(3, 1, (32,), struct.pack("<3I", 0, 2**31, 2**32 - 1)))
    assert pixels(path)[0, :, 0].tolist() == [0, 128, 255]


def test_a_pgm_and_a_jpeg_2000_that_say_their_bits_are_taken_by_their_word(tmp_path: Path, saved: Any) -> None:
    path = tmp_path / "dark.pgm"
    for head in (b"P5 3 1 4095\n", b"P5 3 1\n# 255\n4095\n"):
        path.write_bytes(head + struct.pack(">3H", 0, 200, 400))
        assert pixels(path)[0, :, 0].tolist() == [0, 12, 25]
    path.write_bytes(b"P2 3 1 4095 0 200 400\n")
    assert pixels(path)[0, :, 0].tolist() == [0, 12, 25]
    # Its numbers are written as differences from the middle, here of 16 bits and then of twelve.
    values = np.array([[0, 200, 400] * 8] * 8, dtype=np.uint16) + (2**15 - 2**11)
    path = saved(Image.fromarray(values), "JPEG2000")
    content = bytearray(path.read_bytes())
    assert content[content.index(b"\xff\x4f\xff\x51") + 42] == 15
    content[content.index(b"\xff\x4f\xff\x51") + 42] = 11  # twelve bits
    path.write_bytes(content)
    assert pixels(path)[0, :3, 0].tolist() == [0, 12, 25]


def test_a_transparent_grey_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    path.write_bytes(png(3, 1, depth=16, data=b"\0" + struct.pack(">3H", 0, 300, 65_535), clear=struct.pack(">H", 300)))
    assert pixels(path)[0, :, 0].tolist() == [0, 255, 255]


def test_whole_and_real_numbers_of_32_bits(saved: Any) -> None:
    whole = np.array([[-5, 0, 32_896, 65_535]], dtype=np.int32)
    assert pixels(saved(Image.fromarray(whole), "TIFF"))[0, :, 2].tolist() == [0, 0, 128, 255]
    large = np.array([[0, 2**30, 2**31 - 1]], dtype=np.int32)
    assert pixels(saved(Image.fromarray(large), "TIFF"))[0, :, 2].tolist() == [0, 128, 255]
    for white in (1, 255, 1023, 4095, 65_535, 1e9):
        real = np.array([[0, 0.2 * white, white]], dtype=np.float32)
        assert pixels(saved(Image.fromarray(real), "TIFF"))[0, :, 2].tolist() == [0, 51, 255], white
    beyond = np.array([[0, 0.2, 1, 1.04]], dtype=np.float32)  # as what enlarges a picture leaves it
    assert pixels(saved(Image.fromarray(beyond), "TIFF"))[0, :, 2].tolist() == [0, 51, 255, 255]
    odd = np.array([[np.nan, np.inf, -1, 0.2, 1]], dtype=np.float32)
    assert pixels(saved(Image.fromarray(odd), "TIFF"))[0, :, 2].tolist() == [0, 0, 0, 51, 255]


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 65_535, 32_896, 0, 257, 12_850, 65_535)
    path = tmp_path / "deep.png"
    path.write_bytes(png(2, 1, depth=16, colour=2, data=rows))
    assert pixels(path)[0].tolist() == [[255, 128, 0], [1, 50, 255]]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_fewer_bits_in_sixteen_are_not_black(tmp_path: Path, bits: int, alpha: bool) -> None:
    white, path = 2**bits - 1, tmp_path / "deep"
    shares = np.array([[[1, 0.5, 0], [0.2, 1, 0.8]]])
    values = np.rint(shares * white)
    if alpha:  # the second is clear by half
        values = np.concatenate([values, [[[white], [0.5 * white]]]], axis=2)
        shares = shares * [[[1], [0.5]]] + [[[0], [0.5]]]
    colours = values.shape[2]
    path.write_bytes(png(2, 1, depth=16, colour=6 if alpha else 2, data=b"\0" + values.astype(">u2").tobytes()))
    assert np.abs(pixels(path) - 255 * shares).max() <= 2
    extra: dict[int, Any] = {338: 2} if alpha else {}
    for order, kind in (("<", "<u2"), (">", ">u2")):
        path.write_bytes(tiff(2, 1, (16,) * colours, values.astype(kind).tobytes(), {262: 2, **extra}, order))
        assert np.abs(pixels(path) - 255 * shares).max() <= 2
        planes = values.transpose(2, 0, 1).astype(kind).tobytes()
        path.write_bytes(tiff(2, 1, (16,) * colours, planes, {262: 2, 284: 2, **extra}, order))
        assert np.abs(pixels(path) - 255 * shares).max() <= 2
        squeezed = zlib.compress(values.astype(kind).tobytes())
        path.write_bytes(tiff(2, 1, (16,) * colours, squeezed, {262: 2, 259: 8, **extra}, order))
        assert np.abs(pixels(path) - 255 * shares).max() <= 2


def test_colours_of_sixteen_bits_that_are_dark_stay_so_where_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    rows = b"\0" + struct.pack(">3H", 4095, 2048, 0)
    path.write_bytes(png(1, 1, depth=16, colour=2, data=rows, significant=bytes([16, 16, 16])))
    assert pixels(path)[0].tolist() == [[16, 8, 0]]


def test_cmyk(saved: Any) -> None:
    # Pillow writes inverted inks, as Adobe does, into a JPEG, and plain ones into a TIFF.
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 51))
    for kind, options in (("JPEG", {"quality": 100}), ("TIFF", {})):
        assert np.abs(pixels(saved(inks, kind, **options)) - [204, 0, 0]).max() <= 2, kind


def test_ycck(saved: Any) -> None:
    # The same file as for CMYK, but Adobe's marker says that its first three samples are luma and chroma: here the
    # luma is 80 and there is no chroma, so it is grey; the fourth, 255, is no black ink.
    path = saved(Image.new("CMYK", (16, 16), (255 - 80, 255 - 128, 255 - 128, 0)), "JPEG", quality=100)
    content = bytearray(path.read_bytes())
    marker = content.index(b"Adobe")
    assert content[marker + 11] == 0
    content[marker + 11] = 2
    path.write_bytes(content)
    grey = pixels(path)
    assert np.ptp(grey) <= 2
    assert abs(grey[0, 0, 0] - (255 - 80)) <= 2


def linear_profile() -> bytes:
    """A profile with sRGB's primaries and linear values, made from sRGB's own by changing its curve and its name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))
    curve = profile.index(b"para\0\0\0\0")
    return profile[: curve + 8] + struct.pack(">HHi", 0, 0, 1 << 16) + profile[curve + 16 :]


def test_colours_of_another_profile_are_brought_to_srgb(saved: Any) -> None:
    value = 64 / 255
    expected = round(255 * (1.055 * value ** (1 / 2.4) - 0.055))  # the definition of sRGB
    picture = Image.new("RGB", (16, 16), (64, 64, 64))
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100})):
        result = pixels(saved(picture, kind, icc_profile=linear_profile(), **options))
        assert np.abs(result - expected).max() <= 2, kind
    half = Image.new("RGBA", (1, 1), (64, 64, 64, 51))
    result = pixels(saved(half, icc_profile=linear_profile()))
    assert np.abs(result - (expected * 0.2 + 255 * 0.8)).max() <= 2
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert pixels(saved(picture, icc_profile=srgb))[0, 0].tolist() == [64, 64, 64]


def test_a_profile_that_does_not_fit_is_passed_over(saved: Any) -> None:
    grey = Image.new("L", (1, 1), 64)
    assert pixels(saved(grey, icc_profile=linear_profile()))[0, 0].tolist() == [64, 64, 64]
    assert pixels(saved(Image.new("RGB", (1, 1), (64, 9, 9)), icc_profile=b"nonsense"))[0, 0].tolist() == [64, 9, 9]


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_the_first_frame_of_an_animation(saved: Any, kind: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    path = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert (pixels(path) == RED).all()


# --- Shrunk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ((80, 60), (53, 40)),
        ((31, 200), (40, 160)),
        ((1000, 700), (57, 40)),
        ((1, 1), (40, 40)),
        ((3000, 2), (160, 40)),
        ((1600, 400), (160, 40)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_shrunk_is_nearly_what_pillow_makes_of_the_whole_picture(
    saved: Any, kind: str, size: tuple[int, int], stored: tuple[int, int]
) -> None:
    # Soft shapes, as a photograph has them.
    image = NOISE.resize((12, 9)).resize(size, Image.Resampling.BICUBIC)
    path = saved(image, kind)
    small, found = shrunk(path, 40)
    assert small.shape == (*stored[::-1], 3)
    assert small.dtype == np.uint8
    assert found == size
    expected = np.asarray(read(path).resize(stored, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(small - expected).mean() < 0.7
    assert np.abs(small - expected).max() <= 8


def test_a_picture_of_that_size_already_stays_as_it_is(saved: Any) -> None:
    square = NOISE.resize((40, 40))
    assert (shrunk(saved(square), 40)[0] == np.asarray(square)).all()


@pytest.mark.parametrize("size", [(500, 500), (750, 500), (889, 500), (1500, 500), (2000, 500), (500, 2000)])
def test_fine_stripes_keep_their_contrast_whatever_the_proportions(saved: Any, size: tuple[int, int]) -> None:
    for period, side in ((5, 280), (9, 280), (9, 224), (13, 224)):  # 2.8 pixels and more of those that are cut
        wave = np.rint(127.5 + 100 * np.sin(2 * np.pi * np.arange(max(size)) / period)).astype(np.uint8)
        image = Image.fromarray(np.repeat(np.tile(wave, (min(size), 1))[..., None], 3, axis=2))
        path = saved(image if size[0] >= size[1] else image.transpose(Image.Transpose.TRANSPOSE))
        stored = Image.fromarray(shrunk(path, 280)[0])
        assert min(stored.size) == 280
        middle = ImageOps.fit(stored, (280, 280)).resize((side, side), Image.Resampling.BICUBIC)
        right = np.asarray(ImageOps.fit(read(path), (side, side), Image.Resampling.BICUBIC)).std()
        assert np.asarray(middle).std() == pytest.approx(right, rel=0.05), (period, side)


def test_what_is_longer_than_four_times_its_short_side_is_squashed_to_that(saved: Any) -> None:
    for size in ((4000, 7), (7, 4000), (65_000, 20), (3, 1_000_000)):
        path = saved(two_colours().resize(size, Image.Resampling.NEAREST))
        small, found = shrunk(path, 16)
        assert found == size
        assert small.shape == ((16, 64, 3) if size[0] > size[1] else (64, 16, 3))
        assert np.abs(small[0, 0] - np.array(RED)).max() <= 2
        assert np.abs(small[0, -1] - np.array(BLUE)).max() <= 2
        assert np.abs(small[-1, -1] - np.array(BLUE)).max() <= 2


@pytest.mark.parametrize("kind", [{}, {"progressive": True}])
def test_a_jpeg_is_decoded_at_no_less_than_twice_the_side(saved: Any, kind: dict[str, Any]) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (90, 700, 3), dtype=np.uint8))
    for size in ((700, 90), (350, 90), (90, 90)):
        path = saved(noise.crop((0, 0, *size)), "JPEG", **kind)
        small, _ = shrunk(path, 20)  # of which 45 is more than twice, and 23 is not
        drafted = Image.open(path)
        drafted.draft("RGB", (size[0] // 2, size[1] // 2))
        expected = np.asarray(drafted.resize(small.shape[1::-1], Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(small - expected).max() <= 2


# --- Unreadable -----------------------------------------------------------------------------------------------------


def reasons(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read(path)
    with pytest.raises(Unreadable) as again:
        shrunk(path, 16)
    assert str(caught.value) == str(again.value)
    assert path.name not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"a", bytes(5000), b"%!PS-Adobe-3.0 EPSF-3.0\n" * 9])
def test_not_a_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    assert reasons(path) == "not a picture"


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
(file) (w) file
"""


def test_no_other_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(EPS)
    started: list[Any] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: started.append(given) or NOISE.im)
    with Image.open(path) as image:
        image.load()
    assert len(started) == 1  # so Pillow by itself would
    assert reasons(path) == "not a picture"
    assert len(started) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    os.mkfifo(path)
    assert reasons(path) == "it is a pipe or a device, not a file"
    assert reasons(Path("/dev/zero")) == "it is a pipe or a device, not a file"


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    assert reasons(path) == "there is no such file"
    path.touch()
    assert reasons(path) == "the file is empty"
    assert reasons(tmp_path).startswith("it cannot be opened: ")
    path.chmod(0)
    if not os.access(path, os.R_OK):  # root may read everything
        assert reasons(path) == "there is no permission to read it"


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    (tmp_path / "picture.jpg").touch()
    assert reasons(tmp_path / "picture.jpg") == "there is no permission to read it"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
    ],
)
def test_a_file_that_is_cut_off_is_never_half_a_picture(saved: Any, kind: str, options: dict[str, Any]) -> None:
    path = saved(NOISE, kind, **options)
    whole, seen = path.read_bytes(), pixels(path)
    for length in np.linspace(20, len(whole) - 1, 25, dtype=int):
        path.write_bytes(whole[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                # What is missing may only be the mark of the end.
                assert (pixels(path) == seen).all()
            except Unreadable as error:
                assert str(error) in (f"it is cut off after {length:,} bytes", "it is damaged or cut off")
    path.write_bytes(whole[: len(whole) // 2])
    if kind in ("JPEG", "PNG", "GIF", "BMP"):
        assert reasons(path) == f"it is cut off after {len(whole) // 2:,} bytes"


def test_garbled_files_say_so(saved: Any) -> None:
    path = saved(NOISE)
    whole = path.read_bytes()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        garbled = np.frombuffer(whole, dtype=np.uint8).copy()
        garbled[rng.integers(8, 120, 6)] = rng.integers(0, 256, 6)
        path.write_bytes(garbled.tobytes())
        try:
            read(path)
        except Unreadable as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("action", ["ignore", "error"])
@pytest.mark.parametrize(
    ("width", "height", "said"),
    [(20_000, 10_000, "200"), (10_000, 10_000, "100"), (9_500, 9_500, "90"), (60_000, 60_000, "3,600")],
)
def test_decompression_bombs_are_refused(tmp_path: Path, width: int, height: int, said: str, action: Any) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert reasons(path) == f"it has {said} million pixels, which is more than 89 million"


def larger(path: Path, width: int, height: int) -> None:
    """Makes a JPEG say that it has another size."""
    content = bytearray(path.read_bytes())
    frame = max(content.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2"))
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    path.write_bytes(content)


@pytest.mark.filterwarnings("error")
def test_a_jpeg_of_too_many_pixels_is_read_at_a_fraction_of_its_size(saved: Any) -> None:
    size = (14_000, 13_000)  # 182 million, beyond the limit where Pillow refuses, too
    path = saved(Image.linear_gradient("L").resize(size, Image.Resampling.NEAREST), "JPEG", quality=50)
    half = read(path)
    assert half.size == (7000, 6500)
    assert np.abs(np.asarray(half)[::650, 0, 0] - np.arange(0, 255, 25.5)).max() <= 2
    small, found = shrunk(path, 40)
    assert (small.shape, found) == ((40, 43, 3), size)
    assert np.abs(small[:, 0, 0] - (np.arange(40) + 0.5) * 6.4).max() <= 4


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_jpeg_that_must_be_held_whole_has_a_limit(saved: Any, action: Any) -> None:
    one_by_one = bytes([0, 8, 1, 1, 0, 0, 63, 0])  # a scan of the first colour alone
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        path = saved(NOISE, "JPEG", progressive=True)
        larger(path, 60_000, 60_000)
        assert reasons(path) == "it has 3,600 million pixels, which is more than 178 million"
        path = saved(NOISE, "JPEG")
        larger(path, 20_000, 10_000)  # what is missing is grey, for the file has its mark of the end
        assert read(path).size == (10_000, 5000)
        content = path.read_bytes()
        scan = content.index(b"\xff\xda") + 2
        path.write_bytes(content[:scan] + one_by_one + content[scan + 12 :])
        assert reasons(path) == "it has 200 million pixels, which is more than 178 million"


def refusal(path: Path) -> str:
    for decode in (read, lambda path: shrunk(path, 16)):
        with pytest.raises(Refused) as caught:
            decode(path)
    return str(caught.value)


def test_memory_that_does_not_suffice_is_a_reason(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(NOISE)
    for error in (MemoryError(), OSError("out of memory error when reading image file")):
        monkeypatch.setattr(pictures, "_seen", _raises(error))
        assert refusal(path) == "it does not fit in memory"
    monkeypatch.undo()
    no_room = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    monkeypatch.setattr(torch.nn.functional, "interpolate", _raises(no_room))
    with pytest.raises(Refused, match="it does not fit in memory"):
        shrunk(path, 16)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ETIMEDOUT])
def test_what_the_system_refuses_is_told_from_what_is_wrong_with_the_file(
    saved: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = saved(NOISE)
    expected = (
        "there is no permission to read it" if number == errno.EACCES else f"cannot be opened: {os.strerror(number)}"
    )
    monkeypatch.setattr(pictures, "_seen", _raises(OSError(number, os.strerror(number))))
    assert expected in refusal(path)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "open", _raises(OSError(number, os.strerror(number))))
    assert expected in refusal(path)
    monkeypatch.undo()
    path.write_bytes(b"nonsense")
    with pytest.raises(Unreadable) as caught:
        read(path)
    assert not isinstance(caught.value, Refused)


def test_a_file_that_vanishes_meanwhile_is_not_there(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(NOISE)

    def vanished(*_: Any) -> None:
        path.unlink(missing_ok=True)
        raise ValueError("damaged")

    monkeypatch.setattr(pictures, "_seen", vanished)
    assert refusal(path) == "there is no such file"


def test_a_name_that_sounds_like_an_error_is_none(tmp_path: Path) -> None:
    path = tmp_path / "truncated out of memory.jpg"
    path.write_bytes(b"nonsense")
    with pytest.raises(Unreadable) as caught:
        read(path)
    assert (type(caught.value), str(caught.value)) == (Unreadable, "not a picture")


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "JPEG2000"])
def test_a_decoder_that_is_missing_is_named(saved: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind in ("AVIF", "WEBP") and not features.check(kind.lower()):
        pytest.skip(f"this Pillow has no {kind}")
    path = saved(NOISE, kind)
    if kind == "JPEG2000":
        missing = OSError("decoder jpeg2k not available")
        monkeypatch.setattr(pictures.Image, "_getdecoder", _raises(missing))
    else:
        monkeypatch.setattr(
            importlib.import_module(f"PIL.{kind.title()}ImagePlugin".replace("Webp", "WebP")), "SUPPORTED", False
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert reasons(path) == f"it is of the format {kind}, which this Pillow was built without"


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(struct.pack(">I4s4sI", 28, b"ftyp", b"mif1", 0) + b"mif1heicmiaf" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pictures._formats.cache_clear()
    assert reasons(path) == "it is a HEIC picture, for which the package pillow-heif is needed"

    class Stub:  # as the package does it, but that it sees red whatever the file
        __version__ = "1.0"

        @staticmethod
        def register_heif_opener(**_: Any) -> None:
            Image.OPEN["HEIF"] = (lambda file, name: Red(file), lambda start: start[4:8] == b"ftyp")

    class Red(ImageFile.ImageFile):
        def _open(self) -> None:
            self._size, self._mode, self.tile = (2, 3), "RGB", []

        def load(self) -> Any:
            self._im = Image.new("RGB", (2, 3), RED).im
            return Image.Image.load(self)

    monkeypatch.setitem(sys.modules, "pillow_heif", Stub)
    monkeypatch.setitem(Image.OPEN, "HEIF", None)
    pictures._formats.cache_clear()
    pictures.decoders.cache_clear()
    try:
        assert pixels(path).tolist() == [[[255, 0, 0]] * 2] * 3
        assert "pillow-heif 1.0" in pictures.decoders()
    finally:
        pictures._formats.cache_clear()
        pictures.decoders.cache_clear()


def _raises(error: Exception) -> Any:
    def refused(*_: Any, **__: Any) -> None:
        raise error

    return refused


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
def test_no_file_is_left_open(saved: Any) -> None:
    path = saved(NOISE, "WEBP")
    before = len(os.listdir("/proc/self/fd"))
    kept = [read(path) for _ in range(5)]
    path.write_bytes(path.read_bytes()[:100])
    for _ in kept:
        reasons(path)
    assert len(os.listdir("/proc/self/fd")) == before
