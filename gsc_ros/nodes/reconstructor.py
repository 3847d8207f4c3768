"""The reconstructor node: GscFrame in, generated images, confidence and captions out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from gsc_ros.bitstream import pack
from gsc_ros.calibration import load_calibration, scaled_camera_info
from gsc_ros.decoder import (
    Decoder,
    DecodeSettings,
    Message,
    MissingReferenceError,
    Reconstruction,
    reconstruct_together,
)
from gsc_ros.frame_messages import frame_of
from gsc_ros.image_messages import fill_image
from gsc_ros.marking import mark_generated
from gsc_ros.msg import GscAck, GscFrame, GscStats
from gsc_ros.nodes.parameters import RECONSTRUCTOR
from gsc_ros.nodes.served_node import spin
from gsc_ros.nodes.worker_node import WorkerNode

CAPTION_LOST = "(its caption was lost)"  # an earlier frame said it, and did not arrive; no caption looks like that
NEW_START = 1000  # a gap of so many numbers is a compressor that began anew, or a frame out of order


@dataclass(frozen=True)
class _Received:
    """A frame that was read: the header of its message, its size as a packet, and what it says."""

    header: Any
    packet_bytes: int
    message: Message


class Reconstructor(WorkerNode):
    """Serves any number of cameras with one set of models."""

    def __init__(self) -> None:
        super().__init__("reconstructor", RECONSTRUCTOR)
        shared = Decoder.load(self.value("profile"), device=self.value("device"))
        self._decoders = {camera: shared.for_another_camera() for camera in self.cameras}
        files = [name for name in self.value("camera_info_files") if name]
        if files and len(files) != len(self.cameras):
            raise ValueError(
                f"camera_info_files names {len(files)} files for {len(self.cameras)} cameras: one for each is needed"
            )
        self._calibrations = {
            camera: load_calibration(Path(name).expanduser()) for camera, name in zip(self.cameras, files, strict=False)
        }
        reliable = QoSProfile(depth=5)  # reliable publishers serve best-effort subscribers as well
        self._images = {camera: self.advertise(Image, f"{camera}/gsc/image_raw", reliable) for camera in self.cameras}
        self._infos = {
            camera: self.advertise(CameraInfo, f"{camera}/gsc/camera_info", reliable) for camera in self._calibrations
        }
        self._confidences = self._optional("publish_confidence", Image, "confidence", reliable)
        self._captions = self._optional("publish_caption", String, "caption", reliable)
        self._stats = self._optional("publish_stats", GscStats, "stats", reliable)
        acks = self.cameras if self.value("publish_acks") else []
        self._acks = {camera: self.advertise(GscAck, f"{camera}/gsc/ack", QoSProfile(depth=10)) for camera in acks}
        self._sequences: dict[str, int] = {}
        for camera in self.cameras:
            self.listen(GscFrame, f"{camera}/image_raw/gsc", QoSProfile(depth=5), partial(self.arrived, camera))
        self.get_logger().info(
            f"ready: profile {shared.profile.name} {shared.profile.fingerprint}, cameras {', '.join(self.cameras)}"
        )

    def trouble(self, camera: str) -> str:
        others = self.count_publishers(f"{camera}/image_raw/gsc") - 1
        if others > 0:
            return (
                f"{others + 1} publish frames of {camera}: they cannot be told apart, stop all but one "
                "(one that was killed is counted for up to 20 s)"
            )
        return ""

    def _optional(self, parameter: str, kind: Any, name: str, qos: QoSProfile) -> dict[str, Any]:
        wanted = self.cameras if self.value(parameter) else []
        return {camera: self.advertise(kind, f"{camera}/gsc/{name}", qos) for camera in wanted}

    @property
    def at_once(self) -> int:
        return self.value("batch")

    def work(self, items: Sequence[tuple[str, Any]]) -> None:
        began, clock = time.monotonic(), time.perf_counter()
        received: dict[str, _Received] = {}
        for camera, message in items:
            if (found := self.attempt([camera], partial(self._read, camera, message))) is not None:
                received[camera] = found
        if not received:
            return
        size = (self.value("width"), self.value("height"))
        settings = DecodeSettings(
            steps=self.value("steps") or None,
            realism=None if (realism := self.value("realism")) < 0 else realism,
            seed=self.value("seed"),
            size=size if all(size) else None,
            max_pixels=self.value("max_pixels"),
        )
        for camera, result in self._painted(received, settings).items():
            if self.attempt([camera], partial(self._publish, camera, received[camera], result, began)):
                self.done(camera, clock)

    def _painted(self, received: dict[str, _Received], settings: DecodeSettings) -> dict[str, Reconstruction]:
        """The pictures of all cameras at once; where that fails, one by one, so that one frame costs no other its picture."""
        frames = {camera: (self._decoders[camera], frame.message) for camera, frame in received.items()}
        if len(frames) > 1:
            with contextlib.suppress(Exception):  # told below, of the camera whose frame it is
                return dict(zip(frames, reconstruct_together(list(frames.values()), settings), strict=True))
        found = {}
        for camera, frame in frames.items():
            if result := self.attempt([camera], partial(reconstruct_together, [frame], settings)):
                found[camera] = result[0]
        return found

    def missing_before(self, camera: str, message: Any) -> int:
        last, self._sequences[camera] = self._sequences.get(camera), message.sequence
        gap = 0 if last is None else (message.sequence - last - 1) & 0xFFFF
        return gap if gap < NEW_START else 0

    def _read(self, camera: str, message: Any) -> _Received | None:
        """Entropy-decode a frame and tell the robot; None where it builds on one that never came."""
        frame = frame_of(message)
        packet = pack(frame)  # checks every field, as a packet's are
        try:
            read = self._decoders[camera].read(frame)
        except MissingReferenceError:
            # On a link that loses packets this is nothing unusual: say so to the robot, and wait.
            self.counters[camera].missing_reference += 1
            self.in_vain[camera].begin(
                "frames build on one that never came, a key frame is asked for", time.monotonic()
            )
            self._acknowledge(camera, message.header, frame.sequence, key_wanted=True)
            return None
        self._acknowledge(camera, message.header, frame.sequence, key_wanted=False)
        return _Received(message.header, len(packet), read)

    def _publish(self, camera: str, received: _Received, result: Reconstruction, began: float) -> bool:
        """Everything that is shown and told of a frame; True, for it is out."""
        header, size, read = received.header, received.packet_bytes, received.message
        caption = CAPTION_LOST if read.caption_lost else read.caption
        if result.notice:
            self.warn(camera, result.notice)
        frame = read.frame
        converting = time.monotonic()
        shown = mark_generated(result.image, caption) if self.value("mark") else result.image
        self._images[camera].publish(fill_image(Image(), shown, header))
        if camera in self._infos:
            info = scaled_camera_info(self._calibrations[camera], result.image.shape[1], result.image.shape[0])
            self._infos[camera].publish(CameraInfo(header=header, **vars(info)))
        if camera in self._confidences:
            self._confidences[camera].publish(fill_image(Image(), result.confidence, header))
        if camera in self._captions:
            self._captions[camera].publish(String(data=caption))
        if camera in self._stats:
            counters = self.counters[camera]
            self._stats[camera].publish(
                GscStats(
                    header=header, camera=camera, sequence=frame.sequence,
                    packet_bytes=size, head_bytes=size - len(frame.text) - len(frame.channels),
                    text_bytes=len(frame.text), channel_bytes=len(frame.channels), bpp=8 * size / (frame.width * frame.height),
                    channels=len(frame.channel_ids), level=frame.level, scale=frame.scale,
                    convert_ms=1e3 * (time.monotonic() - converting), decode_ms=1e3 * (converting - began) - result.confidence_ms,
                    confidence_ms=result.confidence_ms, age_ms=1e3 * self.age_s(camera, header.stamp), frames=counters.frames + 1,
                    dropped_newer=counters.dropped_newer, dropped_stale=counters.dropped_stale, refused=counters.refused,
                    missing_reference=counters.missing_reference, confidence=float(result.confidence.mean()) / 255,
                )
            )  # fmt: skip
        return True

    def _acknowledge(self, camera: str, header: Any, sequence: int, *, key_wanted: bool) -> None:
        if camera in self._acks:
            self._acks[camera].publish(GscAck(header=header, sequence=sequence, key_wanted=key_wanted))


def main() -> None:
    """Entry point of the node."""
    spin(Reconstructor)


if __name__ == "__main__":
    main()
