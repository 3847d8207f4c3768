"""Image messages <-> arrays, on any object with the fields of sensor_msgs (rclpy's or rosbags').

    Image ------------> image_encodings.py --+--> brightness.py (16 bits to 8) --> fit --> (H,W,3) uint8 RGB
    CompressedImage --> compressed_picture.py -+

Everything is read here, so that the pixels are the same whatever is installed. cv_bridge, where it is there, is asked
only for encodings that have no line in the table.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.brightness import Brightness
from gsc_ros.compressed_picture import decode
from gsc_ros.frame import MAX_SIDE, MIN_SIDE
from gsc_ros.image_encodings import DEPTH_ENCODINGS, ENCODINGS, EncodingError, pixels
from gsc_ros.picture_header import PictureError

DEPTH_NAMES = ("depth", "disparity")


class ImageMessageError(ValueError):
    """A message that holds no image that can be read."""


class DepthImageError(ImageMessageError):
    """A message that holds distances and no picture."""


class ImageReader:
    """Reads the image messages of one stream; what is done to them is told once.

    ``topic``      says whether 16 bits a pixel are depth, by its name
    ``tell``       is given a sentence the first time that frames are stretched or shrunk
    ``from_disk``  what is read lay on a disk: JPEGs are searched for changed bytes (gsc_ros.jpeg_check)
    """

    def __init__(self, topic: str, tell: Callable[[str], None], *, from_disk: bool = False) -> None:
        self._topic = topic
        self._tell = tell
        self._from_disk = from_disk
        self._told: set[str] = set()
        self._brightness = Brightness()

    def read(self, message: Any) -> NDArray[np.uint8]:
        """(H,W,3) uint8 RGB of 16 to 4096 pixels a side; raises ImageMessageError."""
        return self.finish(read_pixels(message, self._topic, from_disk=self._from_disk))

    def as_rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Pixels of 8 or 16 bits that were read elsewhere, at their own size."""
        return _as_rgb(values, self._brightness)

    def finish(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The same at a size that can be sent; raises ImageMessageError where a side is too short."""
        image = self.as_rgb(values)
        if values.dtype == np.uint16 and self._brightness.stretched:
            low, high = self._brightness.low, self._brightness.high
            self._once(
                "stretched",
                f"16 bits a pixel: {low} to {high} are shown as black to white; the range follows what frames use",
            )
        fitting = fit(image)
        if fitting.shape != image.shape:
            sizes = " to ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in (image, fitting))
            self._once("shrunk", f"frames are shrunk from {sizes}: at most {MAX_SIDE} pixels a side are sent")
        return fitting

    def _once(self, what: str, sentence: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._tell(sentence)


def read_image(message: Any) -> NDArray[np.uint8]:
    """(H,W,3) uint8 RGB from an Image or CompressedImage by itself; raises ImageMessageError."""
    return _as_rgb(read_pixels(message), Brightness())


def read_pixels(message: Any, topic: str = "", *, from_disk: bool = False) -> NDArray[Any]:
    """(H,W) grey or (H,W,3) RGB of uint8 or uint16; raises ImageMessageError.

    A CompressedImage stays as the sensor saw it, whatever its EXIF orientation says: that is what its calibration holds for.
    """
    if depth := depth_of(message, topic):
        raise DepthImageError(depth)
    if hasattr(message, "encoding"):
        try:
            return pixels(message)
        except EncodingError as error:
            if message.encoding.strip().lower() in ENCODINGS:
                raise ImageMessageError(str(error)) from error
            return _through_cv_bridge(message, str(error))
    data = bytes(message.data)
    try:
        return decode(data, upright=False, thorough=from_disk)
    except PictureError as error:
        raise ImageMessageError(
            f"a CompressedImage of format {message.format!r} and {len(data)} bytes: {error}"
        ) from error


def depth_of(message: Any, topic: str = "") -> str | None:
    """A sentence where ``message`` holds distances and no picture; None for pictures.

    REP 118: depth is 32FC1 in metres or 16UC1 in millimetres. Thermal cameras send 16UC1 too, so the topic's name decides.
    """
    raw = hasattr(message, "encoding")
    kind = (message.encoding if raw else message.format.split(";")[0]).strip().lower()
    named = any(name in topic.lower() for name in DEPTH_NAMES)
    if kind in DEPTH_ENCODINGS or (named and kind in ("16uc1", "mono16")):
        return f"{message.encoding if raw else message.format.strip()} is depth, not a picture"
    if not raw and "compresseddepth" in message.format.lower():
        return f"{message.format.strip()} is depth, not a picture"
    return None


def fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``image``, shrunk by areas where a side is longer than 4096 pixels; raises ImageMessageError where one is below 16."""
    height, width = fitting_size(*image.shape[:2])
    if min(height, width) < MIN_SIDE:
        raise ImageMessageError(
            f"an image of {image.shape[1]}x{image.shape[0]} pixels: at least {MIN_SIDE} a side are needed"
        )
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def fitting_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that :func:`fit` shrinks to."""
    share = min(1.0, MAX_SIDE / max(height, width))
    return round(height * share), round(width * share)


def _as_rgb(values: NDArray[Any], brightness: Brightness) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = brightness.to_8_bits(values) if values.dtype == np.uint16 else values
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8) if image.ndim == 2 else image


def _through_cv_bridge(message: Any, otherwise: str) -> NDArray[np.uint8]:
    """An encoding without a line in the table, as cv_bridge has it."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise ImageMessageError(otherwise) from None
    try:
        image = np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    except Exception as error:  # cv_bridge raises its own CvBridgeError and plain Exceptions from C++
        raise ImageMessageError(f"{otherwise}; cv_bridge: {error}") from error
    if image.shape != (message.height, message.width, 3):
        raise ImageMessageError(f"{otherwise}; cv_bridge makes {image.shape} of it")
    return image


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
