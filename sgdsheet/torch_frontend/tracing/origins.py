"""Which module and which line each operation of a run comes from, forward and backward."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from sgdsheet.errors import Error
from sgdsheet.torch_frontend.program.graph import place
from sgdsheet.torch_frontend.tracing.constants import UNKNOWN, Constants

_TORCH, _OURS = str(Path(torch.__file__).parent), str(Path(__file__).parent)
_weight_norm: Any = torch._weight_norm  # pyright: ignore[reportPrivateImportUsage]
# What is called in place of some functions: float64 for what is less precise, plain formulas for what is fused.
_INSTEAD: dict[Any, Callable[..., Any]] = {
    torch.Tensor.float: torch.Tensor.double,
    torch.Tensor.half: torch.Tensor.double,
    torch.Tensor.bfloat16: torch.Tensor.double,
    _weight_norm: lambda v, g, dim=0: v * (g / torch.norm_except_dim(v, 2, dim)),
}


def _gaussian_nll_loss(
    mean: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> torch.Tensor:
    """torch's own, which clamps the variance behind the gradient's back, without a look at whether it is negative."""
    if isinstance(var, torch.Tensor):
        var = var.unsqueeze(-1) if var.shape == mean.shape[:-1] else var
        var = var + (var.clamp(min=eps) - var).detach()
        log = var.log()
    else:
        var = max(var, eps)
        log = math.log(var)
    loss = 0.5 * (log + (mean - target) ** 2 / var) + (0.5 * math.log(2 * math.pi) if full else 0)
    return {"mean": torch.mean, "sum": torch.sum, "none": torch.clone}[reduction](loss)


# Without torch's look at the values: the caller's own loop, which is run beside, is checked.
_UNCHECKED: dict[Any, Callable[..., Any]] = {torch.nn.functional.gaussian_nll_loss: _gaussian_nll_loss}
_AUGMENTED = {f"__i{name}__" for name in "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()}


@dataclass(frozen=True)
class Origin:
    """A module's path, whether its backward pass is meant, a line of the user's source as in `net.py, line 3`, and the
    variable that the result has there."""

    path: str = ""
    backward: bool = False
    line: str = ""
    variable: str = ""

    @property
    def place(self) -> str:
        """Where this is, to begin a message with."""
        return place(self.path, self.line)


def in_float64(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """A call of a torch function with float64 in place of each less precise dtype that it names."""
    args, kwargs = pytree.tree_map(_float64, (args, kwargs))
    return _INSTEAD.get(func, func), args, kwargs


class Origins(TorchFunctionMode):
    """Watches a model run under `make_fx`: modules as they begin and end, and each call of a torch function.

    A step of the backward pass has the origin of the forward operation that it is the gradient of. As every call passes
    here, this is also where a dtype that the model asks for by name becomes float64, and where a parameter or buffer of
    `own`, the caller's model of which this one is a copy, becomes what stands in for it.
    """

    def __init__(self, model: torch.nn.Module, own: torch.nn.Module) -> None:
        super().__init__()
        self._model = model
        tensors = [pair for each in (model, own) for pair in (*each.named_parameters(), *each.named_buffers())]
        self._names = {id(tensor): name for name, tensor in tensors}
        self._held = {_storage(tensor): (name, tensor) for name, tensor in tensors if tensor.numel()}
        self._handles: list[Any] = []
        self._begun: list[Origin] = [Origin()]
        self._changes: list[tuple[int, Origin]] = []
        self._of: dict[Any, Origin] = {}
        self._constants = Constants(_is_outside)
        self._variables: dict[str, str] = {}

    def __enter__(self) -> Any:
        for path, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._begin(path)))
            self._handles.append(module.register_forward_hook(self._end))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        origin = replace(self._begun[-1], line=line())
        self._change(origin)
        self._look_at_variables()
        args, kwargs = pytree.tree_map(partial(self._inside, origin), (args, kwargs or {}))
        func, args, kwargs = in_float64(func, args, kwargs)
        func = _UNCHECKED.get(func, func)
        if getattr(func, "__name__", "") in ("__getitem__", "__setitem__"):
            args = (args[0], self._constants.index(args[1]), *args[2:])
        changes = bool(_in_place(func) and args)
        if changes and _is_outside(args[0]) and not self._constants.owns(args[0]):
            raise Error(
                f"{origin.place}forward changes a tensor that is not its own in place; change a copy of it, or make it "
                "a buffer"
            )
        real = self._constants.compute(func, args, kwargs)
        if real is not UNKNOWN and (self._constants.only(args, kwargs) or not _tensors(real)):
            return real
        if changes and real is UNKNOWN:
            if _is_outside(args[0]):
                raise Error(
                    f"{origin.place}forward puts what it computes into a tensor of constants; make that of the "
                    "computed numbers, with torch.where or torch.stack"
                )
            self._constants.forget(args[0])
        try:
            result = func(*args, **kwargs)
        except DynamicOutputShapeException:
            if real is UNKNOWN:
                raise
            return real
        if real is not UNKNOWN:
            self._constants.remember(result, real)
        self._claim(result, origin)
        return result

    @property
    def path(self) -> str:
        """The module that runs now."""
        return self._begun[-1].path

    def part(self, origin: Origin) -> None:
        """What follows belongs to no module, but to the loss, say."""
        self._begun.append(origin)
        self._change(origin)

    def backward(self) -> None:
        """Has each step of the backward pass say where it comes from."""
        for step, origin in self._of.items():
            here = replace(origin, backward=True)
            step.register_prehook(lambda _, here=here: self._change(here))

    def found(self, graph: torch.fx.Graph) -> dict[str, Origin]:
        """The origin of each of the graph's nodes, by name."""
        changes = iter([*self._changes, (sys.maxsize, Origin())])
        origin, following = Origin(), next(changes)
        origins = {}
        for number, node in enumerate(graph.nodes):
            while following[0] <= number:
                origin, following = following[1], next(changes)
            variable = self._variables.get(node.name, "")
            origins[node.name] = replace(origin, variable=variable) if variable else origin
        return origins

    def _begin(self, path: str) -> Callable[..., None]:
        def hook(module: Any, args: Any) -> None:
            self._begun.append(Origin(path))
            self._change(self._begun[-1])

        return hook

    def _end(self, module: Any, args: Any, output: Any) -> None:
        self._claim(output, self._begun.pop())
        self._change(self._begun[-1])

    def _inside(self, origin: Origin, value: Any) -> Any:
        """What stands in for a tensor of the caller's model; any other value as it is."""
        if not _is_outside(value) or value.layout != torch.strided or not value.numel():
            return value
        name = self._names.get(id(value))
        if name is not None:
            return self._current(name)
        name, held = self._held.get(_storage(value), ("", value))
        if not name:
            return value
        if (value.shape, value.stride(), value.storage_offset()) == (held.shape, held.stride(), held.storage_offset()):
            return self._current(name).detach()
        raise Error(
            f"{origin.place}uses a part of the parameter {name!r} that was taken from it before; take it within "
            "forward or the loss"
        )

    def _current(self, name: str) -> torch.Tensor:
        """What the model has in place of a parameter or buffer while it is traced."""
        path, _, last = name.rpartition(".")
        return getattr(self._model.get_submodule(path), last)

    def _change(self, origin: Origin) -> None:
        """The nodes from here on have this origin."""
        mode = get_proxy_mode()
        if mode is not None:
            self._changes.append((len(mode.tracer.graph.nodes), origin))

    def _look_at_variables(self) -> None:
        """What the user's functions that run now call their tensors."""
        mode = get_proxy_mode()
        if mode is None:
            return
        for frame in reversed([*_user_frames()]):  # from the outermost, which has made what it gives to others
            for name, value in frame.f_locals.items():
                if isinstance(value, FakeTensor):
                    slot: Any = get_proxy_slot(value, mode.tracer, None)
                    if slot is not None:
                        self._variables.setdefault(slot.proxy.node.name, name)

    def _claim(self, result: Any, origin: Origin) -> None:
        """Each step behind a result that nothing has claimed yet has this origin."""
        waiting = [each.grad_fn for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
        while waiting:
            step = waiting.pop()
            if step is not None and step not in self._of:
                self._of[step] = origin
                waiting.extend(each for each, _ in step.next_functions)


def line() -> str:
    """The line of the user's source that runs now, as in `net.py, line 3`; empty where there is only torch."""
    frame = next(_user_frames(), None)
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"


def _user_frames() -> Iterator[FrameType]:
    """The functions of the user's source that run now, the innermost first."""
    frame = sys._getframe(1)
    while frame is not None and not (
        frame.f_code.co_filename.startswith(_OURS) and frame.f_code.co_filename != __file__
    ):
        if not frame.f_code.co_filename.startswith((_TORCH, __file__)):
            yield frame
        frame = frame.f_back


def _storage(tensor: torch.Tensor) -> int:
    """Where a tensor's numbers lie."""
    with torch._C.DisableTorchFunction():  # or torch would write this down as part of the step
        return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else id(tensor)


def _in_place(func: Any) -> bool:
    """Whether a function changes its first argument, as `add_`, `__iadd__` and `__setitem__` do."""
    name = getattr(func, "__name__", "")
    if name.endswith("__"):
        return name == "__setitem__" or name in _AUGMENTED
    return name.endswith("_") and name != "requires_grad_"


def _tensors(value: Any) -> bool:
    return any(isinstance(each, torch.Tensor) for each in pytree.tree_leaves(value))


def _is_outside(value: Any) -> bool:
    """Whether this is a tensor with values, which neither the model was given nor has made."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore[reportAttributeAccessIssue]
    return isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor) and not wrapped(value)


def _float64(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value.is_floating_point else value
