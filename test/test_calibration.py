"""Camera calibrations: what is needed is checked once, and follows the size of the frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from gsc_ros.calibration import CalibrationError, load_calibration, scaled_camera_info

INFO = {
    "image_width": 640, "image_height": 480, "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0, 0, 0, 0]},
    "camera_matrix": {"rows": 3, "cols": 3, "data": [500, 0, 319.5, 0, 500, 239.5, 0, 0, 1]},
    "projection_matrix": {"rows": 3, "cols": 4, "data": [500, 0, 319.5, 10, 0, 500, 239.5, 0, 0, 0, 1, 0]},
}  # fmt: skip


def written(folder: Path, info: object) -> Path:
    path = folder / "camera.yaml"
    path.write_text(yaml.safe_dump(info))
    return path


def test_camera_info_follows_the_size(tmp_path) -> None:
    half = scaled_camera_info(load_calibration(written(tmp_path, INFO)), 320, 240)
    assert (half.k[0], half.k[2], half.k[4], half.k[5]) == (250, 159.5, 250, 119.5)
    assert (half.p[0], half.p[2], half.p[3], half.p[5], half.p[6]) == (250, 159.5, 5, 250, 119.5)
    assert half.d[0] == 0.1


def test_the_calibration_of_a_20_megapixel_camera_holds_for_its_shrunk_frames(tmp_path) -> None:
    full = INFO | {
        "image_width": 5472,
        "image_height": 3648,
        "camera_matrix": {"data": [4000.0, 0, 2735.5, 0, 4000.0, 1823.5, 0, 0, 1]},
    }
    del full["projection_matrix"]
    info = scaled_camera_info(load_calibration(written(tmp_path, full)), 4096, 2731)
    # A point of the world is found where its pixel went when the picture was shrunk.
    point = np.array([0.2, -0.1, 1.0])
    before = np.array(full["camera_matrix"]["data"]).reshape(3, 3) @ point
    image = np.zeros((3648, 5472), np.uint8)
    x, y = round(before[0]), round(before[1])
    image[y - 12 : y + 13, x - 12 : x + 13] = 255
    small = cv2.resize(image, (4096, 2731), interpolation=cv2.INTER_AREA).astype(float)
    found = [float((small.sum(axis=axis) * np.arange(small.shape[1 - axis])).sum() / small.sum()) for axis in (0, 1)]
    after = np.array(info.k).reshape(3, 3) @ point
    assert np.allclose(after[:2], found, atol=0.5)


def test_a_missing_projection_matrix_is_that_of_a_single_camera(tmp_path) -> None:
    info = {name: value for name, value in INFO.items() if name != "projection_matrix"}
    found = scaled_camera_info(load_calibration(written(tmp_path, info)), 640, 480)
    assert found.p == [500, 0, 319.5, 0, 0, 500, 239.5, 0, 0, 0, 1, 0]
    assert found.r == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_the_files_of_opencv_are_read(tmp_path) -> None:
    path = tmp_path / "opencv.yaml"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]]))
    storage.write("distortion_coefficients", np.zeros((1, 5)))
    storage.release()
    info = scaled_camera_info(load_calibration(path), 640, 480)
    assert (info.k[0], info.k[4], info.distortion_model) == (500, 510, "plumb_bob")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera_matrix": None}, "camera_matrix has no list of numbers"),
        ({"camera_matrix": {"data": [1, 2, 3]}}, "3 numbers, 9 are needed"),
        ({"camera_matrix": {"data": ["a"] * 9}}, "no list of numbers"),
        ({"camera_matrix": {"data": [0.0] * 9}}, "focal lengths"),
        ({"image_width": 0}, "image_width 0"),
        ({"image_width": "640"}, "image_width '640'"),
        ({"projection_matrix": {"data": [1] * 9}}, "9 numbers, 12 are needed"),
        ({"distortion_coefficients": [0, 0]}, "distortion_coefficients has no list"),
        ({"camera_matrix": {"data": [float("nan")] * 9}}, "no list of numbers"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, change, words) -> None:
    with pytest.raises(CalibrationError, match=words) as raised:
        load_calibration(written(tmp_path, INFO | change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "a: \t- b", "\x00", "image_width: 640"])
def test_what_is_no_calibration_is_one_line(tmp_path, content) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(CalibrationError) as raised:
        load_calibration(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_four_coefficients_without_a_model_are_not_guessed(tmp_path) -> None:
    info = INFO | {"distortion_coefficients": {"data": [0.0] * 4}}
    del info["distortion_model"]
    with pytest.raises(CalibrationError, match="plumb_bob, rational_polynomial or equidistant"):
        load_calibration(written(tmp_path, info))


def test_a_file_that_is_not_there_is_one_line(tmp_path) -> None:
    with pytest.raises(CalibrationError, match="No such file"):
        load_calibration(tmp_path / "none.yaml")
