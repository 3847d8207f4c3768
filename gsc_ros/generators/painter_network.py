"""The painter: a rectified flow's network whose picture leaves through convolutions.

    g_s at 1/32   1/16   1/8       y_hat     fidelity image          of the painted picture
          |        |      |          |             |
          +--------+------+--- 1x1 --+------ 3x3 --+
          v        v      v                        v
    blocks 1/32 -> 1/16 -> 1/8 -> 1/4 ---------> 1/2 --3x3--> half --bicubic--+
          ^        ^      ^      ^                ^ \\                         +--> x
          |        |      |      |                |  \\--> full size --3x3--> fine
          +--------+------+------+----- z_t ------+------------^

x is the residual on the fidelity image, twice its size, in units of ``RESIDUAL_SCALE``: ``half`` at the size of the fidelity image,
enlarged, and ``fine``, which is zero in the mean of every 2x2 pixels. So a loss that looks at shapes takes
``half`` alone and a quarter of the time. z_t is only read, by patches; what is painted passes overlapping kernels at every size.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.generators.flow_network import EMBEDDING, ConditionedBlock, time_features
from gsc_ros.latents.transform import WIDTHS as SYNTHESIS
from gsc_ros.latents.transform import Down, Up, zeroed

WIDTHS = (160, 128, 96, 64, 32)  # at 1/32, 1/16, 1/8, 1/4 and 1/2 of the painted picture
DEPTHS = (2, 3, 3, 2, 0)  # blocks there; at 1/2 a convolution is all there is
FINE = 16  # channels at full size

Pyramid = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Guidance:
    """All that does not depend on t: what is added at 1/32, 1/16, 1/8 and 1/2, and the embedding (B,EMBEDDING)."""

    at: dict[int, Tensor]
    embedding: Tensor

    def repeated(self, samples: int) -> Guidance:
        """For several samples of every picture: (samples * B,...)."""
        at = {stage: torch.cat([guide] * samples) for stage, guide in self.at.items()}
        return Guidance(at, torch.cat([self.embedding] * samples))


def whole(half: Tensor, fine: Tensor) -> Tensor:
    """x (B,3,2h,2w) of its two parts."""
    return F.interpolate(half, scale_factor=2, mode="bicubic", align_corners=False) + fine


class FineHead(nn.Module):
    """Features at half size (B,32,h,w) and z_t (B,3,2h,2w) -> ``fine`` (B,3,2h,2w)."""

    def __init__(self) -> None:
        super().__init__()
        self.up = Up(WIDTHS[-1], FINE)
        self.noise = nn.Conv2d(3, FINE, 3, padding=1)
        self.conv = nn.Conv2d(FINE, FINE, 3, padding=1)
        self.out = zeroed(nn.Conv2d(FINE, 3, 3, padding=1))

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        x = self.out(F.silu(self.conv(F.silu(self.up(features) + self.noise(z)))))
        return x - F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="nearest")


class NoiseReader(nn.Module):
    """z_t at 1/2, 1/4, 1/8, 1/16 and 1/32, in that order."""

    def __init__(self) -> None:
        super().__init__()
        rising = WIDTHS[::-1]
        self.half_size = nn.Conv2d(3 * 4, rising[0], 1)
        self.quarter_size = nn.Conv2d(3 * 16, rising[1], 1)
        self.downs = nn.ModuleList([Down(wide, narrow) for wide, narrow in itertools.pairwise(rising[1:])])

    def forward(self, z: Tensor) -> list[Tensor]:
        features = [self.half_size(F.pixel_unshuffle(z, 2)), self.quarter_size(F.pixel_unshuffle(z, 4))]
        for down in self.downs:
            features.append(down(F.silu(features[-1])))
        return features


class PainterNetwork(nn.Module):
    """Predicts x from z_t, guided by what g_s makes of the symbols."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.condition = nn.Linear(levels + channels, EMBEDDING)
        self.time = nn.Sequential(nn.Linear(32, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.latent = nn.Conv2d(channels, WIDTHS[0], 1)
        self.guides = nn.ModuleList(
            [nn.Conv2d(given, width, 1) for given, width in zip(SYNTHESIS[::-1], WIDTHS[:3], strict=True)]
        )
        self.picture = nn.Conv2d(3, WIDTHS[-1], 3, padding=1)
        self.reader = NoiseReader()
        self.blocks = nn.ModuleList(
            [
                nn.ModuleList([ConditionedBlock(width) for _ in range(depth)])
                for width, depth in zip(WIDTHS, DEPTHS, strict=True)
            ]
        )
        self.ups = nn.ModuleList([Up(narrow, wide) for narrow, wide in itertools.pairwise(WIDTHS)])
        self.norm = nn.LayerNorm(WIDTHS[-1], elementwise_affine=False)
        self.last = nn.Conv2d(WIDTHS[-1], WIDTHS[-1], 3, padding=1)
        self.out = zeroed(nn.Conv2d(WIDTHS[-1], 3, 3, padding=1))
        self.fine = FineHead()

    def guidance(self, fidelity: Tensor, pyramid: Pyramid, control: Tensor, condition: Tensor) -> Guidance:
        """Once a frame: ``fidelity`` (B,3,h,w), g_s's ``pyramid``, y_hat on the finer grid (B,N,h/16,w/16)."""
        at = {stage: guide(feature) for stage, (guide, feature) in enumerate(zip(self.guides, pyramid, strict=True))}
        at[0] = at[0] + self.latent(control)
        at[len(WIDTHS) - 1] = self.picture(2 * fidelity - 1)
        return Guidance(at, self.condition(condition))

    def painted(self, z: Tensor, t: Tensor, guidance: Guidance) -> tuple[Tensor, Tensor]:
        """``half`` of the predicted x for z_t (B,3,2h,2w) at t (B,), and the features from which ``fine`` is made."""
        embedding = F.silu(guidance.embedding + self.time(time_features(t)))
        read = self.reader(z)[::-1]
        x = read[0]
        for stage, blocks in enumerate(self.blocks):
            if stage:
                x = self.ups[stage - 1](x) + read[stage]
            if stage in guidance.at:
                x = x + guidance.at[stage]
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x, embedding)
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(
            0, 3, 1, 2
        )  # else what is painted swings with the trunk's scale
        x = F.silu(self.last(normed))
        return self.out(x), x

    def forward(self, z: Tensor, t: Tensor, guidance: Guidance) -> Tensor:
        """Predicted x, (B,3,2h,2w)."""
        half, features = self.painted(z, t, guidance)
        return whole(half, self.fine(features, z))
