"""Where frames come from: folders, videos, bags, cameras, and the photographs of scikit-image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.image_messages import read_image

Image = NDArray[np.uint8]
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}
PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "chelsea")
FRAMES_PER_PHOTOGRAPH = 6


class SourceError(ValueError):
    """A source that does not exist or holds no pictures."""


@dataclass(frozen=True)
class Source:
    """What to read. At most one of the first four is set; none means the built-in photographs."""

    images: Path | None = None
    video: Path | None = None
    bag: Path | None = None
    camera: int | None = None
    topic: str | None = None

    @property
    def name(self) -> str:
        """What the source is called in a report."""
        if self.camera is not None:
            return f"camera {self.camera}"
        path = self.images or self.video or self.bag
        return path.name if path else "photographs of scikit-image"

    def frames(self) -> Iterator[Image]:
        """The pictures in order, each (H,W,3) uint8 RGB; raises SourceError."""
        if self.images:
            return image_folder(self.images)
        if self.video:
            return video(str(self.video))
        if self.bag:
            return bag_images(self.bag, self.topic)
        if self.camera is not None:
            return video(self.camera)
        return moving_photographs()


def read_file(path: Path) -> Image:
    """One image file as RGB; raises SourceError."""
    try:
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{path} is not an image that OpenCV reads")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def image_folder(folder: Path) -> Iterator[Image]:
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise SourceError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    return (read_file(path) for path in files)


def video(name: str | int) -> Iterator[Image]:
    capture = cv2.VideoCapture(name)
    if not capture.isOpened():
        raise SourceError(f"{'camera ' if isinstance(name, int) else ''}{name} cannot be opened as a video")

    def frames() -> Iterator[Image]:
        try:
            while True:
                there, image = capture.read()
                if not there:
                    return
                yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        finally:
            capture.release()

    return frames()


def open_bag(path: Path) -> Any:
    """A rosbags reader of a rosbag2 folder (sqlite3 or MCAP) or of a single file, with GscFrame known; raises SourceError."""
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
    except ImportError as error:
        raise SourceError("reading bags needs rosbags: pip install 'gsc-ros[bag]'") from error
    from gsc_ros.bag_types import typestore

    try:
        reader = AnyReader([path], default_typestore=typestore())
        reader.open()
    except (AnyReaderError, OSError) as error:
        raise SourceError(f"{path} is not a rosbag2: {error}") from error
    return reader


def image_connections(reader: Any, topic: str | None) -> list[Any]:
    """The connections of the image topics in a bag, or of ``topic`` alone; raises SourceError when there are none."""
    found = [connection for connection in reader.connections if connection.msgtype in IMAGE_TYPES]
    chosen = [connection for connection in found if topic in (None, connection.topic)]
    if not chosen:
        names = ", ".join(sorted(connection.topic for connection in found)) or "none"
        raise SourceError(f"no image topic{f' {topic}' if topic else ''} in the bag; its image topics: {names}")
    return chosen


def bag_images(path: Path, topic: str | None) -> Iterator[Image]:
    reader = open_bag(path)
    try:
        connection = image_connections(reader, topic)[0]
    except SourceError:
        reader.close()
        raise

    def frames() -> Iterator[Image]:
        try:
            for chosen, _, data in reader.messages(connections=[connection]):
                yield read_image(reader.deserialize(data, chosen.msgtype))
        finally:
            reader.close()

    return frames()


def moving_photographs(size: tuple[int, int] = (640, 480)) -> Iterator[Image]:
    """The photographs that ship inside scikit-image, panned and zoomed like a moving camera."""
    try:
        import skimage.data
    except ImportError as error:
        raise SourceError(
            "the built-in photographs need scikit-image: pip install 'gsc-ros[demo]', or name --images, --video or --bag"
        ) from error
    folder = Path(skimage.data.__file__).parent
    files = [path for name in PHOTOGRAPHS for path in folder.glob(f"{name}.*") if path.suffix in SUFFIXES]
    if not files:
        raise SourceError(f"scikit-image ships no photographs in {folder}: name --images, --video or --bag")
    for path in files:
        photograph = read_file(path)
        height, width = photograph.shape[:2]
        for index in range(FRAMES_PER_PHOTOGRAPH):
            along = index / (FRAMES_PER_PHOTOGRAPH - 1)
            zoom = 0.8 + 0.2 * np.cos(np.pi * along)
            crop = min(width, height * size[0] / size[1]) * min(zoom, 1.0)
            window = (crop, crop * size[1] / size[0])
            centre = (
                window[0] / 2 + (width - window[0]) * along,
                window[1] / 2 + (height - window[1]) * (0.5 - 0.3 * along),
            )
            scale = size[0] / window[0]
            matrix = np.array(
                [[scale, 0, size[0] / 2 - scale * centre[0]], [0, scale, size[1] / 2 - scale * centre[1]]]
            )
            yield np.asarray(
                cv2.warpAffine(photograph, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
                dtype=np.uint8,
            )
