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
SCALES = (1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 8, 1 / 10)


@dataclass(frozen=True)
class Candidate:
    """One way of coding an image: its payload in bytes and the picture it gives at full size."""

    bytes: int
    picture: Image


def _resized(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)


def av1(small: Image) -> tuple[int, Image]:
    """AV1 at its coarsest quantiser through Pillow's libavif, speed 0; bytes of the mdat payload."""
    from PIL import Image as Pillow

    out = io.BytesIO()
    Pillow.fromarray(small).save(out, format="AVIF", quality=0, speed=0)
    data = out.getvalue()
    at = payload = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"mdat":
            payload += size - 8
        at += size if size >= 8 else len(data)
    return payload, np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


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


PEERS: dict[str, Callable[[Image], tuple[int, Image]]] = {"av1": av1, "vvc": vvc}


def candidates(image: Image, peer: str) -> list[Candidate]:
    """``image`` coded by ``peer`` at every scale: averaged down, bicubic up."""
    height, width = image.shape[:2]
    found = []
    for scale in SCALES:
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        payload, small = PEERS[peer](_resized(image, size, cv2.INTER_AREA))
        found.append(Candidate(bytes=payload, picture=_resized(small, (width, height), cv2.INTER_CUBIC)))
    return found


def best(image: Image, found: list[Candidate], budget: int) -> Candidate:
    """The candidate within ``budget`` that is most like ``image`` by MS-SSIM; the smallest where none fits."""
    fitting = [candidate for candidate in found if candidate.bytes <= budget]
    if not fitting:
        return min(found, key=lambda candidate: candidate.bytes)
    return max(fitting, key=lambda candidate: ms_ssim(image, candidate.picture))
