"""Datasets as `gsc eval` takes them: which images, under which names, cut how.

An adapter finds the images of a dataset below the root that the user has, and says in one line what it
expected where there are none. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gsc_ros.evaluation import hypersim_depth
from gsc_ros.image_messages import ImageMessageError, fit, fitting_size
from gsc_ros.natural_order import natural
from gsc_ros.sources import SUFFIXES, SourceError, read_file

Image = NDArray[np.uint8]
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
YAMAHA = (
    "background", "smooth trail", "traversable grass", "rough trail", "puddle", "obstacle", "low vegetation", "high vegetation", "sky",
)  # fmt: skip
# By label id; those that the benchmark leaves out have names that no model knows.
CITYSCAPES = (
    *(7 * "-"), "road", "sidewalk", "-", "-", "building", "wall", "fence", "-", "-", "-", "pole", "-", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "-", "-", "train", "motorcycle", "bicycle",
)  # fmt: skip
KITTI_CROP = (1216, 352)  # width and height of the benchmark's crops, at the lower edge and in the middle


@dataclass(frozen=True)
class Box:
    """A thing of the ground truth: its class, and left, top, right, bottom in pixels."""

    name: str
    corners: tuple[float, float, float, float]
    crowd: bool = False


@dataclass(frozen=True)
class Picture:
    """One image of a dataset: a name that is unique in it, the file, and what is known of the scene.

    crop         width and height, at the lower edge and in the middle
    depth_file   an image of 16 bits, ``per_metre`` to a metre, 0 where nothing is known; or Hypersim's HDF5
    label_file   an image of class numbers; the name of class n is ``classes[n]``, others are void
    boxes        of things, None where nobody has looked for any
    """

    name: str
    path: Path
    crop: tuple[int, int] | None = None
    depth_file: Path | None = None
    per_metre: float = 1000.0
    label_file: Path | None = None
    classes: tuple[str, ...] = ()
    boxes: tuple[Box, ...] | None = None

    def read(self) -> Image:
        """(H,W,3) of uint8, RGB, of 16 to 4096 pixels a side; raises SourceError."""
        try:
            return fit(self._cut(read_file(self.path)))
        except ImageMessageError as error:
            raise SourceError(f"{self.path}: {error}") from error

    def depth(self) -> NDArray[np.float32] | None:
        """Metres, (H,W), 0 where it is not known."""
        if self.depth_file is None:
            return None
        if self.depth_file.suffix == ".hdf5":
            return self._fitted(self._as_large(hypersim_depth.read(self.depth_file), self.depth_file))
        return self._fitted(self._plane(self.depth_file).astype(np.float32) / np.float32(self.per_metre))

    def labels(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """Class numbers, (H,W), and the names of the classes."""
        if self.label_file is None:
            return None
        return self._fitted(self._plane(self.label_file).astype(np.int64)), self.classes

    def _plane(self, path: Path) -> NDArray[Any]:
        """One plane of numbers at the size of the image; of a palette its indices."""
        from PIL import Image as Pillow

        with Pillow.open(path) as file:
            plane = np.asarray(file)
        if plane.ndim != 2:
            raise ValueError(f"{path}: an image with one number for each pixel is expected, not {plane.shape}")
        return self._as_large(plane, path)

    def _as_large(self, plane: NDArray[Any], path: Path) -> NDArray[Any]:
        """``plane`` of the file ``path``, which has to be as large as the image."""
        from PIL import Image as Pillow

        with Pillow.open(self.path) as image:
            size = image.size
        if plane.shape != size[::-1]:
            raise ValueError(f"{path} is {plane.shape[1]}x{plane.shape[0]}, its image {size[0]}x{size[1]}")
        return plane

    def _fitted(self, plane: NDArray[Any]) -> NDArray[Any]:
        """``plane`` at the size of :meth:`read`: of what is shrunk the nearest numbers, for a mean of classes is none."""
        cut = self._cut(plane)
        height, width = fitting_size(*cut.shape[:2])
        if cut.shape[:2] == (height, width):
            return cut
        down, across = (
            (np.arange(new) * old + old // 2) // new for new, old in zip((height, width), cut.shape[:2], strict=True)
        )
        return np.ascontiguousarray(cut[down][:, across])

    def _cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        if self.crop is None:
            return plane
        height, width = plane.shape[:2]
        across, down = min(self.crop[0], width), min(self.crop[1], height)
        left = (width - across) // 2
        return np.ascontiguousarray(plane[height - down :, left : left + across])


def _below(root: Path, files: Sequence[Path], expected: str) -> list[Picture]:
    # What a system hides is none of the dataset's.
    found = [path for path in files if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    found.sort(key=lambda path: (path.parent, natural(path)))
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


def _labelled(found: list[Picture], folder: Path, classes: tuple[str, ...]) -> list[Picture]:
    """``found`` with the labels of the same name in ``folder``, where there are any."""
    labels = {path.stem.removesuffix("_L"): path for path in folder.glob("*.png")}
    return [replace(p, label_file=labels[p.path.stem], classes=classes) if p.path.stem in labels else p for p in found]


def kitti(root: Path) -> list[Picture]:
    """KITTI's left colour camera: raw drives (image_02) or the depth benchmark's image folders, cut to 1216x352.

    Depth: groundtruth_depth beside image, proj_depth/groundtruth/image_02 in the drive, or depth_u16_div256 beside image_02.
    """
    places = ("**/image_02/data/*", "**/image_02/*", "**/val_selection_cropped/image/*", "**/image/*")
    for place in places:
        files = [path for path in root.glob(place) if path.suffix.lower() in SUFFIXES]
        if files:
            break
    else:
        raise ValueError(f"{root}: no images in image_02/data, image_02 or val_selection_cropped/image")
    return [
        replace(picture, crop=KITTI_CROP, per_metre=256.0, depth_file=_kitti_depth(picture.path))
        for picture in _below(root, files, "no images")
    ]


def _kitti_depth(image: Path) -> Path | None:
    folder = image.parent
    drive = folder.parent.parent if folder.name == "data" else folder.parent
    name = image.stem
    for place in (
        drive / "depth_u16_div256" / name,
        drive / "proj_depth" / "groundtruth" / "image_02" / name,
        folder.parent / "groundtruth_depth" / name.replace("_sync_image_", "_sync_groundtruth_depth_"),
    ):
        if (path := place.parent / f"{place.name}.png").is_file():
            return path
    return None


def camvid(root: Path) -> list[Picture]:
    """CamVid: a folder images beside labels, or val, test or train of the usual split."""
    for name in ("images", "val", "test", "train"):
        if (root / name).is_dir():
            found = _below(root, list((root / name).rglob("*")), f"no images in {name}")
            return _labelled(found, root / ("labels" if name == "images" else f"{name}annot"), CAMVID)
    raise ValueError(f"{root}: a folder images (beside labels), val, test or train is expected")


def yamaha(root: Path) -> list[Picture]:
    """Yamaha-CMU off-road: images beside labels, or rgb.jpg in a folder for each scene."""
    files = list(root.glob("**/rgb.jpg")) or list((root / "images").glob("*"))
    found = _below(root, files, "images (beside labels), or a folder with rgb.jpg for each scene is expected")
    return _labelled(found, root / "labels", YAMAHA)


def cityscapes(root: Path) -> list[Picture]:
    """Cityscapes: *_leftImg8bit, of leftImg8bit/val where that is there."""
    files = list(root.glob("leftImg8bit/val/**/*_leftImg8bit.*")) or list(root.glob("**/*_leftImg8bit.*"))
    found = _below(root, files, "leftImg8bit/val/CITY/*_leftImg8bit.png is expected")
    return [replace(picture, label_file=_cityscapes_labels(picture.path), classes=CITYSCAPES) for picture in found]


def _cityscapes_labels(image: Path) -> Path | None:
    """gtFine's label ids: .../leftImg8bit/val/CITY/X_leftImg8bit.png -> .../gtFine/val/CITY/X_gtFine_labelIds.png."""
    places = [part if part != "leftImg8bit" else "gtFine" for part in image.parent.parts]
    path = Path(*places) / f"{image.stem.removesuffix('_leftImg8bit')}_gtFine_labelIds.png"
    return path if path.is_file() else None


def coco(root: Path) -> list[Picture]:
    """COCO 2017: val2017, or the images at the root; ids.txt or ids.json there picks from them, one id or name each.

    Boxes: annotations/instances_val2017.json, instances_val2017.json, or boxes.json (file name -> bbox, category, iscrowd).
    """
    place = root / "val2017" if (root / "val2017").is_dir() else root
    found = _below(root, list(place.glob("*")), "val2017/000000000139.jpg and others are expected")
    listed = next((root / name for name in ("ids.txt", "ids.json") if (root / name).is_file()), None)
    if listed is None:
        return _with_boxes(found, root)
    text = listed.read_text(encoding="utf-8")
    wanted = [str(entry) for entry in (json.loads(text) if listed.suffix == ".json" else text.split())]
    by_stem = {picture.path.stem: picture for picture in found}
    names = [Path(entry).stem.zfill(12) for entry in wanted]
    if missing := [name for name in names if name not in by_stem]:
        raise ValueError(f"{listed}: {len(missing)} of {len(names)} images are not there, {missing[0]}.jpg first")
    return _with_boxes([by_stem[name] for name in names], root)


def _with_boxes(found: list[Picture], root: Path) -> list[Picture]:
    """``found`` with the boxes that there are for them at ``root``."""
    instances = (root / "annotations" / "instances_val2017.json", root / "instances_val2017.json")
    boxes: dict[str, list[Box]] = {}
    if path := next((path for path in instances if path.is_file()), None):
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        boxes = {name: [] for name in files.values()}
        for entry in content["annotations"]:
            boxes[files[entry["image_id"]]].append(_box(names[entry["category_id"]], entry))
    elif (root / "boxes.json").is_file():
        content = json.loads((root / "boxes.json").read_text(encoding="utf-8"))
        boxes = {name: [_box(entry["category"], entry) for entry in entries] for name, entries in content.items()}
    return [replace(p, boxes=tuple(boxes[p.path.name])) if p.path.name in boxes else p for p in found]


def _box(name: str, entry: dict[str, Any]) -> Box:
    left, top, width, height = entry["bbox"]
    return Box(name, (left, top, left + width, top + height), bool(entry.get("iscrowd")))


def rgbd(root: Path) -> list[Picture]:
    """RGB-D folders: color (or rgb) beside depth, in millimetres."""
    for name in ("color", "rgb"):
        if (root / name).is_dir():
            found = _below(root, list((root / name).glob("*")), f"no images in {name}")
            depth = {path.stem: path for path in (root / "depth").glob("*.png")}
            return [replace(picture, depth_file=depth.get(picture.path.stem)) for picture in found]
    raise ValueError(f"{root}: a folder color or rgb (beside depth) is expected")


def hypersim(root: Path) -> list[Picture]:
    """Hypersim: images/scene_cam_*_final_preview/frame.*.tonemap.jpg of every scene.

    Depth: scene_cam_*_geometry_hdf5/frame.*.depth_meters.hdf5 beside that folder.
    """
    found = _below(
        root,
        list(root.glob("**/scene_cam_*_final_preview/frame.*.tonemap.*")),
        "ai_*/images/scene_cam_*_final_preview/frame.*.tonemap.jpg is expected",
    )
    return [replace(picture, depth_file=_hypersim_depth(picture.path)) for picture in found]


def _hypersim_depth(image: Path) -> Path | None:
    folder = image.parent.parent / image.parent.name.replace("_final_preview", "_geometry_hdf5")
    path = folder / f"{image.name.split('.tonemap')[0]}.depth_meters.hdf5"
    return path if path.is_file() else None


def spread(found: Sequence[Picture], count: int | None) -> list[Picture]:
    """``count`` of the images, from all over the dataset; all of them for None. ValueError below 1."""
    if count is None:
        return list(found)
    if count < 1:
        raise ValueError(f"--count {count}: at least 1")
    return list(found[:: max(1, len(found) // count)][:count])


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
