"""A picture file as people see it: turned upright, in sRGB, on white, its first frame."""

from __future__ import annotations

import errno
import functools
import io
import re
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageCms, features

MAX_PIXELS = 178_956_970 // 2  # Pillow's limit, beyond which it warns
LONGEST = 4  # times its short side, of a stored picture; one that is longer is squashed to that

# Not all that Pillow opens: for an EPS it would start Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")

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


class Refused(Unreadable):
    """The system kept a file from being read now, for want of a permission or of memory: the file may well be good."""


def read(path: Path) -> Image.Image:
    """The whole picture, of mode RGB. Raises `Unreadable`."""
    return _decoded(path, None)[0]


def shape_for(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The height and width at which a picture of this width and height is stored.

    Its short side is `side`, and the long one in proportion up to `LONGEST` times that.
    """
    short = min(size)
    width, height = (min(round(each / short * side), LONGEST * side) for each in size)
    return height, width


def shrunk(path: Path, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The whole picture with a short side of `side` pixels, uint8 (height, width, 3), and its own width and height.

    What is longer than `LONGEST` times its short side is squashed to that; what is smaller is enlarged. Raises
    `Unreadable`.
    """
    # A JPEG is decoded faster at a fraction of its size; twice the side that is asked for loses nothing that shows.
    picture, size = _decoded(path, 2 * side)
    height, width = shape_for(size, side)
    factors = max(1, picture.width // (4 * width)), max(1, picture.height // (4 * height))
    pixels = np.array(picture.reduce(factors) if max(factors) > 1 else picture)
    # The same as Pillow's `resize`, in a third of its time.
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(2, 0, 1)[None], (height, width), mode="bicubic", antialias=True
    )
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy()), size


def _decoded(path: Path, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, its sides no shorter than `least` if it was longer and could be had faster; and its real size."""
    try:
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(_too_large(image.width * image.height))
            written = image.size
            if least:
                image.draft("RGB", (least, least))
            drafted = image.size
            image.load()
            # Pillow has turned a TIFF by now, and forgotten its orientation.
            size = image.size if drafted == written else written
            orientation = _orientation(image)
            picture = _seen(image)
            if orientation in TURNED:
                picture = picture.transpose(TURNED[orientation])
            return picture, size if orientation < 5 else size[::-1]
    except Unreadable:
        raise
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        refused = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno)
        raise (Refused if refused else Unreadable)(_reason(path, error)) from None


@functools.cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache
def decoders() -> str:
    """Pillow's version and what it was built with: another one may read what this one cannot."""
    return " ".join([f"Pillow {PIL.__version__}", *features.get_supported_codecs(), *features.get_supported_modules()])


def _orientation(image: Image.Image) -> int:
    """As EXIF has it, 1 to 8; 1 is upright."""
    try:
        orientation = image.getexif().get(0x0112)
        return orientation if orientation in TURNED else 1
    except Exception:  # a picture whose EXIF is damaged is still a picture
        return 1


def _seen(image: Image.Image) -> Image.Image:
    """The picture in RGB, as it would look on a white page."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    to_srgb = _to_srgb(profile, image.mode) if profile else None
    if to_srgb is not None:
        image = to_srgb.apply(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits or of real numbers, in 8 bits: white is the largest number of its kind."""
    values = np.asarray(image, dtype=np.float64)
    values = np.where(np.isfinite(values), values, 0)
    largest = values.max()
    kinds = (1, 255, 2**16 - 1) if image.mode == "F" else (2**16 - 1, 2**31 - 1)
    white = next((kind for kind in kinds if largest <= kind), largest)
    return Image.fromarray(np.rint(values.clip(0) / white * 255).astype(np.uint8))


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


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        pixels = re.search(r"\d+", str(error))
        return _too_large(int(pixels[0]) if pixels else 2 * MAX_PIXELS)
    if isinstance(error, MemoryError):
        return "it does not fit in memory"
    if isinstance(error, OSError) and error.errno:
        known = {errno.ENOENT: "there is no such file", errno.EACCES: "there is no permission to read it"}
        return known.get(error.errno) or f"it cannot be opened: {error.strerror}"
    size = path.stat().st_size
    if not size:
        return "the file is empty"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return f"it is cut off after {size:,} bytes"
    with path.open("rb") as file:
        start = file.read(16).ljust(16)
    accepts = [Image.OPEN[name][1] for name in _formats()]
    begins_as_one = any(accept(start) is True for accept in accepts if accept)
    return "it is damaged or cut off" if begins_as_one else "not a picture"


def _too_large(pixels: int) -> str:
    return f"it has {pixels / 1e6:,.0f} million pixels, which is more than {MAX_PIXELS // 10**6} million"
