"""Which runs an experiment consists of; each is done once and kept, so that it can be gone on with."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gsc_ros.experiment.codecs import Image
from gsc_ros.left_out import LeftOut, silently
from gsc_ros.link.presets import link_spec
from gsc_ros.sources import Source


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all runs share.

    fps             of the drive, which is gone through to and fro for ``seconds``
    max_bytes       largest packet; ``least_rate_hz`` the rate below which packets get smaller
    loss            added to every link, 0..1
    outage_s        the link is cut for so long in the middle; 0: it is not
    judged          pictures of a run that are compared with their originals, at most
    """

    source: Source
    seconds: float = 60.0
    fps: float = 10.0
    max_bytes: int = 1200
    least_rate_hz: float = 1.0
    loss: float = 0.0
    outage_s: float = 5.0
    seed: int = 1
    judged: int = 60
    most_frames: int = 300
    profile: str = "nano"
    detector: Path | None = None

    def frames(self, left_out: LeftOut) -> list[Image]:
        """The drive: all of it at the size of its first frame, for a stream has one size."""
        frames: list[Image] = []
        resized = False
        for frame in self.source.frames(left_out):
            if frames and frame.shape != frames[0].shape:
                height, width = frames[0].shape[:2]
                if not resized:
                    left_out.tell(
                        f"{self.source.name}: frames of other sizes are resized to {width}x{height}, the first one's"
                    )
                resized = True
                how = cv2.INTER_AREA if frame.size > frames[0].size else cv2.INTER_CUBIC
                frame = np.asarray(cv2.resize(frame, (width, height), interpolation=how), dtype=np.uint8)
            frames.append(frame)
            if len(frames) == self.most_frames:
                break
        return frames

    def key(self, link: str, codec: str) -> str:
        """What a finished run is known by: everything that its figures depend on."""
        from gsc_ros import __version__
        from gsc_ros.evaluation import files
        from gsc_ros.profiles import load_profile

        told = {**asdict(self), "link": link, "codec": codec, "version": __version__}
        profile = load_profile(self.profile)
        told["files"] = [profile.fingerprint, *files.state(profile.weights), *files.state(self.detector)]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def run_one(plan: Plan, link: str, codec_name: str) -> dict[str, Any]:
    """The figures and the frames of one run."""
    from gsc_ros.evaluation.tasks.detector import Detector
    from gsc_ros.experiment.codecs import make_codec
    from gsc_ros.experiment.judge import Outage, frame_rows, summary
    from gsc_ros.experiment.simulation import fly, rate_settings

    drive = plan.frames(LeftOut(silently))  # told when the plan was made
    spec = link_spec(link)
    outage = None
    if plan.outage_s:
        outage = Outage(plan.seconds / 2, plan.seconds / 2 + plan.outage_s)
        spec = replace(spec, outage_every_s=plan.seconds / 2, outage_s=plan.outage_s)
    if plan.loss:
        spec = replace(spec, loss=1 - (1 - spec.loss) * (1 - plan.loss))
    rate = rate_settings(spec, max_bytes=plan.max_bytes, least_rate_hz=plan.least_rate_hz)
    codec = make_codec(codec_name, drive, rate, profile=plan.profile, fps=plan.fps)
    flight = fly(codec, drive, spec, rate, fps=plan.fps, seconds=plan.seconds, seed=plan.seed)
    detector = Detector(plan.detector) if plan.detector else None
    rows = frame_rows(flight, drive, detector, most=plan.judged)
    return {"link": link, "codec": codec_name, "figures": summary(flight, rows, outage), "frames": rows}


def run_all(
    plan: Plan,
    links: Sequence[str],
    codecs: Sequence[str],
    out: Path,
    *,
    jobs: int,
    done: Callable[[], None],
) -> list[dict[str, Any]]:
    """Every run, in the order of links and codecs; those that ``out`` holds already are read from there."""
    folder = out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(link, codec) for link in links for codec in codecs]
    paths = {pair: folder / f"{pair[0]}_{pair[1]}_{plan.key(*pair)}.json" for pair in wanted}
    missing = [pair for pair in wanted if not paths[pair].is_file()]
    for _ in range(len(wanted) - len(missing)):
        done()
    if jobs == 1 or len(missing) < 2:
        _one_thread()
        for pair in missing:
            _keep(paths[pair], run_one(plan, *pair))
            done()
    else:
        # A fork of a process that has used torch hangs in its first matrix product.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_one_thread) as pool:
            running = {pool.submit(run_one, plan, *pair): pair for pair in missing}
            for future in as_completed(running):
                _keep(paths[running[future]], future.result())
                done()
    return [json.loads(paths[pair].read_text()) for pair in wanted]


def _keep(path: Path, run: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(run))
    partial.replace(path)


def _one_thread() -> None:
    """Several runs at once would fight for the cores; and one thread is what a robot can spare."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
