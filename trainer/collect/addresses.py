"""Which machines may be asked: a list of URLs is not to be trusted with what only this machine can reach.

A host's name is looked up once, here, and the connection is made to the very address that was judged, whatever the name
leads to a moment later, and so again for each redirect. Certificates are checked against the name as ever.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(httpcore.ConnectError):
    """An address that is not to be asked."""


def is_public(text: str) -> bool:
    """Whether an address, IPv4 or IPv6, is one of the open internet; one that holds an IPv4 address is as that is."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in NAT64 or int(address) >> 32 == 0:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(each is not None and not is_public(str(each)) for each in inner):
            return False
        if address.ipv4_mapped is not None or address in NAT64:
            return True
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class NoHost(httpcore.ConnectError):
    """A name that leads to no address."""


class Clock(threading.local):
    """What `time.monotonic` may say at most before a thread gives up what it is at."""

    until = 0.0

    def begin(self, seconds: float) -> None:
        """From now on this thread has so many seconds."""
        self.until = time.monotonic() + seconds

    def left(self, timeout: float | None) -> float:
        """How many seconds this thread may wait, `timeout` at most. Raises `httpcore.ReadTimeout` if that is none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("its time is over")
        return left if timeout is None else min(left, timeout)


def connections(count: int, clock: Clock, allow_private: bool) -> httpcore.ConnectionPool:
    """So many connections at once, kept open for further requests, to addresses that may be asked."""
    return httpcore.ConnectionPool(
        ssl_context=_certificates(),
        max_connections=count,
        max_keepalive_connections=count,
        keepalive_expiry=10,
        network_backend=_Backend(clock, allow_private),
    )


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whose certificates are trusted; to read them takes longer than many a download."""
    return httpx.create_ssl_context()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, clock: Clock, allow_private: bool) -> None:
        self._plain, self._clock, self._allow_private = httpcore.SyncBackend(), clock, allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port)
        allowed = [each for each in addresses if self._allow_private or is_public(each)]
        if not allowed:
            who = host if host == addresses[0] else f"{host} ({addresses[0]})"
            raise Refused(f"only this machine or its network can reach {who}")
        for address in allowed:
            try:
                stream = self._plain.connect_tcp(
                    address, port, self._clock.left(timeout), local_address, socket_options
                )
                return _Stream(stream, self._clock)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if address == allowed[-1]:
                    raise
        raise AssertionError


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        kind = httpcore.ConnectError if getattr(error, "errno", None) == socket.EAI_AGAIN else NoHost
        raise kind(f"there is no host {host}") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Stream(httpcore.NetworkStream):
    """A connection whose reader gives up when its thread's time is over, however little comes at a time."""

    def __init__(self, plain: httpcore.NetworkStream, clock: Clock) -> None:
        self._plain, self._clock = plain, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._plain.read(max_bytes, self._clock.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, self._clock.left(timeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._plain.start_tls(ssl_context, server_hostname, self._clock.left(timeout)), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)
