"""Authenticated encryption of datagrams: AES-256-CCM under a key of this start of the sender alone.

    datagram = counter (4 bytes) | AES-256-CCM(body), its tag of 6 bytes at the end

Each start of a sender draws a random *boot* of 12 bytes. Its key is HKDF-SHA256 (RFC 5869) of the pre-shared key
with the boot as salt and the direction as info; the nonce of 13 bytes is the counter, from 0. A pair of key and
nonce can repeat only where two starts draw the same 96 random bits: no clock and no disk is needed for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gsc_ros.link.key_file import KEY_BYTES, KeyFileError
from gsc_ros.link.replay_window import ReplayWindow

VERSION = b"gsc_ros link 2 "
BOOT_BYTES = 12
COUNTER_BYTES = 4
TAG_BYTES = 6
NONCE_BYTES = 13
OVERHEAD = COUNTER_BYTES + TAG_BYTES
COUNTER_END = 0xFD00_0000  # first bytes 0xFD to 0xFF are those of a hello
SIDES = ("robot", "base")


class Rejected(ValueError):  # noqa: N818
    """A datagram that the key does not vouch for: forged, damaged, cut short or replayed."""


def derive(key: bytes, *, salt: bytes, purpose: str, side: str) -> bytes:
    """32 bytes for ``purpose`` of what ``side`` sends; raises KeyFileError without the package cryptography."""
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise KeyFileError("a key needs the package cryptography: pip install 'gsc-ros[link]'") from error
    info = VERSION + f"{purpose} {side}".encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


def _cipher(key: bytes, boot: bytes, side: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM

    return AESCCM(derive(key, salt=boot, purpose="data", side=side), tag_length=TAG_BYTES)


class Sealer:
    """Seals what ``side`` sends."""

    def __init__(self, key: bytes, side: str, random_bytes: Callable[[int], bytes]) -> None:
        self._key, self._side, self._random_bytes = key, side, random_bytes
        self.draw()

    def draw(self) -> None:
        """A new boot, and counters from 0 again."""
        self.boot = self._random_bytes(BOOT_BYTES)
        self._counter = 0
        self._cipher = _cipher(self._key, self.boot, self._side)

    @property
    def used_up(self) -> bool:
        """Whether no counter is left under this boot."""
        return self._counter >= COUNTER_END

    def take(self) -> int:
        """A counter that nothing else has under this boot. Draw first where :attr:`used_up`."""
        assert not self.used_up
        self._counter += 1
        return self._counter - 1

    def seal(self, body: bytes) -> bytes:
        """``body`` (at most 65,497 bytes) and ten bytes more."""
        counter = self.take().to_bytes(COUNTER_BYTES, "big")
        return counter + self._cipher.encrypt(counter.rjust(NONCE_BYTES, b"\0"), body, None)


class Opener:
    """Opens what ``side`` sealed under one boot, each datagram once."""

    def __init__(self, key: bytes, side: str, boot: bytes, *, floor: int) -> None:
        """Counters up to ``floor`` (-1: none) are refused."""
        self.boot = boot
        self.window = ReplayWindow(floor)
        self._cipher = _cipher(key, boot, side)

    def open(self, datagram: bytes) -> bytes | None:
        """The body, or None unless it was sealed under this boot and is here for the first time."""
        from cryptography.exceptions import InvalidTag

        counter = int.from_bytes(datagram[:COUNTER_BYTES], "big")
        if not self.window.fresh(counter):
            return None
        nonce = datagram[:COUNTER_BYTES].rjust(NONCE_BYTES, b"\0")
        try:
            body: bytes = self._cipher.decrypt(nonce, datagram[COUNTER_BYTES:], None)
        except InvalidTag:
            return None
        self.window.accept(counter)
        return body
