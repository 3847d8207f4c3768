"""The channel coder: exact both ways, near its own ideal, safe with any bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.entropy.channels import ChannelError
from gsc_ros.entropy.coder import CoderError


def random_symbols(
    latents, seed: int, channels: list[int], nominal: tuple[int, int], spread: float
) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    layout = latents.layout
    shapes = {channel: layout.grid(layout.group(channel), *nominal) for channel in channels}
    return {
        channel: np.clip(np.rint(rng.laplace(0, spread, shape)), -127, 127).astype(np.int64)
        for channel, shape in shapes.items()
    }


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sets(st.integers(0, 19)),
    st.integers(16, 400),
    st.integers(16, 400),
    st.sampled_from([0.1, 1.0, 30.0, 200.0]),
    st.integers(0, 31),
)
def test_symbols_come_back_exactly(encoder, seed, channels, height, width, spread, level) -> None:
    symbols = random_symbols(encoder.latents, seed, sorted(channels), (height, width), spread)
    coder = encoder.latents.coder
    data = coder.encode(symbols, level, height, width)
    again = coder.decode(data, sorted(channels), level, height, width)
    assert again.keys() == symbols.keys()
    assert all(np.array_equal(again[channel], symbols[channel]) for channel in symbols)


def test_real_symbols_cost_at_most_five_percent_over_the_ideal(encoder, photograph) -> None:
    from gsc_ros.latents.geometry import Geometry

    latents = encoder.latents
    geometry = Geometry(*photograph.shape[:2])
    planes = latents.analyse(latents.tensor(geometry.shrink(photograph, latents.layout)))
    for level in (0, 13, 31):
        symbols = latents.quantise(planes, level)
        data = latents.coder.encode(symbols, level, *geometry.nominal)
        ideal = sum(latents.coder.cost(symbols, level, *geometry.nominal).values()) / 8
        assert ideal * 0.999 - 1 <= len(data) <= 1.05 * ideal + 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sets(st.integers(0, 19)), st.integers(0, 7))
def test_any_bytes_give_symbols_or_a_coder_error(encoder, data, channels, level) -> None:
    try:
        symbols = encoder.latents.coder.decode(data, sorted(channels), level, 200, 300)
    except CoderError:
        return
    assert all(np.abs(plane).max() <= 127 for plane in symbols.values())


def test_weights_beyond_exact_sums_are_refused(encoder) -> None:
    import dataclasses

    from gsc_ros.entropy.channels import ChannelTables

    grid = ChannelTables.load(encoder.profile.files, "channels.safetensors", encoder.latents.layout).grids[1]
    with pytest.raises(ChannelError, match="not exact"):
        dataclasses.replace(grid, out=np.full_like(grid.out, 2**31 - 1)).check()


def test_the_integer_network_is_the_trained_one(encoder, photograph) -> None:
    """Real symbols cost the same under the integer tables as under the float network, before fitting."""
    import torch

    from gsc_ros.entropy.channels import ChannelCoder
    from gsc_ros.entropy.context import bits
    from gsc_ros.latents.geometry import Geometry
    from gsc_ros.training.tables import quantise

    latents = encoder.latents
    codec = latents.codec
    geometry = Geometry(*photograph.shape[:2])
    planes = latents.analyse(latents.tensor(geometry.shrink(photograph, latents.layout)))
    symbols = latents.quantise(planes, 4)
    ours = sum(
        ChannelCoder(quantise(codec.context.grid64, codec.context.grid32), latents.layout)
        .cost(symbols, 4, *geometry.nominal)
        .values()
    )
    lead = torch.tensor(np.stack([symbols[c] for c in range(4)]))[None].float()
    rest = torch.tensor(np.stack([symbols[c] for c in range(4, 20)]))[None].float()
    with torch.inference_mode():
        models = codec.context(lead, rest, codec.condition(torch.tensor([4]), torch.ones(1, 20)))
        floats = sum(float(bits(grid, *model).sum()) for grid, model in zip((lead, rest), models, strict=True))
    assert ours == pytest.approx(floats, rel=0.03)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sets(st.integers(0, 19)), st.integers(0, 31), st.integers(0, 31), st.integers(0, 3))
def test_symbols_with_memory_come_back_exactly(encoder, seed, channels, level, then, activity) -> None:
    """Whatever the earlier frame held, related or not."""
    import dataclasses

    from gsc_ros.memory import Remembered

    latents, size = encoder.latents, (150, 200)
    symbols = random_symbols(latents, seed, sorted(channels), size, 2.0)
    earlier = random_symbols(latents, seed + 1, sorted(channels | {3, 9}), size, 20.0)
    held = Remembered(
        sequence=0, width=200, height=150, scale=4, level=then,
        symbols={channel: plane.astype(np.int8) for channel, plane in earlier.items()},
    )  # fmt: skip
    expected = dataclasses.replace(latents.expect(held, level), activity=activity)
    coder = latents.coder_for(expected)
    data = coder.encode(symbols, level, *size, expected)
    again = coder.decode(data, sorted(channels), level, *size, expected)
    assert all(np.array_equal(again[channel], symbols[channel]) for channel in symbols)
    bits = sum(coder.cost(symbols, level, *size, expected).values())
    assert len(data) <= 1.05 * bits / 8 + 2
