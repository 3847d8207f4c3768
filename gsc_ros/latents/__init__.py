"""Latents: image -> y, symbols -> y_hat."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsc_ros.latents.layout import LatentLayout
    from gsc_ros.latents.quantised import QuantisedLatents
    from gsc_ros.profiles import Profile


def load_latents(profile: Profile, *, device: str = "cpu") -> QuantisedLatents:
    """The latent back end that ``profile`` names; raises ProfileError for one that is not known or not there."""
    from gsc_ros.profiles import ProfileError

    if profile.latents == "nano":
        from gsc_ros.latents.nano import NanoLatents

        return NanoLatents.load(profile.weights, device=device)
    if profile.latents == "compressai":
        from gsc_ros.latents.compressai import CompressaiLatents

        return CompressaiLatents.load(profile, device=device)
    raise ProfileError(f"profile {profile.name!r} names the latents {profile.latents!r}: nano and compressai are known")


def layout_of(profile: Profile) -> LatentLayout:
    """The channels of ``profile`` and their grids, without loading its weights."""
    from gsc_ros.latents.layout import LatentLayout

    if profile.latents == "compressai":
        return LatentLayout(strides=(16,), counts=(profile.channels,), reduction=1)
    return LatentLayout()
