"""One URL: its content, or why there is none. Limits in time, bytes and redirects; tries again where that may help."""

from __future__ import annotations

import base64
import email.utils
import random
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from sgdsheet import __version__
from sgdsheet.errors import one_line
from trainer.collect import addresses
from trainer.collect.addresses import Clock, NoHost, Refused

REDIRECTS = 10
LONGEST_WAIT = 60.0  # seconds that a server may ask to wait before another try
FIRST_WAIT = 0.5  # seconds before the second try, about; twice that before the next, and so on
SILENCE = 10.0  # seconds in which nothing comes
REDIRECTED = {301, 302, 303, 307, 308}
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be another next time
HEADERS = [
    ("User-Agent", f"Mozilla/5.0 (compatible; sgdsheet/{__version__}; trainer download)"),
    ("Accept", "image/*,*/*;q=0.8"),
    ("Accept-Encoding", "identity"),  # pictures are compressed as they are
]


class Failed(Exception):  # noqa: N818 - it says what became of a URL
    """A URL without content; the text says why in a few words. `again` is whether another try may help.

    `after` is how many seconds the server asked to wait for that.
    """

    def __init__(self, why: str, again: bool = False, after: float | None = None) -> None:
        super().__init__(why)
        self.again, self.after = again, after


@dataclass(frozen=True)
class Limits:
    """Of one URL: `seconds` for each try, `bytes`, and how often it is tried again."""

    seconds: float
    bytes: int
    retries: int


class Fetcher:
    """Fetches URLs, from several threads if need be, over connections that are kept open.

    With `allow_private` also from addresses that only this machine or its network can reach.
    """

    def __init__(self, connections: int, limits: Limits, allow_private: bool = False) -> None:
        self.limits = limits
        self._stopped, self._clock = threading.Event(), Clock()
        self._pool = addresses.connections(connections, self._clock, allow_private)

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def stop(self) -> None:
        """Lets what other threads fetch end soon, without content."""
        self._stopped.set()

    def fetch(self, url: str) -> bytes:
        """Returns what is at a URL. Raises `Failed`."""
        if url[:5].lower() == "data:":
            return _inline(url, self.limits.bytes)
        tries = 0
        while True:
            try:
                return self._once(url)
            except Failed as failed:
                wait = FIRST_WAIT * 2**tries * random.uniform(0.75, 1.25) if failed.after is None else failed.after
                if not failed.again or tries == self.limits.retries or wait > LONGEST_WAIT:
                    raise
                tries += 1
                if self._stopped.wait(wait):
                    raise

    def _once(self, text: str) -> bytes:
        self._clock.begin(self.limits.seconds)
        waits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), SILENCE)}
        try:
            url = _checked(text)
            for _ in range(REDIRECTS + 1):
                where = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
                with self._pool.stream("GET", where, headers=HEADERS, extensions=waits) as response:
                    heads = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                    if response.status not in REDIRECTED or b"location" not in heads:
                        return self._content(response, heads)
                url = _checked(str(url.join(heads[b"location"])), "redirected to ")
            raise Failed(f"more than {REDIRECTS} redirects")
        except Failed:
            raise
        except Refused as refused:
            raise Failed(f"refused: {refused}") from refused
        except NoHost as error:
            raise Failed(str(error)) from error
        except httpx.InvalidURL as error:
            raise Failed(f"no URL: {one_line(error)}") from error
        except httpcore.TimeoutException as error:
            raise Failed(self._late(), again=True) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Failed(_broken(error), again="CERTIFICATE" not in str(error)) from error
        except Exception as error:  # a header or a body that says nonsense
            raise Failed(f"the answer cannot be read: {one_line(error)}") from error

    def _content(self, response: httpcore.Response, heads: Mapping[bytes, str]) -> bytes:
        code = response.status
        if code != 200:
            reason = one_line(response.extensions.get("reason_phrase", b"").decode("latin-1"), 60)
            raise Failed(f"{code} {reason}".strip(), code in PASSING, _seconds(heads.get(b"retry-after", "")))
        most = self.limits.bytes
        told = heads.get(b"content-length", "")
        if told.isdecimal() and int(told) > most:
            raise Failed(f"larger than {most / 1e6:g} MB")
        encoding = heads.get(b"content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "deflate"):
            raise Failed(f"the answer is of the encoding {one_line(encoding, 20)}, which was not asked for")
        unpacked = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
        content = bytearray()
        for piece in response.iter_stream():
            if self._stopped.is_set():
                raise Failed("stopped")
            # No more is unpacked than may be: a few bytes can stand for millions.
            content += piece if unpacked is None else unpacked.decompress(piece, most + 1 - len(content))
            if len(content) > most:
                raise Failed(f"larger than {most / 1e6:g} MB")
        if unpacked is not None and not unpacked.eof:
            raise Failed("the answer is cut off", again=True)
        return bytes(content)

    def _late(self) -> str:
        return f"not there within {self.limits.seconds:g} s, or nothing came for {SILENCE:g} s"


def _checked(text: str, how: str = "") -> httpx.URL:
    """Raises `Failed` for anything but http and https."""
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise Failed(f"refused: {how}{one_line(text, 60)}, expected http:// or https://")
    return url


def _broken(error: Exception) -> str:
    said = one_line(error)
    if "CERTIFICATE" in said:
        return "the server's certificate is not to be trusted"
    return f"the connection failed: {said}"


def _inline(url: str, most: int) -> bytes:
    """The content of a `data:` URL, RFC 2397."""
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise Failed("no data: URL: there is no comma in it")
    content = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            content = base64.b64decode(b"".join(content.split()) + b"==")
        except ValueError:
            raise Failed("no data: URL: it is not in base64") from None
    if len(content) > most:
        raise Failed(f"larger than {most / 1e6:g} MB")
    return content


def _seconds(retry_after: str) -> float | None:
    """What a server asks to wait, a number or a date."""
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
