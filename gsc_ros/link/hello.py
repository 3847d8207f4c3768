"""The hello: how each side tells the other under which boot it sends.

    state (1) | boot (12) | counter (4) | echo (6) | HMAC-SHA256 of all before, cut to 8       31 bytes

The counter is one of those that datagrams are numbered with: no two hellos are alike. ``echo`` is the beginning of
the HMAC of the hello that this one answers, zeros for none. Who finds a hello of its own there knows that the answer
was made after it: a challenge and its response (ISO/IEC 9798-4). ``state`` is what SYN, SYN-ACK and ACK are to TCP.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

from gsc_ros.link.aead import BOOT_BYTES, Rejected, derive

MAC_BYTES = 8
ECHO_BYTES = 6
NOTHING = bytes(ECHO_BYTES)
_BODY = struct.Struct(f">B{BOOT_BYTES}sI{ECHO_BYTES}s")
HELLO_BYTES = _BODY.size + MAC_BYTES


class State(IntEnum):
    """What the sender of a hello knows of the side that it answers."""

    SETTLED = 0xFD  # you are proven here, and I am proven there: no answer needed
    PROVEN = 0xFE  # you are proven here; am I there?
    ASKING = 0xFF  # prove that you are there now


class UnverifiedHello(Rejected):
    """A hello that the key does not vouch for."""


@dataclass(frozen=True)
class Hello:
    """One hello; ``tag`` is what an answer echoes."""

    state: State
    boot: bytes
    counter: int
    echo: bytes
    tag: bytes = NOTHING


def is_hello(datagram: bytes) -> bool:
    """Whether ``datagram`` claims to be a hello."""
    return len(datagram) > 0 and datagram[0] >= min(State)


class HelloKey:
    """Signs and verifies the hellos that ``side`` sends."""

    def __init__(self, key: bytes, side: str) -> None:
        self._key = derive(key, salt=b"", purpose="hello", side=side)

    def sign(self, state: State, boot: bytes, counter: int, echo: bytes) -> bytes:
        """The bytes of a hello."""
        body = _BODY.pack(state, boot, counter, echo)
        return body + self._mac(body)

    def verify(self, datagram: bytes) -> Hello:
        """The hello in ``datagram``; raises UnverifiedHello."""
        body, mac = datagram[: _BODY.size], datagram[_BODY.size :]
        if len(datagram) != HELLO_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            raise UnverifiedHello("a hello that the key does not vouch for")
        state, boot, counter, echo = _BODY.unpack(body)
        return Hello(State(state), boot, counter, echo, tag_of(datagram))

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:MAC_BYTES]


def tag_of(hello: bytes) -> bytes:
    """What an answer to ``hello`` echoes."""
    return hello[_BODY.size :][:ECHO_BYTES]
