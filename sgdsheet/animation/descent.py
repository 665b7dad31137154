"""Runs that fit a line to points: the line itself, and the way of its two parameters over the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet.animation.film import COLORS, DARK, GREY, Scene, headline, plain

Values = Mapping[str, np.ndarray]

NAMED = ("SGD", "Momentum", "Adagrad", "RMSprop", "Adam", "Rprop", "Eve")  # the optimisers that have a colour each
LEVELS = 11  # lines of equal loss, each half as high above the bottom as the one before
REACH = 2.0  # the picture reaches so many times as far from the best line as the start's line of equal loss
MARGIN = 0.12
FAR = 50  # times the picture's width is as far out as a line is drawn
GRID = 160


@dataclass
class Run:
    """A run's name, colour, and its parameters before the first step and after each one: (steps + 1, 2)."""

    name: str
    color: str
    way: np.ndarray

    def at(self, share: float) -> tuple[int, np.ndarray]:
        """How many whole steps a share of the run has, and the parameters there, between two steps perhaps."""
        place = share * (len(self.way) - 1)
        step = min(int(place + 1e-9), len(self.way) - 1)
        if place - step < 1e-6:
            return step, self.way[step]
        return step, self.way[step] + (place - step) * (self.way[step + 1] - self.way[step])


def scene(lesson: str, v: Values) -> Scene | None:
    """The scene of a lesson that descends over two parameters, None for any other."""
    if lesson in ("linear_sgd", "lesson2_sgd"):
        surface = Surface(v, [_run(v, "", "", COLORS[1])])
        said = f"learning rate {v['lr'].item():g}"
        return lambda figure: _lines(figure, v, surface, said, "step")
    if lesson == "minibatch":
        names = {"small": "small batches", "medium": "medium batches", "all": "all points at once"}
        for name in ("small", "medium"):
            names[name] = f"{v[name].item():g} point{'s' * (v[name].item() != 1)} a step"
        colors = (COLORS[5], COLORS[1], COLORS[2])
        runs = [_run(v, f"{part}_", name, color) for (part, name), color in zip(names.items(), colors, strict=True)]
        surface = Surface(v, runs)
        return lambda figure: _lines(figure, v, surface, "", "epoch")
    if lesson == "optimizers":
        found = [name[: -len("_mean_loss")] for name in v if name.endswith("_mean_loss")]
        found = [name for name in found if f"{name}_new_param" in v]  # the race on the first sheet repeats some
        runs = []
        for name in found:
            color = COLORS[NAMED.index(name)] if name in NAMED else GREY
            runs.append(Run(name, color, np.concatenate([v[f"{name}_param"][:1], v[f"{name}_new_param"]])))
        surface = Surface(v, runs)
        return lambda figure: _race(figure, surface)
    return None


def _run(v: Values, part: str, name: str, color: str) -> Run:
    ways = [np.concatenate([v[f"{part}{each}"][:1], v[f"{part}new_{each}"]]) for each in ("intercept", "slope")]
    return Run(name, color, np.stack(ways, 1))


class Surface:
    """The mean loss of all points over intercept and slope, the runs on it, and what of both is in the picture.

    `bounds` are the picture's edges, (2, 2); `found` are the workbook's runs, `runs` the same with their numbers
    limited to what can be drawn; `gone` is for each the step from which on it is out of the picture, or no number any
    more, and None where it stays.
    """

    def __init__(self, v: Values, runs: Sequence[Run]) -> None:
        self.x, self.y = v["data_x"], v["data_y"]
        centre, reach = self._reach([run.way[0] for run in runs])
        low, high = centre - REACH * reach, centre + REACH * reach
        inside = [np.clip(run.way[np.isfinite(run.way).all(1)], low, high) for run in runs]
        seen = np.concatenate([*inside, centre[None]])
        margin = np.maximum(MARGIN * np.ptp(seen, 0), 0.03 * reach)
        self.bounds = np.stack([seen.min(0) - margin, seen.max(0) + margin])
        self.best = centre
        self.gone = [self._gone(run.way, low, high) for run in runs]
        self.found = runs
        self.runs = [Run(run.name, run.color, _limited(run.way, centre, FAR * reach)) for run in runs]

    def loss(self, param: np.ndarray) -> np.ndarray:
        """The mean squared error of the lines `param` (..., 2), infinite beyond float64."""
        with np.errstate(all="ignore"):
            off = param[..., 0, None] + param[..., 1, None] * self.x - self.y
            return np.nan_to_num((off**2).mean(-1), nan=np.inf)

    def _reach(self, starts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The best line, and how far from it in each parameter the lines are that are no worse than the first one."""
        ones = np.stack([np.ones_like(self.x), self.x], 1)
        best = np.linalg.lstsq(ones, self.y, rcond=None)[0]
        above = max(float(self.loss(start) - self.loss(best)) for start in starts)
        # Points that all have the same x leave one direction in which the loss does not change.
        inverse = np.linalg.inv(ones.T @ ones / len(self.x) + 1e-9 * np.eye(2))
        reach = np.sqrt(max(above, 1e-12) * np.diag(inverse))
        return best, np.maximum(reach, 1e-6 * np.maximum(1, np.abs(best)))

    @staticmethod
    def _gone(way: np.ndarray, low: np.ndarray, high: np.ndarray) -> int | None:
        with np.errstate(invalid="ignore"):
            inside = np.all((way >= low) & (way <= high), axis=1)
        return None if inside[-1] else int(np.flatnonzero(inside)[-1]) + 1 if inside.any() else 0

    def pace(self) -> Callable[[float], float]:
        """How much of the run has been made after a share of the film: slower where the parameters move most."""
        shares = np.linspace(0, 1, 401)
        moved = np.zeros(len(shares) - 1)
        for run in self.runs:
            path = np.array([run.at(share)[1] for share in shares])
            path = (np.clip(path, *self.bounds) - self.bounds[0]) / np.ptp(self.bounds, axis=0)
            steps = np.hypot(*np.diff(path, axis=0).T)
            moved += np.minimum(steps, 4 * steps.mean())  # a single jump is not to hold up all
        moved = moved / max(moved.sum(), 1e-12) + 1 / len(moved)
        film = np.concatenate([[0], np.cumsum(moved)])
        return lambda share: float(np.interp(share * film[-1], film, shares))

    def draw(self, axes: Any) -> list[tuple[Any, Any]]:
        """Draws the lines of equal loss; returns each run's path and its end, still empty."""
        from matplotlib.colors import LinearSegmentedColormap

        plain(axes, "", "intercept", "slope")
        across, up = np.linspace(self.bounds[0], self.bounds[1], GRID).T
        height = self.loss(np.stack(np.meshgrid(across, up), -1)) - self.loss(self.best)
        levels = height.max() * 0.5 ** np.arange(LEVELS)[::-1]
        shades = LinearSegmentedColormap.from_list("valley", ["#B9CCDD", "#FFFFFF"])
        log = np.log2(np.maximum(height, levels[0] / 2))
        axes.contourf(across, up, log, np.log2([levels[0] / 2, *levels * 1.0001]), cmap=shades, extend="min")
        axes.contour(across, up, log, np.log2(levels), colors="#9AAFC2", linewidths=0.6, linestyles="solid")
        axes.plot(*self.best, "*", color=DARK, markersize=9, zorder=6)
        axes.set_xlim(*self.bounds[:, 0])
        axes.set_ylim(*self.bounds[:, 1])
        drawn = []
        for run in reversed(self.runs):  # the first is drawn last: over the others
            back = run.color == GREY
            (path,) = axes.plot(
                [], [], color=run.color, linewidth=1 if back else 1.8, zorder=3 if back else 4, animated=True
            )
            look = {"markersize": 4 if back else 7, "markeredgecolor": "white", "zorder": 4 if back else 5}
            (end,) = axes.plot([], [], "o", color=run.color, animated=True, **look)
            drawn.append((path, end))
        return drawn[::-1]

    def move(self, drawn: Sequence[tuple[Any, Any]], share: float) -> list[np.ndarray]:
        """Draws each run's path up to a share of it; returns where each is."""
        ends = []
        for run, (path, end) in zip(self.runs, drawn, strict=True):
            step, here = run.at(share)
            path.set_data(*np.concatenate([run.way[: step + 1], here[None]]).T)
            end.set_data(*here[:, None])
            ends.append(here)
        return ends

    def outside(self, share: float) -> str:
        """In words which runs have left the picture, and when."""
        words = []
        for run, gone in zip(self.runs, self.gone, strict=True):
            if gone is not None and share * (len(run.way) - 1) >= gone:
                words.append(f"{run.name + ' ' if run.name else ''}out of the picture from step {gone} on")
        return words[0] if len(words) == 1 else f"{len(words)} out of the picture" if words else ""


def _limited(way: np.ndarray, centre: np.ndarray, far: np.ndarray) -> np.ndarray:
    """The way without numbers that are none: the last that was one stands in their place."""
    way = np.clip(way, centre - far, centre + far)
    for step in np.flatnonzero(~np.isfinite(way).all(1)):
        way[step] = way[step - 1] if step else centre
    return way


def _lines(figure: Any, v: Values, surface: Surface, said: str, unit: str) -> Callable[[float], None]:
    """The points and each run's line on the left, the ways over the loss on the right."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    x, y = surface.x, surface.y
    plain(left, "", "x", "y")
    left.plot(x, y, "o", color=DARK, markersize=3.5, alpha=0.7)
    ends = np.array([x.min(), x.max()])
    first = surface.runs[0].way[0]
    left.plot(ends, first[0] + first[1] * ends, "--", color=GREY, linewidth=1)
    room = 0.25 * max(float(np.ptp(y)), 1e-9)
    begin = first[0] + first[1] * ends
    low, high = y.min() - room, y.max() + room
    left.set_ylim(
        max(min(low, begin.min() - room / 4), low - 3 * room), min(max(high, begin.max() + room / 4), high + 3 * room)
    )
    lines = [
        left.plot([], [], color=run.color, linewidth=2.2, label=run.name, animated=True)[0] for run in surface.runs
    ]
    if len(lines) > 1:
        left.legend(frameon=False, fontsize=8, loc="best")
    drawn, pace = surface.draw(right), surface.pace()
    right.set_title("the way over the loss; the star is the best line", fontsize=9, loc="left", color=DARK)
    title = left.set_title("the lines", fontsize=10, loc="left", color=DARK, animated=True)
    above = headline(figure)
    whole = round(v["epochs"].item()) if unit == "epoch" else len(surface.runs[0].way) - 1

    def draw(share: float) -> None:
        share = pace(share)
        for line, (intercept, slope) in zip(lines, here := surface.move(drawn, share), strict=True):
            line.set_data(ends, intercept + slope * ends)
        done = share * whole
        count = f"{done:.1f}" if unit == "epoch" else f"{int(done + 1e-9)}"
        above.set_text("   ".join(filter(None, [f"{unit} {count} of {whole}", said, surface.outside(share)])))
        if len(here) == 1:
            title.set_text(f"mean loss {surface.loss(surface.found[0].at(share)[1]):.4g}")

    return draw


def _race(figure: Any, surface: Surface) -> Callable[[float], None]:
    """The optimisers' losses as bars that overtake each other, and their ways over the loss."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    runs = surface.runs
    bottom = float(surface.loss(surface.best))
    start = max(float(surface.loss(run.way[0])) for run in runs)
    bottom, top = max(bottom, 1e-6 * start, 1e-12), 1.5 * max(start, 1e-12)
    drawn, pace = surface.draw(right), surface.pace()
    right.set_title("the ways over the loss; the star is the best line", fontsize=9, loc="left", color=DARK)
    plain(left, "mean loss, the best on top", "", "")
    left.set_xscale("log")
    left.set_xlim(0.8 * bottom, 1.6 * top)
    left.set_ylim(len(runs) - 0.4, -0.6)
    left.set_yticks([0], [max((run.name for run in runs), key=len)], fontsize=8, color="none")  # room for the names
    left.tick_params(axis="y", length=0)
    left.spines["left"].set_visible(False)
    bars = left.barh(range(len(runs)), [1.0] * len(runs), 0.72, color=[run.color for run in runs], animated=True)
    says = {"fontsize": 8, "ha": "right", "va": "center", "transform": left.get_yaxis_transform(), "animated": True}
    names = [left.text(-0.02, number, run.name, color=DARK, **says) for number, run in enumerate(runs)]
    above = headline(figure)
    count = len(runs[0].way) - 1
    grid = np.linspace(0, 1, 241)
    losses = np.array([[surface.loss(run.at(share)[1]) for share in grid] for run in runs])
    ranks = np.argsort(np.argsort(losses, axis=0, kind="stable"), axis=0).astype(float)

    def draw(share: float) -> None:
        share = pace(share)
        surface.move(drawn, share)
        at = round(share * 240)
        near, late = slice(max(0, at - 6), at + 1), max(0, 10 * share - 9)
        for number, bar in enumerate(bars):
            place = (1 - late) * ranks[number, near].mean() + late * ranks[number, -1]  # bars glide past each other
            bar.set_y(place - 0.36)
            bar.set_width(min(losses[number, at], top))
            names[number].set_y(place)
        done = f"step {int(share * count + 1e-9)} of {count}"
        above.set_text("   ".join(filter(None, [done, surface.outside(share)])))

    return draw
