"""The context model of the channels: what a symbol is likely to be, given those already known.

Channels are coded in the order of their ids, each in two passes over a checkerboard. A symbol
sees the 3x3 neighbourhood of every earlier channel and, in the second pass, the twelve nearest
symbols of its own channel that the first pass has sent; and it knows its place in the frame. With
memory it also sees the 3x3 neighbourhood of every channel of an earlier frame that both ends hold. Two
hidden layers turn these integers into the location mu and the scale of a discretised logistic distribution.

This is the float form that is trained; :mod:`gsc_ros.entropy.channels` runs the same network in
integers, so that both ends of the link agree to the last bit on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.entropy.channels import ACTIVITIES, PLACES, places
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.latents.transform import zeroed

HIDDEN = 32
MIN_LOG_SCALE, MAX_LOG_SCALE = -2.5, 3.0


def checkerboard(height: int, width: int, *, device: torch.device | str = "cpu") -> Tensor:
    """1.0 where the second pass codes, 0.0 where the first does: (height, width) of float32."""
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)[None, :]
    return ((rows + columns) % 2).float()


@lru_cache(maxsize=64)
def place_planes(rows: int, columns: int, device: torch.device) -> Tensor:
    """:func:`gsc_ros.entropy.channels.places` for the float form, (1,PLACES,rows,columns)."""
    with torch.inference_mode(False):  # kept: training may be the next to ask
        planes = torch.from_numpy(places(rows, columns)).float().div(64).view(1, PLACES, rows, columns)
        return planes.to(device)


class GridContext(nn.Module):
    """Context model of the channels of one grid; coarser channels enter as earlier ones.

    With ``memory`` it is given an earlier frame's symbols too, and its condition goes on with that
    frame's quality level and with how much has changed since (``ACTIVITIES`` classes). With ``alone``
    no channel sees another one: for latents of so many channels that few of them are ever sent together.
    """

    def __init__(
        self,
        earlier: int,
        channels: int,
        levels: int,
        all_channels: int,
        *,
        memory: bool = False,
        alone: bool = False,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = hidden
        inputs = earlier + channels
        self.reference = zeroed(nn.Conv2d(inputs, channels * hidden, 3, padding=1, bias=False)) if memory else None
        conditions = levels + (0 if alone else all_channels) + (levels + ACTIVITIES if memory else 0)
        self.across = None if alone else nn.Conv2d(inputs, channels * hidden, 3, padding=1)
        self.within = nn.Conv2d(channels, channels * hidden, 5, padding=2, groups=channels)
        self.condition = nn.Linear(conditions, channels * hidden)
        self.second = nn.Parameter(torch.zeros(channels * hidden, 1, 1))
        self.place = nn.Conv2d(PLACES, channels * hidden, 1, bias=False)
        self.middle = nn.Conv2d(channels * hidden, channels * hidden, 1, groups=channels)
        self.out = nn.Conv2d(channels * hidden, 2 * channels, 1, groups=channels)
        self.across_mask: Tensor
        self.within_mask: Tensor
        target = torch.arange(channels).repeat_interleave(hidden)
        source = torch.arange(inputs) - earlier
        self.register_buffer("across_mask", (source[None, :] < target[:, None]).float()[:, :, None, None])
        self.register_buffer("within_mask", checkerboard(5, 5)[None, None])
        with torch.no_grad():
            if self.across is not None:
                self.across.weight.mul_(0.3)
            self.within.weight.mul_(0.3)
            self.place.weight.mul_(0.3)
            self.out.weight.mul_(0.3)

    def forward(
        self, earlier: Tensor | None, symbols: Tensor, condition: Tensor, reference: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Location and log scale of every symbol, each shaped as ``symbols`` (B,channels,r,c).

        ``reference`` (B,earlier+channels,r,c): the earlier frame's y_hat in steps of the present level.
        """
        rows, columns = symbols.shape[2:]
        place = self.place(place_planes(rows, columns, symbols.device))
        hidden = self.condition(condition)[:, :, None, None] + place
        if self.across is not None:
            inputs = symbols if earlier is None else torch.cat([earlier, symbols], dim=1)
            hidden = hidden + F.conv2d(inputs, self.across.weight * self.across_mask, self.across.bias, padding=1)
        if self.reference is not None:
            assert reference is not None
            hidden = hidden + self.reference(reference)
        within = F.conv2d(
            symbols, self.within.weight * self.within_mask, self.within.bias, padding=2, groups=self.channels
        )
        hidden = hidden + checkerboard(rows, columns, device=symbols.device) * (within + self.second)
        mu, log_scale = self.out(F.relu(self.middle(F.relu(hidden)))).unflatten(1, (self.channels, 2)).unbind(2)
        return mu, log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


class ContextModel(nn.Module):
    """The context models of both grids."""

    def __init__(self, layout: LatentLayout, levels: int, *, memory: bool = False) -> None:
        super().__init__()
        lead, rest = layout.counts
        self.grid64 = GridContext(0, lead, levels, layout.channels, memory=memory)
        self.grid32 = GridContext(lead, rest, levels, layout.channels, memory=memory)

    def forward(
        self,
        symbols64: Tensor,
        symbols32: Tensor,
        condition: Tensor,
        reference: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Location and log scale of the symbols of both grids; ``reference`` as they are shaped."""
        up = F.interpolate(symbols64, scale_factor=2, mode="nearest")
        if reference is None:
            return self.grid64(None, symbols64, condition), self.grid32(up, symbols32, condition)
        before = torch.cat([F.interpolate(reference[0], scale_factor=2, mode="nearest"), reference[1]], dim=1)
        return (
            self.grid64(None, symbols64, condition, reference[0]),
            self.grid32(up, symbols32, condition, before),
        )


def bits(values: Tensor, mu: Tensor, log_scale: Tensor) -> Tensor:
    """Cost in bits of ``values`` (integers, or integers with uniform noise) under the model."""
    inverse = torch.exp(-log_scale)
    distance = (values - mu).abs()
    # The logistic is symmetric: on the side where the distribution function is small there is
    # no cancellation.
    upper = torch.sigmoid((0.5 - distance) * inverse)
    lower = torch.sigmoid((-0.5 - distance) * inverse)
    return -torch.log2((upper - lower).clamp_min(1e-6))
