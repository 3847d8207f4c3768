"""How like its original a picture is: PSNR, MS-SSIM, gradient energy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST_FOR_MS_SSIM = 161


def psnr(original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio in dB over all pixels and colours; infinite for equal images."""
    error = float(np.square(original.astype(np.float32) - picture).mean(dtype=np.float64))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ms_ssim(original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """MS-SSIM (five scales, RGB, as pytorch-msssim); nan below 161 pixels a side, where it is not defined."""
    if min(original.shape[:2]) < SMALLEST_FOR_MS_SSIM:
        return math.nan
    import torch
    from pytorch_msssim import ms_ssim as implementation

    a, b = (torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] for image in (original, picture))
    with torch.inference_mode():
        return float(implementation(a, b, data_range=255))


def gradient_energy(image: NDArray[np.uint8]) -> float:
    """Mean length of the gradient of the grey image, in grey levels a pixel: how much detail there is."""
    grey = image.astype(np.float32).mean(axis=2)
    across, down = np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1]
    return float(np.hypot(across, down).mean(dtype=np.float64))
