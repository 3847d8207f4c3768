"""Differentiable MS-SSIM for crops at the working resolution (Wang et al. 2003)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# The five published weights, the finest scale of the full frame folded into the first one of
# the working resolution, where that scale does not exist.
WEIGHTS = (0.0448 + 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2


def _window(channels: int, like: Tensor) -> Tensor:
    positions = torch.arange(11, dtype=like.dtype, device=like.device) - 5
    gauss = torch.exp(-(positions**2) / (2 * 1.5**2))
    return (gauss / gauss.sum()).repeat(channels, 1, 1, 1)


def _blur(x: Tensor, window: Tensor) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(F.conv2d(x, window, groups=channels), window.transpose(2, 3), groups=channels)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of each pair, (B,), for (B,3,h,w) in 0..1 with h and w at least 88."""
    count = x.shape[1]
    window = _window(5 * count, x)
    value = torch.ones((), device=x.device)
    for index, weight in enumerate(WEIGHTS):
        mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1), window).split(count, dim=1)
        contrast = (2 * (xy - mean_x * mean_y) + C2) / (xx - mean_x**2 + yy - mean_y**2 + C2)
        if index == len(WEIGHTS) - 1:
            contrast = contrast * (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
        value = value * contrast.mean(dim=(2, 3)).clamp_min(1e-4) ** weight
        if index < len(WEIGHTS) - 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return value.mean(dim=1)
