"""From a PyTorch model to the graph of one training step, by torch's own tools.

The model runs once on tensors without values (torch's fake tensors) while `make_fx` writes down each ATen operation;
autograd writes the backward pass into the same list. A second run takes the operations apart as `decompositions` says
and turns what is done in place into plain values. Nothing of the model runs on numbers here.
"""

from __future__ import annotations

import copy
import inspect
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from sgdsheet.errors import Error
from sgdsheet.torch_frontend import decompositions
from sgdsheet.torch_frontend.graph import CONSTANT, ITEM, Graph, Node, Use

LOSS = "loss"
_TORCH = str(Path(torch.__file__).parent)
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
_SAME = {"detach", "clone", "alias", "contiguous", "lift_fresh_copy", "lift_fresh", "lift", "view_of", "copy"}


def trace(
    model: torch.nn.Module,
    inputs: Sequence[Any],
    targets: Sequence[Any] = (),
    loss: Callable[..., Any] | None = None,
) -> Graph:
    """The graph of one step: `model(*inputs)`, `loss(output, *targets)` and the loss's gradients.

    Without a loss the forward pass alone. The model is in float64 and is not changed. Raises `Error` for what cannot
    be traced.
    """
    params = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    fed = {f"param/{name}": each.detach() for name, each in params.items()}
    fed |= {f"buffer/{name}": each.detach() for name, each in buffers.items()}
    fed |= {f"input/{number}": each for number, each in enumerate(inputs)}
    fed |= {f"target/{number}": each for number, each in enumerate(targets)}
    learned = [name for name, each in params.items() if each.requires_grad]
    keys: list[str] = []
    paths = _Paths(model)

    def step(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        leaves = {name: tensors[f"param/{name}"].detach() for name in params}
        for name in learned:
            leaves[name].requires_grad_(loss is not None)
        state = {name: tensors[f"buffer/{name}"].clone() for name in buffers}
        state.update(leaves)
        output = torch.func.functional_call(model, state, tuple(tensors[f"input/{i}"] for i in range(len(inputs))))
        flat = [each for each in pytree.tree_leaves(output) if isinstance(each, torch.Tensor)]
        found = {"output" if len(flat) == 1 else f"output/{i}": each for i, each in enumerate(flat)}
        if loss is not None:
            paths.here(LOSS)
            value = loss(output, *(tensors[f"target/{i}"] for i in range(len(targets))))
            _require_scalar(value)
            paths.follow(value)
            grads = torch.autograd.grad(value, [leaves[name] for name in learned], allow_unused=True)
            found[LOSS] = value
            found |= {f"grad/{name}": grad for name, grad in zip(learned, grads, strict=True) if grad is not None}
        found |= {f"buffer/{name}": state[name] for name in buffers}
        keys[:] = found
        return [each.detach() for each in found.values()]

    with warnings.catch_warnings(), _explained(), _plain_attention():
        warnings.simplefilter("ignore")
        with paths:
            first = _make_fx(step, decomposition_table=decompositions.in_place(), record_stack_traces=True)(fed)
        marks = paths.marks(first)
        second = _again(first, [fed[name] for name in fed], marks)
    return _graph(second, list(fed), keys)


def _make_fx(function: Callable[..., Any], **options: Any) -> Callable[..., torch.fx.GraphModule]:
    known = inspect.signature(make_fx).parameters
    options = {name: value for name, value in options.items() if name in known}
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True, **options)


def _again(first: torch.fx.GraphModule, fed: list[Any], marks: dict[str, dict[str, Any]]) -> torch.fx.GraphModule:
    """The same operations without those in place, taken apart, each with the mark of the one it comes from."""
    begins: list[tuple[int, dict[str, Any]]] = []

    class Marking(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            mode = get_proxy_mode()
            assert mode is not None
            begins.append((len(mode.tracer.graph.nodes), marks.get(n.name, {})))
            return super().run_node(n)

    def run(*tensors: Any) -> Any:
        return Marking(first).run(*tensors)

    functional = torch.func.functionalize(run, remove="mutations")
    second = _make_fx(functional, decomposition_table=decompositions.table())(*fed)
    bounds = [*begins, (len(second.graph.nodes), {})]
    mark, position = {}, 0
    for number, node in enumerate(second.graph.nodes):
        while position < len(begins) and bounds[position][0] <= number:
            mark = bounds[position][1]
            position += 1
        node.meta["mark"] = mark
    second.graph.eliminate_dead_code()
    return second


class _Paths:
    """Which module each operation of the first run belongs to, forward and backward."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model, self._handles = model, []
        self._changes: list[tuple[int, str, bool]] = []
        self._stack: list[str] = [""]
        self._of: dict[Any, str] = {}

    def __enter__(self) -> None:
        for path, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter(path)))
            self._handles.append(module.register_forward_hook(self._leave()))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def here(self, path: str, backward: bool = False) -> None:
        mode = get_proxy_mode()
        assert mode is not None
        self._changes.append((len(mode.tracer.graph.nodes), path, backward))

    def follow(self, loss: torch.Tensor) -> None:
        """Has each step of the backward pass say which module it comes from."""
        self._claim(loss, LOSS)
        for node, path in self._of.items():
            node.register_prehook(lambda _, path=path: self.here(path, True))

    def marks(self, first: torch.fx.GraphModule) -> dict[str, dict[str, Any]]:
        changes = iter([*self._changes, (len(first.graph.nodes) + 1, "", False)])
        path, backward = "", False
        following = next(changes)
        marks = {}
        for number, node in enumerate(first.graph.nodes):
            while following[0] <= number:
                path, backward = following[1:]
                following = next(changes)
            marks[node.name] = {"path": path, "backward": backward, "line": _line(node.meta.get("stack_trace"))}
        return marks

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(module: Any, args: Any) -> None:
            self._stack.append(path)
            self.here(path)

        return hook

    def _leave(self) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            path = self._stack.pop()
            for each in pytree.tree_leaves(output):
                self._claim(each, path)
            self.here(self._stack[-1])

        return hook

    def _claim(self, tensor: Any, path: str) -> None:
        """Every step behind a tensor that no module has claimed yet belongs to this one."""
        waiting = [getattr(tensor, "grad_fn", None)]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in self._of:
                self._of[node] = path
                waiting.extend(each for each, _ in node.next_functions)


@contextmanager
def _plain_attention() -> Any:
    """Attention as matrix products and a softmax, not as one fused kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _explained() -> Any:
    """Turns what torch raises for a model that cannot be traced into one clear line."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

    try:
        yield
    except Error:
        raise
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise Error(
            f"{_where(error)}the model looks at a tensor's values ({error.func}) to decide what to compute; a sheet's "
            "formulas are fixed when it is made. Choose with torch.where instead"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise Error(f"{_where(error)}the model cannot be traced: {reason}") from None


def _where(error: BaseException) -> str:
    """`file.py, line 12: ` for the last line outside torch and this package that led to an error."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_TORCH, str(Path(__file__).parent.parent)))
    ]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: " if frames else ""


def _line(stack: str | None) -> str:
    """The last line outside torch in a recorded stack, as `model.py, line 12`."""
    found = ""
    for text in (stack or "").splitlines():
        text = text.strip()
        if text.startswith('File "') and not text.startswith(f'File "{_TORCH}'):
            file, _, rest = text.removeprefix('File "').partition('", line ')
            found = f"{Path(file).name}, line {rest.partition(',')[0]}"
    return found


def _require_scalar(value: Any) -> None:
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise Error(f"expected the loss to be one number, got {got}; take its mean or sum")


def _graph(module: torch.fx.GraphModule, fed: list[str], keys: list[str]) -> Graph:
    """The graph as plain data: constants computed, what changes nothing left out, names that a reader can follow."""
    return _Reader(module, fed, keys).graph


class _Reader:
    def __init__(self, module: torch.fx.GraphModule, fed: list[str], keys: list[str]) -> None:
        self._module, self._fed = module, iter(fed)
        self._values: dict[torch.fx.Node, Any] = {}  # a Use, a constant tensor, or a tuple of either
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._same: dict[str, Any] = {}  # what was computed already, by the text of its operation
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
        if node.op == "placeholder":
            name = next(self._fed)
            return self._add(
                Node(name, name.partition("/")[0], shape=tuple(node.meta["val"].shape), dtype=_dtype(node))
            )
        if node.op == "get_attr":
            value = getattr(self._module, str(node.target))
            return value.double() if value.is_floating_point() else value
        if node.target.__name__ == "getitem":
            whole, number = node.args
            if isinstance(whole, torch.fx.Node) and isinstance(self._values[whole], tuple):
                return self._values[whole][number]
        kind, _, overload = node.target.__name__.partition(".")
        namespace = node.target.namespace
        args, kwargs = list(node.args), {k: v for k, v in node.kwargs.items() if k not in _STORAGE}
        if namespace == "prims" and kind == "convert_element_type":
            kind, overload, args, kwargs = "_to_copy", "default", args[:1], {"dtype": args[1]}
        elif namespace != "aten":
            kind = f"{namespace}.{kind}"
        value = node.meta.get("val")
        if kind == "_to_copy" and _kind(kwargs.get("dtype")) in (None, _kind(args[0].meta["val"].dtype)):
            return self._values[args[0]]
        if kind in _SAME and isinstance(args[0], torch.fx.Node):
            return self._values[args[-1] if kind == "copy" else args[0]]
        known = [self._values[each] for each in node.all_input_nodes]
        if kind in _FILLS:
            return _fill(kind, args, kwargs, value)
        if kind not in _RANDOM and all(isinstance(each, torch.Tensor) for each in known):
            return self._computed(node)
        mark = node.meta.get("mark", {})
        op = "random" if kind in _RANDOM else f"{kind}.{overload}"
        where = {"path": mark.get("path", ""), "backward": mark.get("backward", False), "line": mark.get("line", "")}
        plain = tuple(self._plain(each) for each in args)
        if op == "random":
            plain, kwargs = (f"{kind}.{overload}", *plain), kwargs
        name = self._name(where["path"], "mask" if op == "random" else kind, where["backward"])
        options = {key: self._plain(each) for key, each in kwargs.items()}
        same = repr((op, plain, sorted(options.items())))
        if op != "random" and same in self._same:
            return self._same[same]
        self._same[same] = made = self._made(node, name, op, plain, options, where)
        return made

    def _made(self, node: Any, name: str, op: str, plain: Any, options: dict[str, Any], where: Any) -> Any:
        value = node.meta.get("val")
        if isinstance(value, (tuple, list)):
            whole = self._add(Node(name, op, plain, options, None, **where))
            return tuple(
                self._add(
                    Node(
                        f"{name}/{number}",
                        ITEM,
                        (whole, number),
                        {},
                        tuple(each.shape),
                        _kind(each.dtype) or "float",
                        **where,
                    )
                )
                if isinstance(each, torch.Tensor)
                else None
                for number, each in enumerate(value)
            )
        return self._add(Node(name, op, plain, options, tuple(value.shape), _dtype(node), **where))

    def _add(self, node: Node) -> Use:
        self._nodes.append(node)
        self._names.add(node.name)
        return Use(node.name)

    def _name(self, path: str, kind: str, backward: bool) -> str:
        parts = [path, "backward" if backward else "", kind.strip("_")]
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
        flat = value.double() if value.is_floating_point() else value
        numbers: Any = flat.reshape(-1).tolist()
        if len(set(map(repr, numbers))) == 1:
            numbers = numbers[0]
        name = self._name("", CONSTANT, False)
        return self._add(Node(name, CONSTANT, (numbers,), {}, tuple(value.shape), _kind(value.dtype) or "float"))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return self._use(self._values[value])
        if isinstance(value, (list, tuple)):
            return [self._plain(each) for each in value]
        if isinstance(value, torch.dtype):
            return _kind(value)
        if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
            return None
        return value

    def _computed(self, node: torch.fx.Node) -> Any:
        """The value of an operation on constants alone."""
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: self._values[each])
        kwargs = {key: value for key, value in kwargs.items() if key != "device"}
        if kwargs.get("dtype") in (torch.float32, torch.float16, torch.bfloat16):
            kwargs["dtype"] = torch.float64
        value = node.target(*args, **kwargs)
        return tuple(value) if isinstance(value, (tuple, list)) else value

    def _used(self, outputs: dict[str, str]) -> list[Node]:
        """The nodes that an output needs, and all that are fed but not drawn."""
        needed = set(outputs.values())
        used = []
        for node in reversed(self._nodes):
            if node.name in needed or node.op in ("param", "buffer", "input", "target"):
                needed.update(node.uses())
                used.append(node)
        return used[::-1]


def _fill(kind: str, args: list[Any], kwargs: dict[str, Any], value: torch.Tensor) -> torch.Tensor:
    """A constant of one number in the shape of the traced value."""
    number: Any = 0
    if "ones" in kind:
        number = 1
    elif "full" in kind:
        number = kwargs["fill_value"] if "fill_value" in kwargs else args[2 if kind == "new_full" else 1]
    elif kind == "scalar_tensor":
        number = args[0]
    dtype = torch.float64 if value.dtype.is_floating_point else value.dtype
    return torch.full(tuple(value.shape), number, dtype=dtype)


def _dtype(node: torch.fx.Node) -> str:
    return _kind(node.meta["val"].dtype) or "float"


def _kind(dtype: torch.dtype | None) -> str | None:
    if dtype is None:
        return None
    if dtype == torch.bool:
        return "bool"
    return "float" if dtype.is_floating_point else "int"


def float64(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model in float64."""
    try:
        return copy.deepcopy(model).double()
    except Exception as error:
        raise Error(f"the model cannot be copied: {' '.join(str(error).split())[:200]}") from None
