"""Fits a frame into a byte budget, by true byte counts.

Three things can give: the quality level, how many channels are sent, and the scale the codec
works at. The level gives first, because it costs the least similarity per byte; channels give
when the coarsest level is still too large; the scale when one channel is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gsc_ros.latents.nano import NanoLatents, Planes, Symbols

# Two levels are some 7 % of the bytes apart. Where the next one is just too large, values just above
# half a step are rounded down: at equal bytes that is as good, and it fills the budget. Up to 0.525 it
# costs nothing, 0.55 does.
ROUNDING = (0.508, 0.516, 0.524, 0.532)


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

    def attempt(level: int, count: int, rounding: float = 0.5) -> Choice:
        chosen = {channel: planes[channel] for channel in rank(level)[:count]}
        symbols = trim(latents.quantise(chosen, level, rounding), prefix=prefix)
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
    if best is not None:
        if best.level + 1 < latents.levels:
            for rounding in ROUNDING:
                choice = attempt(best.level + 1, most, rounding)
                if len(choice.data) <= budget:
                    return choice
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
