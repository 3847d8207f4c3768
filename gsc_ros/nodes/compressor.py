"""The compressor node: camera topics in, GscFrame out."""

from __future__ import annotations

import array
import time
from typing import Any

from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from gsc_ros.encoder import MIN_BUDGET, Encoder, EncodeSettings
from gsc_ros.frame_messages import message_fields
from gsc_ros.image_messages import read_image
from gsc_ros.msg import GscFrame, GscStats
from gsc_ros.nodes.parameters import COMPRESSOR
from gsc_ros.nodes.worker_node import WorkerNode, spin


class Compressor(WorkerNode):
    """Serves any number of cameras with one set of models."""

    def __init__(self) -> None:
        super().__init__("compressor", COMPRESSOR)
        shared = Encoder.load(self.value("profile"), device=self.value("device"))
        self._settings()  # a start-up parameter out of the profile's range stops here
        self._encoders = {camera: shared.for_another_camera() for camera in self.cameras}
        self._next_due = dict.fromkeys(self.cameras, 0.0)
        newest = QoSProfile(depth=1, reliability=qos_profile_sensor_data.reliability)
        compressed = self.value("transport") == "compressed"
        for camera in self.cameras:
            topic = f"{camera}/image_raw/compressed" if compressed else f"{camera}/image_raw"
            self.subscribe(CompressedImage if compressed else Image, topic, newest, camera)
        self._frames = {
            camera: self.advertise(GscFrame, f"{camera}/image_raw/gsc", QoSProfile(depth=10)) for camera in self.cameras
        }
        stats = self.cameras if self.value("publish_stats") else []
        self._stats = {
            camera: self.advertise(GscStats, f"{camera}/image_raw/gsc/stats", QoSProfile(depth=10)) for camera in stats
        }
        self.get_logger().info(
            f"ready: profile {shared.profile.name} {shared.profile.fingerprint}, cameras {', '.join(self.cameras)}"
        )

    def work(self, camera: str, message: Any) -> None:
        rate = self.value("max_rate_hz")
        now = time.monotonic()
        if rate > 0:
            if now < self._next_due[camera]:
                return
            self._next_due[camera] = max(now, self._next_due[camera] + 1 / rate)
        image = read_image(message)
        converted = time.monotonic()
        encoded = self._encoders[camera].encode(image, self._settings())
        self._frames[camera].publish(GscFrame(header=message.header, **message_fields(encoded.frame, array.array)))
        if camera in self._stats:
            counters, frame = self.counters[camera], encoded.frame
            self._stats[camera].publish(
                GscStats(
                    header=message.header, camera=camera, sequence=frame.sequence,
                    packet_bytes=len(encoded.packet), head_bytes=encoded.head_bytes, text_bytes=len(frame.text), channel_bytes=len(frame.channels),
                    bpp=encoded.bpp, channels=len(frame.channel_ids), level=frame.level, scale=frame.scale,
                    convert_ms=1e3 * (converted - now), caption_ms=encoded.caption_ms, encode_ms=encoded.encode_ms,
                    age_ms=1e3 * self.age_s(message.header.stamp), frames=counters.frames + 1,
                    dropped_newer=counters.dropped_newer, dropped_stale=counters.dropped_stale, refused=counters.refused,
                )
            )  # fmt: skip

    def check_change(self, name: str, value: Any) -> str | None:
        if name == "max_bytes_per_frame" and 0 < value < MIN_BUDGET:
            return f"max_bytes_per_frame {value}: 0 (no limit) or at least {MIN_BUDGET}"
        return None

    def _settings(self) -> EncodeSettings:
        level, selection = self.value("level"), self.value("selection")
        return EncodeSettings(
            max_bytes=self.value("max_bytes_per_frame") or None,
            channels=self.value("channels") or None,
            level=None if level < 0 else level,
            selection=None if selection == "profile" else selection,
            caption_mode=self.value("caption_mode"),
            caption=self.value("caption"),
            caption_refresh=self.value("caption_refresh"),
        )


def main() -> None:
    """Entry point of the node."""
    spin(Compressor)


if __name__ == "__main__":
    main()
