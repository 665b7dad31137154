"""What is recorded of a training is what the optimizer was given and what it did, whichever loop it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sgdsheet import Error, Recorder
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.recording import record
from sgdsheet.recording.recorder import KEPT

PLACE = (1, 2)
NAME = "0.weight[1,2]"


def model_of(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)


def loss_of(model: nn.Module, step: int = 0) -> torch.Tensor:
    dtype = next(model.parameters()).dtype
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(step)).to(dtype)
    return (model(x) - x.sum(1, keepdim=True)).square().mean()


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OPTIMIZERS),
    ("SGD", {"momentum": 0.9, "nesterov": True, "foreach": True}),  # which changes the gradients in place
    ("SGD", {"momentum": 0.9, "maximize": True, "fused": True}),
    ("Adam", {"foreach": True, "amsgrad": True, "maximize": True, "weight_decay": 0.1}),
    ("AdamW", {"fused": True}),
    ("Adam", {"lr": torch.tensor(1e-3)}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "foreach": True}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_each_step_is_what_the_optimizer_saw_and_did(name: str, options: dict[str, Any]) -> None:
    model = model_of()
    param = model[0].weight
    optimizer = OPTIMIZERS[name].torch_class(model.parameters(), **options)
    states, expected = [], []
    with Recorder(optimizer, [NAME], model=model) as recorder:
        for step in range(4):
            optimizer.zero_grad()
            loss = loss_of(model, step)
            loss.backward()
            optimizer.param_groups[0]["lr"] *= 0.5  # as a scheduler does
            grad, before = param.grad.clone(), param.detach().clone()
            lr = float(optimizer.param_groups[0]["lr"])
            optimizer.step(loss.detach)
            state = optimizer.state[param].items()
            numbers = {k: float(v[PLACE] if getattr(v, "ndim", 0) else v) for k, v in state if v is not None}
            numbers["count"] = numbers.pop("step", np.nan)
            states.append(numbers)
            expected.append((loss.item(), lr, *(float(each[PLACE]) for each in (grad, before, param.detach()))))
            recorder.step()
        rows = recorder.frame()
    assert (rows["weight"] == NAME).all()
    assert (rows["optimizer"] == name).all()
    assert rows["step"].tolist() == [1, 2, 3, 4]
    assert [*zip(*(rows[c].tolist() for c in ("loss", "lr", "grad", "param", "new_param")), strict=True)] == expected
    for key in states[0]:
        if key in rows:
            assert rows[key].tolist() == [each[key] for each in states], key
            assert rows[f"old_{key}"].tolist()[1:] == rows[key].tolist()[:-1], key
        else:
            assert key == "count"  # SGD counts no steps
    assert not {"params", "foreach"} & set(rows)


def test_gradients_are_unscaled_and_a_skipped_step_is_said() -> None:
    """Where the scaler unscales, and where a fused optimizer does by itself."""
    for fused in (False, True):
        model, plain = model_of(), model_of()
        optimizer = torch.optim.Adam(model.parameters(), fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        recorder = Recorder(optimizer, [NAME], model=model)
        for step in range(3):
            optimizer.zero_grad()
            loss = loss_of(model, 0)
            scaler.scale(loss).backward()
            if step == 1:
                model[0].bias.grad[0] = torch.inf
            scaler.step(optimizer)
            scaler.update()
            recorder.step(loss)
        rows = recorder.frame()
        recorder.close()
        loss_of(plain, 0).backward()
        assert rows["happened"].tolist() == ["stepped", "skipped", "stepped"]
        assert rows["grad"][0] == pytest.approx(float(plain[0].weight.grad[PLACE]), rel=1e-6)
        assert rows["param"][1] == rows["new_param"][1] == rows["param"][2]
        assert rows["count"].tolist() == [1, 1, 2]
        assert rows["loss"].notna().all()


def test_a_weight_without_gradient_and_groups_that_come_later() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    recorder = Recorder(optimizer, [NAME, "2.weight[0,1]"], model=model)
    for step in range(3):
        if step == 2:
            optimizer.add_param_group({"params": [*model[0].parameters()], "lr": 0.01})
        optimizer.zero_grad()
        loss_of(model).backward()
        if step == 1:
            model[2].weight.grad = None
        optimizer.step()
    rows = recorder.frame()
    recorder.close()
    assert [*zip(rows["step"], rows["weight"], rows["happened"], rows["lr"], strict=True)] == [
        (1, "2.weight[0,1]", "stepped", 0.1),
        (2, "2.weight[0,1]", "no gradient", 0.1),
        (3, NAME, "stepped", 0.01),
        (3, "2.weight[0,1]", "stepped", 0.1),
    ]
    assert np.isnan(rows["grad"][1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_digit_is_kept_in_a_closure_s_loop_over_many_steps(dtype: torch.dtype, tmp_path: Path) -> None:
    """More steps than stay on the device, and through the file."""
    model = model_of(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    expected, losses = [], []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, len(expected))
        loss.backward()
        return loss

    with Recorder(optimizer, [NAME], tmp_path / "record.csv", model=model):
        for _ in range(KEPT + 5):
            loss: Any = optimizer.step(closure)
            losses.append(loss.item())
            expected.append((float(model[0].weight.grad[PLACE]), float(model[0].weight.detach()[PLACE])))
    rows = record.read(tmp_path / "record.csv")
    assert [*zip(rows["grad"], rows["new_param"], strict=True)] == expected
    assert rows["loss"].tolist() == losses
    assert (rows["dtype"] == str(dtype)[6:]).all()


def test_it_goes_on_with_a_record_and_with_another_optimizer(tmp_path: Path) -> None:
    path, model = tmp_path / "record.csv", model_of()

    def trained(optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()

    first, second = torch.optim.Adam(model.parameters()), torch.optim.Adam(model.parameters())
    recorder = Recorder(first, [NAME], path, model=model)
    trained(first, 3)
    recorder.follow(second)
    trained(first, 1)  # which is not followed any more
    trained(second, 2)
    recorder.close()
    trained(second, 1)
    assert record.read(path)["count"].tolist() == [1, 2, 3, 1, 2]
    with Recorder(second, [NAME], path, model=model, resume=4):
        trained(second, 2)
    rows = record.read(path)
    assert rows["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert rows["count"].tolist() == [1, 2, 3, 1, 4, 5]
    with pytest.raises(Error, match=r"followed 0.weight\[1,2\], which this run does not; resume with the same"):
        Recorder(second, ["0.bias[0]"], path, model=model, resume=4)
    with pytest.raises(Error, match="ends at step 6, the run that is to go on with it at step 9"):
        Recorder(second, [NAME], path, model=model, resume=9)


def test_a_step_that_breaks_off_is_none() -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(optimizer, [NAME], model=model)
    loss_of(model).backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = "fast"
    with pytest.raises(TypeError):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    recorder.close()
    assert recorder.frame()["lr"].tolist() == [0.1, 0.2]


def test_of_several_processes_the_first_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(optimizer, 2, tmp_path / "record.csv", model=model) as recorder:
        loss_of(model).backward()
        optimizer.step()
        recorder.step()
        recorder.follow(optimizer)
    assert not [*tmp_path.iterdir()]
    assert not optimizer._optimizer_step_pre_hooks


class Wrapper:
    def __init__(self, inner: Any) -> None:
        self.optimizer = inner


def test_what_wraps_an_optimizer_is_unwrapped_and_what_is_none_is_said(tmp_path: Path) -> None:
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert Recorder(Wrapper(optimizer), 1).optimizer is optimizer
    with pytest.raises(Error, match=r"optimizer: expected a torch.optim.Optimizer, got .*Sequential"):
        Recorder(model, 1)
    with pytest.raises(Error, match=r"record.txt: expected a name that ends with .csv or .parquet"):
        Recorder(optimizer, 1, tmp_path / "record.txt")


# --- which weights ----------------------------------------------------------------------------------------------------


def names(watch: Any, model: nn.Module | None = None, optimizer: Any = None) -> list[str]:
    made = optimizer or torch.optim.SGD((model or model_of()).parameters(), lr=0.1)
    return [str(each) for each in Recorder(made, watch, model=model).weights]


def test_weights_are_spread_over_the_layers() -> None:
    layers = [layer for i in range(6) for layer in (nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3, 2))
    five = names(5, model)
    assert five == ["0.weight[1,1,1,1]", "10.weight[1]", "15.weight[1,1,1,1]", "19.weight[1,1]", "19.bias[1]"]
    twelve = names(12, model)
    assert set(five) < set(twelve)
    assert len(set(twelve)) == 12
    assert len(set(names(60, model))) == 60  # more than parameters: several of one
    assert names(2, torch.nn.parallel.DataParallel(model)) == names(2, model)


def test_a_bare_optimizer_s_weights_go_by_group_and_place() -> None:
    params = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(()))]
    optimizer = torch.optim.SGD([{"params": [params[0]]}, {"params": [params[1]], "lr": 1.0}], lr=0.1)
    assert names(2, optimizer=optimizer) == ["group0.param0[1,1]", "group1.param0[]"]
    named = torch.optim.SGD([("w", params[0]), ("b", params[1])], lr=0.1)
    assert names([("w", (0, 2)), "b[]"], optimizer=named) == ["w[0,2]", "b[]"]


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        (0, "watch: expected 1 to 1000, got 0"),
        ([], "watch: expected 1 to 1,000 weights, got 0"),
        ("0.weight", r"got '0.weight'; 0.weight has the shape \(4, 3\)"),
        ("0.wieght[1,2]", "there is no parameter '0.wieght'; did you mean '0.weight'"),
        ("0.weight[1]", r"0.weight has the shape \(4, 3\), and no place \(1,\)"),
        ("0.weight[4,0]", r"no place \(4, 0\)"),
        ([("0.weight", "first")], "watch: expected a weight with its place"),
        ([3.5], "watch: expected a weight with its place"),
        (["0.bias[1]", "0.bias[ 1 ]"], r"watch: 0.bias\[1\] stands there twice"),
    ],
)
def test_a_weight_that_there_is_not(watch: Any, said: str) -> None:
    with pytest.raises(Error, match=said):
        names(watch, model_of())
