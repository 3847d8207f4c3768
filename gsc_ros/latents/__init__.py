"""Latents: image -> y, symbols -> y_hat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsc_ros.profile_fields import Field, ProfileError, Reads

if TYPE_CHECKING:
    from gsc_ros.latents.layout import LatentLayout
    from gsc_ros.latents.quantised import QuantisedLatents
    from gsc_ros.profiles import Profile

CODECS = ("bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018", "elic2022-official")
BACK_ENDS = {
    "nano": Reads(
        files=("codec.safetensors", "channels.safetensors"),
        optional=("memory.safetensors",),
        shared=True,
        fields={"channels": Field(kind=int, low=20, high=20, required=True)},
        defaults={"level": Field(kind=int, low=0, high=31, required=True)},
    ),
    "compressai": Reads(
        files=("codec.safetensors", "channels.safetensors"),
        shared=True,
        fields={
            "channels": Field(kind=int, low=1, high=1024, required=True),
            "codec": Field(
                kind=dict,
                required=True,
                fields={"model": Field(choices=CODECS, required=True), "quality": Field(kind=int, low=1, high=8)},
            ),
        },
        defaults={"level": Field(kind=int, low=0, high=7, required=True)},
    ),
}


def load_latents(profile: Profile, *, device: str = "cpu") -> QuantisedLatents:
    """The latent back end that ``profile`` names; raises ProfileError for one that is not known or not there."""
    if profile.latents == "nano":
        from gsc_ros.latents.nano import NanoLatents

        return NanoLatents.load(profile.files, device=device)
    if profile.latents == "compressai":
        from gsc_ros.latents.compressai import CompressaiLatents

        return CompressaiLatents.load(profile, device=device)
    raise ProfileError(
        f"profile {profile.name!r} names the latents {profile.latents!r}: {', '.join(BACK_ENDS)} are known"
    )


def layout_of(profile: Profile) -> LatentLayout:
    """The channels of ``profile`` and their grids, without loading its weights."""
    from gsc_ros.latents.layout import LatentLayout

    if profile.latents == "compressai":
        return LatentLayout(strides=(16,), counts=(profile.channels,), reduction=1)
    return LatentLayout()
