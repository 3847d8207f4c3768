"""What a picture file says of itself before anything is decoded: its kind and size, and whether all of it is there.

A decoder allocates what the first bytes ask for: a PNG of 700 kB may ask for gigabytes. So its size is read here
first. A cut or flipped file is often decoded as if it were true, with grey or wrong colours below; what the format
itself can tell (lengths, end markers, checksums) is checked here too.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from gsc_ros.jpeg_check import damage

MAX_PIXELS = 64_000_000
KINDS = "PNG, JPEG, WebP, TIFF, BMP and PNM"
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
FILL = re.compile(b"\xff+")
MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # that is neither data nor a restart
# No camera writes more; going through millions of empty ones would take seconds.
MOST_SEGMENTS, MOST_BLOCKS, PNM_HEADER_BYTES = 10_000, 100_000, 4096
# Each scan of a progressive JPEG goes over all its blocks, whatever few bytes it has; encoders write a dozen.
MOST_SCANS = 64
TIFF_TAGS = (256, 257, 273, 279, 324, 325)  # width, height, where strips and tiles are and how long
TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}


class PictureError(ValueError):
    """Bytes that hold no whole picture of a kind that is read."""


@dataclass(frozen=True)
class PictureHeader:
    """``kind`` is one of :data:`KINDS`; sizes in pixels as they are stored, before any turning."""

    kind: str
    width: int
    height: int


def read_header(data: bytes) -> PictureHeader:
    """Kind and size of ``data``; raises PictureError for what is none of the kinds, has no size, or is too large."""
    try:
        header = _read(data)
    except (struct.error, IndexError, ValueError, StopIteration) as error:
        raise PictureError("its header is cut off or damaged") from error
    if header is None:
        raise PictureError(f"it is none of {KINDS}" if data else "there are no bytes")
    if header.width < 1 or header.height < 1:
        raise PictureError(f"a {header.kind} of {header.width}x{header.height} pixels")
    if header.width * header.height > MAX_PIXELS:
        raise PictureError(
            f"a {header.kind} of {header.width}x{header.height} pixels: at most {MAX_PIXELS // 10**6} million are read"
        )
    return header


def check_whole(data: bytes, kind: str, *, thorough: bool) -> None:
    """Raise PictureError where ``data`` of ``kind`` is cut, or where its checksums say that bytes have changed.

    ``thorough`` walks through the coded data of JPEGs too, which have no checksum: 1 ms for each kilobyte. It is for
    what lay on a disk; packets of a network have checksums of their own.
    """
    try:
        wrong = _CHECKS[kind](data)
    except (struct.error, IndexError, ValueError) as error:
        raise PictureError(f"a {kind} that is cut off or damaged") from error
    if wrong is None and thorough and kind == "JPEG":
        wrong = damage(data)
    if wrong is not None:
        raise PictureError(f"a damaged {kind}: {wrong}")


def _read(data: bytes) -> PictureHeader | None:
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        if data[12:16] != b"IHDR":
            raise ValueError
        return PictureHeader("PNG", *struct.unpack_from(">II", data, 16))
    if data[:3] == JPEG_START:
        return _read_jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    if data[:2] == b"BM" and len(data) > 26:
        if struct.unpack_from("<I", data, 14)[0] == 12:
            return PictureHeader("BMP", *struct.unpack_from("<HH", data, 18))
        width, height = struct.unpack_from("<ii", data, 18)
        return PictureHeader("BMP", width, abs(height))  # negative: from the top down
    if data[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"):
        width, height, *_ = _pnm_numbers(data)
        return PictureHeader("PNM", width, height)
    if data[:4] in TIFF_STARTS:
        tags = _tiff_tags(data)
        return PictureHeader("TIFF", tags[256][0], tags[257][0]) if 256 in tags and 257 in tags else None
    return None


def _jpeg_segments(data: bytes) -> list[tuple[int, int]]:
    """Markers and places of the segments up to the first scan, that of the scan last."""
    found: list[tuple[int, int]] = []
    place = 2
    while len(found) < MOST_SEGMENTS:
        fill = FILL.match(data, place)
        if fill is None:
            break
        place = fill.end()
        found.append((data[place], place + 1))
        if data[place] == 0xDA:
            return found
        place += 1 + struct.unpack_from(">H", data, place + 1)[0]
    raise ValueError


def _read_jpeg(data: bytes) -> PictureHeader:
    for marker, place in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 3)
            return PictureHeader("JPEG", width, height)
    raise ValueError


def _read_webp(data: bytes) -> PictureHeader | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return PictureHeader("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return PictureHeader("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8X":
        wide = struct.unpack_from("<Q", data[24:30] + b"\0\0")[0]
        return PictureHeader("WebP", 1 + (wide & 0xFFFFFF), 1 + (wide >> 24))
    return None


def _pnm_numbers(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, largest value and where the pixels begin."""
    numbers: list[int] = []
    data = data[:PNM_HEADER_BYTES]
    wanted = 2 if data[1:2] in b"14" else 3
    place = 2
    while len(numbers) < wanted:
        while data[place : place + 1].isspace() or data[place : place + 1] == b"#":
            place = data.index(b"\n", place) + 1 if data[place : place + 1] == b"#" else place + 1
        end = place
        while data[end : end + 1].isdigit() and end < place + 10:
            end += 1
        numbers.append(int(data[place:end]))
        place = end
    return numbers[0], numbers[1], numbers[2] if wanted == 3 else 1, place + 1


def largest_value(data: bytes) -> int:
    """What a PNM calls white; 255 where it cannot say."""
    return _pnm_numbers(data)[2] if data[1:2] in (b"5", b"6") else 255


def _tiff_tags(data: bytes) -> dict[int, list[int]]:
    """The whole numbers of :data:`TIFF_TAGS` in the first directory."""
    order = TIFF_STARTS[data[:4]]
    place = struct.unpack_from(f"{order}I", data, 4)[0]
    tags: dict[int, list[int]] = {}
    for index in range(struct.unpack_from(f"{order}H", data, place)[0]):
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, place + 2 + 12 * index)
        letter = {1: "B", 3: "H", 4: "I"}.get(kind)
        if tag not in TIFF_TAGS or letter is None or count > len(data):
            continue
        size = count * struct.calcsize(letter)
        at = place + 10 + 12 * index
        at = at if size <= 4 else struct.unpack_from(f"{order}I", data, at)[0]
        tags[tag] = list(struct.unpack_from(f"{order}{count}{letter}", data, at))
    return tags


def _check_png(data: bytes) -> str | None:
    place = 8
    for _ in range(MOST_BLOCKS):
        if place + 12 > len(data):
            break
        length = struct.unpack_from(">I", data, place)[0]
        end = place + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(memoryview(data)[place + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return f"the checksum of a block at byte {place} is wrong"
        if data[place + 4 : place + 8] == b"IEND":
            return None
        place = end + 4
    return "it is cut off"


def _check_jpeg(data: bytes) -> str | None:
    scan = _jpeg_segments(data)[-1][1]
    # In coded data 0xff is followed by 0 or a restart marker, so this is the end and no pixel.
    if data.rfind(JPEG_END) <= scan:
        return "it is cut off"
    scans, place = 1, scan
    for _ in range(MOST_SEGMENTS):
        found = MARKER.search(data, place + struct.unpack_from(">H", data, place)[0])
        if found is None or found[1] == JPEG_END[1:]:
            return None
        place, scans = found.end(), scans + (found[1] == b"\xda")
        if scans > MOST_SCANS:
            break
    return f"it has more than {MOST_SCANS} scans"


def _check_webp(data: bytes) -> str | None:
    return "it is cut off" if struct.unpack_from("<I", data, 4)[0] + 8 > len(data) else None


def _check_bmp(data: bytes) -> str | None:
    start, head = struct.unpack_from("<I", data, 10)[0], struct.unpack_from("<I", data, 14)[0]
    header = read_header(data)
    bits = struct.unpack_from("<H", data, 24 if head == 12 else 28)[0]
    packed = head > 12 and struct.unpack_from("<I", data, 30)[0] in (1, 2)  # run lengths
    needed = start + (0 if packed else (header.width * bits + 31) // 32 * 4 * header.height)
    return "it is cut off" if needed > len(data) else None


def _check_pnm(data: bytes) -> str | None:
    width, height, largest, start = _pnm_numbers(data)
    depth = {b"4": 1, b"5": 8, b"6": 24}.get(data[1:2], 0) * (2 if largest > 255 else 1)
    needed = start + (width * depth + 7) // 8 * height
    # Numbers written out have at least one digit and one space each.
    needed = needed if depth else start + (6 if data[1:2] == b"3" else 2) * width * height - 1
    if data[1:2] == b"1":
        needed = start + width * height  # needs no spaces
    return "it is cut off" if needed > len(data) else None


def _check_tiff(data: bytes) -> str | None:
    tags = _tiff_tags(data)
    for offsets, sizes in ((273, 279), (324, 325)):
        for offset, size in zip(tags.get(offsets, []), tags.get(sizes, []), strict=False):
            if offset + size > len(data):
                return "it is cut off"
    return None


_CHECKS = {
    "PNG": _check_png,
    "JPEG": _check_jpeg,
    "WebP": _check_webp,
    "BMP": _check_bmp,
    "PNM": _check_pnm,
    "TIFF": _check_tiff,
}
