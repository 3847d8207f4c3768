"""The secure channel of one side: who the other side is now, what it sent, and when to say hello.

    robot                                       base
      hello 1  ASKING                     -->        never heard, or perhaps old: not proven
            <--  hello 2  ASKING, echoes 1           the robot knows its own hello: the base is there now, *proven*
      hello 3  PROVEN, echoes 2           -->        the robot is proven too
            <--  hello 4  SETTLED, echoes 3          both know that both know: no more hellos
      data  -->  <--  data                           from the start on, whatever the other side can make of it

A boot that is not proven is taken at its word once it was asked to prove itself, and nothing proven was heard, for
``QUIET_S``: that is how a link without a way back works. docs/link.md says what is proven and what is not.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gsc_ros.link.aead import OVERHEAD, SIDES, Opener, Rejected, Sealer
from gsc_ros.link.boot_memory import BootMemory
from gsc_ros.link.hello import NOTHING, Hello, HelloKey, State, is_hello, tag_of
from gsc_ros.link.hello_schedule import HelloSchedule
from gsc_ros.link.key_file import read_key

QUIET_S = 60.0  # without anything proven: what is not proven counts
HEARING_S = 10.0  # since something proven: no reason to ask whether the other side is there
UNHEARD = 4  # datagrams sent without hearing anything: on slow links that is not soon
MAX_UNPROVEN = 4
MAX_GREETINGS = 64
MAX_CHALLENGES = 64  # half an hour of hellos: a round trip to Mars


class Opened(NamedTuple):
    """What a datagram was.

    body         empty for a hello
    genuine      its source is that of the other side from now on
    superseded   its sender has started again since
    """

    body: bytes
    genuine: bool
    superseded: bool = False


@dataclass
class _Greeting:
    """Hellos of a boot that is not proven: how far its counters went, and when it may be answered."""

    schedule: HelloSchedule
    counter: int = -1


@dataclass
class _Peer:
    """A boot of the other side."""

    opener: Opener
    since: float | None  # when it was first heard; None: known from the disk, or proven
    heard: tuple[int, bytes] = (-1, NOTHING)  # counter and tag of its last hello

    @property
    def boot(self) -> bytes:
        return self.opener.boot

    def note(self, hello: Hello) -> None:
        self.heard = max(self.heard, (hello.counter, hello.tag))


class SecureChannel:
    """Seals what one side sends and opens what the other sent. ``now``: seconds of any clock that does not go back."""

    def __init__(self, path: Path, *, side: str, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """``path`` is the key file, ``side`` is ``robot`` or ``base``; raises KeyFileError."""
        self._key = read_key(path)
        self._theirs = SIDES[side == SIDES[0]]
        self._sealer = Sealer(self._key, side, random_bytes)
        self._sign, self._verify = HelloKey(self._key, side).sign, HelloKey(self._key, self._theirs).verify
        self._challenges: deque[bytes] = deque(maxlen=MAX_CHALLENGES)  # tags of our hellos without an answer so far
        self._memory = BootMemory(path.with_name(f"{path.name}.{side}.boots"))
        self._current: _Peer | None = None  # proven
        self._previous: Opener | None = None  # proven earlier, for what is still under way
        self._previous_until = 0.0
        self._unproven: OrderedDict[bytes, _Peer] = OrderedDict()  # by boot, the one that was last of use at the end
        self._unanswered: list[bytes] = []  # boots whose hellos wait for an answer
        self._greetings: OrderedDict[bytes, _Greeting] = OrderedDict()  # by boot, the one heard last at the end
        self._asker: bytes | None = None  # the boot of the datagram opened last, where that was a hello to ask
        self._proven_there = False  # whether the other side says that we are proven to it
        self._owed = False  # whether a hello has to go out even with nothing else to send
        self._schedule = HelloSchedule()
        self._unheard = 0  # datagrams sent since something proven was heard
        self._began: float | None = None
        self._heard: float | None = None  # when something proven was heard
        last = self._memory.last
        if last is not None:
            self._unproven[last] = _Peer(self._opener(last, self._memory.stored(last)), None)

    @property
    def settled(self) -> bool:
        """Whether both sides have proven each other."""
        return self._current is not None and self._proven_there

    @property
    def trouble(self) -> str:
        """What is wrong with the disk, in one line; empty for nothing."""
        return self._memory.trouble

    def seal(self, body: bytes) -> bytes:
        """``body`` and ten bytes more."""
        self._draw_if_used_up()
        self._unheard += 1
        return self._sealer.seal(body)

    def hello(self, now: float, *, sending: bool) -> bytes | None:
        """The hello that goes out at ``now``, before anything else; ``sending``: there is something else to send."""
        if self.wait(now, sending=sending) != 0.0:
            return None
        return self._greet(self._addressee(), now)

    def answer(self, now: float) -> bytes | None:
        """The hello that goes back at once to where the datagram opened last came from, if it is one to answer so.

        It asks a boot that is not proven. Each has distances of its own, and each of its hellos counts once: who
        plays old ones keeps neither the other side from being asked, nor its address from being known.
        """
        boot, self._asker = self._asker, None
        peer = None if boot is None else self._unproven.get(boot)
        if peer is None:
            return None
        own = self._greetings[peer.boot].schedule
        if own.wait(now) and self._schedule.wait(now):
            return None
        own.sent(now)
        self._unanswered = [one for one in self._unanswered if one != peer.boot]
        return self._greet(peer, now)

    def _greet(self, peer: _Peer | None, now: float) -> bytes:
        self._draw_if_used_up()
        state = State.ASKING
        if peer is not None and peer is self._current:
            state = State.SETTLED if self._proven_there and self._hears(now) else State.PROVEN
        echo = NOTHING if peer is None else peer.heard[1]
        datagram = self._sign(state, self._sealer.boot, self._sealer.take(), echo)
        self._challenges.append(tag_of(datagram))
        self._owed = bool(self._unanswered)
        self._schedule.sent(now)
        return datagram

    def wait(self, now: float, *, sending: bool) -> float | None:
        """Seconds until :meth:`hello` has something, None where nothing calls for it."""
        self._begin(now)
        asked = any(one.since is not None and now - one.since < QUIET_S for one in self._unproven.values())
        # A base that started again may know neither us nor our address, and would have nobody to ask.
        unsure = not self.settled or (self._unheard >= UNHEARD and not self._hears(now))
        return self._schedule.wait(now) if self._owed or asked or (sending and unsure) else None

    def open(self, datagram: bytes, now: float) -> Opened:
        """What ``datagram`` holds; raises Rejected unless the other side sent it and it is here for the first time."""
        self._begin(now)
        self._asker = None
        if is_hello(datagram):
            return Opened(b"", self._hear(self._verify(datagram), now))
        if len(datagram) <= OVERHEAD:
            raise Rejected(f"{len(datagram)} bytes: shorter than a sealed datagram")
        for opener in self._live(now):
            body = opener.open(datagram)
            if body is not None:
                unproven = opener.boot in self._unproven
                if unproven:
                    self._unproven.move_to_end(opener.boot)
                else:
                    self._hear_proof(now)
                self._memory.accepted(opener.boot, opener.window.highest, now)
                return Opened(body, True, opener is self._previous and not unproven)
        # Perhaps the other side does not know that we have started. Where it is heard, this is only noise.
        self._owed |= not self._hears(now)
        raise Rejected("the key does not vouch for this datagram, or it was here before")

    def close(self) -> None:
        """Note what was accepted."""
        self._memory.close()

    def _live(self, now: float) -> Iterator[Opener]:
        """The boots under which a datagram may have been sealed: two, in times of silence four more."""
        if self._current is not None:
            yield self._current.opener
        if self._previous is not None and now < self._previous_until:
            yield self._previous
        if self._silence(now) >= QUIET_S:
            for one in reversed(list(self._unproven.values())):
                if one.since is None or now - one.since >= QUIET_S:
                    yield one.opener

    def _hear(self, hello: Hello, now: float) -> bool:
        """Take note of a hello; True where its source is the other side's. Raises Rejected for one that is not new."""
        fresh = hello.echo != NOTHING and hello.echo in self._challenges
        current = self._current
        if current is None or hello.boot != current.boot:
            if fresh:
                self._take_over(hello, now)
            else:
                self._consider(hello, now)
            return fresh
        window = current.opener.window
        if not window.fresh(hello.counter):
            raise Rejected("a hello that was here before")
        newest = hello.counter > window.highest
        window.accept(hello.counter)
        current.note(hello)
        if fresh:
            self._answered(hello, now)
        if hello.state is not State.SETTLED:
            self._owe(hello.boot)
        return newest

    def _answered(self, hello: Hello, now: float) -> None:
        """The sender of ``hello`` is there now; whoever else claims to be the other side is not."""
        while self._challenges.popleft() != hello.echo:  # each proves once, and none after a later one
            pass
        self._proven_there |= hello.state is not State.ASKING
        self._hear_proof(now)
        self._unproven.clear()

    def _take_over(self, hello: Hello, now: float) -> None:
        """``hello`` is of a boot that was not proven, and is now."""
        # What was sealed before this hello may have been accepted before we started. What was sealed after it cannot
        # have been, but for what was accepted since. The disk does not matter: it may be ahead of what was sent.
        opener = self._opener(hello.boot, max(hello.counter, self._memory.highest(hello.boot)))
        if self._current is not None:
            self._previous, self._previous_until = self._current.opener, now + QUIET_S
        self._current = _Peer(opener, None, (hello.counter, hello.tag))
        self._proven_there = False
        self._answered(hello, now)
        self._owe(hello.boot)
        self._schedule.restart()
        self._memory.accepted(hello.boot, opener.window.highest, now)

    def _consider(self, hello: Hello, now: float) -> None:
        """``hello`` proves nothing: a boot to ask, and to believe if nobody else answers."""
        greeting = self._greetings.get(hello.boot)
        if greeting is not None and hello.counter <= greeting.counter:
            raise Rejected("a hello that was here before, or was overtaken")
        peer = self._unproven.get(hello.boot)
        if peer is None:
            floor = self._memory.floor(hello.boot)
            if floor is not None and hello.counter <= floor:
                raise Rejected("a hello of a boot that was heard before, and has not gone on since")
            if self._previous is not None and self._previous.boot == hello.boot:
                opener = self._previous  # two of them would accept the same twice
            else:
                opener = self._opener(hello.boot, hello.counter)
            peer = self._unproven[hello.boot] = _Peer(opener, now)
            while len(self._unproven) > MAX_UNPROVEN:
                self._unproven.popitem(last=False)
        if greeting is None:
            greeting = self._greetings[hello.boot] = _Greeting(HelloSchedule())
        greeting.counter = hello.counter
        self._greetings.move_to_end(hello.boot)
        while len(self._greetings) > MAX_GREETINGS:
            self._greetings.popitem(last=False)
        peer.note(hello)
        self._owe(hello.boot)
        self._asker = hello.boot

    def _owe(self, boot: bytes) -> None:
        self._owed = True
        if boot not in self._unanswered:
            self._unanswered.append(boot)

    def _addressee(self) -> _Peer | None:
        """Whom the next hello answers."""
        while self._unanswered:
            boot = self._unanswered.pop(0)
            if self._current is not None and self._current.boot == boot:
                return self._current
            if boot in self._unproven:
                return self._unproven[boot]
        return self._current or next(reversed(self._unproven.values()), None)

    def _draw_if_used_up(self) -> None:
        if self._sealer.used_up:
            self._sealer.draw()
            self._proven_there = False
            self._schedule.restart()

    def _opener(self, boot: bytes, floor: int) -> Opener:
        return Opener(self._key, self._theirs, boot, floor=floor)

    def _begin(self, now: float) -> None:
        if self._began is None:
            self._began = now

    def _hear_proof(self, now: float) -> None:
        self._heard, self._unheard = now, 0

    def _hears(self, now: float) -> bool:
        """Whether something proven was heard just now."""
        return self._heard is not None and now - self._heard < HEARING_S

    def _silence(self, now: float) -> float:
        """Seconds since something proven was heard, or since the start."""
        since = self._began if self._heard is None else self._heard
        return 0.0 if since is None else now - since
