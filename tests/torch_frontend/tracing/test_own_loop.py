"""Whether `compile` trains as the caller's own loop does, whatever that consists of, and leaves it as it was."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.nn.functional import dropout, mse_loss
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import lr_scheduler
from torch.utils.checkpoint import checkpoint

import sgdsheet
from sgdsheet.reference import float64_by_default

X = torch.tensor([[0.0, 0.5], [-1.0, 1.0], [1.5, 0.25]])
Y = torch.tensor([[1.0], [-0.5], [0.75]])
STEPS = 3


class Net(nn.Module):
    """Two layers with numbers of their own; `inner` is a function set at the beginning that closes over the model."""

    def __init__(self, forward: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 1)
        with torch.no_grad():
            for number, param in enumerate(self.parameters()):
                numbers = torch.linspace(-0.9, 0.8 - 0.1 * number, param.numel(), dtype=torch.float32)
                param.copy_(numbers.reshape(param.shape))
        self.inner = lambda h: h + self.b.bias
        self.function = forward or (lambda m, x: m.b(m.a(x).tanh()))

    def forward(self, *x: torch.Tensor) -> Any:
        return self.function(self, *x)

    def penalised(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return mse_loss(output, y) + 0.1 * self.a.weight.square().sum()


def sgd(model: nn.Module, **more: Any) -> optim.SGD:
    arguments: dict[str, Any] = {"lr": 0.1, "momentum": 0.5} | more
    return optim.SGD(model.parameters(), **arguments)


def given(**more: Any) -> SimpleNamespace:
    """The arguments of `compile`, and `clip`, what the plain loop does to the gradients."""
    model = more.pop("model", None) or Net()
    arguments = {
        "model": model,
        "inputs": X,
        "targets": Y,
        "loss": mse_loss,
        "optimizer": sgd(model),
        "scheduler": None,
    }
    return SimpleNamespace(**arguments | {"clip": None, "more": {}} | more)


def weight_penalty() -> SimpleNamespace:
    made = given()
    made.loss = lambda out, y: mse_loss(out, y) + 0.1 * sum((q**2).sum() for q in made.model.parameters())
    return made


def loss_with_the_model() -> SimpleNamespace:
    made = given()

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = made.model

        def forward(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return mse_loss(out, y) + self.net(y.expand(3, 2)).mean() + self.net.b.weight.abs().sum()

    made.loss = Loss()
    return made


def bound_method() -> SimpleNamespace:
    model = Net()
    return given(model=model, loss=model.penalised)


def function_over_self() -> SimpleNamespace:
    return given(model=Net(lambda m, x: m.inner(m.b(m.a(x).tanh()))))


def forward_hook_over_self() -> SimpleNamespace:
    model = Net()

    def scaled(module: nn.Module, args: Any, out: Any) -> Any:
        return out * model.a.bias.sum()

    model.register_forward_hook(scaled)
    return given(model=model)


def kept_aliases() -> SimpleNamespace:
    made = given()
    kept = [made.model.a.weight.detach(), made.model.b.weight.data]
    made.loss = lambda out, y: mse_loss(out, y) * (1 + sum(each.square().sum() for each in kept))
    return made


def counts() -> SimpleNamespace:
    class Loss:
        k = 0

        def __call__(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.k += 1
            return mse_loss(out, y) * self.k

    return given(loss=Loss())


def counts_in_a_closure() -> SimpleNamespace:
    k = 0

    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nonlocal k
        k += 1
        return mse_loss(out, y) * k

    return given(loss=loss)


def draws_in_python() -> SimpleNamespace:
    return given(loss=lambda out, y: mse_loss(out, y) * random.random())


def takes_from_a_list() -> SimpleNamespace:
    factors = iter([1.0, 2.0, 3.0, 4.0])
    return given(loss=lambda out, y: mse_loss(out, y) * next(factors))


def drops_and_computes_anew() -> SimpleNamespace:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.b(checkpoint(lambda x: dropout(m.a(x).tanh(), 0.5), x, use_reentrant=False))

    return given(model=Net(forward))


def clipped_by_norm() -> SimpleNamespace:
    return given(clip=lambda params: clip_grad_norm_(params, 0.5), more={"clip_norm": 0.5})


def clipped_by_value() -> SimpleNamespace:
    return given(clip=lambda params: clip_grad_value_(params, 0.1), more={"clip_value": 0.1})


def several_schedulers() -> SimpleNamespace:
    made = given()
    plateau = lr_scheduler.ReduceLROnPlateau(made.optimizer, factor=0.5, patience=0, threshold=0.9)
    made.scheduler = [lr_scheduler.ExponentialLR(made.optimizer, 0.5), plateau]
    return made


def returns_its_loss() -> SimpleNamespace:
    return given(model=Net(lambda m, x, y: mse_loss(m.b(m.a(x)), y)), inputs=(X, Y), targets=None, loss=None)


def returns_outputs_and_loss() -> SimpleNamespace:
    def forward(m: Any, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = m.b(m.a(x))
        return out, mse_loss(out, y)

    return given(model=Net(forward), inputs=(X, Y), targets=None, loss=None)


def returns_named_loss() -> SimpleNamespace:
    made = returns_outputs_and_loss()
    pair = made.model.function
    made.model.function = lambda m, x, y: dict(zip(("out", "loss"), pair(m, x, y), strict=True))
    return made


def numpy_scalars() -> SimpleNamespace:
    made = given()
    made.optimizer = sgd(made.model, lr=np.float64(0.1), weight_decay=np.float32(0.5), nesterov=np.bool_(True))
    return made


LOOPS = {
    each.__name__: each
    for each in (
        weight_penalty,
        loss_with_the_model,
        bound_method,
        function_over_self,
        forward_hook_over_self,
        kept_aliases,
        counts,
        counts_in_a_closure,
        draws_in_python,
        takes_from_a_list,
        drops_and_computes_anew,
        clipped_by_norm,
        clipped_by_value,
        several_schedulers,
        returns_its_loss,
        returns_outputs_and_loss,
        returns_named_loss,
        numpy_scalars,
    )
}


def seeds() -> None:
    random.seed(3)
    torch.manual_seed(3)


def looped(made: SimpleNamespace) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Each step's loss and the last parameters, by a plain loop in float64."""
    inputs = [each.double() for each in (made.inputs if isinstance(made.inputs, tuple) else (made.inputs,))]
    losses = []
    for _ in range(STEPS):
        made.optimizer.zero_grad()
        out = made.model(*inputs)
        if made.loss is None:
            value = out if isinstance(out, torch.Tensor) else out["loss"] if isinstance(out, dict) else out[-1]
        else:
            value = made.loss(out, made.targets.double())
        value.backward()
        if made.clip is not None:
            made.clip(made.model.parameters())
        made.optimizer.step()
        for each in made.scheduler or []:
            each.step(*([value.item()] if isinstance(each, lr_scheduler.ReduceLROnPlateau) else []))
        losses.append(value.item())
    return losses, dict(made.model.named_parameters())


def compiled(made: SimpleNamespace) -> sgdsheet.Compiled:
    return sgdsheet.compile(
        made.model,
        made.inputs,
        made.targets,
        made.loss,
        made.optimizer,
        scheduler=made.scheduler,
        steps=STEPS,
        **made.more,
    )


@pytest.mark.parametrize("name", LOOPS)
def test_a_program_trains_as_a_plain_loop_does(name: str) -> None:
    made = LOOPS[name]()
    with float64_by_default():
        other = LOOPS[name]()  # with counters of its own
    seeds()
    book = compiled(made)
    blocks = book.program.run(book.values)
    seeds()
    with float64_by_default():
        losses, params = looped(other)
    np.testing.assert_allclose(blocks["loss"], losses, rtol=1e-12)
    for path, param in params.items():
        np.testing.assert_allclose(blocks[f"{STEPS}/param/{path}"], param.detach(), rtol=1e-11, atol=1e-15)


def test_a_loss_may_take_the_step() -> None:
    book = compiled(given(loss=lambda out, y, step: mse_loss(out, y) * 2.0**step))
    again = compiled(given())
    first, plain = book.program.run(book.values), again.program.run(again.values)
    assert [len(each.program.graphs) for each in (book, again)] == [STEPS, 1]
    np.testing.assert_allclose(first["0/loss"], plain["0/loss"], rtol=1e-15)
    np.testing.assert_allclose(first["2/loss"], 4 * mse_loss(torch.tensor(first["2/output"]), Y.double()), rtol=1e-12)


def test_what_is_clipped_is_on_the_sheets(tmp_path: Any) -> None:
    path = tmp_path / "clipped.xlsx"
    compiled(clipped_by_norm()).save(path)
    assert sgdsheet.verify(path).ok
    read = sgdsheet.read(path)
    grads = [read[f"0/grad/{name}"].ravel() for name, _ in Net().named_parameters()]
    assert np.linalg.norm(np.concatenate(grads)) == pytest.approx(0.5, rel=1e-5)


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(made: SimpleNamespace) -> str:
    with pytest.raises(sgdsheet.Error) as caught:
        compiled(made)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def with_hook(kind: str, function: Callable[..., Any]) -> SimpleNamespace:
    made = given()
    getattr(made.optimizer, f"register_step_{kind}_hook")(lambda *_: function(made.model))
    return made


def clips(model: nn.Module) -> None:
    clip_grad_norm_(model.parameters(), 0.1)


def clamps(model: nn.Module) -> None:
    for param in model.parameters():
        param.data.clamp_(-0.1, 0.1)


@pytest.mark.parametrize(("kind", "function"), [("pre", clips), ("post", clamps)])
def test_hooks_of_the_optimizer_are_refused_where_they_change_something(kind: str, function: Any) -> None:
    message = refused(with_hook(kind, function))
    assert message.startswith("step 1: 'param/a.weight'")
    assert "clip_norm" in message
    seen: list[int] = []
    compiled(with_hook(kind, lambda model: seen.append(1)))
    assert seen == []


def test_a_step_that_was_replaced_is_refused() -> None:
    made = given()
    step = made.optimizer.step
    made.optimizer.step = lambda *_: (step(), clamps(made.model))
    assert "has been replaced" in refused(made)


def test_a_part_of_a_parameter_that_was_taken_before_is_refused() -> None:
    made = given()
    row = made.model.a.weight[0]
    made.loss = lambda out, y: mse_loss(out, y) + row.square().sum()
    assert "'a.weight'" in refused(made)


def test_a_loss_that_goes_on_counting_is_refused() -> None:
    factors = (float(each) for each in range(1, 100))  # whose place nobody can set back
    message = refused(given(loss=lambda out, y: mse_loss(out, y) * next(factors)))
    assert message.startswith("step 1: 'loss'")
    assert "when it is called again" in message


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"clip_norm": 0}, "above 0"),
        ({"clip_value": "1"}, "above 0"),
        ({"clip_norm": 1, "clip_value": 1}, "one of them"),
    ],
)
def test_clipping_that_makes_no_sense_is_refused(more: dict[str, Any], said: str) -> None:
    assert said in refused(given(more=more))
    assert "without a loss" in refused(given(loss=None, optimizer=None, targets=None, more={"clip_norm": 1}))


# --- what is lent is given back ---------------------------------------------------------------------------------------


class Everything(nn.Module):
    """A model, a loss and counters of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.norm = Net(), nn.BatchNorm1d(1)
        self.seen: list[int] = []
        self.said = {"calls": 0}
        self.plain = torch.ones(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.said["calls"] += 1
        self.seen.append(1)
        return self.norm(self.net(x))


def held(model: Everything, optimizer: Any, scheduler: Any, loss: Any) -> dict[str, Any]:
    state = optimizer.state_dict()
    return {
        "numbers": copy.deepcopy([*model.state_dict().items()]),
        "places": [(id(each), each.data_ptr(), each.dtype, id(each.grad)) for each in model.parameters()],
        "grads": copy.deepcopy([each.grad for each in model.parameters()]),
        "attributes": copy.deepcopy((model.seen, model.said, model.plain.tolist(), sorted(vars(model)))),
        "optimizer": (copy.deepcopy(state), [id(each) for each in optimizer.state.values()]),
        "scheduler": copy.deepcopy(scheduler.state_dict()),
        "loss": copy.deepcopy(vars(loss)),
        "generators": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled()),
    }


class Counting:
    def __init__(self, last: float) -> None:
        self.k, self.last = 0, last

    def __call__(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.k += 1
        if self.k > self.last:
            raise RuntimeError("enough")
        return mse_loss(out, y) * (1 + 0 * random.random() + 0 * torch.rand(()))


@pytest.mark.parametrize("last", [9, 2])
def test_everything_is_as_it_was(last: int) -> None:
    model, loss = Everything(), Counting(99)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
    loss(model(X), Y).backward()
    optimizer.step()
    scheduler.step()
    loss.k, loss.last = 0, last
    before = held(model, optimizer, scheduler, loss)
    made = given(model=model, loss=loss, optimizer=optimizer, scheduler=scheduler)
    if last == 2:
        assert "step 3 of your own loop cannot be made: enough" in refused(made)
    else:
        compiled(made)
    after = held(model, optimizer, scheduler, loss)
    for what, value in before.items():
        assert str(after[what]) == str(value), what
    loss.k, loss.last = 0, 9
    loss(model(X), Y).backward()  # and it goes on
    optimizer.step()
