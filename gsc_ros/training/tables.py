"""Turns a trained context model into integer tables, and fits the frequencies to data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.entropy.channels import FINE, LOWEST_SCALE, REACH, SCALES, UNIT, ChannelTables, GridTables
from gsc_ros.entropy.coder import TOTAL
from gsc_ros.entropy.context import GridContext

PRIOR = 64.0  # how many observations the logistic shape of a row counts for


def _integers(values: NDArray[np.floating], unit: int = UNIT) -> NDArray[np.int64]:
    # In C's order: kernels come channels last, and files are written as arrays lie in memory.
    return np.ascontiguousarray(np.rint(values.astype(np.float64) * 2.0**unit).astype(np.int64))


RING = [(dy + 2, dx + 2) for dy in range(-2, 3) for dx in range(-2, 3) if (dy + dx) % 2]


def quantise_grid(grid: GridContext) -> GridTables:
    """The integer form of one grid's network."""
    state = {name: value.detach().cpu().numpy() for name, value in grid.state_dict().items()}
    channels, hidden = grid.channels, grid.hidden
    within = np.stack([state["within.weight"][:, 0, y, x] for y, x in RING], axis=1).reshape(channels, hidden, 12)
    # The second pass adds the bias of ``within`` along with ``second``.
    second = (state["second"][:, 0, 0] + state["within.bias"]).reshape(channels, hidden)
    bias, across = state["condition.bias"], None
    if grid.across is not None:
        bias = bias + state["across.bias"]
        weights = (state["across.weight"] * state["across_mask"]).reshape(channels, hidden, -1, 9)
        across = _integers(weights).astype(np.int32)
    return GridTables(
        across=across,
        within=_integers(within).astype(np.int32),
        bias=_integers(bias.reshape(channels, hidden)).astype(np.int32),
        second=_integers(second).astype(np.int32),
        condition=_integers(state["condition.weight"].reshape(channels, hidden, -1)).astype(np.int32),
        place=_integers(state["place.weight"].reshape(channels, hidden, -1)).astype(np.int32),
        middle=_integers(state["middle.weight"].reshape(channels, hidden, hidden)).astype(np.int32),
        middle_bias=_integers(state["middle.bias"].reshape(channels, hidden), 2 * UNIT),
        out=_integers(state["out.weight"].reshape(channels, 2, hidden)).astype(np.int32),
        out_bias=_integers(state["out.bias"].reshape(channels, 2), 2 * UNIT),
        reference=_integers(state["reference.weight"]).astype(np.int32).reshape(channels, hidden, -1, 9)
        if grid.reference is not None
        else None,
    )


def restore_grid(tables: GridTables, grid: GridContext) -> None:
    """Give ``grid`` the weights behind ``tables``, so that training can go on from tables that were shipped."""
    state = grid.state_dict()
    values = {
        field.name: value
        for field in fields(GridTables)
        if (value := getattr(tables, field.name)) is not None and field.name != "within"
    }
    names = {"bias": "condition.bias", "second": "second", "middle_bias": "middle.bias", "out_bias": "out.bias"}
    for name, value in values.items():
        unit = 2 * UNIT if name in ("middle_bias", "out_bias") else UNIT
        target = state[names.get(name, f"{name}.weight")]
        target.copy_(torch.from_numpy(value / 2.0**unit).reshape(target.shape))
    within = torch.from_numpy(tables.within / 2.0**UNIT).reshape(-1, len(RING)).float()
    for index, (y, x) in enumerate(RING):
        state["within.weight"][:, 0, y, x] = within[:, index]
    # What the integers hold in one sum is left in one place.
    for name in ("within.bias", "across.bias"):
        if name in state:
            state[name].zero_()
    grid.load_state_dict(state)


def logistic_rows() -> NDArray[np.float64]:
    """Probabilities of the distances under the discretised logistic, (SCALES*8, 2*REACH+1)."""
    scale = np.exp((np.arange(SCALES) + LOWEST_SCALE) / 2**FINE)[:, None, None]
    offset = ((np.arange(8) - 4) / 8.0)[None, :, None]
    edges = np.concatenate([[-np.inf], np.arange(-REACH + 1, REACH + 1) - 0.5, [np.inf]])[None, None, :]
    cumulative = 0.5 * (1.0 + np.tanh((edges - offset) / (2 * scale)))
    return np.diff(cumulative, axis=2).reshape(SCALES * 8, -1)


def to_frequencies(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of integers of at least 1 that sum to TOTAL."""
    entries = probabilities.shape[1]
    frequencies = 1 + np.floor(probabilities / probabilities.sum(axis=1, keepdims=True) * (TOTAL - entries)).astype(
        np.int64
    )
    frequencies[np.arange(len(frequencies)), frequencies.argmax(axis=1)] += TOTAL - frequencies.sum(axis=1)
    return frequencies


def quantise(*networks: GridContext) -> ChannelTables:
    """Integer tables, one network a grid, with the logistic frequencies that these were trained with."""
    grids = tuple(quantise_grid(network) for network in networks)
    return ChannelTables(grids=grids, frequencies=to_frequencies(logistic_rows()).reshape(SCALES, 8, -1))


def fit(tables: ChannelTables, observations: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> ChannelTables:
    """Tables whose frequencies follow the (rows, distances) that were observed on real frames."""
    prior = logistic_rows()
    counts = np.zeros_like(prior)
    for rows, distances in observations:
        np.add.at(counts, (rows, np.clip(distances + REACH, 0, 2 * REACH)), 1)
    frequencies = to_frequencies(counts + PRIOR * prior).reshape(SCALES, 8, -1)
    return replace(tables, frequencies=frequencies)
