"""The generator of nano: the fidelity image, and on it as much of the sampled one as is asked for.

symbols --> fidelity image ----------------+--> blend by realism --> image
                    \\-> rectified flow -----+
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gsc_ros.confidence import Confidence
from gsc_ros.generators import Painted, Request
from gsc_ros.generators.nano_flow import NanoFlow
from gsc_ros.latents.nano import Decoded, NanoLatents
from gsc_ros.latents.quantised import QuantisedLatents
from gsc_ros.profiles import Profile, ProfileError


class NanoGenerator:
    """Needs the nano latents: the fidelity image is theirs."""

    def __init__(self, latents: NanoLatents, flow: NanoFlow, confidence: Confidence) -> None:
        self._latents = latents
        self.flow = flow
        self._confidence = confidence

    @classmethod
    def load(cls, profile: Profile, latents: QuantisedLatents, *, device: str = "cpu") -> NanoGenerator:
        """Weights from the folder of ``profile``."""
        if not isinstance(latents, NanoLatents):
            raise ProfileError(f"profile {profile.name!r}: the generator nano_flow needs the latents nano")
        flow = NanoFlow.load(profile.weights, channels=latents.layout.channels, levels=latents.levels, device=device)
        return cls(latents, flow, Confidence.load(profile.weights, latents))

    def generate(self, request: Request) -> Painted:
        if not 0.0 <= request.realism <= 1.0:
            raise ValueError(f"realism {request.realism}: 0 to 1 are allowed")
        latents, geometry = self._latents, request.geometry
        decoded = latents.synthesise(request.symbols, request.level, geometry)
        picture = decoded.image.clamp(0, 1)
        if request.realism > 0:
            condition = latents.condition(list(request.symbols), request.level)
            sampled = self.flow.generate(decoded, request.caption, condition, steps=request.steps, seed=request.seed)
            picture = picture + request.realism * (sampled - picture)
        working = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
        image = np.rint(255 * geometry.enlarge(working, latents.layout).clip(0, 1)).astype(np.uint8)
        return Painted(image, decoded)

    def confidence(self, request: Request, painted: Painted) -> NDArray[np.uint8]:
        decoded: Decoded = painted.evidence
        shown = painted.image if request.realism > 0 else None
        return self._confidence.map(decoded, shown, request.symbols, request.level, request.geometry)
