"""Depth from one picture: Depth-Anything-V2 and whatever else transformers loads for depth estimation.

Models of relative depth predict disparity up to scale and shift; both are fitted by least squares to each picture's
truth before anything is compared, as those models' papers do it. Metric models are compared as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets import Picture
from gsc_ros.evaluation.tasks import transformers_model

Plane = NDArray[np.float32]
MOST_METRES = 80.0  # the usual cap of KITTI
KINDS = ("delta1", "delta2", "delta3", "abs_rel", "rmse", "rmse_log")


class Depth:
    """A depth model."""

    def __init__(self, model: Path, device: str = "cpu") -> None:
        self._processor, self._network = transformers_model.load("AutoModelForDepthEstimation", model, device)
        self.metric = getattr(self._network.config, "depth_estimation_type", "relative") == "metric"

    def look(self, image: NDArray[np.uint8]) -> Plane:
        """Depth in metres, or disparity in units of its own where the model is relative: (H,W)."""
        found = transformers_model.outputs(self._processor, self._network, image).predicted_depth[0]
        size = (image.shape[1], image.shape[0])
        return np.asarray(cv2.resize(found.float().cpu().numpy(), size, interpolation=cv2.INTER_CUBIC), np.float32)

    def compare(self, picture: Picture, original: Plane, shown: Plane) -> dict[str, Any]:
        """The errors of depth, against the truth (``depth_...``) and against the original's (``depth_..._agreed``)."""
        found: dict[str, Any] = {}
        truth = picture.depth()
        if truth is not None:
            known = (truth > 0) & (truth <= MOST_METRES)
            if known.sum() > 1:
                depth = shown if self.metric else self._depth(shown, np.float32(1) / truth[known], known)
                found |= {f"depth_{kind}": value for kind, value in errors(depth[known], truth[known]).items()}
        # The original's own depth is the reference: without units where the model has none.
        reference = original if self.metric else np.float32(1) / _positive(original)
        everywhere = np.ones(shown.shape, dtype=bool)
        depth = shown if self.metric else self._depth(shown, np.float32(1) / reference.ravel(), everywhere)
        agreed = errors(depth.ravel(), reference.ravel())
        return found | {f"depth_{kind}_agreed": agreed[kind] for kind in ("delta1", "abs_rel")}

    @staticmethod
    def _depth(disparity: Plane, target: Plane, where: NDArray[np.bool_]) -> Plane:
        """Depth from ``disparity`` with the scale and shift that fit ``target`` (disparities at ``where``) best."""
        columns = np.stack([disparity[where], np.ones(int(where.sum()), np.float32)], axis=1).astype(np.float64)
        scale, shift = np.linalg.lstsq(columns, target.astype(np.float64).ravel(), rcond=None)[0]
        floor = max(float(target.min()), 1e-6)
        return np.asarray(1 / np.maximum(scale * disparity + shift, floor), dtype=np.float32)


def _positive(disparity: Plane) -> Plane:
    """Disparities from 0 to 1: of a relative model only differences mean something."""
    low, high = float(disparity.min()), float(disparity.max())
    return (disparity - low) / max(high - low, 1e-6) * np.float32(0.95) + np.float32(0.05)


def errors(depth: Plane, truth: Plane) -> dict[str, float]:
    """delta1..3 (shares within 1.25, 1.25^2 and 1.25^3), AbsRel, RMSE (metres) and RMSE log of positive depths (n,)."""
    depth = np.maximum(depth, 1e-3).astype(np.float64)
    ratio = np.maximum(depth / truth, truth / depth)
    found = {f"delta{power}": float((ratio < 1.25**power).mean()) for power in (1, 2, 3)}
    found["abs_rel"] = float((np.abs(depth - truth) / truth).mean())
    found["rmse"] = math.sqrt(float(np.square(depth - truth).mean()))
    found["rmse_log"] = math.sqrt(float(np.square(np.log(depth) - np.log(truth)).mean()))
    return found


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Means over the pictures."""
    names = [f"depth_{kind}" for kind in KINDS] + ["depth_delta1_agreed", "depth_abs_rel_agreed"]
    found: dict[str, float | None] = {}
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            found[name] = float(np.mean(values))
    return found
