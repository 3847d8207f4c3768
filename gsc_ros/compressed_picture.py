"""PNG, JPEG, WebP, TIFF, BMP and PNM to pixels: checked before and after, at a size that is of use."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.frame import MAX_SIDE
from gsc_ros.picture_header import PictureError, PictureHeader, check_whole, largest_value, read_header

REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
BRIGHTEST = 1.5  # of pictures of floating point, whose white is 1


def decode(data: bytes, *, upright: bool, thorough: bool) -> NDArray[Any]:
    """(H,W) grey or (H,W,3) RGB of uint8 or uint16; raises PictureError before anything large is allocated.

    ``upright`` turns the picture as its EXIF orientation says. ``thorough``: see :func:`check_whole`.
    """
    header = read_header(data)
    check_whole(data, header.kind, thorough=thorough)
    flags = _flags(header) | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise PictureError(f"OpenCV cannot decode this {header.kind}") from error
    if image is None:
        raise PictureError(f"OpenCV cannot decode this {header.kind} of {header.width}x{header.height}")
    if header.kind == "PNM" and (white := largest_value(data)) < 255:  # which OpenCV heeds in texts alone
        image = cv2.convertScaleAbs(image, alpha=255 / max(white, 1))
    if image.dtype in (np.float32, np.float64):
        image = _of_floats(np.asarray(image))
    if image.dtype not in (np.uint8, np.uint16):
        raise PictureError(
            f"a {header.kind} of {image.dtype} values: 8 or 16 bits without a sign, or floating point, are read"
        )
    if image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return np.asarray(image)


def _flags(header: PictureHeader) -> int:
    """JPEGs far beyond what is sent are decoded at a half, a quarter or an eighth, which is quicker and smaller."""
    if header.kind == "JPEG":
        for divisor, flag in REDUCED.items():
            if max(header.width, header.height) >= divisor * MAX_SIDE:
                return flag
        return cv2.IMREAD_COLOR
    return cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH


def _of_floats(values: NDArray[Any]) -> NDArray[np.uint8]:
    largest = float(np.nanmax(values)) if values.size and not np.isnan(values).all() else 0.0
    if not largest <= BRIGHTEST:
        raise PictureError(f"its floating-point values reach {largest:g}, where white is 1: it is depth, not a picture")
    return np.rint(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)
