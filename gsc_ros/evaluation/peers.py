"""Classical peers at a byte budget: stills, each at the scale and quality that serve the budget best.

What counts against the budget is the payload (a file without its container where it has one): the
strongest form of the opponent. The size of the whole file is kept beside it.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.metrics import ms_ssim

Image = NDArray[np.uint8]
# Their bytes lie 10 to 20 % apart, so that a budget is filled about as well as our codec fills it.
DIVISORS = (1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.33, 3.67, 4, 4.5, 5, 5.5, 6, 6.67, 7.33, 8, 9, 10, 12)
ABANDON = 1.5  # a scale that takes so many times the bytes allowed is the last one tried
RIFF = 20  # bytes of a WebP file before its one chunk's payload


@dataclass(frozen=True)
class Candidate:
    """One way of coding an image: its payload and its file in bytes, the picture it gives at full size, and its MS-SSIM."""

    bytes: int
    file_bytes: int
    picture: Image
    likeness: float


@dataclass(frozen=True)
class Peer:
    """``code(image, quality)`` gives payload and file in bytes, and the picture; ``qualities`` are tried coarsest first."""

    code: Callable[[Image, int], tuple[int, int, Image]]
    qualities: tuple[int, ...]


def pillow_still(image: Image, *, form: str, **options: object) -> tuple[bytes, Image]:
    """A file in one of Pillow's formats, and the picture that it gives."""
    from PIL import Image as Pillow

    out = io.BytesIO()
    Pillow.fromarray(image).save(out, format=form, **options)
    data = out.getvalue()
    return data, np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


def _pillow(
    image: Image, quality: int, *, form: str, payload: Callable[[bytes], int], **options: object
) -> tuple[int, int, Image]:
    data, picture = pillow_still(image, form=form, quality=quality, **options)
    return payload(data), len(data), picture


def _jpeg2000(image: Image, ratio: int) -> tuple[int, int, Image]:
    """JPEG 2000 through Pillow's OpenJPEG: a bare codestream, irreversible, of about 1/``ratio`` of the raw size."""
    rate = {"quality_mode": "rates", "quality_layers": [ratio]}
    data, picture = pillow_still(image, form="JPEG2000", no_jp2=True, irreversible=True, **rate)
    return len(data), len(data), picture


def _ffmpeg(
    image: Image, quality: int, *, suffix: str, coding: Callable[[int], tuple[str, ...]]
) -> tuple[int, int, Image]:
    """A raw stream of one picture by the ffmpeg of imageio-ffmpeg; even sides, as 4:2:0 needs them."""
    import imageio_ffmpeg

    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = f"{even.shape[1]}x{even.shape[0]}"
    program = imageio_ffmpeg.get_ffmpeg_exe()
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / f"still.{suffix}"
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size)
        subprocess.run(
            [program, "-v", "error", *raw, "-i", "-", *coding(quality), "-frames:v", "1", str(stream)],
            input=even.tobytes(),
            check=True,
            capture_output=True,
        )
        decoded = subprocess.run(
            [program, "-v", "error", "-i", str(stream), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            check=True,
            capture_output=True,
        )
        pixels = np.frombuffer(decoded.stdout, dtype=np.uint8).reshape(even.shape)
        size_of_it = stream.stat().st_size
    return size_of_it, size_of_it, pixels[:height, :width]


def avif_payload(data: bytes) -> bytes:
    """What is in the mdat boxes of an AVIF file: the picture without its container."""
    at, payload = 0, b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"mdat":
            payload += data[at + 8 : at + size]
        at += size if size >= 8 else len(data)
    return payload


def _vvc(qp: int) -> tuple[str, ...]:
    return ("-c:v", "libvvenc", "-qp", str(qp), "-preset", "slow", "-pix_fmt", "yuv420p10le")


def _hevc(qp: int) -> tuple[str, ...]:
    # Without the note about the encoder that x265 writes into the stream, which is larger than our budgets.
    return (
        "-c:v",
        "libx265",
        "-preset",
        "veryslow",
        "-x265-params",
        f"qp={qp}:info=0:log-level=none",
        "-pix_fmt",
        "yuv420p",
    )


def _jxl(tenths: int) -> tuple[str, ...]:
    return ("-c:v", "libjxl", "-distance", str(tenths / 10), "-effort", "9")


COARSE = (1, 5, 12, 25, 45)
PEERS = {
    "av1": Peer(partial(_pillow, form="AVIF", payload=lambda data: len(avif_payload(data)), speed=0), (0,)),
    "hevc": Peer(partial(_ffmpeg, suffix="265", coding=_hevc), (51, 46)),
    "jpeg": Peer(partial(_pillow, form="JPEG", payload=len, optimize=True), COARSE),
    "jpeg2000": Peer(_jpeg2000, (400, 200, 100, 50)),
    "jxl": Peer(partial(_ffmpeg, suffix="jxl", coding=_jxl), (150, 100, 60)),
    "vvc": Peer(partial(_ffmpeg, suffix="266", coding=_vvc), (63,)),
    "webp": Peer(partial(_pillow, form="WEBP", payload=lambda data: len(data) - RIFF, method=6), COARSE),
}


def candidates(image: Image, peer: str, most: int) -> list[Candidate]:
    """``image`` coded by ``peer`` in every way that may come below ``most`` bytes: Lanczos down, bicubic up."""
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    found: list[Candidate] = []
    for divisor in reversed(DIVISORS):
        size = (max(16, round(width / divisor)), max(16, round(height / divisor)))
        small = np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS))
        smallest = None
        for quality in PEERS[peer].qualities:
            payload, whole, decoded = PEERS[peer].code(small, quality)
            large = np.asarray(cv2.resize(decoded, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
            likeness = ms_ssim(image, large) if payload <= most else 0.0  # what does not fit is not compared
            found.append(Candidate(payload, whole, large, likeness))
            smallest = payload if smallest is None else min(smallest, payload)
            if payload > most:
                break
        if smallest is not None and smallest > ABANDON * most:
            break
    return found


def best(found: list[Candidate], budget: int) -> Candidate:
    """The candidate within ``budget`` that is most like its original; the smallest where none fits."""
    fitting = [candidate for candidate in found if candidate.bytes <= budget]
    if not fitting:
        return min(found, key=lambda candidate: candidate.bytes)
    return max(fitting, key=lambda candidate: candidate.likeness)
