"""An outsider who records everything and only sends: links over UDP whose base answers whoever calls."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gsc_ros.link.datagram import Stamp
from gsc_ros.link.endpoint import Endpoint
from gsc_ros.link.events import Acknowledged, Event, FrameArrived, Requested
from gsc_ros.link.hello import is_hello
from gsc_ros.link.key_file import new_key
from gsc_ros.link.request import Request
from gsc_ros.link.secure_channel import SecureChannel

STEP_S = 0.25


@pytest.fixture
def key(tmp_path) -> Path:
    new_key(tmp_path / "link.key")
    return tmp_path / "link.key"


class Gateway:
    """What a gateway does with its endpoint and UDP."""

    def __init__(self, net: Net, key: Path, side: str) -> None:
        self.net, self.side = net, side
        self.peer = "base" if side == "robot" else ""  # a base answers whoever proved to be the robot
        self.events: list[tuple[float, Event]] = []
        channel = SecureChannel(key, side=side)
        self.end = Endpoint({0: 1.0}, mtu=1400, bits_per_second=4000, cost=lambda data: len(data) + 28, channel=channel)
        net.ends[side] = self

    def receive(self, source: str, datagram: bytes, now: float) -> None:
        self.events += [(now, event) for event in self.end.receive(datagram, now)]
        if self.end.genuine:
            self.peer = "base" if self.side == "robot" else source
        elif (answer := self.end.answer(now)) is not None:
            self.net.send(self.side, "base" if self.side == "robot" else source, answer)
        self.pump(now)

    def pump(self, now: float) -> None:
        while self.peer and (datagram := self.end.next(now)) is not None:
            self.net.send(self.side, self.peer, datagram)

    def arrived(self, kind: type) -> list[float]:
        return [now for now, event in self.events if isinstance(event, kind)]


class Net:
    """Delivers by address; everything is recorded."""

    def __init__(self) -> None:
        self.ends: dict[str, Gateway] = {}
        self.now, self.frames, self.frame_due = 0.0, 0, 0.0
        self.sent: list[tuple[str, str, bytes]] = []
        self._under_way: list[tuple[float, str, str, bytes]] = []

    def send(self, source: str, to: str, datagram: bytes) -> None:
        self.sent.append((source, to, datagram))
        self._under_way.append((self.now + 0.1, source, to, datagram))

    def run(self, seconds: float, *, frame_every: float = 1.0, each: Callable[[], None] = lambda: None) -> None:
        end = self.now + seconds
        while self.now < end:
            each()
            if self.now >= self.frame_due:
                self.frame_due, self.frames = self.now + frame_every, self.frames + 1
                data = b"frame %d" % self.frames
                packet = data + binascii.crc_hqx(data, 0).to_bytes(2, "big")
                self.ends["robot"].end.offer(0, Stamp(self.frames, 0), packet, frame_id="mast", now=self.now)
            due = [one for one in self._under_way if one[0] <= self.now]
            self._under_way = [one for one in self._under_way if one[0] > self.now]
            for _, source, to, datagram in due:
                if to in self.ends:
                    self.ends[to].receive(source, datagram, self.now)
            for one in list(self.ends.values()):
                one.pump(self.now)
            self.now += STEP_S

    def of_robot(self) -> list[bytes]:
        return [datagram for source, _, datagram in self.sent if source == "robot"]


def unheard(key: Path, count: int) -> list[bytes]:
    """Hellos of robots that started while the base was off."""
    hellos = [SecureChannel(key, side="robot").hello(0.0, sending=True) for _ in range(count)]
    return [hello for hello in hellos if hello is not None]


def test_answers_go_to_the_robot_whatever_old_hellos_come(key) -> None:
    net = Net()
    robot, base = Gateway(net, key, "robot"), Gateway(net, key, "base")
    net.run(20)
    old, frames = unheard(key, 5), 0
    before = len(robot.arrived(Acknowledged))

    def attack() -> None:
        nonlocal frames
        if len(arrived := base.arrived(FrameArrived)) > frames and net.now - arrived[-1] >= 2 * STEP_S:
            frames = len(arrived)
            base.end.acknowledge(0, frames)
        for hello in old:
            net.send("outsider", "base", hello)

    net.run(100, each=attack)
    assert len(robot.arrived(Acknowledged)) - before >= 95
    assert sum(to == "outsider" for _, to, _ in net.sent) <= len(old)  # each counts once


def test_a_base_that_lost_its_file_is_introduced_whatever_old_hellos_come(key) -> None:
    net = Net()
    Gateway(net, key, "base")
    for _ in range(6):
        Gateway(net, key, "robot")
        net.run(12)
    hellos = [datagram for datagram in net.of_robot() if is_hello(datagram)]
    key.with_name("link.key.base.boots").unlink()
    base = Gateway(net, key, "base")

    def attack() -> None:
        for hello in hellos:
            net.send("outsider", "base", hello)

    net.run(60, each=attack)
    assert base.end.settled
    assert len(base.arrived(FrameArrived)) > 25


def test_what_a_robot_sent_to_nobody_is_not_believed_while_it_lives_again(key) -> None:
    """It ran for an hour while the base was off, and has started again: the past comes from somewhere else."""
    net = Net()
    Gateway(net, key, "robot")
    net.run(3600, frame_every=10.0)
    past = net.of_robot()
    Gateway(net, key, "robot")
    net.frame_due = net.now
    net.run(120, frame_every=5.0)
    base, began = Gateway(net, key, "base"), net.now
    hellos: Iterator[bytes] = iter([datagram for datagram in past if is_hello(datagram)])

    def attack() -> None:
        if net.now - began < 75:
            if (hello := next(hellos, None)) is not None:
                net.send("outsider", "base", hello)
        elif net.now - began < 76:
            for datagram in past:
                net.send("outsider", "base", datagram)

    net.run(100, frame_every=5.0, each=attack)
    assert base.end.settled
    stamps = [event.stamp.sec for _, event in base.events if isinstance(event, FrameArrived)]
    assert stamps
    assert min(stamps) > 360  # nothing of the first life


def test_a_request_of_a_base_that_has_started_again_does_not_undo_a_newer_one(key) -> None:
    """Nothing of it was heard before the newer one, and its datagram comes within the minute."""
    net = Net()
    robot, base = Gateway(net, key, "robot"), Gateway(net, key, "base")
    net.run(10)
    base.end.request(0, Request(max_bytes=100), net.now)
    late = base.end.next(net.now)
    assert late is not None
    base = Gateway(net, key, "base")
    net.run(15)
    base.end.request(0, Request(max_bytes=900), net.now)
    net.run(5)
    net.send("base", "robot", late)
    net.run(5)
    wishes = [event.request.max_bytes for _, event in robot.events if isinstance(event, Requested)]
    assert wishes == [900]
