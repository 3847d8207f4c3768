"""``gsc inspect``: every field of a packet file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gsc_ros.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN.gsc")
    parser.add_argument("--profile", default="nano", metavar="P", help="the profile that made the packet")
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> None:
    from gsc_ros.bitstream import MAX_PACKET, VERSION, head_bytes, unpack
    from gsc_ros.entropy.channels import ChannelCoder, ChannelTables
    from gsc_ros.entropy.text import TextCoder, TextTable
    from gsc_ros.frame import TextMode
    from gsc_ros.latents import layout_of
    from gsc_ros.latents.geometry import Geometry
    from gsc_ros.profiles import load_profile

    with options.input.open("rb") as file:
        packet = file.read(MAX_PACKET + 1)  # a file by mistake may be a film
    profile = load_profile(options.profile)
    layout = layout_of(profile)
    frame = unpack(packet, channel_count=layout.channels)
    fields = {
        "version": VERSION,
        "fingerprint": f"{frame.fingerprint:04x}",
        "profile": profile.name if frame.fingerprint == profile.wire_fingerprint else "not this one",
        "sequence": frame.sequence, "width": frame.width, "height": frame.height, "scale": frame.scale, "level": frame.level,
        "channel_ids": list(frame.channel_ids), "channel_count": frame.channel_count, "text_mode": frame.text_mode.name,
        "bytes": len(packet), "head_bytes": head_bytes(frame), "text_bytes": len(frame.text), "channel_bytes": len(frame.channels),
        "bpp": 8 * len(packet) / (frame.width * frame.height),
    }  # fmt: skip
    if frame.text_mode is TextMode.REFERENCE:
        fields["caption"] = f"(that of {frame.text[0]} frames ago, checksum {frame.text[1:].hex()})"
    elif frame.text_mode is TextMode.PLAIN:
        fields["caption"] = frame.text.decode("utf-8", "replace")
    elif frame.fingerprint == profile.wire_fingerprint:
        fields["caption"] = (
            TextCoder(TextTable.load(profile.files)).decode(frame.text) if frame.text_mode is TextMode.CODED else ""
        )
    if frame.reference:  # without that frame nothing can be said about the symbols
        fields["builds_on"] = (frame.sequence - frame.reference) & 0xFFFF
    elif frame.fingerprint == profile.wire_fingerprint:
        coder = ChannelCoder(ChannelTables.load(profile.files, "channels.safetensors", layout), layout)
        nominal = Geometry(frame.height, frame.width, frame.scale).nominal
        symbols = coder.decode(frame.channels, frame.channel_ids, frame.level, *nominal)
        fields["bits_by_channel"] = {
            channel: round(bits, 1) for channel, bits in coder.cost(symbols, frame.level, *nominal).items()
        }
    if options.json:
        print(json.dumps(fields))
    else:
        for name, value in fields.items():
            print(f"{name:16} {printable(value)}")
