"""Charts of a training: losses, learning rate and momentum, and the sweep that looks for a rate."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.errors import Error

if TYPE_CHECKING:
    from PIL import Image

SMOOTH = 0.9  # how much of the running mean of the steps' losses is kept at each step
BLUE, ORANGE, GREEN, SHADE = "#1f5fa8", "#d9730d", "#2e7d32", "#eef0f2"


def picture(figure: Any) -> Image.Image:
    """A chart as a Pillow picture, which a notebook shows and `save` writes."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return Image.open(buffer)


def losses(history: Sequence[Mapping[str, float]], steps: np.ndarray) -> Any:
    """Each step's training loss and its running mean, and the validation loss at the end of each epoch.

    `steps` is (n, 3): learning rate, momentum, loss. Epochs in which the head alone was trained (`frozen` in their row)
    are on grey, and the running mean begins anew after them. Raises `Error` if nothing was trained yet.
    """
    import pandas as pd

    figure, axes = _chart("step", "loss", steps)
    x = np.arange(1, len(steps) + 1)
    axes.plot(x, steps[:, 2], color=BLUE, alpha=0.25, linewidth=0.8)
    ends = np.cumsum([row["steps"] for row in history]).astype(int)
    labels = {False: "training, running mean", True: "the head alone"}
    for start, end, frozen in _runs(history, ends):
        mean = pd.Series(steps[start:end, 2]).ewm(alpha=1 - SMOOTH).mean()
        axes.plot(x[start:end], mean, color=BLUE, label=labels.pop(False, None))
        if frozen:
            axes.axvspan(start + 0.5, end + 0.5, color=SHADE, zorder=0, label=labels.pop(True, None))
    axes.plot(ends, [row["valid_loss"] for row in history], "o-", color=ORANGE, markersize=4, label="validation")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def _runs(history: Sequence[Mapping[str, float]], ends: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """The steps, from and until which ones, that trained the same part of the model, and whether that was the head."""
    start = 0
    for number, (row, end) in enumerate(zip(history, ends.tolist(), strict=True), start=1):
        frozen = bool(row.get("frozen"))
        if number == len(history) or bool(history[number].get("frozen")) != frozen:
            yield start, end, frozen
            start = end


def rates(steps: np.ndarray) -> Any:
    """The highest learning rate and the momentum at each step. Raises `Error` if nothing was trained yet."""
    figure, axes = _chart("step", "learning rate", steps)
    x = np.arange(1, len(steps) + 1)
    lines = axes.plot(x, steps[:, 0], color=BLUE, label="learning rate")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.set_ylabel("momentum")
    right.spines["top"].set_visible(False)
    lines += right.plot(x, steps[:, 1], color=ORANGE, linestyle="--", label="momentum")
    axes.legend(handles=lines, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)
    return figure


def sweep(rates: Sequence[float], losses: Sequence[float], suggested: Mapping[str, float]) -> Any:
    """The smoothed loss at each learning rate, and the suggestions by name, those that are not nan."""
    figure, axes = _chart("learning rate", "running mean", np.array(losses))
    axes.plot(rates, losses, color=BLUE, label="loss")
    axes.set_xscale("log")
    for (name, rate), color in zip(suggested.items(), (GREEN, ORANGE), strict=True):
        if not np.isnan(rate):
            loss = np.interp(np.log(rate), np.log(rates), losses)
            axes.plot([rate], [loss], "o", color=color, label=f"{name}: {rate:.1e}")
    axes.legend(frameon=False)
    return figure


def _chart(across: str, up: str, points: np.ndarray) -> tuple[Any, Any]:
    if not len(points):
        raise Error("there is nothing to plot yet: train first")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Error("charts need matplotlib; pip install matplotlib") from None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
