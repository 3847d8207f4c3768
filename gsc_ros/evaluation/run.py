"""`gsc eval`: a dataset x codecs x settings, image by image, resumable.

pictures --> coding --> bytes, picture --> measures, detector --> one file for each codec and image
                                                                     --> report.py
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from gsc_ros import __version__
from gsc_ros.evaluation import codings
from gsc_ros.evaluation.codings import Coding, Setting
from gsc_ros.evaluation.datasets import Picture
from gsc_ros.evaluation.detector import Detector, agreement
from gsc_ros.evaluation.metrics import MEASURES
from gsc_ros.profiles import load_profile

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    settings  what each codec may spend; channels are those of ours
    measures  names of :data:`gsc_ros.evaluation.metrics.MEASURES`
    detector  an ONNX model whose boxes on picture and original are compared
    match     a codec: the others may spend, on each image, what that one spent on it
    """

    settings: tuple[Setting, ...]
    measures: tuple[str, ...]
    detector: Path | None = None
    match: str | None = None

    def check(self, codecs: Sequence[str]) -> None:
        """Raise ValueError with one line on the first thing that cannot be done."""
        codings.check(codecs)
        if unknown := [name for name in self.measures if name not in MEASURES]:
            raise ValueError(f"measure {unknown[0]!r}: {', '.join(MEASURES)} are known")
        if self.match is not None and self.match not in codecs:
            raise ValueError(f"match {self.match!r}: one of the codecs, {', '.join(codecs)}")
        if self.detector is not None:
            Detector(self.detector)

    def key(self, codec: str, picture: Picture) -> str:
        """A name for the result of a codec on an image that changes with whatever could change the result."""
        match = None if codec == self.match else self.match
        parts: list[Any] = [codec, picture.name, picture.path.stat().st_size, picture.crop, match]
        parts += [[asdict(setting) for setting in self.settings], self.measures, str(self.detector)]
        names = [name for name in (codec, match) if name is not None and codings.is_ours(name)]
        parts += [__version__ for _ in names]  # ours change with the package, too
        parts += [load_profile(codings.Ours.of(name).profile).fingerprint for name in names]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@cache
def _coding(name: str, most: int) -> Coding:
    return codings.coding(name, most=most)


@cache
def _detector(path: Path) -> Detector:
    return Detector(path)


def measure(plan: Plan, codec: str, picture: Picture, spent: Sequence[int] | None = None) -> list[Row]:
    """One row for each setting; ``spent`` bytes take the place of the settings' own."""
    settings = list(plan.settings)
    if not codings.is_ours(codec):  # channels are ours alone
        settings = list(dict.fromkeys(replace(setting, channels=None) for setting in settings))
    image = picture.read()
    code = _coding(codec, max(setting.max_bytes for setting in settings))
    original = _detector(plan.detector).boxes(image) if plan.detector else None
    rows = []
    for index, setting in enumerate(settings):
        allowed = setting if spent is None else replace(setting, max_bytes=spent[index])
        coded = code(image, allowed)
        row: Row = {
            "codec": codec, "setting": setting.name, "image": picture.name, "budget": setting.max_bytes, "channels": setting.channels,
            "bytes": coded.bytes, "file_bytes": coded.file_bytes,
            "bpp": 8 * coded.bytes / (image.shape[0] * image.shape[1]),
        }  # fmt: skip
        row |= {name: MEASURES[name](image, coded.picture) for name in plan.measures}
        if original is not None and plan.detector is not None:
            kinds = ("boxes_agreed", "boxes_missed", "boxes_invented")
            row |= dict(zip(kinds, agreement(original, _detector(plan.detector).boxes(coded.picture)), strict=True))
        rows.append({name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()})
    return rows


def run(
    plan: Plan, pictures: Sequence[Picture], codecs: Sequence[str], out: Path, *, jobs: int, done: Callable[[], None]
) -> list[Row]:
    """Every row, in the order of codecs and images; what ``out`` holds already is read from there."""
    folder = out / "records"
    folder.mkdir(parents=True, exist_ok=True)
    # A codec that others are matched to goes first.
    order = sorted(codecs, key=lambda codec: codec != plan.match)
    paths = {
        (codec, p.name): folder / f"{_file_name(codec)}_{plan.key(codec, p)}.json" for codec in codecs for p in pictures
    }
    try:
        _measure_missing(plan, pictures, order, paths, jobs=jobs, done=done)
    except BrokenProcessPool as error:
        raise ValueError(
            f"a worker process died, for want of memory perhaps; what was measured is kept in {out}: "
            "call again to go on, with fewer --jobs"
        ) from error
    return [row for codec in codecs for p in pictures for row in json.loads(paths[codec, p.name].read_text())]


def _measure_missing(
    plan: Plan, pictures: Sequence[Picture], order: Sequence[str], paths: dict[tuple[str, str], Path], *, jobs: int,
    done: Callable[[], None],
) -> None:  # fmt: skip
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch hangs
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_one_thread) as pool:
        for codec in order:
            running = {}
            for picture in pictures:
                path = paths[codec, picture.name]
                if path.is_file():
                    done()
                    continue
                spent = None
                if plan.match is not None and codec != plan.match:
                    spent = [row["bytes"] for row in json.loads(paths[plan.match, picture.name].read_text())]
                running[pool.submit(measure, plan, codec, picture, spent)] = path
            for future in as_completed(running):
                partial = running[future].with_suffix(".partial")
                partial.write_text(json.dumps(future.result()))
                partial.replace(running[future])
                done()


def _file_name(codec: str) -> str:
    return re.sub(r"[^A-Za-z0-9=.-]+", "_", codec)


def _one_thread() -> None:
    """Several images at once would fight for the cores."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
