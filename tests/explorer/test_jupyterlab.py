"""The committed notebook in a JupyterLab: the widget shows what a session has, also after a number is typed.

Takes half a minute: a server and a kernel start, and JupyterLab's own page loads.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.explorer.session import Session
from tests.explorer.cells import cell, seen, texts, until

NOTEBOOK = Path(__file__).parents[2] / "notebooks/explore.ipynb"
FOLDERS = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")
TOKEN = "of-this-test"


@pytest.fixture
def lab(tmp_path: Path, workbook: Callable[[str], Path]) -> Iterator[str]:
    """The address of the notebook in a server of its own, beside a linear_sgd.xlsx; nothing of the user's is read."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    shutil.copy(NOTEBOOK, tmp_path)
    shutil.copy(workbook("linear_sgd"), tmp_path)
    own = {f"JUPYTER{'' if name.startswith('LAB') else '_'}{name}": str(tmp_path / name) for name in FOLDERS}
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", f"--ServerApp.root_dir={tmp_path}"]
    options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        cwd=tmp_path,
        env={**os.environ, **own, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    said: list[str] = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab", line):
            break
    else:
        pytest.fail(f"JupyterLab has not started:\n{''.join(said)}")
    reader = threading.Thread(target=server.stderr.read, daemon=True)  # else it waits for a full pipe
    reader.start()
    yield f"{found[0]}/tree/{NOTEBOOK.name}?token={TOKEN}"
    server.terminate()
    server.wait(30)
    reader.join()
    server.stderr.close()


def test_the_notebooks_widget_is_live(lab: str, chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "linear_sgd.xlsx"
    at = book.read(path).blocks["lr"].cell(())
    context = chromium.new_context(viewport={"width": 1400, "height": 1200})
    context.set_default_timeout(120_000)  # on a busy machine too
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    widget = page.locator(".sgdsheet[data-ready=true]").first
    widget.get_by_role("tab", name=at.sheet, exact=True).click()

    widget.get_by_role("grid", name=f"sheet {at.sheet}", exact=True).wait_for()
    cell(widget, at.row, at.column).click()
    session = Session(path)
    until(page, lambda: texts(widget) == seen(session, at.sheet, texts(widget)))
    before = texts(widget)
    page.keyboard.type("0.037")
    page.keyboard.press("Enter")
    view = {"sheet": at.sheet, "top": 1, "left": 1, "bottom": 9, "right": 9}
    session.answer({"ask": "set", "cells": [[at.sheet, at.row, at.column, 0.037]], "view": view})
    until(page, lambda: texts(widget) == seen(session, at.sheet, texts(widget)))
    assert sum(text != before.get(place) for place, text in texts(widget).items()) > 5

    with page.expect_download() as download:
        widget.get_by_role("button", name="Save as .xlsx").click()
    download.value.save_as(tmp_path / "saved.xlsx")
    held = sgdsheet.read(tmp_path / "saved.xlsx")
    assert held["lr"] == 0.037
    for name, block in book.read(path).blocks.items():
        for ref, value in zip(block.references().flat, held[name].flat, strict=True):
            assert session.value(ref) == value
    page.locator(".sgdsheet[data-ready=true]").nth(1).wait_for()  # the model's
    context.close()
    assert errors == []
