"""A small classifier that was trained and exported once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
def predictor(exported: Path) -> Iterator[Any]:
    """It, loaded."""
    from trainer import load

    loaded = load(exported)
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def served() -> Callable[..., AbstractContextManager[str]]:
    """Serves a predictor from a thread of this process, and gives the address."""
    uvicorn = pytest.importorskip("uvicorn")
    from trainer.serving import app

    @contextmanager
    def serve(predictor: Any, **options: Any) -> Iterator[str]:
        listener = app.listening("127.0.0.1", 0)
        config = uvicorn.Config(app.application(predictor, **options), log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield app.address(listener)
        finally:
            server.should_exit = True
            thread.join()

    return serve
