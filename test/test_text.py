"""The caption coder: exact for any text, cheap for English captions."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.bench.text import measure
from gsc_ros.entropy.coder import CoderError
from gsc_ros.entropy.text import MAX_CHARACTERS, TextCoder, TextError, TextTable
from gsc_ros.profiles import load_profile

DESCRIPTIONS = Path(__file__).parent / "golden" / "descriptions.txt"


@pytest.fixture(scope="module")
def coder() -> TextCoder:
    return TextCoder(TextTable.load(load_profile("nano").files))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(coder: TextCoder, text: str) -> None:
    assert coder.decode(coder.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_text_or_a_coder_error(coder: TextCoder, data: bytes) -> None:
    with contextlib.suppress(CoderError):
        coder.decode(data)


def test_captions_never_seen_cost_at_most_2_1_bits_a_character(coder: TextCoder, shared_data) -> None:
    held_out = (shared_data / "captions" / "coco_train.txt").read_text(encoding="utf-8").splitlines()[-1500::5]
    assert measure(coder, held_out)["bits_per_character"] <= 2.1


def test_longer_descriptions_cost_at_most_2_6_bits_a_character(coder: TextCoder) -> None:
    lines = DESCRIPTIONS.read_text(encoding="utf-8").splitlines()
    assert all(150 <= len(line) <= 300 for line in lines)
    assert measure(coder, lines)["bits_per_character"] <= 2.6


def test_a_text_too_long_is_refused(coder: TextCoder) -> None:
    with pytest.raises(TextError, match="at most 1024"):
        coder.encode("x" * (MAX_CHARACTERS + 1))


def test_the_table_stays_within_two_megabytes() -> None:
    assert (load_profile("nano").weights / "text.safetensors").stat().st_size <= 2_000_000
