"""What stamps tell of frames that never arrived: a camera that gives one every so often leaves a gap where one is missing."""

from __future__ import annotations

from collections import deque

KEPT = 64  # intervals that the camera's own is told from
NEEDED = 8  # before that nothing is said
QUANTILE = 0.2  # of the intervals: where half of the frames are lost the median is twice the camera's
PAUSE_NS = 10 * 10**9  # a longer gap is a camera that was switched off


class Cadence:
    """Counts the gaps between the stamps of one camera, in periods of the camera."""

    def __init__(self) -> None:
        self._intervals: deque[int] = deque(maxlen=KEPT)
        self._last: int | None = None

    def missing_before(self, stamp_ns: int) -> int:
        """How many frames did not arrive between the last one seen and this one, which has ``stamp_ns``."""
        last, self._last = self._last, stamp_ns
        if last is None or not 0 < stamp_ns - last < PAUSE_NS:
            return 0
        self._intervals.append(stamp_ns - last)
        if len(self._intervals) < NEEDED:
            return 0
        period = sorted(self._intervals)[int(QUANTILE * len(self._intervals))]
        return max(0, round((stamp_ns - last) / period) - 1)
