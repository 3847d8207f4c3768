"""Codecs by name, as `gsc eval` compares them: an image and a setting in, real bytes and a picture out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import peers
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.profiles import ProfileError, load_profile

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


@dataclass(frozen=True)
class Ours:
    """A codec of this package by name: a profile, and how it is used, as in ``nano:realism=1:caption=descriptor``.

    realism, steps, seed  of the decoder; 0, the profile's and 0 by default
    selection             of channels; the profile's by default
    caption               ``off`` (default), ``descriptor`` or ``model``
    """

    profile: str
    realism: float = 0.0
    steps: int | None = None
    seed: int = 0
    selection: str | None = None
    caption: str = "off"

    @classmethod
    def of(cls, name: str) -> Ours:
        """What ``name`` means; raises ValueError with one line."""
        head, *parts = name.split(":")
        kinds: dict[str, Callable[[str], Any]] = {
            "realism": float, "steps": int, "seed": int, "selection": str, "caption": str,
        }  # fmt: skip
        options = {}
        for part in parts:
            key, _, value = part.partition("=")
            if key not in kinds:
                raise ValueError(f"codec {name!r}: {key!r} is none of {', '.join(kinds)}")
            try:
                options[key] = kinds[key](value)
            except ValueError as error:
                raise ValueError(f"codec {name!r}: {key} {value!r} is not a number") from error
        load_profile(head)
        return cls(head, **options)

    def coding(self) -> Coding:
        """Packet bytes with head, and the picture."""
        from gsc_ros.decoder import Decoder, DecodeSettings
        from gsc_ros.encoder import Encoder, EncodeSettings

        encoder, decoder = Encoder.load(self.profile), Decoder.load(self.profile)
        coding = EncodeSettings(caption_mode=self.caption, caption_refresh=1, selection=self.selection)
        painting = DecodeSettings(realism=self.realism, steps=self.steps, seed=self.seed)

        def code(image: Image, setting: Setting) -> Coded:
            wished = replace(coding, max_bytes=setting.max_bytes, channels=setting.channels)
            packet = encoder.for_another_camera().encode(image, wished).packet
            picture = decoder.for_another_camera().decode(packet, painting).image
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


def is_ours(name: str) -> bool:
    """Whether ``name`` is a profile of this package rather than a peer."""
    return name not in peers.PEERS and name != "halved"


def check(names: Sequence[str]) -> None:
    """Raise ValueError with one line for codecs that are not known."""
    for name in names:
        if is_ours(name):
            try:
                Ours.of(name)
            except ProfileError as error:
                known = f"{', '.join(peers.PEERS)}, halved and profiles, e.g. nano:realism=1:caption=descriptor"
                raise ValueError(f"codec {name!r}: {error}; {known} are known") from error


def coding(name: str, *, most: int) -> Coding:
    """The codec called ``name``; ``most`` is the largest budget."""
    if is_ours(name):
        return Ours.of(name).coding()
    return halved if name == "halved" else peer(name, most)
