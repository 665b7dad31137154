"""What tests of folders share: files by their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.data import walk


@pytest.fixture(autouse=True)
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """pillow-heif is as if it were not installed."""
    monkeypatch.setattr(walk, "SUFFIXES", walk.SUFFIXES - walk.HEIF)


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    """Makes files of these names in a folder, or folders where a name ends in a slash, and gives that folder."""

    def make(*names: str) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(b"never opened")
        return root

    return make
