"""Small pictures for a page, made when they are asked for."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image

from sgdsheet.pictures import read

HELD = 64_000_000  # bytes of small pictures in memory, some 5,000
AT_ONCE = 2  # pictures that are decoded at the same time: a large one takes some 300 MB


class Thumbnails:
    """JPEGs of pictures, upright, the longer side at most so many pixels; those asked for last stay in memory."""

    def __init__(self, held: int = HELD) -> None:
        self._most, self._held = held, 0
        self._made: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._lock, self._decoding = threading.Lock(), threading.Semaphore(AT_ONCE)

    def jpeg(self, path: Path, side: int) -> bytes:
        """The file's content. Raises `Unreadable` (of `sgdsheet.pictures`) for a picture that cannot be decoded."""
        with self._lock:
            if (path, side) in self._made:
                self._made.move_to_end((path, side))
                return self._made[path, side]
        with self._decoding:
            made = _jpeg(path, side)
        with self._lock:
            if (path, side) not in self._made:
                self._made[path, side] = made
                self._held += len(made)
            while self._held > self._most:
                self._held -= len(self._made.popitem(last=False)[1])
        return made


def _jpeg(path: Path, side: int) -> bytes:
    picture, file = read(path, side), io.BytesIO()
    scale = side / max(picture.size)
    if scale < 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
