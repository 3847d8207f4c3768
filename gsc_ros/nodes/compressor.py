"""The compressor node: camera topics in, GscFrame out."""

from __future__ import annotations

import array
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from gsc_ros.captioners import load_captioner
from gsc_ros.captioners.background import BackgroundCaptioner
from gsc_ros.encoder import MIN_BUDGET, Encoder, EncodeSettings
from gsc_ros.entropy.text import MAX_CHARACTERS
from gsc_ros.frame_messages import message_fields
from gsc_ros.image_messages import DEPTH_NAMES, DepthImageError, ImageReader
from gsc_ros.link.request import Request
from gsc_ros.msg import GscAck, GscFrame, GscRequest, GscStats
from gsc_ros.nodes.as_offered import AsOffered
from gsc_ros.nodes.cadence import Cadence
from gsc_ros.nodes.parameters import COMPRESSOR
from gsc_ros.nodes.request_messages import request_of
from gsc_ros.nodes.served_node import spin
from gsc_ros.nodes.stamps import nanoseconds
from gsc_ros.nodes.worker_node import WorkerNode
from gsc_ros.printable import printable
from gsc_ros.rate import RateControl, RateSettings

KEPT = ("max_bytes", "channels", "caption")  # of a request: what holds for the frames after it


class Compressor(WorkerNode):
    """Serves any number of cameras with one set of models."""

    def __init__(self) -> None:
        super().__init__("compressor", COMPRESSOR)
        shared = Encoder.load(self.value("profile"), device=self.value("device"))
        self._latents = shared.latents
        self._wishes = {camera: Request() for camera in self.cameras}
        self._captioning = self.value("caption_mode") == "model"
        self.check(self.values)  # a start-up parameter out of the profile's range stops here
        # Numbers start anywhere: the base may still hold frames from before a restart of this node.
        self._encoders = {
            camera: shared.for_another_camera(first_sequence=random.randrange(1 << 16)) for camera in self.cameras
        }
        if self._captioning:
            captioner = load_captioner(shared.profile, device=self.value("device"))
            for camera, encoder in self._encoders.items():
                encoder.captioner = BackgroundCaptioner(captioner, report=partial(self._told, camera))
        self._sharper: set[str] = set()
        self._rate = RateControl(self._rate_settings(self.values))
        self._cadences = {camera: Cadence() for camera in self.cameras}
        self._next_due = dict.fromkeys(self.cameras, 0.0)
        compressed = self.value("transport") == "compressed"
        self._readers = {}
        for camera in self.cameras:
            topic = f"{camera}/image_raw/compressed" if compressed else f"{camera}/image_raw"
            self._readers[camera] = ImageReader(topic, partial(self._told, camera))
            AsOffered(self, CompressedImage if compressed else Image, topic, partial(self.arrived, camera))
        self._frames = {
            camera: self.advertise(GscFrame, f"{camera}/image_raw/gsc", QoSProfile(depth=10)) for camera in self.cameras
        }
        for camera in self.cameras:
            if self.value("memory") != "off":
                self.listen(GscAck, f"{camera}/gsc/ack", QoSProfile(depth=10), partial(self._acknowledged, camera))
            if self.value("accept_requests"):
                self.listen(GscRequest, f"{camera}/gsc/request", QoSProfile(depth=10), partial(self._asked, camera))
        stats = self.cameras if self.value("publish_stats") else []
        self._stats = {
            camera: self.advertise(GscStats, f"{camera}/image_raw/gsc/stats", QoSProfile(depth=10)) for camera in stats
        }
        self.get_logger().info(
            f"ready: profile {shared.profile.name} {shared.profile.fingerprint}, cameras {', '.join(self.cameras)}"
        )

    def work(self, items: Sequence[tuple[str, Any]]) -> None:
        for camera, message in items:
            began = time.perf_counter()
            if self.attempt([camera], partial(self._compress, camera, message)):
                self.done(camera, began)

    def missing_before(self, camera: str, message: Any) -> int:
        return self._cadences[camera].missing_before(nanoseconds(message.header.stamp))

    def _compress(self, camera: str, message: Any) -> bool:
        """Code and publish a frame; whether its turn had come."""
        rate = self.value("max_rate_hz")
        now = time.monotonic()
        if rate > 0:
            due = self._next_due[camera]
            if now < due <= now + 1 / rate:  # later is that of a lower rate, which holds no more
                return False
            self._next_due[camera] = max(now, min(due, now) + 1 / rate)
        try:
            image = self._readers[camera].read(message)
        except DepthImageError as error:
            raise ValueError(f"{error}; {self._picture_topics()}") from error
        converted = time.monotonic()
        settings = self._settings(self.values, self._wishes[camera])
        if camera in self._sharper:
            self._sharper.discard(camera)
            settings = replace(settings, max_bytes=self.value("sharpen_bytes"))
        else:
            settings = replace(settings, max_bytes=self._allowed(settings.max_bytes))
        encoded = self._encoders[camera].encode(image, settings)
        coded = time.monotonic()
        self._rate.spend(len(encoded.packet), coded, coding_s=coded - now)
        self._frames[camera].publish(GscFrame(header=message.header, **message_fields(encoded.frame, array.array)))
        if camera in self._stats:
            counters, frame = self.counters[camera], encoded.frame
            self._stats[camera].publish(
                GscStats(
                    header=message.header, camera=camera, sequence=frame.sequence,
                    packet_bytes=len(encoded.packet), head_bytes=encoded.head_bytes, text_bytes=len(frame.text), channel_bytes=len(frame.channels),
                    bpp=encoded.bpp, channels=len(frame.channel_ids), level=frame.level, scale=frame.scale,
                    convert_ms=1e3 * (converted - now), caption_ms=encoded.caption_ms, encode_ms=encoded.encode_ms,
                    age_ms=1e3 * self.age_s(camera, message.header.stamp), frames=counters.frames + 1,
                    dropped_newer=counters.dropped_newer, dropped_stale=counters.dropped_stale, refused=counters.refused,
                )
            )  # fmt: skip
        return True

    def _picture_topics(self) -> str:
        """The image topics of this graph that are not depth by their names, in words."""
        kind = "sensor_msgs/msg/CompressedImage" if self.value("transport") == "compressed" else "sensor_msgs/msg/Image"
        generated = {f"{camera}/gsc/{what}" for camera in self.cameras for what in ("image_raw", "confidence")}
        found = [
            topic
            for topic, kinds in self.get_topic_names_and_types()
            if kind in kinds and topic not in generated and not any(name in topic.lower() for name in DEPTH_NAMES)
        ]
        return f"topics with pictures may be {', '.join(sorted(found))}" if found else "no other image topic is here"

    def delay(self) -> float:
        return self._rate.delay(time.monotonic())

    def changed(self) -> None:
        self._rate.change(self._rate_settings(self.values), time.monotonic())

    def _allowed(self, most: int | None) -> int | None:
        """Bytes for the next frame: what a camera may have, and what the bit rate leaves."""
        left = self._rate.allowance
        return left if most is None else most if left is None else min(most, left)

    def _acknowledged(self, camera: str, message: Any) -> None:
        references = self._encoders[camera].references
        if message.key_wanted:
            references.ask_for_key(message.sequence)
        else:
            references.acknowledge(message.sequence)

    def _asked(self, camera: str, message: Any) -> None:
        """Do what the operator asks; it holds until the next request or restart. Raises ValueError, and then did nothing."""
        request = request_of(message)
        if request.max_bytes and request.max_bytes < MIN_BUDGET:
            raise ValueError(f"max_bytes {request.max_bytes}: 0 (no limit) or at least {MIN_BUDGET}")
        kept = {name: value for name, value in vars(request).items() if name in KEPT and value is not None}
        wishes = replace(self._wishes[camera], **kept)
        self._settings(self.values, wishes)  # refused here rather than frame by frame
        if request.bits_per_second is not None:
            asked = Parameter("max_bits_per_second", value=float(request.bits_per_second))
            (result,) = self.set_parameters([asked])
            if not result.successful:
                raise ValueError(result.reason)
        self._wishes[camera] = wishes
        self._rate.change(self._rate_settings(self.values), time.monotonic())
        if request.sharpen:
            self._sharper.add(camera)
        if request.key_frame:
            self._encoders[camera].references.ask_for_key()
        self.get_logger().info(printable(f"{camera}: the operator asks: {request}"))

    def _told(self, camera: str, news: str) -> None:
        self.tell(f"{camera}: {news}")  # each is said once

    def trouble(self, camera: str) -> str:
        others = self.count_publishers(self._frames[camera].topic_name) - 1
        if others > 0:
            return f"{others} other compressors publish frames of {camera}: the base cannot tell them apart, stop all but one (one that was killed is counted for up to 20 s)"
        return ""

    def _rate_settings(self, values: Mapping[str, Any]) -> RateSettings:
        limits = [self._settings(values, wishes).max_bytes for wishes in self._wishes.values()]
        return RateSettings(
            bits_per_second=values["max_bits_per_second"],
            max_bytes=0 if None in limits else max(limit for limit in limits if limit is not None),
            least_rate_hz=values["least_rate_hz"] * len(self.cameras),
            overhead=values["link_overhead"],
            datagram=values["link_mtu"],
        )

    def check(self, values: Mapping[str, Any]) -> None:
        if 0 < values["max_bytes_per_frame"] < MIN_BUDGET:
            raise ValueError(
                f"max_bytes_per_frame {values['max_bytes_per_frame']}: 0 (no limit) or at least {MIN_BUDGET}"
            )
        if values["caption_mode"] == "model" and not self._captioning:
            raise ValueError("caption_mode model: the captioner is loaded when the node starts, start it with that")
        if len(values["caption"]) > MAX_CHARACTERS:
            raise ValueError(f"caption of {len(values['caption'])} characters: at most {MAX_CHARACTERS} are allowed")
        for wishes in (Request(), *self._wishes.values()):
            self._settings(values, wishes)
        self._rate_settings(values)

    def _settings(self, values: Mapping[str, Any], wishes: Request) -> EncodeSettings:
        """Parameters of ``values``, and what the operator asked for a camera; raises ValueError."""
        level, selection = values["level"], values["selection"]
        max_bytes = values["max_bytes_per_frame"] if wishes.max_bytes is None else wishes.max_bytes
        channels = values["channels"] if wishes.channels is None else wishes.channels
        settings = EncodeSettings(
            max_bytes=max_bytes or None,
            channels=channels or None,
            level=None if level < 0 else level,
            selection=None if selection == "profile" else selection,
            caption_mode="fixed" if wishes.caption else values["caption_mode"],
            caption=wishes.caption or values["caption"],
            caption_refresh=values["caption_refresh"],
            memory=values["memory"],
            key_interval=values["key_interval"],
            patience=values["patience"],
            search=values["search"],
        )
        settings.check(self._latents)
        return settings


def main() -> None:
    """Entry point of the node."""
    spin(Compressor)


if __name__ == "__main__":
    main()
