"""Writes docs/results.md: the runs of config/results.yaml through `gsc eval` and `gsc bound`, with the command above each table.

    python tools/make_results.py DATA [OUT]

OUT (out/results) keeps the results of every run; a second call goes on where the first one was stopped.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Results

Made by `make results DATA=DIR` from config/results.yaml; docs/nano.md has the peers on Kodak. Whole packets with head for nano; for AV1 the best of 22
scales for each image and budget by MS-SSIM, payload without container. GMS: gradient similarity (Xue et al. 2014). Detector: F1 of YOLOX-nano's boxes
on the picture against those on the original; P, R and mAP are against the dataset's boxes. BD-rates in percent of AV1's bytes, with 95 % intervals by
bootstrap over the images; few images make them wide. Small budgets leave AV1's bins unevenly full: compare bytes, or the BD-rates, not rows.
"""
ABLATIONS = """# Ablations

Of nano, all 24 images of Kodak, `realism` 0 unless the name says otherwise.
"""
CONTEXT = """
At one level for all channels, at full size. Without context: every channel coded by the frequencies of its own symbols, which no coder knows
beforehand. Entropy: under the context model. Of what matters: weighted entropy (paper 3.4, eq. 7) with the spectral residual's saliency as weights; a bound of
this codec under its own model, not of the scene (`gsc_ros/evaluation/bound.py`).
"""


def main(data: Path, out: Path) -> None:
    """Run what is missing, and write the document."""
    content = yaml.safe_load((ROOT / "config" / "results.yaml").read_text())
    parts = [HEAD, *(section(run, content, data, out) for run in content["datasets"]), ABLATIONS]
    parts += [section({"dataset": "kodak", "root": "kodak", **run}, content, data, out) for run in content["ablations"]]
    (ROOT / "docs" / "results.md").write_text("\n".join(parts))


def section(run: dict[str, Any], content: dict[str, Any], data: Path, out: Path) -> str:
    """The title, the command and what it prints."""
    options: dict[str, object] = {"dataset": run["dataset"], "root": data / run["root"]}
    options |= {name: run[name] for name in ("count", "channels") if name in run}
    command = run.get("command", "eval")
    if command == "eval":
        options |= {name: run.get(name, content[name]) for name in ("codecs", "bytes", "measures")}
        if "tasks" in run:
            options |= {"tasks": run["tasks"], "detector": data / content["detector"]}
    shown = " ".join(f"--{name} {_short(value, data)}" for name, value in options.items())
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    folder = out / re.sub(r"[^a-z0-9]+", "_", run["title"].lower())
    program = [sys.executable, "-c", "from gsc_ros.cli.main import main; main()", command, *arguments]
    done = subprocess.run([*program, "--out", str(folder)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    note = CONTEXT if command == "bound" else ""
    return f"## {run['title']}\n\n`gsc {command} {shown}`\n{note}\n{done.stdout.strip()}\n"


def _short(value: object, data: Path) -> str:
    return str(value.relative_to(data)) if isinstance(value, Path) else str(value)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python tools/make_results.py DATA [OUT]")
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) == 3 else "out/results").resolve())
