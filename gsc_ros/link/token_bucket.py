"""A token bucket that goes into debt: how many bits may be on the wire by now."""

from __future__ import annotations

SLACK_S = 0.05


class TokenBucket:
    """At most ``bits_per_second`` on average, one datagram at a time.

    Something may pass as soon as what passed before is paid for. Saving up for it first, as the
    textbook has it, keeps a datagram waiting while the link is idle, and a bucket that was full once
    stays ahead of a link of the same rate for good: a queue that never empties. Over any t seconds
    at most ``t * bits_per_second + SLACK_S * bits_per_second`` bits and one datagram pass; the slack
    makes up for calls that come a little late. 0 bits per second: no limit. Times are seconds of
    any clock that does not go back.
    """

    def __init__(self, bits_per_second: float) -> None:
        if bits_per_second < 0:
            raise ValueError(f"{bits_per_second} bit/s: 0 (no limit) or more is needed")
        self.bits_per_second = bits_per_second
        self._tokens = 0.0
        self._then: float | None = None

    def set_rate(self, bits_per_second: float, now: float) -> None:
        """Another rate from ``now`` on; what is owed stays owed."""
        self._fill(now)
        self.bits_per_second = bits_per_second

    def ready(self, now: float) -> bool:
        """Whether something may pass at ``now``."""
        return self.delay(now) == 0.0

    def delay(self, now: float, *, ahead_s: float = 0.0) -> float:
        """Seconds until something may pass; with ``ahead_s`` until so long before that."""
        if not self.bits_per_second:
            return 0.0
        self._fill(now)
        left = -self._tokens / self.bits_per_second - ahead_s
        # A nanosecond is lost in the arithmetic of floats, and would be waited for for ever.
        return left if left > 1e-9 else 0.0

    def spend(self, bits: float, now: float) -> None:
        """``bits`` pass at ``now``."""
        if self.bits_per_second:
            self._fill(now)
            self._tokens -= bits

    def _fill(self, now: float) -> None:
        if self._then is not None and now > self._then:
            gained = (now - self._then) * self.bits_per_second
            self._tokens = min(SLACK_S * self.bits_per_second, self._tokens + gained)
        if self._then is None or now > self._then:
            self._then = now
