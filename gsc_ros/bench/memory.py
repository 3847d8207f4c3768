"""What memory across frames saves: bytes at equal likeness on a drive, bytes and flicker on a parked camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.decoder import Decoder, DecodeSettings
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.evaluation.metrics import ms_ssim

Image = NDArray[np.uint8]
NOISE = 2.0  # standard deviation of a parked camera's noise, in grey levels


@dataclass(frozen=True)
class Run:
    """Means over the frames of one run; ``change`` is the mean absolute difference of successive pictures.

    ``settled_change`` is the largest after the first key interval.
    """

    bytes: float
    ms_ssim: float
    change: float
    largest_change: float
    settled_change: float


@dataclass(frozen=True)
class Parked:
    """A run on a view at rest, at a level or within a budget."""

    setting: str
    realism: float
    run: Run


@dataclass(frozen=True)
class Saving:
    """At one quality level: frames with memory, and independent frames of the same MS-SSIM."""

    level: int
    memory: Run
    independent_bytes: float

    @property
    def share(self) -> float:
        """Part of the bytes that memory saves."""
        return 1 - self.memory.bytes / self.independent_bytes


class Camera:
    """One camera, its encoder and its decoder, with nothing lost between them."""

    def __init__(self, profile: str) -> None:
        self._encoder, self._decoder = Encoder.load(profile), Decoder.load(profile)

    def run(
        self,
        frames: Sequence[Image],
        *,
        memory: str,
        key_interval: int,
        level: int | None = None,
        max_bytes: int | None = None,
        delay: int = 1,
        realism: float = 0.0,
    ) -> Run:
        """Code ``frames`` at ``level`` or within ``max_bytes``; every one is acknowledged ``delay`` frames later."""
        sender, receiver = self._encoder.for_another_camera(), self._decoder.for_another_camera()
        settings = EncodeSettings(
            level=level, max_bytes=max_bytes, memory=memory, key_interval=key_interval, caption_mode="off"
        )
        sizes, likeness, changes = [], [], []
        sequences: list[int] = []
        before: Image | None = None
        for frame in frames:
            packet = sender.encode(frame, settings).packet
            result = receiver.decode(packet, DecodeSettings(realism=realism))
            sequences.append(result.message.frame.sequence)
            if len(sequences) >= delay:
                sender.references.acknowledge(sequences[-delay])
            sizes.append(len(packet))
            likeness.append(ms_ssim(frame, result.image))
            if before is not None:
                changes.append(float(np.abs(result.image.astype(np.int16) - before).mean()))
            before = result.image
        return Run(
            float(np.mean(sizes)),
            float(np.mean(likeness)),
            float(np.mean(changes)),
            max(changes),
            max(changes[key_interval - 1 :], default=0.0),
        )


def drive(
    frames: Sequence[Image],
    levels: Sequence[int],
    *,
    profile: str,
    key_interval: int,
    delay: int,
    done: Callable[[], None],
) -> Iterator[Saving]:
    """Savings at ``levels``. Independent frames are coded at levels around; bytes between them are interpolated."""
    camera = Camera(profile)
    curve: dict[int, Run] = {}

    def independent(level: int) -> Run:
        if level not in curve:
            curve[level] = camera.run(frames, level=level, memory="off", key_interval=1)
            done()
        return curve[level]

    for level in levels:
        ours = camera.run(frames, level=level, memory="acknowledged", key_interval=key_interval, delay=delay)
        done()
        low = level
        while low > 0 and independent(low).ms_ssim > ours.ms_ssim:
            low -= 1
        below, above = independent(low), independent(min(level, low + 1))
        span = above.ms_ssim - below.ms_ssim
        part = min(max((ours.ms_ssim - below.ms_ssim) / span, 0.0), 1.0) if span > 0 else 0.0
        equal = np.exp((1 - part) * np.log(below.bytes) + part * np.log(above.bytes))
        yield Saving(level, ours, float(equal))


def parked(
    view: Image, *, profile: str, level: int, budget: int, key_interval: int, count: int = 60
) -> Iterator[Parked]:
    """A view at rest with a sensor's noise, ``count`` frames: with memory and without, at a level and within a budget."""
    generator = np.random.default_rng(0)
    frames = [
        np.clip(np.rint(view + generator.normal(0, NOISE, view.shape)), 0, 255).astype(np.uint8) for _ in range(count)
    ]
    camera = Camera(profile)
    for setting, limit in ((f"level {level}", {"level": level}), (f"{budget} bytes", {"max_bytes": budget})):
        yield Parked(setting, 0.0, camera.run(frames, memory="acknowledged", key_interval=key_interval, **limit))
        yield Parked(
            f"{setting}, independent", 0.0, camera.run(frames, memory="off", key_interval=key_interval, **limit)
        )
    sampled = camera.run(frames, memory="acknowledged", key_interval=key_interval, realism=1.0, max_bytes=budget)
    yield Parked(f"{budget} bytes", 1.0, sampled)
