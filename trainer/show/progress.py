"""What is seen of a run while it goes on: bars, on a terminal where rich is installed, and a line for each epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

# Called with what is done and what there is to do.
Counted = Callable[[int, int], None]


def say(text: object = "") -> None:
    """Prints a text. What the output cannot show, as an emoji in cp1252, appears as `\\U0001f43b`: never an error."""
    print(_showable(str(text), getattr(sys.stdout, "encoding", None)), flush=True)


def _showable(text: str, encoding: str | None) -> str:
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def counting(words: str, shown: bool = True) -> Iterator[Counted]:
    """A bar that appears when there is something to count."""
    bars = _bars() if shown else None
    if bars is None:
        yield lambda done, total: None
        return
    task = bars.add_task(_showable(words, bars.console.encoding), total=None)

    def count(done: int, total: int) -> None:
        if not bars.live.is_started:
            bars.start()
        bars.update(task, completed=done, total=total)

    try:
        yield count
    finally:
        bars.stop()


class Epochs:
    """A bar over some epochs: loss, error rate, pictures a second and time left; then a line for each epoch."""

    def __init__(self, epochs: int, steps: int, batch_size: int, done: int, shown: bool = True) -> None:
        self.epochs, self.steps, self.batch_size, self.shown = epochs, steps, batch_size, shown
        self.bars = _bars("{task.fields[loss]}  {task.fields[error]}  {task.fields[rate]}") if shown else None
        self.fields = {"loss": "", "error": "", "rate": ""}
        if self.bars is not None:
            self.task = self.bars.add_task("", total=epochs * steps, completed=done * steps, **self.fields)

    def __enter__(self) -> Epochs:
        if self.bars is not None:
            self.bars.start()
        self.started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars is not None:
            self.bars.stop()

    def step(self, epoch: int, step: int, loss: float | None) -> None:
        """After a step of an epoch, both counted from 0."""
        if self.bars is None:
            return
        if step == 0:
            self.started = time.perf_counter()  # the first step waits for a GPU to get ready
        elif step % 4 == 0 or loss is not None:
            rate = step * self.batch_size / (time.perf_counter() - self.started)
            self.fields["rate"] = f"{rate:,.0f} pictures/s"
        if loss is not None:
            self.fields["loss"] = f"loss {loss:.4f}"
        words = f"epoch {epoch + 1} of {self.epochs}"
        self.bars.update(self.task, completed=epoch * self.steps + step + 1, description=words, **self.fields)

    def epoch(self, row: Mapping[str, float]) -> None:
        """After an epoch, with its figures."""
        self.fields["error"] = f"error rate {row['error_rate']:.1%}"
        if self.bars is not None:
            self.bars.console.print(_line(row), highlight=False, soft_wrap=True)
        elif self.shown:
            say(_line(row))


def _line(row: Mapping[str, float]) -> str:
    return (
        f"epoch {row['epoch']:>3g}  training loss {row['train_loss']:.4f}  validation loss {row['valid_loss']:.4f}  "
        f"error rate {row['error_rate']:.1%}  {row['pictures_per_second']:,.0f} pictures/s  {row['seconds']:.1f} s"
        + ("  the head alone" if row.get("frozen") else "")
    )


def _bars(words: str = "") -> Any:
    """rich's bars, not yet started; None where it is not installed, or where nobody sees them move."""
    try:
        from rich import get_console, progress
    except ImportError:
        return None
    console = get_console()
    if console.is_jupyter:
        moves = find_spec("ipywidgets") is not None  # without it rich warns at every bar
    else:
        moves = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
    if not moves:
        return None
    columns = [
        "{task.description}",
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        words,
        progress.TimeRemainingColumn(),
    ]
    return progress.Progress(*columns, console=console, transient=True)
