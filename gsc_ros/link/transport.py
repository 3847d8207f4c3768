"""What carries datagrams: one small interface, one file for each way."""

from __future__ import annotations

from typing import Protocol


class TransportError(ValueError):
    """A transport that cannot be opened; the message says what to do."""


class Transport(Protocol):
    """Carries whole datagrams, or loses them."""

    @property
    def trouble(self) -> str:
        """What is wrong with it now, in one line; empty for nothing."""
        ...

    @property
    def peer(self) -> str:
        """Where datagrams go, for people to read; empty while there is nobody to send to."""
        ...

    def cost(self, datagram: bytes) -> int:
        """Bytes that ``datagram`` takes on the wire, with every header."""
        ...

    def send(self, datagram: bytes) -> None:
        """Send, without waiting; a datagram that cannot go is lost."""
        ...

    def answer(self, datagram: bytes) -> None:
        """Send to where the datagram received last came from, whoever that is; where the peer is fixed, to it."""
        ...

    def receive(self, timeout_s: float) -> bytes | None:
        """The next datagram, waiting for it at most so long; never raises, and never returns at once for ever."""
        ...

    def accepted(self) -> None:
        """The datagram received last was genuine; where the peer is not fixed, it is the one to answer."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


def open_transport(
    kind: str,
    *,
    side: str = "robot",
    local: str = "",
    remote: str = "",
    serial_device: str = "",
    baud: int = 9600,
    zenoh_key: str = "gsc",
) -> Transport:
    """The transport called ``kind`` (udp, serial or zenoh), with what it needs of the rest; raises TransportError."""
    if kind == "udp":
        from gsc_ros.link.udp import UdpTransport

        return UdpTransport(local=local, remote=remote)
    if kind == "serial":
        from gsc_ros.link.serial_line import SerialTransport

        return SerialTransport(serial_device, baud=baud)
    if kind == "zenoh":
        from gsc_ros.link.zenoh_session import ZenohTransport

        return ZenohTransport(key=zenoh_key, side=side, listen=local, connect=remote)
    raise TransportError(f"transport {kind!r}: udp, serial and zenoh are known")
