"""Training: that it learns, goes on where it was interrupted, and that several processes do what one does."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rich.console
import torch
from filelock import FileLock
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sgdsheet.errors import Error
from trainer import Augment, Classifier, ImageFolder
from trainer import classifier as module
from trainer.show import plots
from trainer.training import checkpoint, frozen, loop
from trainer.training.augment import draw, plain
from trainer.training.average import Average
from trainer.training.finder import Found, suggestions
from trainer.training.precision import Precision
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


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> ImageFolder:
    return ImageFolder(pictures, size=24, cache=tmp_path / "cache")


def classifier(data: ImageFolder, **options: Any) -> Classifier:
    options = {"batch_size": 16, "augment": PLAIN, "amp": False, "device": "cpu", "show": False} | options
    return Classifier(data, Small, **options)


def weights(clf: Classifier) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in clf.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(data: ImageFolder) -> None:
    clf = classifier(data)
    clf.fit_one_cycle(6, lr=slice(1e-2, 1e-2))
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
    body = {name: each for name, each in plain.state_dict().items() if not name.startswith("8.")}
    assert same({name: each for name, each in weights(clf).items() if name in body}, body)
    plain.load_state_dict(weights(clf))  # the head too, which begins smaller than torch's
    clf.fit_one_cycle(1, lr=slice(0.1, 0.1))  # the same everywhere
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    batches = list(data.batches(0, 16, 5))
    losses = []
    for step, batch in enumerate(batches):
        share, momentum = one_cycle(step / len(batches))
        optimizer.param_groups[0] |= {"lr": 0.1 * share, "momentum": momentum}
        drawn = draw(PLAIN, data.cache.sizes[batch.numbers], batch.rng)
        pixels = clf.setup.feed.cutter.each([data.cache.picture(number) for number in batch.numbers], drawn, 24)
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
        {"amp": True},
        {"accumulate": 2, "clip": 1.0, "label_smoothing": 0.1},
    ],
)
def test_options_train_too(data: ImageFolder, options: dict[str, Any]) -> None:
    clf = classifier(data, **options)
    clf.fit_one_cycle(2, lr=1e-2)
    without = classifier(data)
    without.fit_one_cycle(2, lr=1e-2)
    assert not same(clf.scored.state_dict(), without.scored.state_dict())  # it does something
    first, last = clf.history
    assert last["valid_loss"] < first["valid_loss"]
    assert last["train_loss"] < np.log(3)


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_batches_train_as_one_larger_batch(data: ImageFolder, accumulate: int) -> None:
    """Steps of torch's own over the same pictures; the last group has fewer batches, and counts in full."""
    clf = classifier(data, optimizer="sgd", weight_decay=0.0, accumulate=accumulate, batch_size=8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    steps = [loop.Step(torch.randn(8, 12).double(), torch.randint(0, 3, (8,)), number) for number in range(7)]
    expected = copy.deepcopy(model)
    made, plain = (torch.optim.SGD(each.parameters(), lr=0.5) for each in (model, expected))
    made.param_groups[0]["peak"] = 0.5
    updates: list[int] = []
    loop.train(model, made, clf.setup, steps, [(1.0, 0.0)] * 7, updated=lambda: updates.append(0))
    for first in range(0, 7, accumulate):
        group = steps[first : first + accumulate]
        inputs, target = torch.cat([step.inputs for step in group]), torch.cat([step.target for step in group])
        plain.zero_grad()
        nn.functional.cross_entropy(expected(inputs), target).backward()
        plain.step()
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert len(updates) == -(-7 // accumulate)


def test_frozen_the_head_alone_learns(data: ImageFolder) -> None:
    clf = classifier(data)
    before = weights(clf)
    clf.freeze()
    clf.fit_one_cycle(1, lr=1e-2)
    changed = {name for name, each in weights(clf).items() if not torch.equal(each, before[name])}
    assert {name for name, _ in clf.model.named_parameters()} & changed == {"8.weight", "8.bias"}
    clf.unfreeze()
    clf.fit_one_cycle(1, lr=slice(1e-4, 1e-2))
    groups = clf._optimizer(slice(1e-5, 1e-2)).param_groups
    np.testing.assert_allclose([group["peak"] for group in groups], [1e-5 * 1000 ** (i / 4) for i in range(5)])
    order = [id(param) for group in groups for param in group["params"]]
    assert order == [id(param) for param in clf.model.parameters()]
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


def interrupted_and_resumed(data: ImageFolder, out: Path, **options: Any) -> Classifier:
    """A fit of one epoch and one of three, interrupted in the last; then both again, by another classifier."""

    def stepped(epoch: int, step: int, steps: int, loss: float | None) -> None:
        if epoch == 2 and step == 1:
            raise KeyboardInterrupt

    first = classifier(data, out=out, **options)
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
    clf = interrupted_and_resumed(data, tmp_path / "run", overwrite=True)
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
    shown.truncate(0)
    clf = classifier(data, show=True)
    clf.freeze()
    clf.find_lr(5)
    clf.fit_one_cycle(2, lr=1e-2)
    for bar in ("Pictures through the frozen body", "Trying learning rates", "epoch 2 of 2"):
        assert bar in shown.getvalue()


def test_saved_weights_can_be_loaded(data: ImageFolder, tmp_path: Path) -> None:
    clf = classifier(data)
    clf.fit_one_cycle(1, lr=1e-2)
    clf.save(tmp_path / "run")
    loaded = classifier(data, weights=tmp_path / "run/model.safetensors", seed=7)
    assert same(weights(loaded), weights(clf))
    said = json.loads((tmp_path / "run/run.json").read_text())
    assert (said["arch"], said["classes"]) == ("Small", ["across", "diagonal", "down"])
    assert len(pd.read_csv(tmp_path / "run/history.csv")) == 1


def test_what_does_not_fit_is_said(data: ImageFolder, tmp_path: Path) -> None:
    for options, said in [
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"batchsize": 8}, "there is no option 'batchsize'; did you mean 'batch_size'"),
        ({"balance": "samples"}, "balance: expected none, sampling or loss, got 'samples'; did you mean 'sampling'"),
        ({"flip": 2}, "flip: expected 0 to 1, got 2"),
        ({"flip": True}, "flip: expected a number, 0 to 1, got True"),
        ({"batch_size": "64"}, "batch_size: expected a whole number, at least 1, got '64'"),
        ({"seed": 1.5}, "seed: expected a whole number, 0 to 9.22337e.18, got 1.5"),
        ({"scale": 0.5}, "scale: expected two numbers above 0 and up to 1, the smaller first, got 0.5"),
        ({"augment": "strong"}, "augment: expected an Augment"),
        ({"recipe": {"ema": 0.9}}, "recipe: expected a Recipe"),
        ({"amp": "yes"}, "amp: expected True or False, got 'yes'"),
        ({"out": 5}, "out: expected a folder, got 5"),
        ({"optimizer": "adan"}, "expected adamw, adam or sgd"),
        ({"device": "cuda:7"}, "GPU"),
        ({"device": "abacus"}, "expected cpu, cuda"),
        ({"resume": True}, "expected out as well"),
        ({"weights": tmp_path / "none.pth"}, "there is no such file"),
        ({"batch_size": 1}, "batch_size: expected at least 2 for Small"),
        ({"label_smoothing": 2}, "label_smoothing: expected 0 to 1, got 2"),
        ({"weight_decay": float("nan")}, "weight_decay: expected at least 0, got nan"),
        ({"accumulate": 0}, "accumulate: expected at least 1"),
        ({"ema": -1}, "ema: expected 0 to"),
        ({"ema": 1}, "ema: expected 0 to 0.999999, got 1"),
        ({"clip": -1}, "clip: expected at least 0"),
        ({"seed": -1}, "seed: expected 0 to"),
        ({"seed": 2**64}, "seed: expected 0 to"),
        ({"device": "cpu:5"}, "--device: expected cpu, cuda, cuda:1 or mps, got 'cpu:5'"),
        ({"device": "meta"}, "--device: expected cpu, cuda, cuda:1 or mps, got 'meta'"),
    ]:
        with pytest.raises(Error, match=said):
            classifier(data, **options)
    with pytest.raises(Error, match="data: expected an ImageFolder"):
        classifier("bears")  # pyright: ignore[reportArgumentType]
    with pytest.raises(Error, match="did you mean 'resnet34'"):
        Classifier(data, "resnet43", batch_size=8, device="cpu")
    with pytest.raises(Error, match="has no weights 'IMAGENET', and there is no such file; did you mean"):
        Classifier(data, "resnet18", weights="IMAGENET", batch_size=8, device="cpu")
    torch.save({"8.weight": torch.zeros(5, 16), "0.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(Error, match=r"0\.bias is missing; 0\.weight is 2 x 2, the model's is 8 x 3 x 3 x 3"):
        classifier(data, weights=tmp_path / "other.pth")
    clf = classifier(data, out=tmp_path / "run")
    clf.fit_one_cycle(1)
    with pytest.raises(Error, match=r"it was made with recipe\.seed 42, not 43"):
        classifier(data, out=tmp_path / "run", resume=True, seed=43)
    with pytest.raises(Error, match=r"there is a run in it; go on with resume, or begin anew with overwrite"):
        classifier(data, out=tmp_path / "run")
    again = classifier(data, out=tmp_path / "run", resume=True)
    with pytest.raises(Error, match="its fit 1 was begun for 1 epochs at 0.0003:0.003, not for 2 epochs"):
        again.fit_one_cycle(2)
    (tmp_path / "file").touch()
    with pytest.raises(Error, match="this folder cannot be written to"):
        classifier(data, out=tmp_path / "file/run")
    for epochs in (0, 1.0, "3", True):
        with pytest.raises(Error, match="epochs: expected"):
            clf.fit_one_cycle(epochs)  # pyright: ignore[reportArgumentType]
    for wrong in ((32, 64), "64", 64.5, 4):
        with pytest.raises(Error, match="size: expected"):
            ImageFolder(data.listing.root, size=wrong)  # pyright: ignore[reportArgumentType]
    for lr in (-1, 0, "fast", "1:2:3", None, slice(1e-3, None), float("inf"), "1e-3:"):
        with pytest.raises(Error, match="lr: expected a rate above 0"):
            clf.fit_one_cycle(1, lr=lr)


@pytest.fixture
def ended(data: ImageFolder, tmp_path: Path) -> Path:
    """The folder of a run of two epochs, with its checkpoint and its weights."""
    clf = classifier(data, out=tmp_path / "run")
    clf.fit_one_cycle(2)
    clf.save(tmp_path / "run")
    return tmp_path / "run"


def test_two_runs_do_not_write_to_one_folder(data: ImageFolder, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    # As another process would hold it.
    with FileLock(tmp_path / "run/.lock"), pytest.raises(Error, match="run: another run is writing to it"):
        classifier(data, out=tmp_path / "run")
    for _ in range(2):  # one after the other, as in a notebook
        classifier(data, out=tmp_path / "run", overwrite=True)


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3.0), "a": torch.zeros(2, 2)}
    for _ in range(20):
        checkpoint.write(tmp_path / "one.safetensors", tensors, {"said": "something"})
        checkpoint.write(tmp_path / "two.safetensors", tensors, {"said": "something"})
        assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    assert torch.equal(load_file(tmp_path / "one.safetensors")["b"], tensors["b"])


def test_a_flipped_bit_is_noticed(data: ImageFolder, ended: Path) -> None:
    for name, read in (
        ("model.safetensors", lambda: classifier(data, weights=ended / "model.safetensors")),
        ("checkpoint.safetensors", lambda: classifier(data, out=ended, resume=True)),
    ):
        read()
        content = bytearray((ended / name).read_bytes())
        content[-5] ^= 1
        (ended / name).write_bytes(content)
        with pytest.raises(Error, match=rf"{name}: .*it is damaged: its checksum is another one"):
            read()


@pytest.mark.parametrize(
    "change",
    [
        lambda said: [said],
        lambda said: "text",
        lambda said: None,
        lambda said: said | {"history": []},
        lambda said: said | {"history": said["history"][:1]},
        lambda said: said | {"history": [{}, {}]},
        lambda said: said | {"history": 5},
        lambda said: said | {"fits": []},
        lambda said: said | {"fits": [{"epochs": 2, "lr": None}]},
        lambda said: said | {"epochs": "many"},
        lambda said: {name: value for name, value in said.items() if name != "history"},
        lambda said: {name: value for name, value in said.items() if name != "fits"},
    ],
)
def test_a_checkpoint_that_tells_of_no_run_is_refused(data: ImageFolder, ended: Path, change: Any) -> None:
    tensors, said = checkpoint.read(ended / checkpoint.NAME)
    checkpoint.write(ended / checkpoint.NAME, tensors, change(said))
    with pytest.raises(Error, match=f"{checkpoint.NAME}: it is no checkpoint of this trainer: ") as caught:
        classifier(data, out=ended, resume=True)
    assert "\n" not in str(caught.value)


# --- fine-tuning ----------------------------------------------------------------------------------------------------


class Noisy(Small):
    """Batch norms whose running statistics follow slowly, as EfficientNet-Lite's do, and dropout before the head."""

    def __init__(self, num_classes: int = 3, **_: Any) -> None:
        super().__init__(num_classes)
        for layer in self:
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.01
        self.insert(7, nn.Dropout(0.5))


def test_a_frozen_body_makes_in_training_what_it_makes_in_validation(data: ImageFolder) -> None:
    for amp in (False, True):
        clf = Classifier(data, Noisy, batch_size=16, augment=PLAIN, amp=amp, device="cpu", show=False)
        clf.freeze()
        before = weights(clf)
        clf.fit_one_cycle(2, lr=1e-2)
        changed = {name for name, each in weights(clf).items() if not torch.equal(each, before[name])}
        assert changed == {"9.weight", "9.bias"}  # no running statistic either


def test_the_frozen_bodys_features_train_the_head_as_the_pictures_do(
    data: ImageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchanging = Augment(scale=(1.0, 1.0), ratio=(4 / 3, 4 / 3), flip=0.0, rotate=0.0, zoom=1.0, lighting=0.0)
    found = []
    for kept in (frozen.KEPT, 0):
        monkeypatch.setattr(module, "KEPT", kept)
        clf = classifier(data, augment=unchanging, keep_best=False)
        clf.freeze()
        clf.fit_one_cycle(3, lr=1e-2)
        assert (clf._features is None) == (kept == 0)
        found.append(clf)
    one, other = found
    for name, each in weights(one).items():
        torch.testing.assert_close(each, weights(other)[name], rtol=1e-4, atol=1e-6)
    for row, same_row in zip(one.history, other.history, strict=True):
        assert row["valid_loss"] == pytest.approx(same_row["valid_loss"], rel=1e-4)
        assert row["train_loss"] == pytest.approx(same_row["train_loss"], rel=1e-4)


def test_a_body_passes_each_picture_once(data: ImageFolder) -> None:
    clf = classifier(data)
    passed: list[int] = []
    clf.model.get_submodule("0").register_forward_hook(lambda _, inputs, output: passed.append(len(inputs[0])))
    clf.freeze()
    clf.fit_one_cycle(5, lr=1e-2)
    assert sum(passed) == 1 + len(data.train) + len(data.valid)  # one to see what the head is given


def test_a_model_that_goes_on_after_its_head_is_frozen_too(data: ImageFolder) -> None:
    class After(Small):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002, torch's own name
            return 2 * super().forward(input)

    clf = Classifier(data, After, batch_size=16, device="cpu", show=False)
    clf.freeze()
    clf.fit_one_cycle(1, lr=1e-2)
    assert clf._features is None
    assert clf.predictions().losses.mean() == pytest.approx(clf.history[-1]["valid_loss"], rel=1e-4)


def test_fine_tune_is_the_head_and_then_all(data: ImageFolder) -> None:
    clf = classifier(data)
    clf.fine_tune(2, lr=1e-3, frozen_epochs=3)
    assert [row["frozen"] for row in clf.history] == [True] * 3 + [False] * 2
    assert clf._fits[1]["lr"] == pytest.approx([1e-5 * 100 ** (depth / 4) for depth in range(5)])
    head_alone = classifier(data)
    head_alone.fine_tune(0, frozen_epochs=1)
    assert [row["frozen"] for row in head_alone.history] == [True]
    with pytest.raises(Error, match="epochs: expected at least 1, got 0"):
        classifier(data).fine_tune(0, frozen_epochs=0)


@pytest.mark.parametrize("last", [1, 4])
def test_fine_tuning_goes_on_where_it_was_interrupted(data: ImageFolder, tmp_path: Path, last: int) -> None:
    """In an epoch of the head, whose features are then calculated anew, and in one of all."""
    whole = classifier(data)
    whole.fine_tune(3, frozen_epochs=3)

    def full(path: Path, *_: Any) -> None:
        if len(first.history) > last:
            raise KeyboardInterrupt
        keep(path, *_)

    first, keep = classifier(data, out=tmp_path / "run"), checkpoint.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        with pytest.raises(KeyboardInterrupt):
            first.fine_tune(3, frozen_epochs=3)
    second = classifier(data, out=tmp_path / "run", resume=True)
    assert len(second.history) == last
    second.fine_tune(3, frozen_epochs=3)
    assert same(weights(second), weights(whole))
    assert [row["frozen"] for row in second.history] == [True] * 3 + [False] * 3


def test_norms_of_given_weights_keep_their_statistics(data: ImageFolder, tmp_path: Path) -> None:
    first = classifier(data)
    first.fit_one_cycle(1, lr=1e-2)
    first.save(tmp_path)
    clf = classifier(data, weights=tmp_path / "model.safetensors")
    before = weights(clf)
    clf.fit_one_cycle(1, lr=1e-3)
    after = weights(clf)
    for name in ("1.running_mean", "1.running_var", "4.running_mean"):
        assert torch.equal(before[name], after[name])
        assert not torch.equal(first.model.state_dict()[name], classifier(data).model.state_dict()[name])
    assert not torch.equal(before["1.weight"], after["1.weight"])


# --- the best epoch, and training on --------------------------------------------------------------------------------


def test_the_best_epoch_is_kept(data: ImageFolder, tmp_path: Path) -> None:
    clf = classifier(data, keep_best=True, optimizer="sgd", out=tmp_path / "run")
    clf.fit_one_cycle(4, lr=slice(1e-2, 1e-2))
    clf.fit_one_cycle(1, lr=slice(30.0, 30.0))  # which ruins it
    best = min(row["error_rate"] for row in clf.history)
    assert clf.history[-1]["error_rate"] > best
    assert clf.predictions().error_rate == pytest.approx(best)
    again = classifier(data, keep_best=True, optimizer="sgd", out=tmp_path / "run", resume=True)
    again.fit_one_cycle(4, lr=slice(1e-2, 1e-2))
    again.fit_one_cycle(1, lr=slice(30.0, 30.0))
    assert same(weights(again), weights(clf))


def test_a_run_that_has_ended_trains_on(data: ImageFolder, tmp_path: Path) -> None:
    first = classifier(data, out=tmp_path / "run")
    first.fit_one_cycle(2, lr=1e-2)
    clf = classifier(data, out=tmp_path / "run", resume=True)
    assert same(weights(clf), weights(first))
    clf.fit_more(3, lr=1e-3)
    assert [row["epoch"] for row in clf.history] == [1, 2, 3, 4, 5]
    # And that run, with its two fits, can be resumed in turn.
    whole = classifier(data, out=tmp_path / "run", resume=True)
    whole.fit_more(1, lr=1e-3)
    assert len(whole.history) == 6
    with pytest.raises(Error, match="expected a run that was resumed and has ended"):
        whole.fit_more(1)


def test_an_interrupted_run_is_to_end_before_it_trains_on(data: ImageFolder, tmp_path: Path) -> None:
    def stepped(epoch: int, step: int, steps: int, loss: float | None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    clf = classifier(data, out=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        clf.fit_one_cycle(3, stepped=stepped)
    again = classifier(data, out=tmp_path / "run", resume=True)
    with pytest.raises(Error, match="was interrupted in its fit 1, for 3 epochs at .*, after 1 of its epochs"):
        again.fit_more(1)


def test_other_pictures_are_another_run(few: Path, tmp_path: Path) -> None:
    def begun(**options: Any) -> Classifier:
        data = ImageFolder(few, size=24, cache=tmp_path / "cache", show=False)
        return classifier(data, batch_size=8, out=tmp_path / "run", **options)

    begun().fit_one_cycle(1)
    moved = sorted((few / "down").iterdir())[0]
    moved.rename(few / "across" / "moved.png")
    with pytest.raises(Error, match=r"it was made with pictures '\d+ to train with"):
        begun(resume=True)


# --- what is trained on ---------------------------------------------------------------------------------------------


def test_the_running_mean_forgets_how_it_began(data: ImageFolder) -> None:
    clf = classifier(data, ema=0.99)
    clf.fit_one_cycle(6, lr=slice(1e-2, 1e-2))
    plain = classifier(data)
    plain.fit_one_cycle(6, lr=slice(1e-2, 1e-2))
    assert same(weights(clf), weights(plain))
    assert clf.history[-1]["error_rate"] <= plain.history[-1]["error_rate"] + 0.1
    assert clf.history[-1]["valid_loss"] < 1.3 * plain.history[-1]["valid_loss"]


def test_the_running_mean_is_the_mean_it_says() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
    mean = Average(model, 0.3)
    expected = {name: each.clone() for name, each in model.state_dict().items()}
    for step in range(1, 6):
        for each in model.state_dict().values():
            each.copy_(torch.full_like(each, step))
        mean.update(model)
        kept = min(0.3, (1 + step) / (10 + step))
        for name, each in model.state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * each if each.is_floating_point() else each.clone()
    for name, each in mean.model.state_dict().items():
        torch.testing.assert_close(each, expected[name])


def test_rare_classes(tmp_path: Path, drawn: Any) -> None:
    for number in range(40):
        drawn(tmp_path / "pictures" / ("rare" if number < 6 else "usual") / f"{number}.png", int(number < 6), number)
    data = ImageFolder(tmp_path / "pictures", size=24, cache=tmp_path / "cache", show=False)
    rare = data.classes.index("rare")
    counted = {}
    for balance in ("none", "sampling"):
        clf = classifier(data, batch_size=8, balance=balance)
        labels = [data.labels[batch.numbers] for batch in loop.batches(clf.setup, 0)]
        counted[balance] = (torch.cat(labels) == rare).float().mean().item()
    assert counted["none"] < 0.3
    assert 0.4 < counted["sampling"] < 0.6
    clf = classifier(data, batch_size=8, balance="loss")
    step = next(loop.steps(clf.setup, loop.batches(clf.setup, 0)))
    output = torch.randn(8, 2)
    loss = loop.loss_of(lambda _: output, clf.setup, step)  # pyright: ignore[reportArgumentType]
    each = nn.functional.cross_entropy(output, step.target, reduction="none")
    torch.testing.assert_close(loss, (each * data.class_weights()[step.target]).mean())


def test_several_labels_a_picture(tmp_path: Path, drawn: Any) -> None:
    rows = ["path,labels"]
    for number in range(36):
        drawn(tmp_path / f"{number}.png", number % 3, number)
        rows.append(f"{number}.png,{('down', 'across', 'down across')[number % 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = ImageFolder(tmp_path / "labels.csv", size=24, cache=tmp_path / "cache", label_delim=" ", show=False)
    assert data.multi_label
    clf = classifier(data, batch_size=8, augment=Augment(flip=0, rotate=0, mixup=0.2))
    clf.fit_one_cycle(12, lr=slice(2e-2, 2e-2))
    assert clf.history[-1]["error_rate"] < 0.25
    predictions = clf.predictions()
    assert predictions.error_rate == pytest.approx(clf.history[-1]["error_rate"])
    step = next(loop.steps(clf.setup, loop.batches(clf.setup, 0)))
    output = torch.randn(len(step.target), 2)
    loss = loop.loss_of(lambda _: output, clf.setup, step)  # pyright: ignore[reportArgumentType]
    given = torch.where(step.target > 0.5, output.sigmoid(), 1 - output.sigmoid())
    if not ((step.target > 0) & (step.target < 1)).any():
        torch.testing.assert_close(loss, -given.log().mean())


def test_fewer_pictures_than_a_batch(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ImageFolder(few, size=24, cache=tmp_path / "cache", show=False)
    clf = classifier(data, batch_size=64, show=True)
    assert clf.recipe.batch_size == len(data.train)
    assert f"batches of {len(data.train)} pictures, for there are no more" in capsys.readouterr().out


def test_looking_at_each_picture_several_times(data: ImageFolder) -> None:
    clf = classifier(data, augment=Augment())
    clf.fit_one_cycle(2, lr=slice(1e-2, 1e-2))
    several = clf.predictions(tta=True).probabilities
    views = [loop.probabilities(clf.setup, clf_outputs(clf, flip)) for flip in (False, True)]
    np.testing.assert_allclose(several, (views[0] + views[1]).double().numpy() / 2, atol=1e-6)
    assert not np.allclose(several, clf.predictions().probabilities)
    upright = classifier(data, augment=PLAIN)
    np.testing.assert_allclose(
        upright.predictions(tta=True).probabilities, upright.predictions().probabilities, atol=1e-6
    )


def clf_outputs(clf: Classifier, flip: bool) -> torch.Tensor:
    return loop.outputs(clf.model.eval(), clf.setup, clf.data.valid, lambda sizes, _: plain(sizes, flip))


def test_parts_that_are_not_there(data: ImageFolder) -> None:
    clf = classifier(data)
    with pytest.raises(Error, match="part: expected train, valid or test, got 'tests'"):
        clf.predictions("tests")
    with pytest.raises(Error, match="there are no pictures for test"):
        clf.predictions("test")
    assert len(clf.predictions("train").names) == len(data.train)


def test_what_a_classifier_says_of_itself(data: ImageFolder) -> None:
    clf = classifier(data)
    assert repr(clf) == (
        "Classifier(Small, 1,491 weights (51 in the head) from random numbers, 3 classes, 24 pixels, on cpu; all of it "
        "is trained; untrained)"
    )
    clf.freeze()
    clf.fit_one_cycle(1)
    assert re.search(r"its head is trained; 1 epoch, \d+\.\d% wrong\)$", repr(clf))


def test_float16_scales_its_loss(data: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPUs' path for V100 and T4, on the CPU: gradients that float16 would lose arrive, and clipping sees them."""
    clf = classifier(data, clip=1.0, optimizer="sgd")
    clf.setup.precision = Precision(torch.device("cpu"), torch.float16)
    assert clf.setup.precision.scaler.is_enabled()
    plain_run = classifier(data, clip=1.0, optimizer="sgd")
    for each in (clf, plain_run):
        each.fit_one_cycle(2, lr=slice(1e-2, 1e-2))
    for name, each in weights(clf).items():
        torch.testing.assert_close(each, weights(plain_run)[name], rtol=0.05, atol=0.02)
    found = clf.find_lr(20)
    assert len(found.rates) > 5


def test_find_lr_does_not_begin_with_noise() -> None:
    rng = np.random.default_rng(0)
    rates = [10 ** (-7 + step * 8 / 99) for step in range(100)]
    curve = np.array([1.1 - 0.6 / (1 + np.exp(-2 * (np.log10(rate) + 3))) + (rate / 3) ** 2 for rate in rates])
    for _ in range(50):
        mean, losses = 0.0, []
        for step, loss in enumerate(curve + rng.normal(0, 0.08, 100)):
            mean = 0.9 * mean + 0.1 * loss
            losses.append(mean / (1 - 0.9 ** (step + 1)))
        steepest, valley = suggestions(rates, losses)
        assert 1e-5 < steepest < 1
        assert 1e-5 < valley < 1


def test_find_lr_puts_a_gpus_random_numbers_back_too(data: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: kept.extend(devices) or fork([]))
    clf = classifier(data)
    clf.find_lr(5)
    assert not kept
    clf.setup.feed.device = torch.device("cuda:1")  # a GPU's way of asking, though the pictures stay here
    clf.find_lr(5)
    assert kept == [torch.device("cuda:1")]


def test_nothing_is_waited_for_between_two_looks_at_the_loss(data: ImageFolder) -> None:
    """Reading a number makes a GPU's queue run dry; a mode of torch's sees each reading, on the CPU too."""

    class Readings(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    clf = classifier(data, batch_size=2, ema=0.9, clip=1.0, augment=Augment(mixup=0.4, cutmix=1.0))
    made = clf._optimizer(1e-3)
    steps = [*loop.steps(clf.setup, loop.batches(clf.setup, 0))]
    looks: list[int] = []
    with Readings() as readings:
        loop.train(
            clf.model,
            made,
            clf.setup,
            steps,
            [(1.0, 0.9)] * len(steps),
            lambda step, loss: looks.append(readings.count) if loss is not None else None,
            clf._average,
        )
    assert len(steps) > 2 * loop.CHECKED - 10
    assert looks == list(range(1, len(looks) + 1))


def test_compiled_once_for_training_and_once_for_looking(data: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(len(inputs))
        return graph.forward

    compile_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_with(self, backend=backend))
    torch._dynamo.reset()
    clf = classifier(data, compile=True, ema=0.9)
    clf.fit_one_cycle(2, lr=1e-2)
    assert len(graphs) == 2  # the running mean's model is compiled too: it is what was looked at
    assert len(data.valid) % 16
    plain_run = classifier(data, ema=0.9)
    plain_run.fit_one_cycle(2, lr=1e-2)
    assert clf.history[-1]["valid_loss"] == pytest.approx(plain_run.history[-1]["valid_loss"], rel=1e-4)


def test_a_batch_as_training_sees_it(data: ImageFolder) -> None:
    picture = classifier(data, augment=Augment(mixup=0.4)).show_batch(4)
    assert picture.width > 300
    clf = classifier(data, augment=PLAIN)
    assert clf.show_batch(9).size == clf.show_batch(9).size
    assert clf._names(torch.tensor(1)) == "diagonal"
    assert clf._names(torch.tensor([0.75, 0.0, 0.25])) == "75% across, 25% down"


def test_what_find_lr_found_is_a_rate(data: ImageFolder) -> None:
    clf = classifier(data)
    clf.fit_one_cycle(1, lr=Found([1e-3], [1.0], 3e-3, 2e-3))
    assert clf.history[0]["lr"] == pytest.approx(2e-3)
    clf.fit_one_cycle(1, lr="1e-4:4e-3")
    assert clf.history[1]["lr"] == pytest.approx(4e-3)
    with pytest.raises(Error, match="lr: expected a rate above 0"):
        clf.fit_one_cycle(1, lr=Found([], [], math.nan, math.nan))


# --- processes ------------------------------------------------------------------------------------------------------


def fit(pictures: Path, folder: Path, *options: str, before: tuple[str, ...] = ()) -> list[str]:
    command = [sys.executable, *before, "-m", "trainer", "fit", str(pictures), "--cache", str(folder / "cache")]
    command += ["--arch", "squeezenet1_1", "--weights", "none", "--size", "32", "--batch-size", "16", "--device", "cpu"]
    return [*command, *options]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


# `trainer` that is killed after its second checkpoint.
KILLED = """
import os, signal, sys
from trainer.cli import main
from trainer.training import checkpoint

write, written = checkpoint.write, []

def kills(*given):
    write(*given)
    written.append(given)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.write = kills
main(sys.argv[1:])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing is killed like this on Windows")
def test_killed_and_resumed_is_bit_for_bit_the_run_that_was_not(pictures: Path, tmp_path: Path) -> None:
    options = ("--epochs", "4", "--lr", "1e-3")
    run(fit(pictures, tmp_path, *options, "--out", str(tmp_path / "whole")))
    command = fit(pictures, tmp_path, *options, "--out", str(tmp_path / "run"))
    killed = [sys.executable, "-c", KILLED, *command[command.index("fit") :]]
    done = subprocess.run(killed, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(checkpoint.read(tmp_path / "run" / checkpoint.NAME)[1]["history"]) == 2
    assert not (tmp_path / "run/model.safetensors").exists()
    run([*command, "--resume"])
    for name in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# Fits one after another, each in a dtype; prints what each has learned as a line of JSON.
PROGRAM = """
import json, sys, torch
from trainer import Classifier, ImageFolder
pictures, cache, fits = sys.argv[1:]
data = ImageFolder(pictures, size=48, cache=cache)
for dtype, lr, options in json.loads(fits):
    options = {"batch_size": 16} | options
    clf = Classifier(data, "resnet18", weights=None, device="cpu", amp=False, **options)
    kind = getattr(torch, dtype)
    clf.model.to(kind).register_forward_pre_hook(lambda _, pictures: (pictures[0].to(kind),))
    clf.unfreeze()
    clf.fit_one_cycle(2, lr=lr)
    weights = [param.double().abs().sum().item() for param in clf.model.parameters()]
    if clf.world.first:
        print(json.dumps([[row["train_loss"], row["valid_loss"]] for row in clf.history] + [weights]))
"""

# In float32 a random ResNet enlarges roundings a thousandfold with each step, in one process too: small steps there.
FITS: list[tuple[str, float, dict[str, Any]]] = [
    ("float64", 1e-2, {"batch_size": 18}),  # the last validation batch is one picture, and none for one
    ("float64", 1e-2, {"mixup": 0.4, "cutmix": 1.0, "accumulate": 2, "balance": "loss"}),
    ("float32", 1e-6, {}),
]


def test_two_processes_train_as_one(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = [str(tmp_path / "program.py"), str(pictures), str(tmp_path / "cache"), json.dumps(FITS)]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = (run([sys.executable, *each, *arguments]).splitlines() for each in ([], launch))
    one, two = ([json.loads(line) for line in each if line.startswith("[[")] for each in said)  # beside lines of epochs
    for (dtype, _, options), alone, both in zip(FITS, one, two, strict=True):
        tolerance = 1e-9 if dtype == "float64" else 1e-5
        for left, right in zip(alone, both, strict=True):
            np.testing.assert_allclose(right, left, rtol=tolerance, atol=tolerance, err_msg=f"{dtype} {options}")


def test_two_processes_of_the_command(pictures: Path, tmp_path: Path) -> None:
    options = ("--epochs", "1", "--out", str(tmp_path / "two"))
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    said = run(fit(pictures, tmp_path, *options, before=launch))
    assert said.count("epoch   1") == 1
    names = {each.name for each in (tmp_path / "two").iterdir()}
    assert names >= {"checkpoint.safetensors", "model.safetensors", "run.json", "history.csv", "predictions.csv"}
    assert names >= {"report.xlsx", "confusion.png", "top_losses.png"}
