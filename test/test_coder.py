"""The range coder: whole bytes, none too many."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.entropy.coder import TOTAL, SymbolDecoder, SymbolEncoder


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 120), st.integers(2, 60), st.sampled_from([0.02, 0.2, 2.0]))
def test_symbols_come_back_and_cost_less_than_a_byte_too_much(
    seed: int, count: int, alphabet: int, evenness: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.maximum(
        1, (rng.dirichlet(np.full(alphabet, evenness), size=count) * (TOTAL - 2 * alphabet)).astype(np.int64)
    )
    if count:
        rows[np.arange(count), rows.argmax(axis=1)] += TOTAL - rows.sum(axis=1)
    symbols = np.array([rng.choice(alphabet, p=row / TOTAL) for row in rows], dtype=np.int32)
    coder = SymbolEncoder()
    coder.encode(symbols[: count // 2], rows[: count // 2])
    coder.encode(symbols[count // 2 :], rows[count // 2 :])
    data = coder.finish()
    reader = SymbolDecoder(data)
    again = np.concatenate([reader.decode(rows[: count // 2]), reader.decode(rows[count // 2 :])])
    assert np.array_equal(again, symbols)
    ideal = -np.log2(rows[np.arange(count), symbols] / TOTAL).sum() / 8 if count else 0.0
    assert len(data) <= ideal + 1.01
