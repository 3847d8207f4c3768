"""A token bucket: how many bits may be on the wire by now."""

from __future__ import annotations

SLACK_S = 0.25


class TokenBucket:
    """At most ``bits_per_second`` on average, and never more than a burst beyond that.

    Over any t seconds at most ``t * bits_per_second + burst`` bits pass; the burst is
    ``largest_bits`` (of what passes at once) plus what comes in ``SLACK_S``, so that nothing of the
    rate is lost where nobody looks for so long. 0 bits per second: no limit. Times are seconds of
    any clock that does not go back.
    """

    def __init__(self, bits_per_second: float, largest_bits: float) -> None:
        if bits_per_second < 0 or largest_bits <= 0:
            raise ValueError(f"{bits_per_second} bit/s and {largest_bits} bits at once: a bucket needs more than that")
        self.bits_per_second = bits_per_second
        self._largest = largest_bits
        self._tokens = largest_bits
        self._then: float | None = None

    @property
    def burst_bits(self) -> float:
        """The most that is ever saved up."""
        return self._largest + self.bits_per_second * SLACK_S

    def set_rate(self, bits_per_second: float, now: float) -> None:
        """Another rate from ``now`` on; what was saved up stays."""
        self._fill(now)
        self.bits_per_second = bits_per_second

    def available(self, now: float) -> float:
        """Bits that may pass at ``now``."""
        self._fill(now)
        return self._tokens if self.bits_per_second else float("inf")

    def take(self, bits: float, now: float) -> bool:
        """Let ``bits`` pass at ``now`` if they may."""
        if not self.bits_per_second:
            return True
        self._fill(now)
        if bits > self._tokens + 1e-6:
            return False
        self._tokens -= bits
        return True

    def ready_at(self, bits: float, now: float) -> float:
        """When ``bits`` may pass, if nothing else does before; more than a burst never may."""
        if not self.bits_per_second:
            return now
        self._fill(now)
        if bits > self.burst_bits:
            raise ValueError(f"{bits:.0f} bits at once: the bucket holds {self.burst_bits:.0f}")
        return now + max(0.0, bits - self._tokens) / self.bits_per_second

    def _fill(self, now: float) -> None:
        if self._then is not None and now > self._then:
            self._tokens = min(self.burst_bits, self._tokens + (now - self._then) * self.bits_per_second)
        if self._then is None or now > self._then:
            self._then = now
