"""A TensorBoard log of a training, where TensorBoard is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sgdsheet.errors import Error

# Called after an epoch with its row of the history and with its steps (n, 3): learning rate, momentum, loss.
Logged = Callable[[Mapping[str, float], np.ndarray], None]


@contextmanager
def tensorboard(folder: Path | None, begun: int) -> Iterator[Logged]:
    """Writes to a folder, after `begun` steps; what an earlier run wrote there of later ones does not count.

    Without a folder, or without TensorBoard, nothing is written. Raises `Error` where the folder cannot be written to.
    """
    try:
        if folder is None:
            raise ImportError
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda row, steps: None
        return
    done = begun

    def log(row: Mapping[str, float], steps: np.ndarray) -> None:
        nonlocal done
        with _writing(folder):
            for rate, momentum, loss in steps.tolist():
                done += 1
                for name, value in (("lr", rate), ("momentum", momentum), ("loss/train", loss)):
                    writer.add_scalar(name, value, done)
            writer.add_scalar("loss/valid", row["valid_loss"], done)
            writer.add_scalar("error_rate", row["error_rate"], done)
            writer.flush()

    with _writing(folder):
        # TensorBoard reads the files in the order of the seconds in their names: two of one second could be read the
        # wrong way round, and the later one's steps would then count as forgotten.
        while any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
            time.sleep(0.05)
        writer = SummaryWriter(str(folder), purge_step=begun + 1)
    try:
        yield log
    finally:
        with _writing(folder):
            writer.close()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Error(f"{folder}: the log cannot be written: {error.strerror or error}") from None
