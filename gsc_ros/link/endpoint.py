"""One side of the link: what goes out when, and what came in. No clock, no thread, no socket.

Whoever drives it calls :meth:`Endpoint.next` whenever the time :meth:`Endpoint.wait` names has come,
puts the datagrams on a transport, and hands what arrives to :meth:`Endpoint.receive`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gsc_ros.link.datagram import (
    CONTROL_BYTES,
    MAX_BODY,
    MAX_CAMERAS,
    RECORD_BYTES,
    DatagramError,
    Kind,
    Record,
    Stamp,
    Type,
    control,
    head,
    records_of,
    split_head,
    split_stamp,
)
from gsc_ros.link.fragments import Reassembler, cut
from gsc_ros.link.outbox import Outbox, Traffic
from gsc_ros.link.request import Request
from gsc_ros.link.seal import OVERHEAD, Rejected, Seal
from gsc_ros.link.token_bucket import TokenBucket

MIN_MTU = 32
ABOUT_EVERY_S = 60.0
REPEAT_REQUEST_S = 3.0
REQUEST_TRIES = 10
OVERTAKEN = 16  # a frame so many numbers behind the newest one is late; one farther behind is from a new start


@dataclass(frozen=True)
class FrameArrived:
    """A whole frame of ``camera``, in the order in which frames were sent."""

    camera: int
    stamp: Stamp
    packet: bytes


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
    received_bytes: int = 0
    received_datagrams: int = 0
    rejected: int = 0  # not vouched for by the key, or replayed
    malformed: int = 0
    unconfirmed: int = 0  # requests that were repeated in vain


@dataclass
class Arrivals:
    """What became of the frames of one camera on their way here."""

    frames: int = 0
    lost: int = 0  # numbers that never came
    late: int = 0  # overtaken by a newer frame, or a second copy
    last: int | None = None
    stamp: Stamp | None = None
    parts: Reassembler = field(default_factory=Reassembler)


@dataclass
class _Pending:
    """A request on its way, until it is confirmed."""

    record: Record
    due: float
    tries: int = 0


class Endpoint:
    """The robot's or the base station's end of one link.

    weights          camera index -> share of the link; the same indices on both sides
    mtu              largest datagram handed to the transport, in bytes, with the seal
    bits_per_second  hard limit with all headers; 0: none
    cost             bytes on the wire for a datagram of so many bytes
    """

    def __init__(
        self,
        weights: Mapping[int, float],
        *,
        mtu: int,
        bits_per_second: float,
        cost: Callable[[bytes], int],
        seal: Seal | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not weights or not all(0 <= camera < MAX_CAMERAS for camera in weights):
            raise ValueError(f"{len(weights)} cameras: 1 to {MAX_CAMERAS} fit on a link")
        if not MIN_MTU <= mtu <= 65_507:
            raise ValueError(f"mtu {mtu}: {MIN_MTU} to 65507 bytes are allowed")
        self._seal = seal
        self._room = mtu - (OVERHEAD if seal else 0)
        self._cost = cost
        self.bucket = TokenBucket(bits_per_second)
        self._outbox = Outbox(weights)
        rng = rng or random.Random()
        self._numbers = {camera: rng.randrange(256) for camera in weights}
        self._request_id = rng.randrange(256)
        self._frame_ids: dict[int, str] = {}
        self._about_due: dict[int, float] = {}
        self._control: dict[tuple[Type, int], Record] = {}
        self._requests: dict[int, _Pending] = {}
        self._answered: dict[int, int] = {}
        self.arrivals = {camera: Arrivals() for camera in weights}
        self.counters = LinkCounters()

    @property
    def traffic(self) -> Mapping[int, Traffic]:
        """What became of the frames that were offered, by camera."""
        return self._outbox.traffic

    def offer(self, camera: int, stamp: Stamp, packet: bytes, *, frame_id: str = "", now: float = 0.0) -> None:
        """A frame to be sent; it takes the place of one of the same camera that was not begun. Raises FragmentError."""
        number = 0  # given when the frame goes out: a gap in the numbers is a loss, not a frame that was replaced
        body = bytes(stamp) + packet
        if 2 + len(body) <= self._room:
            pieces = [head(Kind.FRAME, camera) + bytes([number]) + body]
        else:
            start = head(Kind.PART, camera) + bytes([number])
            pieces = [start + bytes([mark]) + piece for mark, piece in cut(body, self._room - 3)]
        self._outbox.offer(camera, pieces)
        if self._frame_ids.get(camera) != frame_id or now >= self._about_due[camera]:
            self._frame_ids[camera] = frame_id
            self._tell(camera)
            self._about_due[camera] = now + ABOUT_EVERY_S

    def acknowledge(self, camera: int, sequence: int, *, key_wanted: bool = False) -> None:
        """Frame ``sequence`` was decoded here; or none was, and a key frame is needed."""
        body = sequence.to_bytes(2, "big") + bytes([key_wanted])
        self._control[Type.ACKNOWLEDGE, camera] = Record(Type.ACKNOWLEDGE, camera, body)

    def request(self, camera: int, request: Request, now: float) -> None:
        """Ask something of ``camera``; repeated until confirmed. A newer request takes the place of an older one.

        Raises ValueError for one that no datagram of this link holds.
        """
        self._request_id = (self._request_id + 1) & 0xFF
        body = bytes([self._request_id]) + bytes(request)
        if len(body) > self._body_room:
            raise ValueError(
                f"a request of {len(body)} bytes: datagrams of this link hold {self._body_room}, shorten the caption"
            )
        self._requests[camera] = _Pending(Record(Type.REQUEST, camera, body), due=now)

    def next(self, now: float) -> bytes | None:
        """A datagram that may go on the wire at ``now``, or None. Control records go before frames."""
        if not self.bucket.ready(now):
            return None
        records = self._due_records(now)
        if records:
            datagram = self._close(control(records))
            self._pay(datagram, now)
            self._mark_sent(records, now)
            return datagram
        piece = self._outbox.take()
        if piece is None:
            return None
        number = self._numbers[piece.camera]
        datagram = self._close(piece.datagram[:1] + bytes([number]) + piece.datagram[2:])
        self._pay(datagram, now)
        if piece.last:
            self._numbers[piece.camera] = (number + 1) & 0xFF
        return datagram

    def wait(self, now: float) -> float | None:
        """Seconds until :meth:`next` may have something, None while there is nothing to send."""
        if self._due_records(now) or self._outbox:
            return self.bucket.delay(now)
        later = [pending.due - now for pending in self._requests.values()]
        return max(0.0, min(later)) if later else None

    def receive(self, datagram: bytes, now: float) -> list[Event]:
        """What a datagram from the transport says; anything that is not from the other side is counted and dropped."""
        self.counters.received_datagrams += 1
        self.counters.received_bytes += self._cost(datagram)
        try:
            body = self._seal.open(datagram) if self._seal else datagram
            kind, camera, rest = split_head(body)
            if kind is Kind.CONTROL:
                return [event for record in records_of(body) for event in self._controlled(record, now)]
            if camera not in self.arrivals:
                raise DatagramError(f"camera {camera}: this side serves {len(self.arrivals)}")
            return self._framed(kind, camera, rest)
        except Rejected:
            self.counters.rejected += 1
        except DatagramError:
            self.counters.malformed += 1
        return []

    def close(self) -> None:
        """Note what the seal has seen."""
        if self._seal:
            self._seal.save()

    def _framed(self, kind: Kind, camera: int, rest: bytes) -> list[Event]:
        arrivals = self.arrivals[camera]
        number = rest[0]
        if kind is Kind.PART:
            if len(rest) < 3:
                raise DatagramError("a part without its mark or its piece")
            whole = arrivals.parts.add(number, rest[1], rest[2:])
            if whole is None:
                return []
            rest = whole
        else:
            rest = rest[1:]
        stamp, packet = split_stamp(rest)
        behind = 0 if arrivals.last is None else (arrivals.last - number) & 0xFF
        # A copy, or a frame that a newer one has overtaken. After a new start of the other side the numbers are
        # others, and its clock may have been set back: that is no reason to show nothing.
        if arrivals.stamp is not None and stamp <= arrivals.stamp and behind < OVERTAKEN:
            arrivals.late += 1
            return []
        if arrivals.last is not None:
            gap = (number - arrivals.last - 1) & 0xFF
            arrivals.lost += gap if gap < 128 else 0
        arrivals.last, arrivals.stamp = number, stamp
        arrivals.frames += 1
        events: list[Event] = [FrameArrived(camera, stamp, packet)]
        if camera not in self._frame_ids:
            self._control[Type.ASK, camera] = Record(Type.ASK, camera)
        return events

    def _controlled(self, record: Record, now: float) -> list[Event]:
        camera, body = record.camera, record.body
        if camera not in self.arrivals:
            raise DatagramError(f"camera {camera}: this side serves {len(self.arrivals)}")
        if record.type is Type.ACKNOWLEDGE and len(body) == 3 and body[2] <= 1:
            return [Acknowledged(camera, int.from_bytes(body[:2], "big"), bool(body[2]))]
        if record.type is Type.REQUEST and len(body) > 1:
            request = Request.parse(body[1:])
            self._control[Type.CONFIRM, camera] = Record(Type.CONFIRM, camera, body[:1])
            if self._answered.get(camera) == body[0]:
                return []  # a repetition, because the confirmation was lost
            self._answered[camera] = body[0]
            return [Requested(camera, request)]
        if record.type is Type.CONFIRM and len(body) == 1:
            pending = self._requests.get(camera)
            if pending is not None and pending.record.body[:1] == body:
                del self._requests[camera]
            return []
        if record.type is Type.ABOUT:
            self._frame_ids[camera] = frame_id = body.decode("utf-8", "replace")
            self._control.pop((Type.ASK, camera), None)
            return [AboutCamera(camera, frame_id)]
        if record.type is Type.ASK and not body:
            if camera in self._frame_ids:
                self._tell(camera)
            return []
        raise DatagramError(f"a control record {record.type.name} of {len(body)} bytes")

    @property
    def _body_room(self) -> int:
        """The largest body of a control record."""
        return min(MAX_BODY, self._room - CONTROL_BYTES - RECORD_BYTES)

    def _tell(self, camera: int) -> None:
        frame_id = self._frame_ids[camera].encode("utf-8", "replace")[: self._body_room]
        self._control[Type.ABOUT, camera] = Record(Type.ABOUT, camera, frame_id)

    def _due_records(self, now: float) -> list[Record]:
        """Control records that are due, as many as one datagram holds."""
        room = self._room - CONTROL_BYTES
        records = []
        due = [pending.record for pending in self._requests.values() if pending.due <= now]
        for record in [*due, *self._control.values()]:
            size = RECORD_BYTES + len(record.body)
            if size <= room:
                records.append(record)
                room -= size
        return records

    def _mark_sent(self, records: list[Record], now: float) -> None:
        for record in records:
            if record.type is Type.REQUEST:
                pending = self._requests[record.camera]
                pending.tries += 1
                pending.due = now + REPEAT_REQUEST_S
                if pending.tries >= REQUEST_TRIES:
                    del self._requests[record.camera]
                    self.counters.unconfirmed += 1
            else:
                self._control.pop((record.type, record.camera), None)

    def _close(self, body: bytes) -> bytes:
        return self._seal.seal(body) if self._seal else body

    def _pay(self, datagram: bytes, now: float) -> None:
        cost = self._cost(datagram)
        self.bucket.spend(8 * cost, now)
        self.counters.sent_bytes += cost
        self.counters.sent_datagrams += 1
