"""What came last from a camera: late items push out no newer ones, restarts lose nothing, several threads may ask."""

from __future__ import annotations

import random
import sys
import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.memory import Recent, References, Remembered

REACH = 5  # a short one meets its edges more often
FRAMES = 4_000


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 65_535), st.lists(st.integers(0, 60), min_size=1, max_size=80))
def test_of_one_life_all_within_reach_of_the_newest_is_held_whatever_the_order(start: int, order: list[int]) -> None:
    recent: Recent[int] = Recent(REACH)
    arrived: set[int] = set()
    for index in order:
        recent.keep(start + index & 0xFFFF, index)
        arrived.add(index)
        newest = max(arrived)
        for known in arrived:
            if known >= newest - REACH:
                assert recent.find(start + known & 0xFFFF) == known
        assert recent.find(start + newest + 1 & 0xFFFF) is None
        assert len(recent) <= 2 * (REACH + 1)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 65_535), st.lists(st.integers(1, REACH), min_size=1, max_size=12)),
        min_size=2,
        max_size=5,
    )
)
def test_a_restart_at_any_number_loses_nothing(lives: list[tuple[int, list[int]]]) -> None:
    """Whatever was held before: of the life that goes on, all within reach is found by its content."""
    recent: Recent[tuple[int, int]] = Recent(REACH)
    for life, (sequence, steps) in enumerate(lives):
        arrived: list[int] = []
        for step in steps:
            sequence += step
            recent.keep(sequence & 0xFFFF, (life, sequence))
            arrived.append(sequence)
            for known in arrived:
                if known >= sequence - REACH:
                    item = (life, known)
                    assert recent.find(known & 0xFFFF, lambda found, item=item: found == item) == item
        assert len(recent) <= 2 * (REACH + 1)


def test_one_far_too_late_item_takes_nothing_away() -> None:
    recent: Recent[str] = Recent(63)
    for sequence in range(900, 1000):
        recent.keep(sequence, "new")
    recent.keep(12, "late")
    recent.keep(34_000, "from elsewhere")
    assert [recent.find(sequence) for sequence in (936, 999)] == ["new", "new"]
    assert recent.find(935) is None


def remembered(sequence: int) -> Remembered:
    return Remembered(
        sequence=sequence, width=64, height=64, scale=4, level=3, symbols={0: np.ones((1, 1), np.int8)}
    )  # fmt: skip


def test_acknowledgements_may_come_on_another_thread_than_frames_are_sent_on() -> None:
    references, failures, stop = References(), [], threading.Event()

    def hammer(seed: int, work) -> None:
        rng = random.Random(seed)
        try:
            while not stop.is_set():
                work(rng)
        except Exception as error:
            failures.append(error)
            stop.set()

    last = [0]

    def send() -> None:
        for sequence in range(FRAMES):
            last[0] = sequence
            references.plan(sequence & 0xFFFF, mode="acknowledged", interval=15)
            references.sent(remembered(sequence & 0xFFFF), key=sequence % 15 == 0)
            if stop.is_set():
                return

    threads = [
        threading.Thread(target=hammer, args=(1, lambda rng: references.acknowledge(last[0] - rng.randrange(64) & 0xFFFF))),
        threading.Thread(target=hammer, args=(2, lambda rng: references.acknowledge(last[0] - rng.randrange(64) & 0xFFFF))),
        threading.Thread(target=hammer, args=(3, lambda rng: references.ask_for_key(last[0] - rng.randrange(70) & 0xFFFF))),
    ]  # fmt: skip
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        send()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not failures
    assert last[0] == FRAMES - 1
