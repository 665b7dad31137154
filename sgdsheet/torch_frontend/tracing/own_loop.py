"""The caller's own training loop, run for the same steps: what a traced program has to agree with.

    for batch in batches:
        loss(model(inputs), *targets).backward()
        optimizer.step()
        scheduler.step()

Nothing of the trace is used here. The objects are the caller's own, with whatever hooks, patches and counters they
have; they compute in float64 and are put back afterwards. What they draw at random is noted, to be the program's data.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sgdsheet.errors import Error, one_line
from sgdsheet.eve import Eve
from sgdsheet.reference import float64_by_default
from sgdsheet.torch_frontend.tracing.batches import Batch
from sgdsheet.torch_frontend.tracing.clipping import Clipping
from sgdsheet.torch_frontend.tracing.lent import lent, written_back
from sgdsheet.torch_frontend.tracing.origins import in_float64
from sgdsheet.torch_frontend.tracing.reader import draws
from sgdsheet.torch_frontend.tracing.trace import Loss, outputs, own_loss, plainly
from sgdsheet.torch_frontend.tracing.training import Settings, settings

aten = torch.ops.aten
# In float64 too, torch's own kernel multiplies the gradient by a sixth in single precision.
_EXACT: dict[Any, Any] = {F.hardsigmoid: lambda x, inplace=False: F.relu6(x + 3) / 6}


@dataclass
class Ran:
    """What a loop has left, by the names of a program's blocks, in the order in which it was computed.

    `drawn[k]` are the random numbers of step k, and `settings[k]` the hyperparameters that it began with.
    """

    blocks: dict[str, np.ndarray] = field(default_factory=dict)
    drawn: list[list[torch.Tensor]] = field(default_factory=list)
    settings: list[Settings] = field(default_factory=list)


def run(
    model: torch.nn.Module,
    batches: Sequence[Batch],
    losses: Sequence[Loss | None],
    optimizer: torch.optim.Optimizer | None,
    schedulers: Sequence[Any],
    clipping: Clipping,
) -> Ran:
    """Makes a step with each batch and its loss, and puts everything back as it was.

    Raises `Error` for a step that cannot be made, with what torch says of it.
    """
    ran = Ran()
    with lent(model, losses, optimizer, schedulers), written_back(), _in_float64(model, optimizer), plainly():
        for k, (batch, loss) in enumerate(zip(batches, losses, strict=True)):
            try:
                value = _step(ran, k, model, batch, loss, optimizer, clipping)
            except Error:
                raise
            except Exception as error:
                raise Error(f"step {k + 1} of your own loop cannot be made: {_said(error)}") from None
            for scheduler in schedulers if k + 1 < len(batches) else ():
                try:
                    scheduler.step(*([value.item()] if isinstance(scheduler, ReduceLROnPlateau) else []))
                except Exception as error:
                    kind, steps = type(scheduler).__name__, len(batches)
                    raise Error(f"the scheduler {kind} cannot make {steps} steps: {_said(error)}") from None
    return ran


def _step(
    ran: Ran,
    k: int,
    model: torch.nn.Module,
    batch: Batch,
    loss: Loss | None,
    optimizer: torch.optim.Optimizer | None,
    clipping: Clipping,
) -> Any:
    """Notes all that the step computes, and returns the loss."""
    params = dict(model.named_parameters())
    for param in params.values():
        param.grad = None
    if optimizer is not None:
        ran.settings.append(settings(optimizer))
    inputs, targets = pytree.tree_map(torch.clone, (batch.inputs, batch.targets))
    with torch.enable_grad(), _Draws() as drawing:
        output = model(*inputs)
        value = None if loss is None else loss(output, *targets)
        if value is not None and value.requires_grad:
            torch.autograd.backward(value)
    ran.drawn.append(drawing.drawn)
    clipping.clip(params.values())
    _note(ran, k, outputs(output, value if loss is own_loss else None))
    if value is not None:
        _note(ran, k, {"loss": value.reshape(())})
    _note(ran, k, {f"grad/{name}": param.grad for name, param in params.items() if param.grad is not None})
    if optimizer is not None:
        step: Any = optimizer.step
        step(*([lambda: value] if isinstance(optimizer, Eve) else []))
        _note(ran, k + 1, {f"param/{name}": param for name, param in params.items()})
        for name, param in params.items():
            held = {f"state/{name}/{key}": each for key, each in optimizer.state.get(param, {}).items()}
            _note(ran, k + 1, {key: each for key, each in held.items() if each is not None})
    _note(ran, k + 1, {f"buffer/{name}": buffer for name, buffer in model.named_buffers()})
    return value


def _said(error: Exception) -> str:
    return f"KeyError {error}" if isinstance(error, KeyError) else one_line(error)


def _note(ran: Ran, k: int, tensors: dict[str, Any]) -> None:
    for name, each in tensors.items():
        value = each.detach().double().cpu().numpy().copy() if isinstance(each, torch.Tensor) else np.array(each)
        ran.blocks[f"{k}/{name}"] = value.astype(float)


@contextmanager
def _in_float64(model: torch.nn.Module, optimizer: torch.optim.Optimizer | None) -> Iterator[None]:
    """Has these compute in float64 on the CPU. Whoever lends them puts them back."""
    params = [*model.parameters(), *(each for group in _groups(optimizer) for each in group["params"])]
    moved: dict[int, tuple[int, torch.Tensor]] = {}
    for tensor in dict.fromkeys([*params, *model.buffers()]):
        tensor.grad = None
        # What shares its numbers with another tensor goes on doing so.
        place, offset = tensor.untyped_storage().data_ptr(), int(tensor.storage_offset())
        if place not in moved or moved[place][1].shape != tensor.shape or moved[place][0] != offset:
            moved[place] = (offset, _double(tensor.data))
        tensor.data = moved[place][1]
    if optimizer is not None:
        for group in (*optimizer.param_groups, optimizer.defaults):
            for name, value in group.items():
                if isinstance(value, torch.Tensor):
                    group[name] = _double(value)
            # Ways to compute the same that a CPU, or a plain loop, does not have.
            group.update({name: False for name in ("capturable", "differentiable", "fused") if group.get(name)})
        for state in optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    state[name] = _double(value)
        for group in optimizer.param_groups:  # Adagrad's, which begins before the first step, and was rounded
            if "initial_accumulator_value" in group:
                states = [optimizer.state[param] for param in group["params"] if param in optimizer.state]
                for state in (each for each in states if each["step"] == 0):
                    state["sum"].fill_(group["initial_accumulator_value"])
    with float64_by_default(), warnings.catch_warnings(), _Doubles(moved):
        warnings.simplefilter("ignore")  # the trace has said it already
        yield


def _groups(optimizer: torch.optim.Optimizer | None) -> list[dict[str, Any]]:
    return [] if optimizer is None else optimizer.param_groups


def _double(tensor: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU, in float64 unless it holds whole numbers or truths."""
    kept = tensor.detach().cpu().clone()
    return kept.double() if kept.is_floating_point() else kept


class _Doubles(TorchFunctionMode):
    """Gives each call float64 in place of what is less precise: dtypes that it names, and tensors from elsewhere.

    `moved` has, by the place of its numbers before, the offset and the double of each tensor of the model: what still
    refers to that place gets the same part of the double.
    """

    def __init__(self, moved: dict[int, tuple[int, torch.Tensor]]) -> None:
        super().__init__()
        self._moved = moved
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        func, args, kwargs = in_float64(func, args, kwargs or {})
        args, kwargs = pytree.tree_map(self._double, (args, kwargs))
        return _EXACT.get(func, func)(*args, **kwargs)

    def _double(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not _is_plain(value):
            return value
        offset, double = self._moved.get(value.untyped_storage().data_ptr(), (0, None))
        if double is not None:
            return double.as_strided(value.shape, value.stride(), value.storage_offset() - offset)
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return value
        if id(value) not in self._known:
            self._known[id(value)] = (value, value.double())
        return self._known[id(value)][1]


def _is_plain(value: torch.Tensor) -> bool:
    """Whether a tensor's numbers lie in memory; those of `torch.func`'s transforms do not by themselves."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore[reportAttributeAccessIssue]
    return value.layout == torch.strided and not wrapped(value)


class _Draws(TorchDispatchMode):
    """Notes what each operation draws at random, taken apart where a trace takes it apart."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.bernoulli.default:
            (chances,) = args
            return (self._note(torch.rand(chances.shape, dtype=torch.float64)) < chances).to(chances.dtype)
        if func is aten.rrelu_with_noise.default:
            return self._rrelu(*args, **kwargs)
        result = func(*args, **kwargs)
        return self._note(result) if draws(func) else result

    def _note(self, drawn: torch.Tensor) -> torch.Tensor:
        self.drawn.append(drawn.clone())
        return drawn

    def _rrelu(
        self, x: Any, noise: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *_: Any
    ) -> Any:
        if not training:
            return aten.leaky_relu.default(x, (lower + upper) / 2)
        drawn = self._note(torch.rand(x.shape, dtype=torch.float64))
        noise.copy_(torch.where(x > 0, 1.0, drawn * (upper - lower) + lower))
        return x * noise
