"""One codec over one link, in virtual time: what is on the screen, and since when."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gsc_ros.experiment.codecs import ExperimentCodec, Feedback, Image
from gsc_ros.link.datagram import Stamp
from gsc_ros.link.emulator import EmulatedLink, LinkSpec
from gsc_ros.link.endpoint import Endpoint
from gsc_ros.link.events import Acknowledged, FrameArrived
from gsc_ros.rate import RateControl, RateSettings

STEP_S = 0.01
UDP_HEADERS = 28
BACK_SHARE = 0.1  # of the link's rate: what acknowledgements may take of the way back
WARM_UP = 3  # frames whose coding times are not counted


@dataclass(frozen=True)
class Shown:
    """One picture that reached the screen; times in seconds since the start."""

    index: int  # of the drive's frame
    taken_s: float
    shown_s: float
    packet_bytes: int
    picture: Image


@dataclass(frozen=True)
class Flight:
    """What one run was."""

    shown: list[Shown]
    sent: int  # packets that went into the link
    wire_bytes: int  # with every header, one way
    back_bytes: int  # the other way
    seconds: float
    encode_ms: float
    decode_ms: float


def wire_cost(datagram: bytes) -> int:
    """Bytes of a UDP datagram over IPv4."""
    return len(datagram) + UDP_HEADERS


def rate_settings(spec: LinkSpec, *, max_bytes: int, least_rate_hz: float) -> RateSettings:
    """What a sender on ``spec`` may spend: all of the link."""
    mtu = min(spec.mtu, 1400)
    # A datagram has its UDP headers, our head of three or four bytes, and once a frame the stamp of eight.
    return RateSettings(
        bits_per_second=spec.bits_per_second, max_bytes=max_bytes, least_rate_hz=least_rate_hz,
        overhead=UDP_HEADERS + 12, datagram=max(16, mtu - 12),
    )  # fmt: skip


def fly(
    codec: ExperimentCodec,
    drive: Sequence[Image],
    spec: LinkSpec,
    rate: RateSettings,
    *,
    fps: float,
    seconds: float,
    seed: int,
) -> Flight:
    """Drive to and fro through ``drive`` for ``seconds`` and send what the link carries.

    Coding takes the virtual time that it took a processor here, so that it counts as much as the link does
    and what else the machine was doing does not.
    """
    mtu = min(spec.mtu, 1400)
    robot = Endpoint({0: 1.0}, mtu=mtu, bits_per_second=spec.bits_per_second, cost=wire_cost, rng=random.Random(seed))
    base = Endpoint(
        {0: 1.0}, mtu=mtu, bits_per_second=BACK_SHARE * spec.bits_per_second, cost=wire_cost, rng=random.Random(seed),
        unpack=bytes,  # peers' packets have no checksum of their own
    )  # fmt: skip
    up, down = (EmulatedLink(spec, seed=seed + way, cost=wire_cost) for way in range(2))
    control = RateControl(rate)
    hertz = codec.rate_hz
    shown: list[Shown] = []
    taken: dict[Stamp, tuple[int, float]] = {}
    busy_until = screen_free = 0.0
    encode_s, decode_s = [], []
    last_index, sent = -1, 0
    finished: list[tuple[float, int, float, bytes]] = []  # coded, but its time is not over yet
    decoding: list[tuple[float, Shown | None, Feedback | None]] = []
    step, now = 0, 0.0
    end = seconds + spec.latency_s + spec.jitter_s + 2.0
    while now < end:
        index = int(now * fps)
        idle = robot.wait(now) is None
        ready = now >= busy_until and not finished and index != last_index and now < seconds
        if ready and hertz is not None:
            ready = idle and index * hertz // fps != last_index * hertz // fps
        elif ready:
            ready = control.delay(now) == 0
        if ready:
            last_index = index
            frame = _to_and_fro(index, len(drive))
            began = time.process_time()
            packet = codec.encode(drive[frame], control.allowance)
            encode_s.append(time.process_time() - began + codec.spared_s)
            busy_until = now + encode_s[-1]
            if packet is not None:
                finished.append((busy_until, frame, now, packet))
        if finished and now >= finished[0][0]:
            _, frame, then, packet = finished.pop()
            control.spend(len(packet), now, coding_s=encode_s[-1])
            stamp = Stamp(*divmod(10**9 + round(then * 1e9), 10**9))
            taken[stamp] = (frame, then)
            robot.offer(0, stamp, packet, now=now)
            sent += 1
        while (datagram := robot.next(now)) is not None:
            up.send(datagram, now)
        while (datagram := base.next(now)) is not None:
            down.send(datagram, now)
        for datagram in up.receive(now):
            for event in base.receive(datagram, now):
                if isinstance(event, FrameArrived):
                    began = time.process_time()
                    picture, feedback = codec.decode(event.packet)
                    decode_s.append(time.process_time() - began)
                    screen_free = max(now, screen_free) + decode_s[-1]
                    frame, then = taken[event.stamp]
                    seen = None if picture is None else Shown(frame, then, screen_free, len(event.packet), picture)
                    decoding.append((screen_free, seen, feedback))
        while decoding and decoding[0][0] <= now:
            _, seen, feedback = decoding.pop(0)
            if seen is not None:
                shown.append(seen)
            if feedback is not None:
                base.acknowledge(0, feedback.sequence, key_wanted=feedback.key_wanted)
        for datagram in down.receive(now):
            for event in robot.receive(datagram, now):
                if isinstance(event, Acknowledged):
                    codec.heard(Feedback(event.sequence, event.key_wanted))
        step += 1
        now = step * STEP_S  # a sum of steps would drift
    assert not base.counters.malformed
    return Flight(
        shown=shown, sent=sent, wire_bytes=up.losses.wire_bytes, back_bytes=down.losses.wire_bytes, seconds=seconds,
        encode_ms=_median_ms(encode_s), decode_ms=_median_ms(decode_s),
    )  # fmt: skip


def _to_and_fro(index: int, count: int) -> int:
    """0, 1 ... count-1, count-2 ... 1, 0, 1 ...: a drive without jumps."""
    place = index % max(1, 2 * count - 2)
    return place if place < count else 2 * count - 2 - place


def _median_ms(times: list[float]) -> float:
    settled = sorted(times[WARM_UP:] or times)
    return 1e3 * settled[len(settled) // 2] if settled else float("nan")
