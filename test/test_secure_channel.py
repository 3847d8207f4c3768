"""The secure channel: nothing forged, nothing twice, ten bytes; no clock and no disk that it depends on."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link import aead, boot_memory, secure_channel
from gsc_ros.link.aead import OVERHEAD, Rejected
from gsc_ros.link.boot_memory import FAST_AHEAD, MAX_BOOTS
from gsc_ros.link.hello import HELLO_BYTES, is_hello
from gsc_ros.link.key_file import new_key
from gsc_ros.link.secure_channel import HEARING_S, QUIET_S, SecureChannel

PERIOD_S = 30.0  # between hellos, at most


@pytest.fixture
def key(tmp_path) -> Path:
    new_key(tmp_path / "link.key")
    return tmp_path / "link.key"


class Side:
    """One end: the channel of its present start, and all that it ever accepted."""

    def __init__(self, key: Path, side: str) -> None:
        self.key, self.side = key, side
        self.accepted: list[bytes] = []
        self.twice: list[bytes] = []  # accepted again although their sender had proven to be there
        self.rejected = 0
        self.start()

    def start(self) -> None:
        self.knows = self.side == "robot"  # where to send: a base answers whoever proved to be the robot
        self.channel = SecureChannel(self.key, side=self.side)

    def crash(self) -> None:
        """Nothing is put away."""
        self.start()

    def hear(self, datagram: bytes, now: float) -> bytes | None:
        try:
            body, genuine, _ = self.channel.open(datagram, now)
            self.knows |= genuine
        except Rejected:
            self.rejected += 1
            return None
        if body:
            if body in self.accepted and self.channel._heard == now:
                self.twice.append(body)
            self.accepted.append(body)
        return body or None


class Wire:
    """Two ends and what crosses between them, all of it recorded by an outsider."""

    def __init__(self, key: Path, base_key: Path | None = None, *, back: bool = True) -> None:
        self.robot, self.base = Side(key, "robot"), Side(base_key or key, "base")
        self.now, self.back, self.count = 0.0, back, 0
        self.up: list[bytes] = []  # recorded, robot to base
        self.down: list[bytes] = []
        self.hellos = 0
        self.lose = lambda datagram: False

    def turn(self, *, robot: bool = True, base: bool = True, seconds: float = 1.0) -> None:
        """Each side that has something to send sends its hello if one is due, and one datagram."""
        for sender, receiver, record, sends in (
            (self.robot, self.base, self.up, robot),
            (self.base, self.robot, self.down, base),
        ):
            if not sender.knows:
                continue
            out = []
            hello = sender.channel.hello(self.now, sending=sends)
            if hello is not None:
                assert len(hello) == HELLO_BYTES == 31
                self.hellos += 1
                out.append(hello)
            if sends:
                self.count += 1
                out.append(sender.channel.seal(b"%s %d" % (sender.side.encode(), self.count)))
            record += out
            for datagram in out:
                if not self.lose(datagram) and (self.back or sender is self.robot):
                    receiver.hear(datagram, self.now)
                    self.answer(receiver, sender)
        self.now += seconds

    def answer(self, asked: Side, asking: Side) -> None:
        """What goes back at once, wherever that is."""
        hello = asked.channel.answer(self.now)
        if hello is None:
            return
        self.hellos += 1
        (self.up if asked is self.robot else self.down).append(hello)
        if not self.lose(hello) and (self.back or asked is self.robot):
            asking.hear(hello, self.now)

    def run(self, turns: int, **sides: bool) -> None:
        for _ in range(turns):
            self.turn(**sides)

    @property
    def works(self) -> bool:
        """Whether what either side sends now arrives."""
        before = len(self.base.accepted), len(self.robot.accepted)
        self.turn()
        return len(self.base.accepted) > before[0] and (not self.back or len(self.robot.accepted) > before[1])

    def nothing_twice(self) -> None:
        for side in (self.robot, self.base):
            assert len(set(side.accepted)) == len(side.accepted)


def test_four_hellos_and_then_ten_bytes_a_datagram(key) -> None:
    wire = Wire(key)
    wire.run(3)
    assert wire.hellos == 4
    wire.run(2000)
    assert wire.hellos == 4  # a settled link that is heard costs nothing
    assert wire.robot.channel.settled
    assert wire.base.channel.settled
    assert len(wire.base.accepted) > 1998
    for size in (1, 30, 1400):
        body = os.urandom(size)
        sealed = wire.robot.channel.seal(body)
        assert len(sealed) - size == OVERHEAD == 10
        assert wire.base.hear(sealed, wire.now) == body
    wire.nothing_twice()


def test_replayed_reflected_damaged_and_cut_datagrams_are_rejected(key, tmp_path) -> None:
    wire = Wire(key)
    wire.run(10)
    count = len(wire.base.accepted), len(wire.robot.accepted)
    for datagram in wire.up + wire.down:
        wire.base.hear(datagram, wire.now)  # its own ones too, sent back
        wire.robot.hear(datagram, wire.now)
    assert (len(wire.base.accepted), len(wire.robot.accepted)) == count
    sealed = wire.robot.channel.seal(b"genuine")
    for broken in (sealed[:-1], sealed[:9], b"", b"\xff", bytes([sealed[0] ^ 1]) + sealed[1:], sealed + b"0"):
        with pytest.raises(Rejected):
            wire.base.channel.open(broken, wire.now)
    assert wire.base.hear(sealed, wire.now) == b"genuine"
    (tmp_path / "other").mkdir()
    new_key(tmp_path / "other" / "link.key")
    stranger = SecureChannel(tmp_path / "other" / "link.key", side="robot")
    for datagram in (stranger.hello(0.0, sending=True), stranger.seal(b"let me in")):
        assert datagram is not None
        with pytest.raises(Rejected):
            wire.base.channel.open(datagram, wire.now)


def test_overtaking_is_allowed_within_a_window(key) -> None:
    wire = Wire(key)
    wire.run(5)
    sealed = [wire.robot.channel.seal(b"%d" % n) for n in range(1000)]
    for index in [*range(1, 200), 0, *range(200, 1000)]:
        assert wire.base.hear(sealed[index], wire.now) == b"%d" % index
    assert wire.base.hear(sealed[5], wire.now) is None


@pytest.mark.parametrize("days", [1, 97, 40_000])
def test_any_silence_costs_nothing(key, days) -> None:
    wire = Wire(key)
    wire.run(10)
    wire.now += days * 86400.0
    assert wire.works
    wire.nothing_twice()


def test_no_wall_clock_is_read(key, monkeypatch) -> None:
    """Excursions, 1970 and ten thousand years ahead: there is nothing that could notice."""
    import time

    def clock() -> float:
        raise AssertionError("a clock was read")

    for name in ("time", "time_ns", "monotonic", "monotonic_ns"):
        monkeypatch.setattr(time, name, clock)
    wire = Wire(key)
    wire.run(5)
    wire.robot.start()
    wire.base.start()
    wire.run(5)
    assert wire.works


@pytest.mark.parametrize("first", ["robot", "base", "both"])
@pytest.mark.parametrize("apart", [0, 5, 100, 5000])
def test_either_side_may_start_late_and_start_again(key, first, apart) -> None:
    wire = Wire(key)
    alone = {"robot": {"base": False}, "base": {"robot": False}, "both": {}}[first]
    wire.lose = lambda datagram: first != "both"
    wire.run(apart, **alone)
    wire.lose = lambda datagram: False
    wire.run(int(PERIOD_S) + 2)
    assert wire.works
    assert wire.base.channel.settled
    for _ in range(2):
        wire.robot.crash()
        wire.run(3)
        assert wire.works
        wire.base.crash()  # and knows nobody's address: the robot notices its silence
        wire.run(int(HEARING_S) + 3)
        assert wire.works
        wire.robot.crash()
        wire.base.crash()
        wire.run(3)
        assert wire.works
    wire.nothing_twice()


def test_a_slow_link_with_an_answer_to_each_frame_costs_no_hello(key) -> None:
    """A frame a minute, and its acknowledgement: silences of a minute are nothing to ask about."""
    wire = Wire(key)
    wire.run(10)
    before = wire.hellos
    for _ in range(100):
        wire.turn(seconds=60)
    assert wire.hellos == before


def test_a_side_that_is_not_heard_is_asked_seldom(key) -> None:
    """The base has nothing to say for an hour: the robot asks every half minute, and is answered."""
    wire = Wire(key)
    wire.run(10)
    before = wire.hellos
    wire.run(3600, base=False)
    assert 2 * 3600 / PERIOD_S - 2 <= wire.hellos - before <= 2 * (3600 / PERIOD_S + 5)
    assert len(wire.base.accepted) > 3600


def test_a_base_with_an_address_asks_at_once_what_it_cannot_decipher(key) -> None:
    wire = Wire(key)
    wire.run(10)
    wire.base.crash()
    wire.base.knows = True
    wire.run(2, base=False)
    count = len(wire.base.accepted)
    wire.run(3, base=False)
    assert len(wire.base.accepted) == count + 3


def test_a_receiver_that_only_listens_is_introduced_too(key) -> None:
    wire = Wire(key)
    wire.run(3, base=False)
    wire.base.crash()
    wire.run(int(HEARING_S) + 3, base=False)
    count = len(wire.base.accepted)
    wire.run(5, base=False)
    assert len(wire.base.accepted) == count + 5


class Nonces:
    """Every pair of key and nonce that was ever encrypted under."""

    def __init__(self, monkeypatch) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESCCM

        self.pairs: list[tuple[bytes, bytes]] = []
        pairs = self.pairs

        class Watched:
            def __init__(self, key: bytes, tag_length: int) -> None:
                self._key, self._cipher = key, AESCCM(key, tag_length=tag_length)

            def encrypt(self, nonce: bytes, body: bytes, more: bytes | None) -> bytes:
                pairs.append((self._key, nonce))
                return self._cipher.encrypt(nonce, body, more)

            def decrypt(self, nonce: bytes, sealed: bytes, more: bytes | None) -> bytes:
                return self._cipher.decrypt(nonce, sealed, more)

        monkeypatch.setattr("cryptography.hazmat.primitives.ciphers.aead.AESCCM", Watched)

    def never_twice(self) -> None:
        assert len(self.pairs) > 50
        assert len(set(self.pairs)) == len(self.pairs)
        assert all(len(nonce) == 13 for _, nonce in self.pairs)


def spoil(monkeypatch, reason: int) -> None:
    """From now on nothing can be made, written or put on the disk in the folders of keys."""

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(boot_memory.os, "fsync", refuse)
    monkeypatch.setattr(Path, "replace", refuse)


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_cannot_be_written_stops_nothing_and_repeats_no_nonce(key, monkeypatch, reason) -> None:
    nonces = Nonces(monkeypatch)
    spoil(monkeypatch, reason)
    wire = Wire(key)
    for _ in range(4):
        wire.run(10)
        assert wire.works
        assert os.strerror(reason) in wire.base.channel.trouble
        assert "\n" not in wire.base.channel.trouble
        wire.robot.channel.close()
        wire.base.channel.close()
        wire.robot.crash()
        wire.base.crash()
    nonces.never_twice()
    wire.nothing_twice()


def test_a_disk_that_fails_half_way_leaves_the_file_as_it_was(key, monkeypatch) -> None:
    wire = Wire(key)
    wire.run(10)
    wire.base.channel.close()
    stored = key.with_name("link.key.base.boots").read_text()
    assert len(stored.splitlines()) == 1
    with monkeypatch.context() as patch:
        patch.setattr(boot_memory.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full")))
        wire.robot.crash()
        wire.run(100)
        assert "full" in wire.base.channel.trouble
        assert key.with_name("link.key.base.boots").read_text() == stored
        assert sorted(path.name for path in key.parent.iterdir()) == [
            "link.key", "link.key.base.boots", "link.key.robot.boots",
        ]  # fmt: skip
    wire.robot.crash()
    wire.run(100)
    assert not wire.base.channel.trouble  # there is space again
    assert len(key.with_name("link.key.base.boots").read_text().splitlines()) == 3


def test_a_folder_restored_from_an_image_repeats_no_nonce_and_accepts_nothing_twice(key, monkeypatch, tmp_path) -> None:
    nonces = Nonces(monkeypatch)
    wire = Wire(key)
    wire.run(20)
    wire.robot.channel.close()
    wire.base.channel.close()
    image = tmp_path / "image"
    shutil.copytree(key.parent, image, ignore=shutil.ignore_patterns("image"))
    for _ in range(4):
        wire.robot.start()
        wire.base.start()
        wire.run(50)
        assert wire.works
        for path in image.iterdir():
            shutil.copy(path, key.parent / path.name)
    nonces.never_twice()
    wire.nothing_twice()


def test_two_gateways_on_one_key_file_share_no_nonce(key, monkeypatch) -> None:
    nonces = Nonces(monkeypatch)
    robots, base = [Side(key, "robot") for _ in range(2)], Side(key, "base")
    wires = []
    for robot in robots:
        wire = Wire(key)
        wire.robot, wire.base = robot, base
        wires.append(wire)
    for turn in range(300):
        for number, wire in enumerate(wires):
            wire.now, wire.count = float(turn), 1000 * number + turn
            wire.turn()
    nonces.never_twice()
    for wire in wires:
        wire.nothing_twice()
    # Which of two is the robot is decided by who spoke last. When one ends, the other is heard again by itself.
    alone = wires[0]
    alone.count = 10_000
    alone.run(int(QUIET_S + 2 * PERIOD_S))
    assert alone.works


def test_near_the_end_of_its_counters_a_sender_draws_a_new_boot(key, monkeypatch) -> None:
    monkeypatch.setattr(aead, "COUNTER_END", 40)
    nonces = Nonces(monkeypatch)
    wire = Wire(key)
    wire.run(400)
    assert len({pair[0] for pair in nonces.pairs}) > 15
    nonces.never_twice()
    wire.nothing_twice()
    assert len(wire.base.accepted) > 375
    assert aead.COUNTER_END < 0xFD << 24


def test_the_first_byte_of_a_counter_is_never_that_of_a_hello(key) -> None:
    sealer = SecureChannel(key, side="robot")._sealer
    sealer._counter = aead.COUNTER_END - 1
    assert not is_hello(sealer.seal(b"x"))
    assert sealer.used_up


@pytest.mark.parametrize("file", ["kept", "lost"])
@pytest.mark.parametrize("crashed", ["robot", "base", "both"])
def test_after_a_crash_nothing_recorded_is_accepted_where_the_other_side_answers(key, crashed, file) -> None:
    """Both sides of a two-way link: everything that was ever sent comes again, at every moment of the introduction."""
    wire = Wire(key)
    for _ in range(3):
        wire.robot.crash()
        wire.run(20)
    for moment in range(6):
        if crashed in ("robot", "both"):
            wire.robot.crash()
        if file == "lost":
            for path in key.parent.glob("*.boots"):
                path.unlink()
        if crashed in ("base", "both"):
            wire.base.crash()
        wire.run(moment)
        recorded = list(wire.up), list(wire.down)
        for _ in range(2):
            for datagram in recorded[0]:
                wire.base.hear(datagram, wire.now)
            for datagram in recorded[1]:
                wire.robot.hear(datagram, wire.now)
            wire.run(40)
        wire.nothing_twice()
    assert wire.works


def test_a_replay_to_an_idle_link_makes_the_base_ask_and_the_answer_ends_it(key) -> None:
    """The robot has nothing to send, the file is lost, and an outsider plays the past for minutes."""
    wire = Wire(key)
    wire.run(50)
    wire.robot.crash()
    key.with_name("link.key.base.boots").unlink()
    wire.base.crash()
    wire.run(5)
    recorded = list(wire.up)
    for _ in range(300):
        for datagram in recorded:
            wire.base.hear(datagram, wire.now)
        wire.turn(robot=False, base=False)
    wire.nothing_twice()


class TestOneWay:
    """Robot to base without any way back."""

    def test_it_works_after_a_minute(self, key) -> None:
        wire = Wire(key, back=False)
        wire.run(int(QUIET_S))
        assert not wire.base.accepted
        wire.run(2)
        assert wire.works

    @pytest.mark.parametrize("who", ["robot", "base"])
    def test_each_side_may_start_again(self, key, who) -> None:
        wire = Wire(key, back=False)
        wire.run(200)
        for _ in range(3):
            getattr(wire, who).crash()
            wire.run(int(QUIET_S) + 20)
            assert wire.works
            wire.run(20)
        wire.nothing_twice()

    def test_a_way_back_may_be_lost_and_found(self, key) -> None:
        wire = Wire(key)
        wire.run(20)
        wire.back = False
        assert wire.works
        wire.robot.crash()
        wire.run(int(QUIET_S + PERIOD_S))
        assert wire.works
        assert not wire.base.channel.settled or wire.base.channel._unproven
        wire.back = True
        wire.run(int(2 * PERIOD_S))
        assert wire.works
        assert wire.robot.channel.settled
        assert wire.base.channel.settled
        wire.nothing_twice()

    def test_with_its_file_a_base_that_crashed_accepts_nothing_again(self, key) -> None:
        wire = Wire(key, back=False)
        for _ in range(5):
            wire.run(100)
            wire.base.crash()
            recorded = list(wire.up)
            for _ in range(4):
                for datagram in recorded:
                    wire.base.hear(datagram, wire.now)
                wire.now += 40.0
            wire.nothing_twice()
        wire.run(int(QUIET_S) + FAST_AHEAD + int(PERIOD_S))
        assert wire.works

    @pytest.mark.parametrize(("fast", "slow"), [(30, 10.0), (200, 30.0), (1, 60.0)])
    def test_a_base_that_crashes_after_a_rate_fell_is_not_dark_for_long(self, key, fast, slow) -> None:
        wire = Wire(key, back=False)
        for _ in range(120 * fast):
            wire.turn(base=False, seconds=1 / fast)
        for _ in range(int(120 / slow) + 2):
            wire.turn(base=False, seconds=slow)
        wire.base.crash()
        began, count = wire.now, len(wire.base.accepted)
        while len(wire.base.accepted) == count:
            wire.turn(base=False, seconds=slow)
        assert wire.now - began <= QUIET_S + PERIOD_S + 2 * slow
        wire.nothing_twice()

    def test_a_lost_file_costs_what_came_after_each_recorded_hello_once(self, key) -> None:
        wire = Wire(key, back=False)
        wire.run(150)
        was = list(wire.base.accepted)
        recorded = list(wire.up)
        key.with_name("link.key.base.boots").unlink()
        wire.base.crash()
        wire.base.accepted.clear()
        for _ in range(4):
            for datagram in recorded:
                wire.base.hear(datagram, wire.now)
            wire.now += 40.0
        again = wire.base.accepted
        assert set(was) <= set(again)  # this is the price
        assert len(set(again)) == len(again)  # and no more than it: once
        assert all(body.startswith(b"robot") for body in again)

    def test_what_goes_out_while_nobody_answers_is_as_stated(self, key) -> None:
        wire = Wire(key, back=False)
        wire.run(600, base=False)
        at = [0, 1, 3, 7, 15, 31, *range(61, 600, 30)]
        assert sum(is_hello(datagram) for datagram in wire.up) == len(at)
        assert sum(is_hello(datagram) for datagram in wire.down) <= len(at)


def test_garbage_makes_at_most_a_hello_in_thirty_seconds_go_out(key) -> None:
    """Noise, replays and old hellos, for an hour, at a base that has nothing to send and hears nobody."""
    wire = Wire(key)
    for _ in range(5):
        wire.robot.crash()
        wire.run(10)
    key.with_name("link.key.base.boots").unlink()
    wire.base.crash()
    rng, hellos = random.Random(1), 0
    for second in range(3600):
        for _ in range(5):
            wire.base.hear(rng.randbytes(rng.randrange(1, 60)), wire.now)
            wire.base.hear(bytes([rng.randrange(0xFD, 0x100)]) + rng.randbytes(30), wire.now)
            wire.base.hear(rng.choice(wire.up), wire.now)
        hellos += wire.base.channel.hello(float(second), sending=False) is not None
        wire.now = float(second)
    assert hellos <= 5 + 3600 / PERIOD_S + 1
    channel = wire.base.channel
    assert len(channel._unproven) <= secure_channel.MAX_UNPROVEN
    assert len(channel._challenges) <= secure_channel.MAX_CHALLENGES
    assert len(channel._unanswered) <= secure_channel.MAX_UNPROVEN + 1


def test_garbage_on_a_link_that_is_heard_makes_nothing_go_out(key) -> None:
    wire = Wire(key)
    wire.run(10)
    before, rng = wire.hellos, random.Random(2)
    for _ in range(500):
        for _ in range(5):
            wire.base.hear(rng.randbytes(rng.randrange(1, 60)), wire.now)
            wire.base.hear(rng.choice(wire.up[:-20] or wire.up), wire.now)
        wire.turn()
    assert wire.hellos == before


def test_many_restarts_leave_a_bounded_file(key) -> None:
    wire = Wire(key)
    at = []  # where what a robot sent begins
    for _ in range(MAX_BOOTS + 20):
        at.append(len(wire.up))
        wire.robot.crash()
        wire.run(4)
        assert wire.works
    assert len(key.with_name("link.key.base.boots").read_text().splitlines()) == MAX_BOOTS
    remembered = wire.up[at[-MAX_BOOTS] :]
    for _ in range(3):
        for datagram in remembered:
            wire.base.hear(datagram, wire.now)
        wire.now += 1000
    wire.nothing_twice()


@pytest.mark.parametrize(
    "content", ["", "garbage", "zz 1", f"{'ab' * 12} -7", f"{'ab' * 12} 5 6", "\xff\xfe", "ab " * 10_000]
)
def test_a_file_that_cannot_be_read_is_told_and_stops_nothing(key, content) -> None:
    key.with_name("link.key.base.boots").write_text(content)
    wire = Wire(key)
    assert bool(wire.base.channel.trouble) == bool(content)
    wire.run(5)
    assert wire.works
    assert not wire.base.channel.trouble


def test_a_disk_that_has_space_again_is_written_again_soon(key, monkeypatch) -> None:
    memory = boot_memory.BootMemory(key.with_name("boots"))
    for step in range(200):
        memory.accepted(b"x" * 12, step, step / 100)
    with monkeypatch.context() as patch:
        spoil(patch, errno.ENOSPC)
        step = memory.stored(b"x" * 12) + 1
        memory.accepted(b"x" * 12, step, 20.0)
        assert memory.trouble
    memory.accepted(b"x" * 12, step + 1, 31.0)
    assert not memory.trouble
    assert boot_memory.BootMemory(key.with_name("boots")).stored(b"x" * 12) > step


def test_the_disk_is_written_seldom_however_fast_the_link(key, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(boot_memory.BootMemory, "_write", lambda self, boots: written.append(dict(boots)))
    wire = Wire(key)
    wire.run(3)
    for step in range(100_000):  # a thousand a second
        wire.base.channel._memory.accepted(b"x" * 12, step, step / 1000)
    assert len(written) < 50


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["turn", "turn", "turn", "quiet", "crash robot", "crash base", "lose file", "replay", "noise"]),
        st.integers(0, 2**16),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.floats(0, 0.6), st.integers(0, 2**32))
def test_whatever_is_lost_late_or_played_again_it_recovers_and_accepts_nothing_twice(
    tmp_path_factory, events, loss, seed
) -> None:
    """Lost, overtaken and doubled datagrams, restarts, lost files, replays.

    After them, with nothing lost any more, both directions work within two hello periods. Nothing is accepted
    twice; where a file was lost and no answer came for a minute, at least nothing is that was accepted as proven.
    """
    key = tmp_path_factory.mktemp("schedule") / "link.key"
    new_key(key)
    rng = random.Random(seed)
    wire = Wire(key)
    wire.lose = lambda datagram: rng.random() < loss
    outsider = SecureChannel(_other_key(tmp_path_factory), side="robot")
    for event, value in events:
        if event == "turn":
            wire.run(1 + value % 20)
        elif event == "quiet":
            wire.now += value % 100
        elif event == "crash robot":
            wire.robot.crash()
        elif event == "crash base":
            wire.base.crash()
        elif event == "lose file":
            for path in key.parent.glob("*.boots"):
                path.unlink()
        elif event == "noise":
            for _ in range(20):
                wire.base.hear(outsider.seal(b"outsider"), wire.now)
                wire.base.hear(rng.randbytes(31), wire.now)
        else:  # the past again, in another order, some of it from long ago
            for side, record in ((wire.base, wire.up), (wire.robot, wire.down)):
                for datagram in rng.sample(record, min(len(record), 60)):
                    side.hear(datagram, wire.now)
    wire.lose = lambda datagram: False
    wire.run(int(2 * PERIOD_S))
    assert wire.works
    assert wire.robot.channel.settled
    assert wire.base.channel.settled
    for body in wire.base.accepted + wire.robot.accepted:
        assert body.split()[0] in (b"robot", b"base")
    if not any(event == "lose file" for event, _ in events):
        wire.nothing_twice()
    assert not wire.robot.twice + wire.base.twice


def _other_key(factory) -> Path:
    path = factory.getbasetemp() / "other.key"
    if not path.exists():
        new_key(path)
    return path


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_rejected(tmp_path_factory, data) -> None:
    with pytest.raises(Rejected):
        SecureChannel(_other_key(tmp_path_factory), side="base").open(data, 0.0)


class TestOutsider:
    """What one who records and plays again can do with a lost or an old file, step by step."""

    def past(self, key: Path, starts: int) -> tuple[Wire, list[list[bytes]]]:
        """A link whose robot started several times, and what it sent in each of its lives."""
        wire, lives = Wire(key), []
        for _ in range(starts):
            wire.up.clear()
            wire.robot.crash()
            wire.run(10)
            lives.append(list(wire.up))
        return wire, lives

    def test_while_the_robot_is_heard_nobody_else_is_believed(self, key) -> None:
        wire, lives = self.past(key, 2)
        key.with_name("link.key.base.boots").unlink()
        wire.base.crash()
        wire.run(int(HEARING_S) + 3)
        wire.back = False  # the answer to the outsider's hello never comes
        for _ in range(200):
            for datagram in lives[0]:
                wire.base.hear(datagram, wire.now)
            wire.turn()
        wire.nothing_twice()

    def test_one_lost_question_is_asked_again_before_anybody_is_believed(self, key) -> None:
        wire, lives = self.past(key, 2)
        key.with_name("link.key.base.boots").unlink()
        wire.base.crash()
        wire.base.knows = True  # a fixed address
        wire.run(5)
        wire.now += QUIET_S + 1
        wire.base.hear(next(datagram for datagram in lives[0] if is_hello(datagram)), wire.now)
        lost = iter(range(3))
        wire.lose = lambda datagram: next(lost, None) is not None
        for _ in range(int(QUIET_S)):
            wire.turn(robot=False, base=False)
        for datagram in lives[0]:
            wire.base.hear(datagram, wire.now)
        wire.nothing_twice()

    def test_what_was_believed_is_not_accepted_again_once_it_is_proven(self, key) -> None:
        """The robot's proof is late: what came between was accepted already."""
        wire = Wire(key, back=False)
        wire.run(100)
        wire.back = True
        challenge = None
        while challenge is None:
            challenge = wire.base.channel.hello(wire.now, sending=True)
            wire.now += 1
        wire.robot.hear(challenge, wire.now)
        proof = wire.robot.channel.hello(wire.now, sending=True)
        assert proof is not None
        between = [wire.robot.channel.seal(b"between %d" % n) for n in range(5)]
        for datagram in [*between, proof, *between]:
            wire.base.hear(datagram, wire.now)
        assert sum(body.startswith(b"between") for body in wire.base.accepted) == 5
        wire.nothing_twice()

    def test_a_boot_that_was_superseded_is_not_opened_twice(self, key) -> None:
        """It says hello once more while what it sent is still under way, and is silent then."""
        wire = Wire(key)
        wire.run(10)
        first = wire.robot.channel
        wire.robot.crash()
        wire.run(5, base=False)
        first._owed = True
        hello = first.hello(wire.now + 1, sending=True)
        assert hello is not None
        wire.base.hear(hello, wire.now)
        late = first.seal(b"late")
        assert wire.base.hear(late, wire.now) == b"late"
        wire.now += 2 * QUIET_S
        assert wire.base.hear(late, wire.now) is None

    def test_an_old_file_and_a_crowd_of_old_hellos_neither_open_nor_shut_anything(self, key) -> None:
        wire, lives = self.past(key, 1)
        image = key.with_name("link.key.base.boots").read_text()  # ahead of what was sent
        _, crowd = self.past(key, secure_channel.MAX_UNPROVEN + 1)
        key.with_name("link.key.base.boots").write_text(image)
        wire.base.crash()
        hellos = [datagram for life in crowd for datagram in life if is_hello(datagram)]
        for datagram in hellos:
            wire.base.hear(datagram, wire.now)
        for _ in range(3):
            for datagram in lives[0]:
                wire.base.hear(datagram, wire.now)
            wire.now += QUIET_S
        assert not set(wire.base.accepted[10:]) & set(wire.base.accepted[:10])
        wire.run(int(HEARING_S) + 3)
        assert wire.works  # the robot of that first life still lives

    def test_hellos_of_retired_boots_do_not_shut_out_a_robot_without_a_way_back(self, key) -> None:
        wire, lives = self.past(key, 8)
        wire.back = False
        wire.robot.crash()
        hellos = [datagram for life in lives for datagram in life if is_hello(datagram)]
        for _ in range(int(QUIET_S + PERIOD_S)):
            for datagram in hellos:
                wire.base.hear(datagram, wire.now)
            wire.turn()
        assert wire.works
