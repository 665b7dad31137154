"""The widget: the modules joined into one, its messages, and what `sgdsheet.explore` makes of what it is given."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import sgdsheet
from sgdsheet.explorer import explore as exploring
from sgdsheet.explorer.app import FILES

pytest.importorskip("anywidget")
from sgdsheet.explorer import widget


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploring, "in_notebook", lambda: True)


def asked(shown: Any, *messages: Any) -> list[Any]:
    """What the widget sends when these arrive from its front end."""
    sent: list[Any] = []
    shown.send = sent.append
    for number, message in enumerate(messages):
        shown._asked(shown, {"id": number, "message": message}, [])
    assert [each["id"] for each in sent] == [*range(len(messages))]
    return [each["answer"] for each in sent]


def test_the_modules_are_one_without_imports() -> None:
    text = widget.joined()
    assert [*re.findall(r"^(?:import|export)\b.*", text, re.MULTILINE)] == ["export default {"]
    names = re.findall(r"^(?:async )?(?:function\*?|class|const|let|var) (\w+)", text, re.MULTILINE)
    assert sorted(names) == sorted(set(names))
    assert "mount" in names
    assert {*widget.modules(), *widget.STYLES} == {*FILES} - {"page.js"}


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_the_one_module_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "joined.mjs").write_text(widget.joined(), encoding="utf-8")
    done = subprocess.run(["node", "--check", tmp_path / "joined.mjs"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_messages_are_answered_and_refused(notebook: None, workbook: Callable[[str], Path]) -> None:
    shown: Any = sgdsheet.explore(workbook("small"))
    opened, refused, failed = asked(shown, {"ask": "open"}, {"ask": "nonsense"}, None)
    assert opened["file"] == "small.xlsx"
    assert "nonsense" in refused["error"]
    assert "\n" not in refused["error"]
    assert failed["error"]
    shown.close()


def test_a_model_is_compiled_first(notebook: None) -> None:
    model = torch.nn.Linear(2, 1)
    x, y = torch.ones(3, 2), torch.ones(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = {"inputs": x, "targets": y, "loss": torch.nn.functional.mse_loss, "optimizer": optimizer}
    for what, options in ((model, given), (sgdsheet.compile(model, **given), {})):
        shown: Any = sgdsheet.explore(what, **options)
        (opened,) = asked(shown, {"ask": "open"})
        assert opened["sheets"][0]["name"] == "about"
        assert asked(shown, {"ask": "save"})[0]["base64"]  # the file that was written for it is not needed any more
        shown.close()


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        ("lineer_sgd", {}, "did you mean 'linear_sgd'"),
        ("nowhere.xlsx", {}, "there is no such file"),
        (__file__, {"steps": 3}, "takes no other arguments"),
        (3, {}, "got int"),
    ],
)
def test_what_cannot_be_explored(notebook: None, what: Any, options: Any, said: str) -> None:
    with pytest.raises(sgdsheet.Error, match=said):
        sgdsheet.explore(what, **options)


def test_without_anywidget_it_says_what_to_install(notebook: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "sgdsheet.explorer.widget", raising=False)
    with pytest.raises(sgdsheet.Error, match=r"pip install 'sgdsheet\[notebook\]'"):
        sgdsheet.explore("linear_sgd")


def test_outside_of_a_notebook_a_page_is_served(
    monkeypatch: pytest.MonkeyPatch, workbook: Callable[[str], Path]
) -> None:
    from sgdsheet.explorer import app

    served: list[Any] = []
    monkeypatch.setattr(app, "serve", served.append)
    assert not exploring.in_notebook()
    assert sgdsheet.explore(str(workbook("small"))) is None
    assert served == [workbook("small")]


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, workbook: Callable[[str], Path]) -> None:
    """Takes some seconds: a kernel starts and imports torch."""
    shutil.copy(workbook("linear_sgd"), tmp_path)
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(Path(__file__).parents[2] / "notebooks/explore.ipynb", 4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert [[[*each.data] for each in outputs] for outputs in shown] == [
        [["text/plain", "application/vnd.jupyter.widget-view+json"]]
    ] * 2
