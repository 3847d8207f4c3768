"""The energy score in the features of a network for recognition (energy_score.py says what the score is).

Differences of pixels say how much detail there is; features of some depth say of what shape. Of two samples, ``variety`` is the part of
their distance from each other that counts: with 1 samples come to vary as originals do. Of one sample
the score is a perceptual distance, at half the cost, and what comes of it is the likeliest picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gsc_ros.training.deep_features import DeepFeatures

LEAST = 1e-6  # squared length from which on a distance has a slope


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean length of the difference of two features (B,C,h,w) over positions."""
    return ((a - b).square().sum(dim=1) + LEAST).sqrt().mean()


def deep_energy(features: DeepFeatures, samples: Tensor, x: Tensor, *, variety: float = 1.0) -> Tensor:
    """Of samples of the distribution that ``x`` (B,3,h,w) is one of, for each depth: (taps,); less is better.

    ``samples`` in 0..1 are one for each picture, (B,3,h,w), or all the first and then all the second ones, (2B,3,h,w).
    """
    with torch.no_grad():
        truths = features(x)
    scores = []
    for feature, truth in zip(features(samples), truths, strict=True):
        drawn = feature.split(len(x))
        far = torch.stack([distance(one, truth) for one in drawn]).mean()
        scores.append(far - variety / 2 * distance(*drawn) if len(drawn) == 2 else far)
    return torch.stack(scores)
