"""From the rows of `gsc eval` to what people read: summary.json, CSV, tables in Markdown and LaTeX, plots, BD-rates."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gsc_ros.evaluation import distribution, tasks
from gsc_ros.evaluation.bd_rate import curve_of, difference
from gsc_ros.evaluation.metrics import LESS_IS_BETTER, MEASURES

Row = dict[str, Any]
TITLES = {
    "psnr": "PSNR", "ms_ssim": "MS-SSIM", "gradient_similarity": "GMS", "gradient_energy": "gradient energy", "fsim": "FSIM",
    "haarpsi": "HaarPSI", "gmsd": "GMSD", "mdsi": "MDSI", "vsi": "VSI", "lpips": "LPIPS", "dists": "DISTS", "fid": "patch FID", "kid": "patch KID",
    "detector_agreement": "detector", "detection_precision": "P", "detection_recall": "R", "detection_map": "mAP50-95",
    "detection_map50": "mAP50", "detection_map75": "mAP75", "depth_delta1": "delta1", "depth_delta2": "delta2",
    "depth_delta3": "delta3", "depth_abs_rel": "AbsRel", "depth_rmse": "RMSE", "depth_rmse_log": "RMSE log",
    "depth_delta1_agreed": "delta1 (orig.)", "depth_abs_rel_agreed": "AbsRel (orig.)",
    "segmentation_aacc": "aAcc", "segmentation_miou": "mIoU", "segmentation_macc": "mAcc",
    "segmentation_aacc_agreed": "aAcc (orig.)", "segmentation_miou_agreed": "mIoU (orig.)", "segmentation_macc_agreed": "mAcc (orig.)",
}  # fmt: skip
GROUPS = {  # a table and a figure each: what the pictures are like, then what can be seen in them
    "quality": (*MEASURES, *distribution.NAMES),
    **{task: tuple(name for name in TITLES if name.startswith(task.removesuffix("ion"))) for task in tasks.NAMES},
}
LESS = (*LESS_IS_BETTER, "depth_abs_rel", "depth_rmse", "depth_rmse_log", "depth_abs_rel_agreed")
CURVES = ("psnr", "ms_ssim")  # of these BD-rates are given


def summarise(rows: Sequence[Row]) -> list[Row]:
    """A row for each codec and setting: means over the images, and what the tasks say of them together."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["codec"], row["setting"]), []).append(row)
    summary = []
    for (codec, setting), group in found.items():
        sizes = [row["bytes"] for row in group]
        line: Row = {
            "codec": codec, "setting": setting, "images": len(group), "bytes": float(np.mean(sizes)), "largest": max(sizes),
            "over": sum(row["bytes"] > row["budget"] for row in group),
            "file_bytes": float(np.mean([row["file_bytes"] for row in group])), "bpp": float(np.mean([row["bpp"] for row in group])),
        }  # fmt: skip
        for name in (name for name in MEASURES if name in group[0]):
            values = [row[name] for row in group if row[name] is not None]
            line[name] = float(np.mean(values)) if values else None
        line |= distribution.summarise(group) | tasks.summarise(group)
        summary.append(line)
    return summary


def differences(rows: Sequence[Row], anchor: str) -> list[Row]:
    """BD-rate (percent of bytes) and BD-quality of every codec against ``anchor``, where both have two budgets or more.

    None where the number of channels is varied: that is no curve of bytes.
    """
    if len({row["channels"] for row in rows if row["channels"]}) > 1:
        return []
    codecs = list(dict.fromkeys(row["codec"] for row in rows))
    of = {codec: [row for row in rows if row["codec"] == codec] for codec in codecs}
    settings = {codec: list(dict.fromkeys(row["setting"] for row in of[codec])) for codec in codecs}
    if anchor not in of or len(settings[anchor]) < 2:
        return []
    found = []
    for codec in codecs:
        if codec == anchor or len(settings[codec]) < 2 or not any(row["bytes"] for row in of[codec]):
            continue  # the images themselves are no point on a curve
        for measure in (name for name in CURVES if name in rows[0]):
            curves = curve_of(of[anchor], settings[anchor], measure), curve_of(of[codec], settings[codec], measure)
            if not all(np.isfinite(values).all() for _, values in curves):
                continue
            line: Row = {"codec": codec, "against": anchor, "measure": measure}
            for name, rate in (("bd_rate", True), ("bd_quality", False)):
                values = asdict(difference(*curves, rate=rate))
                line |= {name if part == "value" else f"{name}_{part}": _number(v) for part, v in values.items()}
            found.append(line)
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def markdown(summary: Sequence[Row], names: Sequence[str], *, sizes: bool) -> str:
    """The measures called ``names`` as a table for documents; with ``sizes`` also what was spent, in full."""
    heads = ["codec", "setting"]
    heads += ["bytes, mean", "largest", "over budget", "file bytes", "bpp"] if sizes else ["bpp"]
    heads += [TITLES[name] for name in names]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in summary:
        cells = [row["codec"], row["setting"]]
        if sizes:
            cells += [
                f"{row['bytes']:.0f}",
                str(row["largest"]),
                f"{row['over']} of {row['images']}",
                f"{row['file_bytes']:.0f}",
            ]
        cells += [f"{row['bpp']:.4f}", *(_cell(row, name) for name in names)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def latex(summary: Sequence[Row], names: Sequence[str]) -> str:
    """The same as a tabular of booktabs; the best of each setting in bold."""
    heads = ["Codec", "Setting", "Bytes", "bpp"]
    heads += [f"{TITLES[name]} $\\{'down' if name in LESS else 'up'}arrow$" for name in names]
    lines = [f"\\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}", "\\toprule", " & ".join(heads) + r" \\", "\\midrule"]
    for row in summary:
        rivals = [other for other in summary if other["setting"] == row["setting"]]
        cells = [row["codec"], row["setting"].replace(" B", r"\,B"), f"{row['bytes']:.0f}", f"{row['bpp']:.4f}"]
        for name in names:
            values = [other[name] for other in rivals if other.get(name) is not None]
            best = (min if name in LESS else max)(values) if len(rivals) > 1 and values else None
            cells.append(
                f"\\textbf{{{_cell(row, name)}}}" if best is not None and row[name] == best else _cell(row, name)
            )
        lines.append(" & ".join(cells).replace("_", r"\_") + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def bd_table(found: Sequence[Row]) -> str:
    """BD-rates as a table of Markdown."""
    lines = [
        "| codec | against | measure | BD-rate, % | 95 % interval | BD-quality | 95 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        rate, quality = (
            [("-" if row[name + part] is None else f"{row[name + part]:+.{digits}f}") for part in ("", "_low", "_high")]
            for name, digits in (("bd_rate", 1), ("bd_quality", 3))
        )
        lines.append(
            f"| {row['codec']} | {row['against']} | {TITLES[row['measure']]} | {rate[0]} | {rate[1]} to {rate[2]} | {quality[0]} | {quality[1]} to {quality[2]} |"
        )
    return "\n".join(lines)


def groups(summary: Sequence[Row]) -> dict[str, list[str]]:
    """What was measured, by table: the likeness of the pictures, and each task."""
    found = {group: [name for name in names if name in summary[0]] for group, names in GROUPS.items()}
    return {group: names for group, names in found.items() if names}


def _cell(row: Row, measure: str) -> str:
    value = row.get(measure)
    return "-" if value is None else f"{value:.2f}" if measure in ("psnr", "gradient_energy") else f"{value:.3f}"


def plot(summary: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """The measures called ``names`` against bits per pixel, a line for each codec, dashed for none at all: ``path``.png and .svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(names))
    down = -(-len(names) // columns)
    figure, axes = pyplot.subplots(down, columns, figsize=(4.6 * columns, 3.6 * down), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for codec in dict.fromkeys(row["codec"] for row in summary):
            found = [row for row in summary if row["codec"] == codec and row.get(name) is not None]
            if found and not found[0]["bytes"]:
                axis.axhline(found[0][name], color="grey", linestyle="--", linewidth=1, label=codec)
            elif found:
                points = sorted((row["bpp"], row[name]) for row in found)
                axis.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=codec)
        axis.set(xlabel="bits per pixel", ylabel=TITLES[name] + (" (less is better)" if name in LESS else ""))
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    if axes.flat[0].get_legend_handles_labels()[0]:
        axes.flat[0].legend(fontsize=7)
    figure.tight_layout()
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=120)
    pyplot.close(figure)


def write(rows: Sequence[Row], out: Path, *, anchor: str, about: dict[str, Any]) -> str:
    """Everything into ``out``; returns the Markdown of the tables."""
    summary, found = summarise(rows), differences(rows, anchor)
    (out / "summary.json").write_text(json.dumps({"about": about, "rows": summary, "bd": found}, indent=1) + "\n")
    for name, lines in (("images.csv", rows), ("summary.csv", summary), ("bd.csv", found)):
        if lines:
            with (out / name).open("w", newline="") as file:
                names = dict.fromkeys(
                    key for line in lines for key, value in line.items() if not isinstance(value, dict)
                )
                writer = csv.DictWriter(file, list(names), extrasaction="ignore")
                writer.writeheader()
                writer.writerows(lines)
    tables: list[str] = []
    for group, names_of_it in groups(summary).items():
        tables.append(markdown(summary, names_of_it, sizes=not tables))
        (out / f"{group}.md").write_text(tables[-1] + "\n")
        (out / f"{group}.tex").write_text(latex(summary, names_of_it) + "\n")
        plot(summary, names_of_it, out / group)
    if found:
        tables.append(bd_table(found))
        (out / "bd.md").write_text(tables[-1] + "\n")
    return "\n\n".join(tables)
