"""Cutting and reassembly: any order, any losses, one frame at a time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.fragments import MAX_HELD, FragmentError, Reassembler, cut


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=900), st.integers(8, 200), st.randoms(use_true_random=False))
def test_pieces_in_any_order_and_twice_give_the_body(body, room, rng) -> None:
    pieces = cut(body, room)
    assert all(len(piece) <= room for _, piece in pieces)
    shuffled = pieces * 2
    rng.shuffle(shuffled)
    reassembler = Reassembler()
    whole = [result for mark, piece in shuffled if (result := reassembler.add(7, mark, piece)) is not None]
    assert whole[0] == body
    assert all(again == body for again in whole)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.6))
def test_a_lost_piece_costs_its_own_frame_and_no_other(seed, loss) -> None:
    rng = random.Random(seed)
    reassembler = Reassembler()
    for number in range(600):
        body = rng.randbytes(rng.randrange(1, 400))
        pieces = cut(body, 64)
        kept = [piece for piece in pieces if rng.random() >= loss]
        whole = [r for mark, piece in kept if (r := reassembler.add(number + 230 & 0xFF, mark, piece)) is not None]
        assert whole == ([body] if len(kept) == len(pieces) else [])


def test_what_is_kept_is_bounded() -> None:
    reassembler = Reassembler()
    for number in range(256):
        assert reassembler.add(number, 0, bytes(1000)) is None
    assert len(reassembler._frames) == 4
    assert reassembler.abandoned == 252


@pytest.mark.parametrize("size", [1400, 9000, 60_000])
def test_a_camera_never_holds_more_than_a_megabyte(size) -> None:
    """Pieces as large as datagrams can be, of frames that never end; then one that does."""
    reassembler = Reassembler()
    begun = 0
    for number in range(50):
        for index in range(127):
            reassembler.add(number, index, bytes([number]) * size)
            assert reassembler.held <= MAX_HELD
            assert reassembler.held == sum(
                len(piece) for partial in reassembler._frames.values() for piece in partial._pieces.values()
            )
        begun += 1
    assert reassembler.abandoned >= begun - 4
    assert reassembler.add(77, 0, b"x") is None
    assert reassembler.add(77, 0x81, b"y") == b"xy"


def test_a_frame_of_too_many_pieces_is_refused() -> None:
    with pytest.raises(FragmentError, match="at most 128 pieces"):
        cut(bytes(1000), 7)
