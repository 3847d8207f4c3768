"""What captions cost: bits a character and milliseconds, real bytes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence

from gsc_ros.entropy.text import TextCoder


def measure(coder: TextCoder, captions: Sequence[str]) -> dict[str, float]:
    """Means over ``captions``; every one is decoded again and compared (RuntimeError when one differs)."""
    coded = plain = zipped = 0
    slowest = spent = 0.0
    for caption in captions:
        began = time.perf_counter()
        data = coder.encode(caption)
        between = time.perf_counter()
        if coder.decode(data) != caption:
            raise RuntimeError(f"the caption {caption!r} came back changed")
        ended = time.perf_counter()
        slowest = max(slowest, between - began, ended - between)
        spent += between - began
        coded += len(data)
        plain += len(caption)
        zipped += len(zlib.compress(caption.encode(), 9))
    return {
        "captions": len(captions),
        "characters": plain / len(captions),
        "bytes": coded / len(captions),
        "bits_per_character": 8 * coded / plain,
        "zlib_bits_per_character": 8 * zipped / plain,
        "encode_ms": 1e3 * spent / len(captions),
        "slowest_ms": 1e3 * slowest,
    }
