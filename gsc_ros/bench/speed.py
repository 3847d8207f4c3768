"""How long one frame takes and how large the process grows."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from gsc_ros.sources import moving_photographs


def _median_ms(work: Callable[[], Any], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times))


def measure(profile: str, width: int, height: int, repeats: int = 10) -> dict[str, float]:
    """Medians in milliseconds for a photograph of ``width`` x ``height``, and memory in MB."""
    import cv2

    from gsc_ros.decoder import Decoder, DecodeSettings
    from gsc_ros.encoder import Encoder, EncodeSettings
    from gsc_ros.latents.geometry import Geometry

    began = time.perf_counter()
    encoder = Encoder.load(profile)
    loaded = time.perf_counter()
    image = np.asarray(
        cv2.resize(next(moving_photographs()), (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8
    )
    settings = EncodeSettings(max_bytes=300, caption_refresh=1)
    figures = {"load_encoder_s": loaded - began}
    figures["encode_ms"] = _median_ms(lambda: encoder.encode(image, settings), repeats)
    figures["encoder_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    decoder = Decoder.load(profile)
    # In turn, because a picture of which nothing has changed is not painted again.
    packets = cycle([encoder.encode(view, settings).packet for view in (image, np.ascontiguousarray(image[:, ::-1]))])
    for name, decode in (
        ("decode_sampled_ms", DecodeSettings(realism=1.0)),
        ("decode_one_step_ms", DecodeSettings(realism=1.0, steps=1)),
        ("decode_fidelity_ms", DecodeSettings(realism=0.0)),
    ):
        figures[name] = _median_ms(lambda decode=decode: decoder.decode(next(packets), decode), repeats)  # type: ignore[misc]
    same = encoder.encode(image, settings).packet
    figures["decode_unchanged_ms"] = _median_ms(lambda: decoder.decode(same), repeats)
    latents = encoder.latents
    frame = encoder.encode(image, EncodeSettings(channels=16, level=latents.levels - 1)).frame
    nominal = Geometry(frame.height, frame.width, frame.scale).nominal
    symbols = latents.coder.decode(frame.channels, frame.channel_ids, frame.level, *nominal)
    figures["code_16_channels_ms"] = _median_ms(lambda: latents.coder.encode(symbols, frame.level, *nominal), repeats)
    figures["uncode_16_channels_ms"] = _median_ms(
        lambda: latents.coder.decode(frame.channels, frame.channel_ids, frame.level, *nominal), repeats
    )
    figures["code_16_channels_bytes"] = len(frame.channels)
    figures["code_16_channels_ideal_bytes"] = sum(latents.coder.cost(symbols, frame.level, *nominal).values()) / 8
    figures["both_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures
