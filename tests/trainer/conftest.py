"""What the trainer's tests share: pictures that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# torchvision does not import beside every build of torch. `.ci/run` has an environment for it, and for matplotlib.
try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    collect_ignore = ["test_classifier.py", "test_cli.py", "test_distributed.py", "models", "test_benchmarks.py"]
    collect_ignore += ["test_notebook.py", "training/test_recording.py"]
    collect_ignore += ["cleaning/test_judging.py", "cleaning/test_page.py", "serving", "show/test_plots.py"]


def draw(path: Path, kind: int, seed: int, side: int = 40) -> None:
    """Stripes that run down (0), across (1) or along the diagonal (2), with noise, wider than high."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, : side * 4 // 3]
    wave = np.sin((x, y, x + y)[kind] * rng.uniform(0.6, 0.9) + rng.uniform(0, 6))
    pixels = 128 + 80 * wave[..., None] * rng.uniform(0.4, 1, 3) + rng.normal(0, 12, (*wave.shape, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def stripes(root: Path, each: int = 24, classes: int = 3) -> Path:
    """A folder of that many pictures of each class."""
    for kind, name in enumerate(("down", "across", "diagonal")[:classes]):
        for number in range(each):
            draw(root / name / f"{number:03}.png", kind, 1000 * kind + number)
    return root


@pytest.fixture
def drawn() -> Callable[[Path, int, int], None]:
    """Draws a picture of a kind, from a seed, to a path."""
    return draw


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of each of three classes. Not to be written to."""
    return stripes(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Eight pictures of each of two classes, to change."""
    return stripes(tmp_path / "few", 8, 2)
