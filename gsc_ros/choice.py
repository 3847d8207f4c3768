"""Which channels of a frame are sent, at which steps and scale, built on which earlier frame (eq. 2).

image --> g_a --> y --> rank --> quantise --> channel coder --> bytes
                                   ^ level: the finest that fits   ^ alone, or built on an earlier frame

Byte counts are true: whatever is compared was coded. Likeness is predicted by the level that the
bytes afford, which tells as much as decoding would, and costs nothing. Twice the size alone is decoded
and compared, for there the level does not tell where it fails.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gsc_ros.bitstream import pack, subset_bytes
from gsc_ros.budget import Choice, attempts, fit
from gsc_ros.frame import MAX_SCALE, Frame
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.quantised import Planes, QuantisedLatents, Symbols, luma
from gsc_ros.latents.selection import ranking, ssim_scores
from gsc_ros.memory import Remembered

COMFORTABLE_PIXELS = 1 << 20  # frames above this many pixels are coded at a smaller scale
SMALL_PIXELS = 640 * 512  # up to so many a frame may be coded at twice its size where that looks better,
TWICE_PIXELS = 1 << 19  # up to so many where bytes are left over and there is time for it
TIMES_LONGER = 6  # than at its own size alone it takes to code a frame at both and to compare them, about
NOT_FARTHER = 10**0.03  # twice the size is refused where it costs 0.3 dB: smooth views lose their brightness there
REFINED = 8  # where later frames refine a small one, twice the size pays from so many levels earlier
LEVELS_OF_HALF = 3  # at half the scale, 3 levels are worth one
REFERENCE_BYTES = 3  # what naming another frame takes in the head


@dataclass(frozen=True, kw_only=True)
class ChannelWish:
    """What is asked of the channels of one frame.

    max_bytes   for the whole packet; None: ``level`` decides
    channels    C, at most so many
    keep_all    send all C even where some hold nothing
    references  earlier frames; the frame builds on the one most like it, where that saves bytes
    memory      whether later frames will build on this one
    patience    seconds that coding may take where bytes are left over; None: as long as it takes
    """

    max_bytes: int | None
    channels: int
    keep_all: bool
    level: int
    selection: str
    references: Sequence[Remembered]
    memory: bool
    patience: float | None = None


class ChannelChooser:
    """Chooses for the frames of one camera; the last choice is where the next search begins."""

    def __init__(self, latents: QuantisedLatents) -> None:
        self._latents = latents
        self._near: dict[int, int] = {}  # by scale

    def choose(self, image: NDArray[np.uint8], head: Frame, wish: ChannelWish) -> tuple[Frame, Symbols]:
        """``head`` with channels, and their symbols.

        A budget that affords only coarse steps is spent on a smaller scale, one that affords the finest on a larger one.
        Where later frames will refine this one, the scale stays as long as all channels fit.
        """
        began = time.perf_counter()
        height, width = image.shape[:2]
        start = 1
        while (height * width) >> (2 * (start - 1)) > COMFORTABLE_PIXELS:
            start += 1
        references = [r for r in wish.references if (r.width, r.height) == (width, height)]
        coarsest = self._latents.coarsest_level
        least = coarsest if coarsest is None or not wish.memory else 0

        def at(scale: int, bases: Sequence[Remembered], least: int | None) -> Choice | None:
            wished = replace(wish, references=[base for base in bases if base.scale == scale])
            return self._at_scale(image, Geometry(height, width, scale), head, wished, least=least)

        choice, scale = None, references[0].scale if references else start
        while choice is None and scale <= MAX_SCALE:
            choice = at(scale, references, least if scale < MAX_SCALE else None)
            scale += choice is None
        if choice is None:
            return head, {}
        if choice.reference is not None and scale > start:
            enough = choice.level // LEVELS_OF_HALF
            larger = at(scale - 1, [], enough) if enough >= (coarsest or 0) else None
            if larger is not None:
                choice, scale = larger, scale - 1
        spent = time.perf_counter() - began
        if choice.reference is None and scale == 1 and self._pays_twice(height * width, choice.level, spent, wish):
            larger = at(0, [], None)
            if larger is not None and self._error(image, larger, 0) < NOT_FARTHER * self._error(image, choice, 1):
                choice, scale = larger, 0
        self._near[scale] = choice.level
        return _with_channels(head, scale, choice), choice.symbols

    def _pays_twice(self, pixels: int, level: int, spent: float, wish: ChannelWish) -> bool:
        """Whether a frame whose bytes afford ``level`` at its own size, in ``spent`` seconds, may be better coded at twice that."""
        finest = self._latents.finest_level
        if finest is None or wish.max_bytes is None or pixels > TWICE_PIXELS:
            return False
        if pixels > SMALL_PIXELS:
            hurried = wish.patience is not None and TIMES_LONGER * spent > wish.patience
            return level == self._latents.levels - 1 and not hurried
        return level >= finest - (REFINED if wish.memory else 0)

    def _error(self, image: NDArray[np.uint8], choice: Choice, scale: int) -> float:
        """Mean squared error of what the base will show of ``choice``; infinite where the robot cannot know."""
        geometry = Geometry(image.shape[0], image.shape[1], scale)
        picture = self._latents.picture(choice.symbols, choice.level, geometry)
        if picture is None:
            return math.inf
        shown = geometry.enlarge(picture, self._latents.layout)
        return float(np.square(255 * shown - image).mean())

    def _at_scale(
        self, image: NDArray[np.uint8], geometry: Geometry, head: Frame, wish: ChannelWish, *, least: int | None
    ) -> Choice | None:
        """The best choice at one scale, or None where not one channel fits; with ``least``, where not all at that level do."""
        latents, nominal = self._latents, geometry.nominal
        small = geometry.shrink(image, latents.layout)
        planes = latents.analyse(latents.tensor(small))
        prefix = wish.selection == "order"
        scores = ssim_scores(planes, luma(small)) if wish.selection == "ssim" else dict.fromkeys(planes, 0.0)

        def rank(level: int) -> list[int]:
            gain = self._gain_per_bit(planes, level, nominal) if wish.selection == "rate" else {}
            return ranking(wish.selection, scores=scores, gain_per_bit=gain)

        reference = min(wish.references, key=lambda r: latents.distance(planes, r.symbols, r.level), default=None)
        limited = wish.max_bytes is not None
        keep_all = wish.keep_all and not limited
        alone, built = (
            attempts(latents, planes, rank, nominal, prefix=prefix, reference=base, keep_all=keep_all)
            for base in (None, reference)
        )
        near = self._near.get(geometry.scale, latents.levels // 2) if limited else wish.level
        # A view that has nothing to do with the earlier one is cheaper on its own.
        saves = reference is not None and (
            len(built(near, wish.channels, 0).data) + REFERENCE_BYTES < len(alone(near, wish.channels, 0).data)
        )
        if wish.max_bytes is None:
            return (built if saves else alone)(near, wish.channels, 0)
        overhead = len(pack(replace(head, channel_ids=tuple(range(wish.channels)))))
        budget = wish.max_bytes - overhead - (0 if prefix else subset_bytes(head))
        choice = None
        if saves:
            assert reference is not None
            choice = fit(
                built, levels=latents.levels, budget=budget - REFERENCE_BYTES,
                most=wish.channels, near=max(near, reference.level), least=least,
            )  # fmt: skip
        return choice or fit(alone, levels=latents.levels, budget=budget, most=wish.channels, near=near, least=least)

    def _gain_per_bit(self, planes: Planes, level: int, nominal: tuple[int, int]) -> dict[int, float]:
        """Predicted reduction of the squared error by each channel, for each bit that it costs."""
        symbols = self._latents.quantise(planes, level)
        bits = self._latents.coder.cost(symbols, level, *nominal)
        return {channel: gain / (bits[channel] + 8.0) for channel, gain in self._latents.gains(symbols, level).items()}


def _with_channels(head: Frame, scale: int, choice: Choice) -> Frame:
    frame = replace(
        head, scale=scale, level=choice.level, channel_ids=tuple(sorted(choice.symbols)), channels=choice.data
    )
    if choice.reference is None:
        return frame
    distance = (head.sequence - choice.reference.sequence) & 0xFFFF
    return replace(frame, reference=distance, reference_check=choice.reference.check, activity=choice.activity)
