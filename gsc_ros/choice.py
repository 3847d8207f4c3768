"""Which channels of a frame are sent, at which steps and scale, built on which earlier frame (eq. 2).

image --> g_a --> y --> rank --> quantise --> channel coder --> bytes
                                   ^ level: the finest that fits   ^ alone, or built on an earlier frame

Byte counts are true: whatever is compared was coded. The scale is the one at which the bytes afford a middle
level: at equal bytes coarser steps at a larger scale, and finer ones at a smaller one, show less (docs/nano.md).
That tells as much as decoding would, and costs nothing, but for plain views: now and then what will be shown is
decoded, and a smaller scale taken where that is much nearer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from gsc_ros.scale import HALF_OCTAVE, ScaleFinder, own_scale

MUCH_NEARER = 10**0.05  # 0.5 dB: coarse steps do not hold the brightness of plain views
REFERENCE_BYTES = 3  # what naming another frame takes in the head


@dataclass(frozen=True, kw_only=True)
class ChannelWish:
    """What is asked of the channels of one frame.

    max_bytes   for the whole packet; None: ``level`` decides
    channels    C, at most so many
    keep_all    send all C even where some hold nothing
    references  earlier frames; the frame builds on the one most like it, where that saves bytes
    memory      whether later frames will build on this one
    patience    seconds that coding at more than the frame's own size may take; None: as long as it takes
    search      steps of the search for better symbols (gsc_ros.latents.search), for frames that build on none
    """

    max_bytes: int | None
    channels: int
    keep_all: bool
    level: int
    selection: str
    references: Sequence[Remembered]
    memory: bool
    patience: float | None = None
    search: int = 0


AtScale = Callable[..., Choice | None]  # of scale, frames to build on, least level


class ChannelChooser:
    """Chooses for the frames of one camera; the last choice is where the next search begins."""

    def __init__(self, latents: QuantisedLatents) -> None:
        self._latents = latents
        aim = latents.level_aimed
        self._finder = None if aim is None else ScaleFinder(latents.layout, aim)
        self._near: dict[int, int] = {}  # level, by scale

    def choose(self, image: NDArray[np.uint8], head: Frame, wish: ChannelWish) -> tuple[Frame, Symbols]:
        """``head`` with channels, and their symbols; with none where not one channel fits at the smallest scale."""
        height, width = image.shape[:2]
        references = [r for r in wish.references if (r.width, r.height) == (width, height)]
        finder = self._finder if wish.max_bytes is not None else None

        def at(scale: int, bases: Sequence[Remembered], least: int = 0) -> Choice | None:
            wished = replace(wish, references=[base for base in bases if base.scale == scale])
            geometry, began = Geometry(height, width, scale), time.perf_counter()
            # At the smallest scale, and where a profile has but one, channels give.
            choice = self._at_scale(
                image, geometry, head, wished, least=None if finder is None or scale == MAX_SCALE else least
            )
            if finder is not None:
                finder.lasted(geometry, time.perf_counter() - began)
            return choice

        if references:
            scale = references[0].scale
        elif finder is None:
            scale = own_scale(height, width)
        else:
            assert wish.max_bytes is not None
            scale = finder.start(height, width, wish.max_bytes, refined=wish.memory, patience=wish.patience)
        choice = at(scale, references)
        while choice is None and scale < MAX_SCALE:
            scale = min(scale + HALF_OCTAVE, MAX_SCALE)
            choice = at(scale, references)
        if choice is None:
            return head, {}
        if finder is not None:
            choice, scale = self._refit(finder, at, choice, Geometry(height, width, scale), image, wish)
            size = len(choice.data) if choice.reference is None else None
            finder.chosen(Geometry(height, width, scale), choice.level, size)
        self._near[scale] = choice.level
        if wish.search and choice.reference is None:
            choice = self._searched(choice, image, Geometry(height, width, scale), head, wish)
        return _with_channels(head, scale, choice), choice.symbols

    def _refit(
        self,
        finder: ScaleFinder,
        at: AtScale,
        choice: Choice,
        geometry: Geometry,
        image: NDArray[np.uint8],
        wish: ChannelWish,
    ) -> tuple[Choice, int]:
        """``choice``, or a better one at another scale."""
        assert wish.max_bytes is not None
        scale = geometry.scale
        if choice.reference is not None:
            # A view at rest is known as finely as this scale can say: later frames may go on at a larger one.
            further = finder.beyond(geometry, choice.level, wish.max_bytes, wish.patience)
            larger = further and at(further[0], [], further[1])
            return (larger, further[0]) if further and larger else (choice, scale)
        tried = {scale}
        while True:
            other = finder.nearer(
                replace(geometry, scale=scale), choice.level, refined=wish.memory, patience=wish.patience
            )
            if other in tried:
                break
            tried.add(other)
            found = at(other, [])
            if found is None or finder.off(found.level) >= finder.off(choice.level):
                break
            choice, scale = found, other
        if finder.due(scale, refined=wish.memory):
            choice, scale = self._brightened(finder, at, choice, scale, image)
        return choice, scale

    def _searched(
        self, choice: Choice, image: NDArray[np.uint8], geometry: Geometry, head: Frame, wish: ChannelWish
    ) -> Choice:
        """``choice``, or better symbols for this image that fit as well; without a limit they take no more bytes."""
        latents = self._latents
        symbols = latents.search(
            latents.tensor(geometry.shrink(image, latents.layout)), choice.symbols, choice.level, geometry,
            steps=wish.search, most=len(choice.data) if wish.max_bytes is None else _budget(head, wish),
        )  # fmt: skip
        return replace(choice, symbols=symbols, data=latents.coder.encode(symbols, choice.level, *geometry.nominal))

    def _brightened(
        self, finder: ScaleFinder, at: AtScale, choice: Choice, scale: int, image: NDArray[np.uint8]
    ) -> tuple[Choice, int]:
        """``choice``, or one at a smaller scale that is much nearer by squared error; the finder remembers which."""
        begun, error = scale, self._error(image, choice, scale)
        while scale + HALF_OCTAVE <= MAX_SCALE and error is not None:
            found = at(scale + HALF_OCTAVE, [])
            nearer = None if found is None else self._error(image, found, scale + HALF_OCTAVE)
            if found is None or nearer is None or nearer * MUCH_NEARER > error:
                break
            choice, scale, error = found, scale + HALF_OCTAVE, nearer
        finder.plain(None if scale == begun else choice.level)
        return choice, scale

    def _error(self, image: NDArray[np.uint8], choice: Choice, scale: int) -> float | None:
        """Mean squared error of what the base will show of ``choice``; None where the robot cannot know."""
        geometry = Geometry(image.shape[0], image.shape[1], scale)
        picture = self._latents.picture(choice.symbols, choice.level, geometry)
        return None if picture is None else float(np.square(255 * geometry.enlarge(picture) - image).mean())

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
        near = self._near.get(geometry.scale, latents.level_aimed or latents.levels // 2) if limited else wish.level
        # A view that has nothing to do with the earlier one is cheaper on its own.
        saves = reference is not None and (
            len(built(near, wish.channels, 0).data) + REFERENCE_BYTES < len(alone(near, wish.channels, 0).data)
        )
        if wish.max_bytes is None:
            return (built if saves else alone)(near, wish.channels, 0)
        budget = _budget(head, wish)
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


def _budget(head: Frame, wish: ChannelWish) -> int:
    """Bytes that are left for the channels of a frame that builds on none."""
    assert wish.max_bytes is not None
    overhead = len(pack(replace(head, channel_ids=tuple(range(wish.channels)))))
    return wish.max_bytes - overhead - (0 if wish.selection == "order" else subset_bytes(head))


def _with_channels(head: Frame, scale: int, choice: Choice) -> Frame:
    frame = replace(
        head, scale=scale, level=choice.level, channel_ids=tuple(sorted(choice.symbols)), channels=choice.data
    )
    if choice.reference is None:
        return frame
    distance = (head.sequence - choice.reference.sequence) & 0xFFFF
    return replace(frame, reference=distance, reference_check=choice.reference.check, activity=choice.activity)
