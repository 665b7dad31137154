"""A small classifier that was trained and exported once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A classifier of three kinds of stripes; not to be trained on."""
    from trainer import Classifier, ImageFolder

    data = ImageFolder(pictures, size=32, cache=tmp_path_factory.mktemp("cache"), show=False)
    options: dict[str, Any] = {"batch_size": 8, "device": "cpu", "amp": False, "show": False}
    clf = Classifier(data, "squeezenet1_1", weights=None, **options)
    clf.fit_one_cycle(2)
    return clf


@pytest.fixture(scope="session")
def exported(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file. Not to be written to."""
    path = tmp_path_factory.mktemp("exported") / "stripes.classifier"
    trained.export(path)
    return path


@pytest.fixture(scope="session")
def predictor(exported: Path) -> Any:
    """It, loaded."""
    from trainer import load

    loaded = load(exported)
    yield loaded
    loaded.close()
