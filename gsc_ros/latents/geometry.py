"""From a frame of any size to the working resolution of the codec and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.frame import MAX_SCALE, OWN_SIZE
from gsc_ros.latents.layout import LatentLayout

# 2**(1 - k/4) in 1/65536, k = 0 .. 3: four scales an octave, in integers because both ends must find the same grid.
QUARTERS = (131_072, 110_218, 92_682, 77_936)


@dataclass(frozen=True)
class Geometry:
    """A frame of ``height`` x ``width`` pixels, coded at 2**(1 - scale/4) of that: twice at scale 0, as it is at 4, half of it at 8.

    The frame is resized to whole blocks of the coarsest channel, as many as come next to its size. ``nominal`` is
    the size for which the layout's strides hold, before it is rounded to blocks.
    """

    height: int
    width: int
    scale: int = OWN_SIZE

    @property
    def nominal(self) -> tuple[int, int]:
        octave, quarter = divmod(self.scale, len(QUARTERS))
        return self.height * QUARTERS[quarter] >> (16 + octave), self.width * QUARTERS[quarter] >> (16 + octave)

    def blocks(self, layout: LatentLayout) -> int:
        """Blocks of the coarsest stride in the frame."""
        rows, columns = layout.blocks(*self.nominal)
        return rows * columns

    def pixels(self, layout: LatentLayout) -> int:
        """Pixels of the frame at its scale, in whole blocks: as many as a generator paints of it at most."""
        return self.blocks(layout) * layout.coarsest**2

    def within(self, pixels: int, layout: LatentLayout) -> Geometry:
        """The frame at the largest scale, from its own down, at which it has at most so many ``pixels``; one block is always allowed."""
        scales = (replace(self, scale=scale) for scale in range(self.scale, MAX_SCALE))
        return next((other for other in scales if other.pixels(layout) <= pixels), replace(self, scale=MAX_SCALE))

    def working(self, layout: LatentLayout) -> tuple[int, int]:
        """Rows and columns the transforms see, whole blocks of the coarsest stride."""
        rows, columns = layout.blocks(*self.nominal)
        part = layout.coarsest // layout.reduction
        return rows * part, columns * part

    def shrink(self, image: NDArray[np.uint8], layout: LatentLayout) -> NDArray[np.uint8]:
        """(H,W,3) of the frame -> (h,w,3) at working resolution."""
        height, width = self.working(layout)
        smaller = height <= self.height and width <= self.width
        interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)

    def enlarge(self, image: NDArray[np.float32], interpolation: int = cv2.INTER_CUBIC) -> NDArray[np.float32]:
        """(h,w[,3]) at working resolution, or what was painted at more -> (H,W[,3]), bicubic, or averaged where the frame is smaller."""
        if image.shape[0] * image.shape[1] > 2 * self.height * self.width:
            interpolation = cv2.INTER_AREA
        return np.asarray(cv2.resize(image, (self.width, self.height), interpolation=interpolation), dtype=np.float32)

    def shown(self, image: NDArray[np.float32], interpolation: int = cv2.INTER_CUBIC) -> NDArray[np.uint8]:
        """:meth:`enlarge` of an image in 0..1, as uint8 in 0..255; of a large frame no more than one copy in floats."""
        large = self.enlarge(image, interpolation)
        np.clip(large, 0, 1, out=large)
        large *= 255
        return np.rint(large, out=large).astype(np.uint8)
