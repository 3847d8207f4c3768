"""How far a picture is from its original for a network that nobody trained against: features of an encoder in ONNX.

The network's own graph is given further outputs: the last features of each size on its way down. Features are
normalised over the channels of a position, as in LPIPS (Zhang et al. 2018), and compared by the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST_SIDE = 8  # of features that still say where something is
LEAST_CHANNELS = 8  # fewer are the picture itself
GREY = 114  # around a picture that is not square


def way_down(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> list[str]:
    """Of tensors by name and shape, in the order in which they are computed, the last of each size before the next smaller one.

    Those are what an encoder's stages end with; where sizes grow again, it ends.
    """
    ends: dict[int, str] = {}
    smallest = 1 << 30
    for name, shape in shapes:
        if len(shape) != 4 or shape[1] < LEAST_CHANNELS or shape[2] != shape[3] or shape[2] < SMALLEST_SIDE:
            continue
        if shape[2] >= 1.5 * smallest:
            break
        if shape[2] > smallest:  # padded for the next layer
            continue
        smallest = shape[2]
        ends[smallest] = name
    return list(ends.values())


class FeatureDistance:
    """1 less the cosine of features, in the mean over positions and sizes: 0 for equal pictures, less is better.

    The network takes one picture 1x3xSxS, BGR in 0..255, in the upper left corner of a grey square, as YOLOX does.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"{path} needs onnx and onnxruntime: pip install onnx onnxruntime") from error
        model = onnx.load(str(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1

        def giving(names: Sequence[str]) -> Any:
            """A session whose outputs are the tensors ``names``."""
            del model.graph.output[:]
            model.graph.output.extend([onnx.helper.make_empty_tensor_value_info(name) for name in names])
            return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

        # Not every exporter writes down the shapes: the network is run once to see them.
        every = [name for node in model.graph.node for name in node.output if name]
        session = giving(every)
        entry = session.get_inputs()[0]
        if len(entry.shape) != 4 or not isinstance(entry.shape[-1], int):
            raise ValueError(f"{path}: a network with one input 1x3xSxS is expected, not {entry.shape}")
        self._name, self._side = entry.name, entry.shape[-1]
        empty = np.zeros((1, 3, self._side, self._side), dtype=np.float32)
        found = session.run(every, {self._name: empty})
        self.taps = way_down([(name, np.shape(tensor)) for name, tensor in zip(every, found, strict=True)])
        self._session = giving(self.taps)

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
