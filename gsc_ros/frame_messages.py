"""Frame <-> GscFrame, for rclpy's message class and for that of rosbags alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gsc_ros.bitstream import BitstreamError
from gsc_ros.frame import Frame, TextMode

SCALARS = (
    "fingerprint",
    "sequence",
    "width",
    "height",
    "scale",
    "level",
    "channel_count",
    "reference",
    "reference_check",
    "activity",
)


def message_fields(frame: Frame, sequence: Callable[[str, Iterable[int]], Any]) -> dict[str, Any]:
    """The fields of a GscFrame but for its header.

    ``sequence(typecode, values)`` makes what the message class keeps its arrays in:
    ``array.array`` for rclpy, ``numpy.array`` with the arguments turned round for rosbags. The
    type codes are "B" for uint8 and "H" for uint16 in both.
    """
    fields = {name: getattr(frame, name) for name in SCALARS}
    return fields | {
        "channel_ids": sequence("H", frame.channel_ids),
        "text_mode": int(frame.text_mode),
        "text": sequence("B", frame.text),
        "channels": sequence("B", frame.channels),
    }


def frame_of(message: Any) -> Frame:
    """The frame that a GscFrame holds; raises BitstreamError for a text mode that does not exist."""
    if message.text_mode not in TextMode.__members__.values():
        raise BitstreamError(f"text mode {message.text_mode}: 0 to {max(TextMode)} are defined")
    scalars = {name: int(getattr(message, name)) for name in SCALARS}
    ids = tuple(int(channel) for channel in message.channel_ids)
    return Frame(
        **scalars,
        channel_ids=ids,
        text_mode=TextMode(message.text_mode),
        text=bytes(message.text),
        channels=bytes(message.channels),
    )
