"""At which scale a frame is coded: the one at which its bytes afford a middle level.

At equal bytes a picture of coarser steps at a larger scale, and one of finer steps at a smaller scale, both
show less (docs/nano.md, "The encoder's choice"). What the last frames of the camera took tells where that is.
"""

from __future__ import annotations

import math

from gsc_ros.budget import LEVEL_APART
from gsc_ros.frame import MAX_LEVEL, MAX_SCALE, OWN_SIZE
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout

COMFORTABLE_PIXELS = 1 << 20  # larger frames are coded at a smaller scale where nothing is known of their bytes
MOST_BLOCKS = 512  # of 64x64 pixels: what a processor codes, or paints, in about a second
BLOCK_BYTES = 2.4  # that a block takes at the level aimed at, before the camera has shown how many
OCTAVE, HALF_OCTAVE = 4, 2  # scales
LEVELS_OF_SCALE = 4  # so many levels finer take as many bytes as one scale larger, about
LEVELS_OF_OCTAVE = 3  # a picture at twice the size is as good at this part of the level
SLACK = 3  # levels so near the one aimed at are as good
SLACK_REFINED = 6  # frames that later ones will refine keep their scale longer
FEWER_PLAIN = 6  # levels fewer are tried next where a view turned out not to be plain
LOOK_EVERY = 16  # frames: what plain views lose is looked at so often, and where the scale changes
STILL = 24  # a view at rest that has come to this level goes on at a larger scale


class ScaleFinder:
    """Remembers what the frames of one camera took; ``aim`` is the level at which they are to come out."""

    def __init__(self, layout: LatentLayout, aim: int) -> None:
        self._layout = layout
        self._aim = aim
        self._last: int | None = None
        self._block_bytes = BLOCK_BYTES  # at the level aimed at
        self._block_seconds = 0.0
        self._plain = 0  # levels finer that plain views take
        self._looked: int | None = None  # frames ago

    def start(self, height: int, width: int, budget: int, *, refined: bool, patience: float | None) -> int:
        """The scale that is likely to be right for ``budget`` bytes; that of the last frame where it is as likely."""
        block_bytes = self._block_bytes * math.exp(LEVEL_APART * (self._aimed - self._aim))
        likely = 2 * math.log2(max(4 * height * width / self._layout.coarsest**2 * block_bytes / max(budget, 1), 1))
        kept = max(_slack(refined) / LEVELS_OF_SCALE, 1)
        scale = self._last if self._last is not None and abs(self._last - likely) <= kept else round(likely)
        return min(max(scale, self.largest(height, width, patience)), MAX_SCALE)

    def nearer(self, geometry: Geometry, level: int, *, refined: bool, patience: float | None) -> int:
        """The scale to try after one at which the bytes afforded ``level``; the same where that was right."""
        off = level - self._aimed
        if abs(off) <= _slack(refined):
            return geometry.scale
        scale = geometry.scale - round(off / LEVELS_OF_SCALE)
        return min(max(scale, self.largest(geometry.height, geometry.width, patience)), MAX_SCALE)

    def off(self, level: int) -> int:
        """By how many levels ``level`` misses the one aimed at."""
        return abs(level - self._aimed)

    def beyond(self, geometry: Geometry, level: int, budget: int, patience: float | None) -> tuple[int, int] | None:
        """A larger scale at which a view at rest, known at ``level``, may go on, and the least level at which that is better."""
        scale = max(geometry.scale - OCTAVE, self.largest(geometry.height, geometry.width, patience))
        if level < STILL or scale >= geometry.scale:
            return None
        part = (geometry.scale - scale) / OCTAVE
        least = math.ceil(level * (1 - part * (1 - 1 / LEVELS_OF_OCTAVE)))
        blocks = Geometry(geometry.height, geometry.width, scale).blocks(self._layout)
        likely = self._aim + math.log(max(budget, 1) / (blocks * self._block_bytes)) / LEVEL_APART
        return (scale, least) if likely >= least - SLACK else None

    def largest(self, height: int, width: int, patience: float | None) -> int:
        """The least scale, which is the largest picture, that can be coded within ``patience`` seconds; own size is never too large."""
        most = MOST_BLOCKS
        if patience is not None and self._block_seconds:
            own = Geometry(height, width).blocks(self._layout)
            most = min(most, max(own, int(patience / self._block_seconds)))
        scale = self._layout.least_scale
        while scale < MAX_SCALE and Geometry(height, width, scale).blocks(self._layout) > most:
            scale += 1
        return scale

    def lasted(self, geometry: Geometry, seconds: float) -> None:
        """Coding a frame at one scale took ``seconds``."""
        here = seconds / geometry.blocks(self._layout)
        self._block_seconds = 0.7 * self._block_seconds + 0.3 * here if self._block_seconds else here

    def chosen(self, geometry: Geometry, level: int, size: int | None) -> None:
        """A frame was coded so; ``size`` in bytes where it builds on none."""
        if size is not None:
            per_block = max(size, 1) / geometry.blocks(self._layout)
            self._block_bytes = per_block * math.exp(LEVEL_APART * (self._aim - level))
        self._last = geometry.scale
        self._looked = None if self._looked is None else self._looked + 1

    def due(self, scale: int, *, refined: bool) -> bool:
        """Whether what the base will show at ``scale`` should be looked at; a view that is being refined keeps its scale."""
        return self._looked is None or scale != self._last or (self._looked >= LOOK_EVERY and not refined)

    def plain(self, level: int | None) -> None:
        """What was looked at is best at ``level``, finer than was aimed at; None where it is not: fewer levels are tried next."""
        self._looked = 0
        self._plain = max(self._plain - FEWER_PLAIN if level is None else level - self._aim, 0)

    @property
    def _aimed(self) -> int:
        return min(self._aim + self._plain, MAX_LEVEL)


def _slack(refined: bool) -> int:
    return SLACK_REFINED if refined else SLACK


def own_scale(height: int, width: int) -> int:
    """The frame's own size, halved until it is comfortable."""
    scale = OWN_SIZE
    while math.prod(Geometry(height, width, scale).nominal) > COMFORTABLE_PIXELS:
        scale += OCTAVE
    return scale
