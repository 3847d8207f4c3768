"""``gsc key``: a new pre-shared key for the two gateways of a link."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a file that does not exist yet")


def run(options: argparse.Namespace) -> None:
    from gsc_ros.link.key_file import new_key

    new_key(options.file)
    print(f"{options.file}: copy it to the other side, readable by its owner alone (chmod 600)")
