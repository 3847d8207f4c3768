"""The pixels of sensor_msgs/Image, for every encoding of sensor_msgs/image_encodings.hpp that holds a picture.

All that the fields of a message say is checked against its data before anything is read or allocated. Without a
channel order in the name (8UC3), blue comes first, as cv_bridge has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.picture_header import MAX_PIXELS

SPARE_BYTES = 4096  # drivers hand over whole pages


class EncodingError(ValueError):
    """An Image whose fields and data do not fit together, or that holds no picture."""


@dataclass(frozen=True)
class Encoding:
    """How rows are laid out: bytes of a pixel, bytes of a value, and what OpenCV calls the way to RGB or grey."""

    pixel_bytes: int
    value_bytes: int = 1
    code: int | None = None
    across: int = 1  # width and height are multiples of these
    down: int = 1
    planes: float = 1.0  # rows of the data for each row of the picture


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first two.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_UYVY = Encoding(2, code=cv2.COLOR_YUV2RGB_UYVY, across=2)
_YUYV = Encoding(2, code=cv2.COLOR_YUV2RGB_YUYV, across=2)
ENCODINGS = {
    "mono8": Encoding(1),
    "8uc1": Encoding(1),
    "mono16": Encoding(2, 2),
    "16uc1": Encoding(2, 2),
    "rgb8": Encoding(3),
    **{name: Encoding(3, code=cv2.COLOR_BGR2RGB) for name in ("bgr8", "8uc3")},
    **{name: Encoding(4, code=cv2.COLOR_BGRA2RGB) for name in ("bgra8", "8uc4")},
    "rgba8": Encoding(4, code=cv2.COLOR_RGBA2RGB),
    "rgb16": Encoding(6, 2),
    **{name: Encoding(6, 2, cv2.COLOR_BGR2RGB) for name in ("bgr16", "16uc3")},
    **{name: Encoding(8, 2, cv2.COLOR_BGRA2RGB) for name in ("bgra16", "16uc4")},
    "rgba16": Encoding(8, 2, cv2.COLOR_RGBA2RGB),
    **{f"bayer_{name}8": Encoding(1, 1, code, 2, 2) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Encoding(2, 2, code, 2, 2) for name, code in _BAYER.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": Encoding(1, code=cv2.COLOR_YUV2RGB_NV12, across=2, down=2, planes=1.5),
    "nv21": Encoding(1, code=cv2.COLOR_YUV2RGB_NV21, across=2, down=2, planes=1.5),
    "nv24": Encoding(1, planes=3.0),
}
DEPTH_ENCODINGS = ("32fc1", "64fc1", "16sc1", "32sc1")
# ITU-R BT.601 with Y of 16 to 235, as OpenCV takes the other YUV encodings.
_YUV_TO_RGB = np.array(
    [[1.164, 0.0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0.0]],
)
_YUV_TO_RGB = np.column_stack([_YUV_TO_RGB, -_YUV_TO_RGB @ (16.0, 128.0, 128.0)])


def pixels(message: Any) -> NDArray[Any]:
    """(H,W) grey or (H,W,3) RGB of uint8 or uint16; raises EncodingError.

    The array may lie in the message's own memory: it is not to be written to.
    """
    name, width, height = str(message.encoding).strip().lower(), int(message.width), int(message.height)
    what = f"an Image of {width}x{height} {message.encoding}"
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise EncodingError(f"an Image of encoding {message.encoding!r}: {', '.join(ENCODINGS)} are read")
    if width < 1 or height < 1:
        raise EncodingError(f"{what} has no pixels")
    if width * height > MAX_PIXELS:
        raise EncodingError(f"{what}: at most {MAX_PIXELS // 10**6} million pixels are read")
    if width % encoding.across or height % encoding.down:
        raise EncodingError(f"{what}: width and height have to be multiples of {encoding.across} and {encoding.down}")
    used = width * encoding.pixel_bytes
    step = int(message.step) or used
    everything = _checked(message.data, what, round(height * encoding.planes), used, step)
    if name == "nv24":
        return _nv24(everything, height, width, step)
    data = _lines(everything, round(height * encoding.planes), used, step)
    if encoding.planes != 1:
        return np.asarray(cv2.cvtColor(data, encoding.code))  # type: ignore[arg-type]
    values: NDArray[Any] = data
    if encoding.value_bytes == 2:
        values = data.view(">u2" if message.is_bigendian else "<u2").astype(np.uint16, copy=False)
    channels = encoding.pixel_bytes // encoding.value_bytes
    if channels > 1:
        values = values.reshape(height, width, channels)
    if encoding.code is None:
        return values
    try:
        return np.asarray(cv2.cvtColor(values, encoding.code))
    except cv2.error as error:
        raise EncodingError(f"{what}: OpenCV cannot convert that size") from error


def _checked(data: Any, what: str, rows: int, used: int, step: int) -> NDArray[np.uint8]:
    """``data`` as bytes, where it is as long as ``rows`` of ``step`` bytes, of which ``used`` are pixels."""
    found = np.frombuffer(data, dtype=np.uint8) if len(data) else np.empty(0, dtype=np.uint8)
    if step < used:
        raise EncodingError(f"{what} has rows of {used} bytes, its step is {step}")
    if len(found) < step * (rows - 1) + used:
        raise EncodingError(f"{what} with step {step} needs {step * rows} bytes, {len(found)} are there")
    if len(found) > step * rows + max(step, SPARE_BYTES):
        raise EncodingError(f"{what} with step {step} has {step * rows} bytes, {len(found)} are there")
    return found


def _lines(data: NDArray[np.uint8], rows: int, used: int, step: int) -> NDArray[np.uint8]:
    """(rows, used) of uint8 without the padding; the memory of ``data`` where there is none."""
    lines = np.lib.stride_tricks.as_strided(data, (rows, used), (step, 1), writeable=False)
    return np.ascontiguousarray(lines)


def _nv24(data: NDArray[np.uint8], height: int, width: int, step: int) -> NDArray[np.uint8]:
    """A plane of Y, then one of U and V side by side at full size, whose rows are twice as long."""
    if len(data) < step * height + 2 * step * (height - 1) + 2 * width:
        raise EncodingError(f"an Image of {width}x{height} nv24 with step {step} ends within its colours")
    luma = _lines(data, height, width, step)
    chroma = _lines(data[step * height :], height, 2 * width, 2 * step).reshape(height, width, 2)
    return np.asarray(cv2.transform(np.dstack([np.maximum(luma, 16), chroma]), _YUV_TO_RGB), dtype=np.uint8)
