"""A web page of a program's own, for the person in front of this computer and nobody else.

It listens on 127.0.0.1. Its address has a random token in it, and what does not know that is refused: other people of
this computer, and pages of other sites. Those could also have their own name lead to 127.0.0.1 (DNS rebinding), which
the Host header tells, or send a form here, which Sec-Fetch-Site and Origin tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sgdsheet.errors import Error, one_line

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # by which a browser may call it
READING = ("GET", "HEAD")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class LocalServer:
    """Serves an ASGI application at `url`, on a port that is free, or on this one.

    The application sees its paths without the token; its pages are to link to each other by relative addresses, as
    `apply` or `picture/3`. Raises `Error` if the port is taken.
    """

    def __init__(self, app: App, port: int = 0) -> None:
        self._socket = _bound(port)
        self.port = int(self._socket.getsockname()[1])
        self.token = secrets.token_urlsafe(24)
        self.url = f"http://{HOST}:{self.port}/{self.token}/"
        self._server = _uvicorn(guarded(app, self.token, self.port))
        self._thread: threading.Thread | None = None

    def run(self, browser: bool = True) -> None:
        """Serves until Ctrl-C, or until `end` is called; with `browser` the page is opened in one."""
        if browser:
            threading.Thread(target=_open, args=(self.url,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends in order, and then passes it on
            self._server.run([self._socket])
        self._socket.close()

    def start(self) -> None:
        """Serves in a thread until `end` is called or the program ends; returns at once."""
        self._thread = threading.Thread(target=self.run, args=(False,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ends after the answers that are under way."""
        self._server.should_exit = True

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until what `start` began has ended, at most so long; returns whether it has."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()


def guarded(app: App, token: str, port: int) -> App:
    """Returns an application that refuses, with 403, whatever does not come from its own pages.

    It answers only under `/TOKEN/`, when it is called by the name of this computer; what changes something must come
    from a page of the same address.
    """
    names = {f"{name}:{port}".encode() for name in NAMES}

    async def answer(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":  # a web socket: there is none
            return await send({"type": "websocket.close"})
        headers = dict(scope["headers"])
        why = _why_not(scope["method"], headers, names)
        given, slash, rest = scope["path"].removeprefix("/").partition("/")
        if why is None and not secrets.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            why = "the address lacks its token; open the one that the program has printed"
        if why is not None:
            return await _say(send, 403, f"Refused: {why}.\n")
        if not slash:
            return await _say(send, 307, "", [(b"location", f"/{token}/".encode())])
        inner = {**scope, "path": f"/{rest}", "raw_path": None, "root_path": ""}
        return await app(inner, receive, send)

    return answer


def _why_not(method: str, headers: dict[bytes, bytes], names: set[bytes]) -> str | None:
    """Why a request is refused whatever it asks for, None if it is not."""
    if headers.get(b"host", b"").lower() not in names:
        return "this page is for the browser of this computer alone"
    if method in READING:
        return None
    origin, site = headers.get(b"origin", b"null"), headers.get(b"sec-fetch-site", b"same-origin")
    if site != b"same-origin" or (origin != b"null" and origin.removeprefix(b"http://").lower() not in names):
        return "it was sent by a page of another address"
    if origin == b"null" and b"origin" in headers and b"sec-fetch-site" not in headers:
        return "the browser does not say which page has sent it"
    return None


async def _say(send: Any, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *(headers or [])]})
    await send({"type": "http.response.body", "body": text.encode()})


def _bound(port: int) -> socket.socket:
    """A socket that listens already: a browser that comes before the server is ready waits."""
    made = socket.socket()
    try:
        made.bind((HOST, port))
        made.listen(128)
    except (OSError, OverflowError) as error:
        made.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program uses it; choose another one, or none" if taken else one_line(error)
        raise Error(f"port {port}: {why}") from None
    return made


def _uvicorn(app: App) -> Any:
    import uvicorn

    logging.getLogger("uvicorn.error").addFilter(_is_no_end)
    quiet = {"log_config": None, "log_level": "error", "access_log": False, "server_header": False}
    return uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", timeout_graceful_shutdown=2, **quiet))


def _is_no_end(record: logging.LogRecord) -> bool:
    """Whether a message is of something else than an answer that the program's end has cut off, which is no error."""
    cut_off = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut_off and "graceful shutdown exceeded" not in record.getMessage()


def _open(url: str) -> None:
    """Opens a browser with a window of its own; one in the terminal would only be in the way."""
    with contextlib.suppress(webbrowser.Error):
        found = webbrowser.get()
        if type(found) is not webbrowser.GenericBrowser:
            found.open(url)
