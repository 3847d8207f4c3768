"""Frame <-> packet: the written contract of docs/bitstream.md, pinned by golden files.

byte 0     version (high nibble) | memory flag (bit 3) | subset flag (bit 2) | text mode (bits 0..1)
1, 2       fingerprint, big endian
3, 4       sequence, big endian
5, 6       scale (upper five bits) | size (six bits): index into SIZES, or 0 | level (lower five)
then       where size is 0: width and height as varints
then       with the memory flag: activity (upper two bits) | distance of the reference (1..63), and its
           checksum, big endian
then       channel set: varint C (the first C channels);
           with the subset flag: varint N, varint C, rank of the subset, big endian
then       text mode CODED or PLAIN: varint length, text
           text mode REFERENCE: distance of the caption (1..255), and the CRC-16/XMODEM of its UTF-8, big endian
then       channels, up to the last two bytes
last two   CRC-16/XMODEM of everything before, big endian
"""

from __future__ import annotations

import binascii
import itertools
from math import comb

from gsc_ros.frame import (
    MAX_ACTIVITY,
    MAX_CHANNELS,
    MAX_LEVEL,
    MAX_SCALE,
    MAX_SIDE,
    MAX_TEXT_BYTES,
    MIN_SIDE,
    REACH,
    Frame,
    TextMode,
)

VERSION = 7
MIN_PACKET, MAX_PACKET = 10, 65_535
CAPTION_REFERENCE_BYTES = 3
SIZES = (
    (0, 0),
    (160, 120), (320, 240), (640, 480), (800, 600), (1024, 768), (1280, 960), (1600, 1200),
    (320, 180), (640, 360), (848, 480), (960, 540), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160),
    (424, 240), (640, 512), (720, 480), (720, 576), (752, 480), (768, 512), (1280, 800), (1440, 1080),
    (1920, 1200), (2048, 1536), (2448, 2048), (1242, 375), (1216, 352), (1241, 376), (848, 800), (672, 376),
    (256, 256), (512, 512), (1024, 1024), (2048, 2048), (512, 768), (480, 640), (720, 1280), (1080, 1920),
)  # fmt: skip
# How files begin that are given to a decoder by mistake.
_FILES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WebP",
    b"\x89MCAP": "MCAP",
    b"SQLite format 3": "sqlite3",
}


class BitstreamError(ValueError):
    """A packet that breaks the contract; the message says how."""


def pack(frame: Frame) -> bytes:
    """The packet of ``frame``; raises BitstreamError for values that the packet cannot hold."""
    check_frame(frame)
    ids = frame.channel_ids
    subset = ids != tuple(range(len(ids)))
    body = bytearray([VERSION << 4 | bool(frame.reference) << 3 | subset << 2 | frame.text_mode])
    body += frame.fingerprint.to_bytes(2, "big") + frame.sequence.to_bytes(2, "big")
    size = (frame.width, frame.height)
    code = SIZES.index(size) if size in SIZES else 0
    body += (frame.scale << 11 | code << 5 | frame.level).to_bytes(2, "big")
    if not code:
        body += _varint(frame.width) + _varint(frame.height)
    if frame.reference:
        body.append(frame.activity << 6 | frame.reference)
        body += frame.reference_check.to_bytes(2, "big")
    if subset:
        rank = sum(comb(channel, place + 1) for place, channel in enumerate(ids))
        body += _varint(frame.channel_count) + _varint(len(ids))
        body += rank.to_bytes(_rank_bytes(frame.channel_count, len(ids)), "big")
    else:
        body += _varint(len(ids))
    if frame.text_mode in (TextMode.CODED, TextMode.PLAIN):
        body += _varint(len(frame.text))
    body += frame.text + frame.channels
    body += binascii.crc_hqx(body, 0).to_bytes(2, "big")
    if len(body) > MAX_PACKET:
        raise BitstreamError(f"a packet of {len(body)} bytes: at most {MAX_PACKET} are allowed")
    return bytes(body)


def unpack(packet: bytes, *, channel_count: int) -> Frame:
    """The frame of ``packet``, for a latent of ``channel_count`` channels; raises BitstreamError.

    Cost is bounded by the packet's own length: nothing is allocated for what it merely claims.
    """
    verify(packet)
    reader = _Reader(bytes(packet[:-2]), at=1)
    fingerprint, sequence = reader.number(2), reader.number(2)
    scale, rest = divmod(reader.number(2), 1 << 11)
    code, level = divmod(rest, 1 << 5)
    if code >= len(SIZES):
        raise BitstreamError(f"size code {code}: 0 to {len(SIZES) - 1} are defined")
    width, height = SIZES[code] if code else (reader.varint(), reader.varint())
    if code == 0 and (width, height) in SIZES:
        raise BitstreamError(f"the size {width}x{height} has a code of its own")
    activity, reference = divmod(reader.number(1), 64) if packet[0] & 8 else (0, 0)
    check = reader.number(2) if packet[0] & 8 else 0
    if packet[0] & 8 and not reference:
        raise BitstreamError("a frame that builds on itself")
    if packet[0] & 4:
        total, count = reader.varint(), reader.varint()
        if total != channel_count or count > total:
            raise BitstreamError(f"{count} of {total} channels: the latent of this profile has {channel_count}")
        ids = _unrank(reader.number(_rank_bytes(total, count)), total, count)
        if ids == tuple(range(count)):
            raise BitstreamError("a subset that is a prefix")
    else:
        count = reader.varint()
        if count > channel_count:
            raise BitstreamError(f"{count} channels: the latent of this profile has {channel_count}")
        ids = tuple(range(count))
    mode = TextMode(packet[0] & 3)
    if mode is TextMode.REFERENCE:
        text = reader.take(CAPTION_REFERENCE_BYTES)
    else:
        text = reader.take(reader.varint()) if mode is not TextMode.NONE else b""
    frame = Frame(
        fingerprint=fingerprint, sequence=sequence, width=width, height=height, scale=scale, level=level,
        channel_count=channel_count, channel_ids=ids, text_mode=mode, text=text, channels=reader.rest(),
        reference=reference, reference_check=check, activity=activity,
    )  # fmt: skip
    check_frame(frame)
    return frame


def verify(packet: bytes) -> None:
    """Raise BitstreamError unless ``packet`` arrived whole and is of this version; whose weights made it is another matter."""
    version = packet[0] >> 4 if packet else 0
    fits = MIN_PACKET <= len(packet) <= MAX_PACKET
    if not fits or binascii.crc_hqx(packet[:-2], 0) != int.from_bytes(packet[-2:], "big"):
        looks = next(
            (f": it looks like a {kind} file" for magic, kind in _FILES.items() if packet.startswith(magic)), ""
        )
        if not fits:
            size = f"{len(packet)}" if len(packet) <= MAX_PACKET else f"more than {MAX_PACKET}"
            raise BitstreamError(f"not a GSC packet{looks}; {size} bytes, {MIN_PACKET} to {MAX_PACKET} are allowed")
        if looks or version != VERSION:
            raise BitstreamError(
                f"not a GSC packet{looks}; one begins with its version, {VERSION}, and ends with a checksum"
            )
        raise BitstreamError("the checksum does not match: the packet was damaged on its way")
    if version == 0:  # zeros have a right checksum
        raise BitstreamError(f"not a GSC packet; one begins with its version, {VERSION}")
    if version != VERSION:
        raise BitstreamError(
            f"version {version} of the bitstream: this decoder reads version {VERSION}; use the same release on both sides"
        )


def head_bytes(frame: Frame) -> int:
    """Bytes of the packet that are neither text nor channels: head, channel set, checksum."""
    return len(pack(frame)) - len(frame.text) - len(frame.channels)


def subset_bytes(frame: Frame) -> int:
    """Bytes that a channel set other than the first C may take beyond those of a prefix, at most."""
    return len(_varint(frame.channel_count)) + _rank_bytes(frame.channel_count, frame.channel_count // 2)


def fingerprint_of(packet: bytes) -> int:
    """The fingerprint that ``packet`` names; raises BitstreamError for what :func:`verify` refuses."""
    verify(packet)
    return int.from_bytes(packet[1:3], "big")


def caption_reference(distance: int, caption: str) -> bytes:
    """How a frame says that its caption is ``caption``, sent in full ``distance`` sequence numbers ago, 1..255.

    The checksum tells it from any other that a decoder may hold under that number, such as one from before a restart.
    """
    return bytes([distance]) + binascii.crc_hqx(caption.encode("utf-8", "replace"), 0).to_bytes(2, "big")


def check_frame(frame: Frame) -> None:
    """Raise BitstreamError for a frame that no packet can hold, wherever its fields came from."""
    ids = frame.channel_ids
    checks = (
        ("fingerprint", frame.fingerprint, 0, 0xFFFF),
        ("sequence", frame.sequence, 0, 0xFFFF),
        ("width", frame.width, MIN_SIDE, MAX_SIDE),
        ("height", frame.height, MIN_SIDE, MAX_SIDE),
        ("scale", frame.scale, 0, MAX_SCALE),
        ("level", frame.level, 0, MAX_LEVEL),
        ("channel_count", frame.channel_count, 1, MAX_CHANNELS),
        ("number of channels", len(ids), 0, frame.channel_count),
        ("distance of the reference", frame.reference, 0, REACH),
        ("checksum of the reference", frame.reference_check, 0, 0xFFFF if frame.reference else 0),
        ("activity", frame.activity, 0, MAX_ACTIVITY if frame.reference else 0),
        ("length of the text", len(frame.text), 0, MAX_TEXT_BYTES),
        ("length of the channels", len(frame.channels), 0, MAX_PACKET),
    )
    for name, value, low, high in checks:
        if not low <= value <= high:
            raise BitstreamError(f"{name} {value}: {low} to {high} are allowed")
    if any(a >= b for a, b in itertools.pairwise(ids)) or (ids and not 0 <= ids[0] <= ids[-1] < frame.channel_count):
        raise BitstreamError(f"channel ids {ids}: ascending ids below {frame.channel_count} are allowed")
    if frame.text_mode is TextMode.REFERENCE and (len(frame.text) != CAPTION_REFERENCE_BYTES or not frame.text[0]):
        raise BitstreamError("a caption reference is a distance of 1 to 255 and a checksum, three bytes")
    if frame.text_mode is TextMode.NONE and frame.text:
        raise BitstreamError("text in a frame that says it has none")
    if frame.channels and not ids:
        raise BitstreamError("channel data for no channel")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _rank_bytes(total: int, count: int) -> int:
    return ((comb(total, count) - 1).bit_length() + 7) // 8


def _unrank(rank: int, total: int, count: int) -> tuple[int, ...]:
    """The subset of rank ``rank`` in the combinatorial number system."""
    if rank >= comb(total, count):
        raise BitstreamError("the rank of the channel set is beyond the last subset")
    ids = []
    channel = total
    for place in range(count, 0, -1):
        channel -= 1
        while comb(channel, place) > rank:
            channel -= 1
        rank -= comb(channel, place)
        ids.append(channel)
    return tuple(reversed(ids))


class _Reader:
    """Takes fields off the front of a packet; running past its end is a BitstreamError."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise BitstreamError(
                f"the packet ends early: {count} more bytes were announced, {len(self._data) - self._at} are there"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def varint(self) -> int:
        value = 0
        for shift in (0, 7, 14):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and byte == 0:
                    raise BitstreamError("a number written longer than it needs to be")
                return value
        raise BitstreamError("a number of more than three bytes")

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)
