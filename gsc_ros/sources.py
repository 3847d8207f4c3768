"""Where frames come from: folders, videos, bags, cameras, and the photographs of scikit-image.

One policy for all of them: what cannot be read is left out, told and counted (:class:`gsc_ros.left_out.LeftOut`), and a
source that gives no frame at all is an error that says what is there.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.compressed_picture import decode
from gsc_ros.image_messages import ImageMessageError, ImageReader
from gsc_ros.left_out import LeftOut, silently
from gsc_ros.natural_order import natural
from gsc_ros.picture_header import PictureError
from gsc_ros.video_files import VideoError, video_frames

Image = NDArray[np.uint8]
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}
PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "chelsea")
FRAMES_PER_PHOTOGRAPH = 6
MOST_BYTES = 1 << 30  # of an image file


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

    def frames(self, left_out: LeftOut | None = None) -> Iterator[Image]:
        """The pictures in order, each (H,W,3) uint8 RGB of 16 to 4096 pixels a side; raises SourceError.

        What is left out is told to ``left_out``; on stderr where none is given.
        """
        left_out = left_out or LeftOut()
        if self.images:
            frames = image_folder(self.images, left_out)
        elif self.video:
            frames = video(self.video, left_out)
        elif self.bag:
            frames = bag_images(self.bag, self.topic, left_out)
        elif self.camera is not None:
            frames = camera(self.camera, left_out)
        else:
            return moving_photographs()
        return _at_least_one(frames, self.name, left_out)


def _at_least_one(frames: Iterator[Image], name: str, left_out: LeftOut) -> Iterator[Image]:
    count = 0
    for frame in frames:
        count += 1
        yield frame
    if not count:
        raise SourceError(f"{name}: none of its frames can be read{left_out.summary()}")


def read_file(path: Path) -> Image:
    """One image file as it is, (H,W,3) uint8 RGB, upright; raises SourceError."""
    return ImageReader("", silently).as_rgb(_read_pixels(path))


def read_frame(path: Path, reader: ImageReader) -> Image:
    """One image file as a frame of ``reader``'s stream; raises SourceError."""
    try:
        return reader.finish(_read_pixels(path))
    except ImageMessageError as error:
        raise SourceError(f"{path}: {error}") from error


def _read_pixels(path: Path) -> NDArray[Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(f"{path} is larger than {MOST_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    try:
        return decode(data, upright=True, thorough=True)
    except PictureError as error:
        raise SourceError(f"{path} is not an image that can be read: {error}") from error


def image_folder(folder: Path, left_out: LeftOut | None = None) -> Iterator[Image]:
    """The images of ``folder`` in the natural order of their names: frame2 before frame10."""
    left_out = left_out or LeftOut()
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder")
    there = [path for path in folder.iterdir() if path.is_file()]
    files = sorted((path for path in there if path.suffix.lower() in SUFFIXES), key=natural)
    hidden = [path for path in files if path.name.startswith(".")]
    files = [path for path in files if path not in set(hidden)]
    if not files:
        kinds = Counter(path.suffix.lower() or "without a suffix" for path in there)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6)) or "no files"
        raise SourceError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}), but {found}")
    if hidden:
        left_out.tell(
            f"{folder}: {_count(len(hidden), 'hidden file is', 'hidden files are')} skipped, {hidden[0].name} first"
        )
    reader = ImageReader("", lambda sentence: left_out.tell(f"{folder}: {sentence}"))

    def frames() -> Iterator[Image]:
        for path in files:
            try:
                yield read_frame(path, reader)
            except SourceError as error:
                left_out.frame(str(folder), f"/{path.name}", str(error).removeprefix(str(path)).lstrip(": "))

    return frames()


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def video(path: Path, left_out: LeftOut | None = None) -> Iterator[Image]:
    """The frames of a video file, upright."""
    if not path.is_file():
        raise SourceError(f"{path} cannot be opened as a video: there is no such file")
    try:
        yield from video_frames(str(path), left_out or LeftOut())
    except VideoError as error:
        raise SourceError(str(error)) from error


def camera(number: int, left_out: LeftOut | None = None) -> Iterator[Image]:
    """The frames of camera ``number`` of this machine."""
    left_out = left_out or LeftOut()
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise SourceError(f"camera {number} cannot be opened")
        reader = ImageReader("", lambda sentence: left_out.tell(f"camera {number}: {sentence}"))
        for index in itertools.count():
            there, image = capture.read()
            if not there:
                return
            try:
                yield reader.finish(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))
            except ImageMessageError as error:
                left_out.frame(f"camera {number}", f": frame {index}", error)
    finally:
        capture.release()


def bag_images(path: Path, topic: str | None, left_out: LeftOut | None = None) -> Iterator[Image]:
    """The frames of ``topic``, or of the first camera in the bag ``path``."""
    from gsc_ros.bag_types import deserialize
    from gsc_ros.bags.cameras import cameras
    from gsc_ros.bags.recording import Recording
    from gsc_ros.bags.topic import BagError

    left_out = left_out or LeftOut()
    try:
        recording = Recording(path, left_out.tell)
        try:
            found = cameras(recording, topic)
        except BaseException:
            recording.close()
            raise
    except BagError as error:
        raise SourceError(str(error)) from error
    chosen = found.taken[0]
    others = [one.name for one in (*found.taken[1:], *found.twins, *found.generated)]
    if others:
        left_out.tell(f"{path}: {chosen.name} is taken; --topic takes {' or '.join(others)}")
    reader = ImageReader(chosen.name, lambda sentence: left_out.tell(f"{chosen.name}: {sentence}"), from_disk=True)

    def frames() -> Iterator[Image]:
        try:
            for _, nanoseconds, data in recording.messages([chosen]):
                try:
                    yield reader.read(deserialize(data, chosen.type))
                except (BagError, ImageMessageError) as error:
                    left_out.frame(chosen.name, f" at {nanoseconds / 1e9:.3f} s", error)
        finally:
            recording.close()

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
