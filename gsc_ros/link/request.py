"""What an operator may ask of a camera, and its bytes on the link."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gsc_ros.link.datagram import MAX_BODY, DatagramError

MAX_CAPTION_BYTES = 240
_SHARPEN, _KEY, _BYTES, _RATE, _CHANNELS, _CAPTION = (1 << bit for bit in range(6))


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is None stays as it is.

    max_bytes            byte budget of a frame, 0: no limit
    bits_per_second      bit rate of all frames of the robot, 0: no limit
    channels             C, at most so many channels; 0: all
    caption              the caption from now on; empty: the captioner's own again
    sharpen              the next frame with as many bytes as the robot allows for that
    key_frame            the next frame builds on nothing
    """

    max_bytes: int | None = None
    bits_per_second: int | None = None
    channels: int | None = None
    caption: str | None = None
    sharpen: bool = False
    key_frame: bool = False

    def __post_init__(self) -> None:
        for name, high in (("max_bytes", 65_535), ("bits_per_second", 2**32 - 1), ("channels", 1024)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= high:
                raise ValueError(f"{name} {value}: 0 to {high} are allowed")
        if self.caption is not None and len(self.caption.encode("utf-8", "replace")) > MAX_CAPTION_BYTES:
            raise ValueError(f"a caption of more than {MAX_CAPTION_BYTES} bytes: shorten it")

    def __bytes__(self) -> bytes:
        flags = self.sharpen * _SHARPEN | self.key_frame * _KEY
        body = b""
        for value, flag, kind in (
            (self.max_bytes, _BYTES, ">H"),
            (self.bits_per_second, _RATE, ">I"),
            (self.channels, _CHANNELS, ">H"),
        ):
            if value is not None:
                flags |= flag
                body += struct.pack(kind, value)
        if self.caption is not None:
            flags |= _CAPTION
            body += self.caption.encode("utf-8", "replace")
        result = bytes([flags]) + body
        assert len(result) < MAX_BODY
        return result

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """The request in ``body``; raises DatagramError."""
        if not body or body[0] >> 6:
            raise DatagramError("a request without its flags, or with unknown ones")
        flags, at = body[0], 1
        numbers: dict[str, int] = {}
        try:
            for name, flag, kind in (
                ("max_bytes", _BYTES, ">H"),
                ("bits_per_second", _RATE, ">I"),
                ("channels", _CHANNELS, ">H"),
            ):
                if flags & flag:
                    (numbers[name],) = struct.unpack_from(kind, body, at)
                    at += struct.calcsize(kind)
            caption = body[at:].decode("utf-8") if flags & _CAPTION else None
            if caption is None and at != len(body):
                raise DatagramError("a request with bytes that nothing announces")
            return cls(
                caption=caption,
                sharpen=bool(flags & _SHARPEN),
                key_frame=bool(flags & _KEY),
                max_bytes=numbers.get("max_bytes"),
                bits_per_second=numbers.get("bits_per_second"),
                channels=numbers.get("channels"),
            )
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise DatagramError(f"a request that cannot be read: {error}") from error
