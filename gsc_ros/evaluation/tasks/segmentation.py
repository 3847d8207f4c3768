"""Which class every pixel is of: models of transformers for universal segmentation (Mask2Former), and networks in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets import Picture
from gsc_ros.evaluation.tasks import transformers_model
from gsc_ros.evaluation.tasks.exported_segmenter import MODEL, ExportedSegmenter

Labels = NDArray[np.int64]
NONE = -1
# What models call the classes that datasets call otherwise; CamVid's eleven each hold several of Cityscapes'.
ALSO = {
    "pavement": ("sidewalk",), "tree": ("vegetation",), "sign": ("traffic sign", "traffic light", "signboard"),
    "pedestrian": ("person",), "bicyclist": ("rider", "bicycle"), "car": ("truck", "bus", "caravan", "van"),
    "building": ("wall", "house"),
}  # fmt: skip


class Segmenter(Protocol):
    """A network: the names of its classes, and the class of every pixel."""

    names: list[str]

    def look(self, image: NDArray[np.uint8]) -> Labels: ...


class UniversalSegmenter:
    """A model of transformers, from a folder or by a hub id."""

    def __init__(self, model: Path, device: str) -> None:
        self._processor, self._network = transformers_model.load("AutoModelForUniversalSegmentation", model, device)
        names = self._network.config.id2label
        self.names = [names[index] for index in range(len(names))]

    def look(self, image: NDArray[np.uint8]) -> Labels:
        found = transformers_model.outputs(self._processor, self._network, image)
        size = [image.shape[:2]]
        labels = self._processor.post_process_semantic_segmentation(found, target_sizes=size)[0]
        return np.asarray(labels.cpu().numpy(), dtype=np.int64)


class Segmentation:
    """A model of semantic segmentation."""

    def __init__(self, model: Path, device: str = "cpu") -> None:
        exported = (model / MODEL).is_file()
        self._network: Segmenter = ExportedSegmenter(model) if exported else UniversalSegmenter(model, device)
        # "road, route" is how ADE20K's names come.
        self._names = [[part.strip() for part in name.lower().split(",")] for name in self._network.names]

    def look(self, image: NDArray[np.uint8]) -> Labels:
        """The model's class of every pixel, (H,W)."""
        return self._network.look(image)

    def compare(self, picture: Picture, original: Labels, shown: Labels) -> dict[str, Any]:
        """Pixels by class, [common, only truth, only shown]: against the truth and against the original's classes."""
        found: dict[str, Any] = {"segmentation_agreed": counts(original, shown, len(self._names))}
        truth = picture.labels()
        if truth is not None:
            labels, classes = truth
            table = self.table(classes)
            if (table == NONE).all():
                raise ValueError(
                    f"the segmentation model knows none of the classes {', '.join(classes)} of this dataset: "
                    "it can be judged there by a model of its classes only"
                )
            judged = np.isin(labels, table)  # what the model has no class for is void, as the dataset's own voids are
            found["segmentation"] = counts(np.where(judged, labels, NONE), table[shown], len(classes))
        return found

    def table(self, classes: Sequence[str]) -> Labels:
        """For each class of the model the one of ``classes`` that it counts as, or NONE."""
        found = np.full(len(self._names), NONE, dtype=np.int64)
        for index, names in enumerate(self._names):
            for number, wanted in enumerate(classes):
                if wanted in names or any(other in names for other in ALSO.get(wanted, ())):
                    found[index] = number
        return found


def counts(truth: Labels, shown: Labels, classes: int) -> dict[str, list[int]]:
    """By class as text: pixels of both, of the truth alone, of ``shown`` alone; pixels of no true class do not count."""
    known = (truth >= 0) & (truth < classes)
    truth, shown = truth[known], np.where(shown[known] == NONE, classes, shown[known])
    table = np.bincount(truth * (classes + 1) + shown, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
    common = np.diagonal(table)
    rows = np.stack([common, table.sum(axis=1) - common, table[:, :classes].sum(axis=0) - common], axis=1)
    return {str(index): row.tolist() for index, row in enumerate(rows) if row.any()}


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """aAcc, mIoU and mAcc over all pixels of all pictures."""
    found: dict[str, float | None] = {}
    for key, suffix in (("segmentation", ""), ("segmentation_agreed", "_agreed")):
        totals: dict[str, NDArray[np.int64]] = {}
        for row in rows:
            for name, values in (row.get(key) or {}).items():
                totals[name] = totals.get(name, np.zeros(3, np.int64)) + np.array(values)
        if not totals:
            continue
        common, missed, wrong = np.stack(list(totals.values())).astype(np.float64).T
        present = common + missed > 0
        found[f"segmentation_aacc{suffix}"] = float(common.sum() / max(1.0, (common + missed).sum()))
        found[f"segmentation_miou{suffix}"] = float((common / (common + missed + wrong))[present].mean())
        found[f"segmentation_macc{suffix}"] = float((common[present] / (common + missed)[present]).mean())
    return found
