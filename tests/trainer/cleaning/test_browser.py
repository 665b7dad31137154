"""The page in a real Chromium, by keyboard and mouse."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sgdsheet.local_server import LocalServer
from trainer.cleaning.desk import Desk

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Any) -> Iterator[Callable[[str], Any]]:
    """Opens an address in a window of its own; nothing that the page complains of is let pass."""
    said: list[str] = []
    contexts: list[Any] = []

    def open_window(url: str) -> Any:
        contexts.append(chromium.new_context(viewport={"width": 1400, "height": 900}))
        contexts[-1].set_default_timeout(10_000)
        opened = contexts[-1].new_page()
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        opened.goto(url)
        return opened

    yield open_window
    for each in contexts:
        each.close()
    assert [each for each in said if "409 (Conflict)" not in each and "403 (Forbidden)" not in each] == []


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*.png")}


def counts(window: Any, words: str) -> None:
    window.locator("#counts", has_text=re.compile(f"^{words}$")).wait_for()


def test_choose_apply_and_undo(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer], window: Any
) -> None:
    odd = {"down/003.png": "across", "across/001.png": "down", "down/004.png": "across", "down/005.png": "across"}
    desk, before = desk_of(few, odd), tree(few)
    worst = [desk.names[number] for number in desk.worst()]
    server = served(desk)
    page = window(server.url)
    assert page.evaluate("document.activeElement.dataset.number") == str(desk.worst()[0])
    for key in ("d", "1" if worst[1].startswith("down") else "2", "k", "ArrowRight", "d"):
        page.keyboard.press(key)
    counts(page, "2 to delete, 1 to relabel, 1 kept")
    page.keyboard.press("u")
    counts(page, "1 to delete, 1 to relabel, 1 kept")
    # u takes the last one back and goes to it.
    assert page.evaluate("document.activeElement.dataset.number") == str(desk.worst()[4])
    page.locator(".card").nth(5).get_by_role("button", name="Delete").click()
    page.locator(".card").nth(6).get_by_role("button", name="Delete").click()
    page.locator(".card").nth(6).get_by_role("button", name="Delete").click()  # once more takes it back
    page.locator(".card").nth(7).get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").click()
    counts(page, "2 to delete, 1 to relabel, 1 kept")
    page.reload()
    counts(page, "2 to delete, 1 to relabel, 1 kept")
    assert page.locator("[aria-pressed=true]").count() == 4
    page.keyboard.press("u")  # what this window undoes is there after a reload as well
    counts(page, "3 to delete, 1 to relabel, 1 kept")
    assert tree(few) == before

    page.get_by_role("link", name="Apply").click()
    assert page.locator(".plan li").count() == 5
    assert tree(few) == before
    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_role("heading", name="It is done").wait_for()
    gone = before - tree(few)
    assert gone == {worst[0], worst[1], worst[5], worst[6]}
    assert tree(few.with_name("few.trash")) == {worst[0], worst[5], worst[6]}
    assert (desk.folder / "cleaned.csv").exists()
    page.get_by_role("link", name="Back to the pictures").click()
    assert page.locator(".card").count() == 16 - 5
    page.goto(f"{server.url}apply")
    page.get_by_role("button", name="Undo all of it").click()
    page.get_by_role("heading", name="This is what will happen").wait_for()
    assert tree(few) == before
    assert not few.with_name("few.trash").exists()
    page.get_by_role("button", name="End").click()
    page.get_by_role("heading", name="Ended").wait_for()
    assert server.wait(10)


def test_the_arrows_and_the_large_picture(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer], window: Any
) -> None:
    page = window(served(desk_of(few, {})).url)
    place = "[...document.querySelectorAll('.card')].indexOf(document.activeElement)"
    columns = page.evaluate("new Set([...document.querySelectorAll('.card')].map((card) => card.offsetLeft)).size")
    for key, expected in (("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("ArrowUp", 0)):
        page.keyboard.press(key)
        assert page.evaluate(place) == expected
    page.keyboard.press("Enter")
    page.locator("dialog[open] img").wait_for()
    page.keyboard.press("k")  # works on the large picture too, which is then the next one
    page.keyboard.press("Escape")
    page.locator(".card:nth-child(2):focus").wait_for()
    counts(page, "0 to delete, 0 to relabel, 1 kept")


def test_two_windows_do_not_disturb_each_other(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer], window: Any
) -> None:
    desk = desk_of(few, {})
    server = served(desk)
    one, other = window(server.url), window(server.url)
    one.keyboard.press("d")
    counts(one, "1 to delete, 0 to relabel, 0 kept")
    other.keyboard.press("ArrowRight")
    other.keyboard.press("k")
    counts(other, "1 to delete, 0 to relabel, 1 kept")  # that of the other window is still there
    other.keyboard.press("ArrowLeft")
    other.keyboard.press("ArrowLeft")
    other.keyboard.press("k")  # on the picture that the first window has deleted
    counts(other, "0 to delete, 0 to relabel, 2 kept")
    one.keyboard.press("u")  # what it would take back is another window's now
    one.locator("#message", has_text="another window").wait_for()
    assert list(desk.choices.values()) == ["keep", "keep"]
    one.goto(f"{server.url}apply")
    other.keyboard.press("d")
    counts(other, "1 to delete, 0 to relabel, 1 kept")
    one.get_by_role("button", name="Apply", exact=True).click()
    one.get_by_role("alert").filter(has_text="something else was chosen meanwhile").wait_for()
    assert tree(few) == {f"{name}/00{place}.png" for name in ("down", "across") for place in range(8)}


def test_without_a_script_the_buttons_are_forms(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer], chromium: Any
) -> None:
    desk = desk_of(few, {})
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served(desk).url)
    page.locator(".card").nth(2).get_by_role("button", name="Delete").click()
    page.locator(".card").nth(2).locator("[value=delete][aria-pressed=true]").wait_for()
    assert desk.choices == {desk.worst()[2]: "delete"}
    context.close()


def test_another_site_can_do_nothing(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer], window: Any
) -> None:
    """Even if it knew the address: it can neither send a form nor read an answer nor show the page in a frame."""
    desk = desk_of(few, {})
    server, elsewhere = served(desk), served(desk)  # another port is another site's page as well
    page = window(f"{elsewhere.url}apply")
    page.goto("about:blank")
    page.set_content(f'<form method="post" action="{server.url}choose"><input name="number" value="0"></form>')
    with page.expect_response(f"{server.url}choose") as answer:
        page.evaluate("document.forms[0].submit()")
    assert answer.value.status == 403
    assert desk.choices == {}
