"""How like its original a picture is: PSNR, MS-SSIM, gradients, and the perceptual measures of piq."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
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


def gradient_ratio(original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Gradient energy of the picture as a part of the original's."""
    return gradient_energy(picture) / max(gradient_energy(original), 1e-9)


def gradient_similarity(original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Mean gradient magnitude similarity of the halved grey images (Xue et al. 2014), 0..1."""
    lengths = []
    for image in (original, picture):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        half = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
        across, down = (cv2.filter2D(half, cv2.CV_32F, kernel) for kernel in _PREWITT)
        lengths.append(np.hypot(across, down))
    a, b = lengths
    return float(((2 * a * b + 170.0) / (a * a + b * b + 170.0)).mean())


_PREWITT = (
    np.array([[1, 0, -1]] * 3, dtype=np.float32) / 3,
    np.array([[1, 0, -1]] * 3, dtype=np.float32).T / 3,
)


def _piq(name: str, original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    import torch

    try:
        import piq
    except (ImportError, RuntimeError) as error:  # the latter where torchvision is not the one for this torch
        raise ValueError(f"{name} needs piq, which does not load ({error}): pip install 'gsc-ros[eval]'") from error
    a, b = (torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255 for image in (original, picture))
    with torch.inference_mode():
        return float(getattr(piq, name)(b, a, data_range=1.0))


Measure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
ALWAYS: dict[str, Measure] = {
    "psnr": psnr,
    "ms_ssim": ms_ssim,
    "gradient_similarity": gradient_similarity,
    "gradient_energy": gradient_ratio,
}
# Of piq, without weights. Of gmsd and mdsi less is better.
PERCEPTUAL: dict[str, Measure] = {name: partial(_piq, name) for name in ("fsim", "haarpsi", "gmsd", "mdsi", "vsi")}
MEASURES = ALWAYS | PERCEPTUAL
LESS_IS_BETTER = ("gmsd", "mdsi")
