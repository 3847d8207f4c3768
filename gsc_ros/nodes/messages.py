"""Frame <-> GscFrame and the other messages the nodes publish."""

from __future__ import annotations

import array
from typing import Any

from gsc_ros.bitstream import BitstreamError
from gsc_ros.frame import Frame, TextMode
from gsc_ros.msg import GscFrame

FIELDS = ("fingerprint", "sequence", "width", "height", "scale", "level", "channel_count")


def to_message(frame: Frame, header: Any) -> GscFrame:
    """The message of ``frame`` with the header of the source image."""
    message = GscFrame(header=header, **{name: getattr(frame, name) for name in FIELDS}, text_mode=int(frame.text_mode))
    message.channel_ids = array.array("H", frame.channel_ids)
    message.text = array.array("B", frame.text)
    message.channels = array.array("B", frame.channels)
    return message


def from_message(message: GscFrame) -> Frame:
    """The frame of ``message``; raises BitstreamError for a text mode that does not exist."""
    if message.text_mode not in TextMode.__members__.values():
        raise BitstreamError(f"text mode {message.text_mode}: 0 to {max(TextMode)} are defined")
    return Frame(
        **{name: getattr(message, name) for name in FIELDS}, channel_ids=tuple(message.channel_ids),
        text_mode=TextMode(message.text_mode), text=bytes(message.text), channels=bytes(message.channels),
    )  # fmt: skip
