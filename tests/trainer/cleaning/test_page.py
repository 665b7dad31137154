"""The page as the server hands it out."""

from __future__ import annotations

import html
import http.client
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image

from sgdsheet.local_server import LocalServer
from trainer.classifier import Classifier
from trainer.cleaning import page
from trainer.cleaning.desk import Desk
from trainer.cleaning.thumbnails import Thumbnails
from trainer.data.image_folder import ImageFolder

Ask = Callable[..., tuple[int, str, http.client.HTTPMessage]]


def asking(server: LocalServer) -> Ask:
    """Asks a server as a program does that knows its address."""

    def ask(
        path: str, form: dict[str, object] | None = None, **headers: str
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        where = path if path.startswith("/") else urlsplit(server.url).path + path
        body = None if form is None else urlencode(form)
        connection.request("GET" if form is None else "POST", where, body, given)
        answer = connection.getresponse()
        text = answer.read().decode("latin-1" if answer.headers.get_content_maintype() == "image" else "utf-8")
        connection.close()
        return answer.status, text, answer.headers

    return ask


def test_who_does_not_know_the_token_or_comes_from_elsewhere(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer]
) -> None:
    desk = desk_of(few, {})
    server = served(desk)
    ask, other = asking(server), {"Sec_Fetch_Site": "cross-site", "Origin": "http://evil.example"}
    assert ask("/")[0] == ask("/apply", {})[0] == ask("/x/choose", {"number": 0, "choice": "delete"})[0] == 403
    assert ask("", Host="evil.example")[0] == 403
    assert ask("choose", {"number": 0, "choice": "delete"}, **other)[0] == 403
    assert ask("done", {}, **other)[0] == 403
    assert desk.choices == {}
    assert ask("choose", {"number": 0, "choice": "delete"})[0] == 303
    assert desk.choices == {0: "delete"}
    status, _, headers = ask("")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    framed = asking(served(desk, framed=True))("")[2]["Content-Security-Policy"]
    assert "frame-ancestors 'self' http://localhost:*" in framed


def test_what_a_form_cannot_say(few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer]) -> None:
    desk = desk_of(few, {})
    ask = asking(served(desk))
    for form in ({}, {"number": "0", "choice": "burn"}, {"number": "\u0663", "choice": "keep"}, {"number": "99"}):
        assert ask("choose", form)[0] == 400
    assert ask("choose", {"number": "0", "choice": "k" * 20_000})[0] == 400
    assert ask("apply", {"mark": "x"})[0] == 409
    assert ask("choose", {"number": 0, "choice": "keep", "back": "//evil.example"})[2]["Location"] == "./#p0"
    assert ask("choose", {"number": 0, "choice": "keep", "back": "?page=2"})[2]["Location"] == "./?page=2#p0"
    assert ask("?page=-1&class=99&tab=x&part=y")[0] == ask("?page=99999999999")[0] == 200
    assert ask("small/99")[0] == ask("small/-1")[0] == ask("choose")[0] // 405 * 404 == 404


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="its file systems do not take these names")
def test_names_of_files_are_text(few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer]) -> None:
    script = "<script>alert(1)<\u2215script>'\"&.png"
    odd = {script: script, "new\nline.png": "new\\nline.png", "\N{BEAR FACE}.png": "\N{BEAR FACE}.png"}
    odd[os.fsdecode(b"\xe4.png")] = "\\udce4.png"
    for place, name in enumerate(odd):
        (few / f"down/00{place}.png").rename(few / "down" / name)
    (few / "down").rename(few / "<b>down")
    (few / "<b>down/<i>.png").write_bytes(b"")
    desk = desk_of(few, {}, [[f"<b>down/{script}", "across/001.png"]])
    ask = asking(served(desk))
    for number in desk.worst():
        desk.choose(number, "delete")
    for path in ("", "?tab=alike", "?tab=unreadable", "apply"):
        text = ask(path)[1]
        assert not [each for each in ("<script>alert", "<b>down", "<i>") if each in text]
    shown = html.unescape(ask("")[1])
    assert all(f"<b>down/{name}" in shown for name in odd.values())


def test_pages_tabs_and_filters(
    few: Path, desk_of: Callable[..., Desk], served: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "CARDS", 5)
    (few / "down/broken.png").write_text("no picture")
    desk = desk_of(few, {"down/003.png": "across"}, [["down/001.png", "across/001.png"]])
    ask = asking(served(desk))
    seen: list[str] = []
    for number in (1, 2, 3, 4):
        text = ask(f"?page={number}")[1]
        seen += re.findall(r'id="p(\d+)"', text)
        assert f"page {number} of 4" in text
    assert list(map(int, seen)) == desk.worst()
    assert 'href="?tab=worst&amp;class=1&amp;page=2"' in ask("?class=1")[1]
    assert "(3 folds)" in ask("")[1]
    assert "labelled across and down" in ask("?tab=alike")[1]
    text = ask("?tab=unreadable")[1]
    assert [each in text for each in ("down/broken.png", "not a picture", "small/")] == [True, True, False]
    object.__setattr__(desk.judged, "folds", 0)
    assert "judged by a model that has seen them" in ask("")[1]


def test_many_classes_are_named_instead(
    few: Path, drawn: Callable[..., None], desk_of: Callable[..., Desk], served: Callable[..., LocalServer]
) -> None:
    for place in range(12):
        for number in range(3):
            drawn(few / f"class {place}/{number}.png", 1, place)
    desk = desk_of(few, {"down/003.png": "class 7"})
    ask = asking(served(desk))
    assert '<option value="class 7"></option>' in ask("")[1]
    number = desk.names.index("down/003.png")
    assert ask("choose", {"number": number, "choice": "named", "label": "class 99"})[0] == 400
    assert ask("choose", {"number": number, "choice": "named", "label": "class 7"})[0] == 303
    assert desk.choices == {number: str(desk.classes.index("class 7"))}


def test_small_pictures_are_upright_and_the_memory_bounded(tmp_path: Path) -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 900, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(tmp_path / "turned.jpg", exif=exif)
    thumbnails = Thumbnails(held=50_000)
    made = thumbnails.jpeg(tmp_path / "turned.jpg", 90)
    assert Image.open(io.BytesIO(made)).size == (30, 90)
    assert thumbnails.jpeg(tmp_path / "turned.jpg", 90) is made
    for side in range(100, 200):
        thumbnails.jpeg(tmp_path / "turned.jpg", side)
    assert thumbnails._held == sum(map(len, thumbnails._made.values())) <= 50_000
    assert thumbnails.jpeg(tmp_path / "turned.jpg", 90) is not made


SERVE = """
import sys
from starlette.applications import Starlette
from sgdsheet.local_server import LocalServer
server = LocalServer(Starlette())
print(server.url, flush=True)
server.run(browser=False)
print("ended")
"""


def test_control_c_ends_in_order() -> None:
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen([sys.executable, "-c", SERVE], **pipes)
    assert running.stdout is not None
    where = urlsplit(running.stdout.readline().strip())
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)
    connection.request("GET", where.path)  # which is answered once it serves; and stays open
    assert connection.getresponse().read() == b"Not Found"
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=10) == ("ended\n", "")
    assert running.returncode == 0
    connection.close()


def test_in_a_notebook(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ImageFolder(few, size=32, cache=tmp_path / "cache", show=False)
    classifier = Classifier(data, "squeezenet1_1", weights=None, batch_size=8, device="cpu", show=False)
    first = classifier.clean(out=tmp_path / "run")
    assert first.url in capsys.readouterr().out
    assert f'<iframe src="{first.url}"' in first._repr_html_()
    second = classifier.clean(out=tmp_path / "run")
    port = urlsplit(second.url).port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", urlsplit(second.url).path)
    assert "Which of these are wrong?" in connection.getresponse().read().decode()
    connection.close()
    second.end()
    for each in (first, second):
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", urlsplit(each.url).port, timeout=10).connect()
