"""What the codec is trained for, and what the search for better symbols goes by: distortion, and the price of a bit.

Distortion is 1 - MS-SSIM (Wang et al. 2003), differentiable, at working resolution, plus squared errors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# The five published weights, the finest scale of the full frame folded into the first one of
# the working resolution, where that scale does not exist.
WEIGHTS = (0.0448 + 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2
WINDOW = 11

SQUARED_ERROR = 12.0  # weight at the finest level, falling to nothing at the coarsest: what it asks for there is a blur
CHROMA = 12.0  # weight of the squared error of Cb and Cr, the same at all levels
BIT, BIT_RATIO = (
    160.0,
    0.888,
)  # price of a bit for each pixel of the frame at level 0; of one level over that of the one below


def luma_chroma(x: Tensor) -> Tensor:
    """Y, Cb and Cr (B,3,h,w) of RGB (B,3,h,w), BT.601 without offset."""
    luma = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    return torch.cat([luma, 0.564 * (x[:, 2:] - luma), 0.713 * (x[:, :1] - luma)], dim=1)


def distortion(
    image: Tensor, x: Tensor, fineness: Tensor, *, squared_error: float = SQUARED_ERROR, chroma: float = CHROMA
) -> Tensor:
    """1 - MS-SSIM plus squared errors of colour and chroma, for each frame: (B,).

    ``fineness`` (B,) is 0 at the coarsest quality level and 1 at the finest.
    """
    squared = (image - x).square().mean(dim=(1, 2, 3))
    coloured = luma_chroma(image - x)[:, 1:].square().mean(dim=(1, 2, 3))
    return 1 - ms_ssim(image, x) + squared_error * fineness * squared + chroma * coloured


def price(level: Tensor, *, bit: float = BIT, ratio: float = BIT_RATIO) -> Tensor:
    """What a bit for each pixel of the full frame costs in distortion, at quality ``level`` (B,)."""
    return bit * ratio ** level.float()


def _window(channels: int, like: Tensor) -> Tensor:
    positions = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    gauss = torch.exp(-(positions**2) / (2 * 1.5**2))
    return (gauss / gauss.sum()).repeat(channels, 1, 1, 1)


def _blur(x: Tensor, window: Tensor) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(F.conv2d(x, window, groups=channels), window.transpose(2, 3), groups=channels)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of each pair, (B,), for (B,3,h,w) in 0..1 with h and w at least 11; below 88 the scales that are there share the weights."""
    count = x.shape[1]
    window = _window(5 * count, x)
    value = torch.ones((), device=x.device)
    scales = min(len(WEIGHTS), int(math.log2(min(x.shape[2:]) / WINDOW)) + 1)
    weights = [weight * sum(WEIGHTS) / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    for index, weight in enumerate(weights):
        mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1), window).split(count, dim=1)
        contrast = (2 * (xy - mean_x * mean_y) + C2) / (xx - mean_x**2 + yy - mean_y**2 + C2)
        if index == scales - 1:
            contrast = contrast * (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
        value = value * contrast.mean(dim=(2, 3)).clamp_min(1e-4) ** weight
        if index < scales - 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return value.mean(dim=1)
