"""The nano generator's network: a small U-Net and its control branch.

                     text, t
                        |
    z_t --> stem --> encoder --skips--> decoder --> predicted x
                        ^                  ^
                        |    zero convs    |
    fidelity image, --> control encoder ---+      (a second encoder, joined by zero-initialised
    y_hat, level                                   convolutions, as the paper's trainable copy)

x is the residual on the fidelity image, in units of ``RESIDUAL_SCALE``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.generators.text_embedding import TextEmbedding
from gsc_ros.latents.transform import Down, Up, zeroed

WIDTHS = (64, 96, 144)  # at 1/4, 1/8 and 1/16 of the working resolution
EMBEDDING = 128
RESIDUAL_SCALE = 0.1


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
    """Features at the three resolutions, from features at 1/4."""

    def __init__(self) -> None:
        super().__init__()
        w4, w8, w16 = WIDTHS
        self.block4 = ConditionedBlock(w4)
        self.down8 = Down(w4, w8)
        self.block8 = ConditionedBlock(w8)
        self.down16 = Down(w8, w16)
        self.block16 = ConditionedBlock(w16)

    def forward(self, x: Tensor, embedding: Tensor, extra16: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        f4 = self.block4(x, embedding)
        f8 = self.block8(self.down8(f4), embedding)
        f16 = self.down16(f8)
        return f4, f8, self.block16(f16 if extra16 is None else f16 + extra16, embedding)


class ControlBranch(nn.Module):
    """The fidelity image and the latent, through an encoder of their own and zero convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 4, stride=4)
        self.latent = nn.Conv2d(channels, WIDTHS[2], 1)
        self.encoder = Encoder()
        self.join = nn.ModuleList([zeroed(nn.Conv2d(width, width, 1)) for width in WIDTHS])

    def forward(self, fidelity: Tensor, control: Tensor, embedding: Tensor) -> list[Tensor]:
        features = self.encoder(self.stem(2 * fidelity - 1), embedding, self.latent(control))
        return [conv(feature) for conv, feature in zip(self.join, features, strict=True)]


class FlowNetwork(nn.Module):
    """Predicts x from z_t, guided by caption and latent."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        w4, w8, w16 = WIDTHS
        self.text = TextEmbedding(EMBEDDING)
        self.condition = nn.Linear(levels + channels, EMBEDDING)
        self.time = nn.Sequential(nn.Linear(32, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.stem = nn.Conv2d(3, w4, 4, stride=4)
        self.encoder = Encoder()
        self.control = ControlBranch(channels)
        self.middle = ConditionedBlock(w16)
        self.up8 = Up(w16, w8)
        self.merge8 = nn.Conv2d(2 * w8, w8, 1)
        self.back8 = ConditionedBlock(w8)
        self.up4 = Up(w8, w4)
        self.merge4 = nn.Conv2d(2 * w4, w4, 1)
        self.back4 = ConditionedBlock(w4)
        self.last4 = ConditionedBlock(w4)
        self.out = nn.Conv2d(w4, 48, 1)

    def guidance(
        self, fidelity: Tensor, control: Tensor, condition: Tensor, bags: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """All that does not depend on t, once a frame: the control features and the embedding."""
        embedding = self.text(bags) + self.condition(condition)
        return self.control(fidelity, control, F.silu(embedding)), embedding

    def forward(self, z: Tensor, t: Tensor, guidance: tuple[list[Tensor], Tensor]) -> Tensor:
        """Predicted x, (B,3,h,w), for z_t (B,3,h,w) at t (B,)."""
        features, embedding = guidance
        embedding = F.silu(embedding + self.time(time_features(t)))
        f4, f8, f16 = (own + given for own, given in zip(self.encoder(self.stem(z), embedding), features, strict=True))
        x = self.up8(self.middle(f16, embedding))
        x = self.up4(self.back8(self.merge8(torch.cat([x, f8], dim=1)), embedding))
        x = self.last4(self.back4(self.merge4(torch.cat([x, f4], dim=1)), embedding), embedding)
        return F.pixel_shuffle(self.out(x), 4)
