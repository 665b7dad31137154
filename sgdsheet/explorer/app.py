"""The explorer in a browser: a page of this computer alone, a session for each of its windows."""

from __future__ import annotations

import json
import mimetypes
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sgdsheet.errors import Error, one_line
from sgdsheet.explorer.session import Session
from sgdsheet.lessons import Lesson
from sgdsheet.local_server import LocalServer

WEB = Path(__file__).parent / "web"
FILES = sorted(each.name for each in WEB.iterdir() if each.suffix in (".js", ".css"))
MOST_WINDOWS = 8
MOST_BYTES = 4_000_000  # of a message: what a person pastes
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Answering(Protocol):
    """What a window asks, as a `Session` is; from several threads."""

    def answer(self, message: dict[str, Any]) -> Any: ...


def serve(path: Path, *, lesson: Lesson | None = None, port: int = 0, browser: bool = True) -> None:
    """Shows a workbook in the browser until Ctrl-C, and prints its address; the file is never changed.

    Arguments:
      path: the .xlsx file.
      lesson: the lesson that made it, if that is none of the catalogue.
      port: where to listen on 127.0.0.1; by default any port that is free.
      browser: whether to open the page in a browser.

    Raises `Error`, before anything is printed, for a file that cannot be read and a port that is taken.
    """
    first = [Session(path, lesson)]  # the first window need not wait, and a bad file is found now
    server = LocalServer(application(lambda: first.pop() if first else Session(path, lesson)), port)
    click.echo(f"{path.name} is shown at {server.url} until Ctrl-C")
    server.run(browser)


def application(load: Callable[[], Answering]) -> Starlette:
    """Returns the page and what answers it; `load` makes the session of a new window."""
    windows = Windows(load)

    async def new(request: Request) -> Response:
        return _json({"session": await run_in_threadpool(windows.new)})

    async def ask(request: Request) -> Response:
        message = await _message(request)
        return _json(await run_in_threadpool(windows.answer, request.path_params["session"], message))

    routes = [
        Route("/", _file("page.html")),
        *(Route(f"/{name}", _file(name)) for name in FILES),
        Route("/new", new, methods=["POST"]),
        Route("/ask/{session}", ask, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={Error: _refused, Exception: _failed})


class Windows:
    """The sessions of the windows that are open, at most `most`: then the one that was unused longest is closed."""

    def __init__(self, load: Callable[[], Answering], most: int = MOST_WINDOWS) -> None:
        self._load, self._most = load, most
        self._open: OrderedDict[str, Answering] = OrderedDict()
        self._guard = threading.Lock()

    def new(self) -> str:
        """Loads a session and returns its name."""
        session, name = self._load(), secrets.token_urlsafe(12)
        with self._guard:
            self._open[name] = session
            while len(self._open) > self._most:
                self._open.popitem(last=False)
        return name

    def answer(self, name: str, message: dict[str, Any]) -> Any:
        """Returns what a window's session answers. Raises `Error` if it was closed."""
        with self._guard:
            if name not in self._open:
                raise Error(f"this window was closed, for {self._most} newer ones were opened; reload the page")
            self._open.move_to_end(name)
            session = self._open[name]
        return session.answer(message)


async def _message(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise Error(f"expected a message of at most {MOST_BYTES / 1e6:g} MB; change fewer cells at once")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise Error("expected a message in JSON") from None
    if not isinstance(message, dict):
        raise Error(f"expected a message as a JSON object, got {one_line(message, 40)!r}")
    return message


def _file(name: str) -> Callable[[Request], Response]:
    kind = {".js": "text/javascript", ".css": "text/css"}.get(Path(name).suffix) or mimetypes.guess_type(name)[0]
    return lambda request: Response((WEB / name).read_bytes(), 200, HEADERS, kind)


def _json(answer: Any, status: int = 200) -> Response:
    return JSONResponse(answer, status, HEADERS)


def _refused(request: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400)


def _failed(request: Request, error: Exception) -> Response:
    """A fault of this program: the window says so, and the terminal has the whole of it."""
    return _json({"error": f"the explorer failed ({type(error).__name__}: {one_line(error)}); please report this"}, 500)
