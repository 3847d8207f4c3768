"""Hostile datagrams at both ends of a link, with and without a key: nothing raises, nothing grows, nothing passes."""

from __future__ import annotations

import binascii
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_endpoint import bounded, cost, packet_of

from gsc_ros.link import secure_channel
from gsc_ros.link.boot_memory import MAX_BOOTS
from gsc_ros.link.datagram import Kind, Stamp, Type, frame_body, head
from gsc_ros.link.endpoint import Endpoint
from gsc_ros.link.events import FrameArrived
from gsc_ros.link.key_file import new_key
from gsc_ros.link.request import Request
from gsc_ros.link.secure_channel import SecureChannel

CAMERAS = (0, 3, 31)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "link.key"
    new_key(path)
    return path


def end(side: str, key=None, *, mtu: int = 200) -> Endpoint:
    channel = SecureChannel(key, side=side) if key else None
    weights = dict.fromkeys(CAMERAS, 1.0)
    return Endpoint(weights, mtu=mtu, bits_per_second=0, cost=cost, channel=channel, rng=random.Random(1))


def modest(ends: list[Endpoint]) -> None:
    """What an end and its channel keep is bounded whatever came."""
    for one in ends:
        bounded(one)
        channel = one._channel
        if channel is None:
            continue
        assert len(channel._unproven) <= secure_channel.MAX_UNPROVEN
        assert len(channel._unanswered) <= secure_channel.MAX_UNPROVEN + 1
        assert len(channel._challenges) <= secure_channel.MAX_CHALLENGES
        assert len(channel._memory._stored) <= MAX_BOOTS


def use(one: Endpoint, now: float) -> list[bytes]:
    """All that a gateway does with an end between two datagrams; what goes out."""
    out = []
    for camera in CAMERAS:
        one.offer(camera, Stamp(-5, 5), packet_of(b"mine"), frame_id="mast", now=now)
        one.acknowledge(camera, 65_535, key_wanted=True)
        one.request(camera, Request(caption="north", max_bytes=9), now)
    while (datagram := one.next(now)) is not None:
        out.append(datagram)
    one.wait(now)
    one.complaint(now)
    return out


RECORDS = st.lists(st.tuples(st.integers(0, 7), st.sampled_from([*CAMERAS, 1]), st.binary(max_size=30)), max_size=5)
DATAGRAMS = st.one_of(
    st.binary(max_size=120),
    st.tuples(st.integers(0xFD, 0xFF), st.binary(min_size=28, max_size=32)).map(lambda t: bytes([t[0]]) + t[1]),
    RECORDS.map(
        lambda records: checked(
            head(Kind.CONTROL) + b"".join(bytes([t << 5 | camera, len(body)]) + body for t, camera, body in records)
        )
    ),
    st.tuples(st.sampled_from(list(Type)), st.sampled_from(CAMERAS), st.binary(max_size=12)).map(
        lambda t: checked(head(Kind.CONTROL) + bytes([t[0] << 5 | t[1], len(t[2])]) + t[2])
    ),
    st.tuples(st.sampled_from(CAMERAS), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=100)).map(
        lambda t: head(Kind.PART, t[0]) + bytes([t[1], t[2]]) + t[3]
    ),
    st.tuples(
        st.sampled_from(CAMERAS), st.integers(0, 255), st.integers(-(2**31), 2**31 - 1), st.integers(0, 10**9 - 1),
        st.binary(max_size=60),
    ).map(lambda t: head(Kind.FRAME, t[0]) + bytes([t[1]]) + frame_body(t[0], t[1], Stamp(t[2], t[3]), packet_of(t[4]))),
)  # fmt: skip


def checked(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(DATAGRAMS, st.booleans(), st.floats(0, 100)), max_size=25), st.booleans())
def test_any_datagrams_even_from_one_who_holds_the_key(key, datagrams, sealed) -> None:
    """Half of them are sealed rightly: a peer gone mad may say anything, and an outsider anything else."""
    robot, base = (end(side, key if sealed else None) for side in ("robot", "base"))
    now = 0.0
    for _ in range(4):  # introduce them
        for sender, receiver in ((robot, base), (base, robot)):
            for datagram in use(sender, now):
                receiver.receive(datagram, now)
    for datagram, genuine, later in datagrams:
        now += later
        for sender, receiver in ((robot, base), (base, robot)):
            channel = sender._channel
            receiver.receive(channel.seal(datagram) if channel and genuine and datagram else datagram, now)
            use(receiver, now)
    modest([robot, base])


def mutated(rng: random.Random, datagram: bytes, others: list[bytes]) -> bytes:
    """One or a few of the ways in which datagrams go wrong."""
    out = bytearray(datagram)
    for _ in range(rng.randrange(1, 4)):
        kind, place = rng.randrange(7), rng.randrange(len(out) + 1)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[place:]
        elif kind == 2:
            out[place:place] = rng.randbytes(rng.randrange(1, 5))
        elif kind == 3:
            del out[place : place + rng.randrange(1, 5)]
        elif kind == 4:
            out = bytearray(out[:place] + rng.choice(others)[rng.randrange(20) :])
        elif kind == 5 and out:
            out[0] = rng.randrange(256)
        elif len(out) > 2:
            out[-2:] = binascii.crc_hqx(bytes(out[:-2]), 0).to_bytes(2, "big")  # right again, for what it holds now
    return bytes(out)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("count", [2000, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_mutated_traffic_at_both_ends(key, count, sealed) -> None:
    rng = random.Random(count + sealed)
    robot, base = (end(side, key if sealed else None, mtu=64) for side in ("robot", "base"))
    sent: set[bytes] = set()
    genuine: set[bytes] = set()
    past: dict[int, list[bytes]] = {0: [b"\0"], 1: [b"\0"]}
    now, wrong, got = 0.0, 0, 0
    for step in range(count // 2):
        now += rng.choice((0.02, 0.02, 0.5, 70.0 if step % 50 == 0 else 0.1))
        packet = packet_of(rng.randbytes(rng.randrange(8, 90)))
        sent.add(packet)
        robot.offer(rng.choice(CAMERAS), Stamp(step, 5), packet, frame_id="mast", now=now)
        base.acknowledge(0, step & 0xFFFF)
        if step % 20 == 0:
            base.request(3, Request(max_bytes=step & 0xFFFF), now)
        for way, (sender, receiver) in enumerate(((robot, base), (base, robot))):
            while (datagram := sender.next(now)) is not None:
                past[way] = [*past[way][-200:], datagram]
                genuine.add(datagram)
                if rng.random() < 0.5:
                    for event in receiver.receive(datagram, now):
                        got += isinstance(event, FrameArrived)
                        wrong += isinstance(event, FrameArrived) and event.packet not in sent
            for _ in range(2):
                hostile = mutated(rng, rng.choice(past[way]), past[way])
                for event in receiver.receive(hostile, now):
                    foreign = isinstance(event, FrameArrived) and event.packet not in sent
                    wrong += foreign or (sealed and hostile not in genuine)
                receiver.complaint(now)
    modest([robot, base])
    assert got > count // 20
    assert not (sealed and wrong)
    assert wrong <= count // 200  # without a key a checksum that was made right again is believed
    for side in (robot, base):
        bad = side.counters.rejected if sealed else side.counters.malformed
        assert bad > count // 4
