"""Losses that grow step by step, and beside them what becomes of the answers, or of a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sgdsheet.animation.film import COLORS, DARK, Scene, headline, plain

Values = Mapping[str, np.ndarray]

# The losses that a lesson's film shows: what each is called, and its block.
LOSSES = {
    "relu_net": {"with ReLU": "with_relu_loss", "without ReLU": "without_relu_loss", "XOR": "mlp_loss"},
    "overfitting": {
        "degree 1": "line_valid_loss",
        "degree 2": "parabola_valid_loss",
        "degree 9": "ninth_valid_loss",
        "degree 9, weight decay": "decayed_valid_loss",
    },
}
STEEP = 30  # times as high as its lowest, and a loss is shown on powers of ten
MOST_ANSWERS = 30  # more do not fit beside the loss
RUNS = {"high": "too high", "low": "too low", "good": "good"}


def scene(lesson: str, v: Values, trained: Sequence[float] = ()) -> Scene | None:
    """The scene of a workbook with a loss for each step; None where there is none, or for one step alone.

    `trained` are the losses of the steps that were made from outside: they are shown in place of the workbook's own.
    """
    if len(trained) > 1:
        losses = np.array(trained)
        return lambda figure: _growing(figure, figure.subplots(), {"loss": losses}, "loss")
    if lesson == "learning_rate":
        return lambda figure: _curves(figure, v)
    if lesson in LOSSES:
        found = {name: v[block] for name, block in LOSSES[lesson].items()}
        title = "validation loss" if lesson == "overfitting" else "loss"
        return lambda figure: _growing(figure, figure.subplots(), found, title)
    of_all = next((v[name] for name in ("loss", "run_loss") if name in v and v[name].ndim == 1), None)
    losses = _of_steps(v) if of_all is None else of_all
    if len(losses) < 2:
        return None
    answers = _answers(v, len(losses))

    def whole(figure: Any) -> Callable[[float], None]:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1)) if answers else (figure.subplots(), None)
        drawn = [_growing(figure, left, {"loss": losses}, "loss"), *([answers(right)] if answers else [])]

        def draw(share: float) -> None:
            for each in drawn:
                each(share)

        return draw

    return whole


def _of_steps(v: Values) -> np.ndarray:
    found = []
    while f"{len(found)}/loss" in v:
        found.append(float(v[f"{len(found)}/loss"].mean()))
    return np.array(found)


def _growing(figure: Any, axes: Any, losses: Mapping[str, np.ndarray], title: str) -> Callable[[float], None]:
    """Each loss up to the step that the film has come to."""
    count = max(map(len, losses.values()))
    finite = np.concatenate([each[np.isfinite(each)] for each in losses.values()])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    plain(axes, title, "step", "")
    axes.set_xlim(1, max(2, count))
    if low > 0 and high > STEEP * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        room = 0.06 * max(high - low, 1e-12)
        axes.set_ylim(min(low, 0 if low > 0 else low) - room * (low <= 0), high + room)
    lines = []
    for (name, each), color in zip(losses.items(), COLORS, strict=False):
        (line,) = axes.plot([], [], color=color, linewidth=2, label=name, animated=True)
        look = {"markersize": 6, "markeredgecolor": "white", "clip_on": False, "animated": True}
        (dot,) = axes.plot([], [], "o", color=color, **look)
        lines.append((each, line, dot))
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    above = headline(figure)

    def draw(share: float) -> None:
        last = round(share * (count - 1))
        for each, line, dot in lines:
            shown = each[: last + 1]
            line.set_data(np.arange(1, len(shown) + 1), shown)
            dot.set_data([len(shown)], shown[-1:])
        said = [f"step {last + 1} of {count}"]
        if len(lines) == 1:
            said.append(f"{title} {lines[0][0][min(last, len(lines[0][0]) - 1)]:.4g}")
        broken = [np.flatnonzero(~np.isfinite(each)) for each, *_ in lines]
        if begins := [int(each[0]) for each in broken if len(each) and each[0] <= last]:
            said.append(f"no number any more from step {min(begins) + 1} on")
        above.set_text("   ".join(said))

    return draw


def _answers(v: Values, count: int) -> Callable[[Any], Callable[[float], None]] | None:
    """What draws the answers of each step beside those that are wanted; None where steps have other examples."""
    steps = [(v.get(f"{k}/output"), v.get(f"{k}/target")) for k in range(count)]
    if any(output is None or target is None for output, target in steps):
        return None
    outputs, targets = [np.asarray(output) for output, _ in steps], [np.asarray(target) for _, target in steps]
    inputs = [[each for name, each in v.items() if name.startswith(f"{k}/input")] for k in range(count)]
    same = all(
        np.array_equal(targets[0], targets[k], equal_nan=True)
        and len(inputs[k]) == len(inputs[0])
        and all(np.array_equal(one, other) for one, other in zip(inputs[0], inputs[k], strict=True))
        for k in range(count)
    )
    if not same or targets[0].size > MOST_ANSWERS:
        return None
    if outputs[0].size == targets[0].size:
        return lambda axes: _numbers(axes, np.array([each.ravel() for each in outputs]), targets[0].ravel())
    if outputs[0].ndim == 2 and targets[0].shape == outputs[0].shape[:1]:
        return lambda axes: _shares(axes, np.array(outputs), targets[0].astype(int))
    return None


def _numbers(axes: Any, outputs: np.ndarray, target: np.ndarray) -> Callable[[float], None]:
    """Numbers that move to those that are wanted: outputs (steps, examples), target (examples,)."""
    count = np.arange(1, len(target) + 1)
    plain(axes, "the answers (dots) and what is wanted (rings)", "example", "")
    seen = np.concatenate([outputs[np.isfinite(outputs)], target])
    room = 0.1 * max(float(np.ptp(seen)), 1e-9)
    axes.set_ylim(seen.min() - room, seen.max() + room)
    axes.set_xlim(0.5, len(target) + 0.5)
    if len(target) <= 12:
        axes.set_xticks(count)
    axes.plot(count, outputs[0], "o", color="#D0D0D0", markersize=6, zorder=1)
    axes.plot(count, target, "o", markerfacecolor="none", markeredgecolor=DARK, markersize=12, zorder=2)
    gaps = axes.vlines(count, target, outputs[0], color=COLORS[1], linewidth=1.5, zorder=1, animated=True)
    (dots,) = axes.plot(count, outputs[0], "o", color=COLORS[1], markersize=7, zorder=3, animated=True)

    def draw(share: float) -> None:
        now = outputs[round(share * (len(outputs) - 1))]
        dots.set_ydata(now)
        gaps.set_segments([[(x, want), (x, here)] for x, want, here in zip(count, target, now, strict=True)])

    return draw


def _shares(axes: Any, outputs: np.ndarray, target: np.ndarray) -> Callable[[float], None]:
    """The share that softmax gives to each example's right class: outputs (steps, examples, classes)."""
    with np.errstate(all="ignore"):
        parts = np.exp(outputs - outputs.max(2, keepdims=True))
        parts = np.nan_to_num(parts / parts.sum(2, keepdims=True))
    right = parts[:, np.arange(len(target)), target]
    wins = parts.argmax(2) == target
    plain(axes, "the right class's share (blue: the largest)", "example", "")
    axes.set_ylim(0, 1)
    axes.set_xlim(0.4, len(target) + 0.6)
    axes.set_xticks(np.arange(1, len(target) + 1) if len(target) <= 12 else np.arange(5, len(target) + 1, 5))
    bars = axes.bar(range(1, len(target) + 1), right[0], 0.75, animated=True)
    axes.plot(np.arange(1, len(target) + 1), right[0], "_", color="white", markersize=12, zorder=5, animated=True)

    def draw(share: float) -> None:
        step = round(share * (len(outputs) - 1))
        for bar, height, win in zip(bars, right[step], wins[step], strict=True):
            bar.set_height(height)
            bar.set_color(COLORS[0] if win else COLORS[1])

    return draw


def _curves(figure: Any, v: Values) -> Callable[[float], None]:
    """The curves of `learning_rate` that bend to their points, and the error on the others."""
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    plain(left, "points to train with (dots), to validate with (rings)", "x", "y")
    plain(right, "validation loss", "epoch (powers of ten)", "")
    left.plot(v["train_x"], v["train_y"], "o", color=DARK, markersize=4)
    left.plot(v["valid_x"], v["valid_y"], "o", markerfacecolor="none", markeredgecolor=DARK, markersize=5)
    y = np.concatenate([v["train_y"], v["valid_y"]])
    room = 0.3 * max(float(np.ptp(y)), 1e-9)
    left.set_ylim(y.min() - room, y.max() + room)
    runs, most = [], 1
    for (run, name), color in zip(RUNS.items(), (COLORS[3], COLORS[5], COLORS[0]), strict=True):
        param, loss = v[f"{run}_new_param"], v[f"{run}_validation_loss"]
        with np.errstate(all="ignore"):
            curve = param[:, :1] + param[:, 1:] @ v["curve_bumps"].T
        curve = np.clip(
            np.nan_to_num(curve, nan=np.nan, posinf=1e6, neginf=-1e6), y.min() - 9 * room, y.max() + 9 * room
        )
        label = f"{name}: {v[f'lr_{run}'].item():g}"
        (line,) = left.plot([], [], color=color, linewidth=2, label=label, animated=True)
        (fall,) = right.plot([], [], color=color, linewidth=2, animated=True)
        runs.append((curve, loss, line, fall))
        most = max(most, len(loss))
    left.legend(frameon=False, fontsize=8, title="learning rate", title_fontsize=8, loc="upper right")
    losses = np.concatenate([loss[np.isfinite(loss) & (loss > 0)] for _, loss, *_ in runs] or [np.ones(1)])
    start = max(float(loss[0]) for _, loss, *_ in runs if np.isfinite(loss[0]))
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlim(1, most)
    right.set_ylim(losses.min() / 1.3, min(losses.max() * 1.3, 100 * start))
    above = headline(figure)

    def draw(share: float) -> None:
        epoch = round(most**share)
        for curve, loss, line, fall in runs:
            shown = min(epoch, len(loss))
            line.set_data(v["curve_x"], curve[shown - 1])
            fall.set_data(np.arange(1, shown + 1), loss[:shown])
        out = [name for (curve, loss, *_), name in zip(runs, RUNS.values(), strict=True) if _wild(loss[:epoch], start)]
        above.set_text(f"epoch {epoch} of {most}" + (f"   out of the picture: {', '.join(out)}" if out else ""))

    return draw


def _wild(loss: np.ndarray, start: float) -> bool:
    return bool(len(loss) and not loss[-1] <= 100 * start)
