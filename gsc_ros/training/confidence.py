"""Fits the expected likeness of the confidence map: least squares, after the codec is trained."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.confidence import ExpectedLikeness, evidence
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.latents.quantised import luma
from gsc_ros.latents.selection import ssim_map

LEVELS_APART = 6
RIDGE = 1.0


def fit(latents: NanoLatents, views: Iterable[NDArray[np.uint8]]) -> ExpectedLikeness:
    """The linear model for images (h,w,3) of uint8 at working resolution, sides multiples of 32."""
    levels = np.arange(0, latents.levels, LEVELS_APART)
    squares: NDArray[np.float64] | None = None
    for view in views:
        geometry = Geometry(2 * view.shape[0], 2 * view.shape[1])
        planes = latents.analyse(latents.tensor(view))
        original = luma(view).astype(np.float32) / np.float32(255)
        for index, level in enumerate(levels):
            decoded = latents.synthesise(latents.quantise(planes, int(level)), int(level), geometry)
            seen = evidence(decoded)
            like = ssim_map(original, cv2.cvtColor(decoded.picture(), cv2.COLOR_RGB2GRAY))
            target = cv2.resize(like, seen.shape[1::-1], interpolation=cv2.INTER_AREA)
            rows = np.zeros((target.size, seen.shape[2] + len(levels) + 1))
            rows[:, : seen.shape[2]] = seen.reshape(target.size, -1)
            rows[:, seen.shape[2] + index] = 1
            rows[:, -1] = target.ravel()
            squares = rows.T @ rows if squares is None else squares + rows.T @ rows
    if squares is None:
        raise ValueError("no images to fit the confidence to")
    inputs = squares[:-1, :-1] + RIDGE * np.eye(len(squares) - 1)
    solution = np.linalg.solve(inputs, squares[:-1, -1])
    weight, bias = solution[: -len(levels)], solution[-len(levels) :]
    return ExpectedLikeness(
        weight=weight.astype(np.float32),
        bias=np.interp(np.arange(latents.levels), levels, bias).astype(np.float32),
    )
