"""Whether the coded data of a baseline JPEG is what an encoder wrote (ITU-T T.81).

Decoders go on where bits were flipped: Huffman codes fall into step again, and the rest of the picture has other
colours. An encoder never writes an unknown code, a 65th coefficient, a value beyond what samples of 8 bits can
give, or more data than blocks: each of these is a sign of damage. Damage within the values of single
coefficients, or in a progressive JPEG, is not seen.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

SLACK_BYTES = 64  # webcams write a few bytes more than the picture needs
LARGEST = 1024 + 128  # of a dequantised coefficient of samples of 8 bits, with the quantiser's rounding
BASELINE = (0xC0, 0xC1)
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# A step of the walk is one integer: bits to go on by, coefficients to go on by, size of the value; or BROKEN.
BITS, ADVANCE, SIZE = 0x3F, 6, 14
BLOCK_ENDS = 64
BROKEN = 255
PART = 1 << 16  # bytes


@dataclass
class _Component:
    blocks: int  # in one MCU
    quantiser: int
    dc: int = 0
    ac: int = 0


@dataclass
class _Head:
    """The tables of a JPEG, as far as its only scan."""

    components: dict[int, _Component] = field(default_factory=dict)
    scan: list[_Component] = field(default_factory=list)
    quantisers: dict[int, list[int]] = field(default_factory=dict)
    tables: dict[tuple[int, int], bytes] = field(default_factory=dict)  # class and number -> counts and values
    mcus: int = 0
    interval: int = 0
    data: int = 0


def damage(data: bytes) -> str | None:
    """What is wrong with the coded data of the JPEG ``data``; None where nothing is seen."""
    try:
        head = _read_head(data)
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        return "its tables are damaged"
    if head is None:
        return None
    end = data.rfind(b"\xff\xd9")
    coded = data[head.data : end if end > head.data else len(data)]
    parts = RESTART.split(coded)
    left = head.mcus
    for part in parts:
        count = min(left, head.interval) if head.interval else left
        try:
            wrong = _walk(part.replace(b"\xff\x00", b"\xff"), head, count)
        except (IndexError, KeyError):
            return "its tables are damaged"
        if wrong:
            return wrong
        left -= count
    return f"{left} of {head.mcus} blocks are missing" if left else None


def _read_head(data: bytes) -> _Head | None:
    """The tables up to the scan; None for what is not a baseline JPEG with one scan."""
    head, place = _Head(), 2
    while True:
        while data[place] == 0xFF:
            place += 1
        marker, length = data[place], int.from_bytes(data[place + 1 : place + 3], "big")
        body = data[place + 3 : place + 1 + length]
        place += 1 + length
        if marker in BASELINE:
            _read_frame(head, body)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None  # progressive, lossless or arithmetic
        elif marker == 0xC4:
            while body:
                count = sum(body[1:17])
                head.tables[body[0] >> 4, body[0] & 15] = body[1 : 17 + count]
                body = body[17 + count :]
        elif marker == 0xDB:
            while body:
                wide = body[0] >> 4
                values = np.frombuffer(body[1 : 1 + 64 * (1 + wide)], dtype=">u2" if wide else "u1")
                head.quantisers[body[0] & 15] = values.tolist()
                body = body[1 + 64 * (1 + wide) :]
        elif marker == 0xDD:
            head.interval = int.from_bytes(body[:2], "big")
        elif marker == 0xDA:
            if body[0] != len(head.components):
                return None  # one scan for each component
            for index in range(body[0]):
                component = head.components[body[1 + 2 * index]]
                component.dc, component.ac = body[2 + 2 * index] >> 4, body[2 + 2 * index] & 15
                head.scan.append(component)
            head.data = place
            return head


def _read_frame(head: _Head, body: bytes) -> None:
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    factors = [(body[7 + 3 * index] >> 4, body[7 + 3 * index] & 15) for index in range(body[5])]
    for index, (across, down) in enumerate(factors):
        # A scan of one component has one block in an MCU, whatever its factors say.
        blocks = across * down if body[5] > 1 else 1
        head.components[body[6 + 3 * index]] = _Component(blocks, body[8 + 3 * index])
    across, down = (max(pair[way] for pair in factors) if body[5] > 1 else 1 for way in range(2))
    head.mcus = -(-width // (8 * across)) * -(-height // (8 * down))


@lru_cache(maxsize=16)
def _steps(table: bytes, dc: bool) -> list[int]:
    """For each of the 65,536 next 16 bits, the step that the Huffman ``table`` makes of them."""
    steps = np.full(1 << 16, BROKEN << ADVANCE | 1, dtype=np.int64)
    code, place = 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            value = table[place]
            size = value if dc else value & 15
            ends = not dc and value == 0
            advance = 1 if dc else BLOCK_ENDS if ends else (value >> 4) + 1
            if size > (11 if dc else 10) or (not dc and size == 0 and value not in (0, 0xF0)):
                advance = BROKEN
            first = code << (16 - length)
            steps[first : first + (1 << (16 - length))] = size << SIZE | advance << ADVANCE | (length + size)
            code, place = code + 1, place + 1
        code <<= 1
    return steps.tolist()


def _windows(coded: bytes) -> array[int]:
    """The next 16 bits at each bit of ``coded``; 16 bytes for each of its bytes, made part by part."""
    padded = np.frombuffer(coded + b"\0\0\0\0", dtype=np.uint8)
    shifts = np.arange(8, 0, -1, dtype=np.uint32)
    windows = array("H")
    for start in range(0, len(padded) - 2, PART):
        part = padded[start : start + PART + 2].astype(np.uint32)
        wide = part[:-2] << 16 | part[1:-1] << 8 | part[2:]
        windows.frombytes((wide[:, None] >> shifts).astype(np.uint16).tobytes())
    return windows


def _walk(coded: bytes, head: _Head, mcus: int) -> str | None:
    """Go through ``mcus`` of an interval, block by block."""
    windows, end, place = _windows(coded), 8 * len(coded), 0
    order = [
        (number, _steps(head.tables[0, c.dc], True), _steps(head.tables[1, c.ac], False), head.quantisers[c.quantiser])
        for number, c in enumerate(head.scan)
        for _ in range(c.blocks)
    ]
    level = [0] * len(head.scan)
    for _ in range(mcus):
        for number, dc, ac, quantiser in order:
            if place >= end:
                return "its data ends early"
            step = dc[windows[place]]
            size = step >> SIZE
            if (step >> ADVANCE) & 255 == BROKEN:
                return "it has an unknown code"
            place += step & BITS
            if size:
                if place > end:
                    return "its data ends early"
                value = windows[place - size] >> (16 - size)
                level[number] += value if value >> (size - 1) else value - (1 << size) + 1
                if abs(level[number]) * quantiser[0] > LARGEST + quantiser[0]:
                    return "it has a brightness or colour beyond 8 bits"
            index = 1
            while index < 64:
                if place >= end:
                    return "its data ends early"
                step = ac[windows[place]]
                place += step & BITS
                index += (step >> ADVANCE) & 255
                if step >> (SIZE + 2) and index <= 64:  # a value of 8 and above
                    size = step >> SIZE
                    if quantiser[index - 1] << (size - 1) > LARGEST + quantiser[index - 1]:
                        return "it has a coefficient beyond 8 bits"
            if index > BROKEN:
                return "it has an unknown code"
            if index > 64 and step >> SIZE:
                return "it has a 65th coefficient"
    if place > end:
        return "its data ends early"
    if end - place > 8 * SLACK_BYTES:
        return f"{(end - place) // 8} bytes are left over after its last block"
    return None
