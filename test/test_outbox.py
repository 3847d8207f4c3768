"""The outbox: newest first, whole frames, shares by weight."""

from __future__ import annotations

import math

import pytest

from gsc_ros.link.outbox import Outbox


def test_a_newer_frame_replaces_one_that_was_not_begun_and_no_other() -> None:
    outbox = Outbox({0: 1.0})
    outbox.offer(0, lambda: [b"old"])
    outbox.offer(0, lambda: [b"new1", b"new2"])
    assert outbox.take().datagram == b"new1"
    outbox.offer(0, lambda: [b"newest"])
    assert [outbox.take().datagram for _ in range(2)] == [b"new2", b"newest"]
    assert not outbox
    assert outbox.take() is None
    traffic = outbox.traffic[0]
    assert (traffic.offered, traffic.replaced, traffic.sent) == (3, 1, 2)


def test_cameras_share_by_weight_whatever_the_size_of_their_frames() -> None:
    outbox = Outbox({0: 1.0, 1: 3.0, 2: 1.0})
    sizes = {0: 100, 1: 40, 2: 100}
    sent = dict.fromkeys(sizes, 0)
    for _ in range(3000):
        for camera in (0, 1):  # camera 2 is silent, and gets nothing later for that
            outbox.offer(camera, lambda size=sizes[camera]: [bytes(size)])
        piece = outbox.take()
        sent[piece.camera] += len(piece.datagram)
    assert 2.7 < sent[1] / sent[0] < 3.3
    for camera in sizes:
        outbox.offer(camera, lambda size=sizes[camera]: [bytes(size)])
    first = [outbox.take().camera for _ in range(3)]
    assert sorted(first) == [0, 1, 2]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_is_a_share(weight) -> None:
    """An infinite one would leave nothing to the others, ever."""
    with pytest.raises(ValueError, match="above 0"):
        Outbox({0: weight, 1: 1.0})
