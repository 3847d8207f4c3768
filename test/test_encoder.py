"""The encoder: budgets that hold for any picture, captions by reference, clear refusals."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from conftest import scene
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.bitstream import unpack
from gsc_ros.decoder import DecodeSettings
from gsc_ros.encoder import EncodeError, EncodeSettings
from gsc_ros.frame import OWN_SIZE, TextMode


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(16, 400),
    st.integers(16, 400),
    st.integers(24, 800),
    st.sampled_from(["order", "ssim", "rate"]),
    st.one_of(st.none(), st.integers(1, 20)),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300),
)
def test_the_byte_budget_is_never_exceeded(encoder, seed, height, width, budget, selection, channels, caption) -> None:
    asked = EncodeSettings(
        max_bytes=budget, selection=selection, channels=channels, caption_mode="fixed", caption=caption
    )
    encoded = encoder.for_another_camera().encode(scene(seed, height, width), asked)
    assert len(encoded.packet) <= budget
    assert unpack(encoded.packet, channel_count=20) == encoded.frame
    assert channels is None or len(encoded.frame.channel_ids) <= channels


def test_noise_of_four_thousand_pixels_a_side_fits_twenty_four_bytes(encoder) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4096, 4096, 3), dtype=np.uint8)
    encoded = encoder.encode(image, EncodeSettings(max_bytes=24, caption_mode="off"))
    assert len(encoded.packet) <= 24


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 127), (375, 1242), (800, 848), (1080, 1920)])
def test_the_output_has_exactly_the_size_of_the_input(encoder, decoder, height, width) -> None:
    from gsc_ros.decoder import DecodeSettings

    packet = encoder.encode(scene(1, height, width), EncodeSettings(max_bytes=300)).packet
    result = decoder.decode(packet, DecodeSettings(realism=0.0))
    assert result.image.shape == (height, width, 3)
    assert result.confidence.shape == (height, width)


def test_a_larger_budget_gives_a_better_picture(encoder, decoder, photograph) -> None:
    from gsc_ros.decoder import DecodeSettings
    from gsc_ros.evaluation.metrics import ms_ssim

    values = []
    for budget in (60, 130, 300, 600):
        packet = encoder.encode(photograph, EncodeSettings(max_bytes=budget)).packet
        values.append(ms_ssim(photograph, decoder.decode(packet, DecodeSettings(realism=0.0)).image))
    assert values == sorted(values)
    assert values[-1] > values[0] + 0.1


def test_a_budget_is_filled(encoder) -> None:
    from gsc_ros.sources import moving_photographs

    settings = EncodeSettings(max_bytes=300, caption_mode="off")
    images = [image for index, image in enumerate(moving_photographs()) if index % 3 == 0]
    parts = [len(encoder.encode(image, settings).packet) / 300 for image in images]
    assert max(parts) <= 1
    assert np.mean(parts) > 0.96  # a plain view may need fewer


@pytest.mark.parametrize("selection", ["order", "ssim", "rate"])
@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
def test_c_channels_are_sent(encoder, photograph, selection, count) -> None:
    encoded = encoder.encode(photograph, EncodeSettings(channels=count, selection=selection, level=31))
    assert len(encoded.frame.channel_ids) == count


def test_an_unchanged_caption_is_a_reference_until_it_is_due_again(encoder, photograph) -> None:
    camera = encoder.for_another_camera()
    settings = EncodeSettings(caption_mode="fixed", caption="the landing site", caption_refresh=4, max_bytes=200)
    modes = [camera.encode(photograph, settings).frame.text_mode for _ in range(9)]
    full, reference = TextMode.CODED, TextMode.REFERENCE
    assert modes == [full, reference, reference, reference, full, reference, reference, reference, full]
    changed = camera.encode(photograph, dataclasses.replace(settings, caption="the second site"))
    assert changed.frame.text_mode is full


def test_a_caption_that_would_starve_the_picture_is_left_out(encoder, photograph) -> None:
    long = EncodeSettings(
        max_bytes=60, caption_mode="fixed", caption="a thousand words about zebras, quartz and xylophones " * 4
    )
    assert encoder.for_another_camera().encode(photograph, long).frame.text_mode is TextMode.NONE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_bytes": 23}, "at least 24"),
        ({"channels": 0}, "1 to 20"),
        ({"channels": 21}, "1 to 20"),
        ({"level": 32}, "0 to 31"),
        ({"selection": "best"}, "order"),
        ({"caption_refresh": 0}, "1 to 255"),
        ({"caption_mode": "fixed", "caption": "x" * 2000}, "at most 1024"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(encoder, photograph, changes, words) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        encoder.encode(photograph, EncodeSettings(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100), np.uint8),
        np.zeros((100, 100, 3), np.float32),
        np.zeros((8, 100, 3), np.uint8),
        np.zeros((5000, 100, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(encoder, image) -> None:
    with pytest.raises(EncodeError, match="image of"):
        encoder.encode(image)


def test_the_same_image_gives_the_same_packet(encoder, photograph) -> None:
    assert (
        encoder.for_another_camera().encode(photograph).packet == encoder.for_another_camera().encode(photograph).packet
    )


@pytest.mark.slow
@pytest.mark.parametrize(("which", "budget"), [(12, 50), (6, 130)])
def test_the_choice_is_close_to_the_best_of_all(encoder, decoder, which, budget) -> None:
    """A sample; `gsc bench choice` does it for many pictures at their full size."""
    from gsc_ros.bench.choice import exhaustive
    from gsc_ros.decoder import DecodeSettings
    from gsc_ros.evaluation.metrics import ms_ssim
    from gsc_ros.sources import moving_photographs

    image = cv2.resize(list(moving_photographs())[which], (240, 180), interpolation=cv2.INTER_AREA)
    encoded = encoder.for_another_camera().encode(image, EncodeSettings(max_bytes=budget, caption_mode="off"))
    chosen = ms_ssim(image, decoder.decode(encoded.packet, DecodeSettings(realism=0.0)).image)
    best, attempts = exhaustive(encoder.latents, encoder, image, budget)
    assert attempts > 50
    assert chosen > 0.97 * best


def test_a_small_frame_with_bytes_to_spare_is_coded_at_twice_its_size_and_looks_better(
    encoder, decoder, photograph
) -> None:
    from gsc_ros.evaluation.metrics import ms_ssim, psnr

    small = cv2.resize(photograph, (320, 240), interpolation=cv2.INTER_AREA)
    once = encoder.for_another_camera().encode(small, EncodeSettings(caption_mode="off", level=31))
    budget = EncodeSettings(caption_mode="off", max_bytes=2 * len(once.packet))
    twice = encoder.for_another_camera().encode(small, budget)
    assert once.frame.scale == OWN_SIZE
    assert twice.frame.scale < 2
    assert len(twice.packet) > 1.8 * len(once.packet)
    shown = [decoder.for_another_camera().decode(result.packet) for result in (once, twice)]
    for measure, better in ((ms_ssim, 0.05), (psnr, 1.0)):
        before, after = (measure(small, result.image) for result in shown)
        assert after > before + better
    assert shown[1].confidence.shape == (240, 320)
    assert shown[1].confidence.mean() > shown[0].confidence.mean()
    sampled = decoder.for_another_camera().decode(twice.packet, DecodeSettings(realism=1.0, steps=1)).image
    assert sampled.shape == small.shape and not np.array_equal(sampled, shown[1].image)


def test_the_scale_follows_the_bytes(encoder, photograph) -> None:
    """Whatever the size and the budget, the level is a middle one; more bytes and smaller frames mean a larger scale."""
    scales = {}
    for side in (320, 640, 1280):
        image = cv2.resize(photograph, (side, side * 3 // 4), interpolation=cv2.INTER_AREA)
        for budget in (60, 150, 400):
            settings = EncodeSettings(caption_mode="off", max_bytes=budget)
            frame = encoder.for_another_camera().encode(image, settings).frame
            scales[side, budget] = frame.scale
            assert len(frame.channel_ids) > 10
            if frame.scale > 0:
                assert abs(frame.level - encoder.latents.level_aimed) <= 8
    assert all(
        scales[side, few] > scales[side, many]
        for side in (640, 1280)
        for few, many in itertools.pairwise((60, 150, 400))
    )
    assert all(scales[320, budget] < scales[640, budget] < scales[1280, budget] for budget in (60, 150))


def test_a_stream_finds_its_scale_in_its_first_frame(encoder, photograph, monkeypatch) -> None:
    camera = encoder.for_another_camera()
    settings = EncodeSettings(caption_mode="off", max_bytes=200)
    seen = []
    analyse = type(encoder.latents).analyse
    monkeypatch.setattr(type(encoder.latents), "analyse", lambda self, x: seen.append(x.shape) or analyse(self, x))
    scales = [camera.encode(photograph, settings).frame.scale for _ in range(4)]
    assert len(set(scales)) == 1
    assert len(seen[-3:]) == 3 and len({tuple(shape) for shape in seen[-3:]}) == 1  # once a frame from then on


def test_patience_bounds_the_size_at_which_a_frame_is_coded(encoder, decoder, photograph) -> None:
    from gsc_ros.evaluation.metrics import ms_ssim

    frame = cv2.resize(photograph, (640, 480), interpolation=cv2.INTER_CUBIC)
    coded = []
    for patience in (0.0, None, 60.0):
        camera = encoder.for_another_camera()
        wish = EncodeSettings(caption_mode="off", max_bytes=1500, patience=patience)
        camera.encode(frame, wish)  # shows how long it takes
        coded.append(camera.encode(frame, wish))
    hurried, patient, waiting = coded
    assert hurried.frame.scale == OWN_SIZE
    assert patient.frame.scale == waiting.frame.scale < 2
    assert len(hurried.packet) < len(patient.packet) <= 1500
    shown = [decoder.for_another_camera().decode(result.packet).image for result in (hurried, patient)]
    assert ms_ssim(frame, shown[1]) > ms_ssim(frame, shown[0]) + 0.01
    with pytest.raises(EncodeError, match="patience -1"):
        encoder.encode(frame, dataclasses.replace(wish, patience=-1.0))


def test_frames_at_twice_their_size_are_built_on_and_refined(encoder, decoder, photograph) -> None:
    from gsc_ros.evaluation.metrics import ms_ssim

    small = cv2.resize(photograph, (320, 240), interpolation=cv2.INTER_AREA)
    sender, receiver = encoder.for_another_camera(), decoder.for_another_camera()
    settings = EncodeSettings(caption_mode="off", max_bytes=200, memory="acknowledged", key_interval=64)
    likeness, scales = [], []
    for _ in range(5):
        encoded = sender.encode(small, settings)
        likeness.append(ms_ssim(small, receiver.decode(encoded.packet).image))
        scales.append(encoded.frame.scale)
        sender.references.acknowledge(encoded.frame.sequence)
    assert len(set(scales)) == 1 and scales[0] < OWN_SIZE
    assert encoded.frame.reference
    assert likeness[-1] > likeness[0] + 0.03


def test_a_plain_view_keeps_its_brightness(encoder, decoder, photograph, monkeypatch) -> None:
    from gsc_ros import choice
    from gsc_ros.evaluation.metrics import psnr

    fog = (200 + 0.1 * cv2.resize(photograph, (640, 400)).astype(np.float32)).astype(np.uint8)
    settings = EncodeSettings(caption_mode="off", max_bytes=200)
    camera = encoder.for_another_camera()
    kept, again = camera.encode(fog, settings), camera.encode(fog, settings)
    assert kept.frame.scale == again.frame.scale
    monkeypatch.setattr(choice, "MUCH_NEARER", 1e9)
    large = encoder.for_another_camera().encode(fog, settings)
    assert large.frame.scale < kept.frame.scale and large.frame.level < kept.frame.level
    before, after = (psnr(fog, decoder.for_another_camera().decode(result.packet).image) for result in (kept, large))
    assert before > after + 0.5
