"""The lesson `optimizers`: what is registered has a sheet, and what the sheets say holds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sgdsheet
from sgdsheet import book, lessons, optim, tensor
from sgdsheet.lessons import optimizers
from tests.lessons.pages import WIDTH, pages

Play = Callable[..., dict[str, np.ndarray]]


def signsgd(
    place: optim.Place,
    param: Any,
    grad: Any,
    state: optim.State,
    *,
    step: Any,
    lr: Any = 1e-3,
    inertia: Any = 0.9,
) -> optim.Result:
    """SignSGD with momentum: only the buffer's sign counts."""
    buffer = inertia * state["momentum_buffer"] + (1 - inertia) * grad
    buffer = place("momentum_buffer", buffer, "inertia * momentum_buffer + (1 - inertia) * grad")
    new_param = place("new_param", param - lr * tensor.sign(buffer), "param - lr * sign(momentum_buffer)")
    return new_param, {"momentum_buffer": buffer}


class SignSGD(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float = 1e-3, inertia: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "inertia": inertia})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(param))
                buffer.lerp_(param.grad, 1 - group["inertia"])
                param.sub_(group["lr"] * buffer.sign())


def test_what_is_registered_has_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanings: Any = {"inertia": ("how much of the buffer is kept", {"minimum": 0, "below": 1})}
    start = {"momentum_buffer": 0.0}
    made = optim.Optimizer("SignSGD", signsgd, lambda _: start, module=__name__, meanings=meanings)
    monkeypatch.setattr(optim, "OPTIMIZERS", {"SignSGD": made, "RAdam": optim.OPTIMIZERS["RAdam"]})
    spec: Any = importlib.util.spec_from_file_location("afresh", optimizers.__file__)
    afresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(afresh)
    monkeypatch.setattr(lessons, "catalogue", lambda: {"optimizers": afresh.OPTIMIZERS})
    path = tmp_path / "made.xlsx"
    with pytest.raises(sgdsheet.Error, match="SignSGD_inertia.* at least 0 and below 1"):
        sgdsheet.generate("optimizers", path, SignSGD_inertia=1)
    sgdsheet.generate(
        "optimizers", path, SignSGD_lr=0.05, SignSGD_inertia=0.5, schedule="anneal", start_intercept=0, start_slope=0
    )
    report = sgdsheet.verify(path)
    assert {row.block: row.verdict for row in report.rows if not row.ok} == {}
    blocks = sgdsheet.read(path)
    moves = np.abs(np.diff(blocks["SignSGD_param"], axis=0)) / blocks["SignSGD_lr_now"][:-1, None]
    np.testing.assert_allclose(moves, 1, rtol=1e-12)
    assert blocks["SignSGD_lr_now"].min() < 0.05
    assert len(blocks["race_loss"]) == 2


def test_the_race_is_between_those_who_were_chosen(play: Play) -> None:
    """Whoever is chosen, for any racer, twice too."""
    blocks = play("optimizers", {"racer_1": "Eve", "racer_2": "SGD", "racer_3": "RMSpropCentered", "racer_4": "Eve"})
    for racer, name in (("racer_1", "Eve"), ("racer_2", "SGD"), ("racer_3", "RMSpropCentered"), ("racer_4", "Eve")):
        for block in ("mean_loss", "way"):
            np.testing.assert_array_equal(blocks[f"{racer}_{block}"], blocks[f"{name}_{block}"])


def test_the_legend_of_the_race_follows_the_choice(workbook: Callable[[str], Path]) -> None:
    page = pages(workbook("optimizers")).sheets["race"]
    for _, chart in page.charts:
        assert chart.count("<strRef>") == 4
        assert [name for name in optimizers.RUNS if f"<v>{name}</v>" in chart] == ["SGD", "Momentum", "RMSprop", "Adam"]


def test_what_a_step_comes_to_is_in_the_first_screen(workbook: Callable[[str], Path]) -> None:
    found, blocks = pages(workbook("optimizers")).sheets, book.read(workbook("optimizers")).blocks
    for name in optimizers.RUNS:
        place = blocks[f"{name}_new_param"].panels[0]
        page = found[name]
        assert page.left(place.right + 1) <= WIDTH, name
        assert page.top(place.top) < 700
        assert page.left(2) < 80
        assert all(box.seen for box, _ in page.charts), name


@pytest.mark.parametrize("beta", [0, 0.5, 0.9])
def test_average_grad_and_torchs_buffers(play: Play, beta: float) -> None:
    blocks = play("optimizers", {"beta": beta})
    grad, average = blocks["noisy_grad"], blocks["average_grad"]
    expected, held = [], 0.0
    for each in grad:
        held = beta * held + (1 - beta) * each
        expected.append(held)
    np.testing.assert_allclose(average, expected, atol=1e-13)
    np.testing.assert_allclose(blocks["momentum_buffer"], average / (1 - beta), atol=1e-12)
    fades = beta ** np.arange(1, len(grad) + 1) * grad[0]
    np.testing.assert_allclose(blocks["dampened_buffer"], average + fades, atol=1e-13)


def test_without_momentum_the_two_paths_are_one(play: Play) -> None:
    blocks = play("optimizers", {"path_momentum": 0, "Momentum_momentum": 0})
    np.testing.assert_array_equal(blocks["path_way"], blocks["path_plain_way"])
    np.testing.assert_array_equal(blocks["Momentum_way"], blocks["SGD_way"])


@pytest.mark.parametrize(
    ("changes", "block", "element", "value"),
    [
        ({"path_momentum": 0}, "path_loss", -1, 0.415),
        ({"path_momentum": 0.5}, "path_loss", -1, 0.093),
        ({"path_momentum": 0.8}, "path_loss", -1, 0.061),
        ({"path_momentum": 0.95}, "path_loss", -1, 0.074),
        ({}, "race_loss", "RAdam", 1.301),
        ({}, "race_loss", "SGD", 0.108),
        ({}, "race_loss", "Momentum", 0.198),
        ({"RAdam_lr": 0.3}, "race_loss", "RAdam", 0.079),
        ({"Momentum_momentum": 0.5}, "race_loss", "Momentum", 0.069),
        ({"Momentum_momentum": 0.99}, "race_loss", "Momentum", 3.577),
        ({"Adam_beta1": 0.5}, "Adam_bias_correction1", 3, 0.938),
        ({"schedule": "one-cycle"}, "race_loss", "Momentum", 0.065),
    ],
)
def test_the_figures_of_what_to_try(
    play: Play, changes: dict[str, Any], block: str, element: Any, value: float
) -> None:
    at = [*optimizers.RUNS].index(element) if isinstance(element, str) else element
    assert play("optimizers", changes)[block][at] == pytest.approx(value, abs=6e-4)
