"""Transports: UDP, a serial line over a pseudo terminal, zenoh; what they cost and what they survive."""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path

import pytest

from gsc_ros.link.serial_line import SerialTransport
from gsc_ros.link.transport import TransportError, open_transport
from gsc_ros.link.udp import UdpTransport
from gsc_ros.link.zenoh_session import ZenohTransport


def received(transport, count: int, limit_s: float = 5.0) -> list[bytes]:
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


def loopback_bytes() -> int:
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def test_zenoh_carries_datagrams_both_ways_at_the_cost_it_names() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"udp/127.0.0.1:{free.getsockname()[1]}"
    base = ZenohTransport(key="gsc/test", side="base", listen=endpoint, connect="")
    robot = ZenohTransport(key="gsc/test", side="robot", listen="", connect=endpoint)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            robot.send(b"hello")
            if received(base, 1, 0.2):
                break
        while base.receive(0.3) is not None:
            pass
        before, costs, got = loopback_bytes(), [], []
        for _ in range(20):  # other traffic only adds: the least busy moment counts
            for _ in range(10):
                robot.send(os.urandom(300))
                time.sleep(0.002)
            got += received(base, 10)
            now = loopback_bytes()
            costs.append((now - before) / 10)
            before = now
        assert len(got) > 190
        assert min(costs) == pytest.approx(base.cost(bytes(300)), abs=6)
        base.send(b"back")
        assert received(robot, 1) == [b"back"]
    finally:
        robot.close()
        base.close()


def test_transports_by_name() -> None:
    with pytest.raises(TransportError, match="udp, serial and zenoh"):
        open_transport("pigeon")
    transport = open_transport("udp", local="127.0.0.1:0", remote="")
    transport.close()
