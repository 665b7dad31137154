"""`sgdsheet train` against the loop that anybody would write in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F  # noqa: N812

import sgdsheet
from sgdsheet import lessons
from sgdsheet.book import read
from sgdsheet.book.cells import CellFile
from sgdsheet.cli import main
from sgdsheet.errors import Error
from sgdsheet.expr import Ref
from sgdsheet.reference import float64_by_default
from sgdsheet.training import record
from sgdsheet.training.train import INTERRUPTED, train
from sgdsheet.writing import retyped

ADAM: dict[str, Any] = {"lr": 0.05}
NUMBERS = 3 * (6 + 2 * 3 + 3 + 1) + 2 * 3 + 1  # parameters with two states each, and what the batch norm keeps


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.5], [2, 0]])
    return x, (x[:, :1] - x[:, 1:]).abs()


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    first = torch.nn.Linear(2, 3, bias=False)  # whose gradient would be nothing but rounding
    return torch.nn.Sequential(first, torch.nn.BatchNorm1d(3), torch.nn.Tanh(), torch.nn.Linear(3, 1))


def optimizer(name: str, net: torch.nn.Module, **given: Any) -> torch.optim.Optimizer:
    return getattr(torch.optim, name)(net.parameters(), **given)


def compiled(path: Path, name: str = "AdamW", **given: Any) -> Path:
    """One step of a small network with two batches of three, not yet trained."""
    x, y = examples()
    net = network()
    batches = [(x[start : start + 3], y[start : start + 3]) for start in (0, 3)]
    made = sgdsheet.compile(net, loss=F.mse_loss, optimizer=optimizer(name, net, **(given or ADAM)), batches=batches)
    made.save(path)
    return path


def loop(steps: int, name: str = "AdamW", rows: torch.Tensor | None = None, **given: Any) -> tuple[list[float], Any]:
    """What torch makes of the same training: the losses, and the network."""
    x, y = examples() if rows is None else (rows[:, :2], rows[:, 2:])
    losses, net = [], network().double()
    with float64_by_default():  # NAdam keeps a scalar
        stepping = optimizer(name, net, **(given or ADAM))
        for step in range(steps):
            at = [(3 * step + each) % len(x) for each in range(3)]
            loss = F.mse_loss(net(x[at].double()), y[at].double())
            stepping.zero_grad()
            loss.backward()
            stepping.step()
            losses.append(loss.item())
    return losses, net


def typed(path: Path, block: str) -> np.ndarray:
    return read(path).contents[block].astype(float)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("train") / "net.xlsx")


@pytest.mark.parametrize(
    ("name", "given"),
    [("AdamW", ADAM), ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}), ("SGD", {"lr": 0.1}), ("NAdam", ADAM)],
)
def test_it_is_torchs_own_loop(tmp_path: Path, name: str, given: dict[str, Any]) -> None:
    path = compiled(tmp_path / "net.xlsx", name, **given)
    kept = path.read_bytes()
    done = train(path, steps=20)
    losses, net = loop(20, name, **given)
    assert (done.path, done.steps, done.stopped) == (tmp_path / "net_trained.xlsx", 20, "")
    assert path.read_bytes() == kept
    (run,) = record.read(done.path)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-10)
    assert run.batches == [1, 2] * 10
    for param, value in net.state_dict().items():
        kind = "buffer" if "running" in param or "tracked" in param else "param"
        held = typed(done.path, f"0/{kind}/{param}")
        np.testing.assert_allclose(held, value.numpy(), rtol=1e-9, atol=1e-12, err_msg=param)
    assert typed(done.path, "steps_made") == 20
    assert typed(done.path, "input").tolist() == examples()[0][:3].tolist()  # the batch that comes next


def test_it_goes_on_where_it_ended_and_verify_follows_all_of_it(untrained: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.xlsx", tmp_path / "second.xlsx"
    train(untrained, first, steps=7)
    done = train(first, second, steps=6)
    assert (done.steps, done.in_all) == (6, 13)
    losses, _ = loop(13)
    runs = record.read(second)
    np.testing.assert_allclose([loss for run in runs for loss in run.losses], losses, rtol=1e-10)
    assert [run.batches for run in runs] == [[1, 2, 1, 2, 1, 2, 1], [2, 1, 2, 1, 2, 1]]
    report = sgdsheet.verify(second, sets=0)
    assert report.ok
    assert [(row.block, row.shape) for row in report.rows[-2:]] == [
        ("trained/losses", (13,)),
        ("trained/numbers", (NUMBERS,)),
    ]


@pytest.mark.parametrize("what", ["a loss", "a number", "a start"])
def test_verify_sees_what_torch_would_not_have_led_to(untrained: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "net.xlsx"
    train(untrained, path, steps=5)
    saved = read(path)
    if what == "a number":
        block = saved.blocks["0/param/3.bias"]
        changed = {block.cell((0,)): float(saved.contents["0/param/3.bias"][0]) + 1e-6}
    else:
        sheet, column = (record.TRAINED, 3) if what == "a loss" else (record.FROM, 4)
        rows = CellFile(path).rows(sheet)
        row = next(n for n, each in enumerate(rows, 1) if each[:1] == [3] or each[1:2] == ["0/param/0.weight"])
        changed = {Ref(sheet, row, column): rows[row - 1][column - 1] + 1e-6}
    retyped(path, path, changed)
    wrong = {row.block: row.verdict for row in sgdsheet.verify(path, sets=0).rows if not row.ok}
    said = {
        "a loss": {"trained/losses": "differs first at step 3"},
        "a number": {"trained/numbers": "'0/param/3.bias' differs most"},
        "a start": {"trained/losses": "differs first at step", "trained/numbers": "differs most"},
    }[what]
    assert wrong.keys() == said.keys()
    assert all(said[name] in verdict for name, verdict in wrong.items())


def test_examples_from_a_csv(untrained: Path, tmp_path: Path) -> None:
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    csv = tmp_path / "batches.csv"
    lines = [",".join(map(repr, row)) for row in rows.tolist()]
    csv.write_text("\n".join(["x1,x2,y", *lines]), encoding="utf-8")
    done = train(untrained, tmp_path / "out.xlsx", steps=8, data=csv)
    (run,) = record.read(done.path)
    np.testing.assert_allclose(run.losses, loop(8, rows=rows)[0], rtol=1e-10)
    assert run.batches == [1, 2, 3, 4, 5, 1, 2, 3]
    assert sgdsheet.verify(done.path, sets=0).ok


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3\n1,2\n", "row 2: expected 3 numbers, 2 for 'input' and 1 for 'target', got 2"),
        ("a,b,c\n1,2,x\n", "row 2, column 3: expected a number for 'target', got 'x'"),
        ("1,2,\n1,2,3\n", "row 1, column 3: expected a number for 'target', got ''"),
        ("a,b,c\n", "has no row of numbers"),
    ],
)
def test_a_csv_that_does_not_fit(untrained: Path, tmp_path: Path, text: str, said: str) -> None:
    csv = tmp_path / "batches.csv"
    csv.write_text(text, encoding="utf-8")
    with pytest.raises(Error) as caught:
        train(untrained, tmp_path / "out.xlsx", data=csv)
    assert str(caught.value).startswith(str(csv))
    assert said in str(caught.value)
    assert not (tmp_path / "out.xlsx").exists()


def test_interrupted_it_keeps_the_last_whole_step(untrained: Path, tmp_path: Path) -> None:
    def stop(step: int, loss: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    done = train(untrained, tmp_path / "out.xlsx", progress=stop)
    assert (done.steps, done.stopped) == (4, INTERRUPTED)
    whole = train(untrained, tmp_path / "four.xlsx", steps=4)
    assert done.path.read_bytes() == whole.path.read_bytes()


def test_the_command_says_how_far_it_came(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgdsheet.cli._Progress.at", lambda self, step, loss: interrupt(step == 3))
    out = tmp_path / "out.xlsx"
    done = CliRunner().invoke(main, ["train", str(untrained), "-o", str(out), "--steps", "9"])
    assert done.exit_code == 130
    assert done.stderr == f"interrupted after 3 steps; {out} has the last whole one\n"
    assert f"{out}: 3 steps, loss" in done.stdout


def interrupt(now: bool) -> None:
    if now:
        raise KeyboardInterrupt


def test_a_loss_that_explodes_ends_it_before(tmp_path: Path) -> None:
    path, net = tmp_path / "line.xlsx", torch.nn.Linear(1, 1)
    x = torch.tensor([[1.0], [2.0]])
    sgdsheet.compile(net, loss=F.mse_loss, optimizer=torch.optim.SGD(net.parameters(), lr=1e9), batches=[(x, x)]).save(
        path
    )
    done = CliRunner().invoke(main, ["train", str(path)])
    out = tmp_path / "line_trained.xlsx"
    (run,) = record.read(out)
    assert done.exit_code == 1
    assert (
        f"step {len(run.losses) + 1} leads to a number that is not finite; {out} has the last before it" in done.stderr
    )
    assert len(run.losses) < 40
    assert np.isfinite(typed(out, "0/param/weight")).all()
    assert np.isfinite(sgdsheet.read(out)["loss"]).all()


def test_a_lesson_trains_on(tmp_path: Path, workbook: Callable[[str], Path]) -> None:
    done = train(workbook("lstm_by_hand"), tmp_path / "out.xlsx", steps=30)
    assert done.last_loss < 0.7 * done.first_loss
    report = sgdsheet.verify(done.path, sets=0)
    assert report.ok
    assert report.rows[-1].block == "trained/numbers"


def test_a_lesson_of_many_steps_makes_whole_rounds(tmp_path: Path, workbook: Callable[[str], Path]) -> None:
    path = workbook("lesson2_sgd")
    before = sgdsheet.read(path)
    done = train(path, tmp_path / "out.xlsx", steps=101)
    assert done.steps == 2 * len(before["loss"])
    x, y, lr = before["data_x"], before["data_y"], before["lr"]
    intercept, slope = before["intercept"][0], before["slope"][0]
    for _ in range(done.steps):
        error = slope * x + intercept - y
        intercept, slope = intercept - lr * 2 * error.mean(), slope - lr * 2 * (error * x).mean()
    saved = read(done.path)
    assert saved.contents["intercept"][0] == pytest.approx(intercept, rel=1e-12)
    assert saved.contents["slope"][0] == pytest.approx(slope, rel=1e-12)


def test_what_cannot_be_trained(untrained: Path, tmp_path: Path, workbook: Callable[[str], Path]) -> None:
    net = network()
    x, y = examples()
    fixed = tmp_path / "fixed.xlsx"
    sgdsheet.compile(net, x, y, F.mse_loss, torch.optim.Adam(net.parameters())).save(fixed)
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (fixed, {}, "has no step to repeat.*batches="),
        (workbook("tensors"), {}, "has no step to repeat; these have: compiled models, linear_sgd"),
        (untrained, {"steps": 0}, "steps: expected at least 1, got 0"),
        (untrained, {"engine": "gnumeric"}, "only ironcalc and excel"),
        (untrained, {"engine": "excel"}, "Windows and macOS"),
        (untrained, {"out": tmp_path / "out.csv"}, "ends with .xlsx"),
        (workbook("lesson2_sgd"), {"data": tmp_path / "any.csv"}, "are no batches"),
    ]
    for path, given, said in cases:
        with pytest.raises(Error, match=said):
            train(path, **dict[str, Any](out=tmp_path / "out.xlsx") | given)
    assert {each.name for each in tmp_path.iterdir()} == {"fixed.xlsx"}


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "at least one"),
        (torch.zeros(2), "pairs of inputs and targets"),
        ([(torch.zeros(2, 2), torch.zeros(2, 1)), (torch.zeros(1, 2), torch.zeros(1, 1))], "batch 1 has .*drop_last"),
        ([(torch.zeros(2, 2), torch.zeros(2, 1), 3)], "expected a pair"),
    ],
)
def test_batches_that_do_not_fit(batches: Any, said: str) -> None:
    net = network()
    with pytest.raises(Error, match=said):
        sgdsheet.compile(net, loss=F.mse_loss, optimizer=torch.optim.SGD(net.parameters()), batches=batches)


def test_every_lesson_that_says_so_has_the_blocks(workbook: Callable[[str], Path]) -> None:
    for name, lesson in lessons.catalogue().items():
        if lesson.again:
            assert {*lesson.again, *lesson.again.values(), "loss"} <= {*read(workbook(name)).blocks}
