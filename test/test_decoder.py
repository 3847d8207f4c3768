"""The decoder: refuses what is not its own, repeats itself exactly, says what it does not know."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gsc_ros.bitstream import BitstreamError, caption_reference, pack
from gsc_ros.decoder import Decoder, DecodeSettings, OtherProfileError, reconstruct_together
from gsc_ros.encoder import EncodeSettings
from gsc_ros.frame import TextMode

GOLDEN = Path(__file__).parent / "golden" / "packets.json"


def test_a_packet_of_other_weights_is_refused_by_name(encoder, decoder, photograph) -> None:
    frame = encoder.encode(photograph, EncodeSettings(max_bytes=100)).frame
    other = dataclasses.replace(frame, fingerprint=frame.fingerprint ^ 1)
    with pytest.raises(OtherProfileError, match="same profile and weights"):
        decoder.decode(pack(other))
    with pytest.raises(OtherProfileError):
        decoder.read(other)


def test_a_level_that_the_profile_lacks_is_refused(encoder, decoder, photograph, monkeypatch) -> None:
    monkeypatch.setattr(decoder.latents, "levels", 9)
    frame = dataclasses.replace(encoder.encode(photograph).frame, level=9)
    with pytest.raises(BitstreamError, match="level 9"):
        decoder.read(frame)


def test_one_seed_gives_one_picture_and_another_gives_another(encoder, decoder, photograph) -> None:
    packet = encoder.encode(photograph, EncodeSettings(max_bytes=200)).packet
    pictures = [decoder.decode(packet, DecodeSettings(seed=seed, realism=1.0)).image for seed in (3, 3, 4)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_realism_blends_from_fidelity_to_sample(encoder, decoder, photograph) -> None:
    from gsc_ros.evaluation.metrics import gradient_energy, psnr

    packet = encoder.encode(photograph, EncodeSettings(max_bytes=300)).packet
    pictures = [decoder.decode(packet, DecodeSettings(realism=r)).image for r in (0.0, 0.5, 1.0)]
    detail = [gradient_energy(picture) for picture in pictures]
    assert detail[0] < detail[1] < detail[2]
    assert psnr(photograph, pictures[0]) > psnr(photograph, pictures[2])


def test_a_frame_whose_caption_was_lost_still_decodes_and_says_so(encoder, decoder, photograph) -> None:
    camera = encoder.for_another_camera()
    settings = EncodeSettings(caption_mode="fixed", caption="a quiet harbour", max_bytes=300)
    first, second = (camera.encode(photograph, settings).packet for _ in range(2))
    complete, joined_late = decoder.for_another_camera(), decoder.for_another_camera()
    complete.decode(first)
    assert complete.decode(second).message.caption == "a quiet harbour"
    late = joined_late.decode(second)
    assert late.message.caption == ""
    assert late.message.caption_lost
    assert late.image.shape == photograph.shape


def test_a_caption_from_before_a_restart_is_never_shown_as_that_of_a_frame(encoder, decoder, photograph) -> None:
    """The robot begins anew under the same numbers, says something else, and the frame that says it is lost."""
    receiver = decoder.for_another_camera()
    before, after = (encoder.for_another_camera(first_sequence=500) for _ in range(2))
    settings = EncodeSettings(caption_mode="fixed", caption="a quiet harbour", max_bytes=300)
    receiver.decode(before.encode(photograph, settings).packet)
    settings = dataclasses.replace(settings, caption="a fire on deck")
    lost, refers, *_ = (after.encode(photograph, settings) for _ in range(2))
    message = receiver.read(receiver.unpack(refers.packet))
    assert refers.frame.text_mode is TextMode.REFERENCE
    assert (message.caption, message.caption_lost) == ("", True)
    receiver.read(receiver.unpack(lost.packet))  # late, but here
    message = receiver.read(receiver.unpack(refers.packet))
    assert (message.caption, message.caption_lost) == ("a fire on deck", False)


def test_captions_survive_what_comes_late_and_are_bounded(encoder, decoder, photograph) -> None:
    frame = encoder.encode(photograph, EncodeSettings(caption_mode="fixed", caption="fog")).frame
    receiver = decoder.for_another_camera()

    def says(sequence: int, text: str) -> None:
        plain = {"text_mode": TextMode.PLAIN, "text": text.encode(), "channel_ids": (), "channels": b""}
        receiver.read(dataclasses.replace(frame, sequence=sequence & 0xFFFF, **plain))

    for sequence in range(65_400, 65_400 + 300):
        says(sequence, f"view {sequence}")
    for sequence in range(60_000, 60_600):
        says(sequence, "long ago")
    refers = {"text_mode": TextMode.REFERENCE, "channel_ids": (), "channels": b""}
    text = caption_reference(255, f"view {65_400 + 45}")
    message = receiver.read(dataclasses.replace(frame, sequence=65_700 & 0xFFFF, text=text, **refers))
    assert (message.caption, message.caption_lost) == ("view 65445", False)
    assert len(receiver._captions) <= 512


def test_a_plain_text_is_no_longer_than_a_coded_one(encoder, decoder, photograph) -> None:
    frame = encoder.encode(photograph).frame
    long = dataclasses.replace(frame, text_mode=TextMode.PLAIN, text=b"x" * 1025)
    with pytest.raises(BitstreamError, match="more than 1024 characters"):
        decoder.read(long)


def test_only_an_intact_packet_blames_the_weights(encoder, decoder, photograph) -> None:
    frame = encoder.encode(photograph, EncodeSettings(max_bytes=100)).frame
    other = pack(dataclasses.replace(frame, fingerprint=frame.fingerprint ^ 1))
    with pytest.raises(OtherProfileError):
        decoder.unpack(other)
    for broken, words in (
        (other[:-1] + bytes([other[-1] ^ 1]), "damaged on its way"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a GSC packet: it looks like a PNG file"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG"),
        (b"hello, this is no packet", "not a GSC packet"),
    ):
        with pytest.raises(BitstreamError, match=words) as caught:
            decoder.unpack(broken)
        assert not isinstance(caught.value, OtherProfileError)


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_ids": (3, 25)}, {"channel_ids": (-1,)}, {"scale": 200}, {"level": -1}, {"width": 0}, {"height": 1 << 31},
        {"text_mode": TextMode.REFERENCE, "text": b""}, {"reference": 200}, {"sequence": 70_000}, {"activity": 9},
    ],
)  # fmt: skip
def test_a_frame_that_never_was_a_packet_is_checked_like_one(encoder, decoder, photograph, changes) -> None:
    frame = dataclasses.replace(encoder.encode(photograph).frame, **changes)
    with pytest.raises(BitstreamError):
        decoder.for_another_camera().read(frame)


def test_a_late_frame_takes_no_reference_from_newer_ones(encoder, decoder, photograph) -> None:
    """A frame of long ago comes between two of which the second builds on the first."""
    small = np.ascontiguousarray(photograph[::4, ::4])
    late = encoder.for_another_camera(first_sequence=100).encode(small)
    sender, receiver = encoder.for_another_camera(first_sequence=500), decoder.for_another_camera()
    settings = EncodeSettings(level=6, memory="key")
    receiver.read(receiver.unpack(sender.encode(small, settings).packet))
    receiver.read(receiver.unpack(late.packet))
    second = sender.encode(small, settings)
    assert second.frame.reference
    assert receiver.read(receiver.unpack(second.packet)).symbols


def test_a_chosen_output_size(encoder, decoder, photograph) -> None:
    packet = encoder.encode(photograph, EncodeSettings(max_bytes=100)).packet
    result = decoder.decode(packet, DecodeSettings(size=(333, 222), realism=0.0))
    assert result.image.shape == (222, 333, 3)
    assert result.confidence.shape == (222, 333)


def test_a_frame_of_text_alone_decodes(encoder, decoder, photograph) -> None:
    frame = encoder.encode(photograph, EncodeSettings(caption_mode="fixed", caption="fog")).frame
    bare = dataclasses.replace(frame, channel_ids=(), channels=b"")
    result = decoder.decode(pack(bare))
    assert result.confidence.max() == 0
    assert result.message.caption == "fog"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"realism": 1.5}, "0 to 1"),
        ({"steps": 0, "realism": 1.0}, "1 to 16"),
        ({"steps": 17, "realism": 1.0}, "1 to 16"),
    ],
)
def test_settings_out_of_range_are_refused(encoder, decoder, photograph, changes, words) -> None:
    packet = encoder.encode(photograph, EncodeSettings(max_bytes=60)).packet
    with pytest.raises(ValueError, match=words):
        decoder.decode(packet, DecodeSettings(**changes))


def test_golden_packets_hold_the_symbols_they_always_held(decoder) -> None:
    """Packets of the shipped weights: the same bytes give the same symbols and text on every machine."""
    golden = json.loads(GOLDEN.read_text())
    assert golden["fingerprint"] == decoder.profile.fingerprint, (
        "the weights changed: run tools/make_golden.py, with a note in CHANGELOG.md"
    )
    for entry in golden["packets"]:
        message = decoder.for_another_camera().read(decoder.unpack(bytes.fromhex(entry["packet"])))
        assert message.caption == entry["caption"]
        assert message.frame.text_mode in TextMode
        assert {str(channel): plane.tolist() for channel, plane in message.symbols.items()} == entry["symbols"]


def test_confidence_is_lower_where_the_picture_departs_from_what_was_received(encoder, decoder, photograph) -> None:
    from gsc_ros.generators import Request
    from gsc_ros.latents.geometry import Geometry

    packet = encoder.encode(photograph, EncodeSettings(max_bytes=600)).packet
    result = decoder.decode(packet, DecodeSettings(realism=0.0))
    frame = result.message.frame
    geometry = Geometry(frame.height, frame.width, frame.scale)
    forged = result.image.copy()
    forged[100:300, 100:300] = 255 - forged[100:300, 100:300]
    symbols = result.message.symbols
    request = Request(symbols=symbols, level=frame.level, geometry=geometry, caption="", steps=4, realism=1.0, seed=0)
    painted = dataclasses.replace(decoder.generator.generate_batch([request])[0], image=forged)
    confidence = decoder.generator.confidence(request, painted)
    assert confidence[150:250, 150:250].mean() < 0.5 * result.confidence[150:250, 150:250].mean()
    assert confidence[380:, 450:].mean() > 0.8 * result.confidence[380:, 450:].mean()


def test_invented_detail_takes_confidence_where_nothing_else_is_known() -> None:
    from gsc_ros.confidence import C2, left_by_detail

    rng = np.random.default_rng(0)
    flat, structure = np.full((64, 96), 0.5, np.float32), rng.normal(0.5, 0.2, (64, 96)).astype(np.float32)
    grain = rng.normal(0, 0.1, flat.shape).astype(np.float32)
    assert (left_by_detail(structure, structure, (4, 6)) == 1).all()
    assert left_by_detail(flat, flat + grain, (4, 6)).mean() == pytest.approx((0.01 + C2) / (0.02 + C2), abs=0.02)
    assert left_by_detail(structure, structure + grain, (4, 6)).mean() == pytest.approx(0.09 / 0.1, abs=0.02)
    assert left_by_detail(flat, flat + 0.2, (4, 6)) == pytest.approx(
        1, abs=1e-4
    )  # light is not detail; encoding again finds it


def test_frames_of_several_cameras_are_painted_in_one_batch_and_look_the_same(encoder, decoder, photograph) -> None:
    views = [photograph[:256, :320], photograph[100:356, 200:520], photograph[:200, :200], photograph[50:306, 50:370]]
    sizes, settings = [], DecodeSettings(realism=1.0, steps=2, seed=5)

    class Counting:
        confidence = decoder.generator.confidence

        def generate_batch(self, requests):
            sizes.append(len(requests))
            return decoder.generator.generate_batch(requests)

    work = []
    for view in views:
        packet = encoder.for_another_camera().encode(np.ascontiguousarray(view), EncodeSettings(max_bytes=150)).packet
        receiver = Decoder(decoder.profile, decoder.latents, decoder._text, Counting())
        work.append((receiver, receiver.read(receiver.unpack(packet))))
    together = reconstruct_together(work, settings)
    assert sizes == [3, 1]  # the third view has another size
    for view, (_, message), result in zip(views, work, together, strict=True):
        alone = decoder.for_another_camera().reconstruct(message, settings)
        assert result.image.shape == view.shape
        assert np.abs(alone.image.astype(int) - result.image).max() <= 1  # sums in another order
        assert np.abs(alone.confidence.astype(int) - result.confidence).max() <= 1
    reconstruct_together(work, settings)
    assert sizes == [3, 1]  # nothing has changed: nothing is painted again
    assert reconstruct_together(work[:1], settings)[0].message is work[0][1]


def test_a_decoder_that_does_not_paint_reads_and_says_so(encoder, photograph) -> None:
    packet = encoder.for_another_camera().encode(photograph, EncodeSettings(max_bytes=150)).packet
    reader = Decoder.load("nano", paints=False)
    message = reader.read(reader.unpack(packet))
    assert message.symbols
    with pytest.raises(ValueError, match="reads frames and paints none"):
        reader.reconstruct(message)
