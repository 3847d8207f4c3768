"""``gsc calibrate``: a published CompressAI codec made ready for a profile."""

from __future__ import annotations

import argparse
from pathlib import Path

from gsc_ros.cli.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="mbt2018-mean", help="as CompressAI's zoo calls it (default: mbt2018-mean)")
    parser.add_argument("--quality", type=int, default=7, help="of the zoo; one with 320 channels (default: 7)")
    parser.add_argument(
        "--checkpoint", type=Path, help="weights of that model in a file; without it they are downloaded"
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs like those that will be sent")
    parser.add_argument("--count", type=int, default=64, help="how many of them (default: 64)")
    parser.add_argument("--steps", type=int, default=400, help="of training the tables (default: 400)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights and their profile.yaml")
    parser.add_argument("--device", default="cpu")


def run(options: argparse.Namespace) -> None:
    if not options.images.is_dir():
        raise UsageError(f"no folder {options.images}: name one with photographs")
    if options.checkpoint is not None and not options.checkpoint.is_file():
        raise UsageError(f"no file {options.checkpoint}: name the weights of {options.model}")
    if options.count < 1 or options.steps < 1:
        raise UsageError("--count and --steps: at least 1")
    import csv

    from rich.progress import Progress

    from gsc_ros.latents.compressai import LEVELS
    from gsc_ros.training.calibrate import Calibration, calibrate

    settings = Calibration(
        model=options.model, quality=options.quality, images=options.images, out=options.out, checkpoint=options.checkpoint,
        count=options.count, steps=options.steps, device=options.device,
    )  # fmt: skip
    with Progress(transient=True) as bar:
        tasks = {name: bar.add_task(name, total=None) for name in ("gain", "context", "bytes")}
        rows = calibrate(settings, lambda name, done, of: bar.update(tasks[name], completed=done, total=of))
    path = options.out / "channels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["channel", "ssim", *(f"bytes_level_{level}" for level in range(LEVELS))])
        writer.writerows([row.channel, round(row.ssim, 4), *(round(b, 2) for b in row.bytes_by_level)] for row in rows)
    print("the channels most like the scene (SSIM), and the bytes of each alone, mean over the images:")
    print(f"{'channel':>8} {'ssim':>6} " + " ".join(f"level {level}" for level in range(LEVELS)))
    for row in sorted(rows, key=lambda row: -row.ssim)[:8]:
        print(f"{row.channel:8} {row.ssim:6.3f} " + " ".join(f"{value:7.1f}" for value in row.bytes_by_level))
    print(f"all channels are in {path}; the profile is {options.out / 'profile.yaml'}")
