"""The exported file: what it holds, and every way in which it is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sgdsheet.errors import Error
from trainer import Classifier, ImageFolder
from trainer.serving import bundle
from trainer.training import checkpoint


def test_the_file_says_what_the_classifier_was(trained: Any, exported: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    card, model = bundle.read(exported)
    assert torch.equal(torch.rand(1), expected)  # reading takes none of the caller's random numbers
    assert (card.arch, card.classes, card.size) == ("torchvision/squeezenet1_1", ["across", "diagonal", "down"], 32)
    assert card.metrics == {name: trained.history[-1][name] for name in bundle.METRICS}
    assert card.provenance["pictures"] == trained._run()["pictures"]
    assert card.provenance["versions"]["torch"] == torch.__version__.partition("+")[0]
    own = trained.scored.state_dict()
    assert all(torch.equal(each, own[name]) for name, each in model.state_dict().items())


def test_from_a_folder_and_from_the_classifier_the_same(trained: Any, exported: Path, tmp_path: Path) -> None:
    trained.save(tmp_path / "run")
    bundle.from_run(tmp_path / "run", tmp_path / "x.classifier")
    (one, first), (two, second) = (bundle._tensors(each) for each in (exported, tmp_path / "x.classifier"))
    for said in (first, second):
        said["provenance"].pop("written")
    assert first == second
    assert all(torch.equal(each, two[name]) for name, each in one.items())
    (tmp_path / "run/run.json").write_text(json.dumps({"classes": ["a"]}))
    with pytest.raises(Error, match="run.json: it does not say 'model'"):
        bundle.from_run(tmp_path / "run", tmp_path / "y.classifier")
    with pytest.raises(Error, match="there is no run.json in it"):
        bundle.from_run(tmp_path, tmp_path / "y.classifier")
    assert not (tmp_path / "y.classifier").exists()


def test_metrics_are_those_of_the_weights_that_were_kept(trained: Any) -> None:
    rows = [
        {"epoch": number + 1, "train_loss": 1.0, "valid_loss": loss, "error_rate": wrong}
        for number, (wrong, loss) in enumerate([(0.2, 0.1), (0.1, 0.3), (0.1, 0.3), (0.1, 0.4)])
    ]
    for keep, epoch in ((False, 4), (True, 3)):
        assert bundle._metrics({"history": rows, "recipe": {"keep_best": keep}})["epoch"] == epoch


class Mine(nn.Sequential):
    """A model of one's own."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))


def test_a_model_of_ones_own_is_refused(few: Path, tmp_path: Path) -> None:
    data = ImageFolder(few, size=16, cache=tmp_path / "cache", show=False)
    clf = Classifier(data, Mine, batch_size=4, device="cpu", show=False)
    with pytest.raises(Error, match="the model Mine is code of your own"):
        clf.export(tmp_path / "mine.classifier")
    assert not (tmp_path / "mine.classifier").exists()


def test_thresholds_belong_to_several_labels(trained: Any, tmp_path: Path) -> None:
    run = trained._run() | {"multi_label": True}
    state = trained.scored.state_dict()
    for given, expected in ((None, [0.5] * 3), (0.2, [0.2] * 3), (np.array([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3])):
        assert bundle.write(tmp_path / "x.classifier", state, run, given)[0].thresholds == expected
    for given, words in (([0.5] * 2, "one for each of the 3"), (1.5, "0 to 1, got 1.5"), ([np.nan] * 3, "0 to 1")):
        with pytest.raises(Error, match=words):
            bundle.write(tmp_path / "x.classifier", state, run, given)
    with pytest.raises(Error, match="thresholds: each picture has one label"):
        trained.export(tmp_path / "x.classifier", thresholds=0.5)


# --- What is no classifier --------------------------------------------------------------------------------------------


def refused(path: Path, words: str = "no classifier") -> None:
    with pytest.raises(Error, match=words) as caught:
        bundle.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_and_cut_off(exported: Path, tmp_path: Path) -> None:
    content, path = exported.read_bytes(), tmp_path / "x.classifier"
    for length in (0, 1, 7, 8, 9, 500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path)
    path.write_bytes(content + b"\0")
    refused(path)
    rng = np.random.default_rng(0)
    header = int.from_bytes(content[:8], "little")
    for place in [*rng.integers(8, header, 20), *rng.integers(header + 8, len(content), 20)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        refused(path)


def test_foreign_files(tmp_path: Path, trained: Any) -> None:
    path = tmp_path / "x.classifier"
    refused(path, "no such file")
    refused(tmp_path, "got a folder")
    torch.save({"weight": torch.zeros(3)}, path)
    refused(path, "no classifier that can be read")
    save_file({"weight": torch.zeros(3)}, path)
    refused(path, "no checksum")
    trained.save(tmp_path / "run")
    refused(tmp_path / "run/model.safetensors", "expected that of an exported classifier")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", "pipe")


# What somebody might have changed, the checksum too.
EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "format 1": lambda said: said.update(format=2),
    "arch: expected LIBRARY/NAME": lambda said: said.update(arch="os.system"),
    "a model that a library has itself": lambda said: said.update(arch="timm/hf-hub:someone/something"),
    "there is no model": lambda said: said.update(arch="torchvision/resnet19"),
    "the weights do not fit": lambda said: said.update(arch="torchvision/resnet18"),
    "classes: expected names": lambda said: said.update(classes=["a", "a", "b"]),
    "scores|weights": lambda said: said["classes"].pop(),
    "multi_label": lambda said: said.update(multi_label=1),
    "thresholds": lambda said: said.update(multi_label=True, thresholds=[0.5, 2, 0.5]),
    "size: expected a whole number": lambda said: said.update(size="32"),
    "size: expected 8 to 4096": lambda said: said.update(size=10**9),
    "short_side": lambda said: said.update(short_side=10**9),
    "crop": lambda said: said.update(crop=0.9),
    "mean: expected 3 numbers": lambda said: said.update(mean=[0.5]),
    "std": lambda said: said.update(std=[0, 0, 0]),
    "says NaN": lambda said: said["metrics"].update(valid_loss=float("nan")),
    "without ..metrics": lambda said: said.pop("metrics"),
    "with ..more": lambda said: said.update(more=1),
}


@pytest.mark.parametrize("words", EDITS)
def test_edited(words: str, exported: Path, tmp_path: Path) -> None:
    state, said = bundle._tensors(exported)
    EDITS[words](said)
    checkpoint.write(tmp_path / "x.classifier", state, said)
    refused(tmp_path / "x.classifier", words)


def test_weights_of_another_kind(exported: Path, tmp_path: Path) -> None:
    state, said = bundle._tensors(exported)
    name = next(iter(state))
    for other, words in ((state[name].half(), "torch.float16"), (state[name] * torch.nan, "no finite numbers")):
        checkpoint.write(tmp_path / "x.classifier", {**state, name: other}, said)
        refused(tmp_path / "x.classifier", words)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that forks is killed")
def test_killed_while_it_writes(exported: Path, tmp_path: Path) -> None:
    # Importing torch takes most of its three seconds.
    shutil.copy(exported, tmp_path / "x.classifier")
    command = [sys.executable, str(Path(__file__).parent / "killed.py"), str(tmp_path / "x.classifier"), "10"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
