"""The generator of nano: the fidelity image, and on it as much of the sampled one as is asked for.

symbols --> fidelity image ----------------+--> blend by realism --> image
                    \\-> rectified flow -----+
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

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
        kind = NanoPainter if (profile.weights / PAINTER).is_file() else NanoFlow
        flow = kind.load(profile.weights, channels=latents.layout.channels, levels=latents.levels, device=device)
        return cls(latents, flow, Confidence.load(profile.weights, latents))

    def generate_batch(self, requests: Sequence[Request]) -> list[Painted]:
        realism = requests[0].realism
        if not 0.0 <= realism <= 1.0:
            raise ValueError(f"realism {realism}: 0 to 1 are allowed")
        decoded = [self._latents.synthesise(r.symbols, r.level, r.geometry) for r in requests]
        fidelity = torch.stack([d.image for d in decoded]).clamp(0, 1)
        pictures = fidelity
        if realism > 0:
            pictures = enlarged(fidelity)
            conditions = torch.cat([self._latents.condition(list(r.symbols), r.level) for r in requests])
            control, steps, seeds = (
                torch.cat([d.control for d in decoded]),
                requests[0].steps,
                [r.seed for r in requests],
            )
            if isinstance(self.flow, NanoPainter):
                coarse, middle, fine = (
                    torch.cat(features) for features in zip(*(d.pyramid for d in decoded), strict=True)
                )
                sampled = self.flow.generate(
                    fidelity, (coarse, middle, fine), control, conditions, steps=steps, seeds=seeds
                )
            else:
                sampled = self.flow.generate(
                    pictures, control, [r.caption for r in requests], conditions, steps=steps, seeds=seeds
                )
            pictures = pictures + realism * (sampled - pictures)
        pixels = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())
        return [
            Painted(np.rint(255 * r.geometry.enlarge(image).clip(0, 1)).astype(np.uint8), d)
            for r, image, d in zip(requests, pixels, decoded, strict=True)
        ]

    def confidence(self, request: Request, painted: Painted) -> NDArray[np.uint8]:
        decoded: Decoded = painted.evidence
        shown = painted.image if request.realism > 0 else None
        return self._confidence.map(decoded, shown, request.symbols, request.level, request.geometry)
