"""The message types of a bag, with ours among them: read and written without ROS."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from gsc_ros.profiles import share_directory

FRAME_TYPE = "gsc_ros/msg/GscFrame"
STATS_TYPE = "gsc_ros/msg/GscStats"


@cache
def typestore() -> Any:
    """A rosbags typestore of Jazzy with GscFrame and GscStats."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    folder = share_directory() / "msg"
    for name in (FRAME_TYPE, STATS_TYPE):
        store.register(get_types_from_msg((folder / f"{Path(name).name}.msg").read_text(), name))
    return store
