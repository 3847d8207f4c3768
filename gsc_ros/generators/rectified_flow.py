"""The rectified flow: straight paths between data at t=0 and noise at t=1 (paper eq. 3 to 6).

    z_t = (1 - t) x + t n          dz/dt = v = n - x

FLUX predicts the velocity v. Our own small network predicts x, and the velocity follows from it,
v = (z_t - x) / t. The paper writes eq. 4 with the direction of t reversed; this is FLUX's convention.
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


def matching_loss(velocity: Tensor, x: Tensor, noise: Tensor, weight: Tensor | None = None) -> Tensor:
    """Flow matching (eq. 6): the squared distance of the predicted ``velocity`` (B,...) from n - x, in the mean.

    ``weight`` (B,) counts samples differently: t**2 makes it the squared error of the predicted x.
    """
    squared = (velocity.float() - (noise - x).float()).square()
    if weight is not None:
        squared = weight.view(-1, *[1] * (x.dim() - 1)) * squared
    return squared.mean()


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


def velocity(z: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """v at ``z`` (B,...) on the straight path to the predicted data ``x`` (B,...) at t (B,)."""
    return (z - x) / t.view(-1, *[1] * (z.dim() - 1))


def sample(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, times: Sequence[float]) -> Tensor:
    """Euler's method (eq. 3) from ``noise`` (B,...) at ``times[0]`` down to data at ``times[-1]`` = 0.

    ``predict(z, t)`` returns the velocity for t (B,). Sums are taken in float32 whatever the
    type of ``noise``, in which ``predict`` is asked and the result is given.
    """
    z = noise
    for now, then in itertools.pairwise(times):
        t = torch.full((noise.shape[0],), now, device=noise.device)
        z = (z.float() + (then - now) * predict(z, t)).to(noise.dtype)
    return z
