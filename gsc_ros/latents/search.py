"""Better symbols for one image, by gradient descent through the decoder and the context model.

What g_a makes of an image is good on average over images; for this one there are better symbols. They are found by
stochastic Gumbel annealing (Yang, Bamler and Mandt, "Improving Inference for Neural Image Compression", 2020): every
value is rounded up or down at random, the likelier the nearer, softly at first and ever harder, and moves to where
distortion and bits are less. The base station decodes them as any others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_ros.entropy.channels import WIDEST
from gsc_ros.entropy.context import bits
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.objective import distortion, price
from gsc_ros.precision import has_bfloat16

LEARNING_RATE = 0.01  # of Adam, in quantisation steps
HOT, COLD = 1.0, 0.03  # temperature of the rounding, first and least
COOLING = 3.0  # natural logarithm of the first temperature over the last
EVERY = 5  # steps: the price of a bit follows the bytes that the nearest symbols take
DEARER = 1.25  # the price at first, as a part of the one in training
FOLLOW, SETTLE = 2.0, 0.2  # powers of what they take, as a part of what they may, in the price: at once, and for good
SHOWN = 0.5  # of the steps: from here on the nearest symbols are looked at


@dataclass(frozen=True)
class Problem:
    """One image and how it is to be coded.

    image    x (1,3,h,w) in 0..1 at working resolution
    level    quality level
    sent     which channels are sent, (1,N) of 0 and 1; the others stay absent
    """

    codec: NanoCodec
    image: Tensor
    level: Tensor
    sent: Tensor

    @property
    def masks(self) -> tuple[Tensor, ...]:
        lead = self.codec.layout.counts[0]
        return self.sent[:, :lead, None, None], self.sent[:, lead:, None, None]

    def picture(self, symbols: Sequence[Tensor]) -> Tensor:
        """What ``symbols``, whole or between, show: (1,3,h,w)."""
        planes = [plane * step for plane, step in zip(symbols, self.codec.steps(self.level), strict=True)]
        return self.codec.synthesis(*planes, self.codec.condition(self.level, self.sent))

    def distortion(self, picture: Tensor) -> Tensor:
        """Of ``picture``, in float32."""
        return distortion(picture.float(), self.image, self.level / (self.codec.levels - 1)).sum()

    def bits(self, symbols: Sequence[Tensor]) -> Tensor:
        """That ``symbols`` take, by the context model."""
        models = self.codec.context(*symbols, self.codec.condition(self.level, self.sent))
        costs = (bits(plane, *model) * mask for plane, model, mask in zip(symbols, models, self.masks, strict=True))
        return torch.stack([cost.sum() for cost in costs]).sum()


def search(
    problem: Problem,
    begin: Sequence[Tensor],
    *,
    steps: int,
    most: int,
    size: Callable[[Sequence[Tensor]], int],
    seed: int = 0,
) -> Sequence[Tensor]:
    """The best symbols found in ``steps`` that take at most ``most`` bytes, or ``begin``: whole numbers (1,N_g,r,c).

    ``begin`` is what is sent without a search; values start at what g_a says, where that rounds to it. ``size`` counts
    the bytes that symbols take: the price of a bit follows them. The wide layers of the descent run in bfloat16 where
    that pays; what is found is judged, counted and decoded in float32 all the same.
    """
    device = problem.image.device
    with torch.inference_mode():
        best, least = begin, float(problem.distortion(problem.picture(begin)))
    draws = torch.Generator(device=device).manual_seed(seed)
    values = [plane.clone().requires_grad_() for plane in _between(problem, begin)]
    optimizer = torch.optim.Adam(values, lr=LEARNING_RATE)
    steady = weight = DEARER * float(price(problem.level)) / (4 * problem.image.shape[2] * problem.image.shape[3])
    for step in range(1, steps + 1):
        temperature = max(HOT * math.exp(-COOLING * (step - 1) / steps), COLD)
        symbols = [rounded(value, temperature, draws) * mask for value, mask in zip(values, problem.masks, strict=True)]
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            picture = problem.picture(symbols)
        loss = problem.distortion(picture) + weight * problem.bits(symbols)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % EVERY and step < steps:
            continue
        with torch.inference_mode():
            whole = [
                value.round().clamp(-WIDEST, WIDEST) * mask for value, mask in zip(values, problem.masks, strict=True)
            ]
            taken = size(whole)
            over = taken / max(most - 0.5, 1)
            steady *= over**SETTLE
            weight = steady * over**FOLLOW
            if taken <= most and step >= SHOWN * steps:
                far = float(problem.distortion(problem.picture(whole)))
                if far < least:
                    best, least = whole, far
    return best


def rounded(values: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
    """``values`` rounded up or down at random, the likelier the nearer; the lower the ``temperature`` (above 0), the nearer to whole."""
    below = values.floor().detach()
    part = (values - below).clamp(1e-4, 1 - 1e-4)
    nearer_up = (torch.atanh(part) - torch.atanh(1 - part)) / temperature
    chance = torch.rand(values.shape, generator=draws, device=values.device).clamp(1e-6, 1 - 1e-6)
    return below + torch.sigmoid((nearer_up + torch.logit(chance)) / temperature)


def _between(problem: Problem, begin: Sequence[Tensor]) -> list[Tensor]:
    """What g_a says, in steps, brought to within half a step of ``begin``."""
    with torch.inference_mode():
        planes = [
            plane / step
            for plane, step in zip(
                problem.codec.analysis(problem.image), problem.codec.steps(problem.level), strict=True
            )
        ]
        return [torch.clamp(plane, near - 0.5, near + 0.5) for plane, near in zip(planes, begin, strict=True)]
