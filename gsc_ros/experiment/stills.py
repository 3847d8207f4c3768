"""JPEG, WebP and AV1 stills, each at the scale and quality that serve a byte budget best."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from gsc_ros.evaluation.metrics import ms_ssim
from gsc_ros.evaluation.peers import avif_payload, pillow_still
from gsc_ros.experiment.codecs import ExperimentCodec, Feedback, Image

DIVISORS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16)
SAMPLES = 3  # frames of the drive that decide about the scale


def _av1(small: Image, quality: int) -> tuple[bytes, Image]:
    data, picture = pillow_still(small, form="AVIF", quality=quality, speed=4)
    return avif_payload(data), picture


CODERS: dict[str, Callable[[Image, int], tuple[bytes, Image]]] = {
    "jpeg": lambda small, quality: pillow_still(small, form="JPEG", quality=quality, optimize=True),
    "webp": lambda small, quality: pillow_still(small, form="WEBP", quality=quality, method=6),
    "av1": _av1,
}


class Still(ExperimentCodec):
    """Every frame on its own. Of AV1 only the payload counts, without its container."""

    def __init__(self, name: str, drive: Sequence[Image], budget: int) -> None:
        self._code = CODERS[name]
        self._budget = budget
        self._pictures: dict[bytes, Image] = {}
        self._coded: dict[int, tuple[Image, bytes, float]] = {}
        samples = list(drive[:: max(1, len(drive) // SAMPLES)])[:SAMPLES]
        self._scale = max(range(len(DIVISORS)), key=lambda index: self._worth(samples, index))

    def encode(self, image: Image, most_bytes: int | None) -> bytes | None:
        if id(image) in self._coded:  # the drive comes round again
            _, data, self.spared_s = self._coded[id(image)]
            return data
        began, self.spared_s = time.process_time(), 0.0
        for index in range(self._scale, len(DIVISORS)):
            best = self._fitting(image, index)
            if best is not None:
                break
        else:  # nothing fits: the smallest there is, and fewer frames
            best = self._at(image, len(DIVISORS) - 1, 0)
        data, picture = best
        self._pictures[data] = picture
        self._coded[id(image)] = (image, data, time.process_time() - began)
        return data

    def decode(self, packet: bytes) -> tuple[Image | None, Feedback | None]:
        return self._pictures.get(packet), None

    def _at(self, image: Image, index: int, quality: int) -> tuple[bytes, Image]:
        from PIL import Image as Pillow

        height, width = image.shape[:2]
        size = (max(16, round(width / DIVISORS[index])), max(16, round(height / DIVISORS[index])))
        small = np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS))
        data, picture = self._code(small, quality)
        large = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
        return data, np.asarray(large, dtype=np.uint8)

    def _fitting(self, image: Image, index: int) -> tuple[bytes, Image] | None:
        """The best quality at a scale that the budget holds."""
        best, low, high = None, 0, 63
        while low <= high:
            quality = (low + high) // 2 if best is not None else 0
            coded = self._at(image, index, quality)
            if len(coded[0]) <= self._budget:
                best, low = coded, quality + 1
            elif quality == 0:
                return None
            else:
                high = quality - 1
        return best

    def _worth(self, samples: Sequence[Image], index: int) -> float:
        fitted = [(image, self._fitting(image, index)) for image in samples]
        if any(coded is None for _, coded in fitted):
            return -1.0 - index if index < len(DIVISORS) - 1 else -0.5
        return float(np.mean([ms_ssim(image, coded[1]) for image, coded in fitted if coded is not None]))
