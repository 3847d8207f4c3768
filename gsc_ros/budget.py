"""Fits a frame into a byte budget, by true byte counts.

Three things can give: the quality level, how many channels are sent, and the scale the codec
works at. The level gives first, because it costs the least similarity per byte; channels give
when the coarsest level is still too large; the scale when one channel is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from gsc_ros.latents.quantised import HOLD, Planes, QuantisedLatents, Symbols
from gsc_ros.memory import Remembered

# Two levels are some 7 % of the bytes apart. Where the next one is just too large, values just above
# half a step are rounded down: at equal bytes that is as good, and it fills the budget. Up to 0.525 it
# costs nothing, 0.55 does.
ROUNDING = (0.508, 0.516, 0.524, 0.532)
# A frame that builds on an earlier one stays at its level and keeps less of that one instead.
HOLDING = (0.5, 0.54, 0.58, 0.62)
LEVEL_APART = 0.08  # natural logarithm of the bytes of one level over those of the one below, about


@dataclass(frozen=True)
class Choice:
    """What is to be sent, and its coded channels."""

    level: int
    symbols: Symbols
    data: bytes
    reference: Remembered | None = None
    activity: int = 0


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


def code(
    latents: QuantisedLatents,
    planes: Planes,
    level: int,
    nominal: tuple[int, int],
    *,
    prefix: bool,
    reference: Remembered | None = None,
    thrift: int = 0,
    keep_all: bool = False,
) -> Choice:
    """``planes`` at ``level``, without the channels that hold only zeros unless ``keep_all``.

    ``thrift`` 1 to 4 picks from ``ROUNDING``, or from ``HOLDING`` where it builds on an earlier frame.
    """
    expected = None if reference is None else latents.expect(reference, level)
    if expected is None:
        symbols = latents.quantise(planes, level, ROUNDING[thrift - 1] if thrift else 0.5)
    else:
        symbols = latents.quantise(planes, level, expected=expected, hold=HOLDING[thrift - 1] if thrift else HOLD)
    if not keep_all:
        symbols = trim(symbols, prefix=prefix)
    if expected is not None:
        expected = expected.observed(symbols)
    data = latents.coder_for(expected).encode(symbols, level, *nominal, expected)
    activity = 0 if expected is None else expected.activity
    return Choice(level=level, symbols=symbols, data=data, reference=reference, activity=activity)


Attempt = Callable[[int, int, int], Choice]  # of level, number of channels, thrift


def attempts(
    latents: QuantisedLatents,
    planes: Planes,
    rank: Callable[[int], list[int]],
    nominal: tuple[int, int],
    *,
    prefix: bool,
    reference: Remembered | None = None,
    keep_all: bool = False,
) -> Attempt:
    """Codes a frame in one way or another, each way once.

    ``rank(level)`` names the channels in the order in which they are to be sent.
    """

    @cache
    def attempt(level: int, count: int, thrift: int) -> Choice:
        chosen = {channel: planes[channel] for channel in rank(level)[:count]}
        return code(
            latents, chosen, level, nominal, prefix=prefix, reference=reference, thrift=thrift, keep_all=keep_all
        )

    return attempt


def fit(
    attempt: Attempt, *, levels: int, budget: int, most: int, near: int | None = None, least: int | None = None
) -> Choice | None:
    """The finest of ``levels`` at which ``most`` channels take at most ``budget`` bytes, or None.

    Fewer channels are sent where the coarsest level is too large. ``near`` is a level that may be about
    right: the search begins there. None means that not even one channel at the coarsest level fits,
    or with ``least`` that not all channels at that level do.
    """
    best: Choice | None = None
    low, high = least or 0, levels - 1
    guess = max(levels // 2 if near is None else near, low)
    while low <= high:
        choice = attempt(guess, most, 0)
        if len(choice.data) <= budget:
            best, low = choice, guess + 1
        else:
            high = guess - 1
        apart = math.log(max(budget, 1) / max(len(choice.data), 1)) / LEVEL_APART
        guess = min(max(guess + math.floor(apart), low), high)
    if best is not None:
        if best.level + 1 < levels:
            finer = best.level + (best.reference is None)
            return _filled(lambda thrift: attempt(finer, most, thrift), budget) or best
        return best
    if least is not None:
        return None
    low, high = 1, most - 1
    while low <= high:
        middle = (low + high + 1) // 2
        choice = attempt(0, middle, 0)
        if len(choice.data) <= budget:
            best, low = choice, middle + 1
        else:
            high = middle - 1
    return best


def _filled(attempt: Callable[[int], Choice], budget: int) -> Choice | None:
    """What ``attempt`` makes with the least thrift that fits, or None."""
    best: Choice | None = None
    low, high = 1, len(ROUNDING)
    while low <= high:
        middle = (low + high) // 2
        choice = attempt(middle)
        if len(choice.data) <= budget:
            best, high = choice, middle - 1
        else:
            low = middle + 1
    return best
