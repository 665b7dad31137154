"""Lists of URLs become folders of pictures, whatever the servers do."""

from __future__ import annotations

import base64
import gzip
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from sgdsheet.errors import Error
from trainer import download
from trainer.cleaning import trash
from trainer.cli import main
from trainer.collect import addresses, fetch
from trainer.collect.download import GONE, SAME, SAVED, summary
from trainer.collect.fetch import Failed, Fetcher, Limits
from trainer.collect.lists import Wanted, wanted
from trainer.data.folder import listing

BENCHMARK = Path(__file__).parents[2] / "benchmarks/download.py"
Server = Any  # of conftest.py


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try follows at once."""
    monkeypatch.setattr(fetch, "FIRST_WAIT", 0)


def lists(folder: Path, **urls: list[str]) -> Path:
    for label, lines in urls.items():
        path = folder / "urls" / f"{label}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines))
    return folder / "urls"


def outcomes(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["url"], frame["outcome"], strict=True))


# --- A server that misbehaves -----------------------------------------------------------------------------------------


def reset(handler: Any, _: int) -> None:
    """Half a picture, and then the connection is torn down."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(2000))
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.finish_now()


def endless(handler: Any, _: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(bytes(65536))


def drip(handler: Any, _: int, begin: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n") -> None:
    """A byte now and then, for ever."""
    handler.wfile.write(begin)
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b"x")


def drip_heads(handler: Any, number: int) -> None:
    drip(handler, number, b"HTTP/1.1 200 OK\r\nX-Long: ")


@pytest.mark.parametrize("workers", [0, 8])
def test_a_server_that_misbehaves(
    server: Server, tmp_path: Path, picture: Callable[..., bytes], workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [picture(seed) for seed in range(4)]
    to = {
        "/chain": "/chain2",
        "/chain2": "good.png",
        "/loop": "/loop",
        "/file": "file:///etc/passwd",
        "/ftp": "ftp://a/b",
    }
    server.answers |= {
        path: lambda handler, _, goal=goal: handler.send("302 Found", Location=goal) for path, goal in to.items()
    }
    server.answers |= {
        "/reset": reset,
        "/endless": endless,
        "/drip": drip,
        "/heads": drip_heads,
        "/gone": lambda handler, _: handler.send("404 Not Found"),
        "/bad": lambda handler, _: handler.send("500 Oh"),
        "/later": lambda handler, count: handler.send(*(("500 Oh",) if count == 1 else ("200 OK", good[1]))),
        "/busy": lambda handler, count: handler.send(
            *(("503 Busy",) if count < 3 else ("200 OK", good[2])), **{"Retry-After": "0"}
        ),
        "/never": lambda handler, _: handler.send("503 Busy", **{"Retry-After": "86400"}),
        "/once": lambda handler, count: reset(handler, 0) if count == 1 else handler.send("200 OK", good[3]),
        "/long": lambda handler, _: handler.send("200 OK", good[0], len(good[0]) + 9),
        "/short": lambda handler, _: handler.send("200 OK", good[0], len(good[0]) - 900),
        "/open": lambda handler, _: handler.send("200 OK", good[0], -1),
        "/large": lambda handler, _: handler.send("200 OK", b"", 10**12),
        "/nonsense": lambda handler, _: handler.wfile.write(b"\x00\x01nonsense\r\n\r\n") or handler.finish_now(),
        "/none": lambda handler, _: handler.finish_now(),
    }
    server.gives("/good.png", good[0])
    server.gives("/page.jpg", b"<!DOCTYPE html><title>Sorry</title>")
    server.gives("/bomb", gzip.compress(bytes(30_000_000)), Content_Encoding="gzip")
    server.gives("/packed", gzip.compress(good[0]), Content_Encoding="gzip")
    server.gives("/brotli", b"\x0b", Content_Encoding="br")
    server.gives("/empty", b"")
    expected = {
        "/good.png": SAVED,
        "/later": SAVED,
        "/busy": SAVED,
        "/once": SAVED,
        "/chain": SAME,
        "/open": SAME,
        "/packed": SAME,
        "/loop": "more than 10 redirects",
        "/file": "refused: redirected to file:/etc/passwd, expected http:// or https://",
        "/ftp": "refused: redirected to ftp://a/b, expected http:// or https://",
        "/gone": "404 Not Found",
        "/bad": "500 Oh",
        "/never": "503 Busy",
        "/drip": "not there within 0.3 s, or nothing came for 10 s",
        "/heads": "not there within 0.3 s, or nothing came for 10 s",
        "/endless": "larger than 1 MB",
        "/large": "larger than 1 MB",
        "/bomb": "larger than 1 MB",
        "/page.jpg": "no picture: a web page",
        "/empty": "not kept: the file is empty",
        "/brotli": "the answer is of the encoding br, which was not asked for",
    }
    begins = {
        "/reset": "the connection failed",
        "/long": "the connection failed",
        "/nonsense": "the connection failed",
        "/none": "the connection failed",
        "/short": "not kept: it is cut off after",
    }
    # What is the same as another comes after it.
    source = lists(tmp_path, odd=[server.at + path for path in [*expected, *begins]])
    options = {"workers": workers, "seconds": 0.3, "megabytes": 1, "retries": 2, "allow_private": True}
    frame = download(source, tmp_path / "out", **options)
    said = {url.removeprefix(server.at): outcome for url, outcome in outcomes(frame).items()}
    same = {path: {"same": SAVED}.get(words, words) for path, words in said.items()}
    assert {path: said[path] for path in expected if expected[path] not in (SAVED, SAME)} == {
        path: words for path, words in expected.items() if words not in (SAVED, SAME)
    }
    assert all(same[path] in (SAVED, SAME) for path in expected if expected[path] in (SAVED, SAME))
    assert {path: said[path][: len(words)] for path, words in begins.items()} == begins
    assert server.asked["/bad"] == server.asked["/reset"] == 3
    assert server.asked["/gone"] == server.asked["/never"] == server.asked["/page.jpg"] == 1
    files = sorted(each.read_bytes() for each in (tmp_path / "out/odd").iterdir())
    assert files == sorted(good)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["download.csv", "odd"]
    assert pd.read_csv(tmp_path / "out/download.csv", keep_default_na=False).equals(frame)
    assert "odd: 4 pictures of 26 URLs" in summary(frame)
    assert ("Traceback" in capsys.readouterr().out) == (workers == 0)


def test_retry_after_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FIRST_WAIT", 1.0)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    asked = ["7", date, "in a while", ""]
    server.answers["/busy"] = lambda handler, count: handler.send("429 Slowly", **{"Retry-After": asked[count - 1]})
    waits: list[float] = []
    with Fetcher(1, Limits(5, 1000, 3), allow_private=True) as fetcher:
        monkeypatch.setattr(fetcher._stopped, "wait", waits.append)
        with pytest.raises(Failed, match="429 Slowly"):
            fetcher.fetch(f"{server.at}/busy")
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert 3 <= waits[2] <= 5  # the third wait of its own: about four times the first


# --- What may be asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::8.8.8.8", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert addresses.is_public(address) == public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_private_addresses_are_refused(server: Server, host: str) -> None:
    server.gives("/", b"secret")
    with Fetcher(1, Limits(5, 1000, 3)) as fetcher, pytest.raises(Failed, match="refused: only this machine"):
        fetcher.fetch(f"http://{host}:{server.server_address[1]}/")
    assert not server.asked


def test_a_redirect_to_a_private_address_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    port = server.server_address[1]
    server.answers["/"] = lambda handler, _: handler.send("301 Moved", Location=f"http://127.0.0.2:{port}/secret")
    server.gives("/secret", b"secret")
    with Fetcher(1, Limits(5, 1000, 3)) as fetcher, pytest.raises(Failed, match="can reach 127.0.0.2"):
        fetcher.fetch(server.at)
    assert server.asked == {"/": 1}


def test_a_name_that_changes_its_address_is_asked_where_it_was_judged(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is looked up once for a connection, which is made to that very address."""
    real, looked_up = socket.getaddrinfo, []
    port = server.server_address[1]
    server.gives("/", b"good")

    def getaddrinfo(host: Any, *given: Any, **named: Any) -> Any:
        if host not in ("rebinding.test", b"rebinding.test"):
            return real(host, *given, **named)
        looked_up.append(host)
        return real("127.0.0.1" if len(looked_up) == 1 else "127.0.0.2", *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    server.answers["/end"] = lambda handler, _: handler.send("200 OK", b"good", -1)
    with Fetcher(1, Limits(5, 1000, 0)) as fetcher:
        assert fetcher.fetch(f"http://rebinding.test:{port}/end") == b"good"
        assert len(looked_up) == 1
        with pytest.raises(Failed, match=r"can reach rebinding.test \(127.0.0.2\)"):
            fetcher.fetch(f"http://rebinding.test:{port}/end")
    assert server.asked == {"/end": 1}


# --- Lists ------------------------------------------------------------------------------------------------------------


def test_lists_as_people_write_them(tmp_path: Path) -> None:
    folder = tmp_path / "urls"
    folder.mkdir()
    (folder / "teddy.txt").write_bytes(
        b"\xef\xbb\xbf# from a search\r\n  http://a/1.jpg \r\n\r\nhttp://a/my bear.jpg # good\r\nhttp://a/1.jpg#x\r\nhttp://a/1.jpg"
    )
    (folder / "brown bear.txt").write_text("data:image/png;base64,AAAA\n")
    (folder / "notes.md").write_text("http://no/")
    expected = [Wanted("brown bear", "data:image/png;base64,AAAA")]
    expected += [Wanted("teddy", f"http://a/{name}") for name in ("1.jpg", "my bear.jpg", "1.jpg#x")]
    assert wanted(folder) == expected
    assert wanted(folder / "teddy.txt") == expected[1:]


@pytest.mark.parametrize(
    "text", ["label,url\nteddy,http://a\n\nblack,\nblack,http://b\n", "http://a;teddy\nhttp://b;black"]
)
def test_a_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    assert wanted(tmp_path / "list.csv") == [Wanted("teddy", "http://a"), Wanted("black", "http://b")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "list.csv",
            "url,label\nhttp://a,../x\n",
            "row 2: expected a class that a folder can be called by, got '../x'",
        ),
        ("list.csv", "url,label\nhttp://a,\n", "row 2: expected a class"),
        ("list.csv", "url,kind\nhttp://a,x\n", "expected a column 'label', got 'url', 'kind'"),
        ("list.csv", "http://a,b,c\n", "expected a first row with the heads"),
        ("list.txt", "# nothing\n", "expected URLs, one a line"),
        (".hidden.txt", "http://a", "expected a class"),
        ("list.txt", "\udce4", "expected text in UTF-8"),
        ("folder/list.md", "", "there is no such file"),
    ],
)
def test_what_is_no_list(tmp_path: Path, name: str, text: str, said: str) -> None:
    if "/" not in name:
        (tmp_path / name).write_text(text, errors="surrogateescape")
    with pytest.raises(Error, match=said):
        wanted(tmp_path / name)


# --- The whole --------------------------------------------------------------------------------------------------------


def test_kinds_limits_and_going_on(server: Server, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    kinds = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
    many = [server.gives(f"/a/{number}.jpg", picture(number, kind)) for number, kind in enumerate(kinds)]
    inline = "data:image/png;base64," + base64.b64encode(picture(9)).decode()
    server.answers["/no.jpg"] = lambda handler, _: handler.send("404 Not Found")
    out = tmp_path / "bears"
    source = lists(tmp_path, many=[f"{server.at}/no.jpg", *many], one=[inline, many[0]])
    options: dict[str, Any] = {"allow_private": True, "workers": 4}
    frame = download(source, out, limit=3, **options)
    assert len(list((out / "many").iterdir())) == 3
    assert list(frame["outcome"]).count("not tried, for there are enough") == 3
    frame = download(source, out, **options)
    assert sorted(Path(file).suffix for file in frame["file"] if file.startswith("many/")) == sorted(kinds.values())
    assert frame["url"].iloc[-2].startswith("data:image/png;base64,")
    assert len(frame["url"].iloc[-2]) < 100
    asked = server.asked.copy()
    (out / frame["file"].iloc[1]).unlink()
    trash.apply(out, [frame["file"].iloc[2]], {frame["file"].iloc[3]: "one"})
    again = download(source, out, **options)
    # What failed, and what is neither there nor moved by the trainer itself.
    assert server.asked - asked == {"/no.jpg": 1, "/a/0.jpg": 1}
    assert list(again["file"]) == list(frame["file"])
    assert [outcome for outcome in again["outcome"] if outcome != SAVED] == ["404 Not Found", GONE, GONE]
    assert "many: 4 pictures of 7 URLs\n  2 moved away since" in summary(again)
    assert len(listing(out).names) == 7
    # Another URL of the picture that was thrown away.
    another = server.gives("/b.jpg", picture(1, "PNG"))
    more = download(lists(tmp_path, many=[*many, another]), out, **options)
    assert outcomes(more)[another] == GONE
    assert len(listing(out).names) == 7
    assert trash.undo(out) == 2
    assert GONE not in set(download(source, out, **options)["outcome"])


def test_cells_that_a_spreadsheet_would_calculate(
    server: Server, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    source = lists(tmp_path, **{"=1+1": [server.gives("/a", picture(0)), "=cmd|x"]})
    for _ in range(2):
        download(source, tmp_path / "out", allow_private=True)
    assert server.asked["/a"] == 1
    written = (tmp_path / "out/download.csv").read_text().splitlines()
    assert [line[:11] for line in written[1:]] == ["'=1+1,http:", "'=1+1,'=cmd"]


def test_nothing_to_be_had_and_no_place_to_put_it(tmp_path: Path) -> None:
    source = lists(tmp_path, teddy=["file:///etc/passwd"])
    result = CliRunner().invoke(main, ["download", str(source), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {source}: none of 1 URL gave a picture; file:///etc/passwd: refused: file:///etc/passwd, expected "
        "http:// or https://\n"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="cannot be written"):
        download(source, tmp_path / "file")
    (tmp_path / "out/download.csv").write_text("my,own\n1,2\n")
    with pytest.raises(Error, match="move it away"):
        download(source, tmp_path / "out")
    with pytest.raises(Error, match="workers: expected"):
        download(source, tmp_path / "out", workers=-1)


def test_only_one_at_a_time_and_ctrl_c(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    server.answers["/drip"] = lambda handler, count: asked.set() or drip(handler, count)
    source = lists(tmp_path, teddy=[f"{server.at}/drip"])

    def meanwhile(*_: Any) -> Any:
        asked.wait(5)
        with pytest.raises(Error, match="another download"):
            download(source, tmp_path / "out")
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.collect.download.SimpleQueue", lambda: SimpleNamespace(get=meanwhile, put=None))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        download(source, tmp_path / "out", allow_private=True)
    assert time.monotonic() - started < 5
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["download.csv"]


def test_command(server: Server, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    source = lists(tmp_path, teddy=[server.gives("/a", picture(0)), server.gives("/b", b"<html>")])
    out = tmp_path / "bears"
    result = CliRunner().invoke(main, ["download", str(source), str(out), "--allow-private"], catch_exceptions=False)
    assert result.output.splitlines() == [
        "teddy: 1 picture of 2 URLs",
        "  1 no picture: a web page",
        f"{out}/download.csv: what became of each URL",
    ]
    assert CliRunner().invoke(main, ["download", "--script"]).output.rstrip().endswith("})();")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is killed like this on Windows")
def test_killed_at_any_moment_it_goes_on() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK), "--kills", "15"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("15 times killed"), done.stdout
