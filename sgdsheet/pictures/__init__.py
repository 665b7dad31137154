"""A picture file as people see it: turned upright, in sRGB, on white, its first frame. For lessons and the trainer."""

from __future__ import annotations

import errno
import functools
import importlib
import io
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import PIL
from PIL import Image, ImageCms, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile, jpeg_factory

from sgdsheet.files import why_no_file
from sgdsheet.pictures import deep

MAX_PIXELS = 178_956_970 // 2  # Pillow's limit, beyond which it warns

# Not all that Pillow opens: an EPS, however it is called, it would hand to Ghostscript, which runs what is in it.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")

TURNED = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(ValueError):  # noqa: N818 - it says what the file is
    """A file that cannot be decoded. The text is the reason, in a few words and without the path."""


class TooLarge(Unreadable):
    """It has more pixels than are decoded."""


class Refused(Unreadable):
    """The system kept a file from being read now, for want of a permission or of memory: the file may well be good."""


def read(source: Path | bytes, least: int | None = None) -> Image.Image:
    """The picture of a file or of its content, of mode RGB.

    It is the whole of it, but for a JPEG of very many pixels, of which each side is a fraction. With `least` the sides
    of a JPEG may be a half, a quarter or an eighth too, but no shorter than that. Raises `Unreadable`.
    """
    return read_with_size(source, least)[0]


def read_with_size(source: Path | bytes, least: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """As `read`, and the width and height that the whole picture has. Raises `Unreadable`."""
    with explained(source), _begun(source) as file:
        return _decoded(file, least)


def size_of(source: Path | bytes) -> tuple[int, int]:
    """The width and height that a picture's header says, before it is decoded or turned. Raises `Unreadable`."""
    with explained(source), _begun(source) as file, _opened(file) as image:
        return image.size


def _begun(source: Path | bytes) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if why := why_no_file(source):
        raise Unreadable(why)
    return source.open("rb")


def format_of(path: Path) -> str:
    """Returns the format of a picture by its content, as `JPEG`, without decoding it. Raises `Unreadable`."""
    with explained(path), path.open("rb") as file, _opened(file) as image:
        return image.format or ""


@contextmanager
def explained(source: Path | bytes) -> Iterator[None]:
    """Makes every error an `Unreadable` that gives the reason."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise _why(source, error) from None


def _decoded(file: IO[bytes], least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    with _opened(file) as image:
        written = image.size
        fraction = _fraction(image, file, least)
        if fraction > 1:
            image.draft("RGB", (image.width // fraction, image.height // fraction))
        deep.right_planes(image)
        drafted, tiles = image.size, image.tile
        image.load()
        # Pillow has turned a TIFF by now, and forgotten its orientation.
        size = image.size if drafted == written else written
        orientation = _orientation(image)
        picture = _seen(image, file, tiles)
        if orientation in TURNED:
            picture = picture.transpose(TURNED[orientation])
        return picture, size if orientation < 5 else size[::-1]


def _opened(file: IO[bytes]) -> ImageFile:
    """Pillow's picture, not yet decoded."""
    formats = _formats()
    begins = file.read(3)
    file.seek(0)
    if begins == b"\xff\xd8\xff":
        return jpeg_factory(file, "")  # `open` would count the pixels of the whole picture
    return Image.open(file, formats=formats)


def _fraction(image: Image.Image, file: IO[bytes], least: int | None) -> int:
    """1, or 2, 4 or 8 to decode so small a part of a JPEG's sides. Raises `Unreadable` if that is still too much."""
    pixels, limit, fraction = image.width * image.height, MAX_PIXELS, 1
    if isinstance(image, JpegImageFile):
        limit *= 2  # of one that is held whole while it is decoded, in 3 to 8 bytes a pixel
        enough = min(image.size) // least if least else 1
        fraction = next((each for each in (1, 2, 4) if 2 * each > enough and pixels <= each**2 * MAX_PIXELS), 8)
    if pixels > limit and not (fraction > 1 and _in_one_scan(file)):
        raise TooLarge(too_large(pixels, limit))
    return fraction


def _in_one_scan(file: IO[bytes]) -> bool:
    """Whether a JPEG is decoded from the top down: all its colours at once, and not progressively."""
    file.seek(2)
    colours = 0
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        content = file.read(struct.unpack(">H", head[2:])[0] - 2)
        if head[1] in (0xC0, 0xC1, 0xC9):  # a frame, sequential
            colours = content[5]
        if head[1] == 0xDA:  # the first scan
            return content[0] == colours
    return False


@functools.cache
def _formats() -> list[str]:
    Image.init()
    try:
        pillow_heif = importlib.import_module("pillow_heif")
        pillow_heif.register_heif_opener(thumbnails=False)
    except ImportError:
        pass
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache
def decoders() -> str:
    """What decodes: another Pillow, or one that was built otherwise, may read what this one cannot."""
    parts = [*features.get_supported_codecs(), *(name for name in ("webp", "avif") if _built_with(name))]
    heif = getattr(sys.modules.get("pillow_heif"), "__version__", None) if "HEIF" in _formats() else None
    return " ".join([f"Pillow {PIL.__version__}:", *parts, *([f"pillow-heif {heif}"] if heif else [])])


def _built_with(name: str) -> bool:
    return name in features.modules and features.check_module(name)


def _orientation(image: Image.Image) -> int:
    """As EXIF has it, 1 to 8; 1 is upright."""
    try:
        orientation = image.getexif().get(0x0112)
        return orientation if orientation in TURNED else 1
    except Exception:  # a picture whose EXIF is damaged is still a picture
        return 1


def _seen(image: Image.Image, file: IO[bytes], tiles: list[Any]) -> Image.Image:
    """The picture in RGB, as it would look on a white page."""
    profile = image.info.get("icc_profile")
    image = deep.grey(image, file, tiles) if image.mode.startswith(("I", "F")) else deep.colours(image, file, tiles)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    to_srgb = _to_srgb(profile, image.mode) if profile else None
    if to_srgb is not None:
        image = to_srgb.apply(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What brings colours of this profile to sRGB. None if they are there already, or if the profile is of no use."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(given):
            return None
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.ImageCmsTransform(given, srgb, mode, "RGBA" if mode == "RGBA" else "RGB")
    except Exception:  # damaged, or of other colours than the picture: then the picture is taken as it stands
        return None


def _why(source: Path | bytes, error: Exception) -> Unreadable:
    said = "" if isinstance(error, UnidentifiedImageError) else str(error).lower()  # that one names the file
    if isinstance(error, MemoryError) or "memory" in said:
        return Refused("it does not fit in memory")
    if isinstance(error, OSError) and error.errno:
        known = {errno.ENOENT: "there is no such file", errno.EACCES: "there is no permission to read it"}
        return Refused(known.get(error.errno) or f"it cannot be opened: {error.strerror}")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        pixels = re.search(r"\d+", said)
        return TooLarge(too_large(int(pixels[0]) if pixels else 2 * MAX_PIXELS, MAX_PIXELS))
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with _begun(source) as file:
            start = file.read(64)
    except OSError as gone:
        return _why(source, gone)
    if not size:
        return Unreadable("the file is empty")
    if "truncated" in said or isinstance(error, EOFError):
        return Unreadable(f"it is cut off after {size:,} bytes")
    return Unreadable(_not_read(start, said))


def _not_read(start: bytes, said: str) -> str:
    """Why Pillow reads nothing in a file that begins so."""
    brands = start[8:] if start[4:8] == b"ftyp" else b""
    if re.search(b"hei[cxms]|hev[cxms]", brands) and "HEIF" not in _formats():
        return "it is a HEIC picture, for which the package pillow-heif is needed"
    accepts = {name: Image.OPEN[name][1] for name in _formats()}
    begins = {name: accept(start[:16].ljust(16)) for name, accept in accepts.items() if accept}
    named = next((name for name, as_one in begins.items() if as_one), "AVIF" if b"avif" in brands else None)
    if named and (begins.get(named) is not True or re.search("(decoder|codec).* not available", said)):
        return f"it is of the format {named}, which this Pillow was built without"
    return "it is damaged or cut off" if named else "not a picture"


def too_large(pixels: int, limit: int) -> str:
    """What is said of a picture of more pixels than the limit."""
    return f"it has {pixels / 1e6:,.0f} million pixels, which is more than {limit // 10**6} million"
