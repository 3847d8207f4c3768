"""The options of commands that spread their work: --jobs, --devices and --ray."""

from __future__ import annotations

import argparse

from gsc_ros.cli.errors import UsageError
from gsc_ros.workers import Workers, workers


def add_workers(parser: argparse.ArgumentParser, *, default: int) -> None:
    """The options; ``default`` is the number of processes on the CPU."""
    parser.add_argument("--jobs", type=int, default=default, help=f"processes on the CPU (default {default})")
    parser.add_argument("--devices", default="", metavar="A,B", help="a process on each, e.g. cuda:0,cuda:1")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="the workers of a Ray cluster (auto: the one of this machine; local: a new one)",
    )


def crew_of(options: argparse.Namespace) -> Workers:
    """The workers that were asked for."""
    if options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: at least 1")
    if options.ray and options.devices:
        raise UsageError("--ray and --devices: one of them; a cluster knows its own devices")
    devices = [name for name in options.devices.split(",") if name]
    return workers(jobs=options.jobs, devices=devices, ray=options.ray)
