"""The guard: nothing gets out, everything is counted, a source is told at most once a second."""

from __future__ import annotations

import pytest

from gsc_ros.nodes.guard import Guard, reason_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_wrong_is_refused_counted_and_told_once_a_second() -> None:
    clock, told = Clock(), []
    guard = Guard(told.append, clock=clock)
    for _ in range(5):
        with guard("/front"):
            raise ValueError("a stamp\nfrom nowhere")
    with guard("/rear"):
        raise KeyError("rear")
    assert told == ["/front: refused: a stamp from nowhere", "/rear: refused: KeyError: 'rear'"]
    assert {name: found.count for name, found in guard.sources.items()} == {"/front": 5, "/rear": 1}
    clock.now += 1.0
    with guard("/front"):
        raise OSError("gone")
    assert told[-1] == "/front: refused: OSError: gone (and 4 before it)"
    assert set(guard.recent) == {"/front", "/rear"}
    clock.now += 9.5
    assert set(guard.recent) == {"/front"}
    assert guard.sources["/front"].last == "OSError: gone"


def test_what_ends_a_program_passes() -> None:
    guard = Guard(lambda text: None)
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error), guard("x"):
            raise error
    assert not guard.sources


def test_an_error_without_words_is_named() -> None:
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(ValueError("a\n b")) == "a b"
    assert reason_of(IndexError("out")) == "IndexError: out"


def test_a_reason_is_short_whatever_a_message_holds() -> None:
    """It is logged and published each second: an encoding with a name of a megabyte must not be, too."""
    reason = reason_of(ValueError("encoding " + "x" * 1_000_000))
    assert len(reason) <= 300
    assert reason.startswith("encoding x")
    assert reason.endswith(" ...")
