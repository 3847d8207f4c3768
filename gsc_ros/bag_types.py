"""The message types of a bag, with ours among them: read and written without ROS."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from gsc_ros.bags.topic import BagError
from gsc_ros.profiles import share_directory

FRAME_TYPE = "gsc_ros/msg/GscFrame"
STATS_TYPE = "gsc_ros/msg/GscStats"
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@cache
def typestore() -> Any:
    """A rosbags typestore of Jazzy with GscFrame and GscStats; raises BagError where rosbags is not installed."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise BagError("bags need rosbags: pip install 'gsc-ros[bag]'") from error

    store = get_typestore(Stores.ROS2_JAZZY)
    folder = share_directory() / "msg"
    for name in (FRAME_TYPE, STATS_TYPE):
        store.register(get_types_from_msg((folder / f"{Path(name).name}.msg").read_text(), name))
    return store


def deserialize(data: bytes, kind: str) -> Any:
    """The message of one of our types or of sensor_msgs in the CDR ``data``; raises BagError."""
    try:
        return typestore().deserialize_cdr(data, kind)
    except BagError:
        raise
    except Exception as error:  # SerdeError, and whatever else strangers' bytes bring about in the parser
        raise BagError(f"its {len(data)} bytes are no {kind} ({error})") from error
