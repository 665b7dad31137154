"""A server on this machine that does what a test tells it to, over raw connections."""

from __future__ import annotations

import io
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Called with the connection's handler, and how often this path has been asked for.
Answer = Callable[["Handler", int], None]


class Handler(socketserver.StreamRequestHandler):
    """One connection: any number of requests, each answered as the server's `answers` say for its path."""

    disable_nagle_algorithm = True
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        try:
            while line := self.rfile.readline():
                path = line.split()[1].decode()
                while self.rfile.readline().strip():
                    pass
                self.server.asked[path] += 1
                self.server.answers.get(path, missing)(self, self.server.asked[path])
        except (OSError, ValueError):  # the client has gone, or the answer closed the connection
            pass

    def send(self, status: str, content: bytes = b"", length: int | None = None, **headers: str) -> None:
        """A whole answer; `length` is what it says of its content, -1 for nothing and to close the connection."""
        lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        if length != -1:
            lines.append(f"Content-Length: {len(content) if length is None else length}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + content)
        if length is not None:
            self.finish_now()

    def finish_now(self) -> None:
        self.wfile.flush()
        raise ValueError


def missing(handler: Handler, _: int) -> None:
    handler.send("404 Not Found")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()
        self.at = f"http://127.0.0.1:{self.server_address[1]}"

    def gives(self, path: str, content: bytes, **headers: Any) -> str:
        """Answers a path with this content, and returns its URL."""
        self.answers[path] = lambda handler, _: handler.send("200 OK", content, **headers)
        return self.at + path


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Makes a picture's file from a seed."""

    def make(seed: int, kind: str = "PNG", side: int = 40) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        return file.getvalue()

    return make
