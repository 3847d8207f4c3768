"""Classical peers at a byte budget: AV1 and VVC stills, each at its best scale.

Only payload bytes count for them (AVIF without its container, raw VVC): the strongest form of
the opponent.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.metrics import ms_ssim

Image = NDArray[np.uint8]
# Their bytes lie 10 to 20 % apart, so that a budget is filled about as well as our codec fills it.
DIVISORS = (1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.33, 3.67, 4, 4.5, 5, 5.5, 6, 6.67, 7.33, 8, 9, 10, 12)


@dataclass(frozen=True)
class Candidate:
    """One way of coding an image: its payload in bytes and the picture it gives at full size."""

    bytes: int
    picture: Image


def av1(small: Image) -> tuple[int, Image]:
    """AV1 at its coarsest quantiser through Pillow's libavif, speed 0; bytes of the mdat payload."""
    from PIL import Image as Pillow

    out = io.BytesIO()
    Pillow.fromarray(small).save(out, format="AVIF", quality=0, speed=0)
    data = out.getvalue()
    return len(avif_payload(data)), np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


def avif_payload(data: bytes) -> bytes:
    """What is in the mdat boxes of an AVIF file: the picture without its container."""
    at, payload = 0, b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"mdat":
            payload += data[at + 8 : at + size]
        at += size if size >= 8 else len(data)
    return payload


def vvc(small: Image) -> tuple[int, Image]:
    """VVC at its coarsest quantiser (qp 63) through the vvenc of imageio-ffmpeg; bytes of the raw stream."""
    import imageio_ffmpeg

    height, width = small.shape[:2]
    even = np.pad(small, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = f"{even.shape[1]}x{even.shape[0]}"
    program = imageio_ffmpeg.get_ffmpeg_exe()
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "still.266"
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size)
        coding = ("-c:v", "libvvenc", "-qp", "63", "-preset", "slow", "-pix_fmt", "yuv420p10le", "-frames:v", "1")
        subprocess.run(
            [program, "-v", "error", *raw, "-i", "-", *coding, str(stream)],
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
        return stream.stat().st_size, pixels[:height, :width]


ABANDON = 1.5  # a scale that takes so many times the bytes allowed is the last one tried
PEERS: dict[str, Callable[[Image], tuple[int, Image]]] = {"av1": av1, "vvc": vvc}


def candidates(image: Image, peer: str, most: int) -> list[Candidate]:
    """``image`` coded by ``peer`` at every scale that may come below ``most`` bytes: Lanczos down, bicubic up."""
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    found: list[Candidate] = []
    for divisor in reversed(DIVISORS):
        size = (max(16, round(width / divisor)), max(16, round(height / divisor)))
        small = np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS))
        payload, decoded = PEERS[peer](small)
        picture = np.asarray(cv2.resize(decoded, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        found.append(Candidate(bytes=payload, picture=picture))
        if payload > ABANDON * most:
            break
    return found


def best(image: Image, found: list[Candidate], budget: int) -> Candidate:
    """The candidate within ``budget`` that is most like ``image`` by MS-SSIM; the smallest where none fits."""
    fitting = [candidate for candidate in found if candidate.bytes <= budget]
    if not fitting:
        return min(found, key=lambda candidate: candidate.bytes)
    return max(fitting, key=lambda candidate: ms_ssim(image, candidate.picture))
