"""Codecs by name, as `gsc eval` compares them: an image and a setting in, real bytes and a picture out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import peers
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """What a codec may spend on an image, and of ours how many channels."""

    max_bytes: int
    channels: int | None = None

    @property
    def name(self) -> str:
        return f"{self.max_bytes} B" + ("" if self.channels is None else f", C={self.channels}")


@dataclass(frozen=True)
class Coded:
    """Bytes that count, bytes of the whole file, and the picture."""

    bytes: int
    file_bytes: int
    picture: Image


Coding = Callable[[Image, Setting], Coded]


def ours(profile: str, *, realism: float, caption_mode: str, selection: str | None = None) -> Coding:
    """A profile of this package: packet bytes with head, and the picture at ``realism``."""
    from gsc_ros.decoder import Decoder, DecodeSettings
    from gsc_ros.encoder import Encoder, EncodeSettings

    encoder, decoder = Encoder.load(profile), Decoder.load(profile)
    settings = EncodeSettings(caption_mode=caption_mode, caption_refresh=1, selection=selection)

    def code(image: Image, setting: Setting) -> Coded:
        wished = replace(settings, max_bytes=setting.max_bytes, channels=setting.channels)
        packet = encoder.for_another_camera().encode(image, wished).packet
        picture = decoder.for_another_camera().decode(packet, DecodeSettings(realism=realism)).image
        return Coded(len(packet), len(packet), picture)

    return code


def halved(image: Image, setting: Setting) -> Coded:
    """No codec: what is left of a picture at half size, the ceiling for nano."""
    geometry = Geometry(image.shape[0], image.shape[1], 1)
    small = geometry.shrink(image, layout := LatentLayout()).astype(np.float32)
    return Coded(0, 0, np.rint(geometry.enlarge(small, layout).clip(0, 255)).astype(np.uint8))


def peer(name: str, most: int) -> Coding:
    """A classical codec; what it made of an image, up to ``most`` bytes, is kept for the next setting."""
    last: dict[int, Any] = {}

    def code(image: Image, setting: Setting) -> Coded:
        if id(image) not in last:
            last.clear()
            last[id(image)] = image, peers.candidates(image, name, most)
        chosen = peers.best(last[id(image)][1], setting.max_bytes)
        return Coded(chosen.bytes, chosen.file_bytes, chosen.picture)

    return code


OURS: dict[str, dict[str, Any]] = {
    "nano": {"realism": 0.0, "caption_mode": "off"},
    "nano-sampled": {"realism": 1.0, "caption_mode": "descriptor"},
    "nano-sampled-silent": {"realism": 1.0, "caption_mode": "off"},
    "nano-ssim": {"realism": 0.0, "caption_mode": "off", "selection": "ssim"},
    "nano-rate": {"realism": 0.0, "caption_mode": "off", "selection": "rate"},
}
CODECS = (*OURS, *peers.PEERS, "halved")


def check(names: Sequence[str]) -> None:
    """Raise ValueError with one line for codecs that are not known."""
    if unknown := [name for name in names if name not in CODECS]:
        raise ValueError(f"unknown codec {', '.join(unknown)}: {', '.join(CODECS)} are known")


def coding(name: str, *, profile: str, most: int) -> Coding:
    """The codec called ``name``; ``profile`` are the weights of ours, ``most`` the largest budget."""
    makers: dict[str, Callable[[], Coding]] = {
        **{own: partial(ours, profile, **options) for own, options in OURS.items()},
        **{other: partial(peer, other, most) for other in peers.PEERS},
        "halved": lambda: halved,
    }
    check([name])
    return makers[name]()
