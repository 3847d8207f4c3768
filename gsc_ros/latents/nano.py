"""The nano latents at run time: image -> y -> symbols, and symbols -> fidelity image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from gsc_ros.entropy.channels import WIDEST, ChannelCoder, ChannelTables, Expected
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.geometry import Geometry
from gsc_ros.memory import Remembered

Planes = dict[int, NDArray[np.float32]]
Symbols = dict[int, NDArray[np.int64]]

# With memory a value stays what it was in the earlier frame unless it is farther from that than so
# many steps: half a step would let noise move symbols of a still scene back and forth.
HOLD = 0.65


@dataclass(frozen=True)
class Decoded:
    """What the latents of one frame say.

    image     the fidelity image (3,h,w), nominally 0..1
    control   y_hat of all channels on the finer grid (1,N,r,c): the generator's control map
    features  what the decoder made of it at each position of that grid (F,r,c)
    """

    image: Tensor
    control: Tensor
    features: Tensor

    def picture(self) -> NDArray[np.float32]:
        """The fidelity image as (h,w,3) in 0..1."""
        return np.ascontiguousarray(self.image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())


class NanoLatents:
    """Analysis, quantisation and fidelity synthesis with trained weights, on one device."""

    def __init__(
        self, codec: NanoCodec, tables: ChannelTables, memory: ChannelTables | None = None, *, device: str = "cpu"
    ) -> None:
        self.codec = codec.to(device).eval().requires_grad_(False)
        self.layout = codec.layout
        self.levels = codec.levels
        self.device = device
        self.coder = ChannelCoder(tables, codec.layout)
        self._memory_coder = ChannelCoder(memory, codec.layout) if memory else None
        self.step: NDArray[np.float32] = codec.steps.log_step.detach().exp().cpu().numpy()
        self.gain: NDArray[np.float32] = codec.gain.detach().cpu().numpy()

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> NanoLatents:
        """Weights from ``codec.safetensors``, tables from ``channels.safetensors`` and ``memory.safetensors`` in ``folder``."""
        codec = NanoCodec()
        codec.load_state_dict({name: value.float() for name, value in load_file(folder / "codec.safetensors").items()})
        memory = folder / "memory.safetensors"
        return cls(
            codec,
            ChannelTables.load(folder / "channels.safetensors"),
            ChannelTables.load(memory) if memory.is_file() else None,
            device=device,
        )

    def tensor(self, image: NDArray[np.uint8]) -> Tensor:
        """(h,w,3) of uint8 -> (1,3,h,w) of float32 in 0..1 on the device."""
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float().div_(255)

    def analyse(self, x: Tensor) -> Planes:
        """y of every channel, unquantised, for an image (1,3,h,w) at working resolution."""
        with torch.inference_mode():
            groups = self.codec.analysis(x)
        planes = [plane for group in groups for plane in group[0].cpu().numpy()]
        return dict(enumerate(planes))

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

    def synthesise(self, symbols: Mapping[int, NDArray[np.int64]], level: int, geometry: Geometry) -> Decoded:
        """The fidelity image of the sent ``symbols`` at working resolution."""
        lead, rest = self.dense(symbols, level, geometry)
        condition = self.condition(list(symbols), level)
        with torch.inference_mode():
            features = self.codec.synthesis.features(lead, rest, condition)
            image = self.codec.synthesis.image(features)
        return Decoded(image=image[0], control=self.control_map(lead, rest), features=features[0])

    def dense(self, symbols: Mapping[int, NDArray[np.int64]], level: int, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """y_hat of both grids, (1,4,r,c) and (1,16,2r,2c), zero where a channel was not sent."""
        groups = []
        for group, count in enumerate(self.layout.counts):
            dense = np.zeros((1, count, *self.layout.grid(group, *geometry.nominal)), dtype=np.float32)
            first = self.layout.first(group)
            for channel in symbols:
                if self.layout.group(channel) == group:
                    dense[0, channel - first] = symbols[channel] * self.step[level, channel]
            groups.append(torch.from_numpy(dense).to(self.device))
        return groups[0], groups[1]

    @staticmethod
    def control_map(lead: Tensor, rest: Tensor) -> Tensor:
        """Both grids on the finer one, (B,20,r,c): what the generator's control branch is given."""
        return torch.cat([torch.nn.functional.interpolate(lead, scale_factor=2, mode="nearest"), rest], dim=1)

    def condition(self, channels: Sequence[int], level: int) -> Tensor:
        sent = torch.zeros(1, self.layout.channels, device=self.device)
        sent[0, list(channels)] = 1
        return self.codec.condition(torch.tensor([level], device=self.device), sent)

    def gains(self, symbols: Mapping[int, NDArray[np.int64]], level: int) -> dict[int, float]:
        """Predicted reduction of the squared error that each channel brings, in sums over pixels."""
        return {
            channel: float(self.gain[channel] * np.square(plane * self.step[level, channel]).sum())
            for channel, plane in symbols.items()
        }


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma of an RGB image."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
