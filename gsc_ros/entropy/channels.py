"""The channel coder: latent symbols to bytes and back, bit-exact on every machine.

It runs the context model of :mod:`gsc_ros.entropy.context` in integers. Weights are stored as
integers in units of 2**-12; all sums are whole numbers far below 2**53 and are therefore exact
in float64, whatever order a BLAS adds them in (checked when the tables are loaded). The
network yields, in eighths, a location and a log scale; these pick a row of trained integer
frequencies, and the row codes the distance of the symbol from the location.

Tables with memory are given what an earlier frame lets one expect as well, in integers too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from threadpoolctl import ThreadpoolController

from gsc_ros.entropy.coder import TOTAL, CoderError, SymbolDecoder, SymbolEncoder
from gsc_ros.frame import MAX_CODED_PIXELS
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.weights import Weights, damaged, load_arrays

Integers = NDArray[np.int64]
Exact = NDArray[np.float64]  # whole numbers, all below 2**53
Method = TypeVar("Method", bound=Callable[..., Any])

UNIT = 12  # weights are integers in units of 2**-UNIT
FINE = 3  # location and log scale are taken in units of 2**-FINE
PLACES = 4  # what a symbol is told of its place: see places()
PLACES_KEPT = 16  # grids: those of some cameras, not of every size that ever came
SCALES = 45  # log scales -2.5 .. 3.0 in eighths
LOWEST_SCALE = -20  # -2.5 in eighths
REACH = 16  # distances beyond +-(REACH - 1) are escaped
WIDEST = 127  # symbols lie in -127 .. 127
HIDDEN_LIMIT = float(1 << 28)
ACTIVITY_LIMITS = (0.01, 0.05, 0.2)  # shares of changed symbols from which the next class begins
ACTIVITIES = len(ACTIVITY_LIMITS) + 1
_UNIFORM_BYTE = np.full((1, 256), TOTAL // 256, dtype=np.int64)
_RING = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy + dx) % 2]


@cache
def _blas() -> ThreadpoolController:
    """The libraries behind numpy's matrix products."""
    return ThreadpoolController()


def _on_one_thread(method: Method) -> Method:
    """``method`` with numpy's products on one thread: small as they are here, on several they take longer, and keep the others from work."""

    @wraps(method)
    def limited(*arguments: Any, **named: Any) -> Any:
        with _blas().limit(limits=1, user_api="blas"):
            return method(*arguments, **named)

    return cast(Method, limited)


class ChannelError(CoderError):
    """Symbols that cannot be coded, or bytes that hold none."""


K = -1
# Shapes of one grid's arrays after its channels; across and reference are (K, inputs, 9).
GRID_SHAPES: dict[str, tuple[int | None, ...]] = {
    "within": (K, 12),
    "bias": (K,),
    "second": (K,),
    "condition": (K, None),
    "place": (K, PLACES),
    "middle": (K, K),
    "middle_bias": (K,),
    "out": (2, K),
    "out_bias": (2,),
}


@dataclass(frozen=True)
class GridTables:
    """The integer network of one grid with C channels, E earlier (coarser) ones and K units in each of two hidden layers.

    ``across`` (C,K,E+C,9) weighs the 3x3 neighbourhoods, ``within`` (C,K,12) the checkerboard
    ring of the own channel, ``place`` (C,K,4) where in the frame the symbol is, ``bias`` (C,K), ``second`` (C,K) is added
    in the second pass, ``condition`` (C,K,levels+N) the quality level and the channels sent. ``middle`` (C,K,K) and
    ``middle_bias`` (C,K) are the second layer, ``out`` (C,2,K) and ``out_bias`` (C,2) give location and log scale. With memory ``condition`` goes on with the
    earlier frame's level and the class of change, and ``reference`` (C,K,E+C,9) weighs what that frame lets one expect.
    Without ``across`` every channel stands alone: ``condition`` (C,K,levels) is the quality level and nothing else.
    """

    within: NDArray[np.int32]
    bias: NDArray[np.int32]
    second: NDArray[np.int32]
    condition: NDArray[np.int32]
    place: NDArray[np.int32]
    middle: NDArray[np.int32]
    middle_bias: NDArray[np.int64]
    out: NDArray[np.int32]
    out_bias: NDArray[np.int64]
    across: NDArray[np.int32] | None = None
    reference: NDArray[np.int32] | None = None

    def check(self) -> None:
        """Raise ChannelError unless all arrays have as many units, and every sum they can form stays below 2**53."""
        units = self.bias.shape[1]
        for name, rest in {**GRID_SHAPES, "across": (K, None, None), "reference": (K, None, None)}.items():
            part = getattr(self, name)
            if part is not None and any(n == K and m != units for n, m in zip(rest, part.shape[1:], strict=True)):
                raise ChannelError(f"the context tables' {name} is not for {units} units")
        reach = WIDEST * np.abs(self.within).sum(axis=2, dtype=np.int64).max()
        reach += 64 * np.abs(self.place).sum(axis=2, dtype=np.int64).max()
        if self.across is not None:
            reach += WIDEST * np.abs(self.across).sum(axis=(2, 3), dtype=np.int64).max()
        if self.reference is not None:
            reach += 8 * WIDEST * np.abs(self.reference).sum(axis=(2, 3), dtype=np.int64).max()
        middle = np.abs(self.middle).sum(axis=2, dtype=np.int64).max() * HIDDEN_LIMIT + np.abs(self.middle_bias).max()
        final = np.abs(self.out).sum(axis=2, dtype=np.int64).max() * HIDDEN_LIMIT + np.abs(self.out_bias).max()
        if max(float(reach), float(middle), float(final)) >= 2**52:
            raise ChannelError("the context tables hold weights so large that their sums are not exact")


@dataclass(frozen=True)
class ChannelTables:
    """Everything the channel coder needs: one integer network a grid, one set of frequencies."""

    grids: tuple[GridTables, ...]
    frequencies: NDArray[np.int64]  # (SCALES, 8, 2*REACH+1), rows sum to TOTAL
    steps: NDArray[np.int64] | None = None  # with memory: quantisation steps (levels, N) in units of 2**-16

    @classmethod
    def load(
        cls, weights: Weights, file: str, layout: LatentLayout, *, memory: bool = False, levels: int | None = None
    ) -> ChannelTables:
        """The tables in ``file`` for the channels of ``layout`` and so many ``levels``, with or without memory.

        Raises ProfileError where they are others.
        """
        frequencies: tuple[int | None, ...] = (SCALES, 1 << FINE, 2 * REACH + 1)
        shapes: dict[str, tuple[int | None, ...]] = {"frequencies": frequencies}
        optional: dict[str, tuple[int | None, ...]] = {}
        if memory:
            shapes["steps"] = (None, layout.channels)
        for index, count in enumerate(layout.counts):
            inputs = layout.first(index) + count
            for name, rest in GRID_SHAPES.items():
                shapes[f"grid{index}.{name}"] = (count, *(None if size == K else size for size in rest))
            optional[f"grid{index}.across"] = (count, None, inputs, 9)
            if memory:
                shapes[f"grid{index}.reference"] = (count, None, inputs, 9)
        arrays = load_arrays(weights, file, shapes, optional=optional, kinds=np.integer)
        grids = tuple(
            GridTables(
                **{f.name: arrays[f"grid{i}.{f.name}"] for f in fields(GridTables) if f"grid{i}.{f.name}" in arrays}
            )
            for i in range(len(layout.counts))
        )
        steps = arrays["steps"].astype(np.int64) if "steps" in arrays else None
        tables = cls(grids=grids, frequencies=arrays["frequencies"].astype(np.int64), steps=steps)
        try:
            tables.check(layout)
            if levels is not None and tables.levels(layout) != levels:
                raise ChannelError(f"context tables of {tables.levels(layout)} quality levels, {levels} are needed")
        except ChannelError as error:
            raise damaged(weights, file, str(error)) from error
        return tables

    def levels(self, layout: LatentLayout) -> int:
        """Quality levels that the networks know; raises ChannelError where their condition is of no such width."""
        first = self.grids[0]
        width, memory = first.condition.shape[2], first.reference is not None
        width -= (0 if first.across is None else layout.channels) + (ACTIVITIES if memory else 0)
        if (
            width < 1
            or (memory and width % 2)
            or any(g.condition.shape[2:] != first.condition.shape[2:] for g in self.grids)
        ):
            raise ChannelError("the context tables' condition fits no number of levels")
        return width // (2 if memory else 1)

    def check(self, layout: LatentLayout) -> None:
        """Raise ChannelError unless all parts belong together and every sum stays exact."""
        levels = self.levels(layout)
        for grid in self.grids:
            if (grid.across is None) != (self.grids[0].across is None):
                raise ChannelError("context tables of which one sees other channels and one does not")
            grid.check()
        if self.steps is not None and (len(self.steps) != levels or self.steps.min() < 1):
            raise ChannelError(f"{len(self.steps)} rows of steps above 0 for {levels} levels")
        if self.frequencies.min() < 1 or (self.frequencies.sum(axis=-1) != TOTAL).any():
            raise ChannelError(f"frequencies that do not sum to {TOTAL}")

    def save(self, path: Path) -> None:
        arrays = {
            f"grid{index}.{field.name}": getattr(grid, field.name)
            for index, grid in enumerate(self.grids)
            for field in fields(GridTables)
            if getattr(grid, field.name) is not None
        }
        if self.steps is not None:
            arrays["steps"] = self.steps.astype(np.int32)
        save_file({**arrays, "frequencies": self.frequencies.astype(np.int32)}, path)


@dataclass(frozen=True)
class Coded:
    """One pass as the coder meets it: the model's table rows, and where the symbols lie."""

    channel: int
    rows: Integers  # index of the row of frequencies, (n,)
    center: Integers  # the location rounded, (n,)


@dataclass(frozen=True)
class Expected:
    """What an earlier frame lets one expect of this one.

    ``level`` is that frame's quality level, ``activity`` the class of how much has changed since (0 to
    3: under 1, 5, 20 % of the symbols, more), which the encoder says. ``planes`` holds its y_hat for every channel, on the
    channel's grid, in eighths of a step of the present level: whole numbers within -1016..1016.
    """

    level: int
    planes: Mapping[int, Integers]
    activity: int = 0

    def observed(self, symbols: Mapping[int, NDArray[np.integer]]) -> Expected:
        """The same, with the activity that ``symbols`` show."""
        changed = sum(int((plane != (self.planes[c] + 4) >> 3).sum()) for c, plane in symbols.items())
        share = changed / max(1, sum(plane.size for plane in symbols.values()))
        return replace(self, activity=sum(share >= limit for limit in ACTIVITY_LIMITS))


class ChannelCoder:
    """Codes the sent channels of one frame under ``tables``.

    With tables that have memory every method needs ``expected``; with others it stays None.
    """

    def __init__(self, tables: ChannelTables, layout: LatentLayout) -> None:
        self._layout = layout
        self.tables = tables
        self._frequencies = np.ascontiguousarray(tables.frequencies.reshape(-1, 2 * REACH + 1))

    def encode(
        self,
        symbols: Mapping[int, NDArray[np.integer]],
        level: int,
        height: int,
        width: int,
        expected: Expected | None = None,
    ) -> bytes:
        """Bytes of ``symbols``: channel id -> (rows, columns) on that channel's grid, within -127..127."""
        self._check_size(symbols, height, width)
        coder = SymbolEncoder()

        def put(coded: Coded, known: Integers | None) -> Integers:
            assert known is not None
            _put(coder, known - coded.center, self._frequencies[coded.rows])
            return known

        self._walk(list(symbols), level, height, width, put, symbols, expected)
        return coder.finish()

    def decode(
        self,
        data: bytes,
        channels: Sequence[int],
        level: int,
        height: int,
        width: int,
        expected: Expected | None = None,
    ) -> dict[int, NDArray[np.int64]]:
        """The symbols that :meth:`encode` was given; ChannelError when ``data`` cannot hold them.

        What it costs is bounded by MAX_CODED_PIXELS, whatever ``data`` and size claim: that is looked at first.
        """
        self._check_size(channels, height, width)
        coder = SymbolDecoder(data)

        def get(coded: Coded, known: Integers | None) -> Integers:
            values = coded.center + _get(coder, self._frequencies[coded.rows])
            if np.abs(values).max(initial=0) > WIDEST:
                raise ChannelError("a symbol beyond -127..127")
            return values

        return self._walk(channels, level, height, width, get, None, expected)

    def _check_size(self, channels: Collection[int], height: int, width: int) -> None:
        rows, columns = self._layout.blocks(height, width)
        pixels = rows * columns * self._layout.coarsest**2
        if channels and pixels > MAX_CODED_PIXELS:
            raise ChannelError(
                f"a frame of {pixels} coded pixels: at most {MAX_CODED_PIXELS} are allowed where channels are sent"
            )

    def cost(
        self,
        symbols: Mapping[int, NDArray[np.integer]],
        level: int,
        height: int,
        width: int,
        expected: Expected | None = None,
    ) -> dict[int, float]:
        """Ideal cost in bits of every channel of ``symbols``, under the frequencies in use."""
        found = self.information(symbols, level, height, width, expected)
        return {channel: float(plane.sum()) for channel, plane in found.items()}

    def information(
        self,
        symbols: Mapping[int, NDArray[np.integer]],
        level: int,
        height: int,
        width: int,
        expected: Expected | None = None,
    ) -> dict[int, NDArray[np.float64]]:
        """Ideal cost in bits of every symbol, -log2 of its probability: channel id -> (rows, columns)."""
        passes: dict[int, list[NDArray[np.float64]]] = {channel: [] for channel in symbols}

        def count(coded: Coded, known: Integers | None) -> Integers:
            assert known is not None
            distance = known - coded.center
            index = np.clip(distance + REACH, 0, 2 * REACH)
            bits = -np.log2(self._frequencies[coded.rows, index] / TOTAL)
            passes[coded.channel].append(bits + 8.0 * (np.abs(distance) >= REACH))
            return known

        self._walk(list(symbols), level, height, width, count, symbols, expected)
        found = {}
        for channel, (even, odd) in passes.items():
            rows, columns = np.indices(symbols[channel].shape)
            found[channel] = np.zeros(rows.shape)
            found[channel][(rows + columns) % 2 == 0] = even
            found[channel][(rows + columns) % 2 == 1] = odd
        return found

    def statistics(
        self,
        symbols: Mapping[int, NDArray[np.integer]],
        level: int,
        height: int,
        width: int,
        expected: Expected | None = None,
    ) -> tuple[Integers, Integers]:
        """Row index and distance of every symbol, for fitting the frequencies to data."""
        rows: list[Integers] = []
        distances: list[Integers] = []

        def note(coded: Coded, known: Integers | None) -> Integers:
            assert known is not None
            rows.append(coded.rows)
            distances.append(known - coded.center)
            return known

        self._walk(list(symbols), level, height, width, note, symbols, expected)
        return np.concatenate(rows), np.concatenate(distances)

    @_on_one_thread
    def _walk(
        self,
        channels: Sequence[int],
        level: int,
        height: int,
        width: int,
        visit: Callable[[Coded, Integers | None], Integers],
        symbols: Mapping[int, NDArray[np.integer]] | None,
        expected: Expected | None,
    ) -> dict[int, NDArray[np.int64]]:
        """Visit both passes of every channel in coding order; returns what ``visit`` returned."""
        layout = self._layout
        condition = np.zeros(self.tables.grids[0].condition.shape[2])
        memory = 0 if expected is None else ACTIVITIES
        alone = self.tables.grids[0].across is None
        levels = (len(condition) - (0 if alone else layout.channels) - memory) // (1 if expected is None else 2)
        condition[level] = 1
        if not alone:
            condition[[levels + channel for channel in channels]] = 1
        if expected is not None:
            condition[levels + layout.channels + expected.level] = 1
            condition[2 * levels + layout.channels + expected.activity] = 1
        known: dict[int, NDArray[np.int64]] = {}
        patches: dict[int, Exact] = {}
        for group in sorted({layout.group(channel) for channel in channels}):
            rows, columns = layout.grid(group, height, width)
            if group:
                patches = {channel: _patches(_finer(known[channel])) for channel in known}
            before = None if expected is None else self._before(group, expected)
            for channel in sorted(c for c in channels if layout.group(c) == group):
                given = None if symbols is None else np.asarray(symbols[channel], dtype=np.int64)
                plane = np.zeros((rows, columns), dtype=np.int64)
                for chosen, models in self._passes(group, channel, patches, before, condition, plane):
                    plane[chosen] = visit(models, None if given is None else given[chosen])
                known[channel] = plane
                if not alone:
                    patches[channel] = _patches(plane)
        return known

    def _before(self, group: int, expected: Expected) -> Exact:
        """The neighbourhoods of all channels that the network of ``group`` sees of the earlier frame."""
        seen = range(self._layout.first(group) + self._layout.counts[group])
        planes = (expected.planes[c] if self._layout.group(c) == group else _finer(expected.planes[c]) for c in seen)
        return np.concatenate([_patches(plane) for plane in planes])

    def _passes(
        self,
        group: int,
        channel: int,
        patches: Mapping[int, Exact],
        before: Exact | None,
        condition: Exact,
        plane: Integers,
    ) -> Iterator[tuple[tuple[Integers, Integers], Coded]]:
        """The two passes of ``channel``; ``plane`` is filled in by the caller between them."""
        grid = self.tables.grids[group]
        own = channel - self._layout.first(group)
        rows, columns = plane.shape
        hidden = np.floor(grid.place[own].astype(np.float64) @ places(rows, columns) / 64)
        hidden += (grid.bias[own] + grid.condition[own] @ condition)[:, None]
        # Channel ids count through the grids, so an id is the index among this network's inputs too.
        useful = [c for c, patch in patches.items() if c < channel and patch.any()]
        if useful and grid.across is not None:
            weights = grid.across[own][:, useful].reshape(len(hidden), -1).astype(np.float64)
            hidden += weights @ np.concatenate([patches[c] for c in useful])
        if before is not None:
            assert grid.reference is not None
            hidden += np.floor(grid.reference[own].reshape(len(hidden), -1).astype(np.float64) @ before / 8)
        for parity in (0, 1):
            chosen_rows, chosen_columns = np.nonzero(
                (np.arange(rows)[:, None] + np.arange(columns)[None, :]) % 2 == parity
            )
            at = chosen_rows * columns + chosen_columns
            local = hidden[:, at]
            if parity:
                padded = np.pad(plane, 2).astype(np.float64)
                ring = np.stack([padded[chosen_rows + 2 + dy, chosen_columns + 2 + dx] for dy, dx in _RING])
                local = local + grid.second[own][:, None] + grid.within[own].astype(np.float64) @ ring
            local = np.clip(local, 0.0, HIDDEN_LIMIT)
            local = np.floor((grid.middle[own].astype(np.float64) @ local + grid.middle_bias[own][:, None]) / 2**UNIT)
            local = np.clip(local, 0.0, HIDDEN_LIMIT)
            mu, log_scale = (grid.out[own].astype(np.float64) @ local + grid.out_bias[own][:, None]).astype(np.int64)
            half = 1 << (2 * UNIT - FINE - 1)
            eighths = np.clip((mu + half) >> (2 * UNIT - FINE), -8 * WIDEST, 8 * WIDEST)
            scale = np.clip(((log_scale + half) >> (2 * UNIT - FINE)) - LOWEST_SCALE, 0, SCALES - 1)
            center = (eighths + 4) >> 3
            yield (
                (chosen_rows, chosen_columns),
                Coded(channel=channel, rows=scale * 8 + (eighths - 8 * center + 4), center=center),
            )


@lru_cache(maxsize=PLACES_KEPT)
def places(rows: int, columns: int) -> Exact:
    """Where every symbol of a grid is, in 64ths of half the frame: down, how far from the middle across, and their squares; (4, rows*columns).

    Frames are mostly upright and lit from above, and less is known of a symbol at an edge.
    """
    down, across = ((128 * np.arange(size) + 64) // size - 64 for size in (rows, columns))
    features = np.broadcast_arrays(down[:, None], np.abs(across)[None], down[:, None] ** 2 >> 6, across[None] ** 2 >> 6)
    return np.stack(features).reshape(PLACES, -1).astype(np.float64)


def _finer(plane: Integers) -> Integers:
    """A plane of the coarse grid on the fine one."""
    return plane.repeat(2, axis=0).repeat(2, axis=1)


def _patches(plane: NDArray[np.integer]) -> Exact:
    """The 3x3 neighbourhood of every position, (9, rows*columns), zeros beyond the edge."""
    padded = np.pad(plane, 1).astype(np.float64)
    rows, columns = plane.shape
    return np.stack([padded[dy : dy + rows, dx : dx + columns].ravel() for dy in range(3) for dx in range(3)])


def _put(coder: SymbolEncoder, distance: Integers, frequencies: Integers) -> None:
    coder.encode(np.clip(distance + REACH, 0, 2 * REACH), frequencies)
    beyond = np.abs(distance[np.abs(distance) >= REACH]) - REACH
    coder.encode(beyond, _UNIFORM_BYTE.repeat(len(beyond), axis=0))


def _get(coder: SymbolDecoder, frequencies: Integers) -> Integers:
    distance = coder.decode(frequencies).astype(np.int64) - REACH
    escaped = np.abs(distance) == REACH
    if escaped.any():
        extra = coder.decode(_UNIFORM_BYTE.repeat(int(escaped.sum()), axis=0))
        distance[escaped] += np.sign(distance[escaped]) * extra
    return distance
