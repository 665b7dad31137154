"""A training step as plain data: a list of nodes, each an ATen operation on earlier ones, that torch can run again.

A graph goes into the workbook as text, a row a node, and comes back from there without running anything that the file
says: a node's operation is looked up among those that `ops` knows, and nothing else is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sgdsheet.errors import Error

# What a node is that no operation computes: fed from outside, or known since the workbook was made.
FED = ("param", "buffer", "input", "target", "random")
CONSTANT, ITEM = "constant", "getitem"


@dataclass(frozen=True)
class Use:
    """An argument that is another node's value."""

    node: str


@dataclass(frozen=True)
class Node:
    """One operation. `op` is an ATen overload as in `mm.default`, one of `FED`, `CONSTANT` or `ITEM`.

    `shape` and `dtype` (`float`, `int` or `bool`) are those of its value; an operation with several results has shape
    None, and nodes with the op `ITEM` are its results. `path` is the module that it belongs to, `backward` tells
    whether it is part of the backward pass. `line` is where the model's own source asked for it, if that is known.
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

    def uses(self) -> list[str]:
        """The names of the nodes whose values it takes, in order."""
        return list(_uses((*self.args, *self.kwargs.values())))


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
    def from_rows(rows: Iterable[Sequence[str]], where: str) -> Graph:
        """The graph whose `rows` these are. Raises `Error`, naming `where`, for text that is no graph."""
        nodes, outputs, known = [], {}, set()
        for number, row in enumerate(rows, start=1):
            try:
                if row[1] == "output":
                    outputs[row[0]] = json.loads(row[2])["node"]
                    continue
                name, op, args, kwargs, shape, dtype, path, way = row
                args, kwargs, shape = json.loads(args), json.loads(kwargs), json.loads(shape)
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
            except (ValueError, TypeError, KeyError, AttributeError):
                raise Error(f"{where}, line {number}: was edited and cannot be read; make the workbook anew") from None
            if unknown := [each for each in node.uses() if each not in known]:
                raise Error(f"{where}, line {number}: {name!r} takes {unknown[0]!r}, which no line before it computes")
            known.add(name)
            nodes.append(node)
        if lacking := [name for name in outputs.values() if name not in known]:
            raise Error(f"{where}: no line computes the output {lacking[0]!r}; make the workbook anew")
        return Graph(tuple(nodes), outputs)

    def run(self, feeds: Mapping[str, Any], draw: Callable[[Node, list[Any]], Any] | None = None) -> dict[str, Any]:
        """Every node's value, computed by torch.

        `feeds` holds a tensor for each node that is fed, by the node's name. A `random` node that is not among them is
        drawn by `draw`.
        """
        import torch

        from sgdsheet.torch_frontend.ops import overload

        values: dict[str, Any] = {}
        dtypes = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
        with torch.no_grad():
            for node in self.nodes:
                if node.name in feeds:
                    value = feeds[node.name]
                elif node.op == CONSTANT:
                    value = torch.tensor(node.args[0], dtype=dtypes[node.dtype])
                    value = value.expand(node.shape) if value.ndim == 0 else value.reshape(node.shape)
                elif node.op == ITEM:
                    value = values[node.args[0].node][node.args[1]]
                else:
                    args = _valued(list(node.args), values)
                    if node.op == "random":
                        assert draw is not None
                        value = draw(node, args)
                    else:
                        kwargs = _valued(dict(node.kwargs), values)
                        value = overload(node.op)(
                            *args, **{k: dtypes[v] if k == "dtype" else v for k, v in kwargs.items()}
                        )
                values[node.name] = value
        return values


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
        return Use(value["node"]) if set(value) == {"node"} else {key: _from_plain(each) for key, each in value.items()}
    return value


def _valued(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Use):
        return values[value.node]
    if isinstance(value, (list, tuple)):
        return [_valued(each, values) for each in value]
    if isinstance(value, dict):
        return {key: _valued(each, values) for key, each in value.items()}
    return value
