"""A view at rest settles: no turning coarse with every key frame, and nothing is kept of a view that has changed."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from gsc_ros.decoder import DecodeSettings
from gsc_ros.encoder import EncodeSettings
from gsc_ros.evaluation.metrics import ms_ssim
from gsc_ros.sources import moving_photographs

REALISM_0 = DecodeSettings(realism=0.0)
WITHIN_300 = EncodeSettings(max_bytes=300, memory="acknowledged", key_interval=10, caption_mode="off")


def parked(count: int, sigma: float = 2.0) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    view = list(moving_photographs())[8]
    return [np.clip(np.rint(view + rng.normal(0, sigma, view.shape)), 0, 255).astype(np.uint8) for _ in range(count)]


def run(encoder, decoder, views, settings, decode=REALISM_0):
    """Everything arrives and is acknowledged before the next frame."""
    sender, receiver = encoder.for_another_camera(), decoder.for_another_camera()
    for view in views:
        encoded = sender.encode(view, settings)
        result = receiver.decode(encoded.packet, decode)
        sender.references.acknowledge(encoded.frame.sequence)
        yield encoded, result


@pytest.fixture(scope="module")
def still(encoder, decoder) -> list:
    """What was sent and shown of 31 parked views."""
    return list(run(encoder, decoder, parked(31), WITHIN_300))


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_a_still_scene_within_a_budget_settles_and_stays(encoder, decoder, still, realism) -> None:
    """Issue 3: at most one grey level between successive pictures of an unchanged view, key frames included."""
    done = still
    if realism:
        done = list(run(encoder, decoder, parked(31), WITHIN_300, DecodeSettings(realism=realism)))
    keys = [index for index, (encoded, _) in enumerate(done) if not encoded.frame.reference]
    assert keys == [0, 10, 20, 30]
    pictures = [result.image.astype(int) for _, result in done]
    change = np.array([np.abs(b - a).mean() for a, b in itertools.pairwise(pictures)])
    assert change.mean() <= 1.0
    assert change[10:].max() <= 0.8
    assert change[1] < change[0] > change[4]  # refinements, ever smaller


def test_what_is_shown_of_a_view_at_rest_is_no_worse_than_its_finest_frame(decoder, still) -> None:
    views, done = parked(12), still[:12]
    shown = [ms_ssim(view, result.image) for view, (_, result) in zip(views, done, strict=True)]
    fresh = [
        ms_ssim(view, decoder.for_another_camera().decode(encoded.packet, REALISM_0).image)
        for view, (encoded, _) in zip(views, done, strict=True)
        if not encoded.frame.reference
    ]
    assert shown[10] > fresh[1] + 0.02  # the second key frame, alone and with what was known
    assert shown[11] > shown[0] + 0.03


def test_after_a_key_frame_a_view_at_rest_goes_on_from_the_finer_frames_before(still) -> None:
    sizes = [len(encoded.packet) for encoded, _ in still]
    assert sizes[10] > 280
    assert max(sizes[11:20]) < 0.5 * sizes[10]


@pytest.mark.parametrize("budget", [60, 130, 300])
def test_nothing_is_kept_of_a_view_that_has_changed(encoder, decoder, budget) -> None:
    settings = EncodeSettings(max_bytes=budget, memory="acknowledged", key_interval=10)
    photographs = [image[::2, ::2].copy() for image in itertools.islice(moving_photographs(), 0, 96, 8)]
    for _, result in run(encoder, decoder, photographs, settings):
        message = result.message
        assert message.shown.level == message.frame.level
        assert message.shown.values.keys() == message.symbols.keys()
        assert all(np.array_equal(message.shown.values[c], plane) for c, plane in message.symbols.items())


def test_what_is_shown_never_contradicts_the_frame(decoder, still) -> None:
    """Half a step of a key frame, two thirds of one that builds on another, and what noise moves between the two."""
    step = decoder.latents.step
    for encoded, result in still:
        shown, level = result.message.shown, encoded.frame.level
        allowed = 0.9
        for channel, plane in result.message.symbols.items():
            there = shown.values[channel] * step[shown.level, channel] / step[level, channel]
            assert np.abs(there - plane).max() <= allowed


def test_the_same_packet_again_is_the_same_picture(encoder, decoder, photograph) -> None:
    receiver = decoder.for_another_camera()
    packet = encoder.for_another_camera().encode(photograph, EncodeSettings(max_bytes=200)).packet
    first, again = (receiver.decode(packet, REALISM_0).image for _ in range(2))
    assert np.array_equal(first, again)


def test_a_picture_of_which_nothing_has_changed_is_not_painted_again(encoder, decoder, photograph) -> None:
    class Counting:
        painted = 0

        def generate_batch(self, requests):
            self.painted += len(requests)
            return decoder.generator.generate_batch(requests)

        confidence = decoder.generator.confidence

    receiver = decoder.for_another_camera()
    receiver._generator = counting = Counting()
    sender = encoder.for_another_camera()
    settings = EncodeSettings(max_bytes=200, caption_mode="off")
    packets = [sender.encode(photograph, settings).packet for _ in range(3)]
    first, second, third = (receiver.decode(packet, REALISM_0) for packet in packets)
    assert np.array_equal(first.image, third.image)
    assert np.array_equal(first.confidence, third.confidence)
    assert counting.painted == 1
    expected = first.image.copy()
    second.image[:] = 0  # a caller may draw on what it was given
    assert np.array_equal(receiver.decode(packets[2], REALISM_0).image, expected)
    assert [r.message.frame.sequence for r in (first, second, third)] == [0, 1, 2]
    receiver.decode(packets[2], DecodeSettings(realism=0.5))
    receiver.decode(packets[2], DecodeSettings(realism=0.5, seed=4))
    receiver.decode(sender.encode(photograph[:, ::-1].copy(), settings).packet, DecodeSettings(realism=0.5, seed=4))
    assert counting.painted == 4


def test_a_value_that_changed_by_a_step_is_taken_at_its_word(decoder) -> None:
    """At one level the intervals of neighbouring symbols overlap; their middle would lag behind what moves."""
    from gsc_ros.steady import Steadier

    frame = frame_of(level=10)
    steadier = Steadier(decoder.latents)
    for symbols in ([[3, 0]], [[3, 1]], [[4, 0]]):
        shown = steadier.settle(frame, {0: np.array(symbols)})
        assert shown.values[0].tolist() == [[float(value) for value in row] for row in symbols]
    finer = dataclasses.replace(frame, level=20)
    step = decoder.latents.step
    now = np.rint(np.array([[4, 0]]) * step[10, 0] / step[20, 0]).astype(np.int64)
    shown = steadier.settle(finer, {0: now})
    assert shown.level == 20
    assert np.abs(shown.values[0] - now).max() <= 0.67
    coarse = steadier.settle(dataclasses.replace(frame, reference=0), {0: np.array([[4, 0]])})
    assert coarse.level == 20 and np.array_equal(coarse.values[0], shown.values[0])


def test_other_channels_of_another_view_are_not_added_to_those_on_show(decoder) -> None:
    """With a selection the channels differ from frame to frame: that two sets have nothing in common is no agreement."""
    from gsc_ros.steady import Steadier

    steadier = Steadier(decoder.latents)
    first = {5: np.full((2, 4), 3), 7: np.full((2, 4), -2)}
    steadier.settle(frame_of(level=10), first)
    shown = steadier.settle(frame_of(level=10), {6: np.full((2, 4), 1), 9: np.full((2, 4), 4)})
    assert sorted(shown.values) == [6, 9]
    steadier.settle(frame_of(level=10), first)
    few = steadier.settle(frame_of(level=10), {5: first[5]})  # as far as the bytes went
    assert sorted(few.values) == [5]
    zero = {**first, 7: np.zeros((2, 4), dtype=np.int64)}
    steadier.settle(frame_of(level=10), zero)
    trimmed = steadier.settle(
        frame_of(level=8), {5: np.rint(3 * first_ratio(decoder) * np.ones((2, 4))).astype(np.int64)}
    )
    assert sorted(trimmed.values) == [5, 7]  # zeros that are not sent again


def first_ratio(decoder) -> float:
    return float(decoder.latents.step[10, 5] / decoder.latents.step[8, 5])


def frame_of(*, level: int, reference: int = 1):
    from gsc_ros.frame import Frame, TextMode

    return Frame(
        fingerprint=0, sequence=0, width=128, height=64, scale=4, level=level, channel_count=20, channel_ids=(0,),
        text_mode=TextMode.NONE, text=b"", channels=b"", reference=reference,
    )  # fmt: skip
