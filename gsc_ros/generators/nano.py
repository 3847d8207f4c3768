"""The generator of nano: the fidelity image, and on it as much of the sampled one as is asked for.

symbols --> fidelity image ----------------+--> blend by realism --> image
                    \\-> rectified flow -----+
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.confidence import Confidence
from gsc_ros.generators import Painted, Request
from gsc_ros.generators.flow_network import enlarged
from gsc_ros.generators.nano_flow import NanoFlow
from gsc_ros.generators.nano_painter import FILE as PAINTER
from gsc_ros.generators.nano_painter import NanoPainter
from gsc_ros.latents.nano import Decoded, NanoLatents
from gsc_ros.latents.quantised import QuantisedLatents
from gsc_ros.profiles import Profile, ProfileError


class NanoGenerator:
    """Needs the nano latents: the fidelity image is theirs."""

    def __init__(self, latents: NanoLatents, flow: NanoFlow | NanoPainter, confidence: Confidence) -> None:
        self._latents = latents
        self.flow = flow
        self._confidence = confidence

    @classmethod
    def load(cls, profile: Profile, latents: QuantisedLatents, *, device: str = "cpu") -> NanoGenerator:
        """Weights from the folder of ``profile``: the painter's where they are there."""
        if not isinstance(latents, NanoLatents):
            raise ProfileError(f"profile {profile.name!r}: the generator nano_flow needs the latents nano")
        kind = NanoPainter if PAINTER in profile.files else NanoFlow
        flow = kind.load(profile.files, channels=latents.layout.channels, levels=latents.levels, device=device)
        return cls(latents, flow, Confidence.load(profile.files, latents))

    def generate_batch(self, requests: Sequence[Request]) -> list[Painted]:
        realism = requests[0].realism
        if not 0.0 <= realism <= 1.0:
            raise ValueError(f"realism {realism}: 0 to 1 are allowed")
        decoded = [self._latents.synthesise(r.symbols, r.level, r.geometry) for r in requests]
        fidelity = torch.stack([d.image for d in decoded]).clamp(0, 1)
        pictures = fidelity
        if realism > 0:
            layout = self._latents.layout
            canvas = requests[0].canvas(layout)
            smaller = _resized(fidelity, canvas.working(layout))
            pictures = enlarged(smaller)
            control = _resized(torch.cat([d.control for d in decoded]), layout.grid(-1, *canvas.nominal))
            conditions = torch.cat([self._latents.condition(list(r.symbols), r.level) for r in requests])
            steps, seeds = requests[0].steps, [r.seed for r in requests]
            if isinstance(self.flow, NanoPainter):
                coarse, middle, fine = (
                    _resized(torch.cat(features), (smaller.shape[2] // part, smaller.shape[3] // part))
                    for part, features in zip((16, 8, 4), zip(*(d.pyramid for d in decoded), strict=True), strict=True)
                )
                sampled = self.flow.generate(
                    smaller, (coarse, middle, fine), control, conditions, steps=steps, seeds=seeds
                )
            else:
                captions = [r.caption for r in requests]
                sampled = self.flow.generate(pictures, control, captions, conditions, steps=steps, seeds=seeds)
            pictures = pictures + realism * (sampled - pictures)
        pixels = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())
        return [Painted(r.geometry.shown(image), d) for r, image, d in zip(requests, pixels, decoded, strict=True)]

    def confidence(self, request: Request, painted: Painted) -> NDArray[np.uint8]:
        decoded: Decoded = painted.evidence
        shown = painted.image if request.realism > 0 else None
        return self._confidence.map(decoded, shown, request.symbols, request.level, request.geometry)


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """``planes`` (B,C,h,w), averaged down where they are larger than ``size``: where a frame is painted smaller.

    The picture of the symbols is shrunk, and not the symbols: g_s makes of their averages something else.
    """
    return planes if planes.shape[2:] == size else F.adaptive_avg_pool2d(planes, size)
