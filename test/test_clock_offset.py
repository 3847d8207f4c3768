"""Clocks that differ: ages count from the fastest frame, and a clock that is set is noticed."""

from __future__ import annotations

import numpy as np

from gsc_ros.nodes.clock_offset import ClockOffset


def test_the_fastest_frame_lately_sets_the_offset() -> None:
    offset = ClockOffset()
    assert offset.seconds == 0.0
    rng = np.random.default_rng(0)
    for second in range(60):
        offset.seen(3600 + 0.3 + float(rng.exponential(0.5)), float(second))
    assert 3600.3 <= offset.seconds < 3600.6


def test_a_clock_that_is_set_back_is_followed_within_the_window_and_memory_is_bounded() -> None:
    offset = ClockOffset()
    for tick in range(1000):
        offset.seen(0.4, tick * 0.1)
    for tick in range(300):
        offset.seen(3600.4, 100 + tick * 0.1)
    assert offset.seconds == 3600.4
    offset.seen(-50.0, 131.0)  # set forward: at once
    assert offset.seconds == -50.0
    assert len(offset._bins) <= 11
