"""The rectified flow: straight paths between data at t=0 and noise at t=1 (paper eq. 3 to 6).

    z_t = (1 - t) x + t n          dz/dt = v = n - x

The network predicts x; the velocity follows from it, v = (z_t - x) / t. The paper writes eq. 4
with the direction of t reversed; this is FLUX's convention.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

COMMON = 0.9  # of the noise's variance, shared by the colours


def interpolate(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """z_t for data ``x`` and ``noise`` (B,...) at times ``t`` (B,) in 0..1."""
    t = t.view(-1, *[1] * (x.dim() - 1))
    return (1 - t) * x + t * noise


def noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Gaussian noise (B,3,h,w) of unit variance, mostly the same in R, G and B.

    What a fidelity image lacks is mainly luma. Noise that is independent in the three colours
    asks the network to take colour out again, and what it leaves are coloured specks.
    """
    batch, colours, height, width = shape
    grey = torch.randn((batch, 1, height, width), generator=generator)
    own = torch.randn((batch, colours, height, width), generator=generator)
    return COMMON**0.5 * grey + (1 - COMMON) ** 0.5 * own


def timesteps(steps: int) -> list[float]:
    """The times 1 = t_0 > t_1 > ... > t_steps = 0, evenly spaced."""
    return [1 - index / steps for index in range(steps + 1)]


def sample(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Euler's method from ``noise`` (B,...) at t=1 to data at t=0 in ``steps`` steps.

    ``predict(z, t)`` returns the predicted x for t (B,).
    """
    z = noise
    times = timesteps(steps)
    for now, then in itertools.pairwise(times):
        t = torch.full((noise.shape[0],), now, device=noise.device)
        x = predict(z, t)
        z = x + (then / now) * (z - x)
    return z
