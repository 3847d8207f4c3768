"""How far the generated picture agrees with what was received, position by position."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.nano import NanoLatents

SHARPNESS = 3.0  # a deviation of a quarter step leaves a confidence of 0.47


def confidence_map(
    latents: NanoLatents,
    image: NDArray[np.uint8],
    symbols: Mapping[int, NDArray[np.int64]],
    level: int,
    geometry: Geometry,
) -> NDArray[np.uint8]:
    """0..255 for each pixel of the frame: 255 where the picture says what was received.

    The picture (H,W,3) is encoded again; at every position of the finest grid the deviation of
    its channels from the received ones is taken in quantisation steps, root mean square over
    the channels that were sent, and mapped by exp(-SHARPNESS deviation). It tells where
    the generator departed from the evidence; it cannot tell what was never sent.
    """
    if not symbols:
        return np.zeros((geometry.height, geometry.width), dtype=np.uint8)
    again = latents.analyse(latents.tensor(geometry.shrink(image, latents.layout)))
    rows, columns = latents.layout.grid(len(latents.layout.counts) - 1, *geometry.nominal)
    total = np.zeros((rows, columns))
    for channel, plane in symbols.items():
        deviation = np.square(again[channel] / latents.step[level, channel] - plane)
        factor = rows // plane.shape[0]
        total += deviation.repeat(factor, axis=0).repeat(factor, axis=1)
    deviation = np.sqrt(total / len(symbols))
    confidence = np.exp(-SHARPNESS * deviation).astype(np.float32)
    working = cv2.resize(confidence, geometry.working(latents.layout)[::-1], interpolation=cv2.INTER_LINEAR)
    return np.rint(255 * geometry.enlarge(working, cv2.INTER_LINEAR).clip(0, 1)).astype(np.uint8)
