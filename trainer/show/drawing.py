"""Pictures drawn with Pillow alone: a grid of pictures with captions, and a confusion matrix."""

from __future__ import annotations

import functools
import io
import math
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.errors import Error
from trainer.files import put

if TYPE_CHECKING:
    from PIL import Image

GAP = 10  # pixels between pictures, and around all of them
DARK, GREY, LINE = (33, 37, 41), (95, 99, 104), (218, 220, 224)
PALE, DEEP = np.array((255, 255, 255)), np.array((8, 60, 125))  # from none of a class to all of it
# Pillow's own font has ASCII only; one of these is on most machines.
FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf", "NotoSans-Regular.ttf")


def grid(
    pictures: Sequence[Image.Image], captions: Sequence[str], columns: int | None = None, side: int = 160
) -> Image.Image:
    """Pictures side by side and below each other, each whole within `side` by `side` pixels, its caption below.

    A caption may have several lines; what is wider than the picture loses its middle. Without `columns` there are about
    as many as rows. Raises `Error` if there is no picture, or not one caption for each.
    """
    from PIL import Image, ImageDraw

    if not pictures or len(pictures) != len(captions):
        raise Error(f"a grid takes pictures with a caption each, got {len(pictures)} and {len(captions)}")
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    size = max(11, side // 12)
    texts = [caption.splitlines() for caption in captions]
    across, down = side + GAP, side + GAP + 4 + max(map(len, texts)) * round(1.35 * size)
    whole = Image.new("RGB", (GAP + columns * across, GAP + math.ceil(len(pictures) / columns) * down), "white")
    draw = ImageDraw.Draw(whole)
    for number, (picture, lines) in enumerate(zip(pictures, texts, strict=True)):
        left, top = GAP + number % columns * across, GAP + number // columns * down
        draw.rectangle((left, top, left + side - 1, top + side - 1), fill=(245, 246, 247))
        fitted = _fitted(picture, side)
        place = left + (side - fitted.width) // 2, top + (side - fitted.height) // 2
        whole.paste(fitted, place, fitted)
        for row, line in enumerate(lines):
            text, font = _shortened(line, side, size)
            below = top + side + 4 + row * round(1.35 * size)
            draw.text((left + side / 2, below), text, DARK if row == 0 else GREY, font, anchor="ma")
    return whole


def save(picture: Image.Image, path: Path) -> None:
    """Writes a picture as PNG, whole or not at all. Raises `Error` where that cannot be."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    put(path, buffer.getvalue())


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture in RGBA, its longer side as long as `side`."""
    from PIL import Image

    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    # A tiny picture, a digit of 8 x 8, is to be seen as the pixels that it is.
    method = Image.Resampling.NEAREST if scale >= 4 else Image.Resampling.LANCZOS
    return picture.convert("RGBA").resize(size, method)


def confusion_picture(counts: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """A confusion matrix, `counts[actual, predicted]`: the darker a cell, the larger its share of its row."""
    from PIL import Image, ImageDraw

    count = len(classes)
    size = 15 if count <= 12 else 12 if count <= 45 else 9
    digits, digits_font = _shortened(str(counts.max()), 10**6, size)
    cell = max(round(2.1 * size) if count > 12 else 46, round(digits_font.getlength(digits)) + 8)
    names = [_shortened(name, 12 * size, size) for name in classes]
    longest = math.ceil(max(font.getlength(text) for text, font in names))
    left, top = 16 + size + 14 + longest + 8, 16
    end = left + count * cell, top + count * cell
    title = "predicted"
    width = max(end[0] + 16, left + 160)
    whole = Image.new("RGB", (width, end[1] + 8 + longest + 14 + size + 16), "white")
    draw = ImageDraw.Draw(whole)

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for actual, predicted in np.ndindex(count, count):
        x, y, share = left + predicted * cell, top + actual * cell, shares[actual, predicted]
        # The smallest share that there is must still be seen.
        shade = PALE + (DEEP - PALE) * (0.08 + 0.92 * share if share else 0)
        draw.rectangle((x, y, x + cell, y + cell), fill=tuple(shade.round().astype(int).tolist()), outline=LINE)
        if share:
            color = "white" if share > 0.45 else DARK
            text = str(counts[actual, predicted])
            draw.text((x + cell / 2, y + cell / 2), text, color, digits_font, anchor="mm")
    for number, (text, font) in enumerate(names):
        middle = (number + 0.5) * cell
        draw.text((left - 8, top + middle), text, DARK, font, anchor="rm")
        _upward(whole, text, font, DARK, lambda w, h, x=left + middle: (round(x - w / 2), end[1] + 8))
    font = _font(size)
    draw.text(((left + end[0]) / 2, whole.height - 16), title, GREY, font, anchor="ms")
    _upward(whole, "actual", font, GREY, lambda w, h: (14, round((top + end[1] - h) / 2)))
    return whole


def _upward(
    whole: Image.Image, text: str, font: Any, color: tuple[int, int, int], place: Callable[[int, int], tuple[int, int]]
) -> None:
    """Writes a text that runs upward; `place` gives its upper left corner from its width and height."""
    from PIL import Image, ImageDraw

    ascent, descent = font.getmetrics()
    strip = Image.new("L", (math.ceil(font.getlength(text)) + 2, ascent + descent))
    ImageDraw.Draw(strip).text((1, 0), text, 255, font)
    strip = strip.transpose(Image.Transpose.ROTATE_90)
    whole.paste(color, place(*strip.size), strip)


def _shortened(text: str, width: float, size: int) -> tuple[str, Any]:
    """The text without its middle if it is wider than so many pixels, and the font to write it with."""
    text = " ".join(text.split())
    font = _font(size)
    if not text.isascii():
        found = _wide_font(size)
        font = found or font
        if not found:
            plain = [each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each)]
            text = "".join(each if each.isascii() else "?" for each in plain)
    if font.getlength(text) <= width:
        return text, font
    for kept in range(len(text) - 1, 0, -1):
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width:
            return short, font
    return "…", font


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


@functools.cache
def _wide_font(size: int) -> Any:
    """A font of this machine with letters beyond ASCII; None if it has none that is known here."""
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None
