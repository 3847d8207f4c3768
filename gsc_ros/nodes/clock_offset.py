"""How far the other side's clock is off this one, as far as arrivals can tell."""

from __future__ import annotations

from collections import deque

WINDOW_S = 20.0
BINS = 10


class ClockOffset:
    """The smallest difference of arrival and stamp lately: the clocks' offset plus the fastest way."""

    def __init__(self) -> None:
        self._bins: deque[tuple[float, float]] = deque()  # beginning of each bin, smallest difference in it

    def seen(self, difference_s: float, now: float) -> None:
        """A frame came ``difference_s`` after its stamp; ``now`` in seconds of a clock that never goes back."""
        if self._bins and now - self._bins[-1][0] < WINDOW_S / BINS:
            self._bins[-1] = (self._bins[-1][0], min(self._bins[-1][1], difference_s))
        else:
            self._bins.append((now, difference_s))
        while now - self._bins[0][0] > WINDOW_S:
            self._bins.popleft()

    @property
    def seconds(self) -> float:
        """The difference; 0 before the first frame. May be asked in any thread."""
        return min((difference for _, difference in tuple(self._bins)), default=0.0)
