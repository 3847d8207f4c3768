"""The options that name a source of frames; the demo and its camera share them."""

from __future__ import annotations

import argparse
from pathlib import Path

from gsc_ros.sources import Source

NAMES = ("images", "video", "bag", "camera", "topic")


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """--images, --video, --bag, --camera and --topic."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--images", type=Path, metavar="DIR", help="a folder of images")
    group.add_argument("--video", type=Path, metavar="FILE", help="a video file")
    group.add_argument(
        "--bag", type=Path, metavar="ROSBAG2", help="a rosbag2 with Image or CompressedImage (sqlite3 or MCAP)"
    )
    group.add_argument("--camera", type=int, metavar="N", help="the camera /dev/videoN")
    parser.add_argument("--topic", help="the topic of the bag to take; the default is its first image topic")


def source_of(options: argparse.Namespace) -> Source:
    """The source that the options name."""
    return Source(**{name: getattr(options, name) for name in NAMES})


def as_arguments(options: argparse.Namespace) -> list[str]:
    """The same options once more, for another process."""
    given = [(name, getattr(options, name)) for name in NAMES]
    return [part for name, value in given if value is not None for part in (f"--{name}", str(value))]
