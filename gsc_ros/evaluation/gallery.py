"""Pictures side by side: for an image a sheet with its original and what every codec made of it, budget by budget.

Figures flatter some codecs; a look at the pictures shows which.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2

from gsc_ros.evaluation.coded import Image
from gsc_ros.evaluation.datasets import Picture
from gsc_ros.marking import WORD
from gsc_ros.sources import read_file

INCHES, DOTS = 3.6, 120  # of one picture's width; to an inch


def keep(record: Path, pictures: Sequence[Image]) -> None:
    """The ``pictures`` of all settings, beside their ``record``."""
    folder = record.with_suffix("")
    for index, picture in enumerate(pictures):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{index}.png"), picture[:, :, ::-1])


def kept(record: Path) -> bool:
    """Whether the pictures of ``record`` are there, all of them."""
    return all((record.with_suffix("") / f"{i}.png").is_file() for i in range(len(json.loads(record.read_text()))))


def sheet(picture: Picture, records: Sequence[Path], generated: Sequence[bool], out: Path) -> Path:
    """Draws ``out``/NAME.png: a row for each setting, a column for each record; titles say bytes, MS-SSIM and what was generated."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = [json.loads(record.read_text()) for record in records]
    settings = list(dict.fromkeys(row["setting"] for rows in columns for row in rows if row["bytes"])) or [""]
    image = picture.read()
    high = INCHES * image.shape[0] / image.shape[1] + 0.35
    size = (INCHES * (1 + len(records)), high * len(settings))
    figure, axes = pyplot.subplots(len(settings), 1 + len(records), figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for down, setting in enumerate(settings):
        axes[down][0].imshow(image)
        axes[down][0].set_title(f"{picture.name}, original", fontsize=8)
        for axis, record, rows, made in zip(axes[down][1:], records, columns, generated, strict=True):
            for index, row in enumerate(rows):
                if row["setting"] != setting and row["bytes"]:
                    continue
                axis.imshow(read_file(record.with_suffix("") / f"{index}.png"))
                parts = [row["codec"], f"{row['bytes']} B" if row["bytes"] else "", WORD if made else ""]
                if row.get("ms_ssim") is not None:
                    parts.insert(2, f"MS-SSIM {row['ms_ssim']:.3f}")
                axis.set_title(", ".join(part for part in parts if part), fontsize=8)
                break
    figure.tight_layout(pad=0.3)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{Path(picture.name).with_suffix('').as_posix().replace('/', '_')}.png"
    figure.savefig(path, dpi=DOTS)
    pyplot.close(figure)
    return path
