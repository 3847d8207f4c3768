"""From bits per second to the bytes of the next frame."""

from __future__ import annotations

from dataclasses import dataclass

MIN_FRAME = 24  # bytes; a smaller packet shows nothing


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

    What a frame did not use is there for the next: frames that build on earlier ones come more
    often, up to what the camera gives. Over t seconds at most ``t * bits_per_second`` pass plus
    one frame of ``max_bytes``; a new limit holds from the next frame on.
    """

    def __init__(self, settings: RateSettings) -> None:
        self.settings = settings
        self._saved = float(settings.cost(self.settings.frame_bytes))
        self._then: float | None = None

    def change(self, settings: RateSettings, now: float) -> None:
        """Other settings from ``now`` on."""
        self._fill(now)
        self.settings = settings
        self._saved = min(self._saved, self._most())

    def delay(self, now: float) -> float:
        """Seconds until the next frame may be encoded; 0: now."""
        rate = self.settings.bits_per_second
        if not rate:
            return 0.0
        self._fill(now)
        return max(0.0, (self.settings.cost(self.settings.frame_bytes) - self._saved) * 8 / rate)

    def allowance(self, now: float) -> int | None:
        """The most bytes that a packet encoded now may have; None: no limit."""
        settings = self.settings
        if not settings.bits_per_second:
            return settings.max_bytes or None
        self._fill(now)
        room = max(MIN_FRAME, settings.room(self._saved))
        return min(room, settings.max_bytes) if settings.max_bytes else room

    def spend(self, packet_bytes: int, now: float) -> None:
        """A packet was sent. One that was larger than allowed (an operator's wish) is saved up for afterwards."""
        self._fill(now)
        if self.settings.bits_per_second:
            self._saved -= self.settings.cost(packet_bytes)

    def _most(self) -> float:
        return float(self.settings.cost(max(self.settings.frame_bytes, self.settings.max_bytes)))

    def _fill(self, now: float) -> None:
        if self._then is not None and now > self._then:
            gained = (now - self._then) * self.settings.bits_per_second / 8
            self._saved = min(self._most(), self._saved + gained)
        self._then = now if self._then is None else max(now, self._then)
