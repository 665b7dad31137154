"""A replay agrees with the training that it replays, in every dtype, and tells what was done otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import sgdsheet
from sgdsheet import Error, Recorder
from sgdsheet.cli import main
from sgdsheet.recording import record
from sgdsheet.replaying.followed import followed
from sgdsheet.replaying.replay import replay
from tests.replaying.runs import CONFIGURATIONS, numbers, trained

IDS = [f"{name}-{number}" for number, (name, _) in enumerate(CONFIGURATIONS)]


def worst(rows: Any) -> list[float]:
    """The largest share that each weight needs of what a step may be off."""
    rows = rows.astype({name: float for name in rows if name not in record.TEXTS})
    return [float(numbers(weight)["worst"].max()) for weight in followed(rows, Path("record.csv"))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "options"), CONFIGURATIONS, ids=IDS)
def test_what_torch_does_is_within_its_roundings(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    """Gradients of all kinds; in float64 the chain is within 1e-12 but for scalars that torch keeps in float32."""
    found = worst(trained(name, options, dtype, seed=3))
    assert max(found) <= 1
    if dtype != torch.float64:
        assert max(found) > 0.1  # what is allowed is no more than ten times what it takes


ALTERED = {
    "lr": 1.01,
    "momentum": 1.01,
    "beta1": 1.01,
    "beta2": 0.999,
    "alpha": 1.001,
    "rho": 1.01,
    "weight_decay": 0.9,
}


@pytest.mark.parametrize(("name", "options"), CONFIGURATIONS, ids=IDS)
def test_a_hyperparameter_that_is_not_what_was_used_is_told(name: str, options: dict[str, Any]) -> None:
    rows = trained(name, options, kinds=[0])
    for column, factor in ALTERED.items():
        # torch's momentum-free and decay-free runs have nothing to tell; Rprop's rate is only where it begins
        if column in rows and rows[column].any() and not (name == "Rprop" or (name == "ASGD" and column == "alpha")):
            assert max(worst(rows.assign(**{column: rows[column] * factor}))) > 1, column


def test_what_an_optimizer_leaves_out_is_told() -> None:
    """A weight decay of 0.01, a bias correction: in float32, and the second in bfloat16 too."""
    rows = trained("AdamW", {"lr": 1e-3, "weight_decay": 0.0}, kinds=[0])
    assert max(worst(rows)) <= 1 < max(worst(rows.assign(weight_decay=0.01)))
    for dtype in (torch.float32, torch.bfloat16):
        later = trained("Adam", {"lr": 0.01}, dtype, kinds=[0])
        uncorrected = later.assign(count=later["count"] + 10_000, old_count=later["count"] + 9_999)
        assert max(worst(later)) <= 1 < max(worst(uncorrected)), dtype
        assert max(worst(later.assign(beta1=0.8))) > 1
        assert max(worst(later.assign(beta2=0.99))) > 1


def test_it_does_not_drift() -> None:
    """Over 1,000 steps of float32 the difference stays within what is allowed, which stays small."""
    rows = trained("AdamW", {"lr": 1e-3, "weight_decay": 0.01}, steps=1000, kinds=[0])
    (weight,) = followed(rows.astype({"step": float}), Path("record.csv"))
    found = numbers(weight)
    assert (np.abs(found["difference"]) <= found["allowed"]).all()
    assert found["allowed"].max() < 1e-5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.csv"


def written(rows: Any, path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    record.write(rows, path)
    out = path.with_suffix(".xlsx")
    replay(path, out)
    return out, sgdsheet.read(out)


def test_the_cells_agree_with_torch_for_every_optimizer(path: Path) -> None:
    """`verify` runs torch in float64 over the same gradients, and over others."""
    frames = [
        trained(name, options, steps=4, kinds=[0], seed=number, label=f"{number}.")
        for number, (name, options) in enumerate(CONFIGURATIONS)
    ]
    out, found = written(pd.concat(frames), path)
    assert (found["overview_worst"] <= 1).all()
    report = sgdsheet.verify(out, sets=1)
    assert report.ok, [row for row in report.rows if not row.ok]


def run(steps: int, happens: Callable[[int, Any, Any], Any], path: Path | None = None) -> Any:
    """A training of one weight, in which something else happens before each step."""
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([param], lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with Recorder(optimizer, ["group0.param0[1]"], path) as recorder:
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            scaler.scale((param - 3).square().sum()).backward()
            optimizer = happens(step, param, optimizer) or optimizer
            if recorder.optimizer is not optimizer:
                recorder.follow(optimizer)
            scaler.step(optimizer)
            scaler.update()
            recorder.step(loss=step)
    return recorder.frame()


def test_what_else_happened_is_said_and_the_rest_agrees(path: Path) -> None:
    def happens(step: int, param: Any, optimizer: Any) -> Any:
        if step == 3:
            param.grad[0] = torch.inf
        if step == 7:
            param.data.clamp_(max=1.01)
        return torch.optim.AdamW([param], lr=1e-2) if step == 9 else None

    out, found = written(run(11, happens), path)
    assert (found["overview_worst"] <= 1).all()
    assert found["w1_taken"].tolist() == [1, 1, 0, *[1] * 8]
    assert found["w1_start_begins"].tolist() == [1, 7, 9]
    assert found["w1_count"].tolist() == [1, 2, 2, 3, 4, 5, 6, 7, 1, 2, 3]
    texts = str(pd.read_excel(out, sheet_name=2, header=None).to_numpy().tolist())
    for said in (
        "skipped: another gradient is not finite",
        "before step 7 the weight was changed outside the optimizer",
        "before step 9 the optimizer was made anew",
    ):
        assert said in texts
    assert sgdsheet.verify(out, sets=1).ok


def test_a_gradient_that_is_not_finite_ends_a_weight_s_rows(path: Path) -> None:
    rows = run(6, lambda *_: None)
    rows.loc[rows["step"] == 4, ["grad", "new_param"]] = np.nan
    out, found = written(rows, path)
    assert found["w1_step"].tolist() == [1, 2, 3]
    texts = str(pd.read_excel(out, sheet_name=1, header=None).to_numpy().tolist())
    assert "agrees; at step 4 the gradient is nan" in texts


def test_some_steps_of_a_record_begin_with_what_the_trainer_had(path: Path) -> None:
    run(8, lambda *_: None, path)
    out = path.with_suffix(".xlsx")
    replay(path, out, steps=(4, 7))
    found = sgdsheet.read(out)
    assert found["w1_step"].tolist() == [4, 5, 6, 7]
    assert found["w1_start_count"].tolist() == [3]
    assert found["overview_worst"].max() <= 1
    assert sgdsheet.verify(out, sets=1).ok


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda rows: rows.assign(optimizer="timm.optim.lion.Lion"),
            "timm.optim.lion.Lion is no optimizer that can be",
        ),
        (lambda rows: rows.drop(columns="beta2"), "AdamW needs the column 'beta2', a number in each row"),
        (lambda rows: rows.drop(columns="exp_avg_sq"), "AdamW needs the column 'exp_avg_sq', a number in each row"),
        (lambda rows: rows.assign(dtype="float16"), "expected a weight in float64, float32, bfloat16, got float16"),
        (lambda rows: rows.assign(optimizer=["AdamW", "SGD", "SGD"]), "optimizer changes from AdamW to SGD"),
        (lambda rows: rows.assign(amsgrad=[0, 1, 1]), "amsgrad changes from 0.0 to 1.0"),
        (lambda rows: rows.assign(grad=np.nan), "at step 1 the gradient is nan, so there is nothing to replay"),
    ],
)
def test_a_record_that_cannot_be_replayed(path: Path, change: Callable[[Any], Any], said: str) -> None:
    record.write(change(run(3, lambda *_: None)), path)
    with pytest.raises(Error, match=re.escape(said)) as error:
        replay(path, path.with_suffix(".xlsx"))
    assert "\n" not in str(error.value)
    assert not path.with_suffix(".xlsx").exists()


def test_steps_that_there_are_not(path: Path) -> None:
    run(3, lambda *_: None, path)
    with pytest.raises(Error, match="has no step from 5 to 6; it ends at step 3"):
        replay(path, steps=(5, 6))
    with pytest.raises(Error, match="at most 2,000 steps, got 1:3000"):
        replay(path, steps=(1, 3000))


def test_the_command_says_how_many_agree(path: Path) -> None:
    run(3, lambda *_: None, path)
    out = path.with_name("replay.xlsx")
    done = CliRunner().invoke(main, ["replay", str(path.parent), "--out", str(out), "--steps", "1:2"])
    assert done.output.startswith("1 of 1 weights agree with what the trainer had\n")
    assert out.exists()
    done = CliRunner().invoke(main, ["replay", str(path), "--steps", "2"])
    assert (done.exit_code, done.output) == (2, "error: --steps: expected FIRST:LAST, as in 1:500, got '2'\n")


def test_the_command_ends_with_1_where_a_weight_does_not_agree(path: Path) -> None:
    run(3, lambda *_: None, path)
    rows = record.read(path)
    rows.loc[rows["step"] == 2, "grad"] += 0.5
    record.write(rows, path)
    done = CliRunner().invoke(main, ["replay", str(path), "--out", str(path.with_name("replay.xlsx"))])
    assert done.exit_code == 1
    assert "is not what these formulas make of its gradients; see its sheet\n0 of 1 weights agree" in done.output


def test_an_edited_number_is_told_with_its_step(path: Path) -> None:
    rows = run(6, lambda *_: None)
    rows.loc[rows["step"] == 4, ["new_param"]] *= 1 + 1e-4
    out, found = written(rows, path)
    assert found["overview_worst"].max() > 1
    assert "differs first at step 4" in str(pd.read_excel(out, sheet_name=1, header=None).to_numpy().tolist())
