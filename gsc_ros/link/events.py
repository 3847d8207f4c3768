"""What an endpoint tells of what arrived, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gsc_ros.link.datagram import Stamp
from gsc_ros.link.fragments import Reassembler
from gsc_ros.link.request import Request

OVERTAKEN = 16  # a frame so many numbers behind the newest one is late; one farther behind is from a new start


@dataclass(frozen=True)
class FrameArrived:
    """A whole frame of ``camera``, in the order in which frames were sent; ``frame`` is its packet read."""

    camera: int
    stamp: Stamp
    packet: bytes
    frame: Any


@dataclass(frozen=True)
class Acknowledged:
    """The base has decoded frame ``sequence``, or needs a key frame."""

    camera: int
    sequence: int
    key_wanted: bool


@dataclass(frozen=True)
class Requested:
    """The operator asks something of ``camera``."""

    camera: int
    request: Request


@dataclass(frozen=True)
class AboutCamera:
    """The frame_id of ``camera``."""

    camera: int
    frame_id: str


Event = FrameArrived | Acknowledged | Requested | AboutCamera


@dataclass
class LinkCounters:
    """What crossed the link. Bytes are those on the wire, with every header."""

    sent_bytes: int = 0
    sent_datagrams: int = 0
    sent_hellos: int = 0  # of sent_datagrams
    received_bytes: int = 0
    received_datagrams: int = 0
    rejected: int = 0  # not vouched for by the key, or replayed
    malformed: int = 0


@dataclass
class Arrivals:
    """What became of the frames of one camera on their way here."""

    frames: int = 0
    lost: int = 0  # numbers that never came
    late: int = 0  # overtaken by a newer frame, or a second copy
    last: int | None = None
    stamp: Stamp | None = None
    parts: Reassembler = field(default_factory=Reassembler)

    def add(self, number: int, stamp: Stamp) -> bool:
        """Whether frame ``number`` is newer than those before it."""
        behind = 0 if self.last is None else (self.last - number) & 0xFF
        # After a new start of the other side the numbers are others, and its clock may have been set back: that is
        # no reason to show nothing.
        if self.stamp is not None and stamp <= self.stamp and behind < OVERTAKEN:
            self.late += 1
            return False
        if self.last is not None:
            gap = (number - self.last - 1) & 0xFF
            self.lost += gap if gap < 128 else 0
        self.last, self.stamp = number, stamp
        self.frames += 1
        return True
