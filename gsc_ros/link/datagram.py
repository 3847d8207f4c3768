"""What crosses the link, byte by byte (docs/link.md).

first byte   kind (upper three bits) | camera (lower five)

FRAME        number | stamp (8) | packet
PART         number | mark | piece of (stamp | packet)
CONTROL      records, then CRC-16/XMODEM of all before it

A record is one byte type (upper three bits) | camera, one byte length, and its body.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

MAX_CAMERAS = 32
MAX_BODY = 255  # of a record
CONTROL_BYTES = 3  # of a CONTROL datagram beside its records
RECORD_BYTES = 2  # of a record beside its body
STAMP = struct.Struct(">iI")


class DatagramError(ValueError):
    """Bytes that are no datagram of this link."""


class Kind(IntEnum):
    FRAME = 0
    PART = 1
    CONTROL = 2


class Type(IntEnum):
    """Kinds of control records."""

    ACKNOWLEDGE = 0  # base to robot: the last frame decoded, and whether a key frame is needed
    REQUEST = 1  # base to robot: what the operator asks for, repeated until it is confirmed
    CONFIRM = 2  # robot to base: the number of a request that has arrived
    ABOUT = 3  # robot to base: the frame_id of a camera
    ASK = 4  # base to robot: tell me about this camera


@dataclass(frozen=True)
class Record:
    """One control record."""

    type: Type
    camera: int
    body: bytes = b""


@dataclass(frozen=True, order=True)
class Stamp:
    """A ROS time: seconds (int32) and nanoseconds (0..999,999,999)."""

    sec: int
    nanosec: int

    def __bytes__(self) -> bytes:
        return STAMP.pack(self.sec, self.nanosec)

    @property
    def seconds(self) -> float:
        return self.sec + self.nanosec / 1e9


def head(kind: Kind, camera: int = 0) -> bytes:
    """The first byte of a datagram."""
    return bytes([kind << 5 | camera])


def split_head(datagram: bytes) -> tuple[Kind, int, bytes]:
    """Kind, camera and the rest; raises DatagramError."""
    if len(datagram) < 2:
        raise DatagramError(f"a datagram of {len(datagram)} bytes")
    kind = datagram[0] >> 5
    if kind not in Kind.__members__.values():
        raise DatagramError(f"a datagram of kind {kind}: 0 to {max(Kind)} are defined")
    return Kind(kind), datagram[0] & 0x1F, datagram[1:]


def split_stamp(body: bytes) -> tuple[Stamp, bytes]:
    """The stamp and the packet after it; raises DatagramError."""
    if len(body) <= STAMP.size:
        raise DatagramError(f"a frame of {len(body)} bytes: its stamp alone has {STAMP.size}")
    sec, nanosec = STAMP.unpack_from(body)
    if nanosec >= 10**9:
        raise DatagramError(f"a stamp of {nanosec} nanoseconds: less than a second is allowed")
    return Stamp(sec, nanosec), body[STAMP.size :]


def control(records: Sequence[Record]) -> bytes:
    """One CONTROL datagram with ``records``."""
    body = bytearray(head(Kind.CONTROL))
    for record in records:
        body += bytes([record.type << 5 | record.camera, len(record.body)]) + record.body
    return bytes(body + binascii.crc_hqx(body, 0).to_bytes(2, "big"))


def records_of(datagram: bytes) -> Iterator[Record]:
    """The records of a CONTROL datagram; raises DatagramError before the first where it is damaged."""
    if len(datagram) < 3 or binascii.crc_hqx(datagram[:-2], 0) != int.from_bytes(datagram[-2:], "big"):
        raise DatagramError("the checksum of a control datagram does not match")
    return iter(_parsed(datagram[1:-2]))


def _parsed(body: bytes) -> list[Record]:
    records, at = [], 0
    while at < len(body):
        if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
            raise DatagramError("a control record that ends early")
        if body[at] >> 5 not in Type.__members__.values():
            raise DatagramError(f"a control record of type {body[at] >> 5}")
        end = at + 2 + body[at + 1]
        records.append(Record(Type(body[at] >> 5), body[at] & 0x1F, bytes(body[at + 2 : end])))
        at = end
    return records
