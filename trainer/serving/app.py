"""The server: a page to drop pictures on, and the same for programs.

A request is taken in only while fewer than `most` are at work, so that neither memory nor waiting grows without end;
its body is read into memory up to `MOST_BYTES`, and nothing of it is written to disk. Pictures are judged by the
predictor's threads. What a visitor who has gone had sent is not judged any more.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sgdsheet.errors import Ended, Error, one_line
from sgdsheet.pictures import TooLarge, Unreadable
from trainer import web
from trainer.serving.forms import files
from trainer.serving.openapi import description
from trainer.serving.predictor import MOST_BYTES, Prediction, Predictor, require_small

MOST_READ = 2 * MOST_BYTES  # of one that is too large: whoever is cut off while sending may not see the answer
MOST_PICTURES = 32  # in one request
BODY_SECONDS = 60.0  # in which a body is to arrive
MOST_WAITING = 64  # requests at work
STOPPING_SECONDS = 10  # that requests at work have when the server is to end


class Refusal(Exception):  # noqa: N818 - it says why a request is not answered
    """Why a request gets no predictions: the status, and a line for a person."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


def application(predictor: Predictor, most: int = MOST_WAITING) -> Starlette:
    """Returns the application that answers with what the predictor says, at most so many requests at a time."""
    at_work = 0

    async def predict(request: Request) -> Response:
        nonlocal at_work
        if at_work >= most:
            raise Refusal(
                503, f"{most} requests are at work; try again in a second", Retry_After="1", Connection="close"
            )
        at_work += 1
        try:
            top = _top(request)
            pictures = await _pictures(request)
            results = await _judged(request, predictor, pictures)
        finally:
            at_work -= 1
        judged = [each for each in results if isinstance(each, Prediction)]
        refused = [each for each in results if isinstance(each, Refusal)]
        if not judged:
            name = "" if len(pictures) == 1 else f"{pictures[0][0]}: "
            raise Refusal(refused[0].status, f"{name}{refused[0]}")
        said = [
            each.said(top) if isinstance(each, Prediction) else {"name": name, "error": str(each)}
            for (name, _), each in zip(pictures, results, strict=True)
        ]
        return _json({"results": said})

    async def health(request: Request) -> Response:
        return _json({"status": "ok", "classes": len(predictor.card.classes), "at_work": at_work})

    async def page(request: Request) -> Response:
        return web.page("serve.html", title=predictor.path.stem, card=predictor.card)

    async def openapi(request: Request) -> Response:
        return _json(description(predictor.path.stem, predictor.card))

    def file(name: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return web.file(name)

        return answer

    routes = [
        Route("/", page),
        Route("/predict", predict, methods=["POST"]),
        Route("/healthz", health),
        Route("/openapi.json", openapi),
        *(Route(f"/{name}", file(name)) for name in ("style.css", "serve.css", "serve.js")),
    ]
    handlers: dict[Any, Any] = {Refusal: _refused, HTTPException: _not_there, ClientDisconnect: _gone}
    return Starlette(routes=routes, exception_handlers=handlers)


# --- What is asked ----------------------------------------------------------------------------------------------------


def _top(request: Request) -> int | None:
    """How many classes are to be named, all by default."""
    given = request.query_params.get("top")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and 0 < len(given) < 10 and int(given)):
        raise Refusal(422, f"top: expected a whole number from 1, got {one_line(given, 40)!r}")
    return int(given)


async def _pictures(request: Request) -> list[tuple[str, bytes]]:
    """The names and contents of the pictures in a request: the files of a form, or the body itself."""
    try:
        body = await asyncio.wait_for(_body(request), BODY_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        raise Refusal(408, f"the body was not there within {BODY_SECONDS:g} s", Connection="close") from None
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        if not body:
            raise Refusal(415, "the body is empty; expected a picture")
        return [("picture", body)]
    try:
        found = files(kind, body)
    except ValueError as error:
        raise Refusal(400, f"the form cannot be read: {one_line(error)}") from None
    if not found:
        raise Refusal(415, "there is no file in the form; expected a picture")
    if len(found) > MOST_PICTURES:
        raise Refusal(413, f"expected at most {MOST_PICTURES} pictures, got {len(found)}")
    return found


async def _body(request: Request) -> bytes:
    said = request.headers.get("content-length", "")
    large = Refusal(413, f"expected at most {MOST_BYTES / 2**20:g} MB", Connection="close")
    if said.isdigit() and int(said) > MOST_READ:
        raise large
    body, length = bytearray(), 0
    async for piece in request.stream():
        length += len(piece)
        if length <= MOST_BYTES:
            body += piece
        if length > MOST_READ:
            raise large
    if length > MOST_BYTES:
        raise large
    return bytes(body)


# --- What is answered -------------------------------------------------------------------------------------------------


async def _judged(
    request: Request, predictor: Predictor, pictures: list[tuple[str, bytes]]
) -> list[Prediction | Refusal]:
    """Each picture's prediction, or why there is none. Ends early where nobody waits any more."""
    judging = asyncio.gather(*(_one(predictor, *each) for each in pictures))
    judging.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # or asyncio logs what was dropped
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({judging, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not judging.done():
            raise ClientDisconnect
        return judging.result()
    finally:
        leaving.cancel()
        judging.cancel()


async def _one(predictor: Predictor, name: str, content: bytes) -> Prediction | Refusal:
    try:
        await asyncio.to_thread(require_small, content)
    except TooLarge as error:
        return Refusal(422, str(error))
    except Unreadable as error:
        return Refusal(415, str(error))
    found = await asyncio.wrap_future(predictor.submit(content))
    if isinstance(found, Unreadable):
        return Refusal(422, str(found))
    return predictor.judged(name, found)


async def _left(request: Request) -> None:
    """Returns when the visitor has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(said: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(said), status, {**web.HEADERS, **(headers or {})}, "application/json")


async def _refused(request: Request, refusal: Any) -> Response:
    return _json({"error": str(refusal)}, refusal.status, refusal.headers)


async def _not_there(request: Request, error: Any) -> Response:
    return _json({"error": error.detail}, error.status_code, dict(error.headers or {}))


async def _gone(request: Request, error: Any) -> Response:
    return Response(status_code=499)  # which nobody will see


# --- The server -------------------------------------------------------------------------------------------------------


def listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; port 0 is any that is free. Raises `Error` where that cannot be."""
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(kind[4][:2], family=kind[0], backlog=256)
    except (OSError, OverflowError, UnicodeError) as error:
        why = one_line(getattr(error, "strerror", None) or error)
        raise Error(f"--host {host} --port {port}: cannot be listened at: {why}") from None


def address(listener: socket.socket) -> str:
    """The address of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(app: Starlette, listener: socket.socket) -> None:
    """Serves until a signal asks for the end; requests that are at work then are still answered."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=STOPPING_SECONDS,
    )
    with suppress(KeyboardInterrupt, Ended):  # uvicorn has ended in order, and raises the signal again
        uvicorn.Server(config).run(sockets=[listener])
