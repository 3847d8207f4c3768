"""The decoder: refuses what is not its own, repeats itself exactly, says what it does not know."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gsc_ros.bitstream import BitstreamError, pack
from gsc_ros.decoder import DecodeSettings, OtherProfileError
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
    painted = dataclasses.replace(decoder.generator.generate(request), image=forged)
    confidence = decoder.generator.confidence(request, painted)
    assert confidence[150:250, 150:250].mean() < 0.5 * result.confidence[150:250, 150:250].mean()
    assert confidence[380:, 450:].mean() > 0.8 * result.confidence[380:, 450:].mean()
