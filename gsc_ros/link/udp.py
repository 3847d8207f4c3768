"""Datagrams over UDP, the default."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

from gsc_ros.link.transport import TransportError

HEADERS = 28  # IPv4 and UDP
HEADERS_V6 = 48


def address(text: str, *, what: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; raises TransportError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise TransportError(f"{what} {text!r}: HOST:PORT is expected, e.g. 0.0.0.0:47000")
    return host.strip("[]"), int(port)


class UdpTransport:
    """One socket. Without a ``remote`` it answers whoever sent the last datagram that was not refused."""

    def __init__(self, *, local: str, remote: str = "") -> None:
        self._socket: socket.socket | None = None
        host, port = address(local, what="local address")
        try:
            if remote:
                name, number = address(remote, what="remote address")
                family, _, _, _, peer = socket.getaddrinfo(name, number, type=socket.SOCK_DGRAM)[0]
            else:
                family, peer = (socket.AF_INET6 if ":" in host else socket.AF_INET), None
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6 and not host:
                host = "::"
            self._socket.bind((host, port))
        except OSError as error:
            raise TransportError(
                f"UDP from {local} to {remote or 'whoever calls'}: {error.strerror or error}"
            ) from error
        self._socket.setblocking(False)
        self._fixed = peer is not None
        self._peer: Any = peer
        self._headers = HEADERS_V6 if family == socket.AF_INET6 else HEADERS
        self._from: Any = None
        self.trouble = ""

    @property
    def port(self) -> int:
        """The local port."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    @property
    def peer(self) -> str:
        if self._peer is None:
            return ""
        host, port = self._peer[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"

    def cost(self, datagram: bytes) -> int:
        return len(datagram) + self._headers

    def send(self, datagram: bytes) -> None:
        self._send(datagram, self._peer)

    def answer(self, datagram: bytes) -> None:
        """Send to where the datagram received last came from, or to the fixed peer."""
        self._send(datagram, self._peer if self._fixed else self._from)

    def _send(self, datagram: bytes, to: Any) -> None:
        if self._socket is None or to is None:
            return
        try:
            self._socket.sendto(datagram, to)
            if to == self._peer:
                self.trouble = ""
        except (BlockingIOError, ConnectionRefusedError):  # a full buffer, nobody there: lost, as on any link
            pass
        except OSError as error:
            if to == self._peer:
                self.trouble = f"UDP to {self.peer}: {error.strerror or error}"

    def receive(self, timeout_s: float) -> bytes | None:
        if self._socket is None:
            return None
        try:
            if not select.select([self._socket], [], [], timeout_s)[0]:
                return None
            datagram, self._from = self._socket.recvfrom(65_535)
        except (OSError, ValueError):
            # The far port is closed, or this socket was just now, or whatever it is: next time, and not at once.
            time.sleep(timeout_s)
            return None
        return datagram

    def accepted(self) -> None:
        """The last datagram was genuine: answers go where it came from."""
        if not self._fixed:
            self._peer = self._from

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
