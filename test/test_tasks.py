"""What models of perception see in a shown picture: depth, classes and boxes, against truth and against the original."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from PIL import Image

from gsc_ros.cli.main import run
from gsc_ros.evaluation import datasets, tasks
from gsc_ros.evaluation.datasets import Box, Picture
from gsc_ros.evaluation.tasks import depth, detection, segmentation

tiny.make_torchvision_importable()
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
real_samples = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside the project")


def picture(tmp_path: Path, **truth) -> Picture:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, (60, 80, 3)).astype(np.uint8))
    return Picture("image.png", path, **truth)


def plane(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


class TestDepth:
    def test_errors_are_those_of_the_definition(self) -> None:
        truth = np.array([1, 2, 4, 8], np.float32)
        found = depth.errors(truth * np.array([1.2, 1.0, 1.5, 0.5], np.float32), truth)
        assert found["delta1"] == 0.5 and found["delta2"] == 0.75 and found["delta3"] == 0.75
        assert found["abs_rel"] == pytest.approx((0.2 + 0 + 0.5 + 0.5) / 4, rel=1e-6)
        assert found["rmse"] == pytest.approx(((0.04 + 0 + 4 + 16) / 4) ** 0.5, rel=1e-6)
        logs = np.log([1.2, 1.0, 1.5, 0.5])
        assert found["rmse_log"] == pytest.approx(float(np.sqrt(np.square(logs).mean())), rel=1e-6)

    def test_a_relative_model_is_fitted_and_a_metric_one_is_not(self, tmp_path) -> None:
        metres = np.linspace(2, 30, 60 * 80, dtype=np.float32).reshape(60, 80)
        metres[:5] = 0  # not known there
        known = picture(tmp_path, depth_file=plane(tmp_path / "d.png", (metres * 256).astype(np.uint16)), per_metre=256)
        relative = depth.Depth(tiny.save_depth(tmp_path / "relative"))
        metric = depth.Depth(tiny.save_depth(tmp_path / "metric", metric=True))
        assert (relative.metric, metric.metric) == (False, True)
        disparity = np.where(metres > 0, 3 * (1 / np.maximum(metres, 0.1)) - 2, 7).astype(np.float32)
        found = relative.compare(known, disparity, disparity)
        assert found["depth_delta1"] == 1.0 and found["depth_abs_rel"] < 0.01
        assert found["depth_abs_rel_agreed"] < 1e-3
        assert relative.compare(known, disparity, disparity[::-1])["depth_abs_rel_agreed"] > 0.1
        doubled = metric.compare(known, metres + 1, 2 * metres)
        assert doubled["depth_abs_rel"] == pytest.approx(1.0, abs=0.01)

    def test_what_a_model_sees_has_the_size_of_the_picture(self, tmp_path) -> None:
        model = depth.Depth(tiny.save_depth(tmp_path / "model"))
        view = picture(tmp_path).read()
        seen = model.look(view)
        assert seen.shape == (60, 80) and seen.dtype == np.float32 and np.isfinite(seen).all()
        assert not np.array_equal(seen, model.look(255 - view))
        found = model.compare(picture(tmp_path), seen, model.look(view))
        assert found.keys() == {"depth_delta1_agreed", "depth_abs_rel_agreed"}  # no truth, no claim
        assert found["depth_delta1_agreed"] == 1.0


class TestSegmentation:
    NAMES = ("road", "car", "vegetation", "sidewalk", "truck", "moon")

    def test_scores_are_those_of_the_definition(self) -> None:
        truth = np.array([[0, 0, 0, 1], [1, 1, 2, 9]])  # 9 is void
        shown = np.array([[0, 0, 1, 1], [1, 0, 2, 0]])
        rows = [{"segmentation": segmentation.counts(truth, shown, 3)}]
        found = segmentation.summarise(rows)
        assert found["segmentation_aacc"] == pytest.approx(5 / 7)
        assert found["segmentation_miou"] == pytest.approx((2 / 4 + 2 / 4 + 1) / 3)
        assert found["segmentation_macc"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
        assert segmentation.summarise(rows + rows) == found
        assert segmentation.counts(truth, np.full_like(truth, segmentation.NONE), 3) == {
            "0": [0, 3, 0], "1": [0, 3, 0], "2": [0, 1, 0],
        }  # fmt: skip

    def test_classes_meet_by_name(self, tmp_path) -> None:
        labels = np.zeros((60, 80), np.uint8)
        labels[:20], labels[20:40], labels[40:50] = 3, 5, 8
        labels[50:] = 6  # a sign, which this model has no class for
        known = picture(tmp_path, label_file=plane(tmp_path / "l.png", labels), classes=datasets.CAMVID)
        model = segmentation.Segmentation(tiny.save_segmentation(tmp_path / "model", list(self.NAMES)))
        table = model.table(datasets.CAMVID)
        assert [datasets.CAMVID[n] if n >= 0 else None for n in table] == [
            "road",
            "car",
            "tree",
            "pavement",
            "car",
            None,
        ]
        seen = np.zeros((60, 80), np.int64)
        seen[20:40], seen[40:45], seen[45:50], seen[50:] = 2, 1, 4, 5
        found = segmentation.summarise([model.compare(known, seen, seen)])
        assert found["segmentation_miou"] == 1.0 == found["segmentation_aacc"]
        assert found["segmentation_miou_agreed"] == 1.0
        seen[:10] = 5
        again = segmentation.summarise([model.compare(known, seen, seen)])
        assert again["segmentation_aacc"] == pytest.approx(1 - 10 / 50)

    def test_a_model_of_other_classes_is_told(self, tmp_path) -> None:
        labels = plane(tmp_path / "l.png", np.zeros((60, 80), np.uint8))
        known = picture(tmp_path, label_file=labels, classes=datasets.YAMAHA)
        model = segmentation.Segmentation(tiny.save_segmentation(tmp_path / "model", ["cup", "spoon"]))
        seen = model.look(known.read())
        assert seen.shape == (60, 80) and set(np.unique(seen)) <= {0, 1}
        with pytest.raises(ValueError, match="knows none of the classes background, smooth trail"):
            model.compare(known, seen, seen)


class TestDetection:
    TRUTH = ([10, 10, 50, 50, 1, 0], [60, 10, 90, 40, 1, 2], [0, 60, 100, 90, 0, 0])  # the last is a crowd

    def test_precision_is_coco_s(self) -> None:
        right = [[10, 10, 50, 50, 0.9, 0], [60, 10, 90, 40, 0.8, 2], [2, 62, 98, 88, 0.7, 0]]
        found = detection.average_precision([{"truth": self.TRUTH, "shown": right}])
        assert found == pytest.approx({"detection_map": 1.0, "detection_map50": 1.0, "detection_map75": 1.0})
        # 40x40 moved by 8: an overlap of 1280 / 1920 = 0.67
        moved = [[18, 10, 58, 50, 0.9, 0], right[1]]
        found = detection.average_precision([{"truth": self.TRUTH, "shown": moved}])
        assert found["detection_map50"] == pytest.approx(1.0) and found["detection_map75"] == pytest.approx(0.5)
        assert found["detection_map"] == pytest.approx((4 / 10 + 1) / 2)  # at 0.5, 0.55, 0.6 and 0.65
        other = [{**dict(enumerate(box)), 5: 7} for box in right]
        assert (
            detection.average_precision([{"truth": self.TRUTH, "shown": [list(b.values()) for b in other]}])[
                "detection_map"
            ]
            == 0
        )
        assert detection.average_precision([{"truth": self.TRUTH, "shown": []}])["detection_map"] == 0

    @real_samples
    def test_truth_and_agreement_of_a_real_detector(self) -> None:
        found = datasets.pictures("coco", SHARED / "val" / "coco")
        boxed = [picture for picture in found if picture.boxes][:12]
        model = detection.Detection(SHARED / "instruments" / "yolox_nano.onnx")
        seen = [model.look(picture.read()) for picture in boxed]
        rows = [model.compare(picture, boxes, boxes) for picture, boxes in zip(boxed, seen, strict=True)]
        whole = detection.summarise(rows)
        assert whole["detector_agreement"] == 1.0
        assert 0.3 < whole["detection_map50"] < 0.7  # 0.454 over all of them
        assert whole["detection_map75"] < whole["detection_map50"]
        fewer = [model.compare(picture, boxes, boxes[:1]) for picture, boxes in zip(boxed, seen, strict=True)]
        assert detection.summarise(fewer)["detection_recall"] < whole["detection_recall"]

    @real_samples
    def test_exports_of_ultralytics_see_what_yolox_sees(self, tmp_path) -> None:
        """The same boxes, written as those programs write them."""
        from gsc_ros.evaluation.tasks.detector import Detector

        view = datasets.pictures("coco", SHARED / "val" / "coco")[0].read()
        model = Detector(SHARED / "instruments" / "yolox_nano.onnx")
        expected = model.boxes(view)
        assert len(expected)
        side, scale = model._side, model._side / max(view.shape[:2])
        count = len(model._offset)
        centre, extent = (expected[:, :2] + expected[:, 2:4]) / 2 * scale, (expected[:, 2:4] - expected[:, :2]) * scale
        raw = np.zeros((1, 84, count), np.float32)
        raw[0, :2, : len(expected)], raw[0, 2:4, : len(expected)] = centre.T, extent.T
        raw[0, 4 + expected[:, 5].astype(int), np.arange(len(expected))] = expected[:, 4]
        done = np.zeros((1, 300, 6), np.float32)
        done[0, : len(expected)] = expected
        done[0, :, :4] *= scale
        for name, answer in (("v8", raw), ("done", done)):
            found = Detector(tiny.save_constant_onnx(tmp_path / f"{name}.onnx", side, answer)).boxes(view)
            order = np.argsort(-found[:, 4])
            np.testing.assert_allclose(found[order], expected[np.argsort(-expected[:, 4])], rtol=1e-4, atol=1e-2)
        with pytest.raises(ValueError, match="none of YOLOX's and ultralytics'"):
            Detector(tiny.save_constant_onnx(tmp_path / "odd.onnx", side, np.zeros((1, 5, 7), np.float32)))


@real_samples
class TestTruth:
    def test_depth_of_kitti_and_indoors_is_in_metres(self) -> None:
        view = datasets.pictures("kitti", SHARED / "val" / "kitti_raw")[0]
        metres = view.depth()
        assert metres.shape == (352, 1216) == view.read().shape[:2]
        assert 2 < np.median(metres[metres > 0]) < 30 and metres.max() < 90
        indoor = datasets.pictures("rgbd", SHARED / "val" / "rgbd_indoor")[0].depth()
        assert 0.5 < np.median(indoor[indoor > 0]) < 5

    def test_labels_of_camvid_and_yamaha(self) -> None:
        labels, names = datasets.pictures("camvid", SHARED / "val" / "camvid")[0].labels()
        assert names[3] == "road" and labels.shape == (360, 480)
        assert (labels[-100:-20, 200:280] == 3).mean() > 0.9  # road is ahead of a car
        labels, names = datasets.pictures("yamaha", SHARED / "val" / "yamaha_offroad")[0].labels()
        assert names[8] == "sky" and labels.max() <= 8
        assert (labels[-60:] == 8).mean() < 0.01 < (labels[:120] == 8).mean() + (labels[:120] == 7).mean()

    def test_boxes_of_coco(self) -> None:
        found = {picture.path.name: picture for picture in datasets.pictures("coco", SHARED / "val" / "coco")}
        boxed = [picture for picture in found.values() if picture.boxes is not None]
        assert len(boxed) == 94 and len(found) == 127
        assert Box("potted plant", (236.98, 142.51, 236.98 + 24.7, 142.51 + 69.5)) in found["000000000139.jpg"].boxes


def test_labels_of_cityscapes_are_found_and_sizes_checked(tmp_path) -> None:
    image = tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_000000_000019_leftImg8bit.png"
    truth = tmp_path / "gtFine" / "val" / "ulm" / "ulm_000000_000019_gtFine_labelIds.png"
    for path in (image, truth):
        path.parent.mkdir(parents=True)
    cv2.imwrite(str(image), np.zeros((20, 40, 3), np.uint8))
    plane(truth, np.full((20, 40), 26, np.uint8))
    (found,) = datasets.pictures("cityscapes", tmp_path)
    labels, names = found.labels()
    assert {names[n] for n in np.unique(labels)} == {"car"}
    plane(truth, np.full((10, 40), 26, np.uint8))
    with pytest.raises(ValueError, match="is 40x10, its image 40x20"):
        found.labels()


def test_depth_of_hypersim_is_along_the_optical_axis(tmp_path) -> None:
    h5py = pytest.importorskip("h5py")
    image = tmp_path / "ai_001_001" / "images" / "scene_cam_00_final_preview" / "frame.0003.tonemap.jpg"
    truth = tmp_path / "ai_001_001" / "images" / "scene_cam_00_geometry_hdf5" / "frame.0003.depth_meters.hdf5"
    for path in (image, truth):
        path.parent.mkdir(parents=True)
    cv2.imwrite(str(image), np.zeros((96, 128, 3), np.uint8))
    # A wall two metres in front of a camera that sees 60 degrees across: the distance to it grows towards the edges.
    across = np.linspace(-1, 1, 128) * np.tan(np.radians(30)) * 127 / 128
    down = np.linspace(-1, 1, 96) * np.tan(np.radians(30)) * 95 / 128
    distance = 2 * np.sqrt(1 + across[None, :] ** 2 + down[:, None] ** 2)
    distance[5, 7] = np.nan
    with h5py.File(truth, "w") as file:
        file["dataset"] = distance.astype(np.float16)
    (found,) = datasets.pictures("hypersim", tmp_path)
    depth = found.depth()
    assert depth[5, 7] == 0
    depth[5, 7] = 2
    assert np.abs(depth - 2).max() < 0.003  # float16 is no finer
    assert distance[0, 0] > 2.4
    truth.write_bytes(b"no such file")
    with pytest.raises(ValueError, match="no HDF5 file"):
        found.depth()
    truth.unlink()
    assert datasets.pictures("hypersim", tmp_path)[0].depth() is None


def test_boxes_of_coco_s_own_file(tmp_path) -> None:
    import json

    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    for number in (139, 285):
        cv2.imwrite(str(tmp_path / "val2017" / f"{number:012d}.jpg"), np.zeros((20, 40, 3), np.uint8))
    content = {
        "images": [{"id": 139, "file_name": "000000000139.jpg"}], "categories": [{"id": 64, "name": "potted plant"}],
        "annotations": [{"image_id": 139, "category_id": 64, "bbox": [1, 2, 3, 4], "iscrowd": 1}],
    }  # fmt: skip
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    first, second = datasets.pictures("coco", tmp_path)
    assert first.boxes == (Box("potted plant", (1, 2, 4, 6), True),)
    assert second.boxes is None


def test_one_run_asks_all_three(tmp_path, capsys) -> None:
    """Through the command: tiny models, real packets."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    from gsc_ros.sources import moving_photographs

    cv2.imwrite(str(root / "images" / "a.png"), next(iter(moving_photographs((200, 176))))[:, :, ::-1])
    plane(root / "labels" / "a.png", np.full((176, 200), 3, np.uint8))
    models = {
        "detector": tiny.save_constant_onnx(tmp_path / "d.onnx", 64, np.zeros((1, 300, 6), np.float32)),
        "depth": tiny.save_depth(tmp_path / "depth"),
        "segmentation": tiny.save_segmentation(tmp_path / "segmentation", ["road", "car"]),
    }
    command = [
        "eval",
        "--dataset",
        "camvid",
        "--root",
        str(root),
        "--codecs",
        "nano,original",
        "--bytes",
        "150",
        "--jobs",
        "1",
    ]
    command += ["--tasks", "detection,depth,segmentation", "--out", str(tmp_path / "out")]
    assert run([*command, *(word for name, path in models.items() for word in (f"--{name}", str(path)))]) == 0
    tables = [table.splitlines() for table in capsys.readouterr().out.strip().split("\n\n")]
    heads = [[cell.strip() for cell in table[0].split("|")[1:-1]] for table in tables]
    assert heads[1:] == [
        ["codec", "setting", "bpp", "detector"],
        ["codec", "setting", "bpp", "delta1 (orig.)", "AbsRel (orig.)"],
        ["codec", "setting", "bpp", "aAcc", "mIoU", "mAcc", "aAcc (orig.)", "mIoU (orig.)", "mAcc (orig.)"],
    ]
    rows: dict = {"nano": {}, "original": {}}
    for head, table in zip(heads, tables, strict=True):
        for line in table[2:]:
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            rows[cells[0]] |= dict(zip(head, cells, strict=True))
    assert rows["original"]["delta1 (orig.)"] == rows["original"]["mIoU (orig.)"] == "1.000"
    assert rows["original"]["bytes, mean"] == "0" and int(rows["nano"]["bytes, mean"]) > 100
    assert float(rows["nano"]["AbsRel (orig.)"]) > 0
    for task in ("detection", "depth", "segmentation"):
        assert all((tmp_path / "out" / f"{task}{suffix}").is_file() for suffix in (".md", ".tex", ".png", ".svg"))


def test_models_that_are_none_are_told_in_one_line(tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("depth", "segmentation"):
        with pytest.raises(ValueError, match=r"a folder with config.json"):
            tasks.load(name, tmp_path / "empty")
        kind = tiny.save_depth if name == "segmentation" else lambda f: tiny.save_segmentation(f, ["road"])
        with pytest.raises(ValueError, match="is not a model for AutoModelFor") as raised:
            tasks.load(name, kind(tmp_path / f"other for {name}"))
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="detection, depth, segmentation are known"):
        tasks.load("driving", tmp_path)
