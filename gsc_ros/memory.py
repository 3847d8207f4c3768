"""Memory across frames: which earlier frames both ends of the link hold, and which one a frame builds on.

    robot                                             base station
    Recent.keep(every frame sent)                     Recent.keep(every frame decoded)
    References.plan ----> frame + sequence, check --> Recent.find: exactly that frame, or none
              ^------------- acknowledgement <-------------'

A frame that builds on another names it by its distance and by a checksum of its symbols. A base
that does not hold that very frame shows nothing rather than something else.
"""

from __future__ import annotations

import binascii
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gsc_ros.frame import REACH, Frame

MODES = ("off", "acknowledged", "key")
Item = TypeVar("Item")


def ahead(sequence: int, of: int) -> int:
    """By how many numbers ``sequence`` is newer, -32768..32767, in the serial arithmetic of RFC 1982."""
    return (sequence - of + 0x8000 & 0xFFFF) - 0x8000


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


@dataclass
class _Life(Generic[Item]):
    """Items of a run of sequence numbers, at most ``reach`` behind the newest."""

    newest: int
    items: dict[int, Item] = field(default_factory=dict)


class Recent(Generic[Item]):
    """What came last from one camera, by sequence number: at most ``reach`` numbers behind the newest.

    An item that comes late is kept where it is within reach, and pushes out no newer one. One that is out of reach
    may be later still, or the first of a sender that has begun anew: it begins a life of its own beside the newer
    of those that are held. Two are held at most, so that neither a late frame nor a restart loses what the other needs.
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._lives: list[_Life[Item]] = []  # at most two, the newer first

    def __len__(self) -> int:
        return sum(len(life.items) for life in self._lives)

    def keep(self, sequence: int, item: Item) -> None:
        """Remember ``item``, in place of any that its life has under that number."""
        life = next((life for life in self._lives if abs(ahead(sequence, life.newest)) <= self._reach), None)
        if life is None:
            life = _Life(sequence)
            self._lives[1:] = [life]
        life.items[sequence] = item
        if ahead(sequence, life.newest) > 0:
            life.newest = sequence
            for old in [s for s in life.items if ahead(s, sequence) < -self._reach]:
                del life.items[old]
        if ahead(self._lives[-1].newest, self._lives[0].newest) > 0:
            self._lives.reverse()

    def find(self, sequence: int, wanted: Callable[[Item], bool] = lambda item: True) -> Item | None:
        """The newest item of that sequence number that is ``wanted``, if one is held."""
        held = (life.items[sequence] for life in self._lives if sequence in life.items)
        return next(filter(wanted, held), None)


class References:
    """What the sender may build on: acknowledged frames, the last key frame, or nothing.

    ``acknowledged`` builds on nothing but what the far side said it has decoded, so that no loss
    ever reaches a later frame. ``key`` builds on the last key frame where nothing was
    acknowledged: it needs no back channel, and a lost key frame costs the frames up to the next.
    Of several that may be built on, the one most like the view is the sender's to find: after a key
    frame, which is coarse, a view at rest goes on from the finer ones before it.
    """

    def __init__(self) -> None:
        # Acknowledgements come while a frame is being coded, on another thread.
        self._lock = threading.Lock()
        self._memory: Recent[Remembered] = Recent(REACH)
        self._acknowledged: set[int] = set()
        self._key: int | None = None
        self._key_wanted = False

    def acknowledge(self, sequence: int) -> None:
        """The far side has decoded frame ``sequence``."""
        with self._lock:
            if self._memory.find(sequence) is not None:  # else too old, or from before a restart of this side
                self._acknowledged.add(sequence)

    def ask_for_key(self, about: int | None = None) -> None:
        """Let the next frame build on nothing, unless that was done since frame ``about``."""
        with self._lock:
            if about is None or self._key is None or ahead(about, self._key) >= 0:
                self._key_wanted = True
            if about is not None:
                # The far side lacks a frame that it had acknowledged: it has begun anew.
                self._acknowledged = {s for s in self._acknowledged if ahead(s, about) > 0}

    def plan(self, sequence: int, *, mode: str, interval: int) -> tuple[bool, list[Remembered]]:
        """Whether frame ``sequence`` has to be a key frame, and the frames that it may build on, the newest first.

        It has to be one where that was asked for, at the beginning, and once the interval is over.
        """
        with self._lock:
            key = self._key_wanted or self._key is None or (sequence - self._key) & 0xFFFF >= interval
            if mode == "off" or key:
                return mode != "off", []
            usable = self._acknowledged or ({self._key} if mode == "key" and self._key is not None else set())
            near = sorted((sequence - s) & 0xFFFF for s in usable)
            found = [self._memory.find((sequence - distance) & 0xFFFF) for distance in near if distance <= REACH]
            return False, [frame for frame in found if frame is not None]

    def sent(self, frame: Remembered, *, key: bool) -> None:
        """``frame`` was sent."""
        with self._lock:
            self._memory.keep(frame.sequence, frame)
            self._acknowledged = {s for s in self._acknowledged if self._memory.find(s) is not None}
            if key:
                self._key, self._key_wanted = frame.sequence, False
