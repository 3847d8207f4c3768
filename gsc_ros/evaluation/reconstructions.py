"""Codecs that ship a program of their own: what it made of the images, read from a folder.

    DIR/POINT/NAME.png          the picture that the program decoded
    DIR/POINT/NAME.bin          what it sent, of any other suffix: its size counts
    DIR/POINT/bytes.json        or: sizes by name, {"kodim01": 131, ...}

POINT is an operating point of the program, whatever it is called there. For each image and budget the point is taken that
spends the most within it; where none does, the one that spends the least, and the table says that it is over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gsc_ros.evaluation.coded import Coded, Image, Setting
from gsc_ros.sources import SUFFIXES, read_file


@dataclass(frozen=True)
class Reconstructions:
    """The folder ``root`` of the codec ``name``, given as ``NAME@DIR``."""

    name: str
    root: Path

    @classmethod
    def of(cls, text: str) -> Reconstructions:
        """What ``text`` means; raises ValueError with one line."""
        name, _, folder = text.partition("@")
        found = cls(name, Path(folder))
        if not name or not found.points():
            raise ValueError(
                f"codec {text!r}: NAME@DIR names a folder with a folder for each operating point, with NAME.png and NAME.bin in it"
            )
        return found

    def points(self) -> list[Path]:
        """The folders of the operating points."""
        return sorted(path for path in self.root.glob("*") if path.is_dir()) if self.root.is_dir() else []

    def code(self, image: Image, setting: Setting, name: str) -> Coded:
        """The reconstruction of the image called ``name``."""
        sizes = {point: self._size(point, name) for point in self.points()}
        fitting = {point: size for point, size in sizes.items() if size <= setting.max_bytes}
        point = max(fitting, key=lambda p: fitting[p]) if fitting else min(sizes, key=lambda p: sizes[p])
        picture = read_file(self._picture(point, name))
        if picture.shape != image.shape:
            raise ValueError(
                f"{self._picture(point, name)} is {picture.shape[1]}x{picture.shape[0]}, the original {image.shape[1]}x{image.shape[0]}"
            )
        return Coded(sizes[point], sizes[point], picture)

    def _picture(self, point: Path, name: str) -> Path:
        for path in sorted(point.glob(f"{name}.*")):
            if path.suffix.lower() in SUFFIXES:
                return path
        raise ValueError(f"{point}: no picture {name}.png")

    def _size(self, point: Path, name: str) -> int:
        listed = point / "bytes.json"
        if listed.is_file():
            sizes = json.loads(listed.read_text(encoding="utf-8"))
            if not isinstance(sizes.get(name), int) or sizes[name] < 1:
                raise ValueError(f"{listed}: no size of {name} in bytes")
            return int(sizes[name])
        for path in sorted(point.glob(f"{name}.*")):
            if path.suffix.lower() not in SUFFIXES:
                return path.stat().st_size
        raise ValueError(f"{point}: neither {name}.bin (or another suffix) nor bytes.json says what {name} cost")
