"""Fits a frame into a byte budget, by true byte counts.

Three things can give: the quality level, how many channels are sent, and the scale the codec
works at. The level gives first, because it costs the least similarity per byte; channels give
when the coarsest level is still too large; the scale when one channel is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gsc_ros.latents.nano import NanoLatents, Planes, Symbols

# Between two levels the dead zone is widened: thresholds in steps, from plain rounding up.
THRESHOLDS = (0.5, 0.58, 0.66, 0.74)


@dataclass(frozen=True)
class Choice:
    """What is to be sent, and its coded channels."""

    level: int
    symbols: Symbols
    data: bytes


def trim(symbols: Symbols, *, prefix: bool) -> Symbols:
    """Without the channels that hold only zeros; of a prefix only those at its end can go."""
    if not prefix:
        return {channel: plane for channel, plane in symbols.items() if plane.any()}
    kept = dict(symbols)
    for channel in sorted(symbols, reverse=True):
        if symbols[channel].any():
            break
        del kept[channel]
    return kept


def fit(
    latents: NanoLatents,
    planes: Planes,
    rank: Callable[[int], list[int]],
    nominal: tuple[int, int],
    *,
    budget: int,
    most: int,
    prefix: bool,
) -> Choice | None:
    """The finest quantisation whose coded channels take at most ``budget`` bytes, or None.

    ``rank(level)`` names the channels in the order in which they are to be sent, of which at
    most ``most`` are. None means that not even one channel at the coarsest level fits.
    """

    def attempt(level: int, count: int, threshold: float = THRESHOLDS[0]) -> Choice:
        chosen = {channel: planes[channel] for channel in rank(level)[:count]}
        symbols = trim(latents.quantise(chosen, level, threshold=threshold), prefix=prefix)
        return Choice(level=level, symbols=symbols, data=latents.coder.encode(symbols, level, *nominal))

    best: Choice | None = None
    low, high = 0, latents.levels - 1
    while low <= high:
        middle = (low + high + 1) // 2
        choice = attempt(middle, most)
        if len(choice.data) <= budget:
            best, low = choice, middle + 1
        else:
            high = middle - 1
    level = 0 if best is None else min(best.level + 1, latents.levels - 1)
    if best is None or level > best.level:
        for threshold in THRESHOLDS[1:]:
            choice = attempt(level, most, threshold)
            if len(choice.data) <= budget:
                return choice
    if best is not None:
        return best
    low, high = 1, most - 1
    while low <= high:
        middle = (low + high + 1) // 2
        choice = attempt(0, middle)
        if len(choice.data) <= budget:
            best, low = choice, middle + 1
        else:
            high = middle - 1
    return best
