"""Stamps as integers: whatever the fields of a message hold."""

from __future__ import annotations

from types import SimpleNamespace

from gsc_ros.nodes.stamps import age_s, nanoseconds


def test_any_stamp_is_a_time() -> None:
    extreme = SimpleNamespace(sec=-(2**31), nanosec=2**32 - 1)
    assert nanoseconds(extreme) == -(2**31) * 10**9 + 2**32 - 1
    assert age_s(SimpleNamespace(sec=-5, nanosec=0), 10**9) == 6.0
    assert age_s(SimpleNamespace(sec=7, nanosec=500_000_000), 7 * 10**9) == -0.5
    assert age_s(SimpleNamespace(sec=0, nanosec=0), 7 * 10**9) is None
