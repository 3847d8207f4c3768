"""Authentication with a pre-shared key: ten bytes a datagram, all in.

    sealed = low 32 bits of the counter | AES-256-CCM(body), its tag of 6 bytes at the end

The 13-byte nonce is the direction (one byte), four zero bytes and the 64-bit counter. Counters
follow the clock in steps of 1/256 s, never go back and never repeat: a file beside the key keeps
what a sender may have used before a restart, whatever its clock says then. A receiver completes
the counter from the one it saw last (from its own clock at the very first), so that the clocks
of both ends may differ by weeks. A file beside the key keeps what it saw last as well:
what was sent before that is not accepted again after a restart.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

OVERHEAD = 10
KEY_BYTES = 32
TAG_BYTES = 6
TICKS_PER_SECOND = 256
RESERVED = 1 << 14  # counters a sender takes from its file at once: 64 s of them
WINDOW = 256  # datagrams that may overtake each other
_LOW = 1 << 32


class SealError(ValueError):
    """A key file that cannot be used."""


class Rejected(ValueError):  # noqa: N818
    """A datagram that the key does not vouch for: forged, damaged, cut short or replayed."""


def new_key(path: Path) -> None:
    """Write a new key to ``path``, readable by its owner alone; raises SealError where one is."""
    if path.exists():
        raise SealError(f"{path} exists: a key is never overwritten, name another file")
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(KEY_BYTES) + "\n")


def read_key(path: Path) -> bytes:
    """The 32 bytes in ``path``, 64 hexadecimal digits; raises SealError."""
    try:
        if path.stat().st_mode & 0o077:
            raise SealError(f"{path} can be read by others: chmod 600 {path}")
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise SealError(f"{path}: {error.strerror}; make a key with `gsc key {path}`") from error
    except ValueError as error:
        if isinstance(error, SealError):
            raise
        raise SealError(f"{path} is not a key: 64 hexadecimal digits are expected") from error
    if len(key) != KEY_BYTES:
        raise SealError(f"{path} holds {len(key)} bytes: a key has {KEY_BYTES}")
    return key


class Seal:
    """Seals what one side sends and opens what the other side sent."""

    def __init__(self, path: Path, *, side: str, clock: Callable[[], float] = time.time) -> None:
        """``side`` is ``robot`` or ``base``; raises SealError for a key or a folder that cannot be used."""
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESCCM
        except ImportError as error:
            raise SealError("a key needs the package cryptography: pip install 'gsc-ros[link]'") from error
        self._cipher = AESCCM(read_key(path), tag_length=TAG_BYTES)
        self._clock = clock
        mine, theirs = (b"R", b"B") if side == "robot" else (b"B", b"R")
        self._mine, self._theirs = mine + bytes(4), theirs + bytes(4)
        self._sent_file = path.with_name(f"{path.name}.{side}.sent")
        self._seen_file = path.with_name(f"{path.name}.{side}.seen")
        self._counter = self._reserved = _stored(self._sent_file)
        self._seen: set[int] = set()
        self._floor = _stored(self._seen_file)  # nothing up to here is accepted
        self._highest = self._floor
        self._saved = self._floor

    def seal(self, body: bytes) -> bytes:
        """``body`` and ten bytes more."""
        self._counter = max(self._counter + 1, int(self._clock() * TICKS_PER_SECOND))
        if self._counter >= self._reserved:
            self._reserved = self._counter + RESERVED
            _store(self._sent_file, self._reserved)
        nonce = self._mine + self._counter.to_bytes(8, "big")
        return (self._counter % _LOW).to_bytes(4, "big") + self._cipher.encrypt(nonce, body, None)

    def open(self, sealed: bytes) -> bytes:
        """The body; raises Rejected unless the other side sealed it, and this is its first arrival."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) <= OVERHEAD:
            raise Rejected(f"{len(sealed)} bytes: shorter than a sealed datagram")
        counter = self._complete(int.from_bytes(sealed[:4], "big"))
        if counter <= self._floor or counter in self._seen:
            raise Rejected("a datagram that was here before")
        try:
            body = self._cipher.decrypt(self._theirs + counter.to_bytes(8, "big"), sealed[4:], None)
        except InvalidTag as error:
            raise Rejected("the key does not vouch for this datagram") from error
        self._seen.add(counter)
        self._highest = max(self._highest, counter)
        while len(self._seen) > WINDOW:
            self._floor = min(self._seen)
            self._seen.discard(self._floor)
        if self._highest >= self._saved + 10 * TICKS_PER_SECOND:
            self.save()
        return body

    def save(self) -> None:
        """Note what was seen, so that a restart does not accept it again."""
        self._saved = self._highest
        _store(self._seen_file, self._highest)

    def _complete(self, low: int) -> int:
        """The counter with these low bits that is nearest to the last one seen."""
        near = self._highest or int(self._clock() * TICKS_PER_SECOND)
        counter = near - near % _LOW + low
        return min((counter - _LOW, counter, counter + _LOW), key=lambda value: (value < 0, abs(value - near)))


def _stored(path: Path) -> int:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise SealError(
            f"{path} cannot be read as a number: {error}; restore it, or make a new key for both ends"
        ) from error


def _store(path: Path, value: int) -> None:
    """Whole or not at all; raises SealError, because a counter that is lost would be used twice."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(f"{value}\n")
        partial.replace(path)
    except OSError as error:
        raise SealError(f"{path}: {error.strerror}; the folder of the key has to be writable and not full") from error
