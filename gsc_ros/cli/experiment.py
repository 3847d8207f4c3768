"""``gsc experiment``: links x codecs over a bag, a video or a folder, through emulated links."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gsc_ros.cli.errors import CommandError, UsageError
from gsc_ros.cli.source_options import add_source_options, source_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source_options(parser)
    parser.add_argument(
        "--links", default="1k,4k,16k", help="rates in bit/s or presets (docs/link.md), e.g. 1k,4k,lora-sf7"
    )
    parser.add_argument(
        "--codecs", default="gsc,gsc-intra,av1,jpeg,h265-stream", help="e.g. gsc,gsc-intra,av1,webp,jpeg,h265-stream"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="virtual seconds a run lasts (default 60)")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second of the drive (default 10)")
    parser.add_argument("--max-bytes", type=int, default=1200, help="largest packet (default 1200)")
    parser.add_argument(
        "--least-rate",
        type=float,
        default=1.0,
        metavar="HZ",
        help="packets get smaller rather than rarer than this (default 1)",
    )
    parser.add_argument("--loss", type=float, default=0.0, help="loss added to every link, 0 to 1")
    parser.add_argument(
        "--outage",
        type=float,
        default=5.0,
        metavar="S",
        help="cut the link in the middle for so long (default 5; 0: not)",
    )
    parser.add_argument("--detector", type=Path, metavar="ONNX", help="a YOLOX model whose boxes are compared")
    parser.add_argument(
        "--judged", type=int, default=60, metavar="N", help="pictures of a run that are compared (default 60)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="runs at once")
    parser.add_argument("--profile", default="nano")
    parser.add_argument(
        "--out", type=Path, default=Path("out/experiment"), help="folder of the results; a second call goes on"
    )


def run(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from gsc_ros.experiment.codecs import codec_names
    from gsc_ros.experiment.plan import Plan, run_all
    from gsc_ros.experiment.report import markdown, write
    from gsc_ros.left_out import LeftOut
    from gsc_ros.link.presets import link_spec

    links, codecs = options.links.split(","), options.codecs.split(",")
    for link in links:
        try:
            link_spec(link)
        except ValueError as error:
            raise UsageError(f"--links: {error}") from error
    if unknown := [codec for codec in codecs if codec not in codec_names()]:
        raise UsageError(f"--codecs {', '.join(unknown)}: {', '.join(codec_names())} are known")
    ranges = (("seconds", 1, 1e6), ("fps", 0.1, 240), ("loss", 0, 1), ("outage", 0, 1e6), ("least_rate", 0.001, 240))
    for name, low, high in (*ranges, ("judged", 1, 10**6), ("jobs", 1, 256), ("max_bytes", 24, 65_535)):
        if not low <= getattr(options, name) <= high:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)}: {low:g} to {high:g} are allowed")
    source = source_of(options)
    if source.camera is not None:
        raise UsageError("--camera: an experiment needs the same pictures for every run; record a bag or a video first")
    plan = Plan(
        source=source, seconds=options.seconds, fps=options.fps, max_bytes=options.max_bytes,
        least_rate_hz=options.least_rate, loss=options.loss, outage_s=options.outage, seed=options.seed,
        judged=options.judged, profile=options.profile, detector=options.detector,
    )  # fmt: skip
    left_out = LeftOut()
    if len(plan.frames(left_out)) < 2:
        raise CommandError(f"{source.name}: at least two frames are needed{left_out.summary()}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("runs", total=len(links) * len(codecs))
        runs = run_all(plan, links, codecs, options.out, jobs=options.jobs, done=lambda: bar.advance(task))
    command = f"gsc experiment --links {options.links} --codecs {options.codecs} --seconds {options.seconds:g} ..."
    write(options.out, runs, title=f"{source.name} over {', '.join(links)}", command=command)
    print(markdown({"link": run["link"], "codec": run["codec"], **run["figures"]} for run in runs))
    print(f"\n{options.out}/index.html, summary.csv, frames.csv{left_out.summary()}")
