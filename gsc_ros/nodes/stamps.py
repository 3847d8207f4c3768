"""Stamps of messages as plain integers: any value of the fields is a time, before 1970 too (rclpy's Time takes no such)."""

from __future__ import annotations

from typing import Any


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces Time in nanoseconds since 1970; 0 is taken as never set."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def age_s(stamp: Any, now_ns: int) -> float | None:
    """Seconds from ``stamp`` to ``now_ns``; None for a stamp that was never set."""
    then = nanoseconds(stamp)
    return (now_ns - then) / 1e9 if then else None
