"""What captions cost: bits a character, milliseconds, and processor time of the longest that is allowed; real bytes."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Sequence

from gsc_ros.entropy.text import MAX_CHARACTERS, TextCoder, TextError


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
        "longest_decode_cpu_ms": _decode_cpu_ms(coder, coder.encode(_longest(captions))),
        "zero_bytes_decode_cpu_ms": _decode_cpu_ms(coder, b""),
    }


def _longest(captions: Sequence[str]) -> str:
    """A text as long as one may be, of ``captions`` one after the other."""
    joined = " ".join(captions)
    return (joined * (MAX_CHARACTERS // len(joined) + 1))[:MAX_CHARACTERS]


def _decode_cpu_ms(coder: TextCoder, data: bytes) -> float:
    """Processor time of decoding ``data``, text or not: the median of five."""
    spent = []
    for _ in range(5):
        began = time.process_time()
        with contextlib.suppress(TextError):
            coder.decode(data)
        spent.append(time.process_time() - began)
    return 1e3 * sorted(spent)[2]
