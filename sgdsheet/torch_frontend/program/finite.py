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
    """Returns what `Program.run` is to call with each value. It raises `Error` for a loss, a gradient, an output or a
    buffer that no cell could hold.

    On the way a number may be infinite or none, as long as a choice leaves it out: an IF does not ask for the cell that
    it does not take. An infinite number that is known beforehand, as the mask in front of a softmax, reaches no cell.
    """
    steps: dict[int, _Cells] = {}
    outputs = [{name: key for key, name in reversed([*graph.outputs.items()])} for graph in program.graphs]

    def watch(k: int, node: Node, value: Any) -> None:
        if k not in steps:
            steps.clear()
            steps[k] = _Cells()
        wrong = steps[k].add(node, value)
        names = outputs[program.which[k]]
        if wrong is None or node.name not in names:
            return
        block = names.get(wrong.node.name, wrong.node.name)
        what = "" if wrong.node.op in FED else f"{place(wrong.node.path, wrong.node.line)}{wrong.node.op}: "
        raise Error(f"{what}step {k + 1} leads to a number that is {wrong.said}; it first appears in {k}/{block}")

    return watch


def require_finite(program: Program, blocks: Mapping[str, np.ndarray]) -> None:
    """Raises `Error` if what the last step leaves behind is not finite: parameters, states, buffers."""
    steps = len(program.which)
    for name, block in blocks.items():
        if not np.isfinite(block).all():
            raise Error(f"step {steps} leads to a number that is not finite; it first appears in {name}")


class _Wrong:
    """The node where a number first was infinite, or none."""

    def __init__(self, node: Node, value: torch.Tensor) -> None:
        self.node, self.said = node, "not a number" if bool(value.isnan().any()) else "infinite"


class _Cells:
    """The values of a step's nodes as cells would have them: an error, here NaN, for what is not finite."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._known: set[str] = set()  # nodes that hold an infinite number which is known beforehand
        self._wrong: dict[str, _Wrong] = {}  # nodes that hold an error, each with where it began

    def add(self, node: Node, value: Any) -> _Wrong | None:
        """Takes the next node with torch's value. Returns where the first error that its cells hold began, if any."""
        uses = node.uses()
        wrong = next((self._wrong[name] for name in uses if name in self._wrong), None)
        if wrong is not None:
            value = node.compute(self._values)
        self._values[node.name] = value
        known = node.op == CONSTANT or _infinite(node.args) or any(name in self._known for name in uses)
        if not isinstance(value, torch.Tensor):  # several results, which are nodes of their own
            self._known.update([node.name] if known else [])
            self._wrong.update({node.name: wrong} if wrong else {})
            return None
        if bool(value.isfinite().all()):
            return None
        if known and not bool(value.isnan().any()):
            self._known.add(node.name)
            return _Wrong(node, value)
        self._values[node.name] = torch.where(value.isinf(), math.nan, value)
        self._wrong[node.name] = wrong or _Wrong(node, value)
        return self._wrong[node.name]


def _infinite(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_infinite, value))
    return isinstance(value, float) and math.isinf(value)
