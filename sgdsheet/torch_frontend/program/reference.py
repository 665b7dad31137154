"""What a compiled workbook must agree with, from the program that it carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from sgdsheet.book import PROGRAM, Saved
from sgdsheet.errors import Error
from sgdsheet.reference import Blocks, Loop, Reference, Values
from sgdsheet.torch_frontend.program.program import BATCHES, MADE, Program
from sgdsheet.torch_frontend.program.text import joined

TOLERANCE, LEAST, NUDGE = 1e-10, 1e-3, 1e-13


def reference(saved: Saved) -> Reference:
    """The program on the workbook's last sheet, as `verify` wants it.

    Raises `Error` if that sheet is missing or was edited.
    """
    where = f"{saved.path}: sheet {PROGRAM!r}"
    if not saved.program:
        raise Error(f"{saved.path}: has no sheet {PROGRAM!r}, which it is checked against; restore it, or compile anew")
    program, placed = Program.from_rows([joined(cells) for cells in saved.program], where)
    if len(program.which) > len(saved.blocks):
        count = len(saved.blocks)
        raise Error(f"{where}: has {len(program.which):,} steps, but the workbook has no more than {count:,} blocks")
    run = partial(program.run, placed=placed)
    says: dict[str, Any] = {"tolerance": TOLERANCE, "least": LEAST, "whole": _whole(program) | _not_begun(saved)}
    return Reference(saved.lesson, program.inputs(), program.dims(), run, loop=loop(program), **says)


def loop(program: Program) -> Loop | None:
    """Returns how the training goes on; None if there is none, or its optimiser has states that begin anew."""
    if not program.optimizer or "loss" not in program.graphs[program.which[0]].outputs:
        return None
    last = len(program.which)
    back = {f"0/{name}": f"{last}/{name}" for name in program.changing()}
    states = [name for name in program.dims() if name.startswith("0/state/")]
    if not program.resumed and any(program.states(program.first_cells()).values()):
        return None
    back |= {name: f"{last}/{name.removeprefix('0/')}" for name in states}
    batches = range(1 if program.shared else last)
    fed = tuple(tuple(program.fed(k, node.name) for node in program.batch(k)) for k in batches)
    made, more = (MADE, BATCHES) if program.examples else (None, None)
    return Loop(back, made, fed if fed[0] else (), program.rows_of_batch(0), more)


def _not_begun(saved: Saved) -> set[str]:
    """The states that are 0 everywhere, which they stay for other inputs: a mean of squares is never below 0."""
    return {
        name for name, held in saved.contents.items() if name.startswith("0/state/") and not any(held.ravel().tolist())
    }


def _whole(program: Program) -> set[str]:
    """The blocks that hold indices or truth values."""
    return {
        program.fed(k, node.name)
        for k, number in enumerate(program.which)
        for node in program.graphs[number].nodes
        if node.op in ("param", "buffer", "input", "target", "random") and node.dtype != "float"
    }


def sizes(dims: Iterable[str], run: Callable[[Values], Blocks], values: Values, blocks: Blocks) -> dict[str, Any]:
    """How large the numbers are whose rounding a block shows.

    Some trainings enlarge each rounding. A bias in front of a batch norm, or of attention's keys, has a gradient of 0
    but for rounding, which Adam then divides by its own size. How much such a training makes of a rounding, a second
    run tells that begins a rounding's width away: a block may be off by ten times as much as the two runs.
    """
    generator = np.random.default_rng(0)
    nudged = dict(values)
    for name in dims:
        if "/param/" in name:
            nudged[name] = values[name] * (1 + NUDGE * generator.choice((-1.0, 1.0), np.shape(values[name])))
    found = {}
    for name, other in run(nudged).items():
        apart = np.abs(other - blocks[name])
        found[name] = np.full(apart.shape, 10 * apart[np.isfinite(apart)].max(initial=0) / TOLERANCE)
    return found
