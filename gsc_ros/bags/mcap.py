"""MCAP as far as it goes (https://mcap.dev/spec): with its index where there is a good one, record by record otherwise.

    magic, header, chunk(schema, channel, message ...) ..., summary(schemas, channels, chunk index, statistics), footer, magic

A recorder that was killed leaves no summary and half a chunk. A damaged chunk costs its own messages alone.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gsc_ros.bags.compression import decompress
from gsc_ros.bags.topic import BagError, Topic

MAGIC = b"\x89MCAP0\r\n"
FOOTER_BYTES = 37
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = 1, 2, 3, 4, 5, 6, 8, 11, 15
MOST_RECORD = 1 << 30  # bytes: what is longer is garbage
MESSAGE_HEAD = struct.Struct("<HIQQ")


@dataclass(frozen=True)
class _Chunk:
    start: int  # of its record
    first: int  # nanoseconds
    last: int


class _Fields:
    """Reads the fields of a record one after the other; raises ValueError where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def numbers(self, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(layout)
        return struct.unpack(layout, self._take(size))

    def text(self) -> str:
        return self.block().decode(errors="replace")

    def block(self) -> bytes:
        return self._take(self.numbers("<I")[0])

    def rest(self) -> bytes:
        return self._take(len(self._data) - self._place)

    @property
    def more(self) -> bool:
        return self._place < len(self._data)

    def _take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._data):
            raise ValueError("a record is too short")
        part = self._data[self._place : end]
        self._place = end
        return part


class McapStorage:
    """An open MCAP file; ``tell`` hears of what is damaged. Raises BagError for what is none at all."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self.topics: dict[int, Topic] = {}
        self.counts: dict[int, int] = {}
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._chunks: list[_Chunk] = []
        self._name = path.name
        self._tell = tell
        self._file = path.open("rb")
        try:
            self._size = path.stat().st_size
            if self._file.read(8) != MAGIC:
                raise BagError(f"{path} is no MCAP file")
            self._data_end = self._size
            if not self._read_summary():
                self._scan()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def messages(self, wanted: set[int]) -> Iterator[tuple[int, int, bytes]]:
        if not self._chunks:
            for code, _, body in self._records():
                if code == MESSAGE and len(body) >= MESSAGE_HEAD.size:
                    number, _, when, _ = MESSAGE_HEAD.unpack_from(body)
                    if number in wanted:
                        yield number, when, body[MESSAGE_HEAD.size :]
            return
        # Chunks may overlap in time; each is read when its first message is due.
        streams = (self._in_order(chunk, wanted) for chunk in sorted(self._chunks, key=lambda chunk: chunk.first))
        for when, _, number, data in heapq.merge(*streams, key=lambda item: item[:2]):
            if data is not None:
                yield number, when, data

    def _in_order(self, chunk: _Chunk, wanted: set[int]) -> Iterator[tuple[int, int, int, bytes | None]]:
        yield chunk.first, -1, 0, None
        found = []
        try:
            for code, place, body in _within(self._contents(chunk)):
                if code == MESSAGE and len(body) >= MESSAGE_HEAD.size:
                    number, _, when, _ = MESSAGE_HEAD.unpack_from(body)
                    if number in wanted:
                        found.append((when, chunk.start + place, number, body[MESSAGE_HEAD.size :]))
        except ValueError as error:
            self._tell(f"{self._name}: the chunk at byte {chunk.start} is left out: {error}")
        yield from sorted(found, key=lambda item: item[:2])

    def _contents(self, chunk: _Chunk) -> bytes:
        """The records in ``chunk``, as far as it goes; raises ValueError where it is damaged."""
        self._file.seek(chunk.start + 1)
        length = int.from_bytes(self._file.read(8), "little")
        body = self._file.read(min(length, MOST_RECORD))
        fields = _Fields(body)
        _, _, size, checksum = fields.numbers("<QQQI")
        kind, packed = fields.text(), fields.numbers("<Q")[0]
        whole = len(body) == length
        if size > MOST_RECORD or (whole and packed > length):
            raise ValueError("its sizes are damaged")
        data = decompress(kind, fields.rest()[:packed], size)
        if whole and len(data) != size:
            raise ValueError(f"{len(data)} of {size} bytes can be read")
        if whole and checksum and zlib.crc32(data) != checksum:
            raise ValueError("its checksum is wrong")
        return data

    def _records(self) -> Iterator[tuple[int, int, bytes]]:
        """Code, place and content of the records in the data part; of chunks only the first 28 bytes."""
        place = 8
        while place + 9 <= self._data_end:
            self._file.seek(place)
            head = self._file.read(9)
            code, length = head[0], int.from_bytes(head[1:], "little")
            if code in (FOOTER, DATA_END):
                return
            if not code or length > MOST_RECORD:
                self._tell(f"{self._name}: damaged at byte {place} of {self._size}; what comes before is read")
                return
            if place + 9 + length > self._size and code != CHUNK:
                return
            yield code, place, self._file.read(28 if code == CHUNK else length)
            place += 9 + length

    def _scan(self) -> None:
        """Learn what is there by going through all of it."""
        counts: Counter[int] = Counter()
        for code, place, body in self._records():
            if code != CHUNK:
                with suppress(ValueError):
                    self._learn(code, body, counts)
                continue
            if len(body) < 28:
                break
            first, last = struct.unpack_from("<QQ", body)
            chunk = _Chunk(place, first, last)
            self._chunks.append(chunk)
            try:
                for inner, _, content in _within(self._contents(chunk)):
                    self._learn(inner, content, counts)
            except ValueError:
                continue  # told when its messages are read
        self.counts = dict(counts)
        self._tell(f"{self._name} was not finished by its recorder: read as far as it goes (`mcap recover` mends it)")

    def _learn(self, code: int, body: bytes, counts: Counter[int]) -> None:
        if code == MESSAGE:
            counts[int.from_bytes(body[:2], "little")] += 1
        elif code == SCHEMA:
            fields = _Fields(body)
            number = fields.numbers("<H")[0]
            self._schemas[number] = fields.text(), fields.text(), fields.text()
        elif code == CHANNEL:
            fields = _Fields(body)
            number, schema = fields.numbers("<HH")
            kind, encoding, definition = self._schemas.get(schema, ("", "", ""))
            name, form = fields.text(), fields.text()
            more = _Fields(fields.block())
            notes = {}
            while more.more:
                key = more.text()
                notes[key] = more.text()
            self.topics.setdefault(
                number, Topic(name, kind, form, definition, "idl" in encoding, notes.get("offered_qos_profiles", ""))
            )

    def _read_summary(self) -> bool:
        """Learn what is there from the summary; whether there is a good one with an index."""
        if self._size < 8 + FOOTER_BYTES:
            return False
        self._file.seek(self._size - FOOTER_BYTES)
        footer = self._file.read()
        if footer[:9] != bytes([FOOTER, 20]) + bytes(7) or footer[-8:] != MAGIC:
            return False
        start = int.from_bytes(footer[9:17], "little")
        end = self._size - FOOTER_BYTES
        if not 8 <= start < end:
            return False
        self._file.seek(start)
        counts: dict[int, int] | None = None
        try:
            for code, _, body in _within(self._file.read(end - start)):
                if code == CHUNK_INDEX:
                    first, last, place = struct.unpack_from("<QQQ", body)
                    self._chunks.append(_Chunk(place, first, last))
                elif code == STATISTICS:
                    fields = _Fields(body)
                    fields.numbers("<QHIIIIQQ")
                    pairs = fields.block()
                    counts = dict(struct.iter_unpack("<HQ", pairs))
                else:
                    self._learn(code, body, Counter())
        except (ValueError, struct.error):
            counts = None
        if counts is not None and self.topics and (self._indexed(start) if self._chunks else not sum(counts.values())):
            self.counts = counts
            self._data_end = start
            return True
        self.topics.clear()
        self._schemas.clear()
        self._chunks.clear()
        return False

    def _indexed(self, end: int) -> bool:
        """Whether each of the chunks lies before ``end``, and is there once."""
        starts = {chunk.start for chunk in self._chunks}
        return len(starts) == len(self._chunks) and all(
            8 <= start < end and self._code(start) == CHUNK for start in starts
        )

    def _code(self, place: int) -> int:
        self._file.seek(place)
        return self._file.read(1)[0]


def _within(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Code, place and content of the whole records in ``data``."""
    place = 0
    while place + 9 <= len(data):
        length = int.from_bytes(data[place + 1 : place + 9], "little")
        end = place + 9 + length
        if end > len(data):
            return
        yield data[place], place, data[place + 9 : end]
        place = end
