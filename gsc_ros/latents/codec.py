"""The nano codec as one trainable module: transforms, steps and context model together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.entropy.context import ContextModel, bits
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.latents.transform import Analysis, Steps, Synthesis

LEVELS = 32


@dataclass(frozen=True)
class CodecOutput:
    """What one training pass yields: the image (B,3,h,w) and the bits of each frame (B,)."""

    image: Tensor
    bits: Tensor
    symbols: tuple[Tensor, Tensor]


class NanoCodec(nn.Module):
    """g_a, quantisation, context model and g_s of the nano profile."""

    def __init__(self, layout: LatentLayout | None = None, levels: int = LEVELS) -> None:
        super().__init__()
        self.layout = layout or LatentLayout()
        self.levels = levels
        self.analysis = Analysis(self.layout)
        self.synthesis = Synthesis(self.layout, levels)
        self.steps = Steps(self.layout, levels)
        self.context = ContextModel(self.layout, levels)
        # Squared error in the image per squared unit of y, by channel; measured after training.
        self.gain = nn.Buffer(torch.ones(self.layout.channels))

    def condition(self, level: Tensor, sent: Tensor) -> Tensor:
        """(B, levels + channels): the level one-hot, then which channels were sent."""
        return torch.cat([F.one_hot(level, self.levels).to(sent.dtype), sent], dim=1)

    def forward(self, x: Tensor, level: Tensor, sent: Tensor) -> CodecOutput:
        """One pass at quality ``level`` (B,) with the channels ``sent`` (B,N) of 0 and 1.

        Image and bits are those of rounded symbols. The image's gradient passes straight through
        the rounding. That of the bits reaches the context model at the rounded symbols, which it
        has to code, and the transforms at symbols with uniform noise: its expectation is the
        difference between the bits of the next symbol up and down, which the slope at a
        rounded symbol is not.
        """
        lead = self.layout.counts[0]
        masks = sent[:, :lead, None, None], sent[:, lead:, None, None]
        steps = self.steps(level)
        condition = self.condition(level, sent)
        scaled = [y.float() / step for y, step in zip(self.analysis(x), steps, strict=True)]
        rounded = [(s + (s.round() - s).detach()) * m for s, m in zip(scaled, masks, strict=True)]
        with torch.autocast(x.device.type, enabled=False):  # whole numbers: they need all their digits
            models = self.context(rounded[0], rounded[1], condition)
        total = torch.zeros(x.shape[0], device=x.device)
        for value, near, mask, (mu, log_scale) in zip(scaled, rounded, masks, models, strict=True):
            exact = bits(near.detach(), mu, log_scale)
            noisy = bits(value + torch.rand_like(value) - 0.5, mu.detach(), log_scale.detach())
            total = total + ((exact + noisy - noisy.detach()) * mask).sum(dim=(1, 2, 3))
        image = self.synthesis(rounded[0] * steps[0], rounded[1] * steps[1], condition)
        return CodecOutput(image=image.float(), bits=total, symbols=(rounded[0], rounded[1]))
