"""From what was on the screen to the figures of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gsc_ros.evaluation.metrics import gradient_similarity, ms_ssim, psnr
from gsc_ros.evaluation.tasks.detector import Detector, agreement
from gsc_ros.experiment.codecs import Image
from gsc_ros.experiment.simulation import Flight

AGE_EVERY_S = 0.1


@dataclass(frozen=True)
class Outage:
    """When the link was cut; both in seconds since the start."""

    start_s: float
    end_s: float


def frame_rows(flight: Flight, drive: Sequence[Image], detector: Detector | None, *, most: int) -> list[dict[str, Any]]:
    """One row for each picture shown; at most ``most`` of them, evenly spread, are compared with their originals."""
    judged = set(np.linspace(0, len(flight.shown) - 1, min(most, len(flight.shown))).round().astype(int).tolist())
    expected: dict[int, Any] = {}
    rows = []
    for number, shown in enumerate(flight.shown):
        row: dict[str, Any] = {
            "frame": shown.index, "taken_s": round(shown.taken_s, 3), "shown_s": round(shown.shown_s, 3),
            "age_s": round(shown.shown_s - shown.taken_s, 3), "packet_bytes": shown.packet_bytes,
        }  # fmt: skip
        if number in judged:
            original = drive[shown.index]
            row |= {
                "psnr": round(psnr(original, shown.picture), 3),
                "ms_ssim": round(ms_ssim(original, shown.picture), 4),
                "gradient_similarity": round(gradient_similarity(original, shown.picture), 4),
            }
            if detector is not None:
                if shown.index not in expected:
                    expected[shown.index] = detector.boxes(original)
                agreed, missed, invented = agreement(expected[shown.index], detector.boxes(shown.picture))
                row |= {"boxes_agreed": agreed, "boxes_missed": missed, "boxes_invented": invented}
        rows.append(row)
    return rows


def summary(flight: Flight, rows: Sequence[dict[str, Any]], outage: Outage | None) -> dict[str, Any]:
    """The figures of one run. Ages are those of what is on the screen at every tenth of a second from the first picture on."""
    times = [row["shown_s"] for row in rows]
    ages = _ages(rows, flight.seconds)
    boxes = [sum(row.get(f"boxes_{kind}", 0) for row in rows) for kind in ("agreed", "missed", "invented")]
    told = any("boxes_agreed" in row for row in rows)
    recovery = None
    if outage is not None:
        later = [t for row, t in zip(rows, times, strict=True) if row["taken_s"] >= outage.end_s - 1e-9]
        recovery = min(later) - outage.end_s if later else math.nan
    return {
        "frames_shown": len(rows),
        "frames_sent": flight.sent,
        "fps": len(rows) / flight.seconds,
        "age_p50_s": _percentile(ages, 50),
        "age_p95_s": _percentile(ages, 95),
        "age_max_s": max(ages, default=math.nan),
        "first_picture_s": min(times, default=math.nan),
        "recovery_s": recovery,
        "wire_bps": 8 * flight.wire_bytes / flight.seconds,
        "back_bps": 8 * flight.back_bytes / flight.seconds,
        "packet_bytes": _mean(rows, "packet_bytes"),
        "psnr": _mean(rows, "psnr"),
        "ms_ssim": _mean(rows, "ms_ssim"),
        "gradient_similarity": _mean(rows, "gradient_similarity"),
        # F1 of the boxes on the shown pictures against those on their originals.
        "detector_agreement": 2 * boxes[0] / max(1, 2 * boxes[0] + boxes[1] + boxes[2]) if told else None,
        "encode_ms": flight.encode_ms,
        "decode_ms": flight.decode_ms,
    }


def _ages(rows: Sequence[dict[str, Any]], seconds: float) -> list[float]:
    ages: list[float] = []
    if not rows:
        return ages
    at, current = 0, rows[0]
    now = rows[0]["shown_s"]
    while now <= max(seconds, rows[-1]["shown_s"]):
        while at < len(rows) and rows[at]["shown_s"] <= now:
            current, at = rows[at], at + 1
        ages.append(now - current["taken_s"])
        now += AGE_EVERY_S
    return ages


def _percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, share)) if values else math.nan


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    values = [row[name] for row in rows if name in row and math.isfinite(row[name])]
    return float(np.mean(values)) if values else math.nan
