"""The results of an experiment: two CSV files, plots, and one page that holds them."""

from __future__ import annotations

import base64
import csv
import html
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PLOTS = (
    ("ms_ssim", "MS-SSIM of the shown pictures"),
    ("detector_agreement", "agreement of a detector (F1)"),
    ("age_p50_s", "age of what is on the screen, median (s)"),
    ("fps", "pictures a second"),
)


def write(out: Path, runs: Sequence[dict[str, Any]], *, title: str, command: str) -> None:
    """summary.csv, frames.csv, *.png and index.html in ``out``."""
    rows = [{"link": run["link"], "codec": run["codec"], **run["figures"]} for run in runs]
    _csv(out / "summary.csv", rows)
    frames = [{"link": run["link"], "codec": run["codec"], **frame} for run in runs for frame in run["frames"]]
    _csv(out / "frames.csv", frames)
    pictures = []
    for name, label in PLOTS:
        if any(_number(row.get(name)) is not None for row in rows):
            pictures.append((label, _bars(rows, name, label)))
            (out / f"{name}.png").write_bytes(pictures[-1][1])
    pictures.append(("Age of what is on the screen", _ages(runs)))
    (out / "age.png").write_bytes(pictures[-1][1])
    (out / "index.html").write_text(_page(title, command, rows, pictures), encoding="utf-8")


def markdown(rows: Iterable[dict[str, Any]]) -> str:
    """The table of docs/experiments.md."""
    lines = [
        "| link | codec | pictures/s | age median, 95 %, max (s) | first picture (s) | recovery (s) | bit/s on the wire | packet (B) | PSNR | MS-SSIM | gradient similarity | detector |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ages = ", ".join(_text(row[name]) for name in ("age_p50_s", "age_p95_s", "age_max_s"))
        lines.append(
            f"| {row['link']} | {row['codec']} | {_text(row['fps'])} | {ages} | {_text(row['first_picture_s'])} | {_text(row['recovery_s'])} | "
            f"{row['wire_bps']:.0f} | {_text(row['packet_bytes'], 0)} | {_text(row['psnr'], 1)} | {_text(row['ms_ssim'], 3)} | {_text(row['gradient_similarity'], 3)} | {_text(row['detector_agreement'])} |"
        )
    return "\n".join(lines)


def _csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(value: Any, digits: int = 2) -> str:
    number = _number(value)
    return "-" if number is None else f"{number:.{digits}f}"


def _figure() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(9, 4), layout="constrained")


def _png(figure: Any) -> bytes:
    from matplotlib import pyplot

    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    pyplot.close(figure)
    return out.getvalue()


def _bars(rows: Sequence[dict[str, Any]], name: str, label: str) -> bytes:
    links, codecs = (list(dict.fromkeys(row[key] for row in rows)) for key in ("link", "codec"))
    figure, axes = _figure()
    width = 0.8 / len(codecs)
    for place, codec in enumerate(codecs):
        values = {row["link"]: _number(row.get(name)) or 0.0 for row in rows if row["codec"] == codec}
        at = [index + (place - (len(codecs) - 1) / 2) * width for index in range(len(links))]
        axes.bar(at, [values.get(link, 0.0) for link in links], width, label=codec)
    axes.set_xticks(range(len(links)), links)
    axes.set_ylabel(label)
    axes.legend(ncols=len(codecs), fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.12))
    return _png(figure)


def _ages(runs: Sequence[dict[str, Any]]) -> bytes:
    """A saw tooth for each codec on the first link: a picture grows older until the next one comes."""
    figure, axes = _figure()
    link = runs[0]["link"]
    for run in runs:
        if run["link"] != link or not run["frames"]:
            continue
        times, ages = [], []
        before: float | None = None
        for frame in run["frames"]:
            if before is not None:
                times.append(frame["shown_s"])
                ages.append(frame["shown_s"] - before)
            times.append(frame["shown_s"])
            ages.append(frame["age_s"])
            before = frame["taken_s"]
        axes.plot(times, ages, label=run["codec"], linewidth=1)
    axes.set_xlabel(f"seconds, link {link}")
    axes.set_ylabel("age on the screen (s)")
    axes.legend(fontsize="small")
    return _png(figure)


def _page(title: str, command: str, rows: Sequence[dict[str, Any]], pictures: Sequence[tuple[str, bytes]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row.get(name)))}</td>" for name in names) + "</tr>" for row in rows
    )
    images = "".join(
        f"<h2>{html.escape(label)}</h2><img alt='{html.escape(label)}' src='data:image/png;base64,{base64.b64encode(data).decode()}'>"
        for label, data in pictures
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse;font-size:13px}}td,th{{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd}}
td:nth-child(-n+2),th:nth-child(-n+2){{text-align:left}}img{{max-width:100%}}div{{overflow-x:auto}}code{{background:#f3f3f3}}</style>
<h1>{html.escape(title)}</h1>
<p>Pictures of gsc, gsc-patient and gsc-intra are generated: what was not sent is invented.</p>
<p><code>{html.escape(command)}</code></p>
<div><table><tr>{head}</tr>{body}</table></div>{images}</html>
"""


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return _text(value, 3)
