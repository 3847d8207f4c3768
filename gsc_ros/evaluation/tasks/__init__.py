"""Tasks of perception: what a model sees in the shown picture, beside the ground truth and beside what it sees in the original.

picture --> model --> prediction --+--> against ground truth (where the dataset has it)
original -> model --> prediction --+--> agreement
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets import Picture

Image = NDArray[np.uint8]
Evidence = dict[str, Any]  # what can be written as JSON


class Task(Protocol):
    """One model, one question."""

    def look(self, image: Image) -> Any:
        """What the model sees in ``image`` (H,W,3) of uint8, RGB."""
        ...

    def compare(self, picture: Picture, original: Any, shown: Any) -> Evidence:
        """What the predictions for one picture add to the result; keys begin with the task's name."""
        ...


NAMES = ("detection", "depth", "segmentation")


def load(name: str, model: Path, device: str = "cpu") -> Task:
    """The task called ``name`` with the ``model`` (an ONNX file or a folder); raises ValueError with one line."""
    if name == "detection":
        from gsc_ros.evaluation.tasks.detection import Detection

        return Detection(model)
    if name == "depth":
        from gsc_ros.evaluation.tasks.depth import Depth

        return Depth(model, device)
    if name == "segmentation":
        from gsc_ros.evaluation.tasks.segmentation import Segmentation

        return Segmentation(model, device)
    raise ValueError(f"task {name!r}: {', '.join(NAMES)} are known")


def summarise(rows: Sequence[Evidence]) -> dict[str, float | None]:
    """The figures of all tasks over the pictures of ``rows``."""
    from gsc_ros.evaluation.tasks import depth, detection, segmentation

    return detection.summarise(rows) | depth.summarise(rows) | segmentation.summarise(rows)
