"""Datagrams over zenoh: through routers, where there is no way for plain UDP.

Each side publishes on ``KEY/robot`` or ``KEY/base`` and listens to the other, best effort, the
newest first when the link is congested. Scouting is off: what is not configured is not looked for.
"""

from __future__ import annotations

import contextlib
import json
import queue
from typing import Any

from gsc_ros.link.transport import TransportError

HEADERS = (
    41  # a small put over UDP, with the headers of IP and UDP (test_transports.py counts them); over TCP it is more
)


class ZenohTransport:
    """One zenoh session in peer mode."""

    def __init__(self, *, key: str, side: str, listen: str, connect: str) -> None:
        try:
            import zenoh
        except ImportError as error:
            raise TransportError("the zenoh transport needs eclipse-zenoh: pip install 'gsc-ros[link]'") from error
        config = zenoh.Config()
        config.insert_json5("mode", json.dumps("peer"))
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5("scouting/gossip/enabled", "false")
        if listen:
            config.insert_json5("listen/endpoints", json.dumps([listen]))
        if connect:
            config.insert_json5("connect/endpoints", json.dumps([connect]))
            config.insert_json5("connect/timeout_ms", "-1")  # keep trying: the other side may start later
            config.insert_json5("connect/exit_on_failure", "false")
        other = "base" if side == "robot" else "robot"
        self._endpoint = connect or f"whoever connects to {listen}"
        self.trouble = ""
        self._arrived: queue.Queue[bytes] = queue.Queue(maxsize=256)
        try:
            self._session: Any = zenoh.open(config)
            self._publisher = self._session.declare_publisher(
                f"{key}/{side}",
                congestion_control=zenoh.CongestionControl.DROP,
                reliability=zenoh.Reliability.BEST_EFFORT,
                express=True,
            )
            self._subscriber = self._session.declare_subscriber(f"{key}/{other}", self._keep)
        except zenoh.ZError as error:
            raise TransportError(
                f"zenoh with listen {listen!r} and connect {connect!r}: {error}; endpoints look like udp/192.0.2.1:7447"
            ) from error

    @property
    def peer(self) -> str:
        return self._endpoint

    def cost(self, datagram: bytes) -> int:
        return len(datagram) + HEADERS

    def send(self, datagram: bytes) -> None:
        try:
            self._publisher.put(datagram)
            self.trouble = ""
        except Exception as error:  # of zenoh there are many; the datagram is lost, as on any link
            self.trouble = f"zenoh cannot send: {' '.join(str(error).split())}"

    def answer(self, datagram: bytes) -> None:
        """There is one other end."""
        self.send(datagram)

    def receive(self, timeout_s: float) -> bytes | None:
        try:
            return self._arrived.get(timeout=timeout_s) if timeout_s > 0 else self._arrived.get_nowait()
        except queue.Empty:
            return None

    def accepted(self) -> None:
        """Nothing to learn: zenoh knows its peers."""

    def close(self) -> None:
        self._session.close()

    def _keep(self, sample: Any) -> None:
        if self._arrived.full():
            with contextlib.suppress(queue.Empty):
                self._arrived.get_nowait()
        with contextlib.suppress(queue.Full):
            self._arrived.put_nowait(bytes(sample.payload))
