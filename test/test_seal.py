"""The seal: nothing forged, nothing twice, ten bytes, restarts on both sides."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.seal import OVERHEAD, Rejected, Seal, SealError, new_key


@pytest.fixture
def key(tmp_path):
    new_key(tmp_path / "link.key")
    return tmp_path / "link.key"


def pair(key, robot_clock=lambda: 1.7e9, base_clock=lambda: 1.7e9):
    return Seal(key, side="robot", clock=robot_clock), Seal(key, side="base", clock=base_clock)


def test_ten_bytes_and_the_same_body(key) -> None:
    robot, base = pair(key)
    for size in (1, 30, 1400):
        body = os.urandom(size)
        sealed = robot.seal(body)
        assert len(sealed) - size == OVERHEAD == 10
        assert base.open(sealed) == body


def test_replayed_reflected_damaged_and_cut_datagrams_are_rejected(key, tmp_path) -> None:
    robot, base = pair(key)
    sealed = [robot.seal(b"frame %d" % n) for n in range(300)]
    assert base.open(sealed[0]) == b"frame 0"
    with pytest.raises(Rejected):
        base.open(sealed[0])
    with pytest.raises(Rejected):
        robot.open(sealed[1])  # its own, sent back
    for broken in (sealed[1][:-1], sealed[1][:9], b"", bytes([sealed[1][0] ^ 1]) + sealed[1][1:], sealed[1] + b"0"):
        with pytest.raises(Rejected):
            base.open(broken)
    assert base.open(sealed[1]) == b"frame 1"
    (tmp_path / "other").mkdir()
    new_key(tmp_path / "other" / "link.key")
    stranger = Seal(tmp_path / "other" / "link.key", side="robot")
    with pytest.raises(Rejected):
        base.open(stranger.seal(b"let me in"))


def test_overtaking_is_allowed_within_a_window_and_memory_is_bounded(key) -> None:
    robot, base = pair(key)
    sealed = [robot.seal(b"%d" % n) for n in range(1000)]
    for index in [*range(1, 200), 0]:
        assert base.open(sealed[index]) == b"%d" % index
    for index in range(200, 1000):
        base.open(sealed[index])
    assert len(base._seen) <= 256
    with pytest.raises(Rejected):
        base.open(sealed[5])


def test_a_restarted_sender_never_uses_a_counter_again_even_with_its_clock_set_back(key) -> None:
    robot, base = pair(key)
    old = [robot.seal(b"x") for _ in range(50)]
    for sealed in old:
        base.open(sealed)
    again = Seal(key, side="robot", clock=lambda: 0.0)
    sealed = again.seal(b"after")
    assert sealed[:4] not in {s[:4] for s in old}
    assert base.open(sealed) == b"after"


def test_a_restarted_receiver_does_not_accept_what_it_saw_before(key) -> None:
    robot, base = pair(key)
    sealed = [robot.seal(b"x%d" % n) for n in range(5)]
    for one in sealed:
        base.open(one)
    base.save()
    again = Seal(key, side="base", clock=lambda: 1.7e9)
    for one in sealed:
        with pytest.raises(Rejected):
            again.open(one)
    assert again.open(robot.seal(b"new")) == b"new"


@pytest.mark.parametrize("skew", [-3600.0, 3600.0, 30 * 86400.0])
def test_clocks_may_differ(key, skew) -> None:
    robot, base = pair(key, base_clock=lambda: 1.7e9 + skew)
    assert base.open(robot.seal(b"hello")) == b"hello"
    assert robot.open(base.seal(b"hello")) == b"hello"


def test_counters_pass_the_end_of_their_low_bits(key) -> None:
    clock = [(2**32 * 400 - 20) / 256]
    robot, base = pair(key, lambda: clock[0], lambda: clock[0])
    for step in range(40):
        clock[0] += 1 / 256
        assert base.open(robot.seal(b"%d" % step)) == b"%d" % step


def test_key_files_that_cannot_be_trusted_are_one_clear_line(key, tmp_path) -> None:
    key.chmod(0o644)
    with pytest.raises(SealError, match="chmod 600"):
        Seal(key, side="robot")
    with pytest.raises(SealError, match="gsc key"):
        Seal(tmp_path / "none", side="robot")
    short = tmp_path / "short"
    short.touch(mode=0o600)
    short.write_text("abcd")
    with pytest.raises(SealError, match="a key has 32"):
        Seal(short, side="robot")
    with pytest.raises(SealError, match="never overwritten"):
        new_key(short)


@given(st.binary(max_size=200))
def test_any_bytes_are_rejected(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "any.key").exists():
        new_key(folder / "any.key")
    with pytest.raises(Rejected):
        Seal(folder / "any.key", side="base").open(data)
