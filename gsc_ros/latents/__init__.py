"""Latents: image -> y, symbols -> fidelity image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsc_ros.latents.nano import NanoLatents
    from gsc_ros.profiles import Profile


def load_latents(profile: Profile, *, device: str = "cpu") -> NanoLatents:
    """The latent back end that ``profile`` names; raises ValueError for one that is not known."""
    if profile.latents == "nano":
        from gsc_ros.latents.nano import NanoLatents

        return NanoLatents.load(profile.weights, device=device)
    raise ValueError(f"profile {profile.name!r} names the latents {profile.latents!r}: nano is known")
