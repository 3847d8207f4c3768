"""Image messages <-> arrays, on any object with the fields of sensor_msgs (rclpy's or rosbags').

cv_bridge converts where it is installed, rosbags-image elsewhere; the encodings that cameras
mostly send are read in place, without either.
"""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

DIRECT = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
}
YUV = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
}
# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first two.
BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}


class ImageMessageError(ValueError):
    """A message that holds no image that can be read."""


def read_image(message: Any) -> NDArray[np.uint8]:
    """(H,W,3) uint8 RGB from an Image or CompressedImage; raises ImageMessageError."""
    if hasattr(message, "encoding"):
        return _read_raw(message)
    image = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_COLOR) if len(message.data) else None
    if image is None:
        raise ImageMessageError(
            f"a CompressedImage of format {message.format!r} and {len(message.data)} bytes: OpenCV cannot decode it"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_raw(message: Any) -> NDArray[np.uint8]:
    encoding, height, width = message.encoding.lower(), int(message.height), int(message.width)
    depth = DIRECT[encoding][0] if encoding in DIRECT else 2 if encoding in YUV else 1 if encoding in BAYER else None
    if depth is None:
        return _convert(message)
    step = int(message.step) or width * depth
    data = np.frombuffer(message.data, dtype=np.uint8)
    if height < 1 or width < 1 or step < width * depth or len(data) < step * (height - 1) + width * depth:
        raise ImageMessageError(
            f"an Image of {width}x{height} {encoding} with step {step} needs {step * height} bytes, {len(data)} are there"
        )
    rows = np.lib.stride_tricks.as_strided(data, (height, width * depth), (step, 1), writeable=False)
    pixels = rows.reshape(height, width, depth) if depth > 1 else np.ascontiguousarray(rows)
    code = DIRECT[encoding][1] if encoding in DIRECT else YUV.get(encoding, BAYER.get(encoding))
    if code is None:
        return np.ascontiguousarray(pixels)
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code), dtype=np.uint8)
    except cv2.error as error:
        raise ImageMessageError(f"an Image of {width}x{height} {encoding}: OpenCV cannot convert that size") from error


def _convert(message: Any) -> NDArray[np.uint8]:
    """Any other encoding, through the library at hand."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        from rosbags.image import ImageError, message_to_cvimage

        try:
            return np.ascontiguousarray(message_to_cvimage(message, "rgb8"), dtype=np.uint8)
        except (ImageError, ValueError, KeyError) as error:
            raise ImageMessageError(f"an Image of encoding {message.encoding!r} cannot be read: {error}") from error
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    except Exception as error:  # cv_bridge raises its own CvBridgeError and plain Exceptions from C++
        raise ImageMessageError(f"an Image of encoding {message.encoding!r} cannot be read: {error}") from error


def fill_image(message: Any, image: NDArray[np.uint8], header: Any) -> Any:
    """Fill an Image ``message`` with ``image``: rgb8 for (H,W,3), mono8 for (H,W)."""
    message.header = header
    message.height, message.width = image.shape[:2]
    message.encoding = "rgb8" if image.ndim == 3 else "mono8"
    message.is_bigendian = 0
    message.step = image.strides[0] if image.flags.c_contiguous else image.shape[1] * (3 if image.ndim == 3 else 1)
    data = array.array("B")  # rclpy copies a list element by element, an array at once
    data.frombytes(image.tobytes())
    message.data = data
    return message


def scaled_camera_info(info: dict[str, Any], width: int, height: int) -> SimpleNamespace:
    """K, P, D, R of a camera calibration file, rescaled to an image of ``width`` x ``height``.

    ``info`` is the YAML of the ROS camera calibrator (image_width, camera_matrix.data, ...).
    Pixel centres are at half-integer positions scaled alike, so c' = (c + 0.5) s - 0.5.
    """
    sx, sy = width / info["image_width"], height / info["image_height"]
    k = list(map(float, info["camera_matrix"]["data"]))
    p = list(map(float, info["projection_matrix"]["data"]))
    for matrix, columns in ((k, 3), (p, 4)):
        matrix[0] *= sx
        matrix[1] *= sx
        matrix[2] = (matrix[2] + 0.5) * sx - 0.5
        matrix[columns + 1] *= sy
        matrix[columns + 2] = (matrix[columns + 2] + 0.5) * sy - 0.5
    p[3] *= sx
    p[7] *= sy
    rotation = list(map(float, info.get("rectification_matrix", {}).get("data", [1, 0, 0, 0, 1, 0, 0, 0, 1])))
    return SimpleNamespace(
        width=width, height=height, distortion_model=info["distortion_model"],
        d=list(map(float, info["distortion_coefficients"]["data"])), k=k, r=rotation, p=p,
    )  # fmt: skip
