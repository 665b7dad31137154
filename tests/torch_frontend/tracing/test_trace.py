"""Whether a traced step computes what the model computes when torch runs it, whatever the model does on the way."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from sgdsheet import Error
from sgdsheet.torch_frontend.program.graph import Graph
from sgdsheet.torch_frontend.tracing.trace import float64, trace, unwrapped

D = torch.float64
HERE = Path(__file__).name


def eager(model: nn.Module, inputs: Any, targets: Any, loss: Any) -> dict[str, torch.Tensor]:
    """What torch itself computes in one step, by the names that a graph has for it."""
    model = float64(model)
    inputs = [each.clone() for each in inputs]
    output = model(*inputs)
    found = {"output": output} if isinstance(output, torch.Tensor) else {f"output/{i}": o for i, o in enumerate(output)}
    if loss is not None:
        found["loss"] = loss(output, *targets)
        if found["loss"].requires_grad:
            found["loss"].backward()
        grads = {f"grad/{name}": each.grad for name, each in model.named_parameters()}
        found |= {name: grad for name, grad in grads.items() if grad is not None}
    return {name: each.detach() for name, each in found.items()} | {
        f"buffer/{name}": each for name, each in model.named_buffers()
    }


def computed(graph: Graph, model: nn.Module, inputs: Any, targets: Any) -> dict[str, torch.Tensor]:
    """What the graph computes, by the names of its outputs."""
    feeds = {f"param/{name}": each.detach().double() for name, each in model.named_parameters()}
    feeds |= {
        f"buffer/{name}": each.double() if each.is_floating_point() else each for name, each in model.named_buffers()
    }
    feeds |= {f"input/{number}": each for number, each in enumerate(inputs)}
    feeds |= {f"target/{number}": each for number, each in enumerate(targets)}
    values = graph.run(feeds)
    return {key: values[name] for key, name in graph.outputs.items()}


def agrees(model: nn.Module, inputs: Any, targets: Any = (), loss: Any = None) -> Graph:
    """Traces, compares with torch, and compares again after the graph has been text."""
    before = copy.deepcopy(model.state_dict())
    given = [each.clone() for each in inputs]
    graph = trace(float64(model), inputs, targets, loss).graph
    assert Graph.from_rows(graph.rows(), "here").rows() == graph.rows()
    expected = eager(model, inputs, targets, loss)
    got = computed(graph, model, inputs, targets)
    unchanged = {f"buffer/{name}" for name in dict(model.named_buffers())} - got.keys()
    assert got.keys() | unchanged == expected.keys()
    for key, value in got.items():
        assert value.shape == expected[key].shape
        torch.testing.assert_close(value, expected[key].to(value.dtype), rtol=1e-12, atol=1e-12)
    for key in unchanged:
        torch.testing.assert_close(dict(model.named_buffers())[key.removeprefix("buffer/")].to(D), expected[key].to(D))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for now, then in zip(inputs, given, strict=True):
        assert torch.equal(now, then)
    return graph


class Model(nn.Module):
    """A linear layer whose forward is any function of the model and its inputs."""

    def __init__(self, forward: Callable[..., Any] | None = None, **buffers: torch.Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)
        self.function = forward

    def forward(self, *inputs: Any) -> Any:
        assert self.function is not None
        return self.function(self, *inputs)


def x(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (4, 3)), generator=torch.Generator().manual_seed(0)).double()


def y() -> torch.Tensor:
    return torch.randn(4, 2, generator=torch.Generator().manual_seed(1)).double()


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * grads[0]  # not the true one, so that a test can tell


def in_place_on_the_input(m: Any, x: torch.Tensor) -> torch.Tensor:
    x.mul_(2)
    return m.linear(x)


def in_place_on_a_view(m: Any, x: torch.Tensor) -> torch.Tensor:
    h = m.linear(x)
    h[:, 0].mul_(3)
    h[1:3] += 1
    h.t()[1].copy_(h[:, 0])
    return h


def filled_in_place(m: Any, x: torch.Tensor) -> torch.Tensor:
    h = torch.zeros(4, 2, dtype=x.dtype)
    h[:, :1] = m.linear(x)[:, :1]
    h[0] = 7
    return h


def one_value_twice(m: Any, x: torch.Tensor) -> torch.Tensor:
    h = m.linear(x)
    g = h
    g += 1  # h too
    return h * g


def parts_of_one_tensor(m: Any, x: torch.Tensor) -> torch.Tensor:
    a, b = m.linear(x).chunk(2, dim=1)
    a = a.clone()
    a[2:] = 0
    return torch.cat([b, a], 1).t().contiguous().view(4, 2)


def without_gradient(m: Any, x: torch.Tensor) -> torch.Tensor:
    h = m.linear(x)
    with torch.no_grad():
        scale = h.abs().mean()
    return h / scale + h.detach()


def masked(m: Any, x: torch.Tensor) -> torch.Tensor:
    h = m.linear(x).clone()
    h[h > 0.5] = 0.25
    h[x[:, 0] > 0] = -1
    h[torch.tensor([0, 2])] = x[:2, :2]
    return h


def gradient_inside(m: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(m.linear(x).tanh().sum(), x, create_graph=True)
    return m.linear(x) + grad[:, :2]


def in_single_precision(m: Any, x: torch.Tensor) -> torch.Tensor:
    mask = (x > 0).float()
    third = torch.ones(3, dtype=torch.float32) / 3
    return m.linear(x.to(torch.float32) * mask.type_as(x) * third).half().to(x.dtype)


def whole_numbers(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) * (torch.arange(2) / 3) + torch.tensor(0.1)


FORWARDS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        in_place_on_the_input,
        in_place_on_a_view,
        filled_in_place,
        one_value_twice,
        parts_of_one_tensor,
        without_gradient,
        gradient_inside,
        masked,
    )
} | {
    "twice": lambda m, x: m.linear(m.linear(x) @ m.linear.weight),
    "own function": lambda m, x: Squared.apply(m.linear(x)),
    "reentrant": lambda m, x: checkpoint(lambda x: m.linear(x).tanh(), x.requires_grad_(), use_reentrant=True),
    "checkpoint": lambda m, x: checkpoint(lambda x: m.linear(x).tanh(), x, use_reentrant=False),
    "vmap": lambda m, x: torch.vmap(lambda row: torch.tanh(m.linear(row)) * row[0])(x),
    "gradient of each": lambda m, x: (
        m.linear(x) + torch.vmap(torch.func.grad(lambda r: m.linear(r).tanh().sum()))(x)[:, :2]
    ),
    "expanded": lambda m, x: m.linear(x).unsqueeze(1).expand(4, 3, 2).transpose(0, 1).sum(0),
    "hooked": lambda m, x: m.linear(x) + sum(each.sum() for each in m.parameters()),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_a_step_is_what_torch_computes(name: str) -> None:
    agrees(Model(FORWARDS[name]), (x(),), (y(),), mse_loss)


@pytest.mark.parametrize("function", [in_single_precision, whole_numbers])
def test_everything_is_in_float64(function: Any) -> None:
    """torch itself would round here, or refuse; the sheet has one precision."""
    model = Model(function)
    graph = trace(float64(model), (x(),)).graph
    double = float64(model).linear(x() * (x() > 0) / 3)  # type: ignore[operator]
    if function is whole_numbers:
        double = float64(model).linear(x()) * torch.tensor([0, 1 / 3], dtype=D) + 0.1  # type: ignore[operator]
    torch.testing.assert_close(computed(graph, model, (x(),), ())["output"], double.detach(), rtol=1e-15, atol=1e-15)


def count(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.calls += 1
    m.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
    return m.linear(x - m.mean)


def assigned(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.mean = 0.9 * m.mean + 0.1 * x.mean(0)
    return m.linear(x - m.mean.detach())


def copied(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.mean.copy_(x.mean())  # of another shape
    m.calls.copy_(m.mean.sum() * 7)  # and of another kind
    return m.linear(x)


@pytest.mark.parametrize("function", [count, assigned, copied])
def test_buffers_are_carried(function: Any) -> None:
    model = Model(function, mean=torch.tensor([0.5, 1.0, -1.0]), calls=torch.tensor(3))
    graph = agrees(model, (x(),), (y(),), mse_loss)
    assert "buffer/mean" in graph.outputs


def test_batch_norm_counts_and_remembers() -> None:
    graph = agrees(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), (x(),), (y(),), mse_loss)
    assert {key for key in graph.outputs if key.startswith("buffer/")} == {
        "buffer/1.running_mean",
        "buffer/1.running_var",
        "buffer/1.num_batches_tracked",
    }
    graph = agrees(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval(), (x(),), (y(),), mse_loss)
    assert not any(key.startswith("buffer/") for key in graph.outputs)
    for norm in (nn.BatchNorm1d(2, affine=False), nn.BatchNorm1d(2, track_running_stats=False)):
        agrees(nn.Sequential(nn.Linear(3, 2), norm), (x(),), (y(),), mse_loss)
        agrees(nn.Sequential(nn.Linear(3, 2), norm).eval(), (x(),), (y(),), mse_loss)
    agrees(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval(), (x(4, 1, 2, 2),), (x(4, 2, 2, 2),), mse_loss)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    model[2].weight = model[0].weight
    return model


def shared() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(3, 2))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    return model


def under_compile(model: Any) -> Any:
    return torch.compile(model, backend="eager")


def unused() -> nn.Module:
    model = Model(lambda m, x: m.linear(x))
    model.extra = nn.Linear(2, 2)
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {each.__name__: each for each in (tied, shared, frozen, unused)} | {
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(3, 2)),
    "in a list": lambda: nn.Sequential(*nn.ModuleList([nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2))])),
    "compiled": lambda: under_compile(nn.Sequential(nn.Linear(3, 2), nn.Tanh())),
    "compiled inside": lambda: nn.Sequential(nn.Tanh(), under_compile(nn.Linear(3, 2))),
    "in parallel": lambda: nn.DataParallel(nn.Linear(3, 2)),
    "in half precision": lambda: nn.Linear(3, 2).half(),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    model = MODELS[name]()
    graph = agrees(unwrapped(model), (x(),), (y(),), mse_loss)
    if name == "compiled":
        assert trace(float64(model), (x(),), (y(),), mse_loss).graph.rows() == graph.rows()
    if name == "tied":
        assert "param/2.weight" not in {node.name for node in graph.nodes}
    if name in ("frozen", "unused"):
        assert not any(key.startswith(("grad/0", "grad/extra")) for key in graph.outputs)


def test_a_model_without_parameters() -> None:
    agrees(nn.Tanh(), (x(4, 2),), (y(),), mse_loss)
    agrees(nn.Tanh(), (x(4, 2),))


def test_several_inputs_and_outputs() -> None:
    model = Model(lambda m, a, b: {"sum": m.linear(a + b), "parts": (a.sum(), b.mean(0))})
    graph = trace(
        float64(model), (x(), x() + 1), (y(),), lambda out, y: mse_loss(out["sum"], y) + out["parts"][0]
    ).graph
    assert [key for key in graph.outputs if key.startswith("output")] == ["output/0", "output/1", "output/2"]
    agrees(Model(lambda m, a, b: (m.linear(a), m.linear(b))), (x(), x() + 1), (y(),), lambda out, y: mse_loss(*out))


def test_inputs_within_inputs() -> None:
    lstm = nn.LSTM(3, 2)
    state = (x(1, 2), x(1, 2) * 2)
    graph = trace(float64(lstm), (x(), state)).graph
    got = computed(graph, lstm, (x(), *state), ())
    expected, _ = float64(lstm)(x(), state)
    torch.testing.assert_close(got["output/0"], expected.detach(), rtol=1e-12, atol=1e-12)


# --- where an operation comes from -----------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.encoder(x)
        h = h * torch.sigmoid(h)
        return self.head(h)


def off(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    away = output - y
    return away.abs().mean()


def line_of(function: Any, text: str) -> str:
    """`test_trace.py, line 12` for the line of a function that holds this text."""
    lines, first = inspect.getsourcelines(function)
    return f"{HERE}, line {first + next(number for number, line in enumerate(lines) if text in line)}"


def test_each_operation_knows_its_module_and_line() -> None:
    graph = trace(float64(Net()), (x(),), (y(),), off).graph
    forward = {node.op.partition(".")[0]: node for node in graph.nodes if not node.backward}
    backward = [node for node in graph.nodes if node.backward]
    assert (forward["tanh"].path, forward["tanh"].line) == ("encoder.1", line_of(Net.forward, "self.encoder(x)"))
    assert (forward["sigmoid"].path, forward["sigmoid"].line) == ("", line_of(Net.forward, "sigmoid"))
    assert (forward["abs"].path, forward["abs"].line) == ("loss", line_of(off, "abs"))
    # The backward pass goes through the same places in the opposite order.
    places = list(dict.fromkeys((node.path, node.line) for node in backward if node.op != "constant"))
    assert places == [
        ("loss", line_of(off, "abs")),
        ("head", line_of(Net.forward, "head")),
        ("", line_of(Net.forward, "sigmoid")),
        ("encoder.1", line_of(Net.forward, "encoder")),
        ("encoder.0", line_of(Net.forward, "encoder")),
    ]


def test_recomputed_operations_belong_where_they_were() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Model(FORWARDS["checkpoint"]))
    graph = agrees(model, (x(),), (y(),), mse_loss)
    assert {node.path for node in graph.nodes if node.op == "mm.default"} == {"0", "1.linear"}


# --- what cannot be traced -------------------------------------------------------------------------------------------


def branches(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) if x.sum() > 0 else x


def remembers(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.last = m.linear(x) if not hasattr(m, "last") else m.linear(x) + m.last
    return m.last


def alternates(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.calls = getattr(m, "calls", 0) + 1
    return m.linear(x) * m.calls


def grows(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.seen = getattr(m, "seen", [])
    m.seen.append(x.sum())
    return m.linear(x) + len(m.seen)


def scaled(m: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        m.linear.weight.mul_(0.5)
    return m.linear(x)


OUTSIDE = torch.zeros(2, dtype=D)


def counts_outside(m: Any, x: torch.Tensor) -> torch.Tensor:
    OUTSIDE.add_(1)
    return m.linear(x) + OUTSIDE


def assigned_through_a_mask(m: Any, x: torch.Tensor) -> torch.Tensor:
    h = m.linear(x).clone()
    h[x[:, :2] > 0] = torch.arange(2.0)
    return h


REFUSED: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "a branch": (branches, mse_loss, ("torch.where", line_of(branches, "sum"))),
    "item": (lambda m, x: m.linear(x) * x.max().item(), mse_loss, ("torch.where", HERE)),
    "nonzero": (lambda m, x: m.linear(x)[x[:, 0].nonzero()], mse_loss, ("torch.where", HERE)),
    "a boolean index": (lambda m, x: m.linear(x)[x[:, 0] > 0].sum(), mse_loss, ("torch.where", HERE)),
    "numpy": (lambda m, x: m.linear(x) * x.numpy().sum(), mse_loss, (HERE,)),
    "shapes": (lambda m, x: m.linear(x.t()), mse_loss, (HERE, "module 'linear'", "[3, 4]")),
    "an error": (lambda m, x: {}["missing"], mse_loss, (HERE, "missing")),
    "a loss of several numbers": (lambda m, x: m.linear(x), lambda out, y: out - y, ("(4, 2)", "mean")),
    "a loss that is no tensor": (lambda m, x: m.linear(x), lambda out, y: 1.0, ("float",)),
    "nothing returned": (lambda m, x: None, None, ("None",)),
    "complex numbers": (lambda m, x: torch.complex(m.linear(x), m.linear(x)).abs(), None, ("complex", HERE)),
    "a sparse tensor": (lambda m, x: m.linear(x).to_sparse().to_dense(), None, (HERE,)),
    "a value kept": (remembers, None, ("'last'", "register_buffer")),
    "a parameter changed": (scaled, mse_loss, ("'param/linear.weight'", "in place")),
    "an assignment through a mask": (assigned_through_a_mask, None, ("torch.where", HERE)),
    "another tensor changed": (counts_outside, None, ("not its own", "in place")),
    "a list that grows": (grows, None, ("'seen'", "register_buffer")),
    "a sparse gradient": (
        lambda m, x: nn.functional.embedding(torch.tensor([0, 1]), m.linear.weight, sparse=True),
        lambda out, y: out.sum(),
        ("sparse=True",),
    ),
    "a count kept": (alternates, None, ("'calls'", "register_buffer")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    function, loss, said = REFUSED[name]
    with pytest.raises(Error) as caught:
        trace(float64(Model(function)), (x(),), (y(),), loss)
    message = str(caught.value)
    assert all(each in message for each in said), message
    assert "\n" not in message
    assert len(message) < 500


def logs(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.last = m.linear(x)
    m.calls = getattr(m, "calls", 0) + 1
    return m.last


def test_tensors_outside_are_left_alone() -> None:
    with pytest.raises(Error):
        trace(float64(Model(counts_outside)), (x(),))
    assert OUTSIDE.tolist() == [0, 0]
    agrees(Model(lambda m, x: m.linear(x) + OUTSIDE.sin()), (x(),), (y(),), mse_loss)


def test_what_is_kept_and_not_used_does_no_harm() -> None:
    trace(float64(Model(logs)), (x(),), (y(),), mse_loss)


def test_what_a_last_forward_has_left_is_copied() -> None:
    model = Model(logs)
    vars(model)["kept"] = [model(x().float())]
    assert not model.last.is_leaf
    trace(float64(model), (x(),), (y(),), mse_loss)
    assert not model.last.is_leaf


def test_lazy_layers_are_refused_until_they_know_their_shapes() -> None:
    model = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(Error, match="lazy.*call model"):
        float64(model)
    model(x().float())
    agrees(model, (x(),), (y(),), mse_loss)


def test_a_hook_on_a_gradient_is_refused() -> None:
    model = Net()
    model.head.weight.register_hook(lambda grad: grad * 2)
    with pytest.raises(Error, match="'head.weight' has a hook"):
        float64(model)


def tripled(module: nn.Module, inputs: Any, output: Any) -> torch.Tensor:
    return 3 * output


def test_a_mean_over_all_batches_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, momentum=None))
    with pytest.raises(Error, match="in module '1': momentum=None averages .* give a momentum"):
        float64(model)
    float64(model.eval())


def test_hooks_on_modules_are_traced() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].register_forward_hook(tripled)
    agrees(model, (x(),), (y(),), mse_loss)


def test_torch_is_as_it_was() -> None:
    model = float64(Net())
    before = (torch.get_default_dtype(), torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled())
    hooks = [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()]
    trace(model, (x(),), (y(),), off)
    with pytest.raises(Error):
        trace(model, (x(3, 2),), (y(),), off)
    after = (torch.get_default_dtype(), torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled())
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]
    assert hooks == [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()]
    assert all(each.grad is None for each in model.parameters())
