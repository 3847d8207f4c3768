"""``gsc decode``: a packet file to an image file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2

from gsc_ros.cli.errors import CommandError, UsageError
from gsc_ros.printable import printable
from gsc_ros.whole_output import whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN.gsc")
    parser.add_argument("output", type=Path, metavar="OUT.png")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of the generator, 1 to 16")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of its noise")
    parser.add_argument("--realism", type=float, metavar="R", help="0: fidelity; 1: sampled")
    parser.add_argument(
        "--confidence",
        type=Path,
        metavar="OUT.png",
        help="write the confidence map too, white: likely to be alike",
    )
    parser.add_argument("--mark", action="store_true", help="draw the word GENERATED into the picture")
    parser.add_argument("--profile", default="nano", metavar="P")
    parser.add_argument("--json", action="store_true", help="print what was read as JSON")


def run(options: argparse.Namespace) -> None:
    if options.steps is not None and not 1 <= options.steps <= 16:
        raise UsageError(f"--steps {options.steps}: 1 to 16 are allowed")
    if options.realism is not None and not 0 <= options.realism <= 1:
        raise UsageError(f"--realism {options.realism}: 0 to 1 are allowed")
    from gsc_ros.bitstream import MAX_PACKET

    with options.input.open("rb") as file:
        packet = file.read(MAX_PACKET + 1)  # a file by mistake may be a film
    from gsc_ros.decoder import Decoder, DecodeSettings
    from gsc_ros.marking import mark_generated

    settings = DecodeSettings(steps=options.steps, seed=options.seed, realism=options.realism)
    result = Decoder.load(options.profile).decode(packet, settings)
    picture = mark_generated(result.image) if options.mark else result.image
    write_image(options.output, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if options.confidence:
        write_image(options.confidence, result.confidence)
    if result.notice:
        print(f"gsc: {result.notice}", file=sys.stderr)
    caption = result.message.caption or (
        "(lost: an earlier frame said it)" if result.message.caption_lost else "(none)"
    )
    mean = float(result.confidence.mean()) / 255
    if options.json:
        print(
            json.dumps(
                {
                    "width": result.image.shape[1],
                    "height": result.image.shape[0],
                    "caption": result.message.caption,
                    "caption_lost": result.message.caption_lost,
                    "confidence": mean,
                    "generated": True,
                    "notice": result.notice,
                }
            )
        )
    else:
        print(
            f"{printable(options.output)}: {result.image.shape[1]}x{result.image.shape[0]}, generated; confidence {mean:.2f}; "
            f"caption: {printable(caption)}"
        )


def write_image(path: Path, image: object) -> None:
    """Write by the file's suffix; CommandError when OpenCV cannot."""
    try:
        there, data = cv2.imencode(path.suffix or ".png", image)
    except cv2.error:
        there = False
    if not there:
        raise CommandError(f"{path}: OpenCV writes no {path.suffix or 'such'} files; .png, .jpg and .webp work")
    with whole(path) as place:
        place.write_bytes(bytes(data))
