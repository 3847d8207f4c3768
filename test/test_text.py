"""The caption coder: exact for any text, cheap for English captions."""

from __future__ import annotations

import contextlib
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.bench.text import measure
from gsc_ros.entropy import text as text_coding
from gsc_ros.entropy.coder import CoderError
from gsc_ros.entropy.text import MAX_CHARACTERS, Contexts, TextCoder, TextError, TextTable
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


def spelled_out(history: str) -> list[bytes]:
    """The contexts of docs/bitstream.md, section 3, from the whole of ``history``."""
    head, _, word = history.rpartition(" ")
    words = head.lower().split(" ")
    previous, before = words[-1] or "^", words[-2] if len(words) > 1 else "^"
    names = ["0", *(f"{order}{history[-order:]}" for order in (1, 2, 3))]
    names.append(f"w{word}" if len(word) > 4 else f"5{history[-5:]}")
    return [name.encode() for name in [*names, f"b{previous} {word}", f"t{before} {previous} {word}"]]


@given(st.text(alphabet="aBcD  .\x7f", max_size=40))
def test_the_contexts_are_those_of_the_document(history: str) -> None:
    contexts = Contexts()
    for end, character in enumerate(history):
        assert contexts.names() == [zlib.crc32(name) for name in spelled_out(history[:end])]
        contexts.advance(ord(character))


def work_of(coder: TextCoder, data: bytes, monkeypatch) -> tuple[int, int]:
    """Symbols that decoding ``data`` looks at, and bytes that it hashes."""
    symbols = hashed = 0
    frequencies, crc32 = TextCoder.frequencies, zlib.crc32

    def counted(self: TextCoder, contexts: Contexts):
        nonlocal symbols
        symbols += 1
        return frequencies(self, contexts)

    def hash_of(piece: bytes, value: int = 0) -> int:
        nonlocal hashed
        hashed += len(piece)
        return crc32(piece, value)

    with monkeypatch.context() as patched:
        patched.setattr(TextCoder, "frequencies", counted)
        patched.setattr(text_coding.zlib, "crc32", hash_of)
        with contextlib.suppress(TextError):
            coder.decode(data)
    return symbols, hashed


def test_decoding_stops_at_the_limit_and_costs_as_much_for_the_last_character_as_for_the_first(
    coder: TextCoder, monkeypatch
) -> None:
    symbols, _ = work_of(coder, b"", monkeypatch)  # bytes of nothing: zeros to no end
    assert symbols == MAX_CHARACTERS + 1
    for text in ("a road in the hills " * 60, "x" * 2000):
        data = coder.encode(text[:MAX_CHARACTERS])
        symbols, hashed = work_of(coder, data, monkeypatch)
        assert symbols == MAX_CHARACTERS + 1
        assert hashed < 40 * symbols
    rng = random.Random(3)
    for _ in range(20):
        symbols, hashed = work_of(coder, rng.randbytes(rng.randrange(4096)), monkeypatch)
        assert symbols <= 4 * (MAX_CHARACTERS + 1)
        assert hashed < 40 * symbols
    assert len(coder._short) <= text_coding.SHORT_KEPT


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
