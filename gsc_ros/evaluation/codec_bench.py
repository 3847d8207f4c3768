"""Codecs at byte budgets on a folder of images: the table of docs/nano.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import peers
from gsc_ros.evaluation.metrics import gradient_energy, ms_ssim, psnr
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.sources import image_folder

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """Means over the images. ``max_bytes`` is the largest packet, ``over`` how many exceed the budget."""

    codec: str
    budget: int
    images: int
    bytes: float
    max_bytes: int
    over: int
    psnr: float
    ms_ssim: float
    gradient_energy: float


Coding = Callable[[Image, int], tuple[int, Image]]


def nano(profile: str, channels: int | None, *, realism: float, caption: bool, selection: str | None = None) -> Coding:
    """Our codec: packet bytes with head, and the picture at ``realism``."""
    from gsc_ros.decoder import Decoder, DecodeSettings
    from gsc_ros.encoder import Encoder, EncodeSettings

    encoder, decoder = Encoder.load(profile), Decoder.load(profile)

    def code(image: Image, budget: int) -> tuple[int, Image]:
        settings = EncodeSettings(
            max_bytes=budget,
            channels=channels,
            caption_mode="descriptor" if caption else "off",
            caption_refresh=1,
            selection=selection,
        )
        packet = encoder.encode(image, settings).packet
        return len(packet), decoder.decode(packet, DecodeSettings(realism=realism)).image

    return code


def halved(image: Image, budget: int) -> tuple[int, Image]:
    """No codec: what is left of a picture at half size, the ceiling for ours."""
    geometry = Geometry(image.shape[0], image.shape[1], 1)
    small = geometry.shrink(image, layout := LatentLayout()).astype(np.float32)
    return 0, np.rint(geometry.enlarge(small, layout).clip(0, 255)).astype(np.uint8)


def peer(name: str, most: int) -> Coding:
    """A classical codec; what it made of an image, up to ``most`` bytes, is kept for the next budget."""
    last: dict[int, Any] = {}

    def code(image: Image, budget: int) -> tuple[int, Image]:
        if id(image) not in last:
            last.clear()
            last[id(image)] = peers.candidates(image, name, most)
        chosen = peers.best(image, last[id(image)], budget)
        return chosen.bytes, chosen.picture

    return code


def codings(names: Sequence[str], profile: str, most: int, channels: int | None) -> dict[str, Coding]:
    """The codecs called ``names``: nano, nano-sampled, nano-ssim, nano-rate, halved, av1, vvc; raises ValueError for others."""
    known: dict[str, Callable[[], Coding]] = {
        "nano": lambda: nano(profile, channels, realism=0.0, caption=False),
        "nano-sampled": lambda: nano(profile, channels, realism=1.0, caption=True),
        "nano-ssim": lambda: nano(profile, channels, realism=0.0, caption=False, selection="ssim"),
        "nano-rate": lambda: nano(profile, channels, realism=0.0, caption=False, selection="rate"),
        "halved": lambda: halved,
        **{name: partial(peer, name, most) for name in peers.PEERS},
    }
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown codec {', '.join(unknown)}: {', '.join(known)} are known")
    return {name: known[name]() for name in names}


def measure(
    images: Path,
    budgets: Sequence[int],
    names: Sequence[str],
    profile: str,
    done: Callable[[], None],
    *,
    match: bool = False,
    channels: int | None = None,
) -> Iterator[Row]:
    """The rows, codec by codec; ``done`` is called after each image and codec.

    ``channels``: ours send at most C of them. ``match``: every codec after the first may spend, on each image, what the first one spent on it.
    """
    pictures = list(image_folder(images))
    allowed = {(index, budget): budget for index in range(len(pictures)) for budget in budgets}
    for name, code in codings(names, profile, max(budgets), channels).items():
        figures: dict[int, list[tuple[float, ...]]] = {budget: [] for budget in budgets}
        for index, image in enumerate(pictures):
            detail = max(gradient_energy(image), 1e-9)
            for budget in budgets:
                size, picture = code(image, allowed[index, budget])
                if match and name == names[0]:
                    allowed[index, budget] = size
                figures[budget].append(
                    (size, psnr(image, picture), ms_ssim(image, picture), gradient_energy(picture) / detail)
                )
            done()
        for budget, rows in figures.items():
            table = np.array(rows)
            means = table.mean(axis=0)
            yield Row(
                name,
                budget,
                len(rows),
                float(means[0]),
                int(table[:, 0].max()),
                int((table[:, 0] > budget).sum()),
                *map(float, means[1:]),
            )
