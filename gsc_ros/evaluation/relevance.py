"""Which parts of a picture matter: a map of 0 to 1, from a file, from a detector, or from what stands out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets import Picture
from gsc_ros.sources import SUFFIXES

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
Relevance = Callable[[Picture, Image], Map]
SIDE = 64  # of the picture whose spectrum is looked at
ELSEWHERE = 0.1  # relevance outside of all boxes: not nothing, for a box may have been missed


def saliency(picture: Picture, image: Image) -> Map:
    """What stands out: the spectral residual of Hou and Zhang (2007), scaled to 0..1."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = np.fft.fft2(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    amplitude = np.log(np.abs(spectrum) + 1e-6).astype(np.float32)
    residual = amplitude - cv2.blur(amplitude, (3, 3))
    standing_out = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(standing_out.astype(np.float32), (0, 0), 2.5)
    scaled = (smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-12)
    return np.asarray(cv2.resize(scaled, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def of_maps(folder: Path) -> Relevance:
    """Grey images with the names of the pictures, 255 where all matters; raises ValueError for one that is not there."""
    files = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}

    def read(picture: Picture, image: Image) -> Map:
        path = files.get(picture.path.stem)
        found = None if path is None else cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if found is None:
            raise ValueError(f"{folder}: no map {picture.path.stem}.png")
        if found.shape != image.shape[:2]:
            raise ValueError(
                f"{path} is {found.shape[1]}x{found.shape[0]}, its picture {image.shape[1]}x{image.shape[0]}"
            )
        return found.astype(np.float32) / np.float32(255)

    return read


def of_detector(model: Path) -> Relevance:
    """The boxes of a detector: what it sees there matters to it."""
    from gsc_ros.evaluation.tasks.detector import Detector

    detector = Detector(model)

    def look(picture: Picture, image: Image) -> Map:
        found = np.full(image.shape[:2], ELSEWHERE, dtype=np.float32)
        for left, top, right, bottom in detector.boxes(image)[:, :4].round().astype(int).clip(0):
            found[top:bottom, left:right] = 1.0
        return found

    return look
