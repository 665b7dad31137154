"""Whether a run stays within the numbers that a cell can hold, and where it first does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from sgdsheet.errors import Error
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, Node, place
from sgdsheet.torch_frontend.program.program import Program


def watcher(program: Program) -> Callable[[int, Node, Any], None]:
    """What `Program.run` is to call with each value: raises `Error` at the first one that no cell could hold.

    An infinite number is none to complain of where it is known beforehand, as the mask in front of a softmax, and what
    is computed from it may be infinite too as long as no block of the workbook is.
    """
    masked: set[tuple[int, str]] = set()
    outputs = [{name: key for key, name in reversed([*graph.outputs.items()])} for graph in program.graphs]

    def watch(k: int, node: Node, value: Any) -> None:
        given = any((k, name) in masked for name in node.uses()) or node.op == CONSTANT or _infinite(node.args)
        if not isinstance(value, torch.Tensor):
            masked.update([(k, node.name)] if given else [])
            return
        if bool(value.isfinite().all()):
            return
        key = outputs[program.which[k]].get(node.name)
        if given and key is None and not bool(value.isnan().any()):
            masked.add((k, node.name))
            return
        said = "not a number" if bool(value.isnan().any()) else "infinite"
        what = "" if node.op in FED else f"{place(node.path, node.line)}{node.op}: "
        raise Error(
            f"{what}step {k + 1} leads to a number that is {said}; it first appears in {k}/{key or node.name!s}"
        )

    return watch


def require_finite(program: Program, blocks: Mapping[str, np.ndarray]) -> None:
    """Raises `Error` if what the last step leaves behind is not finite: parameters, states, buffers."""
    steps = len(program.which)
    for name, block in blocks.items():
        if not np.isfinite(block).all():
            raise Error(f"step {steps} leads to a number that is not finite; it first appears in {name}")


def _infinite(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_infinite, value))
    return isinstance(value, float) and math.isinf(value)
