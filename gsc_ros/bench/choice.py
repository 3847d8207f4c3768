"""How close the encoder's choice comes to the best there is: against trying everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros import budget as fitting
from gsc_ros.bitstream import pack, subset_bytes
from gsc_ros.decoder import Decoder, DecodeSettings
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.evaluation.metrics import SMALLEST_FOR_MS_SSIM, ms_ssim
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.latents.quantised import luma
from gsc_ros.latents.selection import SELECTIONS, ranking, ssim_scores
from gsc_ros.scale import MOST_BLOCKS
from gsc_ros.sources import SUFFIXES, read_file

Image = NDArray[np.uint8]
SCALES = tuple(range(0, 13, 2))
COUNTS = (4, 8, 12, 16, 20)


@dataclass(frozen=True)
class ChoiceRow:
    """Means over the images at one budget; ``share`` is the encoder's MS-SSIM over that of the search."""

    budget: int
    images: int
    ms_ssim: float
    searched: float
    share: float
    worst_share: float
    extra_ms: float  # median, beyond coding at steps and scale that are known
    attempts: int  # that the search coded and decoded for each image


def pictures(folder: Path, count: int) -> list[Image]:
    """``count`` images spread over ``folder`` and the folders in it; raises ValueError where there are fewer."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    found: list[Image] = []
    for path in files[:: max(1, len(files) // (2 * count))]:
        image = read_file(path)
        # Depth maps and label images are no pictures.
        if (
            min(image.shape[:2]) >= SMALLEST_FOR_MS_SSIM
            and len(np.unique(image[::8, ::8].reshape(-1, 3), axis=0)) > 200
        ):
            found.append(image)
        if len(found) == count:
            return found
    if not found:
        raise ValueError(f"no images below {folder}")
    return found


def exhaustive(latents: NanoLatents, encoder: Encoder, image: Image, budget: int) -> tuple[float, int]:
    """Best MS-SSIM of every scale, channel set and the finest steps that each of them affords; and how many those are."""
    best, attempts = -1.0, 0
    head = replace(
        encoder.for_another_camera().encode(image, EncodeSettings(max_bytes=24, caption_mode="off")).frame, channels=b""
    )
    for scale in SCALES:
        geometry = Geometry(image.shape[0], image.shape[1], scale)
        if geometry.blocks(latents.layout) > MOST_BLOCKS:
            continue  # the encoder never does it: too slow
        small = geometry.shrink(image, latents.layout)
        planes = latents.analyse(latents.tensor(small))
        scores = ssim_scores(planes, luma(small))
        gains = _gains(latents, planes, geometry)
        for selection in SELECTIONS:
            order = ranking(selection, scores=scores, gain_per_bit=gains)
            for count in COUNTS:
                if count == COUNTS[-1] and selection != "order":
                    continue  # all channels are the same set however they are ordered
                prefix = selection == "order"
                overhead = len(pack(replace(head, channel_ids=tuple(range(count))))) + (
                    0 if prefix else subset_bytes(head)
                )
                attempt = fitting.attempts(latents, planes, partial(_same, order), geometry.nominal, prefix=prefix)
                choice = fitting.fit(attempt, levels=latents.levels, budget=budget - overhead, most=count)
                if choice is None:
                    continue
                attempts += 1
                shown = geometry.enlarge(latents.synthesise(choice.symbols, choice.level, geometry).picture())
                best = max(best, ms_ssim(image, np.rint(255 * shown.clip(0, 1)).astype(np.uint8)))
    return best, attempts


def _same(order: list[int], level: int) -> list[int]:
    return order


def _gains(latents: NanoLatents, planes: dict[int, NDArray[np.float32]], geometry: Geometry) -> dict[int, float]:
    middle = latents.levels // 2
    symbols = latents.quantise(planes, middle)
    bits = latents.coder.cost(symbols, middle, *geometry.nominal)
    return {channel: gain / (bits[channel] + 8.0) for channel, gain in latents.gains(symbols, middle).items()}


def measure(images: Sequence[Image], budgets: Sequence[int], profile: str, done: Callable[[], None]) -> list[ChoiceRow]:
    """One row a budget; ``done`` is called after each image and budget."""
    encoder, decoder = Encoder.load(profile), Decoder.load(profile)
    latents = encoder.latents
    if not isinstance(latents, NanoLatents):
        raise ValueError(f"profile {profile} has no picture without its generator: the search needs nano's")
    rows = []
    for budget in budgets:
        ours, searched, extra, attempts = [], [], [], 0
        for image in images:
            camera = encoder.for_another_camera()
            settings = EncodeSettings(max_bytes=budget, caption_refresh=1)
            camera.encode(image, settings)  # a camera's first frame warms up caches
            began = time.perf_counter()
            encoded = camera.encode(image, settings)
            chosen = time.perf_counter()
            plain = camera.encode(image, replace(settings, max_bytes=None, level=encoded.frame.level))
            extra.append(1e3 * ((chosen - began) - (time.perf_counter() - chosen)))
            assert len(encoded.packet) <= budget
            assert plain.packet
            ours.append(ms_ssim(image, decoder.decode(encoded.packet, DecodeSettings(realism=0.0)).image))
            value, tried = exhaustive(latents, encoder, image, budget)
            searched.append(value)
            attempts = max(attempts, tried)
            done()
        shares = np.array(ours) / np.array(searched)
        rows.append(
            ChoiceRow(
                budget,
                len(images),
                float(np.mean(ours)),
                float(np.mean(searched)),
                float(np.mean(ours) / np.mean(searched)),
                float(shares.min()),
                float(np.median(extra)),
                attempts,
            )
        )
    return rows
