"""Which latent channels exist and on which grid each of them lives."""

from __future__ import annotations

from dataclasses import dataclass

from gsc_ros.frame import OWN_SIZE


@dataclass(frozen=True)
class LatentLayout:
    """The channels of a latent y, coarse grid first.

    A channel of stride s has one symbol for every s x s block of the frame, the frame being
    resized to whole blocks of the coarsest stride. Channel ids count through the groups in
    order: with ``strides=(64, 32), counts=(4, 16)`` channels 0..3 are the lead channels on the
    64-pixel grid and 4..19 lie on the 32-pixel grid.
    """

    strides: tuple[int, ...] = (64, 32)
    counts: tuple[int, ...] = (4, 16)
    reduction: int = 2  # the transforms see the frame averaged down by that

    @property
    def channels(self) -> int:
        """Number of channels in all."""
        return sum(self.counts)

    @property
    def least_scale(self) -> int:
        """The scale at which the transforms see as many pixels as the frame has: nothing is gained beyond it."""
        return 0 if self.reduction > 1 else OWN_SIZE

    @property
    def coarsest(self) -> int:
        """Stride in pixels to whose multiples a frame is resized."""
        return max(self.strides)

    def group(self, channel: int) -> int:
        """Index of the group (grid) that ``channel`` belongs to."""
        for index, count in enumerate(self.counts):
            if channel < count:
                return index
            channel -= count
        raise IndexError(f"channel {channel} is beyond the {self.channels} of this layout")

    def first(self, group: int) -> int:
        """Id of the first channel of ``group``."""
        return sum(self.counts[:group])

    def grid(self, group: int, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of symbols of one channel of ``group`` for a frame in pixels."""
        per_block = self.coarsest // self.strides[group]
        rows, columns = self.blocks(height, width)
        return rows * per_block, columns * per_block

    def blocks(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of blocks of the coarsest stride that come next to a frame in pixels, at least one."""
        block = self.coarsest
        return max(1, (height + block // 2) // block), max(1, (width + block // 2) // block)
