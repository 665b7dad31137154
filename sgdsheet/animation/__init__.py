"""`sgdsheet.animate`: the run in a workbook as a moving picture, drawn from the workbook's own values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgdsheet import book, verification
from sgdsheet.errors import Error, require

SECONDS, FPS, SIZE = 6.0, 20, 800
KINDS = (".gif", ".mp4")


def animate(path: str | Path, out: str | Path, *, seconds: float = SECONDS, fps: int = FPS, size: int = SIZE) -> Path:
    """Draws the run in a workbook as it stands there now: another learning rate typed into it is another film.

    The line that moves to its points beside the way over the loss (`linear_sgd`, `lesson2_sgd`, `minibatch`), the
    optimisers' race (`optimizers`), curves that bend to their points (`learning_rate`), and the loss of each step of
    `relu_net`, `overfitting`, `cnn_training`, compiled models, lessons with a block `loss`, replays, and of what
    `sgdsheet train` has trained; for a compiled model that sees the same examples in every step, also what becomes of
    its answers. Where a run leaves the picture, or float64, the title says so.

    Arguments:
      path: a workbook that sgdsheet made. It is recalculated, and stays as it is.
      out: the film to write, `.gif` or, where ffmpeg is installed, `.mp4`. It is written whole or not at all.
      seconds: how long it takes, 2 to 10; the last picture stays for a third of them, at most for 2 seconds.
      fps: pictures a second, 2 to 50.
      size: its width in pixels, 320 to 1600; it is half as high.

    Returns the path written. Raises `Error` for a workbook without a run to draw, with those that have one, and as
    `sgdsheet.read` does; and where matplotlib is missing, or ffmpeg for a film that needs it.
    """
    require(seconds, "seconds", 2, 10)
    require(fps, "fps", 2, 50, whole=True)
    require(size, "size", 320, 1600, whole=True)
    path, out = Path(path), Path(out)
    if out.suffix.lower() not in KINDS:
        raise Error(f"{out}: expected a name that ends with .gif or .mp4")
    from sgdsheet.animation import film

    film.require_writer(out)
    scene = _scene(path, book.read(path).lesson, verification.read(path))
    film.write(scene, out, seconds, fps, size)
    return out


def _scene(path: Path, lesson: str, values: Any) -> Any:
    from sgdsheet.animation import curves, descent
    from sgdsheet.training import record

    trained = [loss for run in record.read(path) for loss in run.losses]
    scene = descent.scene(lesson, values) or curves.scene(lesson, values, trained)
    if scene is None:
        raise Error(
            f"{path}: there is no training in it to draw; linear_sgd, lesson2_sgd, minibatch, optimizers, "
            "learning_rate, relu_net, overfitting, cnn_training, compiled models of two steps or more, replays, and "
            "workbooks that sgdsheet train has trained have one"
        )
    return scene
