"""From bits per second to the bytes of the next frame."""

from __future__ import annotations

from dataclasses import dataclass

from gsc_ros.link.token_bucket import TokenBucket

MIN_FRAME = 24  # bytes; a smaller packet shows nothing
PATIENCE_S = 0.25  # a live view does not wait longer for one frame to be coded better
LONGEST_LEAD_S = 1.0  # coding never begins earlier than that before the link is free


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """What the link allows, and what the operator wants of it.

    bits_per_second   hard limit of all frames with their headers; 0: none
    max_bytes         hard limit of a packet; 0: none
    least_rate_hz     frames get smaller rather than rarer than this, down to ``MIN_FRAME`` bytes
    overhead          bytes on the wire of every datagram beside the packet's own
    datagram          largest part of a packet that one datagram carries
    """

    bits_per_second: float = 0.0
    max_bytes: int = 300
    least_rate_hz: float = 0.5
    overhead: int = 38
    datagram: int = 1400

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame if they come at the least rate."""
        room = self.room(self.bits_per_second / 8 / self.least_rate_hz)
        return max(MIN_FRAME, min(room, self.max_bytes) if self.max_bytes else room)

    def cost(self, packet_bytes: int) -> int:
        """Bytes on the wire of a packet."""
        return packet_bytes + self.overhead * -(-packet_bytes // self.datagram)

    def room(self, wire_bytes: float) -> int:
        """The largest packet that costs at most ``wire_bytes``."""
        whole, rest = divmod(int(wire_bytes), self.datagram + self.overhead)
        return whole * self.datagram + max(0, rest - self.overhead)


class RateControl:
    """Says when the next frame may be encoded and how large it may get.

    A frame is begun so that it is coded when the one before has left the link, as long before as
    such take: the link is not idle meanwhile, and no frame waits in front of it. It is no
    larger than the link carries in one period of the least rate: frames that use less, because they
    build on earlier ones, come more often, up to what the camera gives. Over t seconds at most
    ``t * bits_per_second`` are made, plus one frame and what passes in one lead; a new limit
    holds from the next frame on.
    """

    def __init__(self, settings: RateSettings) -> None:
        self.settings = settings
        self._bucket = TokenBucket(settings.bits_per_second)
        self._coding_s = self._lead = 0.0

    def change(self, settings: RateSettings, now: float) -> None:
        """Other settings from ``now`` on."""
        self.settings = settings
        self._bucket.set_rate(settings.bits_per_second, now)

    def delay(self, now: float) -> float:
        """Seconds until the next frame may be encoded; 0: now."""
        return self._bucket.delay(now, ahead_s=self._lead)

    @property
    def allowance(self) -> int | None:
        """The most bytes that the next packet may have; None: no limit."""
        return self.settings.frame_bytes if self.settings.bits_per_second else self.settings.max_bytes or None

    def spend(self, packet_bytes: int, now: float, *, coding_s: float = 0.0) -> None:
        """A packet that took ``coding_s`` to make is handed over. A larger one than allowed, at a wish, delays the next."""
        self._bucket.spend(8 * self.settings.cost(packet_bytes), now)
        # The shorter of two: after one slow frame the next would be early, and wait.
        self._lead = min(coding_s, self._coding_s, LONGEST_LEAD_S)
        self._coding_s = coding_s
