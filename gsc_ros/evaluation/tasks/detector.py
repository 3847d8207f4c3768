"""Detectors in ONNX, through onnxruntime: YOLOX, and what ultralytics exports (YOLO11 and its like)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.tasks import onnx_model

SCORE, SAME_PLACE, OVERLAP = 0.3, 0.5, 0.45
STRIDES = (8, 16, 32)
GREY = 114  # around a picture that is not square
COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]

Boxes = NDArray[np.float32]


class Detector:
    """A detector with one input 1x3xSxS and one output, told apart by their shapes.

    * YOLOX: 1xNx(5+classes), N cells of three grids; BGR in 0..255
    * ultralytics: 1x(4+classes)xN, boxes in pixels; RGB in 0..1
    * ultralytics with ``nms=True``: 1xNx6, boxes that are done; RGB in 0..1
    """

    def __init__(self, path: Path) -> None:
        self._session: Any = onnx_model.load(path)
        entry, outputs = self._session.get_inputs()[0], self._session.get_outputs()
        self._name, self._side = entry.name, entry.shape[-1]
        shape = outputs[0].shape
        if not isinstance(self._side, int) or len(shape) != 3 or not all(isinstance(n, int) for n in shape[1:]):
            raise ValueError(
                f"{path}: a model of fixed size (1x3xSxS) with one output of three dimensions is expected: YOLOX, or an export of ultralytics"
            )
        cells = [np.stack(np.meshgrid(*[np.arange(self._side // s)] * 2), 2).reshape(-1, 2) for s in STRIDES]
        self._offset = np.concatenate(cells).astype(np.float32)
        self._stride = np.concatenate([np.full(len(c), s, np.float32) for c, s in zip(cells, STRIDES, strict=True)])
        if shape[1] == len(self._offset) and shape[2] > 5:
            self._boxes, classes = self._yolox, shape[2] - 5
        elif shape[2] == 6:
            self._boxes, classes = self._done, None
        elif shape[2] == len(self._offset) and shape[1] > 4:
            self._boxes, classes = self._ultralytics, shape[1] - 4
        else:
            raise ValueError(f"{path}: its output {shape} is none of YOLOX's and ultralytics'")
        self.names = self._class_names(classes)

    def _class_names(self, classes: int | None) -> list[str]:
        """From the file where it says so (ultralytics does), else COCO's where there are eighty."""
        said = self._session.get_modelmeta().custom_metadata_map.get("names")
        if said:
            names: dict[int, str] = ast.literal_eval(said)
            return [names[index] for index in range(len(names))]
        return list(COCO) if classes in (80, None) else [f"class {index}" for index in range(classes)]

    def boxes(self, image: NDArray[np.uint8], score: float = SCORE) -> Boxes:
        """(n,6): left, top, right, bottom in pixels, score, class; of a score of ``score`` and more."""
        scale = self._side / max(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        padded = np.full((self._side, self._side, 3), GREY, dtype=np.uint8)
        padded[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return self._boxes(padded.transpose(2, 0, 1)[None].astype(np.float32), scale, score)

    def _run(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._session.run(None, {self._name: np.ascontiguousarray(blob)})[0][0]

    def _yolox(self, blob: NDArray[np.float32], scale: float, score: float) -> Boxes:
        raw = self._run(blob[:, ::-1])
        centre = (raw[:, :2] + self._offset) * self._stride[:, None]
        extent = np.exp(raw[:, 2:4]) * self._stride[:, None]
        return _without_doubles(centre, extent, raw[:, 4:5] * raw[:, 5:], scale, score)

    def _ultralytics(self, blob: NDArray[np.float32], scale: float, score: float) -> Boxes:
        raw = self._run(blob / np.float32(255)).T
        return _without_doubles(raw[:, :2], raw[:, 2:4], raw[:, 4:], scale, score)

    def _done(self, blob: NDArray[np.float32], scale: float, score: float) -> Boxes:
        found = self._run(blob / np.float32(255))
        found = found[found[:, 4] >= score]
        return np.concatenate([found[:, :4] / scale, found[:, 4:]], axis=1)


def _without_doubles(
    centre: NDArray[np.float32], extent: NDArray[np.float32], scores: NDArray[np.float32], scale: float, score: float
) -> Boxes:
    """The best box of each thing, class by class."""
    kind = scores.argmax(axis=1)
    best = scores[np.arange(len(kind)), kind]
    likely = best >= score
    centre, extent, kind, best = centre[likely], extent[likely], kind[likely], best[likely]
    corners = np.concatenate([centre - extent / 2, extent], axis=1) / scale
    kept = cv2.dnn.NMSBoxesBatched(corners.tolist(), best.tolist(), kind.tolist(), score, OVERLAP) if len(best) else ()
    chosen = np.array(kept, dtype=int).reshape(-1)
    corners[:, 2:] += corners[:, :2]
    return np.concatenate([corners, best[:, None], kind[:, None]], axis=1)[chosen].astype(np.float32)


def agreement(expected: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[int, int, int]:
    """How many boxes agree (same class, intersection over union of at least 0.5), were missed, were invented."""
    free = set(range(len(found)))
    agreed = 0
    for box in expected[np.argsort(-expected[:, 4])] if len(expected) else expected:
        near = [(overlap(box, found[index]), index) for index in free if found[index][5] == box[5]]
        if near and max(near)[0] >= SAME_PLACE:
            free.remove(max(near)[1])
            agreed += 1
    return agreed, len(expected) - agreed, len(free)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(box[2:4] - box[:2])) for box in (a, b)]
    return common / max(areas[0] + areas[1] - common, 1e-9)
