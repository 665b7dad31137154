"""From a PyTorch model to the graph of one training step, by torch's own tools.

The model runs once on tensors without values (torch's fake tensors) while `make_fx` writes down each ATen operation;
autograd writes the backward pass into the same list. A second run takes the operations apart as `decompositions` says
and turns what is done in place into plain values. Nothing of the model runs on numbers here.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from sgdsheet.errors import Error, one_line
from sgdsheet.reference import float64_by_default
from sgdsheet.torch_frontend.program.graph import LOSS, Graph, place, silently
from sgdsheet.torch_frontend.tracing import decompositions
from sgdsheet.torch_frontend.tracing.clipping import CLIP, UNCLIPPED, Clipping
from sgdsheet.torch_frontend.tracing.origins import Origin, Origins
from sgdsheet.torch_frontend.tracing.reader import Read, draws, read
from sgdsheet.torch_frontend.tracing.supported import instead
from sgdsheet.user_code import line_of

Loss = Callable[..., Any]
_CHOOSE = "choose with torch.where, and give sizes such as num_classes as numbers"


def trace(
    model: torch.nn.Module,
    inputs: Sequence[Any],
    targets: Sequence[Any] = (),
    loss: Loss | None = None,
    own: torch.nn.Module | None = None,
    clipping: Clipping = UNCLIPPED,
) -> Read:
    """The graph of one step: `model(*inputs)`, `loss(output, *targets)` and the loss's gradients, clipped if asked.

    Arguments:
      model: a module in float64, as `float64` gives it. Its parameters and buffers are not changed.
      inputs, targets: tensors, or tuples of tensors; of their values only the shapes count.
      loss: as for `sgdsheet.compile`; `own_loss` for a model that computes it. Without it the forward pass alone.
      own: the caller's own model, of which `model` is a copy: what reaches its parameters otherwise, as a loss that
        closes over it does, gets the parameters of the copy.

    Raises `Error`, with the module and the line of the source, for what cannot be traced.
    """
    step = partial(_traced, model, inputs, targets, loss, own, clipping)
    before = _attributes(model)
    found = step()
    changed = [name for name, value in _attributes(model).items() if not _same(before.get(name), value)]
    if changed and _differs(found.graph, step):
        raise Error(
            f"the model's attribute {changed[0]!r} is changed by forward, and changes what the next call computes; "
            "make it a buffer (register_buffer) so that it is carried from step to step"
        )
    return found


def own_loss(output: Any) -> torch.Tensor:
    """The loss of a model that computes it: what it returns, the last of several, or what is named `loss`.

    Raises `Error` where that is not one number.
    """
    named = output.get("loss") if isinstance(output, Mapping) else None
    last = output[-1] if isinstance(output, (tuple, list)) and output else output
    value = last if named is None else named
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise Error(
            "an optimizer needs a loss, as in compile(..., loss=torch.nn.functional.mse_loss), or a model that returns "
            "one number, or several things of which the last is one"
        )
    return value


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, without `torch.compile` or `DataParallel` around it."""
    model = getattr(model, "_orig_mod", model)
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    return model.module if isinstance(model, parallel) else model


def float64(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model on the CPU and in float64, also of plain tensors among its attributes.

    Raises `Error` for a model that cannot be copied, or that would not compute the same when it is.
    """
    model = unwrapped(model)
    if any(is_lazy(each) for each in model.parameters()):
        raise Error("the model has lazy layers that do not know their shapes yet: call model(inputs) once before")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise Error("the model is one of torch.jit; compile the Python model that it was made from")
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.momentum is None and module.training:
            raise Error(
                f"{place(path, '')}momentum=None averages over all batches so far, by another formula in each step; "
                "give a momentum, as 0.1"
            )
    for name, param in model.named_parameters():
        if param._backward_hooks or param._post_accumulate_grad_hooks:  # type: ignore[attr-defined]
            raise Error(f"the parameter {name!r} has a hook that changes its gradient, which a sheet would not know of")
    # What a module has kept of its last forward pass, a part of a loss, say: torch copies no such tensor itself.
    kept = [each for module in model.modules() for each in pytree.tree_leaves([*vars(module).values()])]
    values = {id(each): each.detach().clone() for each in kept if isinstance(each, torch.Tensor) and not each.is_leaf}
    try:
        copied = copy.deepcopy(model, values).double().cpu()
    except Exception as error:
        raise Error(f"the model cannot be copied: {_said(error)}") from None
    for module in copied.modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                setattr(module, name, value.double())
    return copied


def _traced(
    model: torch.nn.Module,
    inputs: Any,
    targets: Any,
    loss: Loss | None,
    own: torch.nn.Module | None,
    clipping: Clipping,
) -> Read:
    params, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    given, shape_of_inputs = pytree.tree_flatten(tuple(inputs))
    wanted, shape_of_targets = pytree.tree_flatten(tuple(targets))
    fed = {f"param/{name}": each.detach() for name, each in params.items()}
    fed |= {f"buffer/{name}": each.detach() for name, each in buffers.items()}
    fed |= {f"input/{number}": each for number, each in enumerate(given)}
    fed |= {f"target/{number}": each for number, each in enumerate(wanted)}
    keys: list[str] = []
    origins = Origins(model, own or model)

    def step(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        leaves = {name: tensors[f"param/{name}"].detach() for name in params}
        for name, leaf in leaves.items():
            leaf.requires_grad_(loss is not None and params[name].requires_grad)
        # Copies, for a model may change them in place, and what a step changes shall not be what it was given.
        state = leaves | {name: tensors[f"buffer/{name}"].clone() for name in buffers}
        state = {f"model.{name}": each for name, each in state.items()}
        x = pytree.tree_unflatten([tensors[f"input/{i}"].clone() for i in range(len(given))], shape_of_inputs)
        y = pytree.tree_unflatten([tensors[f"target/{i}"].clone() for i in range(len(wanted))], shape_of_targets)
        found = torch.func.functional_call(_Whole(model, compute), state, (x, y, leaves))
        found |= {f"buffer/{name}": state[f"model.{name}"] for name in buffers}
        keys[:] = found
        return [each.detach() for each in found.values()]

    def compute(x: Any, y: Any, leaves: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        output = model(*x)
        if loss is None:
            return outputs(output)
        origins.part(Origin(LOSS))
        value = loss(output, *y)
        _require_scalar(value)
        found = outputs(output, value if loss is own_loss else None) | {LOSS: value}
        grads = _gradients(value, leaves, origins)
        if clipping:
            origins.part(Origin(CLIP, backward=True))
            grads = clipping.clipped(grads)
        return found | {f"grad/{name}": grad for name, grad in grads.items()}

    # Without a ShapeEnv torch refuses to go on where the shape, or the way, would depend on a value.
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=None)
    fakes = {name: mode.from_tensor(each) for name, each in fed.items()}
    with float64_by_default(), _explained(origins), _without_warnings(), plainly(), silently():
        with torch.enable_grad(), origins:
            first = _make_fx(step, decompositions.in_place())(fakes)
        second = _again(first, [*fakes.values()], origins.found(first.graph))
        return read(second, list(fed), keys)


class _Whole(torch.nn.Module):
    """A model with all that a step computes, so that its parameters are stood in for until the backward pass is over.

    That computes anew what `torch.utils.checkpoint` has not kept.
    """

    def __init__(self, model: torch.nn.Module, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.compute = model, compute

    def forward(self, *given: Any) -> Any:
        return self.compute(*given)


def outputs(output: Any, but: Any = None) -> dict[str, torch.Tensor]:
    """The tensors that a model returns, however nested, by the names of their blocks; without the loss among them."""
    flat = [each for each in pytree.tree_leaves(output) if isinstance(each, torch.Tensor) and each is not but]
    if not flat and but is None:
        raise Error(f"expected the model to return a tensor, or a tuple or dict of tensors, got {_name(output)}")
    return {"output" if len(flat) == 1 else f"output/{number}": each for number, each in enumerate(flat)}


def _gradients(loss: torch.Tensor, leaves: Mapping[str, torch.Tensor], origins: Origins) -> dict[str, torch.Tensor]:
    """The gradient of each parameter that the loss depends on."""
    learned = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    if not learned or not loss.requires_grad:
        return {}
    origins.backward()
    grads = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
    return {name: grad for name, grad in zip(learned, grads, strict=True) if grad is not None}


def _make_fx(function: Callable[..., Any], table: Mapping[Any, Callable[..., Any]]) -> Callable[..., Any]:
    return make_fx(function, decomposition_table=table, tracing_mode="fake", _allow_non_fake_inputs=True)


def _again(first: torch.fx.GraphModule, fed: list[Any], origins: Mapping[str, Origin]) -> torch.fx.GraphModule:
    """The same operations without those in place, taken apart, each with the origin of the one it comes from."""
    begins: list[tuple[int, Origin]] = []

    class Following(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            mode = get_proxy_mode()
            assert mode is not None
            begins.append((len(mode.tracer.graph.nodes), origins.get(n.name, Origin())))
            return super().run_node(n)

    functional = torch.func.functionalize(lambda *tensors: Following(first).run(*tensors), remove="mutations")
    second = _make_fx(functional, decompositions.table())(*fed)
    drawing = (node for node in second.graph.nodes if draws(node.target))
    for number, node in enumerate(drawing):
        node.meta["draw"] = number
    following = iter(begins)
    start, ahead = next(following)
    origin = Origin()
    for number, node in enumerate(second.graph.nodes):
        while start <= number:
            origin, (start, ahead) = ahead, next(following, (len(second.graph.nodes), Origin()))
        # What an operation is taken apart into has its variable's name at the end only.
        node.meta["origin"] = origin if number + 1 == start else replace(origin, variable="")
    second.graph.eliminate_dead_code()
    return second


def _attributes(model: torch.nn.Module) -> dict[str, Any]:
    """What the modules hold that is neither a parameter nor a buffer: plain tensors, and numbers and texts."""
    return {
        f"{path}.{name}".lstrip("."): tuple(value) if isinstance(value, (list, dict)) else value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, (torch.Tensor, int, float, str, tuple, list, dict)) and not name.startswith("_")
    }


def _same(before: Any, after: Any) -> bool:
    """Whether an attribute is still the same object, or a tuple of the same ones."""
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        return all(a is b for a, b in zip(before, after, strict=True))
    return before is after


def _differs(graph: Graph, step: Callable[[], Read]) -> bool:
    """Whether the next call of a model that has changed its attributes would compute something else."""
    try:
        return step().graph.rows() != graph.rows()
    except Error:
        return True  # it looks at what the first call has left behind


@contextmanager
def plainly() -> Iterator[None]:
    """With each operation in sight: no fused kernels, no compiled code, no backward pass within the backward pass."""
    with _plain_attention(), _eagerly(), _whole():
        yield


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as matrix products and a softmax, not as one fused kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _whole() -> Iterator[None]:
    """Without checkpoints of the kind that runs its own backward pass, whose gradients nobody would see."""
    kind: Any = torch.utils.checkpoint.CheckpointFunction
    kind.apply = staticmethod(lambda function, preserve, *args: function(*args))
    try:
        yield
    finally:
        del kind.apply


@contextmanager
def _eagerly() -> Iterator[None]:
    """Without `torch.compile`, if the model uses it inside."""
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is None:
        yield
    else:
        with torch.compiler.set_stance("force_eager"), dynamo.config.patch(error_on_nested_fx_trace=False):
            yield


@contextmanager
def _without_warnings() -> Iterator[None]:
    """torch's remarks on how it traces; the one about a loss that broadcasts is for the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", message="Using a target size")
        yield


@contextmanager
def _explained(origins: Origins) -> Iterator[None]:
    """Turns what torch raises for a model that cannot be traced into one clear line."""
    try:
        yield
    except Error:
        raise
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise Error(
            f"{place(origins.path, line_of(error))}the model looks at a tensor's values ({error.func}) to decide what "
            f"to compute, but a sheet's formulas are fixed when it is made; {instead(error.func.__name__) or _CHOOSE}"
        ) from None
    except Exception as error:
        said = _said(error)
        if "sparse" in said.lower():
            said = "it makes a sparse tensor, which cells cannot hold; torch.nn.Embedding can without sparse=True"
        if "quantized::" in said:
            said = "it has quantised layers; compile the model as it was before"
        raise Error(f"{place(origins.path, line_of(error))}the model cannot be traced: {said}") from None


def _require_scalar(value: Any) -> None:
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else _name(value)
        raise Error(f"expected the loss to be one number, got {got}; take its mean or sum")


def _said(error: Exception) -> str:
    """An error's message in one line, without what torch says of its own graph."""
    return one_line(one_line(error, most=100_000).partition("While executing")[0]) or type(error).__name__


def _name(value: Any) -> str:
    return "None" if value is None else type(value).__name__
