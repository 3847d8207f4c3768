"""Memory across frames: which earlier frames both ends of the link hold, and which one a frame builds on.

    robot                                             base station
    Memory.keep(every frame sent)                     Memory.keep(every frame decoded)
    References.choose --> frame + sequence, check --> Memory.find: exactly that frame, or none
              ^------------- acknowledgement <-------------'

A frame that builds on another names it by its distance and by a checksum of its symbols. A base
that does not hold that very frame shows nothing rather than something else.
"""

from __future__ import annotations

import binascii
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gsc_ros.frame import REACH, Frame

MODES = ("off", "acknowledged", "key")


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """The exact content of a frame that others may build on: symbols within -127..127, by channel."""

    sequence: int
    width: int
    height: int
    scale: int
    level: int
    symbols: Mapping[int, NDArray[np.int8]]

    @cached_property
    def check(self) -> int:
        """CRC-16/XMODEM over level, scale, size, and for each channel its id and symbols in row order."""
        head = (self.level, self.scale, *self.width.to_bytes(2, "big"), *self.height.to_bytes(2, "big"))
        value = binascii.crc_hqx(bytes(head), 0)
        for channel in sorted(self.symbols):
            value = binascii.crc_hqx(channel.to_bytes(2, "big") + self.symbols[channel].tobytes(), value)
        return value


def remember(frame: Frame, symbols: Mapping[int, NDArray[np.integer]]) -> Remembered:
    """What later frames may build on once ``frame`` is on both sides."""
    return Remembered(
        sequence=frame.sequence, width=frame.width, height=frame.height, scale=frame.scale, level=frame.level,
        symbols={channel: plane.astype(np.int8) for channel, plane in symbols.items()},
    )  # fmt: skip


class Memory:
    """The last frames of one camera, at most ``REACH`` sequence numbers back."""

    def __init__(self) -> None:
        self._frames: OrderedDict[int, Remembered] = OrderedDict()

    def keep(self, frame: Remembered) -> None:
        """Remember ``frame``; whatever is then out of reach is forgotten."""
        self._frames[frame.sequence] = frame
        for sequence in [s for s in self._frames if (frame.sequence - s) & 0xFFFF > REACH]:
            del self._frames[sequence]

    def find(self, sequence: int) -> Remembered | None:
        """The frame of that sequence number, if it is held."""
        return self._frames.get(sequence)


class References:
    """What the sender may build on: acknowledged frames, the last key frame, or nothing.

    ``acknowledged`` builds on nothing but what the far side said it has decoded, so that no loss
    ever reaches a later frame. ``key`` builds on the last key frame where nothing was
    acknowledged: it needs no back channel, and a lost key frame costs the frames up to the next.
    Of several that may be built on, the one most like the view is the sender's to find: after a key
    frame, which is coarse, a view at rest goes on from the finer ones before it.
    """

    def __init__(self) -> None:
        self._memory = Memory()
        self._acknowledged: set[int] = set()
        self._key: int | None = None
        self._key_wanted = False

    def acknowledge(self, sequence: int) -> None:
        """The far side has decoded frame ``sequence``."""
        if self._memory.find(sequence) is not None:  # else too old, or from before a restart of this side
            self._acknowledged.add(sequence)

    def ask_for_key(self, about: int | None = None) -> None:
        """Let the next frame build on nothing, unless that was done since frame ``about``."""
        if about is None or self._key is None or (about - self._key) & 0xFFFF < 0x8000:
            self._key_wanted = True
        if about is not None:
            # The far side lacks a frame that it had acknowledged: it has begun anew.
            self._acknowledged = {s for s in self._acknowledged if 0 < (s - about) & 0xFFFF < 0x8000}

    def key_due(self, sequence: int, interval: int) -> bool:
        """Whether frame ``sequence`` has to be a key frame: asked for, the first, or the interval is over."""
        return self._key_wanted or self._key is None or (sequence - self._key) & 0xFFFF >= interval

    def candidates(self, sequence: int, *, mode: str, interval: int) -> list[Remembered]:
        """The frames that ``sequence`` may build on, the newest first; none where it is to be a key frame."""
        if mode == "off" or self.key_due(sequence, interval):
            return []
        usable = self._acknowledged or ({self._key} if mode == "key" and self._key is not None else set())
        near = sorted((sequence - s) & 0xFFFF for s in usable)
        found = [self._memory.find((sequence - distance) & 0xFFFF) for distance in near if distance <= REACH]
        return [frame for frame in found if frame is not None]

    def sent(self, frame: Remembered, *, key: bool) -> None:
        """``frame`` was sent."""
        self._memory.keep(frame)
        self._acknowledged = {s for s in self._acknowledged if self._memory.find(s) is not None}
        if key:
            self._key, self._key_wanted = frame.sequence, False
