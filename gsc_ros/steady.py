"""What stands: of a view at rest, every frame narrows down what the frames before it have said.

    symbols --> an interval for each value --+--> what both allow --> its middle --> picture
    intervals so far, of a view at rest -----+

A symbol says that a value lies within a step. A key frame says so with coarse steps, because it builds on nothing; the
frames that build on it use finer ones. Shown one by one, a view at rest turns coarse with every key frame, and every refinement
moves all values to another grid. What all of them allow only gets narrower: the picture settles, and a coarse frame that says
the same as the finer ones before it changes nothing. The generator starts from what stands, with the same noise: it paints the
same. A value that has moved on is taken from the frame that says so; as soon as one is out of reach of what was known of it, the
view is not at rest, and the frame is shown as it is.

Only the picture is concerned. What later frames build on is what a frame says, to the last symbol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.frame import Frame
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.quantised import HOLD, QuantisedLatents, Symbols

Values = NDArray[np.float32]
Interval = tuple[Values, Values]

# Half the interval of a symbol, in steps. On its own it is the nearest whole one, or with thrift the one
# below; a value that builds on another stays as long as it is within HOLD.
ALONE, BUILT = 0.54, HOLD + 0.02
GAP = 0.1  # intervals farther apart than so many of the coarser steps are of different values
FAR = 0.65  # a value whose middle is off by more of them has changed, though the intervals touch, unless
FINER = 0.75  # what was known is so much narrower, or more: then the frame allows a part of it or has excluded it
FINE = 256  # values are multiples of 1/256 of a step: a frame that says the same again is painted the same to the bit


@dataclass(frozen=True)
class Shown:
    """What a picture is painted from: y in steps of ``level``, by channel; whole numbers unless the view is at rest."""

    geometry: Geometry
    level: int
    values: dict[int, Values]


class Steadier:
    """Remembers what the frames of one camera have said of a view."""

    def __init__(self, latents: QuantisedLatents) -> None:
        self._latents = latents
        self._shown: Shown | None = None
        self._known: dict[int, Interval] = {}

    def settle(self, frame: Frame, symbols: Symbols) -> Shown:
        """What to paint for ``frame`` and its ``symbols``."""
        shown = Shown(
            Geometry(frame.height, frame.width, frame.scale),
            frame.level,
            {channel: plane.astype(np.float32) for channel, plane in symbols.items()},
        )
        step, half = self._latents.step[frame.level], BUILT if frame.reference else ALONE
        said = {c: ((plane - half) * step[c], (plane + half) * step[c]) for c, plane in shown.values.items()}
        if self._at_rest(shown, said):
            assert self._shown is not None
            coarser = self._latents.step[min(self._shown.level, shown.level)]
            # Of a channel that was not sent nothing is said: what was known of it stands.
            said = self._known | {
                c: _narrowed(self._known[c], said[c], FAR * coarser[c]) if c in self._known else said[c] for c in said
            }
            level = max(self._shown.level, shown.level)
            finest = self._latents.step[level]
            middles = {
                c: np.rint(FINE * (low + high) / (2 * finest[c])) / FINE for c, (low, high) in sorted(said.items())
            }
            shown = Shown(shown.geometry, level, middles)
        self._shown, self._known = shown, said
        return shown

    def _at_rest(self, new: Shown, said: dict[int, Interval]) -> bool:
        before = self._shown
        if before is None or before.geometry != new.geometry or not said:
            return False
        step = self._latents.step
        coarser = step[min(before.level, new.level)]
        for channel, (low_known, high_known) in self._known.items():
            # A channel that is missing holds nothing but zeros, or was left out: then it must not have said anything.
            half = ALONE * step[new.level, channel]
            low, high = said.get(channel, (np.full_like(low_known, -half), np.full_like(low_known, half)))
            if np.maximum(low - high_known, low_known - high).max() > GAP * coarser[channel]:
                return False
        return True


def _narrowed(known: Interval, said: Interval, far: float) -> Interval:
    """What both allow; what was said now where it is another value; the narrower where they just exclude one another."""
    low, high = np.maximum(known[0], said[0]), np.minimum(known[1], said[1])
    excluded = low > high
    low, high = np.where(excluded, known[0], low), np.where(excluded, known[1], high)
    width_known, width_said = known[1] - known[0], said[1] - said[0]
    newer = (np.abs(known[0] + known[1] - said[0] - said[1]) > 2 * far) & (width_known > FINER * width_said)
    newer |= excluded & (width_said <= width_known)
    return np.where(newer, said[0], low), np.where(newer, said[1], high)
