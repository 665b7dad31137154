"""Whether torch, trained over the same batches all the way, has the same losses and leaves the same numbers behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.reference import Reference
from sgdsheet.training.feed import Feed, Shapes
from sgdsheet.training.following import follow
from sgdsheet.training.record import FROM, TRAINED, Run

LOSSES, NUMBERS = f"{TRAINED}/losses", f"{TRAINED}/numbers"  # what the comparison's rows are called
Numbers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Compared:
    """How something that was trained compares: how many numbers, the largest difference, that in relation to the size
    of the numbers, and in words where it is too large."""

    name: str
    count: int
    differs: float
    relative: float
    wrong: str


def compared(
    reference: Reference,
    runs: Sequence[Run],
    now: Mapping[str, Any],
    shapes: Shapes,
    nudged: Callable[[Mapping[str, Any], np.random.Generator], Mapping[str, Any]],
    tries: int,
    roundings: float,
) -> list[Compared]:
    """Compares the curve of all runs, and the numbers that are typed in `now`, with torch's own training.

    A training enlarges each rounding, the more the longer it goes on. How far is told by up to `tries` trainings of
    torch that begin a rounding's width away (`nudged`): a loss may be off by `roundings` times as much as one of them
    is by then, and a number by as much as its block is in the end. Raises `Error` if the record does not fit.
    """
    torch_runs = [_trained(reference, run, run.start, now, shapes) for run in runs]
    curve, ends = [losses for losses, _ in torch_runs], [end for _, end in torch_runs]
    held = [np.array(run.losses) for run in runs]
    last = {name: np.asarray(now[name], dtype=float) for name in ends[-1]}
    off = [np.abs(there - torch) for there, torch in zip(held, curve, strict=True)]
    apart = {name: float(np.abs(last[name] - end).max()) for name, end in ends[-1].items()}
    sizes = {name: max(reference.least, float(np.abs(end).max())) for name, end in ends[-1].items()}
    size = [max(reference.least, float(np.abs(each).max())) for each in curve]
    allowed = [np.full(each.shape, reference.tolerance * scale) for each, scale in zip(off, size, strict=True)]
    free = {name: reference.tolerance * scale for name, scale in sizes.items()}
    generator = np.random.default_rng(0)
    for _ in range(tries):
        behind = [number for number, each in enumerate(off) if not (each <= allowed[number]).all()]
        if not behind and all(apart[name] <= free[name] for name in apart):
            break
        for number in {*behind, len(runs) - 1}:
            near, end = _trained(reference, runs[number], nudged(runs[number].start, generator), now, shapes)
            drift = np.maximum.accumulate(np.nan_to_num(np.abs(near - curve[number]), nan=np.inf))
            allowed[number] = np.maximum(allowed[number], roundings * drift)
            if number == len(runs) - 1:
                for name, there in end.items():
                    far = float(np.nan_to_num(np.abs(there - ends[-1][name]), nan=np.inf).max())
                    free[name] = max(free[name], roundings * far)
    return [_losses(held, curve, off, allowed, size), _numbers(last, ends[-1], apart, free, sizes)]


def _trained(
    reference: Reference, run: Run, start: Mapping[str, Any], now: Mapping[str, Any], shapes: Shapes
) -> tuple[np.ndarray, Numbers]:
    """The losses of a run as torch makes it, and the numbers that it leaves, by the block that they are typed into."""
    loop = reference.loop
    assert loop is not None
    values = {name: start.get(name, value) for name, value in now.items()}
    feed, first = None, 0
    if run.batches:
        rows = run.examples if run.examples is not None else now.get(loop.batches or "")
        if rows is None:
            raise Error(f"the sheet {FROM!r} has not the examples that the workbook was trained with; it was edited")
        feed, first = Feed(rows, loop, shapes), run.batches[0] - 1
    losses: list[float] = []
    rounds = follow(reference, values, feed, first)
    while len(losses) < len(run.losses):
        made, values = next(rounds)
        losses += made.tolist()
    if len(losses) != len(run.losses):
        raise Error(f"the sheet {TRAINED!r} has {len(run.losses)} losses, no multiple of the workbook's steps")
    return np.array(losses), {name: np.asarray(values[name], dtype=float) for name in loop.back}


def _losses(held: Any, curve: Any, off: Any, allowed: Any, size: Any) -> Compared:
    """How the losses of all runs compare."""
    differs = float(np.concatenate(off).max())
    relative = max(float(each.max()) / scale for each, scale in zip(off, size, strict=True))
    wrong = np.concatenate([~(each <= most) for each, most in zip(off, allowed, strict=True)])
    said = ""
    if wrong.any():
        step = int(wrong.argmax())
        there, torch = np.concatenate(held)[step], np.concatenate(curve)[step]
        said = f"differs first at step {step + 1:,}: {there:.17g}, torch has {torch:.17g}"
    return Compared(LOSSES, len(wrong), differs, relative, said)


def _numbers(last: Numbers, end: Numbers, apart: Any, free: Any, sizes: Any) -> Compared:
    """How the numbers that are typed in now compare with those that torch's training leaves behind."""
    relative = max(apart[name] / sizes[name] for name in apart)
    worst = max(apart, key=lambda name: apart[name] / free[name] if np.isfinite(apart[name]) else np.inf)
    said = ""
    if not apart[worst] <= free[worst]:
        place = np.unravel_index(int(np.abs(last[worst] - end[worst]).argmax()), end[worst].shape)
        said = f"{worst!r} differs most: {last[worst][place]:.17g}, torch's training leads to {end[worst][place]:.17g}"
    return Compared(NUMBERS, sum(each.size for each in end.values()), max(apart.values()), relative, said)
