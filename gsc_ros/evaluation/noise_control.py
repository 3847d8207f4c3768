"""The control of everything that is said about realism: noise, which has the original's detail and none of its shapes.

Gradient energy, and some measures of likeness, can be had by white noise. What a generator wins counts only beyond that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.metrics import gradient_energy

MATCHED = "matched"  # what a codec's option calls it
HALVINGS = 12  # of the range in which the noise's spread is looked for
LARGEST = 64.0  # grey levels


def matched_noise(picture: NDArray[np.uint8], original: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    """``picture`` (H,W,3) with white noise, the same in all colours, until its gradient energy is that of ``original``.

    A picture that has as much already stays as it is.
    """
    wanted = gradient_energy(original)
    if gradient_energy(picture) >= wanted:
        return picture
    noise = np.random.default_rng(seed).standard_normal((*picture.shape[:2], 1), dtype=np.float32)

    def noisy(spread: float) -> NDArray[np.uint8]:
        return np.rint((picture + np.float32(spread) * noise).clip(0, 255)).astype(np.uint8)

    low, high = 0.0, LARGEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if gradient_energy(noisy(middle)) < wanted else (low, middle)
    return noisy(high)
