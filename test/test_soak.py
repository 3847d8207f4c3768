"""The soak in short: pictures come again whichever node was killed."""

from __future__ import annotations

import pytest
from conftest import DOMAINS

pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("gsc_ros.msg", reason="the messages are not built: run make test")


@pytest.mark.slow
def test_pictures_come_again_whichever_node_was_killed() -> None:
    """Over a sealed link that loses a fifth: within a bounded number of frames, and never an older one after a newer."""
    from gsc_ros.bench.soak import KILLED, MOST_FRAMES, soak

    link = {"link": "16k", "bits_per_second": 16_000.0, "loss": 0.2}
    run = soak(seconds=0.0, restarts=1, max_age_s=600.0, domain=DOMAINS[0], done=lambda passed: None, **link)
    assert [restart.node for restart in run.restarts] == list(KILLED)
    assert max(restart.frames for restart in run.restarts) <= MOST_FRAMES
    assert run.shown > len(KILLED)
    assert run.backwards == 0
