"""One side of the link: what goes out when, and what came in. No clock, no thread, no socket.

Whoever drives it calls :meth:`Endpoint.next` whenever the time :meth:`Endpoint.wait` names has come,
puts the datagrams on a transport, and hands what arrives to :meth:`Endpoint.receive`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gsc_ros.link.aead import OVERHEAD, Rejected
from gsc_ros.link.complaint import Refusals
from gsc_ros.link.datagram import (
    CONTROL_BYTES,
    MAX_BODY,
    MAX_CAMERAS,
    RECORD_BYTES,
    STAMP,
    DatagramError,
    Kind,
    Record,
    Stamp,
    Type,
    control,
    frame_body,
    head,
    records_of,
    split_body,
    split_head,
    verified,
)
from gsc_ros.link.events import AboutCamera, Acknowledged, Arrivals, Event, FrameArrived, LinkCounters, Requested
from gsc_ros.link.fragments import cut, pieces_needed
from gsc_ros.link.hello import UnverifiedHello
from gsc_ros.link.outbox import Outbox, Traffic
from gsc_ros.link.request import Request
from gsc_ros.link.request_exchange import NAME_BYTES, Answering, Asking
from gsc_ros.link.secure_channel import SecureChannel
from gsc_ros.link.token_bucket import TokenBucket

MIN_MTU = 32
ABOUT_EVERY_S = 60.0
LEAST_PACKET = 2  # bytes: its checksum


class Endpoint:
    """The robot's or the base station's end of one link.

    weights          camera index -> share of the link; the same indices on both sides
    mtu              largest datagram handed to the transport, in bytes, with the key's overhead
    bits_per_second  hard limit with all headers; 0: none
    cost             bytes on the wire for a datagram of so many bytes
    channel          what seals and opens; None: anyone who reaches the transport is believed
    unpack           reads a packet, and raises ValueError for one that was damaged; by itself its checksum is compared
    """

    def __init__(
        self,
        weights: Mapping[int, float],
        *,
        mtu: int,
        bits_per_second: float,
        cost: Callable[[bytes], int],
        channel: SecureChannel | None = None,
        unpack: Callable[[bytes], Any] = verified,
        rng: random.Random | None = None,
    ) -> None:
        if not weights or not all(0 <= camera < MAX_CAMERAS for camera in weights):
            raise ValueError(f"{len(weights)} cameras: 1 to {MAX_CAMERAS} fit on a link")
        if not MIN_MTU <= mtu <= 65_507:
            raise ValueError(f"mtu {mtu}: {MIN_MTU} to 65507 bytes are allowed")
        self._channel = channel
        self._room = mtu - (OVERHEAD if channel else 0)
        self._cost = cost
        self._unpack = unpack
        self.bucket = TokenBucket(bits_per_second)
        self._outbox = Outbox(weights)
        rng = rng or random.Random()
        self._numbers = {camera: rng.randrange(256) for camera in weights}
        self._frame_ids: dict[int, str] = {}  # of the frames that are sent here
        self._about_due: dict[int, float] = {}
        self._known: set[int] = set()  # cameras of which the other side has told the frame_id
        self._control: dict[tuple[Type, int], Record] = {}
        self._asking = {camera: Asking(rng) for camera in weights}
        self._answering = {camera: Answering() for camera in weights}
        self._refusals = Refusals()
        self.arrivals = {camera: Arrivals() for camera in weights}
        self.counters = LinkCounters()
        self.genuine = False  # whether the datagram received last is the other side's: its source may be answered

    @property
    def traffic(self) -> Mapping[int, Traffic]:
        """What became of the frames that were offered, by camera."""
        return self._outbox.traffic

    @property
    def in_vain(self) -> int:
        """Requests that were repeated and never confirmed."""
        return sum(asking.in_vain for asking in self._asking.values())

    @property
    def settled(self) -> bool | None:
        """Whether both sides have proven to each other that they hold the key; None without one."""
        return self._channel.settled if self._channel else None

    @property
    def trouble(self) -> str:
        """What is wrong on this side, in one line; empty for nothing."""
        return self._channel.trouble if self._channel else ""

    def complaint(self, now: float) -> str | None:
        """Why nothing that arrives can be used, once that has lasted for ten seconds; None while all is well."""
        return self._refusals.complaint(now, settled=bool(self.settled))

    def offer(self, camera: int, stamp: Stamp, packet: bytes, *, frame_id: str = "", now: float = 0.0) -> None:
        """A frame to be sent; it takes the place of one of the same camera that was not begun. Raises ValueError."""
        if len(packet) < LEAST_PACKET:
            raise DatagramError(f"a packet of {len(packet)} bytes: it has to end in a checksum")
        if 2 + STAMP.size + len(packet) > self._room:
            pieces_needed(STAMP.size + len(packet), self._room - 3)
        self._outbox.offer(camera, lambda: self._pieces(camera, stamp, packet))
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
        body = bytes(request)
        if NAME_BYTES + len(body) > self._body_room:
            raise ValueError(
                f"a request of {NAME_BYTES + len(body)} bytes: datagrams of this link hold {self._body_room}, "
                "shorten the caption"
            )
        self._asking[camera].ask(body, now)

    def next(self, now: float) -> bytes | None:
        """A datagram that may go on the wire at ``now``, or None. Hellos go first, then control records, then frames."""
        if not self.bucket.ready(now):
            return None
        records = self._due_records(now)
        if self._channel:
            hello = self._channel.hello(now, sending=bool(records or self._outbox))
            if hello is not None:
                self.counters.sent_hellos += 1
                return self._paid(hello, now)
        if records:
            self._mark_sent(records, now)
            return self._paid(self._sealed(control(records)), now)
        piece = self._outbox.take()
        return None if piece is None else self._paid(self._sealed(piece.datagram), now)

    def wait(self, now: float) -> float | None:
        """Seconds until :meth:`next` may have something, None while there is nothing to send."""
        sending = bool(self._due_records(now) or self._outbox)
        if sending:
            return self.bucket.delay(now)
        later = [asking.due - now for asking in self._asking.values() if asking.body]
        hello = self._channel.wait(now, sending=False) if self._channel else None
        if hello is not None:
            later.append(max(hello, self.bucket.delay(now)))
        return max(0.0, min(later)) if later else None

    def answer(self, now: float) -> bytes | None:
        """A hello for where the datagram received last came from, whoever that is; None where none is due."""
        hello = self._channel.answer(now) if self._channel and self.bucket.ready(now) else None
        if hello is None:
            return None
        self.counters.sent_hellos += 1
        return self._paid(hello, now)

    def receive(self, datagram: bytes, now: float) -> list[Event]:
        """What a datagram from the transport says; anything that is not from the other side is counted and dropped."""
        self.counters.received_datagrams += 1
        self.counters.received_bytes += self._cost(datagram)
        self.genuine = False
        try:
            body, superseded = datagram, False
            if self._channel:
                body, genuine, superseded = self._channel.open(datagram, now)
                if not body:
                    self.genuine = genuine
                    self._refusals.hellos += 1
                    if self._channel.settled:
                        self._refusals = Refusals()
                    return []
            events = self._read(body, superseded=superseded)
        except Rejected as error:
            self.counters.rejected += 1
            self._refusals.refused(now, rejected=1, unverified_hellos=isinstance(error, UnverifiedHello))
            return []
        except DatagramError:
            self.counters.malformed += 1
            self._refusals.refused(now, malformed=1)
            return []
        self._refusals = Refusals()
        return events

    def close(self) -> None:
        """Note what was accepted."""
        if self._channel:
            self._channel.close()

    def _read(self, body: bytes, *, superseded: bool) -> list[Event]:
        kind, camera, rest = split_head(body)
        if kind is Kind.CONTROL:
            records = records_of(body)
            self.genuine = True
            # Who asked has started again since: what is asked now counts, and is not to be undone.
            counts = [record for record in records if not (superseded and record.type is Type.REQUEST)]
            return [event for record in counts for event in self._recorded(record)]
        if camera not in self.arrivals:
            raise DatagramError(f"camera {camera}: this side serves {len(self.arrivals)}")
        return self._framed(kind, camera, rest)

    def _framed(self, kind: Kind, camera: int, rest: bytes) -> list[Event]:
        arrivals = self.arrivals[camera]
        number, body = rest[0], rest[1:]
        if kind is Kind.PART:
            if len(body) < 2:
                raise DatagramError("a part without its mark or its piece")
            whole = arrivals.parts.add(number, body[0], body[1:])
            if whole is None:
                self.genuine = self._channel is not None  # without a key only a whole frame can be told from noise
                return []
            body = whole
        stamp, packet = split_body(camera, number, body)
        try:
            frame = self._unpack(packet)
        except ValueError as error:
            raise DatagramError(f"a frame that cannot be read: {error}") from error
        self.genuine = True
        if not arrivals.add(number, stamp):
            return []
        if camera not in self._known:
            self._control[Type.ASK, camera] = Record(Type.ASK, camera)
        return [FrameArrived(camera, stamp, packet, frame)]

    def _recorded(self, record: Record) -> list[Event]:
        """What one record says: where it says nothing that can be, those beside it still count."""
        try:
            return self._controlled(record)
        except DatagramError:
            self.counters.malformed += 1
            return []

    def _controlled(self, record: Record) -> list[Event]:
        camera, body = record.camera, record.body
        if camera not in self.arrivals:
            raise DatagramError(f"camera {camera}: this side serves {len(self.arrivals)}")
        if record.type is Type.ACKNOWLEDGE and len(body) == 3 and body[2] <= 1:
            return [Acknowledged(camera, int.from_bytes(body[:2], "big"), bool(body[2]))]
        if record.type is Type.REQUEST and len(body) > NAME_BYTES:
            request, name = Request.parse(body[NAME_BYTES:]), body[:NAME_BYTES]
            new = self._answering[camera].new(name)
            if new is None:
                return []
            self._control[Type.CONFIRM, camera] = Record(Type.CONFIRM, camera, name)
            return [Requested(camera, request)] if new else []
        if record.type is Type.CONFIRM and len(body) == NAME_BYTES:
            self._asking[camera].confirmed(body)
            return []
        if record.type is Type.ABOUT:
            self._known.add(camera)
            self._control.pop((Type.ASK, camera), None)
            return [AboutCamera(camera, body.decode("utf-8", "replace"))]
        if record.type is Type.ASK and not body:
            if camera in self._frame_ids:
                self._tell(camera)
            return []
        raise DatagramError(f"a control record {record.type.name} of {len(body)} bytes")

    @property
    def _body_room(self) -> int:
        """The largest body of a control record."""
        return min(MAX_BODY, self._room - CONTROL_BYTES - RECORD_BYTES)

    def _pieces(self, camera: int, stamp: Stamp, packet: bytes) -> Sequence[bytes]:
        """The datagrams of a frame that is begun now: a gap in the numbers is a loss, not a frame that was replaced."""
        number = self._numbers[camera]
        self._numbers[camera] = (number + 1) & 0xFF
        body = frame_body(camera, number, stamp, packet)
        if 2 + len(body) <= self._room:
            return [head(Kind.FRAME, camera) + bytes([number]) + body]
        start = head(Kind.PART, camera) + bytes([number])
        return [start + bytes([mark]) + piece for mark, piece in cut(body, self._room - 3)]

    def _tell(self, camera: int) -> None:
        frame_id = self._frame_ids[camera].encode("utf-8", "replace")[: self._body_room]
        frame_id = frame_id.decode("utf-8", "ignore").encode()  # no half of a letter at the end
        self._control[Type.ABOUT, camera] = Record(Type.ABOUT, camera, frame_id)

    def _due_records(self, now: float) -> list[Record]:
        """Control records that are due, as many as one datagram holds."""
        room = self._room - CONTROL_BYTES
        records = []
        due = [
            Record(Type.REQUEST, camera, asking.body)
            for camera, asking in self._asking.items()
            if asking.body and asking.due <= now
        ]
        for record in [*due, *self._control.values()]:
            size = RECORD_BYTES + len(record.body)
            if size <= room:
                records.append(record)
                room -= size
        return records

    def _mark_sent(self, records: list[Record], now: float) -> None:
        for record in records:
            if record.type is Type.REQUEST:
                self._asking[record.camera].sent(now)
            else:
                self._control.pop((record.type, record.camera), None)

    def _sealed(self, body: bytes) -> bytes:
        return self._channel.seal(body) if self._channel else body

    def _paid(self, datagram: bytes, now: float) -> bytes:
        cost = self._cost(datagram)
        self.bucket.spend(8 * cost, now)
        self.counters.sent_bytes += cost
        self.counters.sent_datagrams += 1
        return datagram
