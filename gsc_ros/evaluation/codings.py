"""Codecs by name, as `gsc eval` compares them: an image, a setting and the image's name in, real bytes and a picture out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsc_ros import __version__
from gsc_ros.evaluation import files, peers
from gsc_ros.evaluation.coded import Coded, Coding, Image, Setting
from gsc_ros.evaluation.noise_control import MATCHED, matched_noise
from gsc_ros.evaluation.reconstructions import Reconstructions
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.profiles import ProfileError, load_profile


@dataclass(frozen=True)
class Ours:
    """A codec of this package by name: a profile, and how it is used, as in ``nano:realism=1:caption=descriptor``.

    realism, steps, seed  of the decoder; 0, the profile's and 0 by default
    selection             of channels; the profile's by default
    caption               ``off`` (default), ``descriptor`` or ``model``
    words                 of the caption that are sent, the first ones; all by default
    search                steps that look for better symbols; 0 by default
    noise                 ``matched``: the picture with white luma noise until its gradient energy is the original's (noise_control.py)
    """

    profile: str
    realism: float = 0.0
    steps: int | None = None
    seed: int = 0
    selection: str | None = None
    caption: str = "off"
    words: int | None = None
    search: int = 0
    noise: str | None = None

    @classmethod
    def of(cls, name: str) -> Ours:
        """What ``name`` means; raises ValueError with one line."""
        head, *parts = name.split(":")
        kinds: dict[str, Callable[[str], Any]] = {
            "realism": float, "steps": int, "seed": int, "selection": str, "caption": str, "words": int,
            "search": int, "noise": str,
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
        if options.get("noise") not in (None, MATCHED):
            raise ValueError(f"codec {name!r}: noise {options['noise']!r} is not {MATCHED}")
        load_profile(head)
        return cls(head, **options)

    def coding(self, device: str) -> Coding:
        """Packet bytes with head, and the picture."""
        from gsc_ros.decoder import Decoder, DecodeSettings
        from gsc_ros.encoder import Encoder, EncodeSettings

        encoder, decoder = Encoder.load(self.profile, device=device), Decoder.load(self.profile, device=device)
        coding = EncodeSettings(
            caption_mode=self.caption, caption_refresh=1, selection=self.selection, search=self.search
        )
        painting = DecodeSettings(realism=self.realism, steps=self.steps, seed=self.seed)

        def code(image: Image, setting: Setting, name: str) -> Coded:
            wished = replace(coding, max_bytes=setting.max_bytes, channels=setting.channels)
            if self.words is not None:
                whole = encoder.for_another_camera().encode(image, replace(coding, max_bytes=None)).caption
                wished = replace(wished, caption_mode="fixed", caption=" ".join(whole.split()[: self.words]))
            packet = encoder.for_another_camera().encode(image, wished).packet
            picture = decoder.for_another_camera().decode(packet, painting).image
            if self.noise is not None:
                picture = matched_noise(picture, image, seed=self.seed)
            return Coded(len(packet), len(packet), picture)

        return code


def original(image: Image, setting: Setting, name: str) -> Coded:
    """No codec at all: what the tasks score on the images themselves."""
    return Coded(0, 0, image)


def halved(image: Image, setting: Setting, name: str) -> Coded:
    """No codec: what is left of a picture at half size, the ceiling for nano."""
    geometry = Geometry(*image.shape[:2])
    small = geometry.shrink(image, LatentLayout()).astype(np.float32)
    return Coded(0, 0, np.rint(geometry.enlarge(small).clip(0, 255)).astype(np.uint8))


def peer(codec: str, most: int) -> Coding:
    """A classical codec; what it made of an image, up to ``most`` bytes, is kept for the next setting."""
    last: dict[int, Any] = {}

    def code(image: Image, setting: Setting, name: str) -> Coded:
        if id(image) not in last:
            last.clear()
            last[id(image)] = image, peers.candidates(image, codec, most)
        chosen = peers.best(last[id(image)][1], setting.max_bytes)
        return Coded(chosen.bytes, chosen.file_bytes, chosen.picture)

    return code


NO_CODECS: dict[str, Coding] = {"original": original, "halved": halved}


def is_ours(name: str) -> bool:
    """Whether ``name`` is a profile of this package rather than a peer."""
    return name not in peers.PEERS and name not in NO_CODECS and "@" not in name


def settings(name: str, asked: Sequence[Setting]) -> list[Setting]:
    """Those of ``asked`` in which the codec ``name`` differs: channels are ours alone, and no codec spends no bytes."""
    if is_ours(name):
        return list(asked)
    found = list(dict.fromkeys(replace(setting, channels=None) for setting in asked))
    return found[:1] if name in NO_CODECS else found


def label(name: str) -> str:
    """What tables call the codec ``name``: of ``NAME@DIR`` the name."""
    return name.split("@", 1)[0]


def state(name: str) -> list[str]:
    """What else than its name the results of a codec depend on: version, weights and defaults of ours, files of others' folders."""
    if is_ours(name):
        profile = load_profile(Ours.of(name).profile)
        return [
            __version__,
            profile.fingerprint,
            *(f"{key} {value}" for key, value in sorted(profile.defaults.items())),
            *files.state(profile.weights),  # the fingerprint is of what both ends share: not the generator
        ]
    return files.state(Reconstructions.of(name).root) if "@" in name else []


def check(names: Sequence[str]) -> None:
    """Raise ValueError with one line for codecs that are not known."""
    for name in names:
        if "@" in name:
            Reconstructions.of(name)
        elif is_ours(name):
            try:
                Ours.of(name)
            except ProfileError as error:
                known = f"{', '.join((*peers.PEERS, *NO_CODECS))}, NAME@DIR and profiles, e.g. nano:realism=1:caption=descriptor"
                raise ValueError(f"codec {name!r}: {error}; {known} are known") from error
    if len(set(map(label, names))) < len(names):
        raise ValueError(f"codecs {', '.join(names)}: two of them have the same name")


def coding(name: str, *, most: int, device: str = "cpu") -> Coding:
    """The codec called ``name``, ours on ``device``; ``most`` is the largest budget."""
    if "@" in name:
        return Reconstructions.of(name).code
    if is_ours(name):
        return Ours.of(name).coding(device)
    return NO_CODECS[name] if name in NO_CODECS else peer(name, most)
