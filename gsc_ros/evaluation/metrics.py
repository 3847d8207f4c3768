"""How like its original a picture is: PSNR, MS-SSIM, gradients, and the perceptual measures of piq."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import distribution

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


def _library(name: str) -> Any:
    try:
        import piq
    except (ImportError, RuntimeError) as error:  # the latter where torchvision is not the one for this torch
        raise ValueError(f"{name} needs piq, which does not load ({error}): pip install 'gsc-ros[eval]'") from error
    return piq


def _piq(name: str, original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    import torch

    measure = getattr(_library(name), name)
    with torch.inference_mode():
        return float(measure(_planes(picture), _planes(original), data_range=1.0))


def _planes(image: NDArray[np.uint8]) -> Any:
    """(1,3,H,W) of float32 in 0..1."""
    import torch

    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255


@cache
def _network(name: str) -> Any:
    """piq's network for a learned measure; torch.hub downloads its weights once, unless they are there."""
    import torch

    kind = getattr(_library(name), name.upper())
    try:
        return kind()
    except OSError as error:
        raise ValueError(
            f"{name} needs weights in {torch.hub.get_dir()}/checkpoints (vgg16-397923af.pth and {name}_weights.pt), "
            f"and they cannot be downloaded: {error}"
        ) from error


def _learned(name: str, original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    import torch

    with torch.inference_mode():
        return float(_network(name)(_planes(picture), _planes(original)))


Measure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
ALWAYS: dict[str, Measure] = {
    "psnr": psnr,
    "ms_ssim": ms_ssim,
    "gradient_similarity": gradient_similarity,
    "gradient_energy": gradient_ratio,
}
# Of piq, without weights. Of gmsd and mdsi less is better.
PERCEPTUAL: dict[str, Measure] = {name: partial(_piq, name) for name in ("fsim", "haarpsi", "gmsd", "mdsi", "vsi")}
# Of piq, with networks. Less is better.
LEARNED: dict[str, Measure] = {name: partial(_learned, name) for name in ("lpips", "dists")}
MEASURES = ALWAYS | PERCEPTUAL | LEARNED
LESS_IS_BETTER = ("gmsd", "mdsi", *LEARNED, *distribution.NAMES)


def check(name: str) -> None:
    """Raise ValueError with one line for a measure that is not known, or whose network is not there."""
    if name in distribution.NAMES:
        distribution.network()
    elif name not in MEASURES:
        raise ValueError(f"measure {name!r}: {', '.join((*MEASURES, *distribution.NAMES))} are known")
    elif name in LEARNED:
        _network(name)
