"""Writes docs/results.md: the runs of config/results.yaml through `gsc eval`, with the command above each table.

    python tools/make_results.py DATA [OUT]

OUT (out/results) keeps the results of every run; a second call goes on where the first one was stopped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Results

Made by `make results DATA=DIR` from config/results.yaml; docs/nano.md has Kodak. Whole packets with head for nano; for AV1 the best of 22 scales for
each image and budget by MS-SSIM, payload without container. GMS: gradient similarity (Xue et al. 2014). Detector: F1 of YOLOX-nano's boxes on the picture
against those on the original. BD-rates in percent of AV1's bytes, with 95 % intervals by bootstrap over the images; few images make them wide.
Small budgets leave AV1's bins unevenly full: compare bytes, or the BD-rates, not rows.
"""


def main(data: Path, out: Path) -> None:
    """Run what is missing, and write the document."""
    content = yaml.safe_load((ROOT / "config" / "results.yaml").read_text())
    parts = [HEAD]
    for run in content["runs"]:
        options = {
            "dataset": run["dataset"], "root": data / run["root"], "count": run["count"], "codecs": content["codecs"],
            "bytes": content["bytes"], "measures": content["measures"],
        }  # fmt: skip
        if "tasks" in run:
            options |= {"tasks": run["tasks"], "detector": data / content["detector"]}
        shown = " ".join(f"--{name} {_short(value, data)}" for name, value in options.items())
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        folder = out / run["root"].replace("/", "_")
        command = [sys.executable, "-c", "from gsc_ros.cli.main import main; main()", "eval", *arguments]
        done = subprocess.run([*command, "--out", str(folder)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        parts.append(f"## {run['title']}\n\n`gsc eval {shown}`\n\n{done.stdout.strip()}\n")
    (ROOT / "docs" / "results.md").write_text("\n".join(parts))


def _short(value: object, data: Path) -> str:
    return str(value.relative_to(data)) if isinstance(value, Path) else str(value)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python tools/make_results.py DATA [OUT]")
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) == 3 else "out/results").resolve())
