"""How far the shown picture can be trusted, position by position.

    confidence = expected likeness x exp(-SHARPNESS x further deviation) x what invented detail leaves of it

Expected likeness: what was never sent is missing everywhere, but it is missed more in some places
than in others. A linear model on the fidelity decoder's features, fitted to training images, tells
the SSIM that original and fidelity image usually have at such a position.

Further deviation: where the generator painted, the shown picture is encoded again. How much
farther it is from the received symbols than the fidelity image is tells where the generator departed from
the evidence.

Invented detail: what was painted is likely, and elsewhere than the detail of the original. SSIM's middle factor, 2 cov(x,y) + C over
var x + var y + C, falls by what that adds to var y; var x is taken to be as much above the fidelity image's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.nano import Decoded, NanoLatents
from gsc_ros.latents.quantised import InSteps
from gsc_ros.weights import Weights, load_arrays

SHARPNESS = 3.0
C2 = 0.03**2  # of SSIM, for luma in 0..1
GREY = cv2.COLOR_RGB2GRAY
FILE = "confidence.safetensors"
Grid = NDArray[np.float32]


def evidence(decoded: Decoded) -> Grid:
    """What the linear model sees at each position of the finer grid: (rows, columns, F)."""
    features = decoded.features.permute(1, 2, 0).cpu().numpy()
    size = (features.shape[1], features.shape[0])
    grey = cv2.cvtColor(decoded.picture(), GREY)
    energy = np.square(cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.square(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    detail = np.log(cv2.resize(energy, size, interpolation=cv2.INTER_AREA) + 1e-4)
    return np.concatenate([features, detail[..., None]], axis=2)


@dataclass(frozen=True)
class ExpectedLikeness:
    """The linear model: ``weight`` (F,) and a ``bias`` for each quality level (levels,)."""

    weight: Grid
    bias: Grid

    @classmethod
    def load(cls, weights: Weights, latents: NanoLatents) -> ExpectedLikeness:
        """The model of ``confidence.safetensors`` for ``latents``; raises ProfileError."""
        seen = latents.codec.synthesis.in64.out_channels + 1  # features, and the detail
        return cls(**load_arrays(weights, FILE, {"weight": (seen,), "bias": (latents.levels,)}, kinds=np.float32))

    def save(self, folder: Path) -> None:
        save_file({"weight": self.weight, "bias": self.bias}, folder / FILE)

    def __call__(self, decoded: Decoded, level: int) -> Grid:
        """Expected SSIM of luma with the original, both at working resolution, 0..1: (rows, columns)."""
        expected = evidence(decoded) @ self.weight + self.bias[level]
        return np.clip(expected, 0.0, 1.0, dtype=np.float32)


def left_by_detail(fidelity: Grid, shown: Grid, shape: tuple[int, ...]) -> Grid:
    """Which part of its likeness ``shown`` keeps for the detail that it has beyond ``fidelity``, both grey (h,w) in 0..1, at each position of a grid of ``shape`` (rows, columns).

    1 where it has none, a half where there is nothing but invented detail.
    """

    size = shape[::-1]

    def variance(image: Grid) -> Grid:
        mean = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return np.maximum(cv2.resize(np.square(image), size, interpolation=cv2.INTER_AREA) - np.square(mean), 0.0)

    known, invented = 2 * variance(fidelity) + C2, variance(shown - fidelity)
    return np.asarray((known + invented) / (known + 2 * invented), dtype=np.float32)


class Confidence:
    """The confidence maps of one profile."""

    def __init__(self, latents: NanoLatents, expected: ExpectedLikeness) -> None:
        self._latents = latents
        self._expected = expected

    @classmethod
    def load(cls, weights: Weights, latents: NanoLatents) -> Confidence:
        return cls(latents, ExpectedLikeness.load(weights, latents))

    def map(
        self,
        decoded: Decoded,
        shown: NDArray[np.uint8] | None,
        symbols: InSteps,
        level: int,
        geometry: Geometry,
    ) -> NDArray[np.uint8]:
        """0..255 for each pixel of the frame, (H,W), 255 for a confidence of 1.

        ``shown`` (H,W,3) is the picture where it is another than the fidelity image of ``decoded``.
        A frame without symbols has no confidence anywhere.
        """
        if not symbols:
            return np.zeros((geometry.height, geometry.width), dtype=np.uint8)
        latents = self._latents
        confidence = self._expected(decoded, level)
        if shown is not None:
            working = geometry.shrink(shown, latents.layout)
            seen = latents.deviation(latents.tensor(working), symbols, level)
            usual = latents.deviation(decoded.image.clamp(0, 1)[None], symbols, level)
            fidelity, painted = (
                cv2.cvtColor(decoded.picture(), GREY),
                cv2.cvtColor(working.astype(np.float32) / 255, GREY),
            )
            left = left_by_detail(fidelity, painted, confidence.shape)
            confidence = confidence * np.exp(-SHARPNESS * np.maximum(seen - usual, 0.0)) * left
        smooth = cv2.resize(confidence, geometry.working(latents.layout)[::-1], interpolation=cv2.INTER_LINEAR)
        return geometry.shown(smooth, cv2.INTER_LINEAR)
