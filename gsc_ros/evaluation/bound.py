"""What the relevant part of a picture would cost alone (paper 3.4).

Weighted entropy (eq. 7; Guiasu 1971) counts the information of every symbol by how much it matters:

    H_w = sum over symbols of  w * -log2 p(symbol | what was coded before),   0 <= w <= 1

With w of 0 and 1 it is the code length of the symbols at relevant places when all others are known for free: under this
model no code of these symbols that keeps the relevant ones is shorter in the mean. A better model of the same symbols would
go below it, and so would another latent: it is a bound of this codec, estimated image by image, not of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.decoder import Decoder, DecodeSettings
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.evaluation.metrics import ms_ssim, psnr

Image = NDArray[np.uint8]
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Point:
    """One level of quality for one picture.

    packet_bits   of the whole packet
    entropy_bits  of its symbols under the model, all weights 1
    bound_bits    of its symbols, weighted
    symbols       of every channel, for the entropy without any context
    psnr          of the picture in dB; relevant_psnr: with the squared error weighted by relevance
    """

    image: str
    level: int
    pixels: int
    packet_bits: int
    entropy_bits: float
    bound_bits: float
    psnr: float
    relevant_psnr: float
    ms_ssim: float
    symbols: dict[int, NDArray[np.int64]]


def without_context(points: Sequence[Point]) -> float:
    """Bits that the symbols of ``points``, of one level, would take if each channel were coded by its frequencies alone.

    The frequencies are those of these very symbols, which no coder can know: a real one would take more.
    """
    total = 0.0
    for channel in points[0].symbols:
        _, counts = np.unique(np.concatenate([p.symbols[channel].ravel() for p in points]), return_counts=True)
        total -= float((counts * np.log2(counts / counts.sum())).sum())
    return total


def weights(relevance: Map, shape: tuple[int, int], nominal: tuple[int, int], stride: int) -> Map:
    """Relevance (H,W) at the positions of a grid of ``shape`` with ``stride`` pixels of the ``nominal`` frame: means of cells.

    Beyond the frame, where it is padded, nothing matters.
    """
    height, width = nominal
    padded = np.zeros((shape[0] * stride, shape[1] * stride), dtype=np.float32)
    padded[:height, :width] = cv2.resize(relevance, (width, height), interpolation=cv2.INTER_AREA)
    inside = np.zeros_like(padded)
    inside[:height, :width] = 1
    cells = [plane.reshape(shape[0], stride, shape[1], stride).mean(axis=(1, 3)) for plane in (padded, inside)]
    return np.asarray(cells[0] / np.maximum(cells[1], 1e-6), dtype=np.float32)


def relevant_psnr(original: Image, picture: Image, relevance: Map) -> float:
    """PSNR in dB, each pixel counted by its relevance."""
    error = np.square(original.astype(np.float32) - picture).mean(axis=2)
    mean = float(np.average(error, weights=relevance))
    return float(10 * np.log10(255**2 / max(mean, 1e-9)))


def measure(
    encoder: Encoder, decoder: Decoder, name: str, image: Image, relevance: Map, levels: Sequence[int]
) -> list[Point]:
    """The points of one picture, coded at full scale with all channels at each of ``levels``."""
    if not 0 <= float(relevance.min()) <= float(relevance.max()) <= 1 or not relevance.any():
        raise ValueError(f"{name}: a map of relevance from 0 to 1 that is not 0 everywhere is expected")
    latents = encoder.latents
    found = []
    for level in levels:
        encoded = encoder.for_another_camera().encode(
            image, EncodeSettings(caption_mode="off", level=level, channels=latents.layout.channels)
        )
        message = decoder.for_another_camera().read(encoded.frame)
        nominal = message.shown.geometry.nominal
        information = latents.coder.information(message.symbols, level, *nominal)
        layout = latents.layout
        weight = [
            weights(relevance, layout.grid(group, *nominal), nominal, stride)
            for group, stride in enumerate(layout.strides)
        ]
        bound = sum(float((weight[layout.group(channel)] * bits).sum()) for channel, bits in information.items())
        picture = decoder.for_another_camera().reconstruct(message, DecodeSettings(realism=0.0)).image
        found.append(
            Point(
                image=name, level=level, pixels=image.shape[0] * image.shape[1], packet_bits=8 * len(encoded.packet),
                entropy_bits=float(sum(bits.sum() for bits in information.values())), bound_bits=bound,
                psnr=psnr(image, picture), relevant_psnr=relevant_psnr(image, picture, relevance), ms_ssim=ms_ssim(image, picture),
                symbols=message.symbols,
            )
        )  # fmt: skip
    return found
