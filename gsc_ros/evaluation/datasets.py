"""Datasets as `gsc eval` takes them: which images, under which names, cut how.

An adapter finds the images of a dataset below the root that the user has, and says in one line what it
expected where there are none. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.sources import SUFFIXES, read_file

Image = NDArray[np.uint8]
KITTI_CROP = (1216, 352)  # width and height of the benchmark's crops, at the lower edge and in the middle


@dataclass(frozen=True)
class Picture:
    """One image of a dataset: a name that is unique in it, and the file."""

    name: str
    path: Path
    crop: tuple[int, int] | None = None

    def read(self) -> Image:
        """(H,W,3) of uint8, RGB."""
        image = read_file(self.path)
        if self.crop is None:
            return image
        height, width = image.shape[:2]
        across, down = min(self.crop[0], width), min(self.crop[1], height)
        left = (width - across) // 2
        return np.ascontiguousarray(image[height - down :, left : left + across])


def _below(root: Path, files: Sequence[Path], expected: str) -> list[Picture]:
    found = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"{root}: {expected}")
    return [Picture(str(path.relative_to(root)), path) for path in found]


def folder(root: Path) -> list[Picture]:
    """Every image in a folder and in those below it."""
    return _below(root, list(root.rglob("*")), "no images there or below")


def kodak(root: Path) -> list[Picture]:
    """The 24 images kodim01.png to kodim24.png."""
    found = _below(root, list(root.glob("kodim*.png")), "kodim01.png to kodim24.png are expected there")
    if len(found) != 24:
        raise ValueError(f"{root}: {len(found)} of the 24 images kodim01.png to kodim24.png are there")
    return found


def kitti(root: Path) -> list[Picture]:
    """KITTI's left colour camera: raw drives (image_02) or the depth benchmark's image folders, cut to 1216x352."""
    places = ("**/image_02/data/*", "**/image_02/*", "**/val_selection_cropped/image/*", "**/image/*")
    for place in places:
        files = [path for path in root.glob(place) if path.suffix.lower() in SUFFIXES]
        if files:
            break
    else:
        raise ValueError(f"{root}: no images in image_02/data, image_02 or val_selection_cropped/image")
    return [Picture(picture.name, picture.path, KITTI_CROP) for picture in _below(root, files, "no images")]


def camvid(root: Path) -> list[Picture]:
    """CamVid: a folder images beside labels, or val, test or train of the usual split."""
    for name in ("images", "val", "test", "train"):
        if (root / name).is_dir():
            return _below(root, list((root / name).rglob("*")), f"no images in {name}")
    raise ValueError(f"{root}: a folder images (beside labels), val, test or train is expected")


def yamaha(root: Path) -> list[Picture]:
    """Yamaha-CMU off-road: images beside labels, or rgb.jpg in a folder for each scene."""
    files = list(root.glob("**/rgb.jpg")) or list((root / "images").glob("*"))
    return _below(root, files, "images (beside labels), or a folder with rgb.jpg for each scene is expected")


def cityscapes(root: Path) -> list[Picture]:
    """Cityscapes: *_leftImg8bit, of leftImg8bit/val where that is there."""
    files = list(root.glob("leftImg8bit/val/**/*_leftImg8bit.*")) or list(root.glob("**/*_leftImg8bit.*"))
    return _below(root, files, "leftImg8bit/val/CITY/*_leftImg8bit.png is expected")


def coco(root: Path) -> list[Picture]:
    """COCO 2017: val2017, or the images at the root; ids.txt or ids.json there picks from them, one id or name each."""
    place = root / "val2017" if (root / "val2017").is_dir() else root
    found = _below(root, list(place.glob("*")), "val2017/000000000139.jpg and others are expected")
    listed = next((root / name for name in ("ids.txt", "ids.json") if (root / name).is_file()), None)
    if listed is None:
        return found
    text = listed.read_text(encoding="utf-8")
    wanted = [str(entry) for entry in (json.loads(text) if listed.suffix == ".json" else text.split())]
    by_stem = {picture.path.stem: picture for picture in found}
    names = [Path(entry).stem.zfill(12) for entry in wanted]
    if missing := [name for name in names if name not in by_stem]:
        raise ValueError(f"{listed}: {len(missing)} of {len(names)} images are not there, {missing[0]}.jpg first")
    return [by_stem[name] for name in names]


def rgbd(root: Path) -> list[Picture]:
    """RGB-D folders: color (or rgb) beside depth."""
    for name in ("color", "rgb"):
        if (root / name).is_dir():
            return _below(root, list((root / name).glob("*")), f"no images in {name}")
    raise ValueError(f"{root}: a folder color or rgb (beside depth) is expected")


def hypersim(root: Path) -> list[Picture]:
    """Hypersim: images/scene_cam_*_final_preview/frame.*.tonemap.jpg of every scene."""
    return _below(
        root,
        list(root.glob("**/scene_cam_*_final_preview/frame.*.tonemap.*")),
        "ai_*/images/scene_cam_*_final_preview/frame.*.tonemap.jpg is expected",
    )


DATASETS: dict[str, Callable[[Path], list[Picture]]] = {
    "camvid": camvid,
    "cityscapes": cityscapes,
    "coco": coco,
    "folder": folder,
    "hypersim": hypersim,
    "kitti": kitti,
    "kodak": kodak,
    "rgbd": rgbd,
    "yamaha": yamaha,
}


def pictures(dataset: str, root: Path) -> list[Picture]:
    """The images of ``dataset`` below ``root``; raises ValueError with one line where that is not one."""
    if dataset not in DATASETS:
        raise ValueError(f"dataset {dataset!r}: {', '.join(DATASETS)} are known")
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: --root names the one that {dataset} lies in")
    return DATASETS[dataset](root)
