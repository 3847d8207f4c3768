"""Requests on their way: repeated until confirmed, done once, and never undone by an older one that comes late.

A request is named by a session (two bytes, random at each start of the base, one more for each further session) and
a number in it, from a random one on. Numbers are compared as serial numbers are (RFC 1982); a session that another one
has followed is over, and so are those that came just before a known one, whether anything of them was heard or not.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

SESSION_BYTES = 2
NAME_BYTES = SESSION_BYTES + 1  # session, number
REPEAT_S = 3.0
TRIES = 10
MAX_UNCONFIRMED = 64  # numbers in a row without a confirmation: half the distance at which they lose their order
MAX_RETIRED = 16
MAX_BEFORE = 4  # more would mistake the random session of a new start for an old one more often


@dataclass
class Asking:
    """The base's side of one camera."""

    rng: random.Random
    body: bytes = b""  # of the request that is not confirmed, empty for none
    due: float = 0.0
    in_vain: int = 0  # requests that were given up
    _session: bytes = b""
    _number: int = 0
    _tries: int = 0
    _unconfirmed: int = 0

    def __post_init__(self) -> None:
        self._session = self.rng.randbytes(SESSION_BYTES)
        self._new_session()

    def ask(self, request: bytes, now: float) -> None:
        """``request`` takes the place of one that is not confirmed yet."""
        if self._unconfirmed >= MAX_UNCONFIRMED:
            self._new_session()
        self._number = (self._number + 1) & 0xFF
        self._unconfirmed += 1
        self.body = self._session + bytes([self._number]) + request
        self.due, self._tries = now, 0

    def sent(self, now: float) -> None:
        """It went out at ``now``."""
        self._tries += 1
        self.due = now + REPEAT_S
        if self._tries >= TRIES:
            self.body = b""
            self.in_vain += 1
            self._new_session()  # the robot may hold this one for another, which is over

    def confirmed(self, name: bytes) -> None:
        """The request of this name has arrived."""
        if self.body and self.body[:NAME_BYTES] == name:
            self.body, self._unconfirmed = b"", 0

    def _new_session(self) -> None:
        session = int.from_bytes(self._session, "big") + 1 & 0xFFFF
        self._session, self._number = session.to_bytes(SESSION_BYTES, "big"), self.rng.randrange(256)
        self._unconfirmed = 0


@dataclass
class Answering:
    """The robot's side of one camera."""

    _session: bytes = b""
    _number: int = 0
    _retired: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_RETIRED))

    def new(self, name: bytes) -> bool | None:
        """True for a request to be done, False for one that was done before, None for one that is older than that."""
        session, number = name[:SESSION_BYTES], name[SESSION_BYTES]
        if session == self._session:
            ahead = (number - self._number) & 0xFF
            if ahead == 0:
                return False
            if ahead >= 128:
                return None
        elif session in self._retired or self._before(session):
            return None
        elif self._session:
            self._retired.append(self._session)
        self._session, self._number = session, number
        return True

    def _before(self, session: bytes) -> bool:
        """Whether ``session`` is one of the last before the present one, in the same start of the base."""
        if not self._session:
            return False
        behind = int.from_bytes(self._session, "big") - int.from_bytes(session, "big") & 0xFFFF
        return behind <= MAX_BEFORE
