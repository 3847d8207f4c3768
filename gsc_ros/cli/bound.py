"""``gsc bound``: the entropy of what matters in images, beside the bytes of their packets."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

from gsc_ros.cli.errors import UsageError

BYTES = ("packet_bytes", "independent_bytes", "entropy_bytes", "bound_bytes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default="folder", help="as for gsc eval")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the dataset lies")
    parser.add_argument("--profile", default="nano")
    parser.add_argument(
        "--maps", type=Path, metavar="DIR", help="what matters: grey images of the same names, 255 most"
    )
    parser.add_argument("--detector", type=Path, metavar="ONNX", help="what matters: the boxes that it finds")
    parser.add_argument("--levels", help="quality levels, e.g. 4,12,20 (default: five, spread over all)")
    parser.add_argument("--count", type=int, metavar="N", help="only N images, spread over the dataset")
    parser.add_argument("--out", type=Path, default=Path("out/bound"))


def run(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import track

    from gsc_ros.decoder import Decoder
    from gsc_ros.encoder import Encoder
    from gsc_ros.evaluation import bound, relevance
    from gsc_ros.evaluation.datasets import pictures, spread

    if options.maps and options.detector:
        raise UsageError("--maps and --detector: one of them says what matters")
    found = spread(pictures(options.dataset, options.root), options.count)
    encoder = Encoder.load(options.profile)
    decoder = Decoder.load(options.profile)
    last = encoder.latents.levels - 1
    try:
        levels = [round(last * part / 4) for part in range(5)]
        if options.levels:
            levels = sorted({int(part) for part in options.levels.split(",")})
    except ValueError as error:
        raise UsageError(f"--levels {options.levels}: whole numbers separated by commas") from error
    if not 0 <= levels[0] <= levels[-1] <= last:
        raise UsageError(f"--levels {options.levels}: 0 to {last} are there")
    of: relevance.Relevance = relevance.saliency
    if options.maps:
        of = relevance.of_maps(options.maps)
    elif options.detector:
        of = relevance.of_detector(options.detector)
    points: list[bound.Point] = []
    for picture in track(found, "images", console=Console(stderr=True), transient=True):
        image = picture.read()
        points += bound.measure(encoder, decoder, picture.name, image, of(picture, image), levels)
    rows = _means(points)
    options.out.mkdir(parents=True, exist_ok=True)
    source = str(options.maps or options.detector or "spectral residual")
    (options.out / "bound.json").write_text(
        json.dumps({"relevance": source, "images": len(found), "rows": rows}, indent=1) + "\n"
    )
    with (options.out / "images.csv").open("w", newline="") as file:
        names = [field.name for field in dataclasses.fields(bound.Point) if field.name != "symbols"]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: getattr(point, name) for name in names} for point in points)
    _plot(rows, options.out)
    print(
        "| level | packet, bytes | without context | entropy | of what matters | share | PSNR | PSNR of what matters | MS-SSIM |"
    )
    print(f"|{'---|' * 9}")
    for row in rows:
        cells = [f"{row['level']}", *(f"{row[name]:.0f}" for name in BYTES), f"{100 * row['share']:.0f} %"]
        cells += [f"{row['psnr']:.2f}", f"{row['relevant_psnr']:.2f}", f"{row['ms_ssim']:.3f}"]
        print(f"| {' | '.join(cells)} |")


def _means(points: list[Any]) -> list[dict[str, float]]:
    """A row for each level, in bytes of the mean image."""
    import numpy as np

    from gsc_ros.evaluation import bound

    rows = []
    for level in sorted({point.level for point in points}):
        group = [point for point in points if point.level == level]
        mean = {
            name: float(np.mean([getattr(p, name) for p in group])) for name in ("psnr", "relevant_psnr", "ms_ssim")
        }
        sizes = {
            f"{name}_bytes": float(np.mean([getattr(p, f"{name}_bits") for p in group])) / 8
            for name in ("packet", "entropy", "bound")
        }
        bpp = {
            f"{name}_bpp": float(np.mean([getattr(p, f"{name}_bits") / p.pixels for p in group]))
            for name in ("packet", "entropy", "bound")
        }
        sizes["independent_bytes"] = bound.without_context(group) / 8 / len(group)
        share = sizes["bound_bytes"] / max(sizes["entropy_bytes"], 1e-9)
        rows.append({"level": level, **sizes, **bpp, "share": share, **mean})
    return rows


def _plot(rows: list[dict[str, float]], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4))
    for name, label in (
        ("packet", "packets"),
        ("entropy", "entropy of the symbols"),
        ("bound", "weighted entropy (eq. 7)"),
    ):
        line = [row[f"{name}_bpp"] for row in rows], [row["relevant_psnr"] for row in rows]
        axis.plot(*line, marker="o", markersize=3, linewidth=1, label=label)
    axis.set(xlabel="bits per pixel", ylabel="PSNR of what matters, dB")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.tight_layout()
    for suffix in ("png", "svg"):
        figure.savefig(out / f"bound.{suffix}", dpi=120)
    pyplot.close(figure)
