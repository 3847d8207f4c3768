"""Sixteen bits a pixel as eight, the same way from frame to frame.

Cameras of 10 to 14 bits, thermal ones above all, fill a small part of 16 bits: the upper byte alone is black.
Stretching each frame by itself would flicker, and cost bytes where frames build on each other. So a stream has one
range, which the first frame sets, with room, and which only ever widens.
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


class Brightness:
    """The range of one stream; ``low`` and ``high`` become 0 and 255."""

    def __init__(self) -> None:
        self.low, self.high = 0, 0  # none yet

    @property
    def stretched(self) -> bool:
        """Whether less than the 16 bits is shown."""
        return self.high > 0 and (self.low, self.high) != (0, 65535)

    def to_8_bits(self, values: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """``values`` of any shape as uint8; the range is widened first where they lie outside of it."""
        self._widen(values)
        if not self.stretched:
            return (values >> 8).astype(np.uint8)
        rows = values.reshape(values.shape[0], -1)
        above = cv2.subtract(rows, self.low) if self.low else rows  # type: ignore[call-overload]
        scaled = cv2.convertScaleAbs(above, alpha=255 / (self.high - self.low))
        return np.asarray(scaled, dtype=np.uint8).reshape(values.shape)

    def _widen(self, values: NDArray[np.uint16]) -> None:
        sample = values.ravel()[:: max(1, values.size // SAMPLES)]
        beyond = int(SHARE * len(sample))
        ordered = np.partition(sample, (beyond, len(sample) - 1 - beyond))
        low, high = int(ordered[beyond]), int(ordered[-1 - beyond])
        if self.high and self.low <= low and high <= self.high:
            return
        if self.high:
            low, high = min(low, self.low), max(high, self.high)
        room = max(int(ROOM * (high - low)), (LEAST_SPAN - (high - low)) // 2)
        whole = high - low >= WHOLE_SPAN
        self.low, self.high = (0, 65535) if whole else (max(0, low - room), min(65535, high + room))
