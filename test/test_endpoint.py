"""Both ends of a link in virtual time: limits, losses, acknowledgements, requests, garbage."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagram import Stamp
from gsc_ros.link.emulator import EmulatedLink, LinkSpec
from gsc_ros.link.endpoint import AboutCamera, Acknowledged, Endpoint, FrameArrived, Requested
from gsc_ros.link.request import Request
from gsc_ros.link.seal import Seal, new_key
from gsc_ros.link.token_bucket import SLACK_S


def cost(datagram: bytes) -> int:
    return len(datagram) + 28


def endpoint(*, cameras=1, rate=4000.0, mtu=200, seal=None, seed=1) -> Endpoint:
    weights = dict.fromkeys(range(cameras), 1.0)
    return Endpoint(weights, mtu=mtu, bits_per_second=rate, cost=cost, seal=seal, rng=random.Random(seed))


class Pair:
    """Two ends and the links between them, moved on in steps of virtual time."""

    def __init__(self, robot: Endpoint, base: Endpoint, spec: LinkSpec, seed: int = 0) -> None:
        self.robot, self.base = robot, base
        self.up, self.down = EmulatedLink(spec, seed=seed, cost=cost), EmulatedLink(spec, seed=seed + 1, cost=cost)
        self.at_base: list = []
        self.at_robot: list = []
        self.now = 0.0

    def run(self, seconds: float, each_step=lambda now: None, step: float = 0.02) -> None:
        end = self.now + seconds
        while self.now < end:
            each_step(self.now)
            for sender, link in ((self.robot, self.up), (self.base, self.down)):
                while (datagram := sender.next(self.now)) is not None:
                    link.send(datagram, self.now)
            for datagram in self.up.receive(self.now):
                self.at_base += self.base.receive(datagram, self.now)
            for datagram in self.down.receive(self.now):
                self.at_robot += self.robot.receive(datagram, self.now)
            self.now += step

    def frames(self) -> list[FrameArrived]:
        return [event for event in self.at_base if isinstance(event, FrameArrived)]


def feed(robot: Endpoint, sent: dict, *, size=180, every=0.2):
    state = {"n": 0, "due": 0.0}

    def offer(now: float) -> None:
        if now >= state["due"]:
            state["due"] += every
            state["n"] += 1
            packet = random.Random(state["n"]).randbytes(size)
            sent[state["n"]] = packet
            robot.offer(0, Stamp(100, state["n"]), packet, frame_id="mast", now=now)

    return offer


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("mtu", [64, 200, 1400])
def test_the_limit_counts_every_header_and_is_used(tmp_path, mtu, sealed) -> None:
    if sealed:
        new_key(tmp_path / "k")
    seals = [Seal(tmp_path / "k", side=side) if sealed else None for side in ("robot", "base")]
    pair = Pair(endpoint(mtu=mtu, seal=seals[0]), endpoint(mtu=mtu, seal=seals[1]), LinkSpec(latency_s=0.1))
    sent: dict = {}
    pair.run(60, feed(pair.robot, sent))
    on_wire = pair.up.losses.wire_bytes
    assert on_wire == pair.robot.counters.sent_bytes
    assert 0.96 * 60 * 4000 < 8 * on_wire <= 60 * 4000 + 8 * cost(bytes(mtu)) + 4000 * SLACK_S
    assert pair.frames()
    assert all(sent[frame.stamp.nanosec] == frame.packet for frame in pair.frames())
    assert AboutCamera(0, "mast") in pair.at_base
    assert pair.base.arrivals[0].lost == 0
    # The newest goes first: what arrives was offered no earlier than the frame before it was sent.
    stamps = [frame.stamp.nanosec for frame in pair.frames()]
    assert stamps == sorted(stamps)
    assert sent.keys() - set(stamps)  # five a second are offered, fewer fit: some were replaced


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**20),
    st.floats(0, 0.5),
    st.floats(0, 0.2),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.sampled_from([64, 200, 1400]),
)
def test_whatever_the_link_does_a_frame_arrives_as_it_was_or_not_at_all(
    seed, loss, burst, duplicate, reorder, mtu
) -> None:
    spec = LinkSpec(
        latency_s=0.3, jitter_s=0.3, loss=loss, burst_enter=burst, burst_leave=0.3, duplicate=duplicate, reorder=reorder
    )
    pair = Pair(endpoint(mtu=mtu), endpoint(mtu=mtu), spec, seed)
    sent: dict = {}
    pair.run(30, feed(pair.robot, sent))
    stamps = [frame.stamp.nanosec for frame in pair.frames()]
    assert len(set(stamps)) == len(stamps)
    # Pieces of a frame that was half lost are told from those of the one 256 later by the packet's own checksum.
    assert all(sent[frame.stamp.nanosec] == frame.packet for frame in pair.frames())
    assert stamps == sorted(stamps)


def test_requests_arrive_once_however_lossy_the_link(tmp_path) -> None:
    pair = Pair(endpoint(cameras=2), endpoint(cameras=2), LinkSpec(latency_s=0.5, loss=0.5), seed=3)
    request = Request(max_bytes=120, bits_per_second=2000, channels=4, caption="grüße", sharpen=True, key_frame=True)
    pair.base.request(1, request, 0.0)
    pair.run(30)
    assert pair.at_robot == [Requested(1, request)]
    assert not pair.base._requests
    pair.base.request(1, request, pair.now)
    pair.run(30)
    assert pair.at_robot == [Requested(1, request)] * 2  # asked again, done again


def test_acknowledgements_come_back_within_their_own_budget() -> None:
    robot, base = endpoint(rate=0), endpoint(rate=200)
    pair = Pair(robot, base, LinkSpec(latency_s=0.1))
    counter = iter(range(10**6))
    pair.run(60, lambda now: base.acknowledge(0, next(counter) & 0xFFFF, key_wanted=False))
    acks = [event for event in pair.at_robot if isinstance(event, Acknowledged)]
    assert 8 * base.counters.sent_bytes <= 60 * 200 + 8 * cost(bytes(200)) + 200 * SLACK_S
    assert len(acks) > 20
    assert acks[-1].sequence > 2800  # the newest, not the oldest


def test_either_side_may_restart() -> None:
    pair = Pair(endpoint(seed=1), endpoint(seed=2), LinkSpec(latency_s=0.1))
    sent: dict = {}
    pair.run(10, feed(pair.robot, sent))
    pair.base = endpoint(seed=5)
    pair.at_base.clear()
    offer = feed(pair.robot, sent)
    pair.run(5, lambda now: offer(now - 10))
    assert pair.frames()
    assert AboutCamera(0, "mast") in pair.at_base  # asked for by the base that had just started
    pair.robot = endpoint(seed=77)
    pair.at_base.clear()
    offer = feed(pair.robot, {})
    pair.run(10, lambda now: offer(now - 15))  # its stamps begin again, as after a clock set back
    assert len(pair.frames()) > 5


@pytest.mark.parametrize("sealed", [False, True])
def test_garbage_is_counted_and_leaves_everything_as_it_was(tmp_path, sealed) -> None:
    if sealed:
        new_key(tmp_path / "k")
    seals = [Seal(tmp_path / "k", side=side) if sealed else None for side in ("robot", "base")]
    base, robot = endpoint(seal=seals[1]), endpoint(seal=seals[0])
    rng = random.Random(4)
    genuine = None
    for round_ in range(5000):
        base.receive(rng.randbytes(rng.randrange(0, 120)), 0.0)
        robot.receive(rng.randbytes(rng.randrange(0, 120)), 0.0)
        if round_ % 1000 == 0:
            robot.offer(0, Stamp(1, round_), b"packet", now=float(round_))
            for later in range(4):
                if (datagram := robot.next(round_ + later)) is not None:
                    genuine = base.receive(datagram, 0.0) or genuine
    assert genuine
    bad = base.counters.rejected + base.counters.malformed
    assert bad > 1000
    if sealed:
        assert base.counters.rejected == 5000
        assert base.arrivals[0].frames == 5
    assert len(base.arrivals[0].parts._frames) <= 4
    assert len(robot._control) < 10


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="mtu 10"):
        endpoint(mtu=10)
    with pytest.raises(ValueError, match="1 to 32"):
        endpoint(cameras=33)
    with pytest.raises(ValueError, match="max_bytes 70000"):
        Request(max_bytes=70_000)
    with pytest.raises(ValueError, match="240 bytes"):
        Request(caption="ü" * 200)
    with pytest.raises(ValueError, match="larger datagrams"):
        endpoint(mtu=32).offer(0, Stamp(1, 1), os.urandom(20_000))


def test_ten_cameras_on_one_link_all_get_through() -> None:
    pair = Pair(endpoint(cameras=10, rate=16_000), endpoint(cameras=10), LinkSpec(latency_s=0.1, loss=0.1))
    state = {"due": 0.0, "n": 0}

    def offer(now: float) -> None:
        if now >= state["due"]:
            state["due"], state["n"] = now + 0.2, state["n"] + 1
            for camera in range(10):
                body = bytes([camera]) * (100 + 30 * camera)
                pair.robot.offer(camera, Stamp(5, state["n"]), body, frame_id=f"cam{camera}", now=now)

    pair.run(60, offer)
    frames = {camera: [f for f in pair.frames() if f.camera == camera] for camera in range(10)}
    sizes = {camera: sum(len(f.packet) for f in got) for camera, got in frames.items()}
    assert min(len(got) for got in frames.values()) > 20
    assert max(sizes.values()) < 1.8 * min(sizes.values())  # equal shares of bytes, whatever the frames' size
    assert all(set(f.packet) == {camera} for camera, got in frames.items() for f in got)
    assert {e.frame_id for e in pair.at_base if isinstance(e, AboutCamera)} == {f"cam{n}" for n in range(10)}
    assert 8 * pair.robot.counters.sent_bytes <= 60 * 16_000 + 8 * cost(bytes(200)) + 16_000 * SLACK_S


def test_a_request_that_no_datagram_holds_is_refused_and_one_in_vain_is_counted() -> None:
    base = endpoint(mtu=51)
    with pytest.raises(ValueError, match="shorten the caption"):
        base.request(0, Request(caption="x" * 100), 0.0)
    base.request(0, Request(key_frame=True), 0.0)
    sent, now = 0, 0.0
    while now < 60:
        sent += base.next(now) is not None
        now += 0.5
    assert sent == 10
    assert base.counters.unconfirmed == 1
    assert base.wait(now) is None


def test_a_long_frame_id_fits_the_smallest_datagrams() -> None:
    pair = Pair(endpoint(mtu=32), endpoint(mtu=32), LinkSpec(latency_s=0.1))
    pair.robot.offer(0, Stamp(1, 1), b"packet", frame_id="a_very_long_frame_id_of_the_mast_camera", now=0.0)
    pair.run(5)
    about = [event.frame_id for event in pair.at_base if isinstance(event, AboutCamera)]
    assert about == ["a_very_long_frame_id_of_the_mast_camera"[: len(about[0])]]
    assert len(about[0]) > 20
