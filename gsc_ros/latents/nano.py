"""The nano latents at run time: image -> y -> symbols, and symbols -> fidelity image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.entropy.channels import ChannelTables
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.latents.quantised import InSteps, Planes, QuantisedLatents, Symbols
from gsc_ros.latents.search import Problem, search
from gsc_ros.weights import Weights, fill

LEVEL_AIMED = 14  # docs/nano.md, "The encoder's choice"


@dataclass(frozen=True)
class Decoded:
    """What the latents of one frame say.

    image     the fidelity image (3,h,w), nominally 0..1
    control   y_hat of all channels on the finer grid (1,N,r,c): the generator's control map
    features  what the decoder made of it at each position of that grid (F,r,c)
    pyramid   the same and what became of it at two and four times that size, on the way to the image, each (1,F',r',c')
    """

    image: Tensor
    control: Tensor
    features: Tensor
    pyramid: tuple[Tensor, Tensor, Tensor]

    def picture(self) -> NDArray[np.float32]:
        """The fidelity image as (h,w,3) in 0..1."""
        return np.ascontiguousarray(self.image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())


class NanoLatents(QuantisedLatents):
    """Analysis, quantisation and fidelity synthesis with trained weights, on one device."""

    level_aimed = LEVEL_AIMED
    searches = True

    def __init__(
        self, codec: NanoCodec, tables: ChannelTables, memory: ChannelTables | None = None, *, device: str = "cpu"
    ) -> None:
        # Convolutions on CPUs take a sixth less time with channels last.
        self.codec = codec.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        super().__init__(
            codec.layout,
            tables,
            step=codec.steps.log_step.detach().exp().cpu().numpy(),
            gain=codec.gain.detach().cpu().numpy(),
            memory=memory,
            device=device,
        )

    @classmethod
    def load(cls, weights: Weights, *, device: str = "cpu") -> NanoLatents:
        """Networks from ``codec.safetensors``, tables from ``channels.safetensors`` and, where it is there, ``memory.safetensors``."""
        layout, memory = LatentLayout(), "memory.safetensors"
        codec = cls.load_codec(weights)
        return cls(
            codec,
            ChannelTables.load(weights, "channels.safetensors", layout, levels=codec.levels),
            ChannelTables.load(weights, memory, layout, memory=True, levels=codec.levels)
            if memory in weights
            else None,
            device=device,
        )

    @staticmethod
    def load_codec(weights: Weights) -> NanoCodec:
        """The codec of ``codec.safetensors``; ProfileError where it is of another shape than this version's."""
        return fill(NanoCodec(), weights, "codec.safetensors")

    def analyse(self, x: Tensor) -> Planes:
        with torch.inference_mode():
            groups = self.codec.analysis(x)
        planes = [plane for group in groups for plane in group[0].cpu().numpy()]
        return dict(enumerate(planes))

    def synthesise(self, symbols: InSteps, level: int, geometry: Geometry) -> Decoded:
        """The fidelity image of the sent ``symbols`` at working resolution."""
        lead, rest = self.dense(symbols, level, geometry)
        condition = self.condition(list(symbols), level)
        with torch.inference_mode():
            pyramid = self.codec.synthesis.pyramid(self.codec.synthesis.features(lead, rest, condition))
            image = self.codec.synthesis.image_of(pyramid)
        return Decoded(image=image[0], control=self.control_map(lead, rest), features=pyramid[0][0], pyramid=pyramid)

    def picture(self, symbols: InSteps, level: int, geometry: Geometry) -> NDArray[np.float32]:
        return self.synthesise(symbols, level, geometry).picture()

    def search(self, x: Tensor, symbols: Symbols, level: int, geometry: Geometry, *, steps: int, most: int) -> Symbols:
        problem = Problem(self.codec, x, torch.tensor([level], device=self.device), self._sent(list(symbols)))
        begin = [
            (plane / step).round()
            for plane, step in zip(self.dense(symbols, level, geometry), self.codec.steps(problem.level), strict=True)
        ]

        def whole(groups: Sequence[Tensor]) -> Symbols:
            planes = [plane for group in groups for plane in group[0].cpu().numpy().astype(np.int64)]
            return {channel: planes[channel] for channel in symbols}

        def size(groups: Sequence[Tensor]) -> int:
            return len(self.coder.encode(whole(groups), level, *geometry.nominal))

        return whole(search(problem, begin, steps=steps, most=most, size=size))

    @staticmethod
    def control_map(lead: Tensor, rest: Tensor) -> Tensor:
        """Both grids on the finer one, (B,20,r,c): what the generator's control branch is given."""
        return torch.cat([torch.nn.functional.interpolate(lead, scale_factor=2, mode="nearest"), rest], dim=1)

    def condition(self, channels: Sequence[int], level: int) -> Tensor:
        return self.codec.condition(torch.tensor([level], device=self.device), self._sent(channels))

    def _sent(self, channels: Sequence[int]) -> Tensor:
        sent = torch.zeros(1, self.layout.channels, device=self.device)
        sent[0, list(channels)] = 1
        return sent
