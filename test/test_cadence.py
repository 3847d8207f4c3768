"""Frames that never arrived, told from stamps."""

from __future__ import annotations

import random

from gsc_ros.nodes.cadence import Cadence


def test_lost_frames_of_a_steady_camera_are_counted() -> None:
    rng, cadence = random.Random(1), Cadence()
    lost = counted = 0
    for number in range(2000):
        stamp = number * 500_000_000 + rng.randrange(20_000_000)
        if number > 40 and rng.random() < 0.5:
            lost += 1
            continue
        counted += cadence.missing_before(stamp)
    assert abs(counted - lost) <= 1  # the last frame may be one of those


def test_pauses_clocks_set_back_and_two_frames_of_one_stamp_are_no_losses() -> None:
    cadence = Cadence()
    for number in range(20):
        assert cadence.missing_before(number * 10**8) == 0
    assert cadence.missing_before(10**12) == 0
    assert cadence.missing_before(5) == 0
    assert cadence.missing_before(5) == 0
    assert cadence.missing_before(-(10**18)) == 0
