"""`gsc eval`: a dataset x codecs x settings, image by image, resumable.

pictures --> coding --> bytes, picture --> measures, tasks --> one file for each codec and image
                                                                  --> report.py
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gsc_ros.evaluation import codings, distribution, files, gallery, metrics
from gsc_ros.evaluation.coded import Coding, Image, Setting
from gsc_ros.evaluation.datasets import Picture
from gsc_ros.evaluation.metrics import MEASURES
from gsc_ros.evaluation.tasks import Task
from gsc_ros.evaluation.tasks import load as load_task
from gsc_ros.left_out import LeftOut
from gsc_ros.sources import SourceError
from gsc_ros.workers import WorkerDiedError, Workers, device

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    settings  what each codec may spend; channels are those of ours
    measures  names of :data:`gsc_ros.evaluation.metrics.MEASURES`, and of :data:`gsc_ros.evaluation.distribution.NAMES`
    tasks     names of tasks (:data:`gsc_ros.evaluation.tasks.NAMES`), each with its model
    match     a codec: the others may spend, on each image, what that one spent on it
    """

    settings: tuple[Setting, ...]
    measures: tuple[str, ...]
    tasks: tuple[tuple[str, Path], ...] = ()
    match: str | None = None

    def check(self, codecs: Sequence[str]) -> None:
        """Raise ValueError with one line on the first thing that cannot be done."""
        codings.check(codecs)
        for name in self.measures:
            metrics.check(name)
        if self.match is not None and self.match not in codecs:
            raise ValueError(f"match {self.match!r}: one of the codecs, {', '.join(codecs)}")
        for name, model in self.tasks:
            load_task(name, model)

    def key(self, codec: str, picture: Picture) -> str:
        """A name for the result of a codec on an image that changes with whatever could change the result."""
        match = None if codec == self.match else self.match
        parts: list[Any] = [codec, picture.name, picture.path.stat().st_size, picture.crop, match]
        parts += [[asdict(setting) for setting in self.settings], self.measures]
        for name, model in self.tasks:
            parts += [name, files.state(model)]
        if self.tasks:
            parts += [files.state(path) for path in (picture.depth_file, picture.label_file)]
            parts += [picture.boxes and [asdict(box) for box in picture.boxes]]
        parts += [codings.state(name) for name in (codec, match) if name is not None]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@cache
def _coding(name: str, most: int, device: str) -> Coding:
    return codings.coding(name, most=most, device=device)


@cache
def _task(name: str, model: Path, device: str) -> Task:
    return load_task(name, model, device)


@dataclass(frozen=True)
class Measured:
    """What one codec made of one image: a row for each setting, and the pictures where they are to be shown.

    ``refused`` says why there are none: the image cannot be read.
    """

    rows: list[Row]
    pictures: list[Image]
    refused: str = ""


def measure(
    plan: Plan, codec: str, picture: Picture, spent: Sequence[int] | None = None, show: bool = False
) -> Measured:
    """Runs on a worker. ``spent`` bytes take the place of the settings' own."""
    settings = codings.settings(codec, plan.settings)
    try:
        image = picture.read()
    except SourceError as error:
        return Measured([], [], refused=str(error))
    code = _coding(codec, max(setting.max_bytes for setting in settings), device())
    tasks = [_task(name, model, device()) for name, model in plan.tasks]
    originals = [task.look(image) for task in tasks]
    pairwise = [name for name in plan.measures if name in MEASURES]
    features = distribution.features(image, device()) if len(pairwise) < len(plan.measures) else None
    rows, pictures = [], []
    for index, setting in enumerate(settings):
        allowed = setting if spent is None else replace(setting, max_bytes=spent[index])
        coded = code(image, allowed, picture.path.stem)
        row: Row = {
            "codec": codings.label(codec), "setting": setting.name if coded.bytes else "-", "image": picture.name,
            "budget": setting.max_bytes, "channels": setting.channels,
            "bytes": coded.bytes, "file_bytes": coded.file_bytes,
            "bpp": 8 * coded.bytes / (image.shape[0] * image.shape[1]),
        }  # fmt: skip
        row |= {name: MEASURES[name](image, coded.picture) for name in pairwise}
        if features is not None:
            row |= distribution.evidence(features, distribution.features(coded.picture, device()))
        for task, original in zip(tasks, originals, strict=True):
            row |= task.compare(picture, original, task.look(coded.picture))
        if show:
            pictures.append(coded.picture)
        rows.append({name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()})
    return Measured(rows, pictures)


def run(
    plan: Plan,
    pictures: Sequence[Picture],
    codecs: Sequence[str],
    out: Path,
    *,
    crew: Workers,
    done: Callable[[], None],
    show: int = 0,
    left_out: LeftOut | None = None,
) -> list[Row]:
    """Every row, in the order of codecs and images; what ``out`` holds already is read from there.

    Of the first ``show`` images ``out``/pictures gets sheets. Images that cannot be read are told and left out; raises
    ValueError where none can.
    """
    left_out = left_out or LeftOut()
    shown = list(pictures[:show])
    refused: set[str] = set()
    folder = out / "records"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        (codec, p.name): folder / f"{_file_name(codec)}_{plan.key(codec, p)}.json" for codec in codecs for p in pictures
    }
    # A codec that others are matched to goes first.
    for codec in sorted(codecs, key=lambda codec: codec != plan.match):
        missing = [
            picture
            for picture in pictures
            if picture.name not in refused
            and (not (path := paths[codec, picture.name]).is_file() or (picture in shown and not gallery.kept(path)))
        ]
        for _ in range(len(pictures) - len(missing)):
            done()
        allowed = [_spent(plan, codec, paths, picture) for picture in missing]
        work = [
            (plan, codec, picture, spent, picture in shown) for picture, spent in zip(missing, allowed, strict=True)
        ]
        try:
            for picture, measured in zip(missing, crew.stream(measure, work), strict=True):
                if measured.refused:
                    refused.add(picture.name)
                    left_out.frame("eval", f": {picture.name}", measured.refused)
                    done()
                    continue
                path = paths[codec, picture.name]
                gallery.keep(path, measured.pictures)
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(measured.rows))
                partial.replace(path)
                done()
        except WorkerDiedError as error:
            raise ValueError(f"{error}; what was measured is kept in {out}, the same command goes on there") from error
    pictures = [picture for picture in pictures if picture.name not in refused]
    if not pictures:
        raise ValueError(f"none of {len(refused)} images can be read")
    columns = [codec for codec in codecs if codec != "original"]
    for picture in [picture for picture in shown if picture.name not in refused]:
        records = [paths[codec, picture.name] for codec in columns]
        gallery.sheet(picture, records, [codings.is_ours(codec) for codec in columns], out / "pictures")
    return [row for codec in codecs for p in pictures for row in json.loads(paths[codec, p.name].read_text())]


def _spent(plan: Plan, codec: str, paths: dict[tuple[str, str], Path], picture: Picture) -> list[int] | None:
    """What the codec that others are matched to spent on ``picture``, setting by setting."""
    if plan.match is None or codec == plan.match:
        return None
    return [row["bytes"] for row in json.loads(paths[plan.match, picture.name].read_text())]


def _file_name(codec: str) -> str:
    return re.sub(r"[^A-Za-z0-9=.-]+", "_", codec)
