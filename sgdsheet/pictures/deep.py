"""Pictures of more than eight bits a colour, in eight.

Sixteen bits often hold numbers of ten, twelve or fourteen, as cameras and detectors give them, and nothing in the file
says so. So white is the least of 255, 1,023, 4,095, 16,383, 65,535 and so on, by four, that is not below the picture's
largest number nor below what its header says: a PNG's significant bits (sBIT), a TIFF's BitsPerSample and
MaxSampleValue, a PGM's largest number, the precision of a JPEG 2000. A picture loses two bits at most by that. What is
below 0 is black. In real numbers white is 1 if none is above 2, beyond 65,535 it is the largest.

A PNG's or TIFF's colours of 16 bits are handled likewise. Pillow gives the higher byte of each alone, which would leave
little of numbers of twelve bits; so the lower byte is read as well where the higher ones are small. It is not for grey
with transparency, nor for a TIFF's compressed planes, PPM and JPEG 2000.
"""

from __future__ import annotations

import re
import struct
import sys
from contextlib import suppress
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

SIXTEEN = re.compile(r"(?:RGB[AX]?|[RGBA]);16([BLN])")  # how Pillow names colours of 16 bits, and the order of bytes
OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def grey(image: Image.Image, file: IO[bytes], tiles: list[Any]) -> Image.Image:
    """A loaded grey picture of whole numbers of 16 or 32 bits or of real numbers (modes I, I;16, F), of mode L.

    `file` is where it was read from, `tiles` what Pillow said of its parts before it was loaded.
    """
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if values.dtype == np.int32 and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,):
        values = values.view(np.uint32)  # a TIFF's numbers without a sign
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
        white = _white_of_real(float(values.max()))
    else:
        white = min(_white(int(values.max()), _said(image, file, tiles)), np.iinfo(values.dtype).max)
    eight = _eight(values, white)
    if image.mode.startswith("I;16") and tags.get(262) == 0:
        eight = 255 - eight  # white is zero, which Pillow sees to for 8 bits only
    if isinstance(clear := image.info.get("transparency"), int):
        eight[values == clear] = 255
    return Image.fromarray(eight)


def colours(image: Image.Image, file: IO[bytes], tiles: list[Any]) -> Image.Image:
    """A loaded picture of mode RGB or RGBA, as it is unless it has 16 bits a colour, all small numbers."""
    named = [_raw_mode(tile) for tile in tiles]
    if image.mode not in ("RGB", "RGBA") or not named or not all(map(SIXTEEN.fullmatch, named)):
        return image
    high = np.asarray(image)
    if high[..., :3].max() >= 64:
        return image
    with Image.open(file, formats=[image.format or ""]) as again:
        right_planes(again)
        again.tile = [_swapped(tile) for tile in again.tile]
        values = high.astype(np.uint16) << 8 | np.asarray(again)
    said = _said(image, file, tiles)
    parts = [values[..., :3], values[..., 3:]]
    return Image.fromarray(
        np.concatenate([_eight(part, _white(int(part.max()), said)) for part in parts if part.size], axis=2)
    )


def right_planes(image: ImageFile) -> None:
    """Before a TIFF is loaded: makes Pillow take its planes for what they are, of 16 bits and not of 8."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(284) == 2 and set(tags.get(258, ())) == {16} and all(tile[0] == "raw" for tile in image.tile):
        order = "L" if tags.prefix == b"II" else "B"
        image.tile = [
            _with_raw_mode(tile, f"{name};16{order}") if len(name := _raw_mode(tile)) == 1 else tile
            for tile in image.tile
        ]


def _eight(values: np.ndarray, white: float) -> np.ndarray:
    shares = np.clip(values, 0, white).astype(np.float32) * np.float32(255 / white)
    return np.rint(shares).astype(np.uint8)


def _white(largest: int, said: int) -> int:
    return next(white for white in (4**power - 1 for power in range(4, 17)) if max(largest, said) <= white)


def _white_of_real(largest: float) -> float:
    if largest <= 2:
        return 1.0
    return float(_white(int(np.ceil(largest)), 0)) if largest <= 2**16 - 1 else largest


def _said(image: Image.Image, file: IO[bytes], tiles: list[Any]) -> int:
    """The largest number that there could be as the header has it, 0 if it does not say."""
    said = 0
    with suppress(Exception):  # a damaged header says nothing
        if image.format == "TIFF":
            tags = getattr(image, "tag_v2", {})
            bits = int(np.max(tags[258]))
            said = max(int(np.max(tags.get(281, 0))), 2**bits - 1 if bits < 16 else 0)
        elif image.format == "PNG":
            said = 2 ** max(_significant_bits(file)) - 1
        elif image.format == "PPM" and tiles[0][0] != "raw" and tiles[0][3][-1] < 2**16 - 1:
            said = 2**16 - 1  # Pillow has multiplied what has another largest number
        elif image.format == "JPEG2000" and _precision(file) < 16:
            said = 2**16 - 1  # and shifted these
    return said if said < 2**32 else 0


def _significant_bits(file: IO[bytes]) -> bytes:
    """Of each colour of a PNG; nothing if it does not say."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = struct.unpack(">I", head[:4])[0]
        if head[4:] == b"sBIT":
            return file.read(length)
        file.seek(length + 4, 1)
    return b""


def _precision(file: IO[bytes]) -> int:
    """A JPEG 2000's bits of its first colour."""
    file.seek(0)
    head = file.read(1 << 16)
    return (head[head.index(b"\xff\x4f\xff\x51") + 42] & 127) + 1


def _raw_mode(tile: Any) -> str:
    args = tile[3]
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _swapped(tile: Any) -> Any:
    """The same part with its bytes in the other order, so that Pillow takes the lower ones for the higher."""
    mode = _raw_mode(tile)
    return _with_raw_mode(tile, mode[:-1] + OTHER[mode[-1]])


def _with_raw_mode(tile: Any, mode: str) -> Any:
    args = mode if isinstance(tile[3], str) else (mode, *tile[3][1:])
    return getattr(type(tile), "_make", tuple)((*tile[:3], args))
