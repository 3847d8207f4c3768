"""Frames of a video file, upright, through PyAV.

OpenCV 4.13 and 4.14 give black frames, or what lay in memory before, for every interlaced video, without an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.image_messages import ImageMessageError, ImageReader
from gsc_ros.left_out import LeftOut
from gsc_ros.picture_header import MAX_PIXELS

MISSING_SHARE = 0.1  # of a video's frames, before it is told; headers count roughly
WAY_ON = "`ffmpeg -i IN -c:v libx264 OUT.mp4` makes a video that can, if there are any"


class VideoError(ValueError):
    """A file that holds no video that can be read."""


def video_frames(path: str, left_out: LeftOut) -> Iterator[NDArray[np.uint8]]:
    """(H,W,3) uint8 RGB of 16 to 4096 pixels a side, frame by frame; raises VideoError, where it can before the first.

    Frames that cannot be decoded are left out. Interlaced ones are given as they are, both fields in one.
    """
    try:
        import av
    except ImportError as error:
        raise VideoError("videos need PyAV: pip install 'gsc-ros[demo]'") from error

    try:
        container = av.open(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{path} cannot be opened as a video: it is cut off, or of a kind that is not known"
        ) from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{path} cannot be opened as a video: it has no pictures")
    stream = container.streams.video[0]
    reader = ImageReader("", lambda sentence: left_out.tell(f"{path}: {sentence}"))

    def frames() -> Iterator[NDArray[np.uint8]]:
        given = left = 0
        with container:
            for frame in _decoded(container, stream):
                try:
                    if isinstance(frame, Exception):
                        raise ImageMessageError("it cannot be decoded") from frame
                    yield reader.finish(_pixels(frame))
                    given += 1
                except (ImageMessageError, av.FFmpegError) as error:
                    left_out.frame(path, f": frame {given + left}", error)
                    left += 1
            if not given and not left:
                raise VideoError(f"{path}: no frame of it can be decoded ({stream.name}): {WAY_ON}")
            if given + left < (1 - MISSING_SHARE) * stream.frames:
                left_out.tell(f"{path} ends after {given + left} frames, its header says {stream.frames}")

    return frames()


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames, with the error in the place of what cannot be decoded; it ends where the container does, or its damage."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            yield error


def _pixels(frame: Any) -> NDArray[np.uint8]:
    if frame.is_corrupt:
        raise ImageMessageError("its data are damaged")
    if frame.width * frame.height > MAX_PIXELS:
        raise ImageMessageError(f"{frame.width}x{frame.height}: at most {MAX_PIXELS // 10**6} million pixels are read")
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
