"""Transports: UDP, a serial line over a pseudo terminal, zenoh; what they cost and what they survive."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time

import pytest
from conftest import LIMIT_S

from gsc_ros.link.serial_line import SerialTransport
from gsc_ros.link.transport import TransportError, open_transport
from gsc_ros.link.udp import UdpTransport
from gsc_ros.link.zenoh_session import ZenohTransport


def received(transport, count: int, limit_s: float = LIMIT_S) -> list[bytes]:
    got, end = [], time.monotonic() + limit_s
    while len(got) < count and time.monotonic() < end:
        if (datagram := transport.receive(0.1)) is not None:
            got.append(datagram)
    return got


def test_udp_answers_whoever_was_accepted_last() -> None:
    base = UdpTransport(local="127.0.0.1:0")
    robot = UdpTransport(local="127.0.0.1:0", remote=f"127.0.0.1:{base.port}")
    stranger = UdpTransport(local="127.0.0.1:0", remote=f"127.0.0.1:{base.port}")
    try:
        base.send(b"to nobody")
        robot.send(b"frame")
        assert received(base, 1) == [b"frame"]
        base.accepted()
        stranger.send(b"garbage")
        assert received(base, 1) == [b"garbage"]  # arrives, but is not accepted
        base.send(b"ack")
        assert received(robot, 1) == [b"ack"]
        assert stranger.receive(0.1) is None
        assert base.cost(bytes(100)) == 128
    finally:
        for transport in (base, robot, stranger):
            transport.close()
    assert base.receive(0.0) is None
    base.send(b"after the end")


def test_udp_survives_a_far_side_that_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    robot = UdpTransport(local="127.0.0.1:0", remote=f"127.0.0.1:{port}")
    for _ in range(5):
        robot.send(b"x")
        assert robot.receive(0.01) is None
    robot.close()


@pytest.mark.parametrize("local", ["nonsense", "127.0.0.1:99999", "192.0.2.1:47000"])
def test_an_address_that_cannot_be_is_one_line(local) -> None:
    with pytest.raises(TransportError) as error:
        UdpTransport(local=local)
    assert "\n" not in str(error.value)
    assert local in str(error.value)


class Line:
    """Two serial ports with a wire between them that can be noisy."""

    def __init__(self) -> None:
        self.masters, names = [], []
        for _ in range(2):
            master, slave = os.openpty()
            os.set_blocking(master, False)
            self.masters.append(master)
            names.append(os.ttyname(slave))
        self.ends = [SerialTransport(name, baud=9600) for name in names]
        self.carried = 0

    def carry(self, spoil=lambda data: data) -> None:
        for source, target in (self.masters, self.masters[::-1]):
            try:
                data = os.read(source, 65_536)
            except BlockingIOError:
                continue
            self.carried += len(data)
            os.write(target, spoil(data))


def test_serial_datagrams_of_every_byte_come_back_and_cost_what_is_on_the_wire() -> None:
    line = Line()
    rng = random.Random(1)
    sent = [bytes(range(256)), b"\0" * 50, b"\xff" * 200, *(rng.randbytes(rng.randrange(1, 400)) for _ in range(20))]
    got = []
    for datagram in sent:
        before = line.carried
        line.ends[0].send(datagram)
        line.carry()
        assert line.carried - before == line.ends[0].cost(datagram)
        got += received(line.ends[1], 1)
    assert got == sent
    line.ends[1].send(b"the other way")
    line.carry()
    assert received(line.ends[0], 1) == [b"the other way"]


def test_serial_noise_costs_what_it_hits_and_nothing_is_ever_wrong() -> None:
    line = Line()
    rng = random.Random(2)

    def spoil(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if rng.random() < 0.001:
                out += rng.randbytes(rng.randrange(0, 3))  # lost, changed or more of them
            else:
                out.append(byte)
        return bytes(out)

    sent, got = [], []
    for _ in range(300):
        sent.append(rng.randbytes(100))
        line.ends[0].send(sent[-1])
        line.carry(spoil)
        while (datagram := line.ends[1].receive(0.0)) is not None or b"\0" in line.ends[1]._buffer:
            if datagram is not None:
                got.append(datagram)
    assert set(got) <= set(sent)
    assert len(got) > 200
    assert line.ends[1].noise > 10


def test_a_serial_port_that_is_not_there_is_one_line() -> None:
    with pytest.raises(TransportError, match="/dev/nothing"):
        SerialTransport("/dev/nothing", baud=9600)


class Wire:
    """Carries UDP between whoever sends to its ``port`` and the port ``far``, and counts the bytes with their headers."""

    def __init__(self, far: int) -> None:
        self._ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end in self._ends:
            end.bind(("127.0.0.1", 0))
            end.settimeout(0.05)
        self._ends[1].connect(("127.0.0.1", far))
        self.port, self.carried = self._ends[0].getsockname()[1], 0
        self._near: tuple[str, int] | None = None
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._carry, args=(way,)) for way in (0, 1)]
        for thread in self._threads:
            thread.start()

    def _carry(self, way: int) -> None:
        while not self._closed.is_set():
            try:
                data, source = self._ends[way].recvfrom(65_536)
            except OSError:  # nothing came, or the far side is not there yet
                continue
            self.carried += len(data) + 28
            if way == 0:
                self._near = source
                with contextlib.suppress(ConnectionRefusedError):
                    self._ends[1].send(data)
            elif self._near is not None:
                self._ends[0].sendto(data, self._near)

    def close(self) -> None:
        self._closed.set()
        for thread, end in zip(self._threads, self._ends, strict=True):
            thread.join()
            end.close()


def test_zenoh_carries_datagrams_both_ways_at_the_cost_it_names() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wire = Wire(port)
    base = ZenohTransport(key="gsc/test", side="base", listen=f"udp/127.0.0.1:{port}", connect="")
    robot = ZenohTransport(key="gsc/test", side="robot", listen="", connect=f"udp/127.0.0.1:{wire.port}")
    try:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            robot.send(b"hello")
            if received(base, 1, 0.2):
                break
        while base.receive(0.3) is not None:
            pass
        costs, got = [], []
        for _ in range(20):  # keeping the session alive only adds: the quietest moment counts
            before = wire.carried
            for _ in range(10):
                robot.send(os.urandom(300))
                time.sleep(0.002)
            got += received(base, 10, 5.0)
            costs.append((wire.carried - before) / 10)
        assert len(got) > 190
        assert min(costs) == pytest.approx(base.cost(bytes(300)), abs=6)
        base.send(b"back")
        assert received(robot, 1) == [b"back"]
    finally:
        robot.close()
        base.close()
        wire.close()


def test_transports_by_name() -> None:
    with pytest.raises(TransportError, match="udp, serial and zenoh"):
        open_transport("pigeon")
    transport = open_transport("udp", local="127.0.0.1:0", remote="")
    transport.close()
