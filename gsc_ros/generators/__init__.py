"""Generators: (P, y_sel) -> image."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.latents.geometry import Geometry
from gsc_ros.profile_fields import Field, ProfileError, Reads

MAX_PIXELS = 1 << 21  # that are painted of a frame, unless told otherwise: all of what the encoder codes

if TYPE_CHECKING:
    from gsc_ros.latents.layout import LatentLayout
    from gsc_ros.latents.quantised import InSteps, QuantisedLatents
    from gsc_ros.profiles import Profile

MOST_STEPS = {"nano_flow": 16, "flux": 100}
BACK_ENDS = {
    "nano_flow": Reads(
        files=("flow.safetensors", "confidence.safetensors"),
        optional=("painter.safetensors",),
        latents=("nano",),
        defaults={
            "steps": Field(kind=int, low=1, high=MOST_STEPS["nano_flow"], required=True),
            "realism": Field(kind=float, low=0, high=1, required=True),
        },
    ),
    "flux": Reads(
        fields={
            "flux": Field(
                kind=dict,
                required=True,
                fields={
                    "base": Field(required=True),
                    "control": Field(),
                    "memory": Field(choices=("full", "offload", "nf4", "fp8")),
                    "dtype": Field(choices=("float32", "bfloat16", "float16")),
                    "guidance": Field(kind=float, low=0, high=100),
                    "max_text_tokens": Field(kind=int, low=1, high=512),
                    "compile": Field(kind=bool),
                },
            )
        },
        defaults={
            "steps": Field(kind=int, low=1, high=MOST_STEPS["flux"], required=True),
            "realism": Field(kind=float, low=1, high=1, required=True),
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a generator is given of one frame.

    symbols  channel id -> (rows, columns), the channels that were sent; whole numbers unless the view is at rest
    level    the quality level they stand for
    caption  P; empty where nothing was said
    steps    of the flow
    realism  0: the most faithful picture, 1: the most plausible; not every generator has both
    seed     of the noise; one seed gives one picture
    max_pixels  that are painted; a larger frame is painted smaller, and enlarged
    """

    symbols: InSteps
    level: int
    geometry: Geometry
    caption: str
    steps: int
    realism: float
    seed: int
    max_pixels: int = MAX_PIXELS

    def canvas(self, layout: LatentLayout) -> Geometry:
        """At which scale the frame is painted."""
        return self.geometry.within(self.max_pixels, layout)

    def same_as(self, other: Request) -> bool:
        """Whether both ask for the same picture."""
        plain = ("level", "geometry", "caption", "steps", "realism", "seed", "max_pixels")
        return (
            all(getattr(self, name) == getattr(other, name) for name in plain)
            and self.symbols.keys() == other.symbols.keys()
            and all(np.array_equal(plane, other.symbols[channel]) for channel, plane in self.symbols.items())
        )


@dataclass(frozen=True)
class Painted:
    """A picture (H,W,3) of uint8, RGB, and whatever else its generator needs to tell how far to trust it."""

    image: NDArray[np.uint8]
    evidence: Any = None


class Generator(Protocol):
    """What the decoder asks of a generator."""

    def generate_batch(self, requests: Sequence[Request]) -> list[Painted]:
        """The pictures of frames that are :func:`alike`; raises ValueError for steps or realism that it does not have."""
        ...

    def confidence(self, request: Request, painted: Painted) -> NDArray[np.uint8]:
        """How far to trust each pixel of it, (H,W), 255: fully."""
        ...


def alike(request: Request) -> Hashable:
    """What requests have in common that can be painted in one batch."""
    return request.geometry, request.steps, request.realism, request.max_pixels


def generate_together(generator: Generator, requests: Sequence[Request]) -> list[Painted]:
    """The pictures of any requests, in as few batches as there are kinds of them."""
    kinds: dict[Hashable, list[int]] = {}
    for index, request in enumerate(requests):
        kinds.setdefault(alike(request), []).append(index)
    found: dict[int, Painted] = {}
    for indices in kinds.values():
        found |= zip(indices, generator.generate_batch([requests[index] for index in indices]), strict=True)
    return [found[index] for index in range(len(requests))]


def load_generator(profile: Profile, latents: QuantisedLatents, *, device: str = "cpu") -> Generator:
    """The generator that ``profile`` names; raises ProfileError for one that is not known or not there."""
    if profile.generator == "nano_flow":
        from gsc_ros.generators.nano import NanoGenerator

        return NanoGenerator.load(profile, latents, device=device)
    if profile.generator == "flux":
        from gsc_ros.generators.flux import FluxGenerator

        return FluxGenerator.load(profile, latents, device=device)
    raise ProfileError(
        f"profile {profile.name!r} names the generator {profile.generator!r}: {', '.join(BACK_ENDS)} are known"
    )
