"""``gsc eval``: datasets x codecs x measures, with real packet bytes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gsc_ros.cli.errors import UsageError
from gsc_ros.cli.workers import add_workers, crew_of

ALWAYS = ("psnr", "ms_ssim", "gradient_similarity", "gradient_energy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        default="folder",
        help="kodak, kitti, coco, camvid, cityscapes, hypersim, rgbd, yamaha or folder (default)",
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the dataset lies")
    parser.add_argument(
        "--codecs", default="nano,av1",
        help="profiles, with options of ours where wanted (nano:realism=1:steps=4:selection=rate:caption=descriptor), "
        "av1, vvc, hevc, jxl, webp, jpeg2000, jpeg, NAME@DIR for what another program made of the images, original",
    )  # fmt: skip
    parser.add_argument("--bytes", default="130,300,600", help="budgets, e.g. 130,300,600")
    parser.add_argument("--channels", help="ours send at most so many channels, e.g. 1,4,16 (default: what fits)")
    parser.add_argument(
        "--measures", default=",".join(ALWAYS),
        help="also fsim, haarpsi, gmsd, mdsi, vsi, lpips, dists, fid, kid (pip install 'gsc-ros[eval]')",
    )  # fmt: skip
    parser.add_argument(
        "--tasks", default="",
        help="detection, depth, segmentation: what a model sees in the pictures, against truth and against the originals",
    )  # fmt: skip
    parser.add_argument(
        "--detector", type=Path, metavar="ONNX", help="model of detection: YOLOX, or an export of ultralytics"
    )
    parser.add_argument("--depth", type=Path, metavar="DIR", help="model of depth, e.g. a folder of Depth-Anything-V2")
    parser.add_argument(
        "--segmentation",
        type=Path,
        metavar="DIR",
        help="model of segmentation: a folder of Mask2Former, or with a model.onnx",
    )
    parser.add_argument("--match", metavar="CODEC", help="the others may spend on each image what this one spent")
    parser.add_argument(
        "--anchor", metavar="CODEC", help="of the BD-rates; the first codec that is not ours by default"
    )
    parser.add_argument("--count", type=int, metavar="N", help="only N images, spread over the dataset")
    parser.add_argument(
        "--show", type=int, default=3, metavar="N", help="sheets of the first N images beside what became of them (3)"
    )
    add_workers(parser, default=os.cpu_count() or 1)
    parser.add_argument(
        "--out", type=Path, default=Path("out/eval"), help="folder of the results; a second call goes on"
    )


def run(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from gsc_ros import __version__
    from gsc_ros.evaluation import report
    from gsc_ros.evaluation import run as evaluation
    from gsc_ros.evaluation.coded import Setting
    from gsc_ros.evaluation.codings import is_ours
    from gsc_ros.evaluation.datasets import pictures, spread
    from gsc_ros.left_out import LeftOut

    codecs = options.codecs.split(",")
    counts = [None] if options.channels is None else _numbers(options.channels, "--channels")
    settings = tuple(Setting(size, count) for size in _numbers(options.bytes, "--bytes") for count in counts)
    plan = evaluation.Plan(
        settings=settings, measures=tuple(options.measures.split(",")), tasks=_tasks(options), match=options.match,
    )  # fmt: skip
    plan.check(codecs)
    if options.show < 0:
        raise UsageError(f"--show {options.show}: at least 0")
    found = pictures(options.dataset, options.root)
    # Results below the images are not images of the dataset.
    found = [picture for picture in found if not picture.path.resolve().is_relative_to(options.out.resolve())]
    found = spread(found, options.count)
    anchor = options.anchor or next((codec for codec in codecs if not is_ours(codec)), codecs[0])
    if anchor not in codecs:
        raise UsageError(f"--anchor {anchor}: one of --codecs")
    options.out.mkdir(parents=True, exist_ok=True)
    left_out = LeftOut()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with crew_of(options) as crew, Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=len(found) * len(codecs))
        rows = evaluation.run(
            plan,
            found,
            codecs,
            options.out,
            crew=crew,
            done=lambda: bar.advance(task),
            left_out=left_out,
            show=options.show,
        )
    about = {
        "version": __version__,
        "dataset": options.dataset,
        "images": len(found) - left_out.count,
        "match": options.match,
        "anchor": anchor,
    }
    print(report.write(rows, options.out, anchor=anchor, about=about))
    if left_out.count:
        left_out.tell(f"{left_out.count} of {len(found)} images are left out")


MODELS = {"detection": "detector", "depth": "depth", "segmentation": "segmentation"}  # task -> option


def _tasks(options: argparse.Namespace) -> tuple[tuple[str, Path], ...]:
    """The tasks that were asked for, each with its model."""
    asked = [task for task in options.tasks.split(",") if task]
    if unknown := [task for task in asked if task not in MODELS]:
        raise UsageError(f"--tasks {unknown[0]}: {', '.join(MODELS)} are known")
    for task, option in MODELS.items():
        if (task in asked) != (getattr(options, option) is not None):
            raise UsageError(f"--tasks {task} and --{option} MODEL belong together")
    return tuple((task, getattr(options, MODELS[task])) for task in asked)


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option} {text}: whole numbers separated by commas, e.g. 130,300") from error
    if min(numbers) < 1:
        raise UsageError(f"{option} {text}: at least 1")
    return numbers
