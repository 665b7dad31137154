"""What is pasted into a browser's console saves the URLs of a page's pictures: a page of ours, in a real browser."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trainer.collect
from trainer.collect.lists import wanted

SCRIPT = Path(trainer.collect.__file__).with_name("search.js").read_text()
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

PAGE = """<!doctype html><title>A search</title><base href="/results/">
<style>
.shown { background: url("/bg.png?a=1,2"); width: 100px; height: 90px }
.icon { background: url(/icon.png) }
</style>
<a href="/click?imgurl=https%3A%2F%2Fa.example%2Fwhole%2C1.jpg&x=1"><img src="/thumb.png"></a>
<a href="/click?imgurl=https%3A%2F%2Fa.example%2Ftext.jpg">in words</a>
<a href="https://b.example/full.JPG"><img src="/thumb2.png"></a>
<a href="/page.html"><img src="plain.png"></a>
<img src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7" data-src="lazy.jpg">
<img src="/small.png" srcset="s,1.jpg 320w, /m.jpg 1280w,l.jpg 640w">
<img src="/small.png" srcset="once.jpg, twice.jpg 2x">
<picture><source data-srcset="late.webp 200w, later.webp 900w"><img src="/small.png"></picture>
<div class="shown"></div><div class="icon" style="width: 20px; height: 20px"></div>
<div data-bg="url('/told.jpg')" style="width: 100px; height: 100px"></div>
<img src="/icon.png"><img src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7">
<img src="INLINE"><img src="plain.png"><img src="javascript:void(0)"><a href="javascript:imgurl=1">no</a>
"""


@pytest.fixture
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with sync.sync_playwright() as playwright:
        with_browser = playwright.chromium.launch(executable_path=path)
        yield with_browser
        with_browser.close()


def test_urls_of_a_page(browser: Any, server: Any, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    inline = "data:image/png;base64," + base64.b64encode(picture(0, side=80)).decode()
    for name in ("/thumb.png", "/thumb2.png", "/results/plain.png", "/bg.png?a=1,2", "/results/twice.jpg", "/m.jpg"):
        server.gives(name, picture(1, side=100))
    server.gives("/icon.png", picture(2, side=16))
    page_url = server.gives(
        "/find?q=teddy%2F+bear&x=1", PAGE.replace("INLINE", inline).encode(), Content_Type="text/html"
    )
    page = browser.new_page()
    page.goto(page_url)
    with page.expect_download() as download:
        said = page.evaluate(SCRIPT)
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    at, below = server.at, f"{server.at}/results"
    expected = [
        "https://a.example/whole,1.jpg",
        "https://a.example/text.jpg",
        "https://b.example/full.JPG",
        f"{below}/plain.png",
        f"{below}/lazy.jpg",
        f"{at}/m.jpg",
        f"{below}/twice.jpg",
        f"{below}/later.webp",
        f"{at}/bg.png?a=1,2",
        f"{at}/told.jpg",
        inline,
    ]
    assert said == f"{len(expected)} URLs: teddy bear.txt"
    assert [(each.label, each.url) for each in wanted(saved)] == [("teddy bear", url) for url in expected]
