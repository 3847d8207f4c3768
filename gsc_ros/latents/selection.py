"""Which channels are sent first: the paper's SSIM ranking, the nested order, gain per byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Selection = Literal["ssim", "order", "rate"]
SELECTIONS: tuple[str, ...] = get_args(Selection)
C1, C2 = 0.01**2, 0.03**2


def ssim_map(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """SSIM (Wang et al. 2004) at every position of two planes in 0..1, Gaussian window of sigma 1.5."""
    blur = lambda plane: cv2.GaussianBlur(plane, (7, 7), 1.5, borderType=cv2.BORDER_REPLICATE)  # noqa: E731
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    value = (2 * mean_a * mean_b + C1) * (2 * cov + C2) / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))
    return np.asarray(value, dtype=np.float32)


def ssim(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean of :func:`ssim_map`."""
    return float(ssim_map(a, b).mean())


def _unit(plane: NDArray[np.floating]) -> NDArray[np.float32] | None:
    low, high = float(plane.min()), float(plane.max())
    return None if high - low < 1e-6 else ((plane - low) / (high - low)).astype(np.float32)


def ssim_scores(latent: Mapping[int, NDArray[np.floating]], luma: NDArray[np.uint8]) -> dict[int, float]:
    """SSIM between every channel and the image (paper 3.2), in -1..1.

    The image's luma is averaged down to the channel's grid; both planes are stretched to 0..1 by
    their own extremes. A channel may show the scene as its negative: the better of both signs
    counts. A constant channel shows nothing and scores -1.
    """
    scores = {}
    for channel, plane in latent.items():
        unit = _unit(plane)
        image = _unit(cv2.resize(luma, plane.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32))
        if unit is None or image is None:
            scores[channel] = -1.0
        else:
            scores[channel] = max(ssim(unit, image), ssim(1.0 - unit, image))
    return scores


def ranking(selection: str, *, scores: Mapping[int, float], gain_per_bit: Mapping[int, float]) -> list[int]:
    """All channel ids, the one to send first in front.

    ``order``: as trained, nested. ``ssim``: largest SSIM first. ``rate``: largest predicted
    reduction of the squared error per bit first (eq. 2). Ties go to the lower id.
    """
    if selection == "order":
        return sorted(scores)
    if selection == "ssim":
        return sorted(scores, key=lambda channel: (-scores[channel], channel))
    if selection == "rate":
        return sorted(scores, key=lambda channel: (-gain_per_bit[channel], channel))
    raise ValueError(f"selection {selection!r}: {', '.join(SELECTIONS)} are known")
