"""The range coder: integer frequencies in, the fewest whole bytes out.

The arithmetic is constriction's 64-bit range coder with 32-bit words. It is handed frequencies
that are integers summing to ``TOTAL`` = 2**16, divided by that power of two: an exact floating
point operation, so that the coder sees the same numbers on every machine. docs/bitstream.md
gives the same arithmetic in integers for readers who write their own decoder.
"""

from __future__ import annotations

import constriction
import numpy as np
from numpy.typing import NDArray

TOTAL = 1 << 16
_FAMILY = constriction.stream.model.Categorical(perfect=False)


class CoderError(ValueError):
    """Bytes that no encoder wrote, or symbols that cannot be coded."""


class SymbolEncoder:
    """Codes runs of symbols, first in first out."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: NDArray[np.integer], frequencies: NDArray[np.integer]) -> None:
        """Append ``symbols`` (n,), each under its row of ``frequencies`` (n,A) that sums to TOTAL."""
        if len(symbols):
            self._coder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, frequencies / float(TOTAL))

    def finish(self) -> bytes:
        """The coded bytes, without those that a decoder reading zeros past the end would not miss."""
        whole, (lower, width) = self._coder.pos()
        words = np.asarray(self._coder.get_compressed(), dtype=">u4").tobytes()
        # Any number in [low, low + width) decodes alike. Take the one with the most zeros at its end.
        prefix = words[: 4 * whole].ljust(4 * whole, b"\0")
        low = (int.from_bytes(prefix, "big") << 64) | lower
        sealed = words
        size = 4 * whole + 8
        for zeros in range(8 * size, -1, -8):
            value = -(-low >> zeros) << zeros
            if value < low + width:
                sealed = value.to_bytes(size, "big")
                break
        return sealed.rstrip(b"\0")


class SymbolDecoder:
    """Reads back what :class:`SymbolEncoder` wrote; broken bytes yield wrong symbols or a CoderError."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(12 - len(data) % 4)
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))

    def decode(self, frequencies: NDArray[np.integer]) -> NDArray[np.int32]:
        """The next n symbols, (n,) of int32, under the rows of ``frequencies`` (n,A)."""
        if not len(frequencies):
            return np.empty(0, dtype=np.int32)
        try:
            symbols: NDArray[np.int32] = self._coder.decode(_FAMILY, frequencies / float(TOTAL))
        except AssertionError as error:  # constriction's word for a point outside every interval
            raise CoderError("the bytes are not what a range coder writes") from error
        return symbols
