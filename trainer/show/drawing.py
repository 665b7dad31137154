"""Pictures drawn with Pillow alone: a grid of pictures with captions, and a confusion matrix."""

from __future__ import annotations

import functools
import io
import math
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.files import put
from trainer.show.text import plain

if TYPE_CHECKING:
    from PIL import Image

GAP = 10  # pixels between pictures, and around all of them
DARK, GREY, LINE = (33, 37, 41), (95, 99, 104), (218, 220, 224)
PALE, DEEP = np.array((255, 255, 255)), np.array((8, 60, 125))  # from none of a class to all of it
WIDEST = 2500  # pixels, of a confusion matrix
# Pillow's own font has ASCII only. The first comes with matplotlib too; the last ones have Chinese and Japanese.
FONTS = (
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "Arial.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "wqy-zenhei.ttc",
)


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
    size = max(11, side // 14)
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


def opened(open_picture: Callable[[str], Image.Image], name: str, side: int) -> Image.Image:
    """The picture of a name, or a grey one with the reason why there is none where OSError or ValueError is raised."""
    from PIL import Image, ImageDraw

    try:
        return open_picture(name)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
    size = max(11, side // 14)
    grey = Image.new("RGB", (side, side), (225, 228, 232))
    draw = ImageDraw.Draw(grey)
    lines = textwrap.wrap(f"cannot be read: {plain(said)}", max(8, int(1.6 * side / size)))[:4]
    for row, line in enumerate(lines):
        text, font = _shortened(line, side - 8, size)
        draw.text((side / 2, side / 2 + (row - len(lines) / 2) * 1.35 * size), text, GREY, font, anchor="ma")
    return grey


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


def fits(classes: int, largest: int) -> bool:
    """Whether a confusion matrix of so many classes, with counts up to `largest`, is no wider than `WIDEST`."""
    size, cell = _cell(classes, largest)
    return 12 * size + classes * cell + 80 <= WIDEST


def _cell(columns: int, largest: int) -> tuple[int, int]:
    """The size of the letters of a matrix of so many columns, and the side of its cells, in pixels."""
    size = 15 if columns <= 12 else 12 if columns <= 45 else 9
    digits = math.ceil(_font(size).getlength(str(largest)))
    return size, max(46 if columns <= 12 else round(2.1 * size), digits + (8 if columns <= 45 else 4))


def confusion_picture(
    counts: np.ndarray, actual: Sequence[str], predicted: Sequence[str] | None = None, caption: str = ""
) -> Image.Image:
    """A confusion matrix, `counts[actual, predicted]`: the darker a cell, the larger its share of its row.

    `actual` and `predicted` name its rows and columns (the same ones without `predicted`), `caption` stands above it.
    """
    from PIL import Image, ImageDraw

    predicted = actual if predicted is None else predicted
    down, across = counts.shape
    size, cell = _cell(across, int(counts.max()))
    digits = _font(size)
    beside = [_shortened(name, 12 * size, size) for name in actual]
    below = [_shortened(name, 12 * size, size) for name in predicted]
    longest, deepest = (math.ceil(max(font.getlength(text) for text, font in names)) for names in (beside, below))
    left, top = 16 + size + 14 + longest + 8, 16 + (2 * size + 8 if caption else 0)
    end = left + across * cell, top + down * cell
    words, font = _shortened(caption, WIDEST - 32, size + 2)
    width = max(end[0] + 16, left + 160, math.ceil(font.getlength(words)) + 32)
    whole = Image.new("RGB", (width, end[1] + 8 + deepest + 14 + size + 16), "white")
    draw = ImageDraw.Draw(whole)
    draw.text((16, 14), words, DARK, font, anchor="la")

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for row, column in np.ndindex(down, across):
        x, y, share = left + column * cell, top + row * cell, shares[row, column]
        # The smallest share that there is must still be seen.
        shade = PALE + (DEEP - PALE) * (0.08 + 0.92 * share if share else 0)
        draw.rectangle((x, y, x + cell, y + cell), fill=tuple(shade.round().astype(int).tolist()), outline=LINE)
        if share:
            color = "white" if share > 0.45 else DARK
            draw.text((x + cell / 2, y + cell / 2), str(counts[row, column]), color, digits, anchor="mm")
    for number, (text, font) in enumerate(beside):
        draw.text((left - 8, top + (number + 0.5) * cell), text, DARK, font, anchor="rm")
    for number, (text, font) in enumerate(below):
        middle = left + (number + 0.5) * cell
        _upward(whole, text, font, DARK, lambda w, h, x=middle: (round(x - w / 2), end[1] + 8))
    draw.text(((left + end[0]) / 2, whole.height - 16), "predicted", GREY, digits, anchor="ms")
    _upward(whole, "actual", digits, GREY, lambda w, h: (14, round((top + end[1] - h) / 2)))
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
    text = plain(text)
    font = _font(size)
    if not text.isascii():
        text, font = _legible(text, size)
    if font.getlength(text) <= width:
        return text, font
    for kept in range(len(text) - 1, 0, -1):
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width:
            return short, font
    return "…", font


def _legible(text: str, size: int) -> tuple[str, Any]:
    """The text, and the font that has most of its letters; what that lacks is `?`, or the letter without its accent."""
    lacking = {font: [each for each in set(text) if not _has(font, each)] for font in (*_fonts(size), _font(size))}
    font = min(lacking, key=lambda each: len(lacking[each]))
    return "".join(_bare(each) if each in lacking[font] else each for each in text), font


def _bare(letter: str) -> str:
    plain = [each for each in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(each)]
    return "".join(each if each.isascii() else "?" for each in plain)


def _has(font: Any, letter: str) -> bool:
    """Whether a font draws something else for a letter than for one that no font has."""
    return letter.isascii() or bytes(font.getmask(letter)) != bytes(font.getmask("\U0010fffe"))


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


@functools.cache
def _fonts(size: int) -> list[Any]:
    """The fonts of this machine with letters beyond ASCII, as far as they are known here."""
    from PIL import ImageFont

    found = []
    plots = find_spec("matplotlib")
    brought = [str(Path(plots.origin).parent / "mpl-data/fonts/ttf" / FONTS[0])] if plots and plots.origin else []
    for name in (*brought, *FONTS):
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found
