"""Segmentation by networks in ONNX, in the folder that optimum writes."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from gsc_ros.evaluation import tasks
from gsc_ros.evaluation.datasets import Picture
from gsc_ros.evaluation.tasks import segmentation

NAMES = ("road", "car", "sky")


def view() -> np.ndarray:
    """Red, green and blue thirds, 90 pixels wide."""
    return np.repeat(np.eye(3, dtype=np.uint8)[None] * 200 + 20, 30, axis=1).repeat(48, axis=0)


@pytest.mark.parametrize("kind", ["scores", "classes"])
@pytest.mark.parametrize("side", [48, "side"])
def test_every_pixel_gets_its_class(tmp_path, kind, side) -> None:
    folder = tiny.save_exported_segmentation(
        tmp_path / "m", list(NAMES), kind, side=side, size={"height": 48, "width": 48}
    )
    seen = segmentation.Segmentation(folder).look(view())
    assert seen.shape == (48, 90) and seen.dtype == np.int64
    for index in range(3):
        assert (seen[:, 30 * index + 4 : 30 * index + 26] == index).all()


def test_pictures_are_prepared_as_the_folder_says(tmp_path) -> None:
    grey = np.full((48, 48, 3), 100, np.uint8)
    for index in range(3):
        mean = [0.9, 0.9, 0.9]
        mean[index] = 0.1
        folder = tmp_path / str(index)
        tiny.save_exported_segmentation(folder, list(NAMES), image_mean=mean, image_std=[0.5] * 3)
        assert (segmentation.Segmentation(folder).look(grey) == index).all()
    # As bytes, unscaled, the mean counts for less than a colour that is stronger by ten.
    tinted = grey + np.array([0, 10, 0], np.uint8)
    folder = tmp_path / "bytes"
    tiny.save_exported_segmentation(folder, list(NAMES), do_rescale=False, image_mean=[0.0, 2, 2], image_std=[1.0] * 3)
    assert (segmentation.Segmentation(folder).look(tinted) == 1).all()
    folder = tmp_path / "as it is"
    tiny.save_exported_segmentation(folder, list(NAMES), do_normalize=False, image_mean=[0.0, 2, 2])
    assert (segmentation.Segmentation(folder).look(tinted) == 1).all()


def test_foreground_is_what_is_likely(tmp_path) -> None:
    view = np.full((48, 48, 3), 60, np.uint8)
    view[:, 24:] = 200
    model = segmentation.Segmentation(
        tiny.save_exported_segmentation(tmp_path / "m", None, "foreground", do_normalize=False)
    )
    seen = model.look(view)
    assert (seen[:, :20] == 0).all() and (seen[:, 28:] == 1).all()
    found = segmentation.summarise([model.compare(Picture("a.png", tmp_path / "a.png"), seen, 1 - seen)])
    assert found["segmentation_miou_agreed"] == 0.0
    logits = tiny.save_exported_segmentation(
        tmp_path / "logits", None, "foreground", image_mean=[0.5] * 3, image_std=[0.1] * 3
    )
    with pytest.raises(ValueError, match="with its sigmoid"):
        segmentation.Segmentation(logits).look(view)


def test_what_cannot_be_is_told_in_one_line(tmp_path) -> None:
    def failing(name: str, *arguments: object, spoil=None, **options: object) -> str:
        folder = tiny.save_exported_segmentation(tmp_path / name, *arguments, **options)
        if spoil:
            spoil(folder)
        with pytest.raises(ValueError) as raised:
            tasks.load("segmentation", folder)
        assert "\n" not in str(raised.value) and name in str(raised.value)
        return str(raised.value)

    assert "id2label" in failing("nameless", None)
    assert "each of the model's 3 classes" in failing("short", ["road"])
    assert "neither" in failing("flat", ["road"], "flat")
    assert "of a fixed size" in failing("sizeless", list(NAMES), side="side", size={"shortest_edge": 512})
    assert "three numbers each" in failing("two", list(NAMES), image_mean=[0.5, 0.5])
    assert "above 0" in failing("still", list(NAMES), image_std=[0.1, 0.1, 0])
    assert "how pictures are prepared" in failing(
        "bare", list(NAMES), spoil=lambda folder: (folder / "preprocessor_config.json").unlink()
    )
    assert "onnxruntime reads" in failing(
        "cut", list(NAMES), spoil=lambda folder: (folder / "model.onnx").write_bytes(b"half")
    )


def test_scores_of_other_classes_than_were_named_are_refused(tmp_path) -> None:
    folder = tiny.save_exported_segmentation(
        tmp_path / "m", ["road", "car"], side="side", size={"height": 48, "width": 48}
    )
    with pytest.raises(ValueError, match=r"scores of 3 classes, and config.json names 2"):
        segmentation.Segmentation(folder).look(view())
