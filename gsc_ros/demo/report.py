"""From a recording to figures: what was sent, shown and lost, and how good it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.metrics import gradient_energy, ms_ssim, psnr
from gsc_ros.image_messages import read_image
from gsc_ros.profiles import Profile

if TYPE_CHECKING:
    from gsc_ros.nodes.recorder import Recording, Seen


@dataclass(frozen=True)
class Shown:
    """One frame that made it to the screen: pictures and figures."""

    original: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    caption: str
    figures: dict[str, Any]


def shown_frames(recording: Recording, captions: dict[int, str]) -> list[Shown]:
    """Every complete frame in the order of its stamp."""
    return [_shown(stamp, seen, captions) for stamp, seen in sorted(recording.frames.items()) if seen.complete]


def _shown(stamp: tuple[int, int], seen: Seen, captions: dict[int, str]) -> Shown:
    original, picture = read_image(seen.original), read_image(seen.picture)
    confidence = read_image(seen.confidence)[:, :, 0]
    sent, base = seen.sent_stats, seen.shown_stats
    similarity = ms_ssim(original, picture)
    figures = {
        "sequence": sent.sequence,
        "stamp": f"{stamp[0]}.{stamp[1]:09d}",
        "bytes": sent.packet_bytes,
        "head_bytes": sent.head_bytes,
        "text_bytes": sent.text_bytes,
        "channel_bytes": sent.channel_bytes,
        "channels": sent.channels,
        "level": sent.level,
        "scale": sent.scale,
        "bpp": 8 * sent.packet_bytes / (seen.frame.width * seen.frame.height),
        "encode_ms": sent.convert_ms + sent.caption_ms + sent.encode_ms,
        "decode_ms": base.decode_ms + base.confidence_ms + base.convert_ms,
        "latency_ms": 1e3 * (seen.shown_at - stamp[0] - stamp[1] / 1e9),
        "psnr": psnr(original, picture),
        "ms_ssim": None if math.isnan(similarity) else similarity,
        "gradient_energy": gradient_energy(picture) / max(gradient_energy(original), 1e-9),
        "confidence": base.confidence,
        "caption": captions.get(sent.sequence, ""),
    }
    return Shown(original=original, picture=picture, confidence=confidence, caption=figures["caption"], figures=figures)


def summarise(
    shown: Sequence[Shown], recording: Recording, profile: Profile, extra: dict[str, float]
) -> dict[str, Any]:
    """The contents of report.json."""
    frames = [frame.figures for frame in shown]

    def column(name: str) -> NDArray[np.float64]:
        return np.array([frame[name] for frame in frames if frame[name] is not None], dtype=np.float64)

    def mean(name: str) -> float | None:
        values = column(name)
        return float(values.mean()) if len(values) else None

    def spread(name: str) -> dict[str, float]:
        return {"median": float(np.median(column(name))), "p95": float(np.percentile(column(name), 95))}

    sent = sum(seen.original is not None for seen in recording.frames.values())
    height, width = shown[0].original.shape[:2]
    return {
        "profile": profile.name,
        "fingerprint": profile.fingerprint,
        "width": width,
        "height": height,
        "frames_sent": sent,
        "frames_shown": len(shown),
        "dropped": sent - len(shown),
        "bytes": {
            "mean": mean("bytes"), "max": int(column("bytes").max()),
            "text_mean": mean("text_bytes"), "channels_mean": mean("channel_bytes"), "head_mean": mean("head_bytes"),
        },
        "bpp": mean("bpp"),
        "encode_ms": spread("encode_ms"),
        "decode_ms": spread("decode_ms"),
        "latency_ms": spread("latency_ms"),
        "psnr": mean("psnr"),
        "ms_ssim": mean("ms_ssim"),
        "gradient_energy": mean("gradient_energy"),
        "confidence_mean": mean("confidence"),
        **extra,
        "frames": frames,
    }  # fmt: skip
