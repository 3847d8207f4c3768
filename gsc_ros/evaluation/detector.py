"""Whether a detector finds in the shown picture what it finds in the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SCORE, SAME_PLACE, OVERLAP = 0.3, 0.5, 0.45
STRIDES = (8, 16, 32)


class Detector:
    """A YOLOX model in ONNX (input 1x3xSxS, output 1xNx(5+classes)), through onnxruntime."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError("the detector needs onnxruntime: pip install 'gsc-ros[experiment]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception of its own for each way to fail
            raise ValueError(f"{path} is not a model that onnxruntime reads: {str(error).splitlines()[0]}") from error
        entry = self._session.get_inputs()[0]
        self._name, self._side = entry.name, entry.shape[-1]
        if not isinstance(self._side, int) or len(self._session.get_outputs()[0].shape) != 3:
            raise ValueError(f"{path}: a YOLOX model of fixed size with one output of three dimensions is expected")
        cells = [np.stack(np.meshgrid(*[np.arange(self._side // s)] * 2), 2).reshape(-1, 2) for s in STRIDES]
        self._offset = np.concatenate(cells).astype(np.float32)
        self._stride = np.concatenate([np.full(len(c), s, np.float32) for c, s in zip(cells, STRIDES, strict=True)])

    def boxes(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n,6): left, top, right, bottom in pixels, score, class."""
        scale = self._side / max(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        padded = np.full((self._side, self._side, 3), 114, dtype=np.uint8)
        padded[: size[1], : size[0]] = cv2.resize(image[:, :, ::-1], size, interpolation=cv2.INTER_LINEAR)
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[None].astype(np.float32))
        raw = self._session.run(None, {self._name: blob})[0][0]
        centre = (raw[:, :2] + self._offset) * self._stride[:, None]
        extent = np.exp(raw[:, 2:4]) * self._stride[:, None]
        scores = raw[:, 4:5] * raw[:, 5:]
        kind = scores.argmax(axis=1)
        best = scores[np.arange(len(kind)), kind]
        corners = np.concatenate([centre - extent / 2, extent], axis=1) / scale
        kept = cv2.dnn.NMSBoxesBatched(corners.tolist(), best.tolist(), kind.tolist(), SCORE, OVERLAP)
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
