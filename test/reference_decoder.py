"""A second decoder of the bytes, following docs/bitstream.md, in plain integers and without our code."""

from __future__ import annotations

import zlib
from math import comb
from pathlib import Path

from safetensors.numpy import load_file

SIZES = [
    "160x120",
    "320x240",
    "640x480",
    "800x600",
    "1024x768",
    "1280x960",
    "1600x1200",
    "320x180",
    "640x360",
    "848x480",
    "960x540",
    "1280x720",
    "1920x1080",
    "2560x1440",
    "3840x2160",
    "424x240",
    "640x512",
    "720x480",
    "720x576",
    "752x480",
    "768x512",
    "1280x800",
    "1440x1080",
    "1920x1200",
    "2048x1536",
    "2448x2048",
    "1242x375",
    "1216x352",
    "1241x376",
    "848x800",
    "672x376",
    "256x256",
    "512x512",
    "1024x1024",
    "2048x2048",
    "512x768",
    "480x640",
    "720x1280",
    "1080x1920",
]
WORD, LONG = 1 << 32, 1 << 64


def crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def packet_fields(packet: bytes) -> dict:
    """Section 1."""
    assert crc16(packet[:-2]) == int.from_bytes(packet[-2:], "big")
    at = 1

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int.from_bytes(packet[at - count : at], "big")

    def varint() -> int:
        value = shift = 0
        while True:
            byte = take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    assert packet[0] >> 4 == 7
    take(2)
    sequence = take(2)
    sizes = take(2)
    scale, code, level = sizes >> 11, sizes >> 5 & 63, sizes & 31
    width, height = map(int, SIZES[code - 1].split("x")) if code else (varint(), varint())
    activity, distance = divmod(take(1), 64) if packet[0] & 8 else (0, 0)
    check = take(2) if packet[0] & 8 else 0
    if packet[0] & 4:
        total, count = varint(), varint()
        rank = take((((comb(total, count) - 1).bit_length()) + 7) // 8)
        ids = []
        for place in range(count, 0, -1):
            channel = max(c for c in range(total) if comb(c, place) <= rank)
            rank -= comb(channel, place)
            ids.append(channel)
        ids.reverse()
    else:
        ids = list(range(varint()))
    mode = packet[0] & 3
    length = varint() if mode in (1, 2) else mode and 3
    text = packet[at : at + length]
    channels = packet[at + length : -2]
    return {
        "sequence": sequence,
        "activity": activity,
        "distance": distance,
        "check": check,
        "width": width,
        "height": height,
        "scale": scale,
        "level": level,
        "ids": ids,
        "mode": mode,
        "text": text,
        "channels": channels,
    }


class RangeDecoder:
    """Section 2."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.lower, self.range = 0, LONG - 1
        self.point = self.word() * WORD + self.word()

    def word(self) -> int:
        piece = self.data[self.at : self.at + 4].ljust(4, b"\0")
        self.at += 4
        return int.from_bytes(piece, "big")

    def symbol(self, frequencies: list[int]) -> int:
        size = len(frequencies)
        scale = self.range >> 24
        quantile = ((self.point - self.lower) % LONG) // scale
        assert quantile < 1 << 24
        total = 0
        for index, frequency in enumerate(frequencies):
            left = index + total * ((1 << 24) - size) // (1 << 16)
            total += frequency
            right = (1 << 24) if index == size - 1 else index + 1 + total * ((1 << 24) - size) // (1 << 16)
            if quantile < right:
                break
        self.lower = (self.lower + scale * left) % LONG
        self.range = scale * (right - left)
        if self.range < WORD:
            self.lower, self.range = self.lower * WORD % LONG, self.range * WORD
            self.point = (self.point * WORD + self.word()) % LONG
        return index

    def byte(self) -> int:
        return self.symbol([256] * 256)


def text_of(data: bytes, table: Path) -> str:
    """Section 3."""
    arrays = load_file(table)
    starts, at = {}, 0
    for name, distinct in zip(arrays["keys"].tolist(), arrays["distinct"].tolist(), strict=True):
        starts[name] = (at, at + distinct)
        at += distinct
    symbols, counts = arrays["symbols"].tolist(), arrays["counts"].tolist()
    decoder, history, result = RangeDecoder(data), "", bytearray()
    while True:
        head, _, word = history.rpartition(" ")
        pieces = head.lower().split(" ")
        previous = pieces[-1] or "^"
        before = pieces[-2] if len(pieces) > 1 else "^"
        names = ["0", "1" + history[-1:], "2" + history[-2:], "3" + history[-3:]]
        names.append("w" + word if len(word) > 4 else "5" + history[-5:])
        names += [f"b{previous} {word}", f"t{before} {previous} {word}"]
        share = [(1 << 24) // 97] * 97
        for name in names:
            low, high = starts.get(zlib.crc32(name.encode()), (0, 0))
            if low == high:
                continue
            total = 4 * sum(counts[low:high])
            share = [value * 3 * (high - low) // total for value in share]
            for index in range(low, high):
                share[symbols[index]] += (4 * counts[index] - 3) * (1 << 24) // total
        frequencies = [1 + value * ((1 << 16) - 97) // (1 << 24) for value in share]
        frequencies[frequencies.index(max(frequencies))] += (1 << 16) - sum(frequencies)
        symbol = decoder.symbol(frequencies)
        if symbol == 95:
            return result.decode()
        result.append(decoder.byte() if symbol == 96 else symbol + 32)
        history += "\x7f" if symbol == 96 else chr(symbol + 32)


def check_of(fields: dict, symbols: dict[int, list[list[int]]]) -> int:
    """Section 5: the checksum of a frame that others build on."""
    data = bytes([fields["level"], fields["scale"]])
    data += fields["width"].to_bytes(2, "big") + fields["height"].to_bytes(2, "big")
    for channel in sorted(symbols):
        data += channel.to_bytes(2, "big") + bytes(value & 255 for row in symbols[channel] for value in row)
    return crc16(data)


def blocks_of(fields: dict) -> tuple[int, int]:
    """Rows and columns of the first grid: scale 0 doubles the frame, four further ones halve it."""
    octave, quarter = divmod(fields["scale"], 4)
    m = (131072, 110218, 92682, 77936)[quarter]
    return tuple(max(1, ((fields[name] * m >> 16 >> octave) + 32) // 64) for name in ("height", "width"))


def expected_of(fields: dict, earlier: dict, known: dict[int, list[list[int]]], steps: list[list[int]]) -> dict:
    """Section 5: what the frame ``earlier`` with symbols ``known`` lets one expect."""
    assert check_of(earlier, known) == fields["check"]
    high, wide = blocks_of(fields)
    expected = {}
    for j in range(20):
        times = 1 if j < 4 else 2
        rows, columns = high * times, wide * times
        s, then = steps[fields["level"]][j], steps[earlier["level"]][j]
        plane = known.get(j, [[0] * columns for _ in range(rows)])
        expected[j] = [[min(max((8 * value * then + s // 2) // s, -1016), 1016) for value in row] for row in plane]
    return expected


def channels_of(
    fields: dict, tables: Path, before: tuple[dict, dict[int, list[list[int]]]] | None = None
) -> dict[int, list[list[int]]]:
    """Section 4, and section 5 with ``before``: the fields and symbols of the frame that this one builds on."""
    arrays = {name: value.tolist() for name, value in load_file(tables).items()}
    expected = {} if before is None else expected_of(fields, *before, arrays["steps"])
    ring = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy + dx) % 2]
    high, wide = blocks_of(fields)
    decoder = RangeDecoder(fields["channels"])
    known: dict[int, list[list[int]]] = {}

    def at(plane: list[list[int]], y: int, x: int) -> int:
        return plane[y][x] if 0 <= y < len(plane) and 0 <= x < len(plane[0]) else 0

    for channel in fields["ids"]:
        grid, own, times = (0, channel, 1) if channel < 4 else (1, channel - 4, 2)
        rows, columns = high * times, wide * times
        net = {
            name: arrays[f"grid{grid}.{name}"]
            for name in (
                "across",
                "within",
                "place",
                "bias",
                "second",
                "condition",
                "middle",
                "middle_bias",
                "out",
                "out_bias",
            )
        }
        earlier = {
            j: plane
            if (j < 4) == (channel < 4)
            else [[plane[y // 2][x // 2] for x in range(columns)] for y in range(rows)]
            for j, plane in known.items()
        }
        seen = {
            j: e if (j < 4) == (channel < 4) else [[e[y // 2][x // 2] for x in range(columns)] for y in range(rows)]
            for j, e in expected.items()
            if j < 4 or channel >= 4
        }
        plane = [[0] * columns for _ in range(rows)]
        for parity in (0, 1):
            run = [(y, x) for y in range(rows) for x in range(columns) if (y + x) % 2 == parity]
            first_pass = [line[:] for line in plane]
            decoded = []
            for y, x in run:
                near = {
                    j: [at(p, y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)] for j, p in earlier.items()
                }
                past = {j: [at(e, y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)] for j, e in seen.items()}
                around = [at(first_pass, y + dy, x + dx) for dy, dx in ring]
                down, across = (128 * y + 64) // rows - 64, (128 * x + 64) // columns - 64
                place = [down, abs(across), down * down >> 6, across * across >> 6]
                hidden = []
                for k in range(len(net["bias"][own])):
                    value = net["bias"][own][k] + net["condition"][own][k][fields["level"]]
                    value += sum(net["condition"][own][k][32 + j] for j in fields["ids"])
                    value += sum(w * p for w, p in zip(net["place"][own][k], place, strict=True)) // 64
                    if before is not None:
                        value += net["condition"][own][k][52 + before[0]["level"]]
                        value += net["condition"][own][k][84 + fields["activity"]]
                        weights = arrays[f"grid{grid}.reference"][own][k]
                        value += sum(w * e for j, es in past.items() for w, e in zip(weights[j], es, strict=True)) // 8
                    value += sum(
                        w * s
                        for j, symbols in near.items()
                        for w, s in zip(net["across"][own][k][j], symbols, strict=True)
                    )
                    if parity:
                        value += net["second"][own][k] + sum(
                            w * s for w, s in zip(net["within"][own][k], around, strict=True)
                        )
                    hidden.append(min(max(value, 0), 1 << 28))
                hidden = [
                    min(max((b + sum(w * h for w, h in zip(row, hidden, strict=True))) >> 12, 0), 1 << 28)
                    for b, row in zip(net["middle_bias"][own], net["middle"][own], strict=True)
                ]
                mu, scale = (
                    b + sum(w * h for w, h in zip(out, hidden, strict=True))
                    for b, out in zip(net["out_bias"][own], net["out"][own], strict=True)
                )
                e = min(max((mu + (1 << 20)) >> 21, -1016), 1016)
                s = min(max(((scale + (1 << 20)) >> 21) + 20, 0), 44)
                center = (e + 4) >> 3
                decoded.append([y, x, center, decoder.symbol(arrays["frequencies"][s][e - 8 * center + 4]) - 16])
            for entry in decoded:
                if abs(entry[3]) == 16:
                    entry[3] += decoder.byte() * (1 if entry[3] > 0 else -1)
                plane[entry[0]][entry[1]] = entry[2] + entry[3]
        known[channel] = plane
    return known
