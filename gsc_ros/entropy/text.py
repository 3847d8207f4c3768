"""The caption coder: characters predicted from captions seen before, in integers throughout.

A table of context counts, made once from a corpus of captions (:mod:`gsc_ros.training.text`),
says how often each character followed each context. The contexts of a character, weakest
first: none; the last 1, 2, 3 characters; the word so far (or the last 5 characters); the
previous word and the word so far; the two previous words and the word so far. Each that the
table knows refines the prediction of the weaker ones by absolute discounting (Ney et al. 1994)
with a discount of 3/4; docs/bitstream.md has the arithmetic.

Whatever the table cannot express (letters beyond ASCII) is escaped byte by byte, and a text
that is shorter as plain UTF-8 is sent as such.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from gsc_ros.entropy.coder import TOTAL, CoderError, SymbolDecoder, SymbolEncoder
from gsc_ros.weights import Weights, damaged, load_arrays

FIRST, LAST = 32, 126  # printable ASCII
END, ESCAPE = LAST - FIRST + 1, LAST - FIRST + 2
ALPHABET = ESCAPE + 1
MAX_CHARACTERS = 1024
FILE = "text.safetensors"
_SCALE = 1 << 24
_UNIFORM_BYTE = np.full((1, 256), TOTAL // 256, dtype=np.int64)


class TextError(CoderError):
    """A text that cannot be coded, or bytes that are no coded text."""


def contexts(history: str) -> Iterator[bytes]:
    """The contexts of the character that follows ``history``, weakest first."""
    head, _, word = history.rpartition(" ")
    words = head.lower().split(" ")
    previous = words[-1] or "^"
    before = words[-2] if len(words) > 1 else "^"
    yield b"0"
    for order in (1, 2, 3):
        yield f"{order}{history[-order:]}".encode()
    yield (f"w{word}" if len(word) > 4 else f"5{history[-5:]}").encode()
    yield f"b{previous} {word}".encode()
    yield f"t{before} {previous} {word}".encode()


def key(context: bytes) -> int:
    """What a context is stored under: the CRC-32 of its bytes."""
    return zlib.crc32(context)


@dataclass(frozen=True)
class TextTable:
    """Context counts: for ``keys[i]`` (sorted, uint32) the symbols and counts of ``starts[i]:starts[i+1]``."""

    keys: NDArray[np.uint32]
    distinct: NDArray[np.uint8]
    symbols: NDArray[np.uint8]
    counts: NDArray[np.uint8]

    @classmethod
    def load(cls, weights: Weights) -> TextTable:
        """The table of ``text.safetensors``; raises ProfileError."""
        shapes = {"keys": (None,), "distinct": (None,), "symbols": (None,), "counts": (None,)}
        kinds = {"keys": np.uint32, "distinct": np.uint8, "symbols": np.uint8, "counts": np.uint8}
        table = cls(**load_arrays(weights, FILE, shapes, kinds=kinds))
        whole = (
            len(table.keys) == len(table.distinct)
            and len(table.symbols) == len(table.counts) == int(table.distinct.sum(dtype=np.int64))
            and bool((table.keys[1:] > table.keys[:-1]).all())
            and bool(table.distinct.all() and table.counts.all() and (table.symbols < ALPHABET).all())
        )
        if not whole:
            raise damaged(weights, FILE, "its context counts do not belong together")
        return table

    def save(self, path: Path) -> None:
        save_file({"keys": self.keys, "distinct": self.distinct, "symbols": self.symbols, "counts": self.counts}, path)


class TextCoder:
    """Text to bytes and back under one table."""

    def __init__(self, table: TextTable) -> None:
        self._keys = table.keys
        self._starts = np.concatenate([[0], np.cumsum(table.distinct, dtype=np.int64)])
        self._symbols = table.symbols.astype(np.int64)
        self._counts = table.counts.astype(np.int64)

    def frequencies(self, history: str) -> NDArray[np.int64]:
        """How likely each symbol is after ``history``: (ALPHABET,) of int64 that sum to TOTAL."""
        share = np.full(ALPHABET, _SCALE // ALPHABET, dtype=np.int64)
        for context in contexts(history):
            name = key(context)
            at = int(np.searchsorted(self._keys, np.uint32(name)))
            if at == len(self._keys) or int(self._keys[at]) != name:
                continue
            low, high = self._starts[at], self._starts[at + 1]
            symbols, counts = self._symbols[low:high], self._counts[low:high]
            total = 4 * int(counts.sum())
            share = share * (3 * (high - low)) // total
            share[symbols] += (4 * counts - 3) * _SCALE // total
        result = 1 + share * (TOTAL - ALPHABET) // _SCALE
        result[np.argmax(result)] += TOTAL - result.sum()
        return result

    def encode(self, text: str) -> bytes:
        """The coded bytes; raises TextError beyond MAX_CHARACTERS characters."""
        if len(text) > MAX_CHARACTERS:
            raise TextError(f"a text of {len(text)} characters: at most {MAX_CHARACTERS} can be sent, shorten it")
        text = text.encode("utf-8", "replace").decode("utf-8")
        coder = SymbolEncoder()
        history = ""
        for character in text:
            if FIRST <= ord(character) <= LAST:
                self._put(coder, history, ord(character) - FIRST)
            else:
                for byte in character.encode("utf-8"):
                    self._put(coder, history, ESCAPE)
                    coder.encode(np.array([byte]), _UNIFORM_BYTE)
                    history += "\x7f"
                continue
            history += character
        self._put(coder, history, END)
        return coder.finish()

    def decode(self, data: bytes) -> str:
        """The text; raises TextError when the bytes hold none."""
        coder = SymbolDecoder(data)
        history, result = "", bytearray()
        for _ in range(4 * MAX_CHARACTERS + 1):
            symbol = int(coder.decode(self.frequencies(history)[None])[0])
            if symbol == END:
                break
            if symbol == ESCAPE:
                result.append(int(coder.decode(_UNIFORM_BYTE)[0]))
                history += "\x7f"
            else:
                result.append(symbol + FIRST)
                history += chr(symbol + FIRST)
        else:
            raise TextError("the text has no end")
        try:
            text = result.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TextError("the text is not UTF-8") from error
        if len(text) > MAX_CHARACTERS:
            raise TextError(f"a text of {len(text)} characters: at most {MAX_CHARACTERS} are allowed")
        return text

    def _put(self, coder: SymbolEncoder, history: str, symbol: int) -> None:
        coder.encode(np.array([symbol]), self.frequencies(history)[None])
