"""How far a picture is from its original for a network that nobody trained against: features of an encoder in ONNX.

The network's own graph is given further outputs: the last features of each size on its way down. Features are
normalised over the channels of a position, as in LPIPS (Zhang et al. 2018), and compared by the cosine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST_SIDE = 8  # of features that still say where something is
GREY = 114


def way_down(model: Any) -> list[str]:
    """Names of the last tensors of each size before the next smaller one begins: what an encoder's stages end with."""
    shapes = {
        info.name: [dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
        for info in model.graph.value_info
    }
    ends: dict[int, str] = {}
    smallest = 1 << 30
    for node in model.graph.node:
        for name in node.output:
            shape = shapes.get(name, [])
            if len(shape) != 4 or shape[2] < SMALLEST_SIDE:
                continue
            if shape[2] <= smallest:
                smallest = shape[2]
                ends[smallest] = name
            else:
                return list(ends.values())
    return list(ends.values())


class FeatureDistance:
    """1 less the cosine of features, in the mean over positions and sizes: 0 for equal pictures, less is better."""

    def __init__(self, path: Path) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"{path} needs onnx and onnxruntime: pip install onnx onnxruntime") from error
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
        self.taps = way_down(model)
        model.graph.output.extend([onnx.helper.make_empty_tensor_value_info(name) for name in self.taps])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        entry = self._session.get_inputs()[0]
        self._name, self._side = entry.name, int(entry.shape[-1])

    def look(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Normalised features (C, positions) of the part of each size that shows ``image`` (H,W,3)."""
        scale = self._side / max(image.shape[:2])
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        padded = np.full((self._side, self._side, 3), GREY, dtype=np.float32)
        padded[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)[:, :, ::-1]
        found = []
        for feature in self._session.run(self.taps, {self._name: padded.transpose(2, 0, 1)[None]}):
            stride = self._side // feature.shape[2]
            shown = feature[0, :, : max(1, height // stride), : max(1, width // stride)]
            flat = shown.reshape(len(shown), -1)
            found.append(flat / (np.linalg.norm(flat, axis=0) + 1e-6))
        return found

    def __call__(self, original: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
        return distance(self.look(original), self.look(picture))


def distance(a: list[NDArray[np.float32]], b: list[NDArray[np.float32]]) -> float:
    """Of two pictures' features."""
    return float(np.mean([1 - (one * other).sum(axis=0).mean() for one, other in zip(a, b, strict=True)]))
