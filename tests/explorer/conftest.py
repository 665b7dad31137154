"""A page in a real Chromium that has the explorer's modules and nothing else: made-up answers, no workbook."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sgdsheet
from sgdsheet.explorer.app import application
from sgdsheet.explorer.session import Session
from sgdsheet.local_server import LocalServer

WEB = Path(sgdsheet.__file__).parent / "explorer/web"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>parts</title>
<link rel="stylesheet" href="parts.css"><body><div class="sgdsheet" id="root"></div></body></html>"""
TYPES = {".js": "text/javascript", ".css": "text/css"}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests here."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def parts(chromium: Any) -> Iterator[Any]:
    """An empty page beside the modules; an error of a script, or a script that a text brought, fails the test."""
    context = chromium.new_context(viewport={"width": 900, "height": 700}, reduced_motion="no-preference")
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))

    def answer(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        if name == "parts.html":
            route.fulfill(body=PAGE, content_type="text/html")
        elif (WEB / name).is_file():
            route.fulfill(body=(WEB / name).read_bytes(), content_type=TYPES[Path(name).suffix])
        else:
            errors.append(f"asked for {name}")
            route.abort()

    context.route("**/*", answer)
    page.goto("http://explorer.test/parts.html")
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[Path], str]]:
    """Serves a workbook and returns where: one server shows one after the other."""
    shown: list[Path] = []
    sessions: list[Session] = []

    def load() -> Session:
        sessions.append(Session(shown[-1]))
        return sessions[-1]

    server = LocalServer(application(load))
    server.start()

    def serve(path: Path) -> str:
        shown.append(path)
        return server.url

    yield serve
    server.end()
    assert server.wait(10)
    for session in sessions:  # for as long as one compares, torch's default dtype is float64, for other tests too
        with session.comparing:
            pass


@pytest.fixture
def window(chromium: Any, served: Callable[[Path], str]) -> Iterator[Callable[..., Any]]:
    """Opens a workbook in a window of its own; nothing that the page complains of is let pass."""
    said: list[str] = []
    contexts: list[Any] = []

    def open_window(path: Path, width: int = 1400, height: int = 800, **options: Any) -> Any:
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, **options))
        contexts[-1].set_default_timeout(60_000)  # on a busy machine too
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: (said.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(served(path))
        page.locator("[data-ready=true]").wait_for()
        return page

    yield open_window
    for each in contexts:
        each.close()
    assert said == []
