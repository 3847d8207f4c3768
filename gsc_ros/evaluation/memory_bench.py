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
    """Means over the frames of one run; ``change`` is the mean absolute difference of successive pictures."""

    bytes: float
    ms_ssim: float
    change: float
    largest_change: float


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

    def run(self, frames: Sequence[Image], *, level: int, memory: str, key_interval: int, delay: int = 1) -> Run:
        """Code ``frames`` at ``level``; every one is acknowledged ``delay`` frames later."""
        sender, receiver = self._encoder.for_another_camera(), self._decoder.for_another_camera()
        settings = EncodeSettings(level=level, memory=memory, key_interval=key_interval, caption_mode="off")
        sizes, likeness, changes = [], [], []
        sequences: list[int] = []
        before: Image | None = None
        for frame in frames:
            packet = sender.encode(frame, settings).packet
            result = receiver.decode(packet, DecodeSettings(realism=0.0))
            sequences.append(result.message.frame.sequence)
            if len(sequences) >= delay:
                sender.references.acknowledge(sequences[-delay])
            sizes.append(len(packet))
            likeness.append(ms_ssim(frame, result.image))
            if before is not None:
                changes.append(float(np.abs(result.image.astype(np.int16) - before).mean()))
            before = result.image
        return Run(float(np.mean(sizes)), float(np.mean(likeness)), float(np.mean(changes)), max(changes))


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


def parked(view: Image, *, profile: str, level: int, key_interval: int, count: int = 60) -> tuple[Run, Run]:
    """A view at rest with a sensor's noise, ``count`` frames: with memory, and independent."""
    generator = np.random.default_rng(0)
    frames = [
        np.clip(np.rint(view + generator.normal(0, NOISE, view.shape)), 0, 255).astype(np.uint8) for _ in range(count)
    ]
    camera = Camera(profile)
    return (
        camera.run(frames, level=level, memory="acknowledged", key_interval=key_interval),
        camera.run(frames, level=level, memory="off", key_interval=1),
    )
