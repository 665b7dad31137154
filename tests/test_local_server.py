"""Who is let in to a page of this computer, and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import urllib.request
from typing import Any

import pytest

from sgdsheet.local_server import LocalServer, guarded

HOST = "127.0.0.1:8123"
OWN = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def ask(method: str, path: str, **headers: str) -> tuple[int, str | None]:
    """The status, and which path the application behind the guard has seen."""
    seen: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(guarded(app, "secret", 8123)(scope, None, send))  # type: ignore[arg-type]
    return sent[0]["status"], seen[0] if seen else None


def test_its_own_pages_are_let_in_without_the_token_in_their_paths() -> None:
    assert ask("GET", "/secret/") == (200, "/")
    assert ask("GET", "/secret/a/b", host="localhost:8123") == (200, "/a/b")
    assert ask("GET", "/secret/", sec_fetch_site="cross-site") == (200, "/")  # a link in a notebook
    assert ask("POST", "/secret/apply", **FORM, **OWN) == (200, "/apply")
    assert ask("POST", "/secret/apply", origin="null", sec_fetch_site="same-origin") == (200, "/apply")
    assert ask("POST", "/secret/apply", origin=f"http://{HOST}") == (200, "/apply")  # an old browser
    assert ask("POST", "/secret/apply") == (200, "/apply")  # a program that knows the token
    assert ask("GET", "/secret")[0] == 307


@pytest.mark.parametrize("path", ["/", "/secre/", "/secret2/", "//secret/", "/apply", "/s\u00e9cret/", "/SECRET/"])
def test_without_the_token_there_is_nothing(path: str) -> None:
    assert ask("GET", path) == (403, None)
    assert ask("POST", path, **OWN) == (403, None)


@pytest.mark.parametrize(
    "host", ["evil.example:8123", "127.0.0.1", "127.0.0.1:8124", "127.0.0.1.evil.example:8123", ""]
)
def test_another_name_for_this_computer_is_refused(host: str) -> None:
    assert ask("GET", "/secret/", host=host) == (403, None)
    assert ask("POST", "/secret/apply", host=host, **OWN) == (403, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},  # another program of this computer
        {"origin": f"https://{HOST}"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_what_changes_something_must_come_from_its_own_pages(headers: dict[str, str]) -> None:
    assert ask("POST", "/secret/apply", **headers) == (403, None)
    assert ask("DELETE", "/secret/apply", **headers) == (403, None)


def test_an_answer_that_the_end_cuts_off_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.sleep(600)

    def call() -> None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(server.url, timeout=60)

    server = LocalServer(slow)
    server.start()
    caller = threading.Thread(target=call)
    caller.start()
    assert begun.wait(30)
    server.end()
    assert server.wait(30)
    caller.join()
    assert [record.getMessage() for record in caplog.records] == []
