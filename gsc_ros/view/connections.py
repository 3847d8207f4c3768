"""Who may connect to the operator's page: how many at once, for how long without a word, and under which name.

A connection has its one request answered within ``LIFE_S``, or it becomes the page's websocket.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

MOST = 64  # connections at once
MOST_FROM_ONE = 16  # of them from one address
LIFE_S = 10.0  # of a connection that is no websocket: half a request, a page that nobody reads
MOST_HEAD = 32_768  # bytes before a request is answered


class Connections:
    """Makes the protocol of each connection of a server out of ``make``'s, and ends those that take too much."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._open: dict[asyncio.Transport, _Bounded] = {}

    def __call__(self) -> asyncio.Protocol:
        return _Bounded(self)

    def stays(self, transport: Any) -> None:
        """The connection of ``transport`` is a websocket now: it has no end of its own."""
        if transport in self._open:
            self._open[transport].unbind()

    def ends(self, transport: Any) -> None:
        """It was one: what it has not taken by ``LIFE_S`` from now is dropped."""
        if transport in self._open:
            self._open[transport].bind()

    def admit(self, transport: asyncio.Transport, protocol: _Bounded) -> Any:
        """The protocol that serves ``transport``; None where there are too many."""
        address = _address(transport, "peername")
        same = sum(_address(other, "peername") == address for other in self._open)
        if len(self._open) >= MOST or same >= MOST_FROM_ONE:
            return None
        self._open[transport] = protocol
        return self._make()

    def gone(self, transport: asyncio.Transport) -> None:
        """``transport`` is closed."""
        self._open.pop(transport, None)


class _Bounded(asyncio.Protocol):
    """Passes everything on to the server's own protocol, within the bounds."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._inner: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._left: int | None = MOST_HEAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._inner = self._connections.admit(transport, self)
        if self._inner is None:
            transport.abort()
            return
        self.bind()
        self._inner.connection_made(transport)

    def bind(self) -> None:
        """From now on the connection has ``LIFE_S``."""
        self._timer = asyncio.get_running_loop().call_later(LIFE_S, self._transport.abort)

    def unbind(self) -> None:
        """It may stay, and send what it likes: the websocket has bounds of its own."""
        if self._timer is not None:
            self._timer.cancel()
        self._left = None

    def data_received(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._transport.abort()
                return
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connections.gone(self._transport)
        if self._inner is not None:
            self._inner.connection_lost(exc)


class Names:
    """The names under which the page may be asked for: a page elsewhere that a name server points here has another."""

    def __init__(self, host: str) -> None:
        self._names = {"localhost", "127.0.0.1", "[::1]", in_url(host)}
        if not is_loopback(host):
            own = socket.gethostname().lower()
            self._names |= {own, f"{own.split('.')[0]}.local"}

    def known(self, host: str, transport: Any) -> bool:
        """Whether ``host``, a request's Host header, is a name of this server and its port."""
        address, port = _address(transport, "sockname"), transport.get_extra_info("sockname")[1]
        names = self._names | {in_url(address)}
        return host.lower() in {f"{name}:{port}" for name in names} | (names if port == 80 else set())


def _address(transport: Any, end: str) -> str:
    """The IP address of one ``end`` of a connection, without its scope, IPv4 as such."""
    address = str((transport.get_extra_info(end) or ("",))[0]).partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def in_url(host: str) -> str:
    """``host`` as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]".lower() if ":" in host else host.lower()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
