"""Depth as Hypersim keeps it: the distance from the camera's centre to the surface, in HDF5.

Depth everywhere else is along the optical axis: distance times the cosine of the pixel's angle to it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOCAL_LENGTH = 886.81 / 1024  # of the dataset's usual camera, in widths of the image (60 degrees across)


def read(path: Path) -> NDArray[np.float32]:
    """Metres along the optical axis, (H,W), 0 where the file holds no number; raises ValueError with one line."""
    try:
        import h5py
    except ImportError as error:
        raise ValueError(f"{path}: depth of Hypersim needs h5py: pip install 'gsc-ros[eval]'") from error
    try:
        with h5py.File(path) as file:
            distance = np.asarray(file["dataset"], dtype=np.float32)
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: no HDF5 file with an array `dataset` ({error})") from error
    if distance.ndim != 2:
        raise ValueError(f"{path}: one number for each pixel is expected, not {distance.shape}")
    rows, columns = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2) for size in distance.shape)
    tangents = np.hypot(rows[:, None], columns[None, :]) / np.float32(FOCAL_LENGTH * distance.shape[1])
    return np.nan_to_num(distance / np.sqrt(1 + np.square(tangents)), nan=0.0, posinf=0.0)
