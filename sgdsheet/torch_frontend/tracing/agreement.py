"""Whether a program computes what the caller's own loop has computed, and cells what the program computes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sgdsheet.torch_frontend.program.program import Placed, Program
from sgdsheet.torch_frontend.program.reference import LEAST, TOLERANCE, sizes
from sgdsheet.torch_frontend.tracing.own_loop import Ran

HUGE = 1e300


def first_difference(
    program: Program, values: Mapping[str, np.ndarray], blocks: Mapping[str, np.ndarray], ran: Ran
) -> str | None:
    """The first block in which they differ by more than `verify` allows, if any does.

    `blocks` is what the program computes from `values`. What it has no block of must not change.
    """
    allowed: Mapping[str, np.ndarray] | None = None
    for name, theirs in ran.blocks.items():
        _, _, rest = name.partition("/")
        ours = blocks.get(name)
        if ours is None and rest.startswith(("param/", "buffer/")):
            ours = values[f"0/{rest}"]
        if ours is None or _near(ours, theirs):
            continue
        if allowed is None:
            allowed = sizes(program.dims(), program.run, values, blocks)
        if not _near(ours, theirs, allowed.get(name, np.zeros(()))):
            return name
    return None


def wrong_cell(
    program: Program, placed: Placed, values: Mapping[str, np.ndarray], cells: Mapping[str, np.ndarray]
) -> tuple[str, tuple[Any, ...]] | None:
    """The first cell, as its block and place there, that differs from the program by more than `verify` allows."""
    blocks = program.run(values, placed=placed)
    allowed: Mapping[str, np.ndarray] | None = None
    for name, held in cells.items():
        ours, theirs = _floats(held), blocks[name]
        if _near(ours, theirs):
            continue
        if allowed is None:
            allowed = sizes(program.dims(), partial(program.run, placed=placed), values, blocks)
        wrong = ~_close(ours, theirs, allowed.get(name, np.zeros(())))
        if wrong.any():
            return name, tuple(np.argwhere(wrong)[0])
    return None


def difference(block: str, blocks: Mapping[str, np.ndarray], ran: Ran, optimizer: Any) -> str:
    """What to say of the first block that differs: the step, both numbers, and the likeliest cause."""
    theirs = ran.blocks[block]
    ours = blocks.get(block, np.full(theirs.shape, np.nan))
    step, _, rest = block.partition("/")
    after = rest.startswith(("param/", "state/", "buffer/"))
    numbers = ""
    if ours.shape == theirs.shape and np.isfinite(ours).all():
        most = np.unravel_index(int(np.abs(ours - theirs).argmax()), theirs.shape)
        numbers = f" ({theirs[most]:.9g} there, {ours[most]:.9g} here)"
    return (
        f"step {int(step) + (not after)}: {rest!r} is not what your own loop computes{numbers}; "
        f"{_cause(int(step), rest.partition('/')[0], optimizer)}"
    )


def _near(ours: np.ndarray, theirs: np.ndarray, size: Any = 0.0) -> bool:
    return ours.shape == theirs.shape and bool(_close(ours, theirs, size).all())


def _close(ours: np.ndarray, theirs: np.ndarray, size: Any = 0.0) -> np.ndarray:
    """Where two arrays agree. Near float64's limit, and beyond it, a cell may hold an error or a huge number."""
    finite = np.isfinite(theirs)
    scale = np.maximum(max(LEAST, float(np.abs(theirs[finite]).max(initial=0))), size)
    with np.errstate(invalid="ignore"):
        near = np.abs(ours - theirs) <= TOLERANCE * scale
    beyond = ~finite | (np.abs(theirs) > HUGE)
    return near | (beyond & (~np.isfinite(ours) | (np.abs(ours) > HUGE)))


def _floats(cells: np.ndarray) -> np.ndarray:
    """Numbers and truths as floats; NaN for whatever else a cell may hold."""
    numbers = [float(each) if isinstance(each, (int, float)) else np.nan for each in cells.reshape(-1)]
    return np.array(numbers).reshape(cells.shape)


def _cause(step: int, kind: str, optimizer: Any) -> str:
    if kind in ("param", "state"):
        if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
            return (
                "a hook of the optimizer changes the step, which a sheet would not know of; to clip gradients, give "
                "compile clip_norm or clip_value"
            )
        if not getattr(vars(optimizer).get("step"), "_wrapped_by_lr_sched", "step" not in vars(optimizer)):
            return "the optimizer's step has been replaced, which a sheet would not know of; make a new optimizer"
        return "something else than the optimizer changes it: forward, the loss or a scheduler"
    if kind == "grad":
        return "a hook changes gradients, or the loss takes numbers from the parameters that autograd does not follow"
    if kind == "loss" and step:
        return "the loss changes with the step; let it take an argument `step`, which counts from 0"
    if kind == "loss":
        return "the loss does not compute the same when it is called again: it counts, or draws numbers of its own"
    return "forward does not compute the same when it is called again; make what it keeps a buffer (register_buffer)"
