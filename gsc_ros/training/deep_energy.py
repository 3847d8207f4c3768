"""The energy score in the features of a network for recognition (energy_score.py says what the score is).

Differences of pixels say how much detail there is; features of some depth say of what shape. Of two samples, ``variety`` is the part of
their distance from each other that counts: with 1 samples come to vary as originals do. Of one sample
the score is a perceptual distance, at half the cost, and what comes of it is the likeliest picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1e-6  # squared length from which on a distance has a slope


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean length of the difference of two features (B,C,h,w) over positions."""
    return ((a - b).square().sum(dim=1) + LEAST).sqrt().mean()


def deep_energy(drawn: Sequence[Tensor], truths: Sequence[Tensor], *, variety: float = 1.0) -> Tensor:
    """Of features of samples of the distribution that the originals are of, for each depth: (taps,); less is better.

    ``truths`` are the originals' features (B,C,h,w); ``drawn`` those of one sample for each of them, or of all the first and then all the
    second ones, (2B,C,h,w).
    """
    scores = []
    for feature, truth in zip(drawn, truths, strict=True):
        samples = feature.split(len(truth))
        far = torch.stack([distance(one, truth) for one in samples]).mean()
        scores.append(far - variety / 2 * distance(*samples) if len(samples) == 2 else far)
    return torch.stack(scores)
