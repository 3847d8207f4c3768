"""``gsc encode``: an image file to a packet file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gsc_ros.cli.errors import UsageError
from gsc_ros.printable import printable


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that say what may be sent; `gsc bag` has them too."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--max-bytes", type=int, metavar="N", help="hard limit for the whole packet, at least 24")
    size.add_argument(
        "--channels", type=int, metavar="C", help="send at most C latent channels, at the profile's quality level"
    )
    parser.add_argument("--selection", choices=["order", "ssim", "rate"], help="which channels come first")
    parser.add_argument(
        "--search", type=int, default=0, metavar="N",
        help="N steps that look for better symbols for the image: 100 save a tenth of the bytes and take 9 to 13 s on two cores (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--caption", metavar="TEXT", help="send this caption; an empty one sends none (default: the descriptor's)"
    )
    parser.add_argument("--profile", default="nano", metavar="P", help="profile name or YAML file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="an image file")
    parser.add_argument("output", type=Path, metavar="OUT.gsc")
    add_settings(parser)
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def settings_of(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The EncodeSettings that the options ask for."""
    from gsc_ros.encoder import EncodeSettings

    if options.max_bytes is not None and options.max_bytes < 24:
        raise UsageError(f"--max-bytes {options.max_bytes}: at least 24 are needed for a frame")
    mode = "descriptor" if options.caption is None else "fixed" if options.caption else "off"
    return EncodeSettings(
        max_bytes=options.max_bytes,
        channels=options.channels,
        selection=options.selection,
        caption_mode=mode,
        caption=options.caption or "",
        search=options.search,
    )


def run(options: argparse.Namespace) -> None:
    settings = settings_of(options)
    from gsc_ros.encoder import Encoder
    from gsc_ros.image_messages import ImageReader
    from gsc_ros.left_out import on_stderr
    from gsc_ros.sources import read_frame
    from gsc_ros.whole_output import whole

    image = read_frame(options.input, ImageReader("", lambda sentence: on_stderr(f"{options.input}: {sentence}")))
    encoded = Encoder.load(options.profile).encode(image, settings)
    with whole(options.output) as place:
        place.write_bytes(encoded.packet)
    frame = encoded.frame
    figures = {
        "bytes": len(encoded.packet), "head_bytes": encoded.head_bytes, "text_bytes": len(frame.text), "channel_bytes": len(frame.channels),
        "bpp": encoded.bpp, "channels": len(frame.channel_ids), "level": frame.level, "scale": frame.scale,
        "width": frame.width, "height": frame.height, "caption": encoded.caption,
    }  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    else:
        print(
            f"{printable(options.output)}: {len(encoded.packet)} bytes ({encoded.head_bytes} head, {len(frame.text)} text, {len(frame.channels)} channels), "
            f"{encoded.bpp:.5f} bpp, {len(frame.channel_ids)} channels at level {frame.level}, scale {frame.scale}"
        )
