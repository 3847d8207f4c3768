"""The energy score of two samples: how far they are from the original, less half of how far they are from each other.

In the mean over many originals it is least for samples that are distributed as the originals are, given all that the
sampler is given (a strictly proper scoring rule: Gneiting and Raftery 2007, section 4.3; as the loss of a flow: De Bortoli et al.
2025, "Distributional Diffusion Models with Scoring Rules"). Squared error is least for their mean, which is a blur. So a
network learns to paint in one step what is likely, without a critic.

Distances are taken in bands, so that structure of each size and direction counts, wherever it is, and so that variety can be asked
for where the eye wants it, in fine structure of luma: large shapes and colours that are likely but wrong mislead.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.latents.objective import luma_chroma

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
# At full size, half, a quarter and an eighth: the part of the samples' distance from each other that counts in luma. With 1 they come
# to vary as originals do, with v by v / sqrt(2 - v^2) as much, with 0 not at all, as chroma and what is larger do.
VARIETY = (1.0, 0.8, 0.4, 0.0)
BLOCK = 4  # pixels of a size; blocks overlap by half, so that what lies between them counts as well
LEAST = 1e-6  # squared length from which on a distance has a slope


def bands(image: Tensor) -> list[tuple[Tensor, float]]:
    """Luma and chroma of (B,3,h,w) by size and direction, each (B,3,h',w') with its variety.

    Differences across, down and along both diagonals at full size and three smaller ones, and what remains.
    """
    planes = luma_chroma(image)
    found = []
    for variety in VARIETY:
        here, right, below, beyond = (planes[..., y : y - 1 or None, x : x - 1 or None] for y, x in CORNERS)
        found += [(difference, variety) for difference in (right - here, below - here, beyond - here, right - below)]
        planes = F.avg_pool2d(planes, 2)
    return [*found, (planes, 0.0)]


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean distances of two bands (B,3,h,w): root mean square over blocks, of luma and of chroma, (2,)."""
    squared = (a - b).square()
    squared = torch.cat([squared[:, :1], squared[:, 1:].sum(dim=1, keepdim=True)], dim=1)
    block = min(BLOCK, *squared.shape[2:])
    lengths = (F.avg_pool2d(squared, block, stride=max(1, block // 2)) + LEAST).sqrt()
    return lengths.mean(dim=(0, 2, 3))


def energy_score(first: Tensor, second: Tensor, x: Tensor) -> Tensor:
    """Of two samples of the distribution that ``x`` is one of, all (B,3,h,w) with sides of at least 16; less is better."""
    scores = []
    for (one, variety), (other, _), (truth, _) in zip(bands(first), bands(second), bands(x), strict=True):
        far = (distance(one, truth) + distance(other, truth)).sum()
        scores.append((far - variety * distance(one, other)[0]) / 2)
    return torch.stack(scores).mean()
