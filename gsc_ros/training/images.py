"""Training images: a folder in memory, and crops that depend on nothing but seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff"}


def image_files(root: Path) -> list[Path]:
    """Every image below ``root``, sorted; raises ValueError where there is none."""
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"no images below {root}: expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """One image as (H,W,3) uint8 RGB; raises ValueError when it cannot be read."""
    image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not an image that OpenCV reads")
    return np.ascontiguousarray(image[:, :, ::-1])


def whole_blocks(image: NDArray[np.uint8], layout: LatentLayout) -> NDArray[np.uint8]:
    """(h,w,3) at working resolution, resized to whole blocks as frames are."""
    height, width = Geometry(layout.reduction * image.shape[0], layout.reduction * image.shape[1]).working(layout)
    if image.shape[:2] == (height, width):
        return image
    smaller = height <= image.shape[0] and width <= image.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


def as_images(crops: Tensor) -> Tensor:
    """Crops (B,3,h,w) of uint8 as float32 in 0..1, channels last."""
    return crops.float().div_(255).contiguous(memory_format=torch.channels_last)


def in_another_light(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """``image`` as another camera might have exposed and balanced it."""
    exponents = np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.05, 3))
    curves = 255 * (np.arange(256)[:, None] / 255) ** exponents
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), np.rint(curves).astype(np.uint8)[None]), dtype=np.uint8)


class CropSource:
    """Random crops at the codec's working resolution.

    A photo with a short side of 288 pixels stands for a frame of 576, and made smaller, down to 1/1.6, for one
    that is coded at a smaller scale, as most are. Half of them are mirrored, half seen in another light. Step n of a run
    always yields the same batch, whichever steps were run before it, so that a resumed training equals an
    uninterrupted one.
    """

    def __init__(self, root: Path, *, crop: int, seed: int) -> None:
        self.crop = crop
        self.seed = seed
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda path: self._large_enough(read_rgb(path)), image_files(root)))
        self.images: Sequence[NDArray[np.uint8]] = images

    def _large_enough(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        short = min(image.shape[:2])
        if short >= self.crop:
            return image
        scale = self.crop / short
        size = (max(self.crop, round(image.shape[1] * scale)), max(self.crop, round(image.shape[0] * scale)))
        return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]

    def batch(self, step: int, size: int) -> Tensor:
        """The crops of ``step``: (size,3,crop,crop) of uint8."""
        rng = np.random.default_rng((self.seed, step))
        return torch.from_numpy(np.stack([self._crop(rng) for _ in range(size)])).permute(0, 3, 1, 2)

    def _crop(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        image = self.images[int(rng.integers(len(self.images)))]
        height, width = image.shape[:2]
        limit = min(height, width, round(1.6 * self.crop))
        side = int(rng.integers(self.crop, limit + 1))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        patch = image[top : top + side, left : left + side]
        if side != self.crop:
            patch = cv2.resize(patch, (self.crop, self.crop), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        return in_another_light(patch, rng) if rng.random() < 0.5 else patch
