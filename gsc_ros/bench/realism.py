"""What a generator is worth: its pictures beside those of realism 0, of noise and of other codecs, for the same bytes.

The first codec's packets are decoded by all that are ours: generators differ, the codec does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.decoder import Decoder, DecodeSettings, Message
from gsc_ros.encoder import Encoder, EncodeSettings
from gsc_ros.evaluation import codings
from gsc_ros.evaluation.coded import Image, Setting
from gsc_ros.evaluation.feature_distance import FeatureDistance, distance
from gsc_ros.evaluation.metrics import MEASURES
from gsc_ros.evaluation.noise_control import matched_noise
from gsc_ros.evaluation.tasks.detector import Boxes, Detector, agreement
from gsc_ros.latents.quantised import QuantisedLatents
from gsc_ros.sources import read_file
from gsc_ros.training.images import image_files

LIKENESS = ("psnr", "ms_ssim", "gradient_energy", "haarpsi")
SHEET = 288  # pixels of a picture's middle on the sheet


@dataclass
class Tally:
    """What one codec has come to, picture by picture."""

    bytes: list[int] = field(default_factory=list)
    measures: dict[str, list[float]] = field(default_factory=dict)
    boxes: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        self.measures.setdefault(name, []).append(value)

    def summary(self) -> dict[str, float]:
        """Means over pictures; ``detector_f1`` over all boxes together."""
        found = {"bytes": float(np.mean(self.bytes))}
        found |= {name: float(np.mean(values)) for name, values in self.measures.items()}
        if self.boxes:
            agreed, missed, invented = np.sum(self.boxes, axis=0)
            found["detector_f1"] = float(2 * agreed / max(1, 2 * agreed + missed + invented))
        return found


class Candidate:
    """A codec by name, as `gsc eval` knows them."""

    def __init__(self, name: str, budget: int) -> None:
        self.name = name
        self._setting = Setting(max_bytes=budget)
        self._ours = codings.Ours.of(name) if codings.is_ours(name) else None
        self._decoder = Decoder.load(self._ours.profile) if self._ours else None
        self._coding = None if self._ours else codings.coding(name, most=budget)

    def show(self, image: Image, packet: bytes, name: str) -> tuple[int, Image, Message | None]:
        """Bytes, the picture, and of ours what the packet said."""
        if self._ours is None or self._decoder is None:
            assert self._coding is not None
            coded = self._coding(image, self._setting, name)
            return coded.bytes, coded.picture, None
        decoder = self._decoder.for_another_camera()
        message = decoder.read(decoder.unpack(packet))
        settings = DecodeSettings(realism=self._ours.realism, steps=self._ours.steps, seed=self._ours.seed)
        picture = decoder.reconstruct(message, settings).image
        if self._ours.noise is not None:
            picture = matched_noise(picture, image, seed=self._ours.seed)
        return len(packet), picture, message


def equal_symbols(latents: QuantisedLatents, picture: Image, message: Message) -> float:
    """Which part of the symbols comes out the same when ``picture`` is encoded again."""
    geometry = message.shown.geometry
    planes = latents.analyse(latents.tensor(geometry.shrink(picture, latents.layout)))
    again = latents.quantise({c: planes[c] for c in message.symbols}, message.frame.level)
    same = [again[channel] == plane for channel, plane in message.symbols.items()]
    return float(np.concatenate([s.ravel() for s in same]).mean()) if same else 1.0


def measure(
    images: Path,
    codecs: Sequence[str],
    *,
    budget: int,
    count: int | None = None,
    detector: Path | None = None,
    features: Sequence[Path] = (),
    sheet: Path | None = None,
) -> dict[str, dict[str, float]]:
    """Figures by codec over the first ``count`` images below ``images``; the first codec has to be one of ours.

    ``detector`` and ``features`` are networks in ONNX: agreement of the boxes with the original's, and distance of the
    features (``distance_NAME``). ``sheet`` is a PNG to write: the middle of each picture, the original first.
    """
    candidates = [Candidate(name, budget) for name in codecs]
    first = codings.Ours.of(codecs[0])
    encoder = Encoder.load(first.profile)
    finder = Detector(detector) if detector else None
    looks = {f"distance_{path.stem}": FeatureDistance(path) for path in features}
    tallies = {name: Tally() for name in codecs}
    rows = []
    for path in image_files(images)[:count]:
        image = read_file(path)
        packet = encoder.for_another_camera().encode(image, replace(EncodeSettings(), max_bytes=budget)).packet
        boxes = finder.boxes(image) if finder else None
        seen = {name: look.look(image) for name, look in looks.items()}
        row = [middle(image)]
        for candidate in candidates:
            tally = tallies[candidate.name]
            size, picture, message = candidate.show(image, packet, path.stem)
            tally.bytes.append(size)
            for name in LIKENESS:
                tally.add(name, MEASURES[name](image, picture))
            if message is not None:
                tally.add("equal_symbols", equal_symbols(encoder.latents, picture, message))
            if finder and boxes is not None:
                tally.boxes.append(found_again(finder, boxes, picture))
            for name, look in looks.items():
                tally.add(name, distance(seen[name], look.look(picture)))
            row.append(middle(picture))
        rows.append(np.concatenate(row, axis=1))
    if sheet is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(sheet), np.concatenate(rows)[:, :, ::-1])
    return {name: tally.summary() for name, tally in tallies.items()}


def found_again(finder: Detector, boxes: Boxes, picture: Image) -> tuple[int, int, int]:
    """Boxes agreed, missed and invented."""
    return agreement(boxes, finder.boxes(picture))


def middle(image: Image) -> NDArray[np.uint8]:
    """The middle of ``image``, (SHEET,SHEET,3), padded where the image is smaller."""
    top, left = (max(0, (side - SHEET) // 2) for side in image.shape[:2])
    cut = image[top : top + SHEET, left : left + SHEET]
    return np.pad(cut, ((0, SHEET - cut.shape[0]), (0, SHEET - cut.shape[1]), (0, 0)))
