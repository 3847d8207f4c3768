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

import codecs
import zlib
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
ESCAPED = 127  # what an escaped byte counts as in the contexts of later characters
MAX_CHARACTERS = 1024
FILE = "text.safetensors"
SHORT = 3  # contexts of at most two characters: of few pairs, and looked up for every character
SHORT_KEPT = 2048
_SCALE = 1 << 24
_NO_CONTEXT = zlib.crc32(b"0")
_UNIFORM_BYTE = np.full((1, 256), TOTAL // 256, dtype=np.int64)


class TextError(CoderError):
    """A text that cannot be coded, or bytes that are no coded text."""


class Contexts:
    """The contexts of the next character, kept as the text grows: what a character costs does not depend on what went before.

    A context is stored under the CRC-32 of its bytes. Those that hold the word so far grow at their end, and their
    CRC is continued; the others are a few bytes.
    """

    def __init__(self) -> None:
        self._tail = b""  # the last five characters
        self._word = bytearray()
        self._words: tuple[bytes | None, bytes | None] = (None, None)  # the last two that are complete, in lower case
        self._word_key = self._pair_key = self._triple_key = 0
        self._begin_word()

    @property
    def last_two(self) -> bytes:
        """The last two characters, fewer at the beginning."""
        return self._tail[-2:]

    def names(self) -> list[int]:
        """The keys of the contexts of the next character, weakest first."""
        tail = self._tail
        word = self._word_key if len(self._word) > 4 else zlib.crc32(b"5" + tail)
        orders = (zlib.crc32(b"%d" % order + tail[-order:]) for order in (1, 2, 3))
        return [_NO_CONTEXT, *orders, word, self._pair_key, self._triple_key]

    def advance(self, character: int) -> None:
        """The next character, below 128, is known."""
        piece = bytes([character])
        self._tail = self._tail[-4:] + piece
        if piece == b" ":
            self._words = self._words[1], bytes(self._word).lower()
            self._word.clear()
            self._begin_word()
        else:
            self._word += piece
            self._word_key = zlib.crc32(piece, self._word_key)
            self._pair_key = zlib.crc32(piece, self._pair_key)
            self._triple_key = zlib.crc32(piece, self._triple_key)

    def _begin_word(self) -> None:
        before, previous = (b"^" if word is None else word for word in self._words)
        previous = previous or b"^"
        self._word_key = zlib.crc32(b"w")
        self._pair_key = zlib.crc32(b"b" + previous + b" ")
        self._triple_key = zlib.crc32(b"t" + before + b" " + previous + b" ")


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
        counts = table.counts.astype(np.int64)
        ends = np.cumsum(table.distinct, dtype=np.int64)
        starts = ends - table.distinct
        totals = 4 * np.add.reduceat(counts, starts)
        self._entries = np.stack([starts, ends, totals], axis=1)
        self._symbols = table.symbols.astype(np.intp)
        # What an entry adds to the share of its symbol.
        self._gains = (4 * counts - 3) * _SCALE // np.repeat(totals, table.distinct)
        self._short: dict[bytes, NDArray[np.int64]] = {}  # shares after the contexts of at most two characters

    def frequencies(self, contexts: Contexts) -> NDArray[np.int64]:
        """How likely each symbol is in ``contexts``: (ALPHABET,) of int64 that sum to TOTAL."""
        names = contexts.names()  # a known context scales the shares of the weaker ones down and adds its own
        share = self._short.get(contexts.last_two)
        if share is None:
            share = self._refined(np.full(ALPHABET, _SCALE // ALPHABET, dtype=np.int64), names[:SHORT])
            if len(self._short) >= SHORT_KEPT:
                self._short.clear()
            self._short[contexts.last_two] = share
        share = self._refined(share.copy(), names[SHORT:])
        share *= TOTAL - ALPHABET
        share //= _SCALE
        share += 1
        share[share.argmax()] += TOTAL - share.sum()
        return share

    def _refined(self, share: NDArray[np.int64], keys: list[int]) -> NDArray[np.int64]:
        """``share``, in place, after those of the contexts ``keys`` that the table knows."""
        names = np.array(keys, dtype=np.uint32)
        places = np.minimum(np.searchsorted(self._keys, names), len(self._keys) - 1)
        for low, high, total in self._entries[places[self._keys[places] == names]].tolist():
            share *= 3 * (high - low)
            share //= total
            share[self._symbols[low:high]] += self._gains[low:high]
        return share

    def encode(self, text: str) -> bytes:
        """The coded bytes; raises TextError beyond MAX_CHARACTERS characters."""
        if len(text) > MAX_CHARACTERS:
            raise TextError(f"a text of {len(text)} characters: at most {MAX_CHARACTERS} can be sent, shorten it")
        coder, contexts = SymbolEncoder(), Contexts()
        for byte in text.encode("utf-8", "replace"):
            printable = FIRST <= byte <= LAST
            symbol = byte - FIRST if printable else ESCAPE
            coder.encode(np.array([symbol]), self.frequencies(contexts)[None])
            if not printable:
                coder.encode(np.array([byte]), _UNIFORM_BYTE)
            contexts.advance(byte if printable else ESCAPED)
        coder.encode(np.array([END]), self.frequencies(contexts)[None])
        return coder.finish()

    def decode(self, data: bytes) -> str:
        """The text; raises TextError when the bytes hold none, at the latest after MAX_CHARACTERS + 1 characters."""
        coder, contexts, text = SymbolDecoder(data), Contexts(), ""
        utf8 = codecs.getincrementaldecoder("utf-8")()
        try:
            while len(text) <= MAX_CHARACTERS:
                symbol = int(coder.decode(self.frequencies(contexts)[None])[0])
                if symbol == END:
                    return text + utf8.decode(b"", final=True)
                escaped = symbol == ESCAPE
                byte = int(coder.decode(_UNIFORM_BYTE)[0]) if escaped else symbol + FIRST
                text += utf8.decode(bytes([byte]))
                contexts.advance(ESCAPED if escaped else byte)
        except UnicodeDecodeError as error:
            raise TextError("the text is not UTF-8") from error
        raise TextError(f"a text of more than {MAX_CHARACTERS} characters")
