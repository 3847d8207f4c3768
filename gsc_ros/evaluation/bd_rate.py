"""Bjontegaard's differences of two curves of quality against bytes, with intervals by bootstrap over images.

Curves are monotone cubic (PCHIP) in the logarithm of the bytes, through the means over the images at each
setting. BD-rate: how many percent more or fewer bytes for the same quality; BD-quality: how much more
or less quality for the same bytes; both over the range that the curves share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # bytes and quality: (images, settings) each
SAMPLES = 200


@dataclass(frozen=True)
class Difference:
    """A difference and its 95 % interval; nan where the curves share no range."""

    value: float
    low: float
    high: float


def _area(x: NDArray[np.float64], y: NDArray[np.float64], low: float, high: float) -> float:
    """Mean of the curve through (x, y) between ``low`` and ``high``."""
    from scipy.interpolate import PchipInterpolator

    order = np.argsort(x)
    x, y = x[order], y[order]
    keep = np.concatenate([[True], np.diff(x) > 1e-9])
    at = np.linspace(low, high, SAMPLES)
    return float(np.mean(PchipInterpolator(x[keep], y[keep])(at)))


def _means(curve: Curve, images: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.log(curve[0][images].mean(axis=0)), curve[1][images].mean(axis=0)


def _between(anchor: Curve, other: Curve, images: NDArray[np.int64], *, rate: bool) -> float:
    (bytes_a, quality_a), (bytes_b, quality_b) = _means(anchor, images), _means(other, images)
    x_a, y_a, x_b, y_b = (quality_a, bytes_a, quality_b, bytes_b) if rate else (bytes_a, quality_a, bytes_b, quality_b)
    low, high = max(x_a.min(), x_b.min()), min(x_a.max(), x_b.max())
    if high - low < 1e-9 or len(x_a) < 2 or len(x_b) < 2:
        return float("nan")
    difference = _area(x_b, y_b, low, high) - _area(x_a, y_a, low, high)
    return 100 * float(np.expm1(difference)) if rate else difference


def difference(anchor: Curve, other: Curve, *, rate: bool, draws: int = 500, seed: int = 0) -> Difference:
    """``other`` against ``anchor``, on the same images in the same order."""
    images = np.arange(anchor[0].shape[0])
    generator = np.random.default_rng(seed)
    drawn = [
        _between(anchor, other, generator.choice(images, len(images)), rate=rate)
        for _ in range(draws if len(images) > 1 else 0)
    ]
    found = np.array([value for value in drawn if np.isfinite(value)])
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (float("nan"),) * 2
    return Difference(_between(anchor, other, images, rate=rate), float(low), float(high))


def curve_of(rows: Sequence[dict[str, object]], settings: Sequence[str], measure: str) -> Curve:
    """The curve of one codec's rows: images in the order of the rows."""
    images = list(dict.fromkeys(str(row["image"]) for row in rows))
    table = {(row["image"], row["setting"]): row for row in rows}
    shape = (len(images), len(settings))
    sizes, values = np.zeros(shape), np.zeros(shape)
    for i, image in enumerate(images):
        for j, setting in enumerate(settings):
            row = table[image, setting]
            sizes[i, j] = max(1.0, float(row["bytes"]))  # type: ignore[arg-type]
            values[i, j] = float("nan") if row[measure] is None else float(row[measure])  # type: ignore[arg-type]
    return sizes, values
