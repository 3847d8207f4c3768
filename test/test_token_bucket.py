"""The token bucket: a hard limit over any time, and all of it used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.token_bucket import TokenBucket


@given(
    st.floats(100, 1e6),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 4000)), min_size=1, max_size=60),
)
def test_no_window_carries_more_than_rate_and_burst(rate, events) -> None:
    bucket = TokenBucket(rate, 4000)
    now, passed = 0.0, []
    for pause, bits in events:
        now += pause
        if bucket.take(bits, now):
            passed.append((now, bits))
    for index, (start, _) in enumerate(passed):
        total = 0
        for then, bits in passed[index:]:
            total += bits
            assert total <= rate * (then - start) + bucket.burst_bits + 1


def test_what_is_offered_in_time_passes_at_the_full_rate() -> None:
    bucket = TokenBucket(4000, 800)
    now, bits = 0.0, 0
    while now < 60:
        now = max(now, bucket.ready_at(800, now)) + 0.02  # whoever drives it is never quite in time
        assert bucket.take(800, now)
        bits += 800
    assert bits == pytest.approx(60 * 4000, rel=0.01)


def test_another_rate_holds_from_that_moment() -> None:
    bucket = TokenBucket(1000, 1000)
    assert bucket.take(1000, 0.0)
    bucket.set_rate(10_000, 0.0)
    assert not bucket.take(1000, 0.09)
    assert bucket.take(1000, 0.11)


def test_a_rate_of_zero_is_no_limit_and_a_clock_that_stands_gives_nothing() -> None:
    assert TokenBucket(0, 1).take(10**9, 0.0)
    bucket = TokenBucket(1000, 100)
    assert bucket.take(100, 5.0)
    assert not bucket.take(1, 5.0)
    with pytest.raises(ValueError, match="holds 350"):
        bucket.ready_at(351, 5.0)
