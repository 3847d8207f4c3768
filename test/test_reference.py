"""docs/bitstream.md is enough: a decoder that follows it step by step reads what the encoder wrote."""

from __future__ import annotations

import numpy as np
import pytest
import reference_decoder as reference
from conftest import scene

from gsc_ros.encoder import EncodeSettings


def test_the_reference_decoder_reads_a_frame_that_builds_on_another(encoder, decoder) -> None:
    sender, receiver = encoder.for_another_camera(first_sequence=65_535), decoder.for_another_camera()
    view = scene(3, 120, 160)
    asked = EncodeSettings(level=9, channels=9, caption_mode="off", memory="key")
    packets = [sender.encode(view, asked).packet, sender.encode(np.roll(view, 5, axis=1), asked).packet]
    weights = decoder.profile.weights
    first, second = (reference.packet_fields(packet) for packet in packets)
    assert (second["sequence"], second["distance"]) == (0, 1)
    known = reference.channels_of(first, weights / "channels.safetensors")
    symbols = reference.channels_of(second, weights / "memory.safetensors", (first, known))
    for packet in packets:
        message = receiver.read(receiver.unpack(packet))
    assert all(np.array_equal(symbols[channel], message.symbols[channel]) for channel in symbols)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((120, 160), EncodeSettings(caption_mode="fixed", caption="A small boat near the café at 5 o'clock.")),
        ((130, 201), EncodeSettings(channels=3, selection="ssim", level=7)),
        ((240, 320), EncodeSettings(max_bytes=90)),
        ((120, 160), EncodeSettings(max_bytes=250)),  # at twice its size
        ((120, 160), EncodeSettings(level=7, channels=12, caption_mode="off")),
    ],
)
def test_the_reference_decoder_reads_our_packets(encoder, decoder, size, settings) -> None:
    packet = encoder.for_another_camera().encode(scene(3, *size), settings).packet
    message = decoder.for_another_camera().read(decoder.unpack(packet))
    fields = reference.packet_fields(packet)
    weights = decoder.profile.weights
    if fields["mode"] == 1:
        assert reference.text_of(fields["text"], weights / "text.safetensors") == message.caption
    symbols = reference.channels_of(fields, weights / "channels.safetensors")
    assert symbols.keys() == message.symbols.keys()
    assert all(np.array_equal(symbols[channel], message.symbols[channel]) for channel in symbols)
