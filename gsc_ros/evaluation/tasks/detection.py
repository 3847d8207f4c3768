"""Detection: average precision against the boxes of the dataset, and agreement with the original's boxes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation.datasets import Picture
from gsc_ros.evaluation.tasks.detector import SCORE, Boxes, Detector, agreement

LEAST = 0.01  # score of a box that may still raise the average precision
MOST = 100  # boxes of a picture, as in COCO's evaluation
AGREEMENT = ("agreed", "missed", "invented")


class Detection:
    """A detector in ONNX."""

    def __init__(self, model: Path) -> None:
        self._detector = Detector(model)

    def look(self, image: NDArray[np.uint8]) -> Boxes:
        """(n,6): left, top, right, bottom, score, class."""
        found = self._detector.boxes(image, LEAST)
        return found[np.argsort(-found[:, 4])][:MOST]

    def compare(self, picture: Picture, original: Boxes, shown: Boxes) -> dict[str, Any]:
        """Boxes agreed, missed and invented; with ground truth also the boxes themselves."""
        sure_original, sure = (boxes[boxes[:, 4] >= SCORE] for boxes in (original, shown))
        found: dict[str, Any] = {
            f"boxes_{kind}": count for kind, count in zip(AGREEMENT, agreement(sure_original, sure), strict=True)
        }
        if picture.boxes is not None:
            numbers = {name: index for index, name in enumerate(self._detector.names)}
            if unknown := sorted({box.name for box in picture.boxes} - numbers.keys()):
                raise ValueError(f"the detector has no class {unknown[0]!r}, which boxes of {picture.name} are of")
            truth = [
                [*box.corners, 0.0 if box.crowd else 1.0, float(numbers[box.name])] for box in picture.boxes
            ]  # fmt: skip
            real = np.array([entry for entry in truth if entry[4]], dtype=np.float32).reshape(-1, 6)
            found |= {f"detection_{kind}": count for kind, count in zip(AGREEMENT, agreement(real, sure), strict=True)}
            found["detection_boxes"] = {"truth": truth, "shown": np.round(shown.astype(np.float64), 3).tolist()}
        return found


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """F1 of the agreement over all boxes; precision, recall and average precision where there is ground truth."""
    found: dict[str, float | None] = {}
    if rows and "boxes_agreed" in rows[0]:
        agreed, missed, invented = (sum(row[f"boxes_{kind}"] for row in rows) for kind in AGREEMENT)
        found["detector_agreement"] = 2 * agreed / max(1, 2 * agreed + missed + invented)
    judged = [row for row in rows if row.get("detection_boxes")]
    if judged:
        agreed, missed, invented = (sum(row[f"detection_{kind}"] for row in judged) for kind in AGREEMENT)
        found["detection_precision"] = agreed / max(1, agreed + invented)
        found["detection_recall"] = agreed / max(1, agreed + missed)
        found |= average_precision([row["detection_boxes"] for row in judged])
    return found


def average_precision(pictures: Sequence[dict[str, list[list[float]]]]) -> dict[str, float | None]:
    """COCO's mAP50-95, mAP50 and mAP75 by pycocotools, of ``truth`` and ``shown`` boxes by picture."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ValueError("average precision needs pycocotools: pip install 'gsc-ros[eval]'") from error
    truth: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, 1):
        for left, top, right, bottom, counts, kind in picture["truth"]:
            width, height = right - left, bottom - top
            truth.append(
                {
                    "id": len(truth) + 1, "image_id": number, "category_id": int(kind), "bbox": [left, top, width, height],
                    "area": width * height, "iscrowd": int(counts == 0),
                }
            )  # fmt: skip
        for left, top, right, bottom, score, kind in picture["shown"]:
            box = [left, top, right - left, bottom - top]
            shown.append({"image_id": number, "category_id": int(kind), "bbox": box, "score": score})
    names = ("detection_map", "detection_map50", "detection_map75")
    if not truth or not shown:
        return dict.fromkeys(names, 0.0 if truth else None)
    with contextlib.redirect_stdout(io.StringIO()):  # it has no other way to be quiet
        dataset = COCO()
        dataset.dataset = {
            "images": [{"id": number} for number in range(1, len(pictures) + 1)],
            "categories": [{"id": kind} for kind in sorted({box["category_id"] for box in truth})],
            "annotations": truth,
        }
        dataset.createIndex()
        known = {category["id"] for category in dataset.dataset["categories"]}
        candidates = [box for box in shown if box["category_id"] in known]
        if not candidates:
            return dict.fromkeys(names, 0.0)
        judge = COCOeval(dataset, dataset.loadRes(candidates), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: float(value) for name, value in zip(names, judge.stats, strict=False)}
