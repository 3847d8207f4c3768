"""One-slot boxes: the newest frame of each camera, no camera starved."""

from __future__ import annotations

import threading

from conftest import LIMIT_S

from gsc_ros.nodes.newest import NewestBoxes


def test_the_newest_replaces_and_is_counted() -> None:
    boxes: NewestBoxes[int] = NewestBoxes(["a"])
    assert boxes.put("a", 1) is False
    assert boxes.put("a", 2) is True
    assert boxes.take() == [("a", 2)]
    assert boxes.put("a", 3) is False


def test_a_fast_camera_does_not_starve_a_slow_one() -> None:
    boxes: NewestBoxes[int] = NewestBoxes(["fast", "slow"])
    boxes.put("fast", 1)
    boxes.put("slow", 1)
    taken = []
    for index in range(4):
        ((camera, _),) = boxes.take()
        taken.append(camera)
        boxes.put("fast", index)
        boxes.put("slow", index)
    assert taken == ["fast", "slow", "fast", "slow"]


def test_as_many_as_are_wanted_come_at_once_and_none_twice() -> None:
    boxes: NewestBoxes[int] = NewestBoxes(["a", "b", "c"])
    for camera in ("a", "b", "c"):
        boxes.put(camera, 1)
    assert boxes.take(2) == [("a", 1), ("b", 1)]
    boxes.put("a", 2)
    assert boxes.take(5) == [("c", 1), ("a", 2)]  # whoever waits longest first
    boxes.put("b", 3)
    assert boxes.take(5) == [("b", 3)]


def test_close_wakes_the_worker() -> None:
    boxes: NewestBoxes[int] = NewestBoxes(["a"])
    results = []
    worker = threading.Thread(target=lambda: results.append(boxes.take()))
    worker.start()
    boxes.close()
    worker.join(timeout=LIMIT_S)
    assert results == [[]]
