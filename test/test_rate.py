"""Bits per second into bytes a frame: a hard limit, no waste, and quick to follow another limit."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.token_bucket import SLACK_S
from gsc_ros.rate import MIN_FRAME, RateControl, RateSettings


def run(control: RateControl, seconds: float, *, uses=lambda allowed: allowed, start=0.0, camera_s=0.1) -> list:
    """(time, bytes) of the frames of a camera that gives one every ``camera_s``."""
    sent, now = [], start
    while now < start + seconds:
        if control.delay(now) == 0:
            allowed = control.allowance
            size = uses(allowed)
            assert size <= allowed
            control.spend(size, now)
            sent.append((now, size))
        now += camera_s
    return sent


@given(
    st.floats(400, 64_000),
    st.integers(24, 1200),
    st.floats(0.2, 5),
    st.sampled_from([52, 200, 1400]),
    st.floats(0.1, 1.0),
)
def test_the_limit_holds_over_any_time_with_every_header(rate, most, hertz, datagram, used) -> None:
    settings = RateSettings(bits_per_second=rate, max_bytes=most, least_rate_hz=hertz, overhead=38, datagram=datagram)
    sent = run(RateControl(settings), 30, uses=lambda allowed: max(1, int(used * allowed)))
    largest = 8 * settings.cost(settings.frame_bytes) + rate * SLACK_S
    for index, (start, _) in enumerate(sent):
        bits = 0
        for now, size in sent[index:]:
            bits += 8 * settings.cost(size)
            assert bits <= rate * (now - start) + largest + 1


@given(st.integers(1, 5000), st.sampled_from([20, 200, 1400]))
def test_room_is_what_cost_leaves(wire, datagram) -> None:
    settings = RateSettings(datagram=datagram, overhead=38)
    room = settings.room(wire)
    assert room == 0 or settings.cost(room) <= wire
    assert settings.cost(room + 1) > wire


def test_frames_that_use_little_come_more_often_and_nothing_is_wasted() -> None:
    settings = RateSettings(bits_per_second=4000, max_bytes=1200, least_rate_hz=1.0)
    full = run(RateControl(settings), 60)
    small = run(RateControl(settings), 60, uses=lambda allowed: min(allowed, 60))
    assert 55 <= len(full) <= 62
    # After a frame of 60 of the 462 bytes one has to wait for what those cost, not for a second.
    assert len(small) > 4 * len(full)
    assert sum(8 * settings.cost(size) for _, size in full) == pytest.approx(60 * 4000, rel=0.05)


def test_another_limit_is_followed_within_a_second() -> None:
    settings = RateSettings(bits_per_second=1000, max_bytes=1200, least_rate_hz=1.0)
    control = RateControl(settings)
    run(control, 10)
    control.change(dataclasses.replace(settings, bits_per_second=16_000), 10.0)
    up = run(control, 1.0, start=10.0)
    assert sum(size for _, size in up) > 1000
    assert up[0][0] < 11.0
    control.change(dataclasses.replace(settings, bits_per_second=1000), 11.0)
    down = run(control, 10.0, start=11.0)
    assert sum(8 * settings.cost(size) for _, size in down) <= 10 * 1000 + 8 * settings.cost(1200)
    assert all(size <= settings.room(1000 / 8 + 1) for _, size in down)


def test_a_wish_beyond_the_limit_is_saved_up_for_afterwards() -> None:
    settings = RateSettings(bits_per_second=4000, max_bytes=300, least_rate_hz=1.0)
    control = RateControl(settings)
    control.spend(1200, 0.0)
    assert control.delay(0.0) > 1.5
    assert control.delay(10.0) == 0


def test_without_a_limit_only_the_frame_is_limited() -> None:
    control = RateControl(RateSettings(max_bytes=300))
    assert control.delay(0.0) == 0
    assert control.allowance == 300
    assert RateControl(RateSettings(max_bytes=0)).allowance is None
    assert RateControl(RateSettings(bits_per_second=1, max_bytes=300)).allowance == MIN_FRAME


@pytest.mark.parametrize("unsteady", [False, True])
def test_coding_takes_its_time_while_the_link_is_busy_and_nothing_waits_for_the_link(unsteady) -> None:
    settings = RateSettings(bits_per_second=4000, max_bytes=1200, least_rate_hz=1.0)
    control, now, free_at, waited, sent = RateControl(settings), 0.0, 0.0, [], 0
    while now < 120:
        delay = control.delay(now)
        if delay:
            now += delay
            continue
        coding = 0.3 + (0.4 if unsteady and sent % 7 == 3 else 0.0)
        now += coding
        size = control.allowance
        control.spend(size, now, coding_s=coding)
        waited.append(max(0.0, free_at - now))
        free_at = max(free_at, now) + 8 * settings.cost(size) / 4000
        sent += 1
    assert max(waited) <= SLACK_S + 1e-6  # nothing piles up
    assert sent > (110 if unsteady else 115)  # and the link is not idle while frames are coded
