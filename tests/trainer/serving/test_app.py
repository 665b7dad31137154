"""The server: what it answers, its limits, and pictures that mean harm."""

from __future__ import annotations

import gc
import io
import json
import re
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sgdsheet.errors import Error
from trainer.cli import main
from trainer.serving import app, dockerfile
from trainer.serving.openapi import description
from trainer.serving.predictor import Predictor

Served = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def url(predictor: Predictor, served: Served) -> Iterator[str]:
    with served(predictor) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture(scope="module")
def files(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.png"))[::18]


def png(width: int, height: int, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG that says it has so many pixels, with `data` for their rows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# --- What it answers --------------------------------------------------------------------------------------------------


def test_the_digits_are_those_of_python(client: httpx.Client, predictor: Predictor, files: list[Path]) -> None:
    expected = [predictor.predict(path) for path in files]
    several = client.post("/predict", files=[("file", (str(path), path.read_bytes())) for path in files])
    assert several.json() == {"results": [each.said() for each in expected]}
    for path, each in zip(files, expected, strict=True):
        # curl --data-binary says that a picture is a form's text.
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        alone = client.post("/predict?top=1", content=path.read_bytes(), headers=headers)
        assert alone.json() == {"results": [each.said(1) | {"name": "picture"}]}


def test_of_several_pictures_each_has_its_own_answer(client: httpx.Client, files: list[Path]) -> None:
    good, bad = ("a.png", files[0].read_bytes()), ("b.png", b"no picture")
    found = client.post("/predict", files=[("x", bad), ("y", good), ("z", ("c.png", png(9000, 9000)))])
    said = [each.get("error") for each in found.json()["results"]]
    assert (found.status_code, said) == (
        200,
        ["not a picture", None, "it has 81 million pixels, which is more than 50 million"],
    )
    none = client.post("/predict", files=[("x", bad), ("y", bad)])
    assert (none.status_code, none.json()) == (415, {"error": "b.png: not a picture"})


def test_the_page_and_its_files(client: httpx.Client) -> None:
    page = client.get("/")
    assert "Tells apart: across, diagonal, down" in page.text
    asked = [each for each in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not each.startswith("data:")]
    assert sorted(asked) == ["openapi.json", "serve.css", "serve.js", "style.css"]
    for name in asked:
        found = client.get(name)
        assert (found.status_code, found.headers["x-content-type-options"]) == (200, "nosniff")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/healthz").json() == {"status": "ok", "classes": 3, "at_work": 0}
    assert client.get("/none").json() == {"error": "Not Found"}
    assert client.get("/predict").status_code == 405


def test_the_description_is_true(client: httpx.Client, predictor: Predictor, files: list[Path]) -> None:
    said = client.get("/openapi.json").json()
    assert said == json.loads(json.dumps(description("stripes", predictor.card)))
    for path, methods in said["paths"].items():
        for method in methods:
            assert client.request(method.upper(), path).status_code != 404
    answers = said["paths"]["/predict"]["post"]["responses"]
    assert {*answers} == {"200", *(str(each) for each in (400, 408, 413, 415, 422, 503))}
    judged, unread = said["components"]["schemas"]["Results"]["properties"]["results"]["items"]["oneOf"]
    given = [("file", ("a.png", files[0].read_bytes())), ("file", ("b.png", b""))]
    one, other = client.post("/predict", files=given).json()["results"]
    assert [*one] == judged["required"]
    assert [*other] == unread["required"]


# --- Its limits -------------------------------------------------------------------------------------------------------


def test_too_much(client: httpx.Client, files: list[Path]) -> None:
    large = bytes(app.MOST_BYTES + 1)
    assert client.post("/predict", content=large).status_code == 413
    assert client.post("/predict", files={"file": large}).status_code == 413
    many = client.post("/predict", files=[("file", ("a.png", b"x"))] * 33)
    assert (many.status_code, many.json()) == (413, {"error": "expected at most 32 pictures, got 33"})


def test_a_body_without_an_end_is_cut_off(url: str) -> None:
    host, port = url.split("/")[2].split(":")
    piece = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as sending:
        sending.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with suppress(OSError):
            while sent < 100:
                sending.sendall(piece)
                sent += 1
        assert sent < 100  # MB


def test_nothing_is_written_to_disk(client: httpx.Client, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # where Starlette's own forms put what is over 1 MB
    monkeypatch.setattr("tempfile._mkstemp_inner", refuse)
    found = client.post("/predict", files={"file": ("a.png", files[0].read_bytes() + bytes(9 * 2**20))})
    assert found.status_code == 200, found.text


class Slow:
    """Stands for a predictor whose pictures are judged when somebody says so."""

    def __init__(self, predictor: Predictor) -> None:
        self.card, self.path, self.judged = predictor.card, predictor.path, predictor.judged
        self.futures: list[Future[Any]] = []
        self.asked = threading.Semaphore(0)

    def submit(self, content: bytes) -> Future[Any]:
        self.futures.append(Future())
        self.asked.release()
        return self.futures[-1]


def test_more_than_can_wait_is_sent_away(predictor: Predictor, served: Served, files: list[Path]) -> None:
    slow, content, found = Slow(predictor), files[0].read_bytes(), []
    with served(slow, most=2) as url:
        ask = lambda: found.append(httpx.post(f"{url}predict", content=content, trust_env=False))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
            assert slow.asked.acquire(timeout=60)
        busy = httpx.post(f"{url}predict", content=content, trust_env=False)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{url}healthz", trust_env=False).json()["at_work"] == 2
        for future in slow.futures:
            future.set_result(np.full(3, 1 / 3, np.float32))
        for thread in threads:
            thread.join()
        assert [each.status_code for each in found] == [200, 200]


def test_what_a_visitor_who_has_gone_had_sent_is_dropped(
    caplog: pytest.LogCaptureFixture, predictor: Predictor, served: Served, files: list[Path]
) -> None:
    slow = Slow(predictor)
    with served(slow) as url:
        host, port = url.split("/")[2].split(":")
        content = files[0].read_bytes()
        with socket.create_connection((host, int(port))) as sending:
            sending.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
            assert slow.asked.acquire(timeout=60)
        gone = threading.Event()
        slow.futures[0].add_done_callback(lambda _: gone.set())
        assert gone.wait(60)
        assert slow.futures[0].cancelled()
    gc.collect()
    assert not caplog.records  # nor does asyncio complain


def test_a_body_that_does_not_come(predictor: Predictor, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.05)
    with served(predictor) as url:
        host, port = url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=60) as sending:
            sending.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12")
            assert sending.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_place_that_is_taken(url: str) -> None:
    with pytest.raises(Error, match="--host 127.0.0.1 --port .*: cannot be listened at"):
        app.listening("127.0.0.1", int(url.split(":")[2].strip("/")))
    with pytest.raises(Error, match="cannot be listened at"):
        app.listening("no.such.host.invalid", 0)


# --- Pictures that mean harm ------------------------------------------------------------------------------------------


def broken(files: list[Path]) -> Iterator[bytes]:
    """Pictures of all formats, each cut off, changed and lengthened; and some that were made up."""
    rng = np.random.default_rng(0)
    whole: list[bytes] = []
    kinds = "PNG RGB, PNG P, PNG LA, JPEG CMYK, JPEG L, GIF P, WEBP RGBA, BMP RGB, PPM L, TIFF F, TIFF I;16, TIFF 1"
    with Image.open(files[0]) as image:
        for kind, mode in map(str.split, kinds.split(", ")):
            out = io.BytesIO()
            image.convert("L").convert(mode).save(out, kind)
            whole.append(out.getvalue())
    for content in whole:
        yield content
        for share in (0.02, 0.5, 0.95):
            yield content[: int(len(content) * share)]
        for _ in range(2):
            changed = bytearray(content)
            for place in rng.integers(0, min(len(content), 200), 4):
                changed[place] = int(rng.integers(256))
            yield bytes(changed)
    yield from (
        png(0, 0),
        png(1, 2**31 - 1),
        png(2**31 - 1, 2**31 - 1),
        png(7000, 7000),
        png(100, 100, 7),
        png(3, 3, 3),
    )
    yield png(30_000, 800, 0, bytes(30_001 * 800))  # 24 million pixels of nothing, in 24 kB
    yield from (
        b"GIF89a" + b"\xff" * 100,
        b"BM" + bytes(60),
        b"II*\0" + b"\xff" * 64,
        b"P6 99999999 99999999 255\n",
        b"\0" * 99,
    )
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"


def test_hostile_pictures_get_an_answer(client: httpx.Client, files: list[Path]) -> None:
    statuses: dict[int, int] = {}
    for content in broken(files):
        found = client.post("/predict", content=content)
        assert found.status_code in (200, 415, 422), (found.status_code, content[:80])
        assert len(found.text.splitlines()) == 1
        statuses[found.status_code] = statuses.get(found.status_code, 0) + 1
    assert min(statuses.values()) > 10
    assert client.get("/healthz").json()["at_work"] == 0


def form(part: bytes) -> tuple[str, bytes]:
    return "multipart/form-data; boundary=a", b"--a\r\n" + part.replace(b"DATA", b"Content-Disposition: form-data")


HOSTILE_FORMS = {
    "no boundary": ("multipart/form-data", b"x"),
    "another boundary": ("multipart/form-data; boundary=a", b"--b\r\n\r\n"),
    "no such letters": ("multipart/form-data; boundary=\xff; charset=none", b"--a--"),
    "nothing": ("multipart/form-data; boundary=a", b""),
    "never closed": form(b'DATA; name="f"; filename="x"\r\n\r\n'),
    "no name": form(b"DATA\r\n\r\nx\r\n--a--\r\n"),
    "no file": form(b'DATA; name="f"\r\n\r\nx\r\n--a--\r\n'),
    "no disposition": form(b"\r\nx\r\n--a--\r\n"),
    "a name in bytes": form(b'DATA; name="f"; filename="\xff\xfe"\r\n\r\nx\r\n--a--\r\n'),
    "a bad header": form(b"\xff\0: \r\n\r\nx\r\n--a--\r\n"),
}


@pytest.mark.parametrize("name", HOSTILE_FORMS)
def test_hostile_forms_get_an_answer(name: str, client: httpx.Client) -> None:
    kind, body = HOSTILE_FORMS[name]
    found = client.post("/predict", content=body, headers={b"Content-Type": kind.encode("latin-1")})
    assert found.status_code in (400, 415), found.text
    assert [*found.json()] == ["error"]


@pytest.mark.parametrize("top", ["0", "-1", "1.5", "many", "", "²", "9" * 30])
def test_a_number_that_is_none(top: str, client: httpx.Client, files: list[Path]) -> None:
    found = client.post("/predict", params={"top": top}, content=files[0].read_bytes())
    assert (found.status_code, found.json()["error"][:4]) == (422, "top:")


# --- The command ------------------------------------------------------------------------------------------------------


def test_a_dockerfile(exported: Path, predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "a b.classifier").write_bytes(exported.read_bytes())
    for _ in range(2):  # its own it writes anew
        result = CliRunner().invoke(main, ["serve", str(tmp_path / "a b.classifier"), "--dockerfile"])
        assert result.exit_code == 0, result.output
    text = (tmp_path / "Dockerfile").read_text()
    assert 'COPY ["a b.classifier", "model.classifier"]' in text
    assert f"torch=={predictor.card.provenance['versions']['torch'].partition('+')[0]} " in text
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(Error, match="another Dockerfile"):
        dockerfile.write(tmp_path / "a b.classifier", predictor.card)
