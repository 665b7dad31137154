"""`sgdsheet.compile`: whether the workbook trains as torch does, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from torch import nn, optim
from torch.nn.functional import mse_loss
from torch.optim import lr_scheduler

import sgdsheet
from sgdsheet import writing
from sgdsheet.eve import Eve
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.reference import float64_by_default
from sgdsheet.torch_frontend.compiled import survey
from sgdsheet.torch_frontend.tracing.supported import INSTEAD

HERE = Path(__file__).name
X = torch.tensor([[0.0, 0.5], [-1.0, 1.0], [1.5, 0.25]])
Y = torch.tensor([[1.0], [-0.5], [0.75]])


def mlp() -> nn.Sequential:
    """Two layers with numbers that do not depend on torch's generator."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    with torch.no_grad():
        for number, param in enumerate(model.parameters()):
            param.copy_(torch.linspace(-0.9, 0.8 - 0.1 * number, param.numel()).reshape(param.shape))
    return model


def trained(
    model: nn.Module, batches: list[tuple[Any, Any]], loss: Any, optimizer: Any, scheduler: Any = None
) -> tuple[dict[str, np.ndarray], list[float]]:
    """What a plain loop leaves behind, with copies and in float64: the parameters and buffers, and each step's loss."""
    model, optimizer, scheduler = copy.deepcopy((model, optimizer, scheduler))
    model.double()
    for state in optimizer.state.values():
        state |= {key: v.double() for key, v in state.items() if isinstance(v, torch.Tensor) and key != "step"}
    losses = []
    with float64_by_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scheduler does not know the copy of its optimiser's step
        for x, y in batches:
            optimizer.zero_grad()
            value = loss(model(x.double()), y.double() if y.is_floating_point() else y)
            value.backward()
            optimizer.step(*([lambda value=value: value] if isinstance(optimizer, Eve) else []))
            losses.append(value.item())
            if scheduler is not None:
                scheduler.step(*(losses[-1:] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: each.detach().double().numpy() for name, each in named}, losses


def agrees(
    tmp_path: Path, model: nn.Module, inputs: Any, targets: Any, loss: Any, optimizer: Any, steps: int = 3, **more: Any
) -> dict[str, np.ndarray]:
    """Compiles, writes, verifies, and compares what stands in the cells with a plain loop."""
    path = tmp_path / "model.xlsx"
    compiled = sgdsheet.compile(
        model, inputs, targets, loss, optimizer, steps=None if isinstance(inputs, list) else steps, **more
    )
    compiled.save(path)
    report = sgdsheet.verify(path)
    assert [(row.block, row.verdict) for row in report.rows if not row.ok] == []
    if isinstance(inputs, list):
        batches = list(zip(inputs, targets, strict=True))
    else:
        batches = [(inputs, targets)] * steps
    values, losses = trained(model, batches, loss, optimizer, more.get("scheduler"))
    read = sgdsheet.read(path)
    np.testing.assert_allclose(read["loss"], losses, rtol=1e-10)
    for name, value in values.items():
        kind = "param" if name in dict(model.named_parameters()) else "buffer"
        last = [block for k in range(len(batches) + 1) if (block := f"{k}/{kind}/{name}") in read][-1]
        np.testing.assert_allclose(read[last], value, rtol=1e-10, atol=1e-13, err_msg=name)
    return read


def test_six_lines(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    book = sgdsheet.compile(
        model,
        inputs=X,
        targets=Y,
        loss=torch.nn.functional.mse_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        steps=5,
    )
    written = book.save(tmp_path / "xor.xlsx")
    assert written.formulas > 500
    assert sgdsheet.verify(tmp_path / "xor.xlsx").ok
    read = sgdsheet.read(tmp_path / "xor.xlsx")
    for k, (name, param) in itertools.product(range(6), model.named_parameters()):
        assert read[f"{k}/param/{name}"].shape == tuple(param.shape)
        assert (f"{k}/grad/{name}" in read) == (k < 5)
        assert not k or read[f"{k}/state/{name}/exp_avg"].shape == tuple(param.shape)
    assert all(read[f"{k}/output"].shape == (3, 1) and read[f"{k}/loss"].shape == () for k in range(5))
    np.testing.assert_array_equal(read["0/param/0.weight"], model.get_parameter("0.weight").detach().double())


# --- optimisers -------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.25},
    "Adadelta": {"lr": 0.5, "rho": 0.8},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Adam": {"lr": 0.05, "betas": (0.8, 0.95), "amsgrad": True},
    "AdamW": {"lr": 0.05, "weight_decay": 0.1, "maximize": True},
    "Adamax": {"lr": 0.05, "weight_decay": 0.01},
    "NAdam": {"lr": 0.05, "decoupled_weight_decay": True, "weight_decay": 0.1},
    "RAdam": {"lr": 0.05, "betas": (0.5, 0.6)},
    "ASGD": {"lr": 0.1, "t0": 2, "lambd": 0.01},
    "Rprop": {"lr": 0.05},
    "Eve": {"lr": 0.05},
}


def made(name: str, model: nn.Module, **more: Any) -> torch.optim.Optimizer:
    """An optimiser with two groups, of which the second has a smaller learning rate."""
    params = list(model.parameters())
    kind: Any = Eve if name == "Eve" else getattr(optim, name)
    given = SETTINGS[name] | more
    return kind([{"params": params[:1]}, {"params": params[1:], "lr": given["lr"] / 2}], **given)


def stepped(model: nn.Module, optimizer: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = mse_loss(model(X), Y)
        loss.backward()
        optimizer.step(*([lambda loss=loss: loss] if isinstance(optimizer, Eve) else []))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_begins_and_continues(tmp_path: Path, name: str) -> None:
    model = mlp()
    optimizer = made(name, model)
    agrees(tmp_path, model, X, Y, mse_loss, optimizer, steps=2)
    stepped(model, optimizer, 2)
    agrees(tmp_path, model, X, Y, mse_loss, optimizer, steps=2)


def test_hyperparameters_in_tensors_and_flags_that_change_no_number(tmp_path: Path) -> None:
    model = mlp()
    optimizer = optim.Adam(
        model.parameters(), lr=torch.tensor(0.05, dtype=torch.float64), foreach=False, fused=False, capturable=False
    )
    read = agrees(tmp_path, model, X, Y, mse_loss, optimizer)
    assert read["lr"].item() == 0.05
    agrees(tmp_path, model, X, Y, mse_loss, optim.SGD(model.parameters(), lr=0.1, foreach=True), steps=1)
    differentiable = optim.SGD(model.parameters(), lr=0.1, differentiable=True)  # which a plain loop could not step
    assert sgdsheet.compile(model, X, Y, mse_loss, differentiable).program.groups[0].cells == {"lr": 0.1}


def test_adam_with_decoupled_weight_decay_is_adamw(tmp_path: Path) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)
    agrees(tmp_path, model, X, Y, mse_loss, optimizer, steps=2)
    params = list(model.parameters())
    mixed = optim.Adam(
        [{"params": params[:1], "decoupled_weight_decay": True, "weight_decay": 0.1}, {"params": params[1:]}]
    )
    assert "decoupled_weight_decay" in refused(optimizer=mixed, model=model)


SCHEDULERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "step": ("SGD", lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5)),
    "lambda": ("Adam", lambda o: lr_scheduler.LambdaLR(o, [lambda k: 1 / (1 + k), lambda k: 0.9**k])),
    "one cycle of betas": ("Adam", lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=4)),
    "one cycle of momentum": ("SGD", lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=4)),
    "cyclic": ("SGD", lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=2)),
    "restarts": ("Adam", lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3)),
    "sequential": (
        "SGD",
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.ExponentialLR(o, 0.5)], [2]
        ),
    ),
    "chained": (
        "Adam",
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.8)]
        ),
    ),
    "plateau": ("Adam", lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=0.9)),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler(tmp_path: Path, name: str) -> None:
    optimizer_name, make = SCHEDULERS[name]
    model = mlp()
    more: dict[str, Any] = {"dampening": 0.0} if optimizer_name == "SGD" else {}
    optimizer = made(optimizer_name, model, **more)
    scheduler = make(optimizer)
    before = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    read = agrees(tmp_path, model, X, Y, mse_loss, optimizer, steps=4, scheduler=scheduler)
    assert len(set(read["lr/0"].tolist())) > 1  # it did something
    assert str(before) == str((optimizer.state_dict(), scheduler.state_dict()))


class Momentum:
    """A scheduler of the momentum alone."""

    def __init__(self, optimizer: Any, values: list[float]) -> None:
        self.optimizer, self.values, self.made = optimizer, values, 0
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["momentum"] = self.values[self.made % len(self.values)]

    def step(self) -> None:
        self.made += 1
        self._set()


@pytest.mark.parametrize(
    ("kind", "more", "values"),
    [
        ("SGD", {"dampening": 0.3}, [0.0, 0.0, 0.5, 0.0, 0.9]),
        ("SGD", {"nesterov": True, "momentum": 0.5}, [0.0, 0.9, 0.0, 0.5]),
        ("RMSprop", {"centered": True}, [0.5, 0.0, 0.9, 0.0]),
    ],
)
def test_a_momentum_that_is_0_at_some_steps(tmp_path: Path, kind: str, more: dict[str, Any], values: Any) -> None:
    model = mlp()
    optimizer = getattr(optim, kind)(model.parameters(), lr=0.1, **more)
    agrees(tmp_path, model, X, Y, mse_loss, optimizer, steps=len(values), scheduler=Momentum(optimizer, values))


@pytest.mark.parametrize("kind", ["SGD", "RMSprop"])
def test_a_momentum_of_0_may_be_typed(tmp_path: Path, kind: str) -> None:
    model, path = mlp(), tmp_path / "model.xlsx"
    optimizer = getattr(optim, kind)(model.parameters(), lr=0.1, momentum=0.5)
    sgdsheet.compile(model, X, Y, mse_loss, optimizer, steps=2).save(path)
    workbook = openpyxl.load_workbook(path)
    _, cell = next(workbook.defined_names["momentum"].destinations)
    workbook["training"][cell] = 0
    workbook.save(path)
    assert sgdsheet.verify(path).ok
    without = getattr(optim, kind)(model.parameters(), lr=0.1)
    values, _ = trained(model, [(X, Y)] * 2, mse_loss, without)
    np.testing.assert_allclose(sgdsheet.read(path)["2/param/0.weight"], values["0.weight"], rtol=1e-10)


def test_a_buffer_that_torch_does_not_make_is_refused() -> None:
    model = mlp()
    optimizer = optim.RMSprop(model.parameters(), lr=0.1)
    message = refused(model=model, optimizer=optimizer, scheduler=Momentum(optimizer, [0.0, 0.5]), steps=2)
    assert "step 2 of your own loop cannot be made: KeyError 'momentum_buffer'" in message


# --- models -----------------------------------------------------------------------------------------------------------


def frozen() -> nn.Module:
    model = mlp()
    model[0].requires_grad_(False)
    return model


def unused() -> nn.Module:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.other = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    return Part()


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Linear(2, 1))
    model[2].weight = model[0].weight
    return model


def counting() -> nn.Module:
    class Centred(nn.Module):
        mean: torch.Tensor
        calls: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 1)
            self.register_buffer("mean", torch.zeros(2))
            self.register_buffer("calls", torch.tensor(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
            return self.linear(x - self.mean) / self.calls

    return Centred()


@pytest.mark.parametrize("make", [frozen, unused, tied, counting])
def test_models(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    model = make()
    read = agrees(tmp_path, model, X, Y, mse_loss, optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1))
    if make is frozen:
        assert "0/grad/0.weight" not in read
        assert "1/param/0.weight" not in read
    if make is counting:
        assert [read[f"{k}/buffer/calls"].item() for k in range(4)] == [0, 1, 2, 3]


def test_continuing_where_a_parameter_has_never_moved(tmp_path: Path) -> None:
    model = unused()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    stepped(model, optimizer, 2)
    agrees(tmp_path, model, X, Y, mse_loss, optimizer, steps=2)


def test_a_batch_a_step(tmp_path: Path) -> None:
    model = mlp()
    x, y = [X, X + 1, X[:2]], [Y, Y * 2, Y[:2]]
    read = agrees(tmp_path, model, x, y, mse_loss, optim.SGD(model.parameters(), lr=0.1))
    np.testing.assert_array_equal(read["1/input"], x[1].double())
    assert read["2/output"].shape == (2, 1)
    compiled = sgdsheet.compile(model, [X, X + 1])
    compiled.save(tmp_path / "forward.xlsx")
    np.testing.assert_allclose(
        sgdsheet.read(tmp_path / "forward.xlsx")["1/output"], copy.deepcopy(model).double()((X + 1).double()).detach()
    )


def test_the_forward_pass_alone(tmp_path: Path) -> None:
    model = mlp().eval()
    sgdsheet.compile(model, X, title="Forward").save(tmp_path / "forward.xlsx")
    assert sgdsheet.verify(tmp_path / "forward.xlsx").ok
    read = sgdsheet.read(tmp_path / "forward.xlsx")
    np.testing.assert_allclose(read["0/output"], copy.deepcopy(model).double()(X.double()).detach(), rtol=1e-12)
    assert not any(name.startswith(("0/grad", "1/", "loss")) for name in read)


def test_gradients_are_there_whatever_mode_torch_is_in() -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    expected = sgdsheet.compile(model, X, Y, mse_loss, optimizer).program.graphs
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert sgdsheet.compile(model, X, Y, mse_loss, optimizer).program.graphs == expected


def test_names_that_no_workbook_has(tmp_path: Path) -> None:
    book = sgdsheet.compile(mlp(), X)
    assert repr(book) == "Compiled(title='Sequential, step by step')"
    with pytest.raises(sgdsheet.Error, match=r"ends with \.xlsx"):
        book.save(tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(sgdsheet.Error, match="cannot be written"):
        book.save(tmp_path / "file" / "model.xlsx")


def test_a_book_that_does_not_agree_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.xlsx"
    path.write_text("as it was")
    model = mlp()
    book = sgdsheet.compile(model, X, Y, mse_loss, optim.SGD(model.parameters(), lr=0.1))
    panel = book.book().blocks["1/param/0.weight"].panels[0]
    right = writing.engine("ironcalc").calculate

    class Wrong:
        def calculate(self, file: Path, ranges: Any) -> list[np.ndarray]:
            values = right(file, ranges)
            sheet = next(number for number, each in enumerate(ranges) if each.sheet == panel.sheet)
            values[sheet][panel.top - 1, panel.left - 1] *= 1 + 1e-6
            return values

    monkeypatch.setattr(writing, "engine", lambda name: Wrong())
    with pytest.raises(sgdsheet.Error, match=r"not written, for cell .*\(1/param/0.weight\) would hold"):
        book.save(path)
    assert path.read_text() == "as it was"
    assert [*tmp_path.iterdir()] == [path]


def test_gradients_without_an_optimizer(tmp_path: Path) -> None:
    model = mlp()
    sgdsheet.compile(model, X, Y, mse_loss).save(tmp_path / "model.xlsx")
    read = sgdsheet.read(tmp_path / "model.xlsx")
    double = copy.deepcopy(model).double()
    mse_loss(double(X.double()), Y.double()).backward()
    for name, param in double.named_parameters():
        assert param.grad is not None
        np.testing.assert_allclose(read[f"0/grad/{name}"], param.grad, rtol=1e-10, atol=1e-15)
    assert not any(name.startswith("1/") for name in read)


def test_dropout_is_drawn_once_and_is_data(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    first = sgdsheet.compile(model, X, Y, mse_loss, optimizer, steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    again = sgdsheet.compile(model, X, Y, mse_loss, optimizer, steps=2)
    torch.manual_seed(5)
    other = sgdsheet.compile(model, X, Y, mse_loss, optimizer, steps=2)
    masks = [name for name in first.values if "mask" in name]
    assert len(masks) == 2
    assert all(np.array_equal(first.values[name], again.values[name]) for name in masks)
    assert not all(np.array_equal(first.values[name], other.values[name]) for name in masks)
    assert not np.array_equal(first.values[masks[0]], first.values[masks[1]])
    first.save(tmp_path / "model.xlsx")
    assert sgdsheet.verify(tmp_path / "model.xlsx").ok
    survivors = sgdsheet.compile(model.eval(), X, Y, mse_loss, optimizer)
    assert not any("mask" in name for name in survivors.values)


def test_a_model_under_torch_compile(tmp_path: Path) -> None:
    model = mlp()
    compiled: Any = torch.compile(model, backend="eager")
    book = sgdsheet.compile(compiled, X, Y, mse_loss, optim.SGD(compiled.parameters(), lr=0.1))
    assert "0/param/0.weight" in book.values


def test_nothing_of_the_callers_is_changed() -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    stepped(model, optimizer, 1)
    grads = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    x, y = X.clone(), Y.clone()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    sgdsheet.compile(model, x, y, mse_loss, optimizer, scheduler=lr_scheduler.ExponentialLR(optimizer, 0.5), steps=3)
    after = (model.state_dict(), optimizer.state_dict())
    optimizer.param_groups[0].pop("initial_lr")
    assert str(before[0]) == str(after[0])
    assert str(before[1]["state"]) == str(after[1]["state"])
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert all(
        torch.equal(grad, each.grad)
        for grad, each in zip(grads, model.parameters(), strict=True)
        if each.grad is not None
    )
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(param.dtype == torch.float32 for param in model.parameters())
    assert torch.get_default_dtype() == torch.float32


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(**arguments: Any) -> str:
    """The one line that compile raises."""
    model = arguments.setdefault("model", mlp())
    arguments = {"inputs": X, "targets": Y, "loss": mse_loss} | arguments
    if arguments.get("optimizer") == "SGD":
        arguments["optimizer"] = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(sgdsheet.Error) as caught:
        sgdsheet.compile(**arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


class Applied(nn.Module):
    """A linear layer, and a function of its output."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(2, 2), function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.linear(x))


def test_an_operation_that_is_not_supported_is_named_with_its_place() -> None:
    def transformed(h: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svd(h)[1]

    message = refused(model=nn.Sequential(nn.Linear(2, 2), Applied(transformed)), targets=None, loss=None)
    assert "_linalg_svd" in message
    assert f"{HERE}, line {transformed.__code__.co_firstlineno + 1}" in message
    assert "module '1'" in message
    assert INSTEAD["_linalg"] in message


INSTEAD_OF: dict[str, tuple[Callable[[torch.Tensor], Any], Callable[[torch.Tensor], Any]]] = {
    "_cdist": (lambda h: torch.cdist(h, h * 2), lambda h: ((h[:, None] - h * 2) ** 2).sum(-1).sqrt()),
    "bincount": (lambda h: h.argmax(1).bincount(), lambda h: (h.argmax(1)[:, None] == torch.arange(2)).sum(0)),
    "_unique": (lambda h: torch.unique(h), lambda h: (h[:, None] == torch.tensor([0.0, 1.0])).sum(0)),
    "masked_select": (lambda h: h.masked_select(h > 0), lambda h: torch.where(h > 0, h, 0.0)),
    "higher_order.cond": (
        lambda h: torch.cond(h.sum() > 0, torch.sin, torch.cos, (h,)),
        lambda h: torch.where(h.sum() > 0, h.sin(), h.cos()),
    ),
    "linalg_": (torch.linalg.inv, torch.exp),
}


@pytest.mark.parametrize("name", INSTEAD_OF)
def test_what_is_named_instead_is_supported(name: str) -> None:
    refusing, instead = INSTEAD_OF[name]
    assert INSTEAD[name] in refused(model=Applied(refusing), inputs=X[:2], targets=None, loss=None)
    assert survey(Applied(instead), X[:2]).refusals == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": "mlp"}, "torch.nn.Module, got str"),
        ({"inputs": [[1.0, 2.0]]}, "inputs, batch 0: expected a tensor or a tuple of tensors, got list"),
        ({"inputs": {"x": X}}, "got dict"),
        ({"inputs": X.numpy()}, "got ndarray"),
        ({"inputs": (X, None)}, "got NoneType"),
        ({"inputs": []}, "at least one batch"),
        ({"inputs": X.to_sparse()}, "sparse"),
        ({"inputs": torch.complex(X, X)}, "complex"),
        ({"inputs": X[:0]}, "no elements"),
        ({"inputs": X / 0}, "finite"),
        ({"inputs": X.to("meta")}, "meta"),
        ({"inputs": torch.tensor([2**60, 1])}, "2^53"),
        ({"inputs": X.t()}, "module '0'"),
        ({"inputs": (X, X)}, "cannot be traced"),
        ({"inputs": [X, X], "targets": [Y]}, "1 and 2"),
        ({"targets": [Y]}, "inputs is not"),
        ({"inputs": [X, X], "targets": [Y, Y], "steps": 3}, "2 batches"),
        ({"steps": 0}, "from 1 to 100,000"),
        ({"steps": 2.5}, "whole number"),
        ({"loss": "mse"}, "got str"),
        ({"loss": None, "optimizer": "SGD"}, "needs a loss"),
        ({"loss": lambda out, y: out - y}, "(3, 1)"),
        ({"loss": lambda out: out.sum()}, "positional argument"),
        ({"optimizer": "Adam"}, "got str"),
        ({"optimizer": optim.SGD(mlp().parameters(), lr=0.1)}, "not the model's"),
        ({"loss": lambda out, y: out.detach().sum(), "optimizer": "SGD"}, "nothing would change"),
        ({"scheduler": 1}, "needs its optimizer"),
        ({"scheduler": 1, "optimizer": "SGD"}, "got int"),
        ({"scheduler": lr_scheduler.StepLR(optim.SGD(mlp().parameters(), lr=0.1), 1), "optimizer": "SGD"}, "another"),
        ({"model": nn.Linear(2, 1, dtype=torch.complex64)}, "complex"),
        ({"model": nn.Linear(2, 1, device="meta")}, "meta"),
        ({"model": nn.ParameterList([torch.zeros(2), torch.zeros(0)])}, "'1', of shape (0,)"),
        ({"model": nn.Linear(2, 4000), "targets": X.new_zeros(3, 4000), "steps": 400, "optimizer": "SGD"}, "cells"),
        ({"model": Applied(lambda h: h[h > 0].sum()), "loss": None, "targets": None}, "torch.where"),
        ({"model": Applied(lambda h: None), "loss": None, "targets": None}, "got None"),
    ],
)
def test_refuses(arguments: dict[str, Any], said: str) -> None:
    assert said in refused(**arguments)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_refuses_quantised_tensors() -> None:
    assert "quantised" in refused(inputs=torch.quantize_per_tensor(X, 0.1, 0, torch.qint8))


@pytest.mark.parametrize(
    "name", [each for each in ("LBFGS", "Adafactor", "SparseAdam", "Muon") if hasattr(optim, each)]
)
def test_refuses_what_is_not_element_wise(name: str) -> None:
    model = nn.Linear(2, 1, bias=False)
    message = refused(model=model, optimizer=getattr(optim, name)(model.parameters()))
    assert name in message
    assert "AdamW" in message


def test_refuses_an_optimizer_that_only_has_a_known_name() -> None:
    class SGD(optim.SGD):
        pass

    model = mlp()
    assert "SGD" in refused(model=model, optimizer=SGD(model.parameters(), lr=0.1))


def test_refuses_steps_that_are_not_the_same_for_all() -> None:
    model = frozen()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    stepped(model, optimizer, 2)
    model.requires_grad_(True)
    assert "0 steps with some" in refused(model=model, optimizer=optimizer)


def test_refuses_a_schedule_that_ends_too_early() -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3, cycle_momentum=False)
    message = refused(model=model, optimizer=optimizer, scheduler=scheduler, steps=5)
    assert "OneCycleLR cannot make 5 steps" in message


# --- numbers that are not finite --------------------------------------------------------------------------------------


def test_the_first_number_that_is_not_finite_is_named() -> None:
    model = Applied(lambda h: torch.log(h - 100).exp())
    message = refused(model=model, targets=None, loss=None)
    assert "step 1" in message
    assert "log" in message
    assert HERE in message
    assert message.endswith("it first appears in 0/log of linear - 100")


def test_a_value_that_overflows_and_vanishes_again_is_named() -> None:
    model = Applied(lambda h: 1 / torch.exp(h.abs() * 1e6 + 1000))  # 1 / infinity is 0
    assert "infinite; it first appears in 0/exp" in refused(model=model, targets=None, loss=None)


def test_a_run_that_diverges_is_named_with_its_step() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=1e160)
    message = refused(model=model, optimizer=optimizer, steps=4)
    assert "step 2" in message
    assert "1/" in message
    optimizer = optim.SGD(model.parameters(), lr=1e308)
    assert "1/param" in refused(model=model, inputs=X * 1e5, optimizer=optimizer, steps=1)


def test_a_mask_may_be_infinite(tmp_path: Path) -> None:
    mask = torch.full((2, 2), -math.inf).triu(1)

    def attention(h: torch.Tensor) -> torch.Tensor:
        return torch.softmax((h.t() @ h) + mask, -1) @ torch.softmax((h.t() @ h).masked_fill(mask < 0, -math.inf), 1)

    model = Applied(attention)
    sgdsheet.compile(model, X).save(tmp_path / "model.xlsx")
    assert sgdsheet.verify(tmp_path / "model.xlsx").ok
    infinite = Applied(lambda h: h.t() @ h + mask)
    assert "infinite; it first appears in 0/output" in refused(model=infinite, targets=None, loss=None)


# --- the estimate -----------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


ESTIMATED: dict[str, Callable[[], dict[str, Any]]] = {
    "mlp": lambda: {"model": mlp(), "inputs": X, "targets": Y, "loss": mse_loss, "steps": 4},
    "wide": lambda: {"model": nn.Linear(2, 400), "inputs": X, "targets": torch.zeros(3, 400), "loss": mse_loss},
    "lstm": lambda: {
        "model": Recurrent(),
        "inputs": torch.ones(2, 4, 2),
        "targets": torch.zeros(2, 2),
        "loss": mse_loss,
    },
    "forward": lambda: {"model": nn.Sequential(nn.Linear(2, 300), nn.Sigmoid(), nn.Linear(300, 2)), "inputs": X},
    "batches": lambda: {"model": mlp(), "inputs": [X, X[:1]], "targets": [Y, Y[:1]], "loss": mse_loss},
}


@pytest.mark.parametrize("name", ESTIMATED)
def test_the_estimate_is_near_the_truth(tmp_path: Path, name: str) -> None:
    arguments = ESTIMATED[name]()
    if "loss" in arguments:
        arguments["optimizer"] = optim.Adam(arguments["model"].parameters(), lr=0.1)
    found = survey(**arguments)
    written = sgdsheet.compile(**arguments).save(tmp_path / "model.xlsx")
    assert found.refusals == []
    assert 0.8 < found.estimate.cells / written.cells < 1.25
    assert 0.5 < found.estimate.size / written.size < 2
    sheets = len(openpyxl.load_workbook(written.path, read_only=True).sheetnames)
    assert sheets <= found.estimate.sheets <= sheets + 1  # a gradient that is 0 everywhere takes no cell


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (nn.GRU, ("reset gate", "update gate", "new gate", "hidden state")),
        (nn.RNN, ("hidden state",)),
    ],
)
def test_the_gates_of_a_recurrent_network_have_names_with_their_time(
    cell: type[nn.Module], said: tuple[str, ...]
) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell(1, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cell(x)[0][:, -1]

    model = Last().double()
    x, y = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(2, 2, 1), torch.ones(2, 2, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names = {*sgdsheet.compile(model, x, y, nn.functional.mse_loss, optimizer, steps=1).book().blocks}
    # The last hidden state is the output itself.
    wanted = {f"0/cell/{each} (time {time})" for each in said for time in (1, 2)} - {"0/cell/hidden state (time 2)"}
    assert wanted | {f"0/cell/gradient of bias_hh_l0 from time {time}" for time in (1, 2)} <= names
    assert not [name for name in names if re.search(r"\b(sum|product|sigmoid|matrix)\b", name)]
