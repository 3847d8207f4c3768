"""The learned transforms of the nano codec: g_a (image -> y) and g_s (y_hat -> fidelity image).

    x (B,3,h,w) -patchify 4-> 48 --/2--> 112 --/2--> 160 ---------> y32 (B,16,h/16,w/16)
                                                      \\--/2--> 160 -> y64 (B,4,h/32,w/32)

g_s is its mirror image, with more blocks: the base station has the time. Both work at half the frame's resolution: h = H/2 and w = W/2 are
multiples of 32, so that y32 has stride 32 and y64 stride 64 in pixels of the frame.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.latents.layout import LatentLayout

WIDTHS = (48, 112, 160)  # channels at 1/4, 1/8 and 1/16 (and 1/32) of the working resolution


Layer = TypeVar("Layer", bound=nn.Module)


def zeroed(layer: Layer) -> Layer:
    """``layer`` with all its parameters at zero: where training starts from doing nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResBlock(nn.Module):
    """x + conv3(silu(conv3(norm(x)))); the norm is over the channels of one position.

    It keeps training stable at high learning rates, and because it looks at nothing but one
    position, a model trained on crops behaves alike on whole frames.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv2(F.silu(self.conv1(normed)))


class Down(nn.Module):
    """Half the resolution: 2x2 pixels become one, then a linear map."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """Twice the resolution: a linear map, then one position becomes 2x2."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, 4 * width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def blocks(width: int, count: int) -> list[ResBlock]:
    """``count`` residual blocks, one after the other."""
    return [ResBlock(width) for _ in range(count)]


class Analysis(nn.Module):
    """g_a: image at working resolution, (B,3,h,w) in 0..1 -> (y64, y32), before division by the step."""

    def __init__(self, layout: LatentLayout) -> None:
        super().__init__()
        w4, w8, w16 = WIDTHS
        self.stem = nn.Conv2d(3, w4, 4, stride=4)
        self.fine = nn.Sequential(*blocks(w4, 2), Down(w4, w8), *blocks(w8, 3), Down(w8, w16))
        self.mid = nn.Sequential(*blocks(w16, 4))
        self.coarse = nn.Sequential(Down(w16, w16), *blocks(w16, 2))
        self.head64 = nn.Conv2d(w16, layout.counts[0], 1)
        self.head32 = nn.Conv2d(w16, layout.counts[1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mid = self.mid(self.fine(self.stem(2.0 * x - 1.0)))
        return self.head64(self.coarse(mid)), self.head32(mid)


class Synthesis(nn.Module):
    """g_s: (y64_hat, y32_hat) -> the fidelity image (B,3,h,w), nominally 0..1 and not clamped.

    ``condition`` (B, quality levels + channels) says at which quality level the symbols were
    quantised and which channels were sent (1) or are absent (0): an absent channel and one
    that was sent as zero mean different things.
    """

    def __init__(self, layout: LatentLayout, levels: int) -> None:
        super().__init__()
        w4, w8, w16 = WIDTHS
        self.condition = nn.Linear(levels + layout.channels, w16)
        self.in64 = nn.Conv2d(layout.counts[0], w16, 1)
        self.in32 = nn.Conv2d(layout.counts[1], w16, 1)
        self.coarse = nn.Sequential(*blocks(w16, 4), Up(w16, w16))
        self.mid = nn.Sequential(*blocks(w16, 7))
        self.fine = nn.Sequential(Up(w16, w8), *blocks(w8, 5), Up(w8, w4), *blocks(w4, 2))
        self._quarter = 6  # of its layers work at 1/8
        self.out = nn.Conv2d(w4, 48, 1)

    def features(self, y64: Tensor, y32: Tensor, condition: Tensor) -> Tensor:
        """What the decoder knows at each position of the finer grid, (B,160,h/16,w/16)."""
        bias = self.condition(condition)[:, :, None, None]
        return self.mid(self.coarse(self.in64(y64) + bias) + self.in32(y32) + bias)

    def pyramid(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What becomes of :meth:`features` on the way to the image: at 1/16, 1/8 (B,112,h/8,w/8) and 1/4 (B,48,h/4,w/4)."""
        eighth = self.fine[: self._quarter](features)
        return features, eighth, self.fine[self._quarter :](eighth)

    def image(self, features: Tensor) -> Tensor:
        """The fidelity image of :meth:`features`."""
        return self.image_of(self.pyramid(features))

    def image_of(self, pyramid: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The fidelity image of a :meth:`pyramid`."""
        return 0.5 + 0.5 * F.pixel_shuffle(self.out(pyramid[-1]), 4)

    def forward(self, y64: Tensor, y32: Tensor, condition: Tensor) -> Tensor:
        return self.image(self.features(y64, y32, condition))


class Steps(nn.Module):
    """Quantisation steps by quality level and channel: y_hat = step * round(y / step)."""

    def __init__(self, layout: LatentLayout, levels: int) -> None:
        super().__init__()
        self.layout = layout
        start = torch.linspace(1.0, -0.9, levels)[:, None].repeat(1, layout.channels)
        self.log_step = nn.Parameter(start)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Steps of the two grids, each (B,channels,1,1), for ``level`` (B,) of int64."""
        step = self.log_step[level].exp()[:, :, None, None]
        lead = self.layout.counts[0]
        return step[:, :lead], step[:, lead:]
