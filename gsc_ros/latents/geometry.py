"""From a frame of any size to the working resolution of the codec and back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.latents.layout import LatentLayout


@dataclass(frozen=True)
class Geometry:
    """A frame of ``height`` x ``width`` pixels, coded at 1/2**(scale - 1) of that: at twice that for scale 0.

    The frame is padded at its right and lower edge to whole blocks of the coarsest channel,
    then averaged down. ``nominal`` is the size for which the layout's strides hold: twice the frame
    at scale 0, the frame itself at scale 1, half of it at scale 2 and so on.
    """

    height: int
    width: int
    scale: int

    @property
    def nominal(self) -> tuple[int, int]:
        return -(-2 * self.height // (1 << self.scale)), -(-2 * self.width // (1 << self.scale))

    def working(self, layout: LatentLayout) -> tuple[int, int]:
        """Rows and columns the transforms see, whole blocks of the coarsest stride."""
        block, part = layout.coarsest, layout.coarsest // layout.reduction
        height, width = self.nominal
        return -(-height // block) * part, -(-width // block) * part

    def shrink(self, image: NDArray[np.uint8], layout: LatentLayout) -> NDArray[np.uint8]:
        """(H,W,3) of the frame -> (h,w,3) at working resolution."""
        height, width = self.working(layout)
        factor = self._factor(layout)
        below, right = height * factor - self.height, width * factor - self.width
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else image
        return np.asarray(cv2.resize(padded, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def enlarge(
        self, image: NDArray[np.float32], layout: LatentLayout, interpolation: int = cv2.INTER_CUBIC
    ) -> NDArray[np.float32]:
        """(h,w[,3]) at working resolution -> (H,W[,3]), bicubic, cut to the frame."""
        factor = self._factor(layout)
        large = cv2.resize(image, (image.shape[1] * factor, image.shape[0] * factor), interpolation=interpolation)
        return np.asarray(large[: self.height, : self.width], dtype=np.float32)

    def _factor(self, layout: LatentLayout) -> int:
        """Pixels of the frame for one at working resolution, along a side."""
        return (layout.reduction << self.scale) // 2
