"""Generators: (P, y_sel) -> image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsc_ros.generators.nano_flow import NanoFlow
    from gsc_ros.latents.nano import NanoLatents
    from gsc_ros.profiles import Profile


def load_generator(profile: Profile, latents: NanoLatents, *, device: str = "cpu") -> NanoFlow:
    """The generator that ``profile`` names; raises ValueError for one that is not known."""
    if profile.generator == "nano_flow":
        from gsc_ros.generators.nano_flow import NanoFlow

        return NanoFlow.load(profile.weights, channels=latents.layout.channels, levels=latents.levels, device=device)
    raise ValueError(f"profile {profile.name!r} names the generator {profile.generator!r}: nano_flow is known")
