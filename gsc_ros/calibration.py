"""Camera calibrations: read and checked once, rescaled to the size of a frame."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

NEEDED = ("image_width", "image_height", "camera_matrix", "distortion_coefficients")
MODELS = {5: "plumb_bob", 8: "rational_polynomial"}  # by coefficients, sensor_msgs/distortion_models.hpp
NUMBERS = {"camera_matrix": 9, "rectification_matrix": 9, "projection_matrix": 12}


class CalibrationError(ValueError):
    """A file that is no camera calibration."""


class _Loader(yaml.SafeLoader):
    """YAML that takes OpenCV's matrices for the mappings that they are."""


def _matrix(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _matrix)


def load_calibration(path: Path) -> dict[str, Any]:
    """What the ROS calibrator or OpenCV's FileStorage wrote to ``path``; raises CalibrationError with one line.

    Where it names no projection matrix, the camera is taken for a single one: P = [K 0], as camera_calibration has
    it for a picture that is not rectified. OpenCV names no distortion model: 5 and 8 coefficients tell it, 4 may be either of two.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise CalibrationError(f"calibration {path}: {reason}") from error
    try:
        # OpenCV writes "%YAML:1.0", which is not the directive of YAML.
        info = yaml.load(re.sub(r"\A%YAML:.*\n(---.*\n)?", "", text), Loader=_Loader)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}" if place else ""
        raise CalibrationError(f"calibration {path} is no YAML{where}") from error
    if not isinstance(info, dict):
        raise CalibrationError(f"calibration {path}: {', '.join(NEEDED)} are needed")
    if missing := [name for name in NEEDED if name not in info]:
        raise CalibrationError(f"calibration {path} has no {missing[0]}: {', '.join(NEEDED)} are needed")
    for name in ("image_width", "image_height"):
        if not isinstance(info[name], int) or not 1 <= info[name] <= 1 << 16:
            raise CalibrationError(f"calibration {path}: {name} {info[name]!r} is no number of pixels")
    for name in (*NUMBERS, "distortion_coefficients"):
        if name in info:
            _check(path, name, info[name])
    k = info["camera_matrix"]["data"]
    if not (k[0] > 0 and k[4] > 0):
        raise CalibrationError(f"calibration {path}: the focal lengths in camera_matrix have to be above 0")
    if "projection_matrix" not in info:
        info["projection_matrix"] = {"data": [*k[:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0]}
    if "distortion_model" not in info:
        count = len(info["distortion_coefficients"]["data"])
        if count not in MODELS:
            raise CalibrationError(
                f"calibration {path} has {count} distortion_coefficients and no distortion_model: "
                "plumb_bob, rational_polynomial or equidistant is needed"
            )
        info["distortion_model"] = MODELS[count]
    return info


def _check(path: Path, name: str, matrix: Any) -> None:
    data = matrix.get("data") if isinstance(matrix, dict) else None
    good = isinstance(data, list) and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) < 1e12 for number in data
    )
    if not good:
        raise CalibrationError(f"calibration {path}: {name} has no list of numbers named data")
    assert isinstance(data, list)
    if name in NUMBERS and len(data) != NUMBERS[name]:
        raise CalibrationError(f"calibration {path}: {name} has {len(data)} numbers, {NUMBERS[name]} are needed")


def scaled_camera_info(info: dict[str, Any], width: int, height: int) -> SimpleNamespace:
    """K, P, D, R of a calibration (:func:`load_calibration`), rescaled to an image of ``width`` x ``height``.

    The calibration may be that of the camera's full size: both axes are scaled by what the frame is of it. Pixel centres
    are at half-integer positions scaled alike, so c' = (c + 0.5) s - 0.5.
    """
    sx, sy = width / info["image_width"], height / info["image_height"]
    k = list(map(float, info["camera_matrix"]["data"]))
    p = list(map(float, info["projection_matrix"]["data"]))
    for matrix, columns in ((k, 3), (p, 4)):
        matrix[0] *= sx
        matrix[1] *= sx
        matrix[2] = (matrix[2] + 0.5) * sx - 0.5
        matrix[columns + 1] *= sy
        matrix[columns + 2] = (matrix[columns + 2] + 0.5) * sy - 0.5
    p[3] *= sx
    p[7] *= sy
    rotation = list(map(float, info.get("rectification_matrix", {}).get("data", [1, 0, 0, 0, 1, 0, 0, 0, 1])))
    return SimpleNamespace(
        width=width, height=height, distortion_model=info["distortion_model"],
        d=list(map(float, info["distortion_coefficients"]["data"])), k=k, r=rotation, p=p,
    )  # fmt: skip
