"""The nano generator's network: a small U-Net and its control branch.

It paints at twice the codec's working resolution: what the codec cannot hold is the octave above.

                     text, t
                        |
    z_t --> stem --> encoder --skips--> decoder --> predicted x
                        ^                  ^
                        |    zero convs    |
    fidelity image, --> control encoder ---+      (a second encoder, joined by zero-initialised
    y_hat, level                                   convolutions, as the paper's trainable copy)

x is the residual on the fidelity image, twice its size, in units of ``RESIDUAL_SCALE``.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.generators.text_embedding import TextEmbedding
from gsc_ros.latents.transform import Down, Up, zeroed

WIDTHS = (32, 64, 96, 144)  # at 1/4, 1/8, 1/16 and 1/32 of the painted picture
EMBEDDING = 128
RESIDUAL_SCALE = 0.1


def enlarged(fidelity: Tensor) -> Tensor:
    """The fidelity image (B,3,h,w) at the size that is painted, (B,3,2h,2w), bicubic."""
    return F.interpolate(fidelity, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)


def time_features(t: Tensor) -> Tensor:
    """Sines and cosines of ``t`` (B,): (B,32)."""
    angles = t[:, None] * torch.exp(torch.linspace(0, math.log(100.0), 16, device=t.device))[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ConditionedBlock(nn.Module):
    """A residual block whose normalised features are scaled and shifted by the embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zeroed(nn.Linear(EMBEDDING, 2 * width))
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv2(F.silu(self.conv1(normed * (1 + scale) + shift)))


class Encoder(nn.Module):
    """Features at the four resolutions, from features at 1/4; ``extra`` is added at 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ConditionedBlock(width) for width in WIDTHS])
        self.downs = nn.ModuleList([Down(wide, narrow) for wide, narrow in itertools.pairwise(WIDTHS)])

    def forward(self, x: Tensor, embedding: Tensor, extra: Tensor | None = None) -> list[Tensor]:
        features = [self.blocks[0](x, embedding)]
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            x = down(features[-1])
            if extra is not None and len(features) == len(self.downs):
                x = x + extra
            features.append(block(x, embedding))
        return features


class ControlBranch(nn.Module):
    """The fidelity image and the latent, through an encoder of their own and zero convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 4, stride=4)
        self.latent = nn.Conv2d(channels, WIDTHS[-1], 1)
        self.encoder = Encoder()
        self.join = nn.ModuleList([zeroed(nn.Conv2d(width, width, 1)) for width in WIDTHS])

    def forward(self, fidelity: Tensor, control: Tensor, embedding: Tensor) -> list[Tensor]:
        features = self.encoder(self.stem(2 * fidelity - 1), embedding, self.latent(control))
        return [conv(feature) for conv, feature in zip(self.join, features, strict=True)]


class FlowNetwork(nn.Module):
    """Predicts x from z_t, guided by caption and latent."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.text = TextEmbedding(EMBEDDING)
        self.condition = nn.Linear(levels + channels, EMBEDDING)
        self.time = nn.Sequential(nn.Linear(32, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.stem = nn.Conv2d(3, WIDTHS[0], 4, stride=4)
        self.encoder = Encoder()
        self.control = ControlBranch(channels)
        self.middle = ConditionedBlock(WIDTHS[-1])
        back = WIDTHS[::-1]
        self.ups = nn.ModuleList([Up(narrow, wide) for narrow, wide in itertools.pairwise(back)])
        self.merges = nn.ModuleList([nn.Conv2d(2 * width, width, 1) for width in back[1:]])
        self.backs = nn.ModuleList([ConditionedBlock(width) for width in back[1:]])
        self.last = ConditionedBlock(WIDTHS[0])
        self.out = nn.Conv2d(WIDTHS[0], 48, 1)

    def guidance(
        self, fidelity: Tensor, control: Tensor, condition: Tensor, bags: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """All that does not depend on t, once a frame: the control features and the embedding.

        ``fidelity`` (B,3,2h,2w) is the :func:`enlarged` fidelity image, ``control`` (B,N,h/16,w/16) y_hat on the finer grid.
        """
        embedding = self.text(bags) + self.condition(condition)
        return self.control(fidelity, control, F.silu(embedding)), embedding

    def forward(self, z: Tensor, t: Tensor, guidance: tuple[list[Tensor], Tensor]) -> Tensor:
        """Predicted x, (B,3,2h,2w), for z_t (B,3,2h,2w) at t (B,)."""
        given, embedding = guidance
        embedding = F.silu(embedding + self.time(time_features(t)))
        features = [own + guide for own, guide in zip(self.encoder(self.stem(z), embedding), given, strict=True)]
        x = self.middle(features[-1], embedding)
        for up, merge, back, skip in zip(self.ups, self.merges, self.backs, features[-2::-1], strict=True):
            x = back(merge(torch.cat([up(x), skip], dim=1)), embedding)
        return F.pixel_shuffle(self.out(self.last(x, embedding)), 4)
