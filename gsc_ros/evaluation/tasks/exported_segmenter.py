"""Segmentation by a network in ONNX, in the folder that optimum exports.

DIR/model.onnx                one input 1x3xHxW; of several outputs the first counts
DIR/preprocessor_config.json  size, rescale_factor, image_mean, image_std
DIR/config.json               id2label, the names of the classes; not needed for foreground and background
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.evaluation.tasks import onnx_model

MODEL, PREPROCESSOR, CONFIG = "model.onnx", "preprocessor_config.json", "config.json"
LIKELY = 0.5  # probability of the foreground


class ExportedSegmenter:
    """What its output means goes by its shape.

    * 1xCxhxw: scores of C classes; they are enlarged to the picture's size, and the largest counts
    * 1x1xhxw: probability of the foreground, in 0..1
    * 1xhxw of integers: classes
    """

    def __init__(self, folder: Path) -> None:
        self._session = onnx_model.load(folder / MODEL)
        entry, self._output = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._input = entry.name
        described = _read(folder / PREPROCESSOR)
        normalised = described.get("do_normalize", True)
        self._mean = _colour(described.get("image_mean", 0.0) if normalised else 0.0, folder)
        self._std = _colour(described.get("image_std", 1.0) if normalised else 1.0, folder)
        if not (self._std > 0).all():
            raise ValueError(f"{folder / PREPROCESSOR}: image_std has to be above 0")
        self._factor = np.float32(described.get("rescale_factor", 1 / 255) if described.get("do_rescale", True) else 1)
        size = described.get("size") or {}
        sides = [
            side if isinstance(side, int) else size.get(name) if isinstance(size, dict) else size
            for side, name in zip(entry.shape[2:], ("height", "width"), strict=False)
        ]
        if entry.type != "tensor(float)" or len(entry.shape) != 4 or not all(isinstance(side, int) for side in sides):
            raise ValueError(
                f"{folder}: an input of 1x3xHxW in float32 is expected, of a fixed size or of the height and width in {PREPROCESSOR}"
            )
        self._height, self._width = sides
        shape = self._output.shape
        self._classes = len(shape) == 3 and "int" in self._output.type
        if not self._classes and len(shape) != 4:
            raise ValueError(f"{folder / MODEL}: its output {shape} is neither 1xCxhxw of scores nor 1xhxw of integers")
        # optimum gives the number of classes a name, as what may differ from call to call.
        planes = shape[1] if not self._classes and isinstance(shape[1], int) else None
        self.names = _names(folder / CONFIG, planes)
        self._planes = planes or len(self.names)

    def look(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The class of every pixel of ``image`` (H,W,3), (H,W)."""
        height, width = image.shape[:2]
        smaller = cv2.resize(image, (self._width, self._height), interpolation=cv2.INTER_LINEAR)
        given = (smaller.astype(np.float32) * self._factor - self._mean) / self._std
        found = self._session.run([self._output.name], {self._input: given.transpose(2, 0, 1)[None]})[0]
        if self._classes:
            labels = cv2.resize(found[0].astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
            return labels.astype(np.int64)
        scores = torch.from_numpy(found.astype(np.float32))
        scores = torch.nn.functional.interpolate(scores, (height, width), mode="bilinear")[0]
        if len(scores) != self._planes:
            raise ValueError(f"{MODEL} gives scores of {len(scores)} classes, and {CONFIG} names {self._planes}")
        if self._planes > 1:
            return scores.argmax(dim=0).numpy()
        if float(scores.min()) < 0 or float(scores.max()) > 1:
            raise ValueError(
                "a segmentation model of one plane gives probabilities in 0..1: export it with its sigmoid"
            )
        return (scores[0] > LIKELY).long().numpy()


def _colour(said: Any, folder: Path) -> NDArray[np.float32]:
    """One number, or one for each of the three colours."""
    try:
        values = np.array(said, np.float32)
    except (TypeError, ValueError):
        values = np.zeros(0, np.float32)
    if values.shape not in ((), (3,)):
        raise ValueError(f"{folder / PREPROCESSOR}: image_mean and image_std are three numbers each, not {said!r}")
    return values


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: the JSON beside {MODEL} that says how pictures are prepared is expected") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a JSON object is expected")
    return content


def _names(path: Path, planes: int | None) -> list[str]:
    """From ``path``; without it a model of one plane knows background and foreground."""
    if planes == 1:
        return ["background", "foreground"]
    if not path.is_file():
        raise ValueError(f"{path}: id2label, the names of the classes, is expected there")
    listed = _read(path).get("id2label")
    count = planes or (len(listed) if isinstance(listed, dict) else 0)
    if not isinstance(listed, dict) or set(listed) != {str(index) for index in range(count)}:
        raise ValueError(f"{path}: id2label with a name for each of the model's {count} classes is expected")
    return [str(listed[str(index)]) for index in range(count)]
