"""Latents as whole numbers of steps: what every back end shares.

image --> analyse --> y --> quantise --> symbols --> coder --> bytes
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.entropy.channels import WIDEST, ChannelCoder, ChannelTables, Expected
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.memory import Remembered

Planes = dict[int, NDArray[np.float32]]
Symbols = dict[int, NDArray[np.int64]]
InSteps = Mapping[int, NDArray[np.int64] | NDArray[np.float32]]  # symbols, or values between them (gsc_ros.steady)

# With memory a value stays what it was in the earlier frame unless it is farther from that than so
# many steps: half a step would let noise move symbols of a still scene back and forth.
HOLD = 0.65


class QuantisedLatents(ABC):
    """A latent y of ``layout``, quantised at one of ``levels`` and coded under integer tables.

    step            quantisation steps, (levels, N)
    gain            squared error in the image, in sums over pixels, for each squared unit of y, (N,)
    level_aimed     the level at which bytes show most: the scale is chosen so that they afford it; None: frames are
                    coded at their own size while anything fits
    searches        whether :meth:`search` finds anything
    """

    level_aimed: int | None = None
    searches = False

    def __init__(
        self,
        layout: LatentLayout,
        tables: ChannelTables,
        *,
        step: NDArray[np.float32],
        gain: NDArray[np.float32],
        memory: ChannelTables | None = None,
        device: str = "cpu",
    ) -> None:
        self.layout = layout
        self.levels = len(step)
        self.device = device
        self.step = step
        self.gain = gain
        self.coder = ChannelCoder(tables, layout)
        self._memory_coder = ChannelCoder(memory, layout) if memory else None

    @abstractmethod
    def analyse(self, x: Tensor) -> Planes:
        """y of every channel, unquantised, for an image (1,3,h,w) at working resolution."""

    def picture(self, symbols: InSteps, level: int, geometry: Geometry) -> NDArray[np.float32] | None:
        """What the symbols show, (h,w,3) in 0..1 at working resolution; None where that takes a generator."""
        return None

    def search(self, x: Tensor, symbols: Symbols, level: int, geometry: Geometry, *, steps: int, most: int) -> Symbols:
        """``symbols``, or better ones for ``x`` that take at most ``most`` bytes where they build on no earlier frame."""
        return symbols

    def tensor(self, image: NDArray[np.uint8]) -> Tensor:
        """(h,w,3) of uint8 -> (1,3,h,w) of float32 in 0..1 on the device."""
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float().div_(255)

    @property
    def has_memory(self) -> bool:
        """Whether frames of this profile can build on earlier ones."""
        return self._memory_coder is not None

    def quantise(
        self,
        planes: Mapping[int, NDArray[np.float32]],
        level: int,
        rounding: float = 0.5,
        expected: Expected | None = None,
        hold: float = HOLD,
    ) -> Symbols:
        """Symbols at quality ``level``: whole numbers of steps, towards zero below ``rounding`` of the next.

        With ``expected`` a value that is within ``hold`` steps of what is expected stays there.
        """
        symbols = {}
        for channel, plane in planes.items():
            steps = plane / self.step[level, channel]
            whole = np.copysign(np.floor(np.abs(steps) + (1.0 - rounding)), steps)
            if expected is not None:
                before = (expected.planes[channel] + 4) >> 3
                whole = np.where(np.abs(steps - before) < hold, before, whole)
            symbols[channel] = np.clip(whole, -WIDEST, WIDEST).astype(np.int64)
        return symbols

    def expect(self, reference: Remembered, level: int) -> Expected:
        """What ``reference`` says about a frame at ``level``, in integers alone."""
        assert self._memory_coder is not None
        steps = self._memory_coder.tables.steps
        assert steps is not None
        then, now = steps[reference.level], steps[level]
        nominal = Geometry(reference.height, reference.width, reference.scale).nominal
        planes = {}
        for channel in range(self.layout.channels):
            if channel in reference.symbols:
                exact = 8 * reference.symbols[channel].astype(np.int64) * then[channel]
                eighths = np.clip((exact + (now[channel] >> 1)) // now[channel], -8 * WIDEST, 8 * WIDEST)
            else:
                eighths = np.zeros(self.layout.grid(self.layout.group(channel), *nominal), dtype=np.int64)
            planes[channel] = eighths
        return Expected(level=reference.level, planes=planes)

    def coder_for(self, expected: Expected | None) -> ChannelCoder:
        """The channel coder for frames that build on an earlier one, or on none."""
        if expected is None:
            return self.coder
        assert self._memory_coder is not None
        return self._memory_coder

    def dense(self, symbols: InSteps, level: int, geometry: Geometry) -> list[Tensor]:
        """y_hat of every grid, (1,N_g,r,c) each, zero where a channel was not sent."""
        groups = []
        for group, count in enumerate(self.layout.counts):
            dense = np.zeros((1, count, *self.layout.grid(group, *geometry.nominal)), dtype=np.float32)
            first = self.layout.first(group)
            for channel in symbols:
                if self.layout.group(channel) == group:
                    dense[0, channel - first] = symbols[channel] * self.step[level, channel]
            groups.append(torch.from_numpy(dense).to(self.device))
        return groups

    def deviation(self, x: Tensor, symbols: InSteps, level: int) -> NDArray[np.float32]:
        """How far ``x`` (1,3,h,w), encoded again, is from ``symbols``: root mean square over the channels sent, in steps.

        (rows, columns) of the finest grid.
        """
        again = self.analyse(x)
        rows, columns = again[self.layout.channels - 1].shape
        total = np.zeros((rows, columns), dtype=np.float32)
        for channel, plane in symbols.items():
            squared = np.square(again[channel] / self.step[level, channel] - plane)
            factor = rows // plane.shape[0]
            total += squared.repeat(factor, axis=0).repeat(factor, axis=1)
        return np.sqrt(total / len(symbols))

    def distance(self, planes: Planes, symbols: Mapping[int, NDArray[np.integer]], level: int) -> float:
        """Predicted squared error, in sums over pixels, of ``symbols`` at ``level`` as a picture of ``planes``."""
        return sum(
            float(self.gain[channel] * np.square(plane - symbols.get(channel, 0) * self.step[level, channel]).sum())
            for channel, plane in planes.items()
        )

    def gains(self, symbols: Mapping[int, NDArray[np.int64]], level: int) -> dict[int, float]:
        """Predicted reduction of the squared error that each channel brings, in sums over pixels."""
        return {
            channel: float(self.gain[channel] * np.square(plane * self.step[level, channel]).sum())
            for channel, plane in symbols.items()
        }


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma of an RGB image."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
