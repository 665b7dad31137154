"""Weights that only seem to be downloaded, and a machine that can download nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import URLError

import pytest
import torch


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, torch.Tensor]], None]:
    """Has both libraries' hubs give these weights, whichever are asked for."""

    def give(state: Mapping[str, torch.Tensor]) -> None:
        def downloaded(*_: object, **__: object) -> dict[str, torch.Tensor]:
            return dict(state)

        monkeypatch.setattr("trainer.models.downloads._ask", lambda url: None)
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", downloaded)
        monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", downloaded)

    return give


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No host has an address, and nothing was downloaded before."""

    def unknown(*_: object, **__: object) -> None:
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("trainer.models.downloads.urlopen", unknown)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
