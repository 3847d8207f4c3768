"""The replay window beside a plain set of what was accepted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.replay_window import WINDOW, ReplayWindow


@settings(deadline=None)
@given(
    st.integers(-1, 300),
    st.lists(st.integers(0, 1500), max_size=200),
)
def test_each_counter_once_and_every_one_that_is_recent_enough(floor, steps) -> None:
    window, accepted, highest = ReplayWindow(floor), set(range(floor + 1)), floor
    for step in steps:
        fresh = window.fresh(step)
        assert fresh == (step not in accepted and step > highest - WINDOW)
        if fresh:
            window.accept(step)
            accepted.add(step)
            highest = max(highest, step)
        assert window.highest == highest
        assert not window.fresh(step)
