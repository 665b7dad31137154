"""A training step as plain data: a list of nodes, each an ATen operation on earlier ones, that torch can run again.

A graph goes into the workbook as text, a row a node, and comes back from there without running anything that the file
says: a node's operation is looked up among those that `ops` knows, and nothing else is called.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sgdsheet.errors import Error, one_line
from sgdsheet.reference import float64_by_default

MOST = 2**26  # the most numbers that one step may compute: half a gigabyte in float64
# What a node is that no operation computes: fed from outside, or known since the workbook was made.
RANDOM, CONSTANT, ITEM = "random", "constant", "getitem"
FED = ("param", "buffer", "input", "target", RANDOM)
LOSS = "loss"  # the path of what is computed after the model, and the output that it leads to

# What Python raises for a text that is not what it should be.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)

Draw = Callable[["Node", list[Any]], Any]


@dataclass(frozen=True)
class Use:
    """An argument that is another node's value."""

    node: str


@dataclass(frozen=True)
class Node:
    """One operation. `op` is an ATen overload as in `mm.default`, one of `FED`, `CONSTANT` or `ITEM`.

    `shape` and `dtype` (`float`, `int` or `bool`) are those of its value; an operation with several results has shape
    None, and nodes with the op `ITEM` are its results. `path` is the module that it belongs to, `backward` tells
    whether it is part of the backward pass. `line` is where the model's own source asked for it, and `variable` what
    the source calls it, if these are known.
    """

    name: str
    op: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    dtype: str = "float"
    path: str = ""
    backward: bool = False
    line: str = ""
    variable: str = ""

    def uses(self) -> list[str]:
        """The names of the nodes whose values it takes, in order."""
        return list(_uses((*self.args, *self.kwargs.values())))

    @property
    def owner(self) -> str:
        """The path of the module that a parameter or a buffer belongs to."""
        return self.name.partition("/")[2].rpartition(".")[0]

    @property
    def title(self) -> str:
        """Its name without its module's path, for a reader who is told the module anyway."""
        return self.name.removeprefix(f"{self.path}/").rpartition("/")[2]

    def numel(self) -> int:
        """How many numbers its value has; 0 for one with several results, which are nodes of their own."""
        return 0 if self.shape is None else math.prod(self.shape)

    def compute(self, values: Mapping[str, Any]) -> Any:
        """Its value by torch, given those of the nodes that it takes: a tensor, or a list of tensors."""
        from sgdsheet.torch_frontend.ops import overload

        if self.op == CONSTANT:
            return _full(self)
        if self.op == ITEM:
            whole, number = self.args
            value = values[whole.node][number]
        else:
            kwargs = {name: _valued(each, values) for name, each in self.kwargs.items()}
            if "dtype" in kwargs:
                kwargs["dtype"] = _dtype(kwargs["dtype"])
            value = overload(self.op)(*_valued(list(self.args), values), **kwargs)
        # A view's shape fits whatever lies in order, whichever order it had when the model was traced.
        return value.contiguous() if hasattr(value, "contiguous") else value


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed, and the names of those that a step is asked for.

    `outputs` has the keys `loss`, `output` (or `output/0`, `output/1`, … of a model that returns several),
    `grad/{parameter}` and `buffer/{buffer}`; the last are the buffers after the step.
    """

    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]

    def rows(self) -> list[list[str]]:
        """The graph as text, to stand in a sheet: a row for each node, and a row for each output."""
        rows = [
            [
                node.name,
                node.op,
                json.dumps(_to_plain(list(node.args))),
                json.dumps(_to_plain(dict(node.kwargs))),
                json.dumps(node.shape),
                node.dtype,
                node.path,
                "backward" if node.backward else "forward",
            ]
            for node in self.nodes
        ]
        return rows + [[key, "output", json.dumps({"node": name})] for key, name in self.outputs.items()]

    @staticmethod
    def from_rows(rows: Iterable[Sequence[str]], where: str, first: int = 1) -> Graph:
        """The graph whose `rows` these are; `check` it before it is run.

        Raises `Error`, naming `where` and the line, counted from `first`, for text that is no graph.
        """
        nodes, outputs, known = [], {}, set()
        for number, row in enumerate(rows, start=first):
            if not row:
                continue
            try:
                if row[1] == "output":
                    outputs[row[0]] = json.loads(row[2])["node"]
                    continue
                name, op, args, kwargs, shape, dtype, path, way = row
                args, kwargs, shape = json.loads(args), json.loads(kwargs), json.loads(shape)
                if name in known or (shape is not None and any(type(size) is not int or size < 0 for size in shape)):
                    raise ValueError
                node = Node(
                    name,
                    op,
                    tuple(_from_plain(args)),
                    _from_plain(kwargs),
                    None if shape is None else tuple(map(int, shape)),
                    dtype,
                    path,
                    way == "backward",
                )
            except UNREADABLE:
                raise Error(f"{where}, line {number}: was edited and cannot be read; make the workbook anew") from None
            if unknown := [each for each in node.uses() if each not in known]:
                raise Error(f"{where}, line {number}: {name!r} takes {unknown[0]!r}, which no line before it computes")
            known.add(name)
            nodes.append(node)
        if lacking := [name for name in outputs.values() if name not in known]:
            raise Error(f"{where}: no line computes the output {lacking[0]!r}; make the workbook anew")
        return Graph(tuple(nodes), outputs)

    def check(self, where: str, first: int = 1) -> None:
        """Raises `Error` unless each node's operation is known, fits its arguments, and gives what the node says.

        torch's fake tensors find that out without computing or allocating anything. `where` and `first`, the number of
        the first node's line, say where the graph was read.
        """
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        values: dict[str, Any] = {}
        total = 0
        for line, node in enumerate(self.nodes, start=first):
            try:
                total += math.prod(max(size, 1) for size in node.shape or ())
                if total > MOST:
                    raise Error(f"a step would hold more than {MOST:,} numbers")
                with float64_by_default(), silently(), FakeTensorMode(allow_non_fake_inputs=True):
                    if node.op in FED:
                        value = torch.empty(node.shape or (), dtype=_dtype(node.dtype))
                    else:
                        value = node.compute(values)
                if node.op in ("param", "buffer", "input", "target") and not node.name.startswith(f"{node.op}/"):
                    raise Error(f"its name should begin with {node.op}/")
                _require_promised(node, value)
            except Exception as error:  # whatever torch raises for arguments that no model has led to
                raise Error(f"{where}, line {line}: {node.name!r} cannot be computed: {_said(error)}") from None
            values[node.name] = value

    def run(
        self, feeds: Mapping[str, Any], draw: Draw | None = None, watch: Callable[[Node, Any], None] | None = None
    ) -> dict[str, Any]:
        """Every node's value, computed by torch.

        `feeds` holds a tensor for each node that is fed, by the node's name. A `random` node that is not among them is
        drawn by `draw`. `watch` is called with each node and its value, in order. Raises `Error` where torch refuses.
        """
        import torch

        values: dict[str, Any] = {}
        with torch.no_grad(), float64_by_default():
            for node in self.nodes:
                try:
                    if node.name in feeds:
                        value = feeds[node.name]
                    elif node.op == RANDOM and draw is not None:
                        value = draw(node, _valued(list(node.args), values))
                    else:
                        value = node.compute(values)
                except Exception as error:  # such as IndexError: what a reader typed may be no row of an embedding
                    raise Error(f"{node.name!r} ({node.op}) cannot be computed: {_said(error)}") from None
                values[node.name] = value
                if watch is not None:
                    watch(node, value)
        return values


def place(path: str, line: str) -> str:
    """Where an operation is, to begin a message with: `net.py, line 3, in module 'encoder.0': `, or less."""
    parts = [line, f"in module {path!r}" if path and path != LOSS else "in the loss" if path else ""]
    said = ", ".join(part for part in parts if part)
    return f"{said}: " if said else ""


@contextmanager
def silently() -> Iterator[None]:
    """Without what torch's fake tensors log of an operation that they refuse, beside raising an error."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _full(node: Node) -> Any:
    """A constant: one number everywhere, or each of its own."""
    import torch

    (numbers,) = node.args
    if node.shape is None or (isinstance(numbers, list) and len(numbers) != node.numel()):
        raise ValueError(f"a constant of shape {node.shape} does not have {numbers!r:.40}")
    if isinstance(numbers, list):
        return torch.tensor(numbers, dtype=_dtype(node.dtype)).reshape(node.shape)
    return torch.full(node.shape, numbers, dtype=_dtype(node.dtype))


def _require_promised(node: Node, value: Any) -> None:
    """Raises `Error` if a value has not the shape and dtype that its node says."""
    import torch

    if isinstance(value, torch.Tensor) and node.shape is not None:
        if tuple(value.shape) == node.shape and value.dtype == _dtype(node.dtype):
            return
        raise Error(f"it has shape {tuple(value.shape)} and {value.dtype}, not {node.shape} and {node.dtype}")
    if isinstance(value, (list, tuple)) and node.shape is None:
        if sum(each.numel() for each in value if isinstance(each, torch.Tensor)) <= MOST:
            return
        raise Error(f"its results have more than {MOST:,} numbers")
    raise Error("it has several results where one is expected, or one where several are")


def _dtype(kind: str) -> Any:
    import torch

    return {"float": torch.float64, "int": torch.int64, "bool": torch.bool}[kind]


def _said(error: Exception) -> str:
    """An error's message in one line."""
    return one_line(error, 200)


def _uses(value: Any) -> Iterable[str]:
    if isinstance(value, Use):
        yield value.node
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _uses(each)


def _to_plain(value: Any) -> Any:
    if isinstance(value, Use):
        return {"node": value.node}
    if isinstance(value, (list, tuple)):
        return [_to_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _to_plain(each) for key, each in value.items()}
    return value


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(each) for each in value]
    if isinstance(value, dict):
        if set(value) != {"node"}:
            return {key: _from_plain(each) for key, each in value.items()}
        if not isinstance(value["node"], str):
            raise ValueError("a node's name is a text")
        return Use(value["node"])
    return value


def _valued(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Use):
        return values[value.node]
    if isinstance(value, (list, tuple)):
        return [_valued(each, values) for each in value]
    if isinstance(value, dict):
        return {key: _valued(each, values) for key, each in value.items()}
    return value
