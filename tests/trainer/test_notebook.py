"""The committed notebook runs from top to bottom, on pictures that a server on this machine offers."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

nbformat: Any = pytest.importorskip("nbformat")
nbclient: Any = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
NOTEBOOK = Path(__file__).parents[2] / "notebooks/from_search_to_classifier.ipynb"
CLASSES = ("black", "grizzly", "teddy")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where pictures are to be had: coarse patterns, twelve of each of three kinds, and one file that is none."""
    web = tmp_path / "web"
    web.mkdir()
    for kind, name in enumerate(CLASSES):
        for number in range(12):
            rng = np.random.default_rng([kind, number])
            coarse = rng.integers(0, 256, (2 + 6 * kind, 3 + 6 * kind, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC).save(web / f"{name}{number}.jpg")
    (web / "teddy0.jpg").write_bytes(b"<html>gone</html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(web)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_from_search_to_classifier(address: str, tmp_path: Path) -> None:
    """Takes half a minute: a kernel starts, imports torch and trains."""
    (tmp_path / "urls").mkdir()
    for name in CLASSES:
        lines = [f"{address}/{name}{number}.jpg" for number in range(12)]
        (tmp_path / f"urls/{name}.txt").write_text("\n".join(lines))
    notebook = nbformat.read(NOTEBOOK, 4)
    sources = [cell.source for cell in notebook.cells]
    assert [source for source in sources if source.startswith("options = {}")]
    for cell in notebook.cells:
        cell.source = cell.source.replace("options = {}", "options = {'allow_private': True}")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = {cell.source: json.dumps(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}
    assert not any("Warning" in said for said in shown.values())
    assert len(list((tmp_path / "bears/teddy").iterdir())) == 11
    (page,) = [said for source, said in shown.items() if source == "clf.clean()"]
    assert "<iframe src=" in page
    (predicted,) = [said for source, said in shown.items() if ".predict(" in source]
    assert any(name in predicted for name in CLASSES)
