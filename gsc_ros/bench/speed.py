"""How long each stage of a frame takes, how large the processes grow, and how that grows with pixels and channels.

Every time is also given as a multiple of a fixed reference, a stack of convolutions in torch that is timed in the same run:
a figure from one machine then says something on another.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from gsc_ros.decoder import Decoder, DecodeSettings
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.sources import moving_photographs

BUDGET = 300
SEARCHED = 10  # steps
REFERENCE_WIDTH, REFERENCE_LAYERS, REFERENCE_GRID = 64, 8, (128, 192)
REFERENCE_GFLOP = 2e-9 * REFERENCE_LAYERS * 9 * REFERENCE_WIDTH**2 * REFERENCE_GRID[0] * REFERENCE_GRID[1]


@dataclass(frozen=True)
class Stage:
    """The median of one stage at one size of frame: milliseconds, and how many reference stacks that is."""

    size: str
    stage: str
    ms: float
    references: float


@dataclass(frozen=True)
class Figures:
    """Everything that one run measured.

    reference_ms  of the stack of convolutions, and gflops: what it got out of the machine
    processes     for the encoder, the decoder and both: seconds until it is ready, and MB at most
    """

    threads: int
    reference_ms: float
    gflops: float
    stages: list[Stage]
    processes: dict[str, dict[str, float]]


def _median_ms(work: Callable[[], Any], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times))


def reference(repeats: int) -> float:
    """Milliseconds of eight 3x3 convolutions of 64 channels at 192x128: 14.5 billion operations in float32."""
    layers = [nn.Conv2d(REFERENCE_WIDTH, REFERENCE_WIDTH, 3, padding=1) for _ in range(REFERENCE_LAYERS)]
    stack, x = nn.Sequential(*layers), torch.zeros(1, REFERENCE_WIDTH, *REFERENCE_GRID)
    with torch.inference_mode():
        return _median_ms(lambda: stack(x), repeats)


def stages(encoder: Encoder, decoder: Decoder, width: int, height: int, repeats: int) -> dict[str, float]:
    """Milliseconds of every stage for a photograph of ``width`` x ``height`` at 300 bytes."""
    photograph = next(moving_photographs())
    image = np.asarray(cv2.resize(photograph, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    settings = EncodeSettings(max_bytes=BUDGET, caption_refresh=1)
    latents = encoder.latents
    geometry = Geometry(height, width)
    x = latents.tensor(geometry.shrink(image, latents.layout))
    found = {
        "shrink": _median_ms(lambda: latents.tensor(geometry.shrink(image, latents.layout)), repeats),
        "analysis": _median_ms(lambda: latents.analyse(x), repeats),
        "encode, all": _median_ms(lambda: encoder.encode(image, settings), repeats),
    }
    if latents.searches:
        searched = replace(settings, search=SEARCHED)
        found["encode, each step of search"] = (
            _median_ms(lambda: encoder.encode(image, searched), 1) - found["encode, all"]
        ) / SEARCHED
    # In turn, because a picture of which nothing has changed is not painted again.
    frames = [encoder.encode(view, settings).frame for view in (image, np.ascontiguousarray(image[:, ::-1]))]
    found["entropy decoding"] = _median_ms(lambda: decoder.for_another_camera().read(frames[0]), repeats)
    messages = [decoder.for_another_camera().read(frame) for frame in frames]
    shown = messages[0].shown
    if isinstance(decoder.latents, NanoLatents):
        synthesise = decoder.latents.synthesise
        found["synthesis"] = _median_ms(lambda: synthesise(shown.values, shown.level, shown.geometry), repeats)
    alternating = cycle(messages)
    default = decoder.profile.defaults["steps"]
    for name, painting in (
        ("decode, realism 0", DecodeSettings(realism=0.0)),
        ("decode, realism 1, one step", DecodeSettings(realism=1.0, steps=1)),
        (f"decode, realism 1, {default} steps", DecodeSettings(realism=1.0, steps=default)),
    ):
        times: list[float] = []

        def paint(painting: DecodeSettings = painting, times: list[float] = times) -> None:
            times.append(decoder.reconstruct(next(alternating), painting).confidence_ms)

        found[name] = _median_ms(paint, repeats)
        found[f"confidence of it ({name.removeprefix('decode, ')})"] = float(np.median(times[1:]))
    found["decode, nothing has changed"] = _median_ms(lambda: decoder.reconstruct(messages[0]), repeats)
    return found


def channels(encoder: Encoder, width: int, height: int, repeats: int) -> dict[str, float]:
    """Milliseconds of entropy coding and decoding at the finest level, by number of channels."""
    latents = encoder.latents
    image = np.asarray(cv2.resize(next(moving_photographs()), (width, height)), dtype=np.uint8)
    planes = latents.analyse(latents.tensor(Geometry(height, width).shrink(image, latents.layout)))
    level = latents.levels - 1
    symbols = latents.quantise(planes, level)
    nominal = Geometry(height, width).nominal
    found = {}
    for count in sorted({1, 4, 8, 16, latents.layout.channels}):
        sent = {channel: symbols[channel] for channel in range(min(count, latents.layout.channels))}
        data = latents.coder.encode(sent, level, *nominal)
        size = f"{len(sent)} channels, {len(data)} bytes"
        found[f"code {size}"] = _median_ms(lambda sent=sent: latents.coder.encode(sent, level, *nominal), repeats)  # type: ignore[misc]
        found[f"decode {size}"] = _median_ms(
            lambda data=data, sent=sent: latents.coder.decode(data, list(sent), level, *nominal),  # type: ignore[misc]
            repeats,
        )
    return found


_PROCESS = """
import json, sys, time
began = time.perf_counter()
from gsc_ros.sources import moving_photographs
image = next(moving_photographs())
which, profile = sys.argv[1:]
if which != "decoder":
    from gsc_ros.encoder import Encoder, EncodeSettings
    encoder = Encoder.load(profile)
    packet = encoder.encode(image, EncodeSettings(max_bytes=300)).packet
if which != "encoder":
    from gsc_ros.decoder import Decoder, DecodeSettings
    decoder = Decoder.load(profile)
    packet = packet if which == "both" else bytes.fromhex(sys.stdin.read())
    decoder.decode(packet, DecodeSettings(realism=1.0))
ready = time.perf_counter() - began
# The peak of this program: what getrusage says would count the one that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"first_frame_s": ready, "mb": int(peak.split()[1]) / 1024}))
"""


def process(which: str, profile: str, packet: bytes) -> dict[str, float]:
    """Seconds to the first frame, and MB at most, of a new process that is the ``encoder``, the ``decoder`` or both."""
    command = [sys.executable, "-c", _PROCESS, which, profile]
    done = subprocess.run(command, input=packet.hex(), check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(profile: str, sizes: Sequence[tuple[int, int]], repeats: int = 10) -> Figures:
    """Everything for frames of ``sizes`` (width, height); entropy coding by channels at the first of them."""
    encoder, decoder = Encoder.load(profile), Decoder.load(profile)
    unit = reference(repeats)
    found = []
    for width, height in sizes:
        size = f"{width}x{height}"
        figures = stages(encoder, decoder, width, height, repeats)
        if (width, height) == sizes[0]:
            figures |= channels(encoder, width, height, repeats)
        found += [Stage(size, name, ms, ms / unit) for name, ms in figures.items()]
    packet = encoder.encode(next(moving_photographs()), EncodeSettings(max_bytes=BUDGET)).packet
    processes = {which: process(which, profile, packet) for which in ("encoder", "decoder", "both")}
    return Figures(torch.get_num_threads(), unit, REFERENCE_GFLOP / unit * 1e3, found, processes)
