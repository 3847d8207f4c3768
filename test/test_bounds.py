"""What a packet may cost, counted: pixels that models are given, symbols, bytes that are allocated."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from gsc_ros.bitstream import BitstreamError, pack
from gsc_ros.decoder import DecodeSettings
from gsc_ros.encoder import EncodeSettings
from gsc_ros.entropy.channels import places
from gsc_ros.frame import MAX_CODED_PIXELS, MAX_SIDE, MIN_SIDE, Frame, TextMode
from gsc_ros.generators import MAX_PIXELS
from gsc_ros.generators.nano_flow import NanoFlow
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.latents.transform import Synthesis
from gsc_ros.scale import ScaleFinder, own_scale

NANO, PAPER = LatentLayout(), LatentLayout(strides=(16,), counts=(320,), reduction=1)
MB = 10**6


def claims(decoder, width: int, height: int, scale: int, channels: int = 20, **changes) -> Frame:
    """A frame of a few bytes that claims all of that."""
    fields = {
        "fingerprint": decoder.profile.wire_fingerprint, "sequence": 1, "level": 31, "channel_count": 20,
        "text_mode": TextMode.NONE, "text": b"", "channels": b"",
    }  # fmt: skip
    return Frame(
        width=width, height=height, scale=scale, channel_ids=tuple(range(channels)), **fields | changes
    )  # fmt: skip


def peak(work: Callable[[], object]) -> int:
    """Bytes that were allocated at once while ``work`` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(4096, 4096, 4), (4096, 4096, 0), (2048, 2048, 3), (4096, 1060, 4)]
)
def test_a_claim_beyond_the_limit_is_refused_before_anything_is_allocated(decoder, width, height, scale) -> None:
    packet = pack(claims(decoder, width, height, scale))
    assert len(packet) <= 14

    def refused() -> None:
        with pytest.raises(BitstreamError, match=f"at most {MAX_CODED_PIXELS}") as caught:
            decoder.decode(packet)
        assert "\n" not in str(caught.value)

    assert peak(refused) < 0.2 * MB


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(2048, 2048, 4), (4096, 4096, 8), (4096, 256, 0), (16, 4096, 0)]
)
@pytest.mark.parametrize("data", [b"", b"\xff" * 3000])
def test_reading_is_bounded_with_and_without_memory(decoder, width, height, scale, data) -> None:
    receiver = decoder.for_another_camera()
    frame = dataclasses.replace(claims(decoder, width, height, scale), channels=data)

    def read() -> None:
        try:
            message = receiver.read(frame)
        except BitstreamError:
            return
        assert sum(plane.size for plane in message.symbols.values()) <= MAX_CODED_PIXELS // 64**2 * 68
        held = receiver._memory.find(frame.sequence)
        assert held is not None
        receiver.read(dataclasses.replace(frame, sequence=2, reference=1, reference_check=held.check, channels=b""))

    assert peak(read) < 64 * MB


def test_a_frame_that_names_a_large_one_of_text_alone_allocates_no_neighbourhoods(decoder) -> None:
    receiver = decoder.for_another_camera()
    receiver.read(claims(decoder, 4096, 4096, 0, channels=0))
    held = receiver._memory.find(1)
    assert held is not None
    built = claims(decoder, 4096, 4096, 0, channels=0, sequence=2, reference=1, reference_check=held.check)
    assert peak(lambda: receiver.read(built)) < 16 * MB


@pytest.mark.parametrize(("layout", "aim"), [(NANO, 14), (PAPER, None)])
def test_nothing_that_the_encoder_chooses_is_refused_or_painted_smaller(layout: LatentLayout, aim: int | None) -> None:
    sides = [*range(MIN_SIDE, MAX_SIDE, 127), 1023, 1024, 1449, 2048, MAX_SIDE]
    finder = None if aim is None else ScaleFinder(layout, aim)
    for height in sides:
        for width in sides:
            scales = [own_scale(height, width)]
            if finder is not None:
                scales += [finder.largest(height, width, patience) for patience in (None, 0.0)]
                scales.append(finder.start(height, width, 60_000, refined=True, patience=None))
            for scale in scales:
                pixels = Geometry(height, width, scale).pixels(layout)
                assert pixels <= MAX_PIXELS <= MAX_CODED_PIXELS


def test_noise_at_the_finest_level_without_a_budget_is_read_again(encoder, decoder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1448, 1448, 3), dtype=np.uint8)
    camera = encoder.for_another_camera()
    packet = camera.encode(noise, EncodeSettings(level=31, caption_mode="off")).packet
    assert decoder.for_another_camera().read(decoder.unpack(packet)).symbols


@pytest.fixture
def given(monkeypatch) -> dict[str, int]:
    """The most pixels of the frame at once that g_s and the flow were given."""
    most = {"synthesis": 0, "flow": 0}
    features, generate = Synthesis.features, NanoFlow.generate

    def synthesised(self, y64, y32, condition):
        most["synthesis"] = max(most["synthesis"], y32.shape[2] * y32.shape[3] * 32**2)
        return features(self, y64, y32, condition)

    def painted(self, fidelity, control, *rest, **named):
        assert control.shape[2:] == tuple(side // 32 for side in fidelity.shape[2:])
        most["flow"] = max(most["flow"], fidelity.shape[2] * fidelity.shape[3])
        return generate(self, fidelity, control, *rest, **named)

    monkeypatch.setattr(Synthesis, "features", synthesised)
    monkeypatch.setattr(NanoFlow, "generate", painted)
    return most


@pytest.mark.parametrize(
    ("width", "height", "scale", "channels", "max_pixels"),
    [(1024, 1024, 4, 20, 1 << 18), (4096, 2000, 8, 20, 1 << 16), (16, 4096, 0, 3, 4096), (4096, 4096, 0, 0, 1 << 18)],
)
def test_no_more_is_painted_than_was_allowed(decoder, given, width, height, scale, channels, max_pixels) -> None:
    packet = pack(claims(decoder, width, height, scale, channels))
    settings = DecodeSettings(realism=1.0, steps=1, max_pixels=max_pixels)
    result = decoder.for_another_camera().decode(packet, settings)
    assert result.image.shape == (height, width, 3) and result.confidence.shape == (height, width)
    assert 0 < given["flow"] <= max_pixels
    assert 0 < given["synthesis"] <= (MAX_CODED_PIXELS if channels else max_pixels)
    assert bool(result.notice) == bool(channels)
    if channels:
        assert f"max_pixels is {max_pixels}" in result.notice and "\n" not in result.notice


def test_the_default_bounds_what_is_painted(decoder, given) -> None:
    decoder.for_another_camera().decode(pack(claims(decoder, 1600, 1600, 4)), DecodeSettings(realism=1.0, steps=1))
    assert given["flow"] <= MAX_PIXELS


def test_painted_smaller_the_picture_of_the_symbols_is_whole_and_the_sample_near(encoder, decoder, photograph) -> None:
    from gsc_ros.evaluation.metrics import psnr

    packet = encoder.for_another_camera().encode(photograph, EncodeSettings(max_bytes=600)).packet
    whole, small = (
        [
            decoder.for_another_camera().decode(packet, DecodeSettings(realism=realism, max_pixels=most))
            for realism in (0.0, 1.0)
        ]
        for most in (MAX_PIXELS, 1 << 18)
    )
    assert np.array_equal(whole[0].image, small[0].image)
    assert small[1].notice and not any(result.notice for result in (*whole, small[0]))
    assert psnr(photograph, small[1].image) > psnr(photograph, whole[1].image) - 3


def test_another_limit_is_another_picture(encoder, decoder, photograph, given) -> None:
    packet = encoder.for_another_camera().encode(photograph, EncodeSettings(max_bytes=300)).packet
    receiver = decoder.for_another_camera()
    few = receiver.decode(packet, DecodeSettings(realism=1.0, max_pixels=1 << 16))
    many = receiver.decode(packet, DecodeSettings(realism=1.0))
    assert not np.array_equal(few.image, many.image)
    assert not many.notice


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_pixels": 4095}, "max_pixels 4095: at least 4096"),
        ({"size": (0, 10)}, "size 0x10: 1 to 4096"),
        ({"size": (10, 5000)}, "size 10x5000"),
    ],
)
def test_settings_beyond_bounds_are_refused(decoder, changes, words) -> None:
    message = decoder.for_another_camera().read(claims(decoder, 64, 64, 4))
    with pytest.raises(ValueError, match=words):
        decoder.reconstruct(message, DecodeSettings(**changes))


def test_a_frame_as_large_as_any_is_shown_within_half_a_gigabyte(decoder) -> None:
    packet = pack(claims(decoder, 4096, 4096, 12))
    assert peak(lambda: decoder.for_another_camera().decode(packet, DecodeSettings(realism=0.0))) < 450 * MB


def test_sizes_that_came_once_are_not_kept_for_good(decoder) -> None:
    for side in range(16, 2000, 31):
        decoder.for_another_camera().read(claims(decoder, side, 64, 8, channels=1))
    assert places.cache_info().currsize <= places.cache_info().maxsize <= 64
