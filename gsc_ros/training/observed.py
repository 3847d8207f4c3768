"""What a trained codec lets a generator see of pictures: symbols, the fidelity image, and g_s's features on the way to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_ros.generators.painter_network import Guidance, PainterNetwork, Pyramid
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.nano import NanoLatents


@dataclass(frozen=True)
class Observed:
    """Of B pictures at working resolution (h,w).

    symbols    whole numbers of steps on both grids, zero in channels that were not sent
    fidelity   the fidelity images (B,3,h,w) in 0..1
    pyramid    g_s's features at 1/16, 1/8 and 1/4
    control    y_hat on the finer grid (B,N,h/16,w/16)
    condition  level and channels sent (B, levels + channels)
    """

    symbols: tuple[Tensor, Tensor]
    fidelity: Tensor
    pyramid: Pyramid
    control: Tensor
    condition: Tensor

    def guidance(self, network: PainterNetwork) -> Guidance:
        return network.guidance(self.fidelity, self.pyramid, self.control, self.condition)


def rounded(codec: NanoCodec, x: Tensor, level: Tensor, sent: Tensor) -> tuple[Tensor, Tensor]:
    """The symbols of ``x`` (B,3,h,w) at quality ``level`` (B,), zero in channels that are not ``sent`` (B,N)."""
    lead = codec.layout.counts[0]
    masks = sent[:, :lead, None, None], sent[:, lead:, None, None]
    planes = zip(codec.analysis(x), codec.steps(level), masks, strict=True)
    y64, y32 = ((y.float() / step).round() * mask for y, step, mask in planes)
    return y64, y32


@torch.no_grad()
def observed(codec: NanoCodec, x: Tensor, level: Tensor, sent: Tensor) -> Observed:
    """What is seen of ``x`` (B,3,h,w) in 0..1 at quality ``level`` (B,) when the channels ``sent`` (B,N) of 0 and 1 are sent."""
    symbols = rounded(codec, x, level, sent)
    y64, y32 = (plane * step for plane, step in zip(symbols, codec.steps(level), strict=True))
    condition = codec.condition(level, sent)
    pyramid = codec.synthesis.pyramid(codec.synthesis.features(y64, y32, condition))
    fidelity = codec.synthesis.image_of(pyramid).float().clamp(0, 1)
    return Observed(symbols, fidelity, pyramid, NanoLatents.control_map(y64, y32), condition)
