"""Transports: UDP, a serial line over a pseudo terminal, zenoh; what they cost and what they survive."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import termios
import threading
import time
import tty
import zlib
from pathlib import Path

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
        base.answer(b"who are you?")
        assert received(stranger, 1) == [b"who are you?"]
        base.send(b"ack")
        assert received(robot, 1) == [b"ack"]
        robot.answer(b"to its fixed peer")
        assert received(base, 1) == [b"to its fixed peer"]
        assert stranger.receive(0.1) is None
        assert base.cost(bytes(100)) == 128
    finally:
        for transport in (base, robot, stranger):
            transport.close()
    assert base.receive(0.0) is None
    base.send(b"after the end")


class Broken:
    """A socket on which everything fails."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0
        self._real = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._real.bind(("127.0.0.1", 0))
        self._real.sendto(b"x", self._real.getsockname())

    def fileno(self) -> int:
        return self._real.fileno()

    def recvfrom(self, size: int) -> tuple[bytes, object]:
        self.calls += 1
        raise self.error

    def sendto(self, datagram: bytes, peer: object) -> int:
        raise self.error

    def close(self) -> None:
        self._real.close()


@pytest.mark.parametrize("number", [1, 5, 9, 12, 22, 90, 100, 101, 105, 111, 113])
def test_no_error_of_a_socket_ends_udp_or_makes_it_spin(number, monkeypatch) -> None:
    transport = UdpTransport(local="127.0.0.1:0", remote="127.0.0.1:9")
    real, broken = transport._socket, Broken(OSError(number, os.strerror(number)))
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    transport._socket = broken
    for _ in range(5):
        assert transport.receive(0.02) is None
        transport.send(b"x")
    assert slept == [0.02] * broken.calls == [0.02] * 5
    assert bool(transport.trouble) == (number != 111)  # nobody there is what links are like
    transport._socket = real
    transport.send(b"x")
    assert transport.trouble == ""
    transport.close()
    broken.close()


def test_a_socket_that_is_no_more_makes_nothing_spin(monkeypatch) -> None:
    transport = UdpTransport(local="127.0.0.1:0")
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert transport._socket is not None
    transport._socket.close()
    assert transport.receive(0.02) is None
    assert slept == [0.02]


def test_a_peer_is_named_for_people() -> None:
    base = UdpTransport(local="127.0.0.1:0")
    robot = UdpTransport(local="127.0.0.1:0", remote=f"127.0.0.1:{base.port}")
    assert base.peer == ""
    assert robot.peer == f"127.0.0.1:{base.port}"
    robot.send(b"x")
    assert received(base, 1)
    assert base.peer == ""
    base.accepted()
    assert base.peer == f"127.0.0.1:{robot.port}"
    base.close()
    robot.close()


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


def test_garbled_frames_do_not_pass() -> None:
    """Bits turned, bytes lost, put in, swapped, frames run together: what comes out was sent, or nothing comes out.

    The garbling keeps the CRC-16 inside right, as a line does that the same polynomial has checked before: a second
    CRC-16 of that kind lets all of it pass.
    """
    line, rng, passed = Line(), random.Random(5), 0
    sender, receiver = line.ends
    multiple = 0x11021  # of the generator: adding it anywhere leaves CRC-16/XMODEM as it was
    for trial in range(3000):
        datagram = bytearray(rng.randbytes(rng.randrange(8, 60)))
        framed = bytearray(sender._cobs.decode(sender._framed(bytes(datagram))[:-1]))
        kind = trial % 4
        if kind == 0:
            place = rng.randrange(0, 8 * len(datagram) - 17)
            framed = bytearray((int.from_bytes(framed, "big") ^ multiple << (place + 32)).to_bytes(len(framed), "big"))
        elif kind == 1:
            place = rng.randrange(len(framed))
            del framed[place : place + rng.randrange(1, 4)]
        elif kind == 2:
            place = rng.randrange(len(framed))
            framed[place:place] = rng.randbytes(rng.randrange(1, 4))
        else:
            for _ in range(rng.randrange(1, 9)):
                framed[rng.randrange(len(framed))] ^= 1 << rng.randrange(8)
        receiver._buffer += sender._cobs.encode(bytes(framed)) + b"\0"
        got = receiver.receive(0.0)
        passed += got is not None and got != bytes(datagram)
    assert passed == 0
    assert receiver.noise > 2500


def test_the_checksum_of_the_line_is_that_of_zlib() -> None:
    line = Line()
    line.ends[0].send(b"datagram")
    assert line.ends[0].cost(b"datagram") == 8 + 4 + 2
    wire = os.read(line.masters[0], 100)
    assert line.ends[0]._cobs.decode(wire[:-1]) == b"datagram" + zlib.crc32(b"datagram").to_bytes(4, "big")


class Adapter:
    """A serial adapter behind a name that stays: it can be pulled, and put in again as another device."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.put_in()

    def put_in(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(os.ttyname(slave))
        os.close(slave)

    def pull(self) -> None:
        self.name.unlink()
        os.close(self.master)


@pytest.mark.parametrize("sending", [False, True])
def test_an_adapter_that_is_pulled_is_told_waited_for_and_opened_again(tmp_path, monkeypatch, sending) -> None:
    reads = []
    monkeypatch.setattr(os, "read", lambda fd, count, read=os.read: (reads.append(fd), read(fd, count))[1])
    adapter = Adapter(tmp_path / "ttyUSB0")
    port = SerialTransport(str(adapter.name), baud=9600)
    opened = []
    monkeypatch.setattr(port, "_open", lambda open=port._open: (opened.append(0), open())[1])
    os.write(adapter.master, port._framed(b"before"))
    assert received(port, 1) == [b"before"]
    assert port.trouble == ""
    for again in range(2):
        adapter.pull()
        reads.clear()
        opened.clear()
        for turn in range(60):
            if sending:
                port.send(b"lost")
            assert port.receive(0.02) is None
            assert (str(adapter.name) in port.trouble and "\n" not in port.trouble) or turn < 2
        assert len(reads) <= 2
        assert 1 <= len(opened) <= 4  # pauses that grow: 0.25, 0.5, 1, 2, 4, 5 s
        adapter.put_in()
        deadline = time.monotonic() + 60
        while port.trouble and time.monotonic() < deadline:
            port.receive(0.1)
        assert port.trouble == ""
        os.write(adapter.master, port._framed(b"back %d" % again))
        assert received(port, 1) == [b"back %d" % again]
        port.send(b"and out")
        port.receive(0.0)
        assert port._framed(b"and out") in os.read(adapter.master, 1000)
    port.close()
    opened.clear()
    assert port.receive(0.0) is None
    port.send(b"after the end")
    assert not opened
    adapter.pull()


def test_a_break_on_the_line_is_passed_over_at_once() -> None:
    line = Line()
    line.ends[0].send(b"after it")
    line.carry(lambda data: bytes(1000) + data)
    calls = 1
    while (datagram := line.ends[1].receive(0.0)) is None:
        calls += 1
        assert calls < 10
    assert datagram == b"after it"


def test_a_line_that_nobody_reads_holds_nothing_up_and_grows_nothing() -> None:
    line = Line()
    for _ in range(300):  # the terminal takes some kilobytes, then no more
        line.ends[0].send(os.urandom(1000))
        line.ends[0].receive(0.0)
    assert len(line.ends[0]._unsent) <= 2 * 65_535
    assert line.ends[0].trouble == ""


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
