"""Frames larger than the link's datagrams: cut, and put together again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

MAX_PIECES = 128
INCOMPLETE = 4  # frames of one camera that may be under way at once
MAX_HELD = 1 << 20  # bytes of one camera
_LAST = 0x80


class FragmentError(ValueError):
    """A frame that cannot be cut, or a piece that fits nowhere."""


def pieces_needed(size: int, room: int) -> int:
    """How many pieces of at most ``room`` bytes a body of ``size`` bytes takes; raises FragmentError."""
    if room < 1 or size > MAX_PIECES * room:
        raise FragmentError(
            f"a frame of {size} bytes in pieces of {room}: at most {MAX_PIECES} pieces, allow larger datagrams"
        )
    return -(-size // room)


def cut(body: bytes, room: int) -> list[tuple[int, bytes]]:
    """``body`` in pieces of at most ``room`` bytes, each with its mark (index, and 128 on the last); raises FragmentError."""
    count = pieces_needed(len(body), room)
    pieces = [body[at * room : (at + 1) * room] for at in range(count)]
    return [(index | (_LAST if index + 1 == count else 0), piece) for index, piece in enumerate(pieces)]


class Reassembler:
    """The frames of one camera that are under way; a lost piece costs its own frame and no other."""

    def __init__(self) -> None:
        self._frames: OrderedDict[int, _Partial] = OrderedDict()
        self.abandoned = 0  # frames that were begun here and given up

    @property
    def held(self) -> int:
        """Bytes of pieces that wait for others."""
        return sum(partial.held for partial in self._frames.values())

    def add(self, number: int, mark: int, piece: bytes) -> bytes | None:
        """The whole body once its last missing piece is here; ``number`` 0..255 names the frame."""
        if number not in self._frames:
            # Numbers come round again: what is that far behind is from another time.
            for old in [n for n in self._frames if INCOMPLETE < (number - n) & 0xFF < 128]:
                del self._frames[old]
                self.abandoned += 1
            self._frames[number] = _Partial()
        partial = self._frames[number]
        if not partial.add(mark, piece):  # pieces of two frames under one number: the newer one counts
            self.abandoned += 1
            partial = self._frames[number] = _Partial()
            partial.add(mark, piece)
        if partial.complete:
            del self._frames[number]
            return b"".join(partial)
        while len(self._frames) > INCOMPLETE or self.held > MAX_HELD:
            self._frames.popitem(last=False)  # the one that was begun first
            self.abandoned += 1
        return None


class _Partial:
    """The pieces of one frame."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._count: int | None = None
        self.held = 0

    def add(self, mark: int, piece: bytes) -> bool:
        """False where the piece contradicts those that are here."""
        index = mark & ~_LAST
        count = index + 1 if mark & _LAST else None
        if self._pieces.get(index, piece) != piece:
            return False
        if count is not None and (self._count not in (None, count) or any(i >= count for i in self._pieces)):
            return False
        if self._count is not None and index >= self._count:
            return False
        if index not in self._pieces:
            self._pieces[index] = piece
            self.held += len(piece)
        self._count = self._count if count is None else count
        return True

    @property
    def complete(self) -> bool:
        return self._count == len(self._pieces)

    def __iter__(self) -> Iterator[bytes]:
        return (self._pieces[index] for index in range(len(self._pieces)))
