"""Sixteen bits a pixel as eight, the same way from frame to frame.

Cameras of 10 to 14 bits, thermal ones above all, fill a small part of 16 bits: the upper byte alone is black.
Stretching each frame by itself would flicker, and cost bytes where frames build on each other. So a stream has one
range, which the first frame sets, with room, and which widens at once. It narrows only where a whole run of frames
used a small part of it: after the one white frame of a shutter that calibrates, all that follow would be black.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SHARE = 0.001  # of the pixels may lie beyond either end: a few that are broken or too hot do not count
ROOM = 0.125  # of the span, on both sides
LEAST_SPAN = 256  # what varies less is noise
WHOLE_SPAN = 1 << 15  # what uses half of all values is taken by its upper byte, as cv_bridge takes it
SAMPLES = 1 << 16
RUN = 32  # frames, before the range may narrow
SMALL_PART = 0.25  # of the range


class Brightness:
    """The range of one stream; ``low`` and ``high`` become 0 and 255."""

    def __init__(self) -> None:
        self.low, self.high = 0, 0  # none yet
        self._used, self._frames = (65535, 0), 0  # lowest and highest of the run, and its length

    @property
    def stretched(self) -> bool:
        """Whether less than the 16 bits is shown."""
        return self.high > 0 and (self.low, self.high) != (0, 65535)

    def to_8_bits(self, values: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """``values`` of any shape as uint8; the range is settled first."""
        self._settle(values)
        if not self.stretched:
            return (values >> 8).astype(np.uint8)
        rows = values.reshape(values.shape[0], -1)
        above = cv2.subtract(rows, self.low) if self.low else rows  # type: ignore[call-overload]
        scaled = cv2.convertScaleAbs(above, alpha=255 / (self.high - self.low))
        return np.asarray(scaled, dtype=np.uint8).reshape(values.shape)

    def _settle(self, values: NDArray[np.uint16]) -> None:
        sample = values.ravel()[:: max(1, values.size // SAMPLES)]
        beyond = int(SHARE * len(sample))
        ordered = np.partition(sample, (beyond, len(sample) - 1 - beyond))
        low, high = int(ordered[beyond]), int(ordered[-1 - beyond])
        self._used, self._frames = (min(low, self._used[0]), max(high, self._used[1])), self._frames + 1
        if not self.high or low < self.low or self.high < high:
            self._set(min(low, self.low) if self.high else low, max(high, self.high))
        elif self._frames >= RUN:
            if max(self._used[1] - self._used[0], LEAST_SPAN) < SMALL_PART * (self.high - self.low):
                self._set(*self._used)
            self._used, self._frames = (65535, 0), 0

    def _set(self, low: int, high: int) -> None:
        """Take the range of ``low`` to ``high``, with room."""
        self._used, self._frames = (65535, 0), 0
        room = max(int(ROOM * (high - low)), (LEAST_SPAN - (high - low)) // 2)
        whole = high - low >= WHOLE_SPAN
        self.low, self.high = (0, 65535) if whole else (max(0, low - room), min(65535, high + room))
