"""What crosses the link, byte by byte (docs/link.md).

first byte   kind (upper three bits) | camera (lower five)

FRAME        number | stamp (8) | packet, masked
PART         number | mark | piece of (stamp | packet, masked)
CONTROL      records, then CRC-16/XMODEM of all before it

A packet ends in its CRC-16/XMODEM. On the link these two bytes are XORed with another CRC-16 of camera | number |
stamp: that puts the three under a checksum for no byte more. Were it the same polynomial, errors in both could cancel.

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


_POLYNOMIAL = 0x8BB7  # that of CRC-16/T10-DIF
_START = 0xFFFF  # so that a datagram of zeros is no frame
_MASKED = 2  # bytes at the end of a packet


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

    def __post_init__(self) -> None:
        if not (-(2**31) <= self.sec < 2**31 and 0 <= self.nanosec < 10**9):
            raise DatagramError(
                f"a stamp of {self.sec} s and {self.nanosec} ns: 32 bits of seconds and less than a second are allowed"
            )

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


def frame_body(camera: int, number: int, stamp: Stamp, packet: bytes) -> bytes:
    """What a frame is on the link: its stamp, and its packet with the mask of camera, number and stamp."""
    time = bytes(stamp)
    return time + _masked(camera, number, time, packet)


def split_body(camera: int, number: int, body: bytes) -> tuple[Stamp, bytes]:
    """The stamp and the packet in ``body``; raises DatagramError. Damage to any of them shows in the packet's CRC."""
    if len(body) < STAMP.size + _MASKED:
        raise DatagramError(f"a frame of {len(body)} bytes: stamp and checksum alone have {STAMP.size + _MASKED}")
    time = body[: STAMP.size]
    return Stamp(*STAMP.unpack(time)), _masked(camera, number, time, body[STAMP.size :])


def verified(packet: bytes) -> bytes:
    """``packet``, where its last two bytes are the CRC-16/XMODEM of those before; raises DatagramError."""
    if binascii.crc_hqx(packet, 0):  # which is 0 over data and its own checksum
        raise DatagramError("the checksum of a frame does not match")
    return packet


def _masked(camera: int, number: int, time: bytes, packet: bytes) -> bytes:
    mask = _other_crc(bytes([camera, number]) + time)
    end = int.from_bytes(packet[-_MASKED:], "big") ^ mask
    return packet[:-_MASKED] + end.to_bytes(_MASKED, "big")


def _other_crc(data: bytes) -> int:
    """Polynomial 0x8BB7, start 0xFFFF, not reflected."""
    value = _START
    for byte in data:
        value = value << 8 & 0xFF00 ^ _TABLE[value >> 8 ^ byte]
    return value


def _row(value: int) -> int:
    for _ in range(8):
        value = value << 1 ^ (0x10000 | _POLYNOMIAL if value & 0x8000 else 0)
    return value


_TABLE = tuple(_row(byte << 8) for byte in range(256))


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
