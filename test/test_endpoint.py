"""Both ends of a link in virtual time: limits, losses, acknowledgements, requests, garbage."""

from __future__ import annotations

import binascii
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagram import DatagramError, Kind, Record, Stamp, Type, control, frame_body, head
from gsc_ros.link.emulator import EmulatedLink, LinkSpec
from gsc_ros.link.endpoint import Endpoint
from gsc_ros.link.events import AboutCamera, Acknowledged, FrameArrived, Requested
from gsc_ros.link.fragments import MAX_HELD
from gsc_ros.link.key_file import new_key
from gsc_ros.link.presets import PRESETS
from gsc_ros.link.request import Request
from gsc_ros.link.secure_channel import SecureChannel
from gsc_ros.link.token_bucket import SLACK_S


def cost(datagram: bytes) -> int:
    return len(datagram) + 28


def packet_of(data: bytes) -> bytes:
    """What ends in its checksum, as packets do."""
    return data + binascii.crc_hqx(data, 0).to_bytes(2, "big")


def endpoint(*, cameras=1, rate=4000.0, mtu=200, channel=None, seed=1) -> Endpoint:
    weights = dict.fromkeys(range(cameras), 1.0)
    return Endpoint(weights, mtu=mtu, bits_per_second=rate, cost=cost, channel=channel, rng=random.Random(seed))


def channels(folder) -> tuple[SecureChannel, SecureChannel]:
    """Both ends of a link with a new key in ``folder``."""
    new_key(folder / "k")
    return SecureChannel(folder / "k", side="robot"), SecureChannel(folder / "k", side="base")


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
            packet = packet_of(random.Random(state["n"]).randbytes(size - 2))
            sent[state["n"]] = packet
            robot.offer(0, Stamp(100, state["n"]), packet, frame_id="mast", now=now)

    return offer


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("mtu", [64, 200, 1400])
def test_the_limit_counts_every_header_and_is_used(tmp_path, mtu, sealed) -> None:
    both = channels(tmp_path) if sealed else (None, None)
    pair = Pair(endpoint(mtu=mtu, channel=both[0]), endpoint(mtu=mtu, channel=both[1]), LinkSpec(latency_s=0.1))
    sent: dict = {}
    offer = feed(pair.robot, sent)

    def talk(now: float) -> None:
        offer(now)
        if pair.frames() and round(50 * now) % 100 == 0:
            pair.base.acknowledge(0, len(pair.frames()))

    pair.run(60, talk)
    on_wire = pair.up.losses.wire_bytes
    assert on_wire == pair.robot.counters.sent_bytes
    assert 0.96 * 60 * 4000 < 8 * on_wire <= 60 * 4000 + 8 * cost(bytes(mtu)) + 4000 * SLACK_S
    assert pair.frames()
    assert all(sent[frame.stamp.nanosec] == frame.packet for frame in pair.frames())
    assert AboutCamera(0, "mast") in pair.at_base
    assert pair.base.arrivals[0].lost == 0
    assert pair.robot.counters.sent_hellos == (2 if sealed else 0)
    assert pair.robot.settled is (True if sealed else None)
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
    assert not any(asking.body for asking in pair.base._asking.values())
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
    both = channels(tmp_path) if sealed else (None, None)
    pair = Pair(endpoint(channel=both[0]), endpoint(channel=both[1]), LinkSpec(latency_s=0.1))
    rng = random.Random(4)
    sent: dict = {}
    offer = feed(pair.robot, sent, every=2.0)

    def disturb(now: float) -> None:
        offer(now)
        for end in (pair.base, pair.robot):
            for _ in range(5):
                end.receive(rng.randbytes(rng.randrange(0, 120)), now)
                assert not end.genuine

    pair.run(40, disturb)
    assert len(pair.frames()) > 15
    assert all(sent[frame.stamp.nanosec] == frame.packet for frame in pair.frames())
    counters = pair.base.counters
    assert (counters.rejected if sealed else counters.malformed) > 5000
    bounded(pair.base)
    bounded(pair.robot)


def bounded(end: Endpoint) -> None:
    """Nothing that arrives makes an end grow."""
    assert all(len(arrivals.parts._frames) <= 4 for arrivals in end.arrivals.values())
    assert all(arrivals.parts.held <= MAX_HELD for arrivals in end.arrivals.values())
    assert len(end._control) <= len(Type) * len(end.arrivals)
    assert len(end._known) <= len(end.arrivals)
    assert all(len(answering._retired) <= 16 for answering in end._answering.values())


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
    with pytest.raises(ValueError, match="checksum"):
        endpoint().offer(0, Stamp(1, 1), b"x")


def test_ten_cameras_on_one_link_all_get_through() -> None:
    pair = Pair(endpoint(cameras=10, rate=16_000), endpoint(cameras=10), LinkSpec(latency_s=0.1, loss=0.1))
    state = {"due": 0.0, "n": 0}

    def offer(now: float) -> None:
        if now >= state["due"]:
            state["due"], state["n"] = now + 0.2, state["n"] + 1
            for camera in range(10):
                body = packet_of(bytes([camera]) * (100 + 30 * camera))
                pair.robot.offer(camera, Stamp(5, state["n"]), body, frame_id=f"cam{camera}", now=now)

    pair.run(60, offer)
    frames = {camera: [f for f in pair.frames() if f.camera == camera] for camera in range(10)}
    sizes = {camera: sum(len(f.packet) for f in got) for camera, got in frames.items()}
    assert min(len(got) for got in frames.values()) > 20
    assert max(sizes.values()) < 1.8 * min(sizes.values())  # equal shares of bytes, whatever the frames' size
    assert all(set(f.packet[:-2]) == {camera} for camera, got in frames.items() for f in got)
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
    assert base.in_vain == 1
    assert base.wait(now) is None


def test_a_long_frame_id_fits_the_smallest_datagrams() -> None:
    pair = Pair(endpoint(mtu=32), endpoint(mtu=32), LinkSpec(latency_s=0.1))
    pair.robot.offer(0, Stamp(1, 1), packet_of(b"packet"), frame_id="a_very_long_frame_id_of_the_mast_camera", now=0.0)
    pair.run(5)
    about = [event.frame_id for event in pair.at_base if isinstance(event, AboutCamera)]
    assert about == ["a_very_long_frame_id_of_the_mast_camera"[: len(about[0])]]
    assert len(about[0]) > 20


@pytest.mark.parametrize("type_", list(Type))
@pytest.mark.parametrize("camera", [0, 1, 31])
def test_a_record_of_any_kind_may_come_before_the_first_frame(type_, camera) -> None:
    """ABOUT with the frame_id that the camera has indeed ended the robot's gateway."""
    for body in (b"", b"x", b"abc", b"mast", bytes(4), b"\xff" * 40):
        robot = endpoint()
        robot.receive(control([Record(type_, camera, body)]), 0.0)
        robot.offer(0, Stamp(1, 1), packet_of(b"packet"), frame_id="mast", now=0.0)
        base = endpoint()
        events = []
        for second in range(5):
            while (datagram := robot.next(float(second))) is not None:
                events += base.receive(datagram, float(second))
        assert AboutCamera(0, "mast") in events
        assert any(isinstance(event, FrameArrived) for event in events)


def test_a_record_that_cannot_be_costs_none_of_those_beside_it() -> None:
    base, robot = endpoint(), endpoint()
    base.request(0, Request(sharpen=True), 0.0)
    request = next(record for record in base._due_records(0.0) if record.type is Type.REQUEST)
    events = robot.receive(control([Record(Type.ACKNOWLEDGE, 9, b"abc"), request, Record(Type.ASK, 0, b"?")]), 0.0)
    assert events == [Requested(0, Request(sharpen=True))]
    assert robot.counters.malformed == 2


def test_a_stamp_that_cannot_be_is_refused_before_it_is_sent() -> None:
    for second, nanosecond in ((2**31, 0), (-(2**31) - 1, 0), (0, 10**9), (0, -1)):
        with pytest.raises(DatagramError, match="less than a second"):
            Stamp(second, nanosecond)
    robot, base = endpoint(), endpoint()
    robot.offer(0, Stamp(-1, 5), packet_of(b"before 1970"), now=0.0)
    events = []
    for second in range(3):
        while (datagram := robot.next(float(second))) is not None:
            events += base.receive(datagram, float(second))
    assert [event.stamp for event in events if isinstance(event, FrameArrived)] == [Stamp(-1, 5)]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 31), st.integers(0, 255), st.integers(-(2**31), 2**31 - 1), st.integers(0, 10**9 - 1), st.data())
def test_camera_number_and_stamp_are_under_the_checksum(camera, number, sec, nanosec, data) -> None:
    """Up to 16 bits side by side, or any three, in head, number, stamp and packet never pass."""
    base = endpoint(cameras=32)
    datagram = head(Kind.FRAME, camera) + bytes([number])
    datagram += frame_body(camera, number, Stamp(sec, nanosec), packet_of(b"what the packet holds"))
    assert base.receive(datagram, 0.0)
    bits = int.from_bytes(datagram, "big")
    if data.draw(st.booleans()):
        error = data.draw(st.integers(1, 2**16 - 1)) << data.draw(st.integers(0, 8 * 10 - 16)) + 8 * (
            len(datagram) - 10
        )
    else:
        error = sum(
            1 << place for place in data.draw(st.sets(st.integers(0, 8 * len(datagram) - 1), min_size=1, max_size=3))
        )
    damaged = (bits ^ error).to_bytes(len(datagram), "big")
    if damaged[0] >> 5 != Kind.FRAME:
        return  # another kind has a checksum, or pieces, of its own
    fresh = endpoint(cameras=32)
    assert fresh.receive(damaged, 0.0) == []
    assert fresh.counters.malformed == 1
    assert not fresh.genuine


def test_a_stamp_of_pieces_is_under_the_checksum_too() -> None:
    robot = endpoint(mtu=32)
    robot.offer(0, Stamp(1000, 5), packet_of(bytes(100)), now=0.0)
    pieces = []
    for second in range(20):
        while (datagram := robot.next(float(second))) is not None:
            pieces.append(datagram)
    pieces = [piece for piece in pieces if piece[0] >> 5 == Kind.PART]
    for place in range(1, len(pieces[0])):
        base = endpoint(mtu=32)
        events = []
        for index, piece in enumerate(pieces):
            if index == 0:
                piece = piece[:place] + bytes([piece[place] ^ 0x10]) + piece[place + 1 :]
            events += base.receive(piece, 0.0)
        assert not events
        assert not base.genuine
    base = endpoint(mtu=32)
    assert any(base.receive(piece, 0.0) for piece in pieces)
    assert base.genuine


def test_only_what_parses_names_the_side_to_answer() -> None:
    """Without a key nothing vouches for a datagram but what it holds."""
    robot, base = endpoint(), endpoint()
    robot.offer(0, Stamp(1, 1), packet_of(b"packet"), now=0.0)
    about, frame = (robot.next(float(second)) for second in range(2))
    assert about and frame
    for datagram, genuine in (
        (frame, True),
        (frame[:-1], False),
        (b"\0" * 30, False),
        (about, True),
        (about[1:], False),
    ):
        base.receive(datagram, 0.0)
        assert base.genuine is genuine
    base.receive(head(Kind.PART) + bytes([0, 0]) + b"a piece of anything", 0.0)
    assert not base.genuine

    def strict(packet: bytes) -> bytes:
        raise ValueError("no frame of this profile")

    picky = Endpoint({0: 1.0}, mtu=200, bits_per_second=0, cost=cost, unpack=strict)
    assert picky.receive(frame, 0.0) == []
    assert not picky.genuine
    assert picky.arrivals[0].last is None  # nothing of it was believed


class TestRequests:
    """Old repetitions, restarts of the base, numbers that come round."""

    def sent(self, base: Endpoint, request: Request, now: float) -> bytes:
        base.request(0, request, now)
        return next(datagram for step in range(50) if (datagram := base.next(now + step)) is not None)

    def test_an_old_repetition_does_not_undo_a_newer_one(self) -> None:
        base, robot = endpoint(seed=3), endpoint()
        old = self.sent(base, Request(max_bytes=100), 0.0)
        new = self.sent(base, Request(max_bytes=200), 60.0)
        assert robot.receive(old, 0.0) == [Requested(0, Request(max_bytes=100))]
        assert robot.receive(new, 0.0) == [Requested(0, Request(max_bytes=200))]
        assert robot.receive(old, 0.0) == []
        assert robot.receive(new, 0.0) == []

    def test_one_of_a_base_before_its_restart_comes_too_late(self) -> None:
        robot, before, after = endpoint(), endpoint(seed=3), endpoint(seed=4)
        old = self.sent(before, Request(max_bytes=100), 0.0)
        new = self.sent(after, Request(max_bytes=200), 60.0)
        assert robot.receive(old, 0.0)
        assert robot.receive(new, 0.0)
        assert robot.receive(old, 0.0) == []
        assert robot.receive(self.sent(before, Request(max_bytes=300), 120.0), 0.0) == []
        assert robot.receive(self.sent(after, Request(max_bytes=400), 120.0), 0.0) == [
            Requested(0, Request(max_bytes=400))
        ]

    def test_one_that_was_given_up_and_never_heard_does_not_undo_a_newer_one(self) -> None:
        base, robot = endpoint(seed=3), endpoint()
        old = self.sent(base, Request(max_bytes=100), 0.0)
        for second in range(1, 40):
            base.next(float(second))
        assert base.in_vain == 1
        new = self.sent(base, Request(max_bytes=200), 60.0)
        assert robot.receive(new, 0.0) == [Requested(0, Request(max_bytes=200))]
        assert robot.receive(old, 0.0) == []

    def test_starts_are_told_apart(self) -> None:
        names = set()
        for _ in range(50):
            base = Endpoint({0: 1.0}, mtu=200, bits_per_second=0, cost=cost)
            base.request(0, Request(key_frame=True), 0.0)
            names.add(base._due_records(0.0)[0].body[:3])
        assert len(names) > 48

    def test_a_confirmation_names_its_request_wholly(self) -> None:
        base, robot, other = endpoint(seed=3), endpoint(), endpoint(seed=4)
        foreign = bytearray(self.sent(other, Request(max_bytes=100), 0.0))
        mine = self.sent(base, Request(max_bytes=100), 0.0)
        foreign[5] = mine[5]  # the same number in another session
        foreign[-2:] = binascii.crc_hqx(bytes(foreign[:-2]), 0).to_bytes(2, "big")
        robot.receive(bytes(foreign), 0.0)
        confirmation = robot.next(0.0)
        base.receive(confirmation, 0.0)
        assert base._asking[0].body
        robot.receive(mine, 1.0)
        base.receive(robot.next(2.0), 2.0)
        assert not base._asking[0].body

    @pytest.mark.parametrize("count", [100, 127, 128, 129, 200, 255, 256, 600])
    def test_however_many_were_lost_the_next_one_is_done(self, count) -> None:
        base, robot = endpoint(seed=3, rate=0), endpoint(rate=0)
        assert robot.receive(self.sent(base, Request(max_bytes=1), 0.0), 0.0)
        base.receive(robot.next(0.0), 0.0)
        for n in range(count):
            self.sent(base, Request(max_bytes=n), float(n))
        assert robot.receive(self.sent(base, Request(max_bytes=9999), 1e4), 1e4) == [
            Requested(0, Request(max_bytes=9999))
        ]

    def test_one_camera_does_not_wear_out_the_numbers_of_another(self) -> None:
        base, robot = endpoint(cameras=2, seed=3, rate=0), endpoint(cameras=2, rate=0)
        for n in range(300):
            base.request(1, Request(max_bytes=n), float(n))
            assert robot.receive(base.next(float(n)), 0.0) == [Requested(1, Request(max_bytes=n))]
            base.receive(robot.next(float(n)), 0.0)
            if n % 150 == 0:
                base.request(0, Request(max_bytes=n), float(n))
                assert robot.receive(base.next(float(n)), 0.0) == [Requested(0, Request(max_bytes=n))]
                base.receive(robot.next(float(n)), 0.0)


class TestComplaint:
    """Everything rejected for ten seconds: which of the reasons it is."""

    def flow(self, sender: Endpoint, receiver: Endpoint, seconds: int, *, back: bool = True) -> str | None:
        for step in range(10 * seconds):
            now = step / 10
            sender.offer(0, Stamp(1, step), packet_of(b"%d" % step), now=now)
            while (datagram := sender.next(now)) is not None:
                receiver.receive(datagram, now)
            while (datagram := receiver.next(now)) is not None:
                if back:
                    sender.receive(datagram, now)
        return receiver.complaint(seconds)

    def test_all_is_well(self, tmp_path) -> None:
        robot, base = channels(tmp_path)
        assert self.flow(endpoint(channel=robot), endpoint(channel=base), 30) is None
        assert self.flow(endpoint(), endpoint(), 30) is None

    def test_a_wrong_key(self, tmp_path) -> None:
        folders = [tmp_path / name for name in "ab"]
        ends = []
        for folder in folders:
            folder.mkdir()
            ends.append(channels(folder))
        robot, base = endpoint(channel=ends[0][0]), endpoint(channel=ends[1][1])
        assert self.flow(robot, base, 9) is None
        words = self.flow(robot, base, 30)
        assert words and "wrong key" in words and "\n" not in words
        assert base.complaint(30 + 120) is None  # nothing comes any more: that is another matter

    def test_noise_while_a_proven_side_is_silent_is_not_called_a_wrong_key(self, tmp_path) -> None:
        robot, base = (endpoint(channel=channel) for channel in channels(tmp_path))
        assert self.flow(robot, base, 5) is None
        for second in range(5, 30):
            base.receive(b"\xff" + bytes(30), float(second))
        words = base.complaint(30.0)
        assert words and "silent" in words and "wrong key" not in words

    def test_not_introduced_yet(self, tmp_path) -> None:
        robot, base = (endpoint(channel=channel) for channel in channels(tmp_path))
        words = self.flow(robot, base, 30, back=False)
        assert words and "not introduced yet" in words and "right key" in words
        assert self.flow(robot, base, 120, back=False) is None  # believed after a minute

    def test_a_key_on_one_side_only(self, tmp_path) -> None:
        robot, base = channels(tmp_path)
        words = self.flow(endpoint(channel=robot), endpoint(), 30)
        assert words and "key_file" in words
        words = self.flow(endpoint(), endpoint(channel=base), 30)
        assert words and "key_file" in words


@pytest.mark.parametrize("name", ["lora-sf7", "lora-sf10", "iridium-sbd", "hf", "lunar-relay"])
def test_a_key_costs_hardly_more_than_its_ten_bytes_on_links_of_every_kind(tmp_path, name) -> None:
    """Slow, late, lossy: both sides are soon settled, and hellos take less than two percent of a quarter of an hour."""
    spec, _ = PRESETS[name]
    both = channels(tmp_path)
    mtu = min(spec.mtu, 1400)
    pair = Pair(
        endpoint(mtu=mtu, rate=spec.bits_per_second, channel=both[0]),
        endpoint(mtu=mtu, rate=0.1 * spec.bits_per_second, channel=both[1]),
        spec,
    )
    sent: dict = {}
    offer = feed(pair.robot, sent, size=120, every=max(1.0, 3000 / spec.bits_per_second))
    state = {"heard": 0}

    def talk(now: float) -> None:
        offer(now)
        if len(pair.at_base) > state["heard"]:
            state["heard"] = len(pair.at_base)
            pair.base.acknowledge(0, state["heard"])

    pair.run(900, talk, step=0.1)
    assert pair.robot.settled
    assert pair.base.settled
    assert len(pair.frames()) > 0.6 * len(sent)
    assert all(sent[frame.stamp.nanosec] == frame.packet for frame in pair.frames())
    assert 8 * 59 * pair.robot.counters.sent_hellos < 0.02 * 900 * spec.bits_per_second
    assert 8 * 59 * pair.base.counters.sent_hellos < 0.02 * 900 * spec.bits_per_second
