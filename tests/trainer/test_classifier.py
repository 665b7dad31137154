"""Training: that it learns, goes on where it was interrupted, and that several processes do what one does."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rich.console
import torch
from torch import nn

from sgdsheet.errors import Error
from trainer import Augment, Classifier, ImageFolder, models
from trainer.show import plots
from trainer.training import loop
from trainer.training.finder import Found, suggestions
from trainer.training.schedule import one_cycle

REPOSITORY = Path(__file__).parents[2]
PLAIN = Augment(scale=(0.9, 1.0), flip=0.0, rotate=0.0, zoom=1.0, lighting=0.0)


class Small(nn.Sequential):
    """A network that is trained in a second."""

    def __init__(self, num_classes: int = 3, **_: Any) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, num_classes),
        )


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = models._made
    monkeypatch.setattr(models, "_made", lambda arch, n, w: Small(n) if arch == "small" else made(arch, n, w))


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> ImageFolder:
    return ImageFolder(pictures, size=24, cache=tmp_path / "cache")


def classifier(data: ImageFolder, **options: Any) -> Classifier:
    options = {"batch_size": 16, "augment": PLAIN, "bf16": False, "device": "cpu", "show": False} | options
    return Classifier(data, "small", **options)


def weights(clf: Classifier) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in clf.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(data: ImageFolder) -> None:
    clf = classifier(data)
    clf.fit_one_cycle(6, lr=1e-2)
    history = clf.frame()
    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert history["error_rate"].iloc[-1] < 0.2
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0] / 2
    predictions = clf.predictions()
    assert predictions.error_rate == pytest.approx(history["error_rate"].iloc[-1])
    assert predictions.losses.mean() == pytest.approx(history["valid_loss"].iloc[-1], rel=1e-4)


def test_the_loop_does_what_torch_does(data: ImageFolder) -> None:
    """One epoch against a plain loop over the same batches."""
    clf = classifier(data, optimizer="sgd", weight_decay=0.0, seed=5)
    torch.manual_seed(5)
    plain = Small(3)
    assert same(weights(clf), plain.state_dict())
    clf.fit_one_cycle(1, lr=0.1)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    batches = list(data.batches(0, 16, 5))
    losses = []
    for step, batch in enumerate(batches):
        share, momentum = one_cycle(step / len(batches))
        optimizer.param_groups[0] |= {"lr": 0.1 * share, "momentum": momentum}
        drawn = loop.draw(PLAIN, data.cache.sizes[batch.numbers], batch.rng)
        pixels = clf.setup.cutter(data.cache.take(batch.numbers), data.cache.sizes[batch.numbers], drawn)
        loss = nn.functional.cross_entropy(plain(pixels), data.labels[batch.numbers])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name, each in plain.state_dict().items():
        torch.testing.assert_close(clf.model.state_dict()[name], each, rtol=1e-4, atol=1e-6)
    assert clf.history[0]["train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"ema": 0.9},
        {"augment": Augment(mixup=0.4, cutmix=1.0)},
        {"bf16": True},
        {"accumulate": 2, "clip": 1.0, "label_smoothing": 0.1},
    ],
)
def test_options_train_too(data: ImageFolder, options: dict[str, Any]) -> None:
    clf = classifier(data, **options)
    clf.fit_one_cycle(2, lr=1e-2)
    assert np.isfinite(clf.frame().to_numpy(float)).all()


def test_accumulated_gradients_are_those_of_a_larger_batch() -> None:
    model, x, y = nn.Linear(4, 2), torch.randn(8, 4), torch.randint(0, 2, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    assert model.weight.grad is not None
    whole = model.weight.grad.clone()
    model.zero_grad()
    for part in (slice(0, 4), slice(4, 8)):
        (nn.functional.cross_entropy(model(x[part]), y[part]) / 2).backward()
    torch.testing.assert_close(model.weight.grad, whole)


def test_frozen_the_head_alone_learns(data: ImageFolder) -> None:
    clf = classifier(data)
    before = weights(clf)
    clf.freeze()
    clf.fit_one_cycle(1, lr=1e-2)
    changed = {name for name, each in weights(clf).items() if not torch.equal(each, before[name])}
    assert {name for name, _ in clf.model.named_parameters()} & changed == {"8.weight", "8.bias"}
    clf.unfreeze()
    clf.fit_one_cycle(1, lr=slice(1e-4, 1e-2))
    rates = [group["peak"] for group in clf._optimizer(slice(1e-4, 1e-2)).param_groups]
    assert rates == [1e-4, 1e-2]
    changed = {name for name, each in weights(clf).items() if not torch.equal(each, before[name])}
    assert {name for name, _ in clf.model.named_parameters()} <= changed


def test_find_lr_leaves_everything_as_it_was(data: ImageFolder) -> None:
    clf = classifier(data)
    clf.fit_one_cycle(1, lr=1e-2)
    before, random, mode = weights(clf), torch.get_rng_state(), clf.model.training
    found = clf.find_lr()
    assert same(weights(clf), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert clf.model.training == mode
    assert all(param.grad is None for param in clf.model.parameters())
    assert 1e-7 < found.valley < 10
    assert 1e-7 < found.steepest < 10
    assert list(found.frame().columns) == ["lr", "loss"]
    assert same(weights(clf), before)


def test_suggestions_of_a_known_curve() -> None:
    rates = [10 ** (-6 + step / 10) for step in range(60)]
    losses = [2 - 1.5 / (1 + np.exp(-2.5 * (np.log10(rate) + 3))) + (rate**2) for rate in rates]
    steepest, valley = suggestions(rates, losses)
    assert 10**-3.3 < steepest < 10**-2.5
    assert steepest / 10 < valley < 0.3
    # Beyond the lowest loss the training has jumped; how it falls from there means nothing.
    jumped = [*losses, 40.0, 20.0, 2.0]
    assert suggestions([*rates, 2.0, 3.0, 4.0], jumped) == (steepest, valley)
    rising = Found([1e-3, 1e-2, 1e-1], [1.0, 2.0, 3.0], *suggestions([1e-3, 1e-2, 1e-1], [1.0, 2.0, 3.0]))
    assert "did not fall at any rate" in str(rising)
    assert rising.plot().size == (770, 440)


def test_resumed_in_memory_is_the_same_run(data: ImageFolder, tmp_path: Path) -> None:
    whole = classifier(data)
    whole.fit_one_cycle(1, lr=1e-3)
    whole.fit_one_cycle(3, lr=1e-2)
    second = interrupted_and_resumed(data, tmp_path / "run")
    assert same(weights(second), weights(whole))
    columns = ["epoch", "train_loss", "valid_loss", "error_rate", "lr"]
    pd.testing.assert_frame_equal(second.frame().filter(columns), whole.frame().filter(columns))


def interrupted_and_resumed(data: ImageFolder, out: Path) -> Classifier:
    """A fit of one epoch and one of three, interrupted in the last; then both again, by another classifier."""

    def stepped(epoch: int, step: int, steps: int, loss: float | None) -> None:
        if epoch == 2 and step == 1:
            raise KeyboardInterrupt

    first = classifier(data, out=out)
    first.fit_one_cycle(1, lr=1e-3)
    with pytest.raises(KeyboardInterrupt):
        first.fit_one_cycle(3, lr=1e-2, stepped=stepped)
    second = classifier(data, out=out, resume=True)
    second.fit_one_cycle(1, lr=1e-3)
    second.fit_one_cycle(3, lr=1e-2)
    return second


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(data: ImageFolder, tmp_path: Path) -> None:
    clf = classifier(data, optimizer="sgd", out=tmp_path / "run")
    clf.fit_one_cycle(1, lr=1e-2)
    kept = (tmp_path / "run/checkpoint.safetensors").read_bytes()
    with pytest.raises(Error, match="lower learning rate"):
        clf.fit_one_cycle(2, lr=1e30)
    assert (tmp_path / "run/checkpoint.safetensors").read_bytes() == kept


def test_what_is_recorded_of_each_step_and_epoch(data: ImageFolder, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    classifier(data, out=tmp_path / "run").fit_one_cycle(5, lr=1e-3)  # another run, to be forgotten
    time.sleep(1.1)  # event files are in order by the second in which they began
    clf = interrupted_and_resumed(data, tmp_path / "run")
    each = data.steps(16)
    assert clf.steps.shape == (4 * each, 3)
    expected = [1e-3 * one_cycle(step / each)[0] for step in range(each)]
    expected += [1e-2 * one_cycle(step / (3 * each))[0] for step in range(3 * each)]
    np.testing.assert_allclose(clf.steps[:, 0], expected)
    means = clf.steps[:, 2].reshape(4, each).mean(1)
    np.testing.assert_allclose(means, clf.frame()["train_loss"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "run/history.csv"), clf.frame())

    log = EventAccumulator(str(tmp_path / "run/tensorboard"))
    log.Reload()
    assert sorted(log.Tags()["scalars"]) == ["error_rate", "loss/train", "loss/valid", "lr", "momentum"]
    for name, values in (("lr", clf.steps[:, 0]), ("loss/train", clf.steps[:, 2])):
        assert [event.step for event in log.Scalars(name)] == list(range(1, 4 * each + 1))
        np.testing.assert_allclose([event.value for event in log.Scalars(name)], values, rtol=1e-6)
    assert [event.step for event in log.Scalars("loss/valid")] == [each, 2 * each, 3 * each, 4 * each]


def test_plots_show_what_was_recorded(data: ImageFolder) -> None:
    clf = classifier(data)
    with pytest.raises(Error, match="train first"):
        clf.plot_losses()
    clf.fit_one_cycle(2, lr=1e-2)
    each, training, validation = data.steps(16), *plots.losses(clf.history, clf.steps).axes[0].lines[::2]
    assert (training.get_ydata() == clf.steps[:, 2]).all()
    assert list(validation.get_xdata()) == [each, 2 * each]
    assert list(validation.get_ydata()) == list(clf.frame()["valid_loss"])
    left, right = plots.rates(clf.steps).axes
    assert (left.lines[0].get_ydata() == clf.steps[:, 0]).all()
    assert (right.lines[0].get_ydata() == clf.steps[:, 1]).all()
    found = clf.find_lr(20)
    suggested = {"valley": 1e-3, "steepest": float("nan")}
    curve, *points = plots.sweep(found.rates, found.losses, suggested).axes[0].lines
    assert list(curve.get_xdata()) == found.rates
    assert [point.get_xdata()[0] for point in points] == [1e-3]
    for picture in (clf.plot_losses(), clf.plot_lr(), found.plot()):
        assert picture.size == (770, 440)
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_a_bar_and_a_line_an_epoch(data: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = rich.console.Console(file=shown, force_terminal=True, width=120)
    monkeypatch.setattr(rich, "_console", console)
    classifier(data, show=True).fit_one_cycle(2, lr=1e-2)
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    steps = data.steps(16)
    assert re.search(
        rf"epoch 2 of 2 .* {2 * steps}/{2 * steps} loss [\d.]+  error rate [\d.]+%  [\d,]+ pictures/s", said
    )
    assert [int(number) for number in re.findall(r"epoch +(\d+)  training loss", said)] == [1, 2]


def test_saved_weights_can_be_loaded(data: ImageFolder, tmp_path: Path) -> None:
    clf = classifier(data)
    clf.fit_one_cycle(1, lr=1e-2)
    clf.save(tmp_path / "run")
    loaded = classifier(data, weights=tmp_path / "run/model.safetensors", seed=7)
    assert same(weights(loaded), weights(clf))
    said = json.loads((tmp_path / "run/run.json").read_text())
    assert (said["arch"], said["classes"]) == ("small", ["across", "diagonal", "down"])
    assert len(pd.read_csv(tmp_path / "run/history.csv")) == 1


def test_what_does_not_fit_is_said(data: ImageFolder, tmp_path: Path) -> None:
    for options, said in [
        ({"batch_size": 10_000}, "batch_size: expected 1 to"),
        ({"optimizer": "adan"}, "expected adamw, adam or sgd"),
        ({"device": "cuda:7"}, "GPU"),
        ({"device": "abacus"}, "expected cpu, cuda"),
        ({"resume": True}, "expected out as well"),
        ({"weights": tmp_path / "none.pth"}, "there is no such file"),
        ({"batch_size": 1}, "batch_size: expected at least 2 for small"),
        ({"label_smoothing": 2}, "label_smoothing: expected 0 to 1, got 2"),
        ({"weight_decay": float("nan")}, "weight_decay: expected at least 0, got nan"),
        ({"accumulate": 0}, "accumulate: expected at least 1"),
        ({"ema": -1}, "ema: expected 0 to 1"),
        ({"clip": -1}, "clip: expected at least 0"),
        ({"seed": -1}, "seed: expected at least 0"),
    ]:
        with pytest.raises(Error, match=said):
            classifier(data, **options)
    with pytest.raises(Error, match="did you mean 'resnet34'"):
        Classifier(data, "resnet43", batch_size=8, device="cpu")
    with pytest.raises(Error, match="has no weights 'IMAGENET'; did you mean"):
        Classifier(data, "resnet18", weights="IMAGENET", batch_size=8, device="cpu")
    torch.save({"8.weight": torch.zeros(5, 16), "0.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(Error, match=r"0\.bias is missing; 0\.weight is 2 x 2, the model's is 8 x 3 x 3 x 3"):
        classifier(data, weights=tmp_path / "other.pth")
    clf = classifier(data, out=tmp_path / "run")
    clf.fit_one_cycle(1)
    with pytest.raises(Error, match="it was made with seed 42, not 43"):
        classifier(data, out=tmp_path / "run", resume=True, seed=43)
    again = classifier(data, out=tmp_path / "run", resume=True)
    with pytest.raises(Error, match="its fit 1 was begun for 1 epochs at 0.003:0.003, not for 2 epochs"):
        again.fit_one_cycle(2)
    (tmp_path / "file").touch()
    with pytest.raises(Error, match="this folder cannot be written to"):
        classifier(data, out=tmp_path / "file/run")
    with pytest.raises(Error, match="epochs"):
        clf.fit_one_cycle(0)
    with pytest.raises(Error, match="lr: expected a rate above 0"):
        clf.fit_one_cycle(1, lr=-1)


# --- processes ------------------------------------------------------------------------------------------------------


def fit(pictures: Path, folder: Path, *options: str, before: tuple[str, ...] = ()) -> list[str]:
    command = [sys.executable, *before, "-m", "trainer", "fit", str(pictures), "--cache", str(folder / "cache")]
    command += ["--arch", "squeezenet1_1", "--size", "32", "--batch-size", "16", "--device", "cpu"]
    return [*command, *options]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_and_resumed_is_bit_for_bit_the_run_that_was_not(pictures: Path, tmp_path: Path) -> None:
    options = ("--epochs", "10", "--lr", "1e-3")
    run(fit(pictures, tmp_path, *options, "--out", str(tmp_path / "whole")))
    command = fit(pictures, tmp_path, *options, "--out", str(tmp_path / "run"))
    process = subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    checkpoint = tmp_path / "run/checkpoint.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)  # into the middle of an epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run/model.safetensors").exists()
    run([*command, "--resume"])
    for name in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# A fit in a dtype; prints what it has learned as JSON.
PROGRAM = """
import json, sys, torch
from trainer import Classifier, ImageFolder
pictures, cache, arch, dtype, lr = sys.argv[1:]
data = ImageFolder(pictures, size=48, cache=cache)
clf = Classifier(data, arch, batch_size=16, device="cpu", bf16=False)
clf.setup.cutter.dtype = getattr(torch, dtype)
clf.model.to(clf.setup.cutter.dtype)
clf.unfreeze()
clf.fit_one_cycle(2, lr=float(lr))
weights = [param.double().abs().sum().item() for param in clf.model.parameters()]
if clf.world.first:
    print(json.dumps([[row["train_loss"], row["valid_loss"]] for row in clf.history] + [weights]))
"""


# In float32 a random ResNet enlarges roundings a thousandfold with each step, in one process too: small steps there.
@pytest.mark.parametrize(("dtype", "lr", "tolerance"), [("float64", "1e-2", 1e-9), ("float32", "1e-6", 1e-5)])
def test_two_processes_train_as_one(pictures: Path, tmp_path: Path, dtype: str, lr: str, tolerance: float) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = [str(tmp_path / "program.py"), str(pictures), str(tmp_path / "cache"), "resnet18", dtype, lr]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29531"]
    one, two = (json.loads(run([sys.executable, *each, *arguments]).splitlines()[-1]) for each in ([], launch))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(right, left, rtol=tolerance, atol=tolerance)


def test_two_processes_of_the_command(pictures: Path, tmp_path: Path) -> None:
    options = ("--epochs", "1", "--out", str(tmp_path / "two"))
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29532")
    said = run(fit(pictures, tmp_path, *options, before=launch))
    assert said.count("epoch   1") == 1
    names = {each.name for each in (tmp_path / "two").iterdir()}
    assert names >= {"checkpoint.safetensors", "model.safetensors", "run.json", "history.csv", "predictions.csv"}
    assert names >= {"report.xlsx", "confusion.png", "top_losses.png"}
