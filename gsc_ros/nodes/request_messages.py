"""Request <-> GscRequest."""

from __future__ import annotations

from typing import Any

from gsc_ros.link.request import Request
from gsc_ros.msg import GscRequest


def request_of(message: Any) -> Request:
    """What a GscRequest asks for; raises ValueError for a value out of range."""
    numbers = {
        name: value for name in ("max_bytes", "bits_per_second", "channels") if (value := getattr(message, name)) != -1
    }
    caption = message.caption if message.set_caption else None
    return Request(caption=caption, sharpen=message.sharpen, key_frame=message.key_frame, **numbers)


def request_message(request: Request) -> Any:
    """The GscRequest that says the same."""
    message = GscRequest(sharpen=request.sharpen, key_frame=request.key_frame)
    for name in ("max_bytes", "bits_per_second", "channels"):
        if (value := getattr(request, name)) is not None:
            setattr(message, name, value)
    if request.caption is not None:
        message.set_caption, message.caption = True, request.caption
    return message
