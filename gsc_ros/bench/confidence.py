"""What the confidence map is worth: confidence beside the true likeness, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.decoder import Decoder, DecodeSettings
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.latents.selection import ssim_map
from gsc_ros.sources import image_folder

BLOCK = 16  # pixels of the halved frame: one position of the finer grid
BINS = 5


@dataclass(frozen=True)
class Reliability:
    """Blocks of one range of confidence: their share of all, mean confidence, SSIM and absolute error (0..255)."""

    low: float
    high: float
    share: float
    confidence: float
    ssim: float
    error: float


@dataclass(frozen=True)
class ConfidenceFigures:
    """Spearman's rank correlation of confidence and SSIM, and the blocks by confidence."""

    blocks: int
    rank_correlation: float
    bins: list[Reliability]


def blocks(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means of whole blocks, flat."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    cut = plane[: rows * BLOCK, : columns * BLOCK].astype(np.float64)
    return cut.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)).ravel()


def halved(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma in 0..1 at half the size: where the codec works, and what SSIM is taken of."""
    size = (image.shape[1] // 2, image.shape[0] // 2)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's, ties in order of appearance."""
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def measure(
    images: Path, budgets: Sequence[int], profile: str, realism: float, done: Callable[[], None]
) -> ConfidenceFigures:
    """Encode every image at every budget, decode it and compare its confidence with the truth."""
    encoder, decoder = Encoder.load(profile), Decoder.load(profile)
    found = []
    for image in image_folder(images):
        original = halved(image)
        for budget in budgets:
            packet = encoder.encode(image, EncodeSettings(max_bytes=budget, caption_refresh=1)).packet
            result = decoder.decode(packet, DecodeSettings(realism=realism))
            shown = halved(result.image)
            confidence = cv2.resize(result.confidence, shown.shape[::-1], interpolation=cv2.INTER_AREA)
            found.append(
                np.stack(
                    [
                        blocks(confidence / 255),
                        blocks(ssim_map(original, shown)),
                        blocks(255 * np.abs(original - shown)),
                    ]
                )
            )
        done()
    confidence, likeness, error = np.concatenate(found, axis=1)
    edges = np.linspace(0, 1, BINS + 1)
    index = np.clip(np.digitize(confidence, edges) - 1, 0, BINS - 1)
    bins = [
        Reliability(
            low=float(edges[i]), high=float(edges[i + 1]), share=float((index == i).mean()),
            confidence=float(confidence[index == i].mean()), ssim=float(likeness[index == i].mean()),
            error=float(error[index == i].mean()),
        )
        for i in range(BINS)
        if (index == i).any()
    ]  # fmt: skip
    return ConfidenceFigures(blocks=len(confidence), rank_correlation=rank_correlation(confidence, likeness), bins=bins)
