"""From torch's graph of a step to plain nodes: constants computed, what changes nothing left out, readable names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from sgdsheet.errors import Error
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, ITEM, RANDOM, Graph, Node, Use, place
from sgdsheet.torch_frontend.tracing.origins import Origin

aten = torch.ops.aten

# Arguments that say where and how to store a tensor, not what it is.
_STORAGE = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "requires_grad", "generator"}
# A value's shape is all that these take from their first argument.
_FILLS = set(
    "full_like zeros_like ones_like empty_like new_zeros new_ones new_full new_empty empty empty_permuted "
    "empty_strided new_empty_strided full zeros ones scalar_tensor".split()
)
_RANDOM = set(
    "bernoulli rand rand_like randn randn_like randint randint_like randperm uniform normal normal_functional "
    "multinomial exponential geometric native_dropout log_normal cauchy".split()
)
_SAME = {"detach", "clone", "alias", "contiguous", "lift_fresh_copy", "lift_fresh", "lift", "view_of"}


@dataclass(frozen=True)
class Read:
    """A step's graph, and the place of each of its random nodes among all numbers that the step draws, from 0."""

    graph: Graph
    draws: Mapping[str, int]


def read(module: torch.fx.GraphModule, fed: list[str], keys: list[str]) -> Read:
    """The graph of a traced step, whose placeholders are `fed` and whose results are `keys`."""
    reader = _Reader(module, fed, keys)
    used = {node.name for node in reader.graph.nodes}
    return Read(reader.graph, {name: number for name, number in reader.draws.items() if name in used})


def draws(target: Any) -> bool:
    """Whether an operation draws random numbers that become data."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.name.partition("::")[2].rstrip("_") in _RANDOM


class _Reader:
    def __init__(self, module: torch.fx.GraphModule, fed: list[str], keys: list[str]) -> None:
        self._module, self._fed = module, iter(fed)
        self._values: dict[torch.fx.Node, Any] = {}  # a Use, a constant tensor, or a tuple of either
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._same: dict[str, Any] = {}  # what was computed already, by the text of its operation
        self.draws: dict[str, int] = {}
        outputs: dict[str, str] = {}
        for node in module.graph.nodes:
            if node.op == "output":
                for key, each in zip(keys, pytree.tree_leaves(node.args[0]), strict=True):
                    outputs[key] = self._use(self._values[each]).node
            else:
                self._values[node] = self._read(node)
        outputs = {key: name for key, name in outputs.items() if not (key.startswith("buffer/") and name == key)}
        self.graph = Graph(tuple(self._used(outputs)), outputs)

    def _read(self, node: torch.fx.Node) -> Any:
        value: Any = node.meta.get("val")
        if node.op == "placeholder":
            name = next(self._fed)
            return self._add(Node(name, name.partition("/")[0], shape=tuple(value.shape), dtype=_kind(value)))
        if node.op == "get_attr":
            held = getattr(self._module, str(node.target))
            if not isinstance(held, torch.Tensor):
                return None  # a generator of random numbers, or a part of the program that is chosen from
            return held.double() if held.is_floating_point() else held
        if value is None:
            return None  # a check of values, which computes nothing
        target: Any = node.target
        if target.__name__ == "getitem":
            whole, number = node.args
            return self._values[whole][number]  # type: ignore[index]
        kind, _, overload = target.__name__.partition(".")
        args: list[Any] = list(node.args)
        kwargs = {name: each for name, each in node.kwargs.items() if name not in _STORAGE}
        if target.namespace == "prims" and kind == "convert_element_type":
            kind, overload, args, kwargs = "_to_copy", "default", args[:1], {"dtype": args[1]}
        elif target.namespace != "aten":
            kind = f"{target.namespace}.{kind}"
        if (same := self._unchanged(kind, args, value)) is not None:
            return same
        if kind == "copy_":
            held, source = self._values[args[0]], self._values[args[1]]
            if args[0].op == "call_function" and isinstance(held, torch.Tensor) and isinstance(source, torch.Tensor):
                return held.copy_(source)  # constants that the step has made itself
            what = repr(held.node) if isinstance(held, Use) else "a tensor that is not its own"
            raise Error(f"forward changes {what} in place; change a copy of it, or make it a buffer")
        if kind in _FILLS:
            return _fill(kind, args, kwargs, value)
        if kind not in _RANDOM and all(isinstance(self._values[each], torch.Tensor) for each in node.all_input_nodes):
            return self._computed(node)
        if kind == "as_strided" and not _dense(args[0]):
            where = node.meta.get("origin", Origin()).place
            raise Error(f"{where}as_strided of a tensor that is not contiguous; call contiguous() before it")
        if kind == "copy":
            return self._copied(node, args)
        if kind == "index_put" and any(each is not None and each.meta["val"].dtype == torch.bool for each in args[1]):
            return self._filled(node, args)
        return self._operation(node, kind, overload, args, kwargs, value)

    def _unchanged(self, kind: str, args: list[Any], value: Any) -> Any:
        """What an operation gives back as it is: a view of the whole, a copy, a change of precision."""
        if kind == "copy" and _alike(args[1], value):
            return self._values[args[1]]
        if kind in _SAME or (kind == "_to_copy" and _alike(args[0], value)):
            return self._values[args[0]]
        return None

    def _copied(self, node: torch.fx.Node, args: list[Any]) -> Any:
        """`copy_` of another shape or kind of number, which takes those of what it is copied to."""
        value, source = node.meta["val"], args[1]
        if isinstance(self._values[source], torch.Tensor):
            return self._values[source].to(_DTYPES[_kind(value)]).expand(value.shape)
        made: Any = self._values[source]
        if _kind(source.meta["val"]) != _kind(value):
            cast = torch.empty(source.meta["val"].shape, dtype=value.dtype, device="meta")
            made = self._operation(node, "_to_copy", "default", [made], {"dtype": value.dtype}, cast)
        return self._operation(node, "expand", "default", [made, list(value.shape)], {}, value)

    def _filled(self, node: torch.fx.Node, args: list[Any]) -> Any:
        """`x[mask] = number`, which chooses where the mask is true."""
        x, (mask, *others), number, *accumulate = args
        if others or any(accumulate) or number.meta["val"].numel() != 1:
            where = node.meta.get("origin", Origin()).place
            raise Error(f"{where}what is assigned through a mask depends on how many are true; use torch.where instead")
        value, shape = node.meta["val"], mask.meta["val"].shape
        if missing := value.ndim - len(shape):
            shape = [*shape, *[1] * missing]
            mask = self._operation(node, "view", "default", [mask, shape], {}, torch.empty(shape, dtype=torch.bool))
        return self._operation(node, "where", "self", [mask, number, x], {}, value)

    def _operation(
        self, node: torch.fx.Node, kind: str, overload: str, args: list[Any], kwargs: dict[str, Any], value: Any
    ) -> Any:
        """The node of an operation with this value, or the one that computes the same already."""
        origin: Origin = node.meta.get("origin", Origin())
        plain = [self._plain(each) for each in args]
        options = {name: self._plain(each) for name, each in kwargs.items()}
        op, name = f"{kind}.{overload}", self._name(origin, kind)
        if kind in _RANDOM:
            op, plain, name = RANDOM, [op, *plain], self._name(origin, "mask")
            self.draws[name] = node.meta["draw"]
        same = repr((op, plain, sorted(options.items())))
        if op == RANDOM or same not in self._same:
            self._same[same] = self._made(name, op, tuple(plain), options, value, origin)
        return self._same[same]

    def _made(self, name: str, op: str, args: Any, kwargs: Any, value: Any, origin: Origin) -> Any:
        where = {"path": origin.path, "backward": origin.backward, "line": origin.line}
        where["variable"] = origin.variable
        if not isinstance(value, (tuple, list)):
            return self._add(_valued(Node(name, op, args, kwargs, **where), value))
        whole = self._add(Node(name, op, args, kwargs, None, **where))
        found = []
        for number, each in enumerate(value):
            item = Node(f"{name}/{number}", ITEM, (whole, number), **where)
            found.append(self._add(_valued(item, each)) if isinstance(each, torch.Tensor) else None)
        return tuple(found)

    def _add(self, node: Node) -> Use:
        self._nodes.append(node)
        self._names.add(node.name)
        return Use(node.name)

    def _name(self, origin: Origin, kind: str) -> str:
        parts = [origin.path, "backward" if origin.backward else "", kind.strip("_")]
        first = name = "/".join(part for part in parts if part)
        number = 1
        while name in self._names:
            number += 1
            name = f"{first}_{number}"
        return name

    def _use(self, value: Any) -> Use:
        """A use of a value, which becomes a node if it is a constant."""
        if isinstance(value, Use):
            return value
        numbers: Any = value.reshape(-1).tolist()
        if len(set(map(repr, numbers))) == 1:
            numbers = numbers[0]
        return self._add(_valued(Node(self._name(Origin(), CONSTANT), CONSTANT, (numbers,)), value))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node) and self._values[value] is None:
            return None
        if isinstance(value, torch.fx.Node):
            return self._use(self._values[value])
        if isinstance(value, (list, tuple)):
            return [self._plain(each) for each in value]
        if isinstance(value, torch.dtype):
            return _kind_of(value)
        if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
            return None
        return value

    def _computed(self, node: torch.fx.Node) -> Any:
        """The value of an operation on constants alone."""
        args, kwargs = map_arg((node.args, node.kwargs), lambda each: self._values[each])
        kwargs = {name: each for name, each in kwargs.items() if name != "device"}
        if isinstance(kwargs.get("dtype"), torch.dtype):
            kwargs["dtype"] = _DTYPES[_kind_of(kwargs["dtype"])]
        target: Any = node.target
        if target in (
            aten.view.default,
            aten._unsafe_view.default,
        ):  # the numbers may lie in memory in another order than torch's own
            target = aten.reshape.default
        value = target(*args, **kwargs)
        return tuple(value) if isinstance(value, (tuple, list)) else value

    def _used(self, outputs: dict[str, str]) -> list[Node]:
        """The nodes that an output needs, and all that are fed but not drawn."""
        needed = set(outputs.values())
        used = []
        for node in reversed(self._nodes):
            if node.name in needed or (node.op in FED and node.op != RANDOM):
                needed.update(node.uses())
                used.append(node)
        return used[::-1]


_DTYPES = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}


def _fill(kind: str, args: list[Any], kwargs: dict[str, Any], value: torch.Tensor) -> torch.Tensor:
    """A constant of one number in the shape of the traced value."""
    number: Any = 0
    if "ones" in kind:
        number = 1
    elif "full" in kind:
        number = kwargs["fill_value"] if "fill_value" in kwargs else args[2 if kind == "new_full" else 1]
    elif kind == "scalar_tensor":
        number = args[0]
    return torch.full(tuple(value.shape), number, dtype=_DTYPES[_kind(value)])


def _valued(node: Node, value: torch.Tensor) -> Node:
    """The node with the shape and the kind of number of its value. Raises `Error` for one that no cells can hold."""
    if value.is_complex() or value.layout != torch.strided:
        kind = "complex numbers" if value.is_complex() else "a sparse tensor"
        raise Error(f"{place(node.path, node.line)}{node.op} gives {kind}, which cells cannot hold")
    return replace(node, shape=tuple(value.shape), dtype=_kind(value))


def _alike(node: Any, value: torch.Tensor) -> bool:
    """Whether a node's value has another's shape and kind of number."""
    held = node.meta["val"]
    return held.shape == value.shape and _kind(held) == _kind(value)


def _dense(node: torch.fx.Node) -> bool:
    """Whether a node's elements lie in order, from the beginning of what holds them."""
    held = node.meta["val"]
    return held.is_contiguous() and held.storage_offset() == 0


def _kind(value: torch.Tensor) -> str:
    return _kind_of(value.dtype)


def _kind_of(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    return "float" if dtype.is_floating_point else "int"
