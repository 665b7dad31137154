"""Odd pictures come out as people see them; what cannot be decoded says why."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from trainer.data import pictures
from trainer.data.pictures import Unreadable, read, shrunk

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
    # A dark picture stays dark: white is the largest number of 16 bits, not of the picture.
    assert pixels(saved(Image.fromarray(values[:, :3]), kind))[0, :, 1].tolist() == [0, 1, 50]


def test_whole_and_real_numbers_of_32_bits(saved: Any) -> None:
    whole = np.array([[-5, 0, 32_896, 65_535]], dtype=np.int32)
    assert pixels(saved(Image.fromarray(whole), "TIFF"))[0, :, 2].tolist() == [0, 0, 128, 255]
    large = np.array([[0, 2**30, 2**31 - 1]], dtype=np.int32)
    assert pixels(saved(Image.fromarray(large), "TIFF"))[0, :, 2].tolist() == [0, 128, 255]
    for white in (1, 255, 65_535, 1e9):
        real = np.array([[0, 0.2 * white, white]], dtype=np.float32)
        assert pixels(saved(Image.fromarray(real), "TIFF"))[0, :, 2].tolist() == [0, 51, 255], white
    odd = np.array([[np.nan, np.inf, -1, 0.2, 1]], dtype=np.float32)
    assert pixels(saved(Image.fromarray(odd), "TIFF"))[0, :, 2].tolist() == [0, 0, 0, 51, 255]


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 65_535, 32_896, 0, 257, 12_850, 65_535)
    path = tmp_path / "deep.png"
    path.write_bytes(png(2, 1, depth=16, colour=2, data=rows))
    assert pixels(path)[0].tolist() == [[255, 128, 0], [1, 50, 255]]


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

    monkeypatch.setattr(pictures.Image, "open", refused)
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


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    """A PNG by the book, which may say that it is larger than it is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


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


def test_memory_that_does_not_suffice_is_a_reason(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    path = saved(NOISE)
    monkeypatch.setattr(pictures, "_seen", full)
    assert reasons(path) == "it does not fit in memory"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
def test_no_file_is_left_open(saved: Any) -> None:
    path = saved(NOISE, "WEBP")
    before = len(os.listdir("/proc/self/fd"))
    kept = [read(path) for _ in range(5)]
    path.write_bytes(path.read_bytes()[:100])
    for _ in kept:
        reasons(path)
    assert len(os.listdir("/proc/self/fd")) == before
