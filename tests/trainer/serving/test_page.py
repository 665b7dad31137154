"""The page in a browser: pictures that are chosen, dropped and pasted, by mouse and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.serving.predictor import Predictor

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")

# Puts files where a person would drop or paste them.
HAND_OVER = """([event, name, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(content)], name, {type: "image/png"}));
    const options = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
    const kind = event === "paste" ? ClipboardEvent : DragEvent;
    document.querySelector("main").dispatchEvent(new kind(event, options));
}"""


@pytest.fixture
def page(predictor: Predictor, served: Any) -> Iterator[Any]:
    """The page on a phone."""
    with served(predictor) as url, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        made = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        made.errors, made.choosers = [], []
        made.on("pageerror", lambda error: made.errors.append(str(error)))
        # The browser has to know long before a key is pressed that the chooser is not to be shown but told of.
        made.on("filechooser", lambda chosen: made.choosers.append(chosen.is_multiple()))
        made.goto(url)
        yield made
        browser.close()


def test_pictures_and_their_bars(page: Any, predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    path = pictures / "down/000.png"
    (tmp_path / "bad.png").write_text("no picture")
    expected = predictor.predict(path)
    page.set_input_files("#choose", [str(path), str(tmp_path / "bad.png")])
    card = page.locator(".card", has_text="000.png")
    card.locator("meter").nth(2).wait_for()
    assert card.locator(".name").all_inner_texts() == [name for name, _ in expected.top()]
    widths = [float(each.get_attribute("value")) for each in card.locator("meter").all()]
    assert widths == [value for _, value in expected.top()]
    assert card.locator(".seen").count() == 1
    page.locator(".bad", has_text="Not judged: not a picture").wait_for()
    for event in ("drop", "paste"):
        page.evaluate(HAND_OVER, [event, f"{event}.png", list(path.read_bytes())])
        page.locator(".card", has_text=f"{event}.png").locator("meter").nth(2).wait_for()
        assert f"{event}.png: {expected.label} " in page.locator("[role=status]").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # By keyboard: the chooser is the first stop, and pressing its button opens it.
    page.locator("body").press("Tab")
    sync_api.expect(page.locator("#choose")).to_be_focused()
    with page.expect_file_chooser():
        page.keyboard.press("Enter")
    assert page.choosers == [True]
    assert page.locator("#camera").get_attribute("capture") == "environment"
    page.locator("#clear").click()
    assert page.locator(".card").count() == 0
    assert page.errors == []
