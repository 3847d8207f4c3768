"""The packet: exact both ways, pinned by golden files, and safe against anything."""

from __future__ import annotations

import binascii
import json
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.bitstream import SIZES, BitstreamError, caption_reference, head_bytes, pack, unpack
from gsc_ros.frame import Frame, TextMode

GOLDEN = Path(__file__).parent / "golden" / "packets.json"


@st.composite
def frames(draw) -> Frame:
    total = draw(st.sampled_from([20, 320]))
    count = draw(st.integers(0, min(total, 20)))
    prefix = draw(st.booleans())
    ids = (
        tuple(range(count))
        if prefix
        else tuple(sorted(draw(st.sets(st.integers(0, total - 1), min_size=count, max_size=count))))
    )
    mode = draw(st.sampled_from(list(TextMode)))
    text = {
        TextMode.NONE: st.just(b""),
        TextMode.REFERENCE: st.builds(caption_reference, st.integers(1, 255), st.text(max_size=20)),
    }.get(mode, st.binary(max_size=200))
    memory = st.one_of(
        st.just({}),
        st.fixed_dictionaries(
            {"reference": st.integers(1, 63), "reference_check": st.integers(0, 0xFFFF), "activity": st.integers(0, 3)}
        ),
    )
    width, height = draw(st.one_of(st.sampled_from(SIZES[1:]), st.tuples(st.integers(16, 4096), st.integers(16, 4096))))
    return Frame(
        fingerprint=draw(st.integers(0, 0xFFFF)), sequence=draw(st.integers(0, 0xFFFF)), width=width, height=height,
        scale=draw(st.integers(0, 31)), level=draw(st.integers(0, 31)), channel_count=total, channel_ids=ids,
        text_mode=mode, text=draw(text), channels=draw(st.binary(max_size=300)) if ids else b"",
        **draw(memory),
    )  # fmt: skip


@given(frames())
def test_a_packet_says_exactly_what_the_frame_said(frame: Frame) -> None:
    assert unpack(pack(frame), channel_count=frame.channel_count) == frame


@given(frames(), st.data())
def test_no_single_damaged_byte_passes(frame: Frame, data) -> None:
    packet = bytearray(pack(frame))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BitstreamError):
        unpack(bytes(packet), channel_count=frame.channel_count)


def simple(**changes) -> Frame:
    values = {
        "fingerprint": 0x1234, "sequence": 7, "width": 640, "height": 480, "scale": 1, "level": 3, "channel_count": 20,
        "channel_ids": tuple(range(8)), "text_mode": TextMode.CODED, "text": b"abc", "channels": b"0123456789",
    }  # fmt: skip
    return Frame(**{**values, **changes})


def test_the_head_takes_at_most_twelve_bytes_in_the_common_case() -> None:
    assert head_bytes(simple()) <= 12
    assert head_bytes(simple(text_mode=TextMode.NONE, text=b"")) <= 12


def test_golden_packets_are_what_they_always_were() -> None:
    for entry in json.loads(GOLDEN.read_text())["frames"]:
        fields = entry["frame"]
        frame = Frame(
            **{name: fields[name] for name in ("fingerprint", "sequence", "width", "height", "scale", "level", "channel_count", "reference", "reference_check", "activity")},
            channel_ids=tuple(fields["channel_ids"]), text_mode=TextMode(fields["text_mode"]),
            text=bytes.fromhex(fields["text"]), channels=bytes.fromhex(fields["channels"]),
        )  # fmt: skip
        packet = bytes.fromhex(entry["packet"])
        assert pack(frame) == packet
        assert unpack(packet, channel_count=frame.channel_count) == frame


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 4097}, "width 4097: 16 to 4096"),
        ({"height": 0}, "height 0"),
        ({"scale": 32}, "scale 32"),
        ({"level": 32}, "level 32"),
        ({"channel_ids": (3, 2)}, "ascending"),
        ({"channel_ids": (0, 20)}, "below 20"),
        ({"text_mode": TextMode.REFERENCE, "text": b"\0\1\2"}, "1 to 255"),
        ({"text_mode": TextMode.REFERENCE, "text": b"\1"}, "three bytes"),
        ({"text": bytes(4097)}, "length of the text 4097"),
        ({"text_mode": TextMode.NONE}, "says it has none"),
        ({"channel_ids": ()}, "no channel"),
        ({"reference": 64}, "reference 64: 0 to 63"),
        ({"reference_check": 5}, "checksum of the reference 5"),
        ({"activity": 1}, "activity 1"),
    ],
)
def test_a_frame_that_cannot_be_is_refused_in_plain_words(changes: dict, words: str) -> None:
    with pytest.raises(BitstreamError, match=words):
        pack(simple(**changes))


def sealed(body: bytes) -> bytes:
    """A packet whose checksum is right, whatever it says."""
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")


def test_a_packet_with_a_right_checksum_and_wrong_claims_is_refused() -> None:
    good = pack(simple())[:-2]
    without = (4 << 11 | 3).to_bytes(2, "big")  # no size code
    cases = {
        "version": bytes([0x10]) + good[1:],
        "builds on itself": bytes([good[0] | 8]) + good[1:7] + b"\xc0\0\0" + good[7:],
        "size code": good[:5] + (4 << 11 | len(SIZES) << 5 | 3).to_bytes(2, "big") + good[7:],
        "channels": good[:7] + bytes([21]) + good[8:],
        "ends early": good[:8] + b"\xff\x7f" + good[9:],
        "code of its own": good[:5] + without + b"\x80\x05" + b"\xe0\x03" + good[7:],
        "longer than it needs": good[:5] + without + b"\x90\x00" + b"\x20" + good[7:],
    }
    for words, body in cases.items():
        with pytest.raises(BitstreamError, match=words):
            unpack(sealed(body), channel_count=20)


def test_a_subset_costs_no_more_than_its_rank() -> None:
    frame = simple(channel_count=320, channel_ids=(3, 50, 51, 319))
    bits = (comb(320, 4) - 1).bit_length()
    assert len(pack(frame)) == len(pack(simple())) + 3 + (bits + 7) // 8 - 1 + 0


def looks(body: bytes) -> str:
    """What is said of ``body``, which cannot be unpacked."""
    with pytest.raises(BitstreamError) as caught:
        unpack(body, channel_count=20)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_packet_is_told_from_what_was_damaged_and_what_is_of_another_version() -> None:
    good = pack(simple())
    png = b"\x89PNG\r\n\x1a\n" + bytes(90)
    assert "not a GSC packet: it looks like a PNG file" in looks(png)
    assert "not a GSC packet: it looks like a JPEG file" in looks(b"\xff\xd8\xff\xe0" + bytes(100_000))
    assert "not a GSC packet; one begins with its version, 7" in looks(b"# some text, not a packet")
    assert "not a GSC packet" in looks(bytes(30))  # zeros have a right checksum
    assert "not a GSC packet; 0 bytes, 10 to 65535" in looks(b"")
    assert "not a GSC packet; 9 bytes" in looks(good[:9])
    assert "damaged on its way" in looks(good[:-1] + bytes([good[-1] ^ 1]))
    for version in (6, 8):
        older = sealed(bytes([version << 4 | good[0] & 15]) + good[1:-2])
        assert f"version {version} of the bitstream: this decoder reads version 7; use the same release" in looks(older)


def test_a_caption_reference_takes_three_bytes() -> None:
    assert caption_reference(7, "brücke") == b"\7" + binascii.crc_hqx("brücke".encode(), 0).to_bytes(2, "big")
    frame = simple(text_mode=TextMode.REFERENCE, text=caption_reference(7, "brücke"))
    assert len(pack(frame)) == len(pack(simple(text_mode=TextMode.NONE, text=b""))) + 3
    assert head_bytes(frame) == head_bytes(simple(text_mode=TextMode.NONE, text=b""))
