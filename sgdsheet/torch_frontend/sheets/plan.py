"""Who gets cells of their own in a step; whatever does not stands inside the formulas that use it.

What only moves elements spends no cells, and neither does a condition, or a small formula that one other formula alone
uses. A product stands inside the sum that alone uses it: bias + input @ weight.T + hidden @ weight.T.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from sgdsheet import tensor
from sgdsheet.expr import Expr, Number, Range, Ref, Text
from sgdsheet.tensor import Array, span
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.ops.products import TERMS
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, Graph, Node, Use

INLINE = 6  # a formula stands inside the one that uses it if it refers to no more cells than this
DEEPEST = 24  # levels of a formula that stands inside another; Excel nests functions in 64 levels at most
PIECES = 4  # ranges that a row may be in, to be multiplied with another; else it gets cells of its own
UNCOUNTED = -100  # the class of examples that torch's cross-entropy leaves out
SUMS = ("sum.default", "sum.dim_IntList", "mean.default", "mean.dim")
PRODUCTS = ("mm.default", "bmm.default", "addmm.default")


class Plan:
    """Who uses what in a graph, and what follows for who has cells."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = {node.name: node for node in graph.nodes}
        self._users: dict[str, list[Node]] = {name: [] for name in self.nodes}
        for node in graph.nodes:
            for name in node.uses():
                self._users[name].append(node)
        self._count = Counter({name: len(users) for name, users in self._users.items()})
        self._count.update(graph.outputs.values())
        self._keys: dict[str, str] = {}
        self._inside: set[str] = set()
        for key, name in graph.outputs.items():
            if not key.startswith("buffer/"):
                self._keys.setdefault(name, key)
            self._follow(self.nodes[name], key)

    def key(self, node: Node) -> str | None:
        """Returns the output that the node's block is, if it is one."""
        return self._keys.get(node.name)

    def has_cells(self, node: Node, refers: int, depth: int) -> bool:
        """Returns whether a node gets cells whose formulas refer to that many cells, and are that many levels deep."""
        if self.key(node) is not None:
            return True
        return depth > 0 and (depth > DEEPEST or refers > self._most(node))

    def needs_cells(self, node: Node, array: Array) -> bool:
        """Returns whether a node gets cells whose elements, known by now, are `array`."""
        if node.op in FED or node.op == CONSTANT or not array.size:
            return False
        elements = array.reshape(-1).tolist()
        if any(isinstance(each, float) and not math.isfinite(each) for each in elements):
            return False
        if self.key(node) is not None or self._scattered(node, array):
            return True
        formulas = [each for each in elements if isinstance(each, Expr) and not isinstance(each, (Ref, Number))]
        most = self._most(node)
        if not most:
            return bool(formulas)
        return any(depth > 0 and (depth > DEEPEST or refers > most) for refers, depth in map(_weight, formulas))

    def _most(self, node: Node) -> float:
        """Returns to how many cells the node's formula may refer where it stands inside another."""
        if node.dtype == "bool" or node.name in self._inside or node.op in ops.REARRANGED:
            return math.inf
        if self._leaves_out(node):
            return 2 * INLINE
        user = self._only_user(node)
        if user is None or user.numel() != node.numel():
            return 0
        if node.op in PRODUCTS:  # of one module: what another one adds to it, as a skip connection does, is a sum
            return INLINE if node.op != "bmm.default" and user.op == "add.Tensor" and user.path == node.path else 0
        return INLINE if node.op in ops.ELEMENTWISE and user.op in ops.ELEMENTWISE else 0

    def _leaves_out(self, node: Node) -> bool:
        """Whether a node only sees to it that a cross-entropy leaves out examples whose class is -100."""
        if node.op not in ("where.self", "sum.default") or (node.dtype == "float" and not node.backward):
            return False
        condition = self.nodes[node.uses()[0]]
        return condition.op == "ne.Scalar" and condition.args[1] == UNCOUNTED and condition.dtype == "bool"

    def _only_user(self, node: Node) -> Node | None:
        """The one operation that takes a node's elements, whichever shape it gives them before; None for several."""
        product = node.op in PRODUCTS
        while self._count[node.name] == 1 and self._users[node.name]:
            user = self._users[node.name][0]
            if not product or user.op not in ops.REARRANGED or user.numel() != node.numel():
                return user
            node = user
        return None

    def _scattered(self, node: Node, array: Array) -> bool:
        """Whether a sum of products takes elements that were moved, and they lie in no ranges to write it with."""
        if node.op not in ops.REARRANGED or not any(isinstance(each, Expr) for each in array.reshape(-1)):
            return False
        for user in self._users[node.name]:
            takes = [isinstance(each, Use) and each.node == node.name for each in user.args]
            if user.op == "convolution.default" and not _in_ranges(array):
                return True
            if user.op in SUMS and not (_in_lines(array, TERMS) or _in_lines(np.swapaxes(array, 0, -1), TERMS)):
                return True
            if user.op in PRODUCTS:
                left, right = takes[1:3] if user.op == "addmm.default" else takes[-2:]
                if (left and not _in_lines(array)) or (right and not _in_lines(np.swapaxes(array, -1, -2))):
                    return True
        return False

    def _follow(self, node: Node, key: str) -> None:
        """Marks what an output is made of by moving elements alone, as long as nothing else uses it."""
        if key.startswith("buffer/") and self._count[node.name] == 1:
            self._inside.add(node.name)
        while node.op in ops.REARRANGED and len(node.uses()) == 1:
            node = self.nodes[node.uses()[0]]
            if self._count[node.name] != 1:
                return
            self._inside.add(node.name)


def _weight(formula: Expr) -> tuple[int, int]:
    """Returns to how many cells and ranges a formula refers, and how many levels deep it is."""
    refers = depth = 0
    waiting = [(formula, 1)]
    while waiting:
        part, level = waiting.pop()
        if isinstance(part, (Ref, Range)):
            refers += 1
        elif not isinstance(part, (Number, Text)):
            depth = max(depth, level)
            waiting += [(each, level + 1) for each in part.operands()]
    return refers, depth


def _in_ranges(array: Array) -> bool:
    """Whether each matrix of the last two dimensions fills one range."""
    try:
        for matrix in array.reshape(-1, *array.shape[-2:]):
            span(matrix)
    except ValueError:
        return False
    return True


def _in_lines(array: Array, most: int = PIECES) -> bool:
    """Whether each row is in few ranges."""
    for row in array.reshape(-1, array.shape[-1] if array.ndim else 1):
        found = tensor.pieces(row) if len(row) > most else []
        if found is None or len(found) > most:
            return False
    return True
