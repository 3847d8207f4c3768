"""Writes test/golden/packets.json: packets that later versions must read as this one does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gsc_ros.bitstream import caption_reference, pack
from gsc_ros.decoder import Decoder
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.frame import Frame, TextMode
from gsc_ros.sources import moving_photographs

OUT = Path(__file__).resolve().parent.parent / "test" / "golden" / "packets.json"


def frames() -> list[Frame]:
    """Frames that exercise every field; they do not depend on any weights."""
    common = {"fingerprint": 0xBEEF, "sequence": 513, "channel_count": 20, "scale": 4, "level": 4}
    return [
        Frame(**common, width=640, height=480, channel_ids=tuple(range(12)), text_mode=TextMode.CODED, text=b"\x01\x02", channels=b"\xaa" * 9),
        Frame(**common, width=999, height=4096, channel_ids=(0, 7, 19), text_mode=TextMode.PLAIN, text="brücke".encode(), channels=b"\0\1"),
        Frame(**common, width=16, height=16, channel_ids=(), text_mode=TextMode.REFERENCE, text=caption_reference(5, "brücke"), channels=b""),
        Frame(**{**common, "channel_count": 320, "scale": 31, "level": 15}, width=1242, height=375, channel_ids=(3, 44, 45, 319), text_mode=TextMode.NONE, text=b"", channels=b"\xff" * 200),
        Frame(**{**common, "scale": 0}, width=160, height=120, channel_ids=tuple(range(20)), text_mode=TextMode.NONE, text=b"", channels=b"\x22" * 3),
        Frame(**common, width=640, height=480, channel_ids=tuple(range(9)), text_mode=TextMode.NONE, text=b"", channels=b"\x11" * 5, reference=63, reference_check=0xC0DE, activity=2),
    ]  # fmt: skip


def main() -> None:
    encoder, decoder = Encoder.load("nano"), Decoder.load("nano")
    packets = []
    image = next(moving_photographs())
    for view, settings in (
        (image, EncodeSettings(max_bytes=300)),
        (
            image[::2, ::2],
            EncodeSettings(channels=5, selection="ssim", caption_mode="fixed", caption="An astronaut, naïve café."),
        ),
        (np.ascontiguousarray(image[:100, :333]), EncodeSettings(max_bytes=80, caption_mode="off")),
        (np.ascontiguousarray(image[:200, :333]), EncodeSettings(max_bytes=400, caption_mode="off")),
    ):
        packet = encoder.for_another_camera().encode(np.ascontiguousarray(view), settings).packet
        message = decoder.for_another_camera().read(decoder.unpack(packet))
        symbols = {str(channel): plane.tolist() for channel, plane in message.symbols.items()}
        packets.append({"packet": packet.hex(), "caption": message.caption, "symbols": symbols})
    # Two frames of which the second builds on the first.
    sender, receiver = encoder.for_another_camera(first_sequence=0xFFFF), decoder.for_another_camera()
    chain = []
    for view in (image, np.roll(image, 8, axis=1)):
        encoded = sender.encode(view, EncodeSettings(max_bytes=200, memory="key"))
        message = receiver.read(receiver.unpack(encoded.packet))
        symbols = {str(channel): plane.tolist() for channel, plane in message.symbols.items()}
        chain.append({"packet": encoded.packet.hex(), "caption": message.caption, "symbols": symbols})
    assert message.frame.reference == 1
    golden = {
        "fingerprint": decoder.profile.fingerprint,
        "frames": [
            {
                "packet": pack(frame).hex(),
                "frame": {**vars(frame), "channel_ids": list(frame.channel_ids), "text_mode": int(frame.text_mode), "text": frame.text.hex(), "channels": frame.channels.hex()},
            }
            for frame in frames()
        ],
        "packets": packets,
        "chain": chain,
    }  # fmt: skip
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
