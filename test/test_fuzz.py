"""Whatever comes in gives symbols or a BitstreamError, for a bounded number of symbols; nothing else, and no warning of numpy."""

from __future__ import annotations

import binascii
import dataclasses
import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import scene

from gsc_ros.bitstream import MAX_PACKET, SIZES, BitstreamError, caption_reference, pack
from gsc_ros.decoder import DecodeSettings
from gsc_ros.encoder import EncodeSettings
from gsc_ros.entropy.text import TextCoder
from gsc_ros.frame import MAX_CODED_PIXELS, Frame, TextMode
from gsc_ros.frame_messages import SCALARS, frame_of

SMALL = DecodeSettings(realism=1.0, steps=1, max_pixels=4096)


@pytest.fixture(scope="module")
def genuine(encoder) -> list[list[Frame]]:
    """Frames of two cameras, of which the later ones build on the first and repeat its caption."""
    found = []
    for seed, caption in ((1, "a red truck at the gate"), (2, "brücke über den Fluß")):
        camera = encoder.for_another_camera(first_sequence=65_534)
        settings = EncodeSettings(level=8, memory="key", caption_mode="fixed", caption=caption)
        view = scene(seed, 130, 200)
        found.append([camera.encode(np.roll(view, step, axis=1), settings).frame for step in range(4)])
    assert any(frame.reference for frame in found[0])
    assert {frame.text_mode for frames in found for frame in frames} >= {TextMode.CODED, TextMode.REFERENCE}
    return found


def sealed(body: bytes) -> bytes:
    return body + binascii.crc_hqx(body, 0).to_bytes(2, "big")


def side(rng: random.Random) -> int:
    """Mostly small: a large one costs as much as a hundred of them."""
    if rng.random() < 0.01:
        return rng.choice([4095, 4096, rng.randint(16, 4096)])
    return rng.choice([16, 17, 31, 32, 33, 64, rng.randint(16, 400)])


def any_frame(rng: random.Random, fingerprint: int) -> Frame:
    """A frame that is allowed, whatever it says."""
    width, height = rng.choice(SIZES[1:10]) if rng.random() < 0.2 else (side(rng), side(rng))
    ids = tuple(sorted(rng.sample(range(20), rng.choice([0, 1, 20, rng.randint(0, 20)]))))
    mode = rng.choice(list(TextMode))
    text = {TextMode.NONE: b"", TextMode.REFERENCE: caption_reference(rng.randint(1, 255), "x")}.get(mode)
    return Frame(
        fingerprint=fingerprint, sequence=rng.randrange(65_536), width=width, height=height,
        scale=rng.choice([0, 3, 4, 31, rng.randint(0, 31)]), level=rng.choice([0, 31, rng.randint(0, 31)]),
        channel_count=20, channel_ids=ids, text_mode=mode, text=rng.randbytes(rng.randint(0, 40)) if text is None else text,
        channels=rng.randbytes(rng.choice([0, 2, 50, 900])) if ids else b"",
    )  # fmt: skip


def mutated(rng: random.Random, packet: bytes) -> bytes:
    """Some bytes changed, cut off or added, with a right checksum most of the time."""
    body = bytearray(packet[:-2])
    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randint(1, 6)):
            body[rng.randrange(len(body) if rng.random() < 0.2 else 3, len(body) + 1) - 1] = rng.randrange(256)
    elif kind == 1:
        del body[rng.randrange(3, len(body)) :]
    elif kind == 2:
        body += rng.randbytes(rng.randint(0, 60))
    else:
        body = bytearray(rng.randbytes(rng.randint(0, 40)))
    if rng.random() < 0.002:
        body += rng.randbytes(MAX_PACKET - len(body) + rng.randint(-10, 10))
    return sealed(bytes(body)) if rng.random() < 0.8 else bytes(body)


def as_message(rng: random.Random, frame: Frame) -> SimpleNamespace:
    """A GscFrame of ``frame`` with some of its fields anything that their types hold."""
    fields = {name: getattr(frame, name) for name in SCALARS}
    fields |= {"channel_ids": list(frame.channel_ids), "text_mode": int(frame.text_mode)}
    fields |= {"text": list(frame.text), "channels": list(frame.channels)}
    for _ in range(rng.randint(0, 3)):
        name = rng.choice(list(fields))
        if isinstance(fields[name], list):
            most = 65_535 if name == "channel_ids" else 255
            fields[name] = [rng.randint(0, most) for _ in range(rng.choice([0, 1, 3, 21, 5000]))]
        else:
            fields[name] = rng.choice([0, 1, 63, 64, 255, 65_535, 2**32 - 1])
    return SimpleNamespace(**fields)


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_fuzz(decoder, genuine, monkeypatch, count) -> None:
    rng = random.Random(count)
    fingerprint = decoder.profile.wire_fingerprint
    characters = [0]
    frequencies = TextCoder.frequencies

    def counted(self, contexts):
        characters[0] += 1
        return frequencies(self, contexts)

    monkeypatch.setattr(TextCoder, "frequencies", counted)
    read = built = refused = shown = 0
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for index in range(count):
            if index % 20 == 0:
                first, *later = rng.choice(genuine)
                receiver = decoder.for_another_camera()
                if rng.random() < 0.8:
                    receiver.read(first)
            characters[0] = 0
            try:
                kind = index % 5
                if kind < 2:
                    frame = receiver.unpack(mutated(rng, pack(rng.choice([first, *later]))))
                elif kind == 2:
                    frame = receiver.unpack(pack(any_frame(rng, fingerprint)))
                elif kind == 3:
                    # What it builds on is held, and anything may come of the rest.
                    other = any_frame(rng, fingerprint)
                    like = {name: getattr(first, name) for name in ("width", "height", "scale")}
                    held = receiver._memory.find(first.sequence)
                    check = held.check if held else 0
                    frame = dataclasses.replace(
                        other, **like, sequence=first.sequence + 5 & 0xFFFF, reference=5, reference_check=check,
                        activity=rng.randint(0, 3),
                    )  # fmt: skip
                else:
                    frame = frame_of(as_message(rng, rng.choice([first, *later])))
                    if rng.random() < 0.5:
                        pack(frame)
                message = receiver.read(frame)
                read += 1
                built += bool(frame.reference)
            except BitstreamError as error:
                assert "\n" not in str(error)
                refused += 1
                continue
            finally:
                assert characters[0] <= 4 * 1025
            assert sum(plane.size for plane in message.symbols.values()) <= MAX_CODED_PIXELS // 64**2 * 68
            if read % 40 == 0 and frame.width * frame.height <= 1 << 18:
                result = receiver.reconstruct(message, SMALL)
                assert result.image.shape == (frame.height, frame.width, 3)
                shown += 1
    assert refused > count // 5
    assert read > count // 5  # the fuzz reaches entropy decoding, not only the checksum
    assert built > count // 40
    assert shown > count // 400


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(16, 4096, 31), (4096, 16, 31), (16, 16, 31), (16, 4096, 0), (4096, 16, 4), (17, 33, 0), (4096, 4095, 31)],
)
@pytest.mark.parametrize("level", [0, 31])
def test_heads_at_the_edge_of_what_is_allowed_are_painted(decoder, width, height, scale, level) -> None:
    receiver = decoder.for_another_camera()
    frame = Frame(
        fingerprint=decoder.profile.wire_fingerprint, sequence=65_535, width=width, height=height, scale=scale,
        level=level, channel_count=20, channel_ids=tuple(range(20)), text_mode=TextMode.NONE, text=b"",
        channels=b"",
    )  # fmt: skip
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        first = receiver.read(frame)
        held = receiver._memory.find(65_535)
        assert held is not None
        built = dataclasses.replace(frame, sequence=0, reference=1, reference_check=held.check, activity=3)
        for message in (first, receiver.read(built)):
            result = receiver.reconstruct(message, SMALL)
            assert result.image.shape == (height, width, 3) and result.confidence.shape == (height, width)
