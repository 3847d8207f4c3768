"""The token bucket: a hard limit over any time, all of it used, and no queue that never empties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.emulator import EmulatedLink, LinkSpec
from gsc_ros.link.token_bucket import SLACK_S, TokenBucket


@given(st.floats(100, 1e6), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 4000)), min_size=1, max_size=60))
def test_no_window_carries_more_than_the_rate_and_one_datagram(rate, events) -> None:
    bucket = TokenBucket(rate)
    now, passed = 0.0, []
    for pause, bits in events:
        now += pause
        if bucket.ready(now):
            bucket.spend(bits, now)
            passed.append((now, bits))
    for index, (start, _) in enumerate(passed):
        total = 0
        for then, bits in passed[index:]:
            total += bits
            assert total <= rate * (then - start + SLACK_S) + 4000 + 1


def test_what_is_offered_in_time_passes_at_the_full_rate() -> None:
    bucket = TokenBucket(4000)
    now, bits = 0.0, 0
    while now < 60:
        now += bucket.delay(now) + 0.02  # whoever drives it is never quite in time
        assert bucket.ready(now)
        bucket.spend(800, now)
        bits += 800
    assert bits == pytest.approx(60 * 4000, rel=0.01)


def test_nothing_ever_waits_in_front_of_a_link_of_the_same_rate() -> None:
    """Also after a pause, when a bucket that saves up would be ahead for good."""
    bucket, link = TokenBucket(4000), EmulatedLink(LinkSpec(bits_per_second=4000))
    now, longest = 0.0, 0.0
    for step in range(20_000):
        now = step * 0.01
        if not 50 < now < 60 and bucket.ready(now):
            longest = max(longest, link.free_at - now)
            link.send(bytes(100), now)
            bucket.spend(800, now)
    assert longest <= SLACK_S + 0.01


def test_another_rate_holds_from_that_moment() -> None:
    bucket = TokenBucket(1000)
    bucket.spend(1000, 0.0)
    bucket.set_rate(10_000, 0.0)
    assert not bucket.ready(0.09)
    assert bucket.ready(0.11)


def test_a_rate_of_zero_is_no_limit_and_a_clock_that_stands_gives_nothing() -> None:
    free = TokenBucket(0)
    free.spend(10**9, 0.0)
    assert free.ready(0.0)
    bucket = TokenBucket(1000)
    bucket.spend(100, 5.0)
    assert not bucket.ready(5.0)
    assert bucket.delay(5.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="0 \\(no limit\\) or more"):
        TokenBucket(-1)
