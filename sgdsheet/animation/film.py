"""From a scene to a file: its pictures one after the other, as a GIF or an mp4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.book.style import LINES
from sgdsheet.errors import Error, one_line
from sgdsheet.files import replacing

if TYPE_CHECKING:
    from PIL import Image

# Puts the axes into a figure; what it returns draws the run up to a share of it, 0 to 1. What moves is `animated`.
Scene = Callable[[Any], Callable[[float], None]]

COLORS = tuple(f"#{color}" for color in LINES)
GREY, DARK = "#8C8C8C", "#333333"
HOLD = 2.0  # seconds at most for which the last picture stays
WIDTH, HEIGHT = 8.0, 4.0  # inches: text keeps its share of the picture whatever the size
SHADES = 96  # colours of a GIF: few enough to be small, enough for smooth edges


def require_writer(out: Path) -> None:
    """Raises `Error` if what draws this kind of film is not installed, before anything is computed."""
    try:
        from matplotlib.animation import FFMpegWriter
    except ImportError:
        raise Error("a film needs matplotlib; pip install 'sgdsheet[animate]' brings it") from None
    if out.suffix.lower() == ".mp4" and not FFMpegWriter.isAvailable():
        raise Error(f"{out}: an mp4 needs ffmpeg, which is not on this machine's path; install it, or write a .gif")


def write(scene: Scene, out: Path, seconds: float, fps: int, size: int) -> None:
    """Writes the film of a scene: it moves, and then its last picture stays."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    hold = min(HOLD, seconds / 3)
    moving = max(2, round((seconds - hold) * fps))
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=size / WIDTH, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    draw = scene(figure)
    figure.draw_without_rendering()  # which finds the room that each part takes; it is not to change from then on
    figure.set_layout_engine("none")

    def pictures() -> Iterator[Image.Image]:
        canvas.draw()  # what stands still, once: it takes most of the time
        still = canvas.copy_from_bbox(figure.bbox)
        moves = sorted(figure.findobj(lambda each: each.get_animated()), key=lambda each: each.get_zorder())
        for number in range(moving):
            draw(number / (moving - 1))
            canvas.restore_region(still)
            for each in moves:
                figure.draw_artist(each)
            yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    with replacing(out) as temporary:
        if out.suffix.lower() == ".mp4":
            _mp4(figure, pictures(), temporary, fps, math.ceil(hold * fps))
        else:
            _gif(list(pictures()), temporary, fps, hold)


def _gif(pictures: list[Image.Image], path: Path, fps: int, hold: float) -> None:
    """One palette for all pictures and no dithering: what does not move costs nothing then."""
    from PIL import Image

    some = [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
    sample = Image.fromarray(np.concatenate([np.asarray(each) for each in some]))
    palette = sample.quantize(SHADES, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colors = np.array(palette.getpalette()).reshape(-1, 3)
    colors[colors[:SHADES].sum(1).argmax()] = 255  # the white of the paper, which is mixed with what is nearly white
    palette.putpalette(colors.ravel().tolist())
    reduced = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
    begins = [round(100 * number / fps) for number in range(len(pictures))]  # a GIF counts hundredths of a second
    lasts = [10 * (end - begin) for begin, end in pairwise(begins)]
    reduced[0].save(
        path,
        "GIF",
        save_all=True,
        append_images=reduced[1:],
        duration=[*lasts, round(1000 * hold)],
        loop=0,
    )


def _mp4(figure: Any, pictures: Iterator[Any], path: Path, fps: int, more: int) -> None:
    from matplotlib.animation import FFMpegWriter

    # The name of a file half-written does not say what it is; an odd height has no room for yuv420p.
    form = ["-f", "mp4", "-pix_fmt", "yuv420p", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"]
    writer = FFMpegWriter(fps=fps, extra_args=form)
    try:
        with writer.saving(figure, str(path), figure.dpi):
            for _ in pictures:
                writer.grab_frame()
            for _ in range(more):
                writer.grab_frame()
    except (OSError, RuntimeError, ValueError) as error:
        raise Error(f"ffmpeg did not write the film: {one_line(error)}") from None
    except Exception as error:  # a CalledProcessError has what ffmpeg printed
        said = getattr(error, "stderr", None) or error
        raise Error(f"ffmpeg did not write the film: {one_line(said)}") from None


def headline(figure: Any) -> Any:
    """The line above all, whose text changes."""
    return figure.suptitle(" ", fontsize=11, fontweight="bold", x=0.01, ha="left", parse_math=False, animated=True)


def plain(axes: Any, title: str = "", across: str = "", up: str = "") -> Any:
    """The look that all axes share."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color=GREY)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.set_title(title, fontsize=10, loc="left")
    return axes
