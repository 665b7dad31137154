"""Pictures on a desk that a model need not have judged, and their page in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdsheet.local_server import LocalServer
from trainer.cleaning.desk import Desk
from trainer.cleaning.judging import Judged
from trainer.data.image_folder import ImageFolder


def judged(data: ImageFolder, odd: dict[str, str], groups: list[list[str]] | None = None) -> Judged:
    """Each picture is surely what its label says, the odd ones surely something else."""
    numbers = {name: number for number, name in enumerate(data.listing.names)}
    probabilities = np.full((len(numbers), len(data.classes)), 0.01, dtype=np.float32)
    seen = data.listing.labels.copy()
    for name, other in odd.items():
        seen[numbers[name]] = data.classes.index(other)
    probabilities[np.arange(len(seen)), seen] = 0.98 - 0.001 * np.arange(len(seen))
    return Judged(probabilities, 3, [[numbers[name] for name in group] for group in groups or []])


@pytest.fixture
def desk_of(tmp_path: Path) -> Callable[..., Desk]:
    """A desk with the pictures of a folder; `odd` says which are taken for another class."""

    def make(root: Path, odd: dict[str, str], groups: Any = None, *, run: str = "run", **options: Any) -> Desk:
        data = ImageFolder(root, size=32, cache=tmp_path / "cache", show=False, **options)
        (tmp_path / run).mkdir(exist_ok=True)
        return Desk(data, judged(data, odd, groups), tmp_path / run, "these")

    return make


@pytest.fixture
def served() -> Iterator[Callable[..., LocalServer]]:
    """Serves a desk's page; all that was begun is ended after the test."""
    from trainer.cleaning.page import application

    begun: list[LocalServer] = []

    def serve(desk: Desk, framed: bool = False) -> LocalServer:
        server = LocalServer(application(desk, lambda: server.end(), framed))
        server.start()
        begun.append(server)
        return server

    yield serve
    for server in begun:
        server.end()
        assert server.wait(10)
