"""Listens to one camera on both sides of the link and keeps what was sent and shown."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from gsc_ros.msg import GscFrame, GscStats

Stamp = tuple[int, int]


@dataclass
class Seen:
    """All that was published about one source frame, by the stamp that it carried throughout."""

    original: Any = None
    frame: Any = None
    sent_stats: Any = None
    picture: Any = None
    confidence: Any = None
    shown_stats: Any = None
    shown_at: float = 0.0  # seconds of the system clock, as stamps are

    @property
    def complete(self) -> bool:
        return None not in (self.original, self.frame, self.sent_stats, self.picture, self.confidence, self.shown_stats)


@dataclass
class Recording:
    """Frames by stamp, and every message as it came over the wire, for the bag."""

    frames: dict[Stamp, Seen] = field(default_factory=dict)
    messages: list[tuple[str, str, int, bytes]] = field(default_factory=list)  # topic, type, ns, CDR


class Recorder(Node):
    """Subscribes the six topics of ``camera`` and sorts what arrives by stamp."""

    def __init__(self, camera: str) -> None:
        super().__init__("recorder")
        self.recording = Recording()
        self._topics: dict[str, tuple[Any, str]] = {
            f"{camera}/image_raw": (Image, "original"),
            f"{camera}/image_raw/gsc": (GscFrame, "frame"),
            f"{camera}/image_raw/gsc/stats": (GscStats, "sent_stats"),
            f"{camera}/gsc/image_raw": (Image, "picture"),
            f"{camera}/gsc/confidence": (Image, "confidence"),
            f"{camera}/gsc/stats": (GscStats, "shown_stats"),
        }
        for topic, (kind, slot) in self._topics.items():
            self.create_subscription(
                kind,
                topic,
                lambda data, topic=topic, kind=kind, slot=slot: self._keep(data, topic, kind, slot),
                QoSProfile(depth=50),
                raw=True,
            )
        caption = f"{camera}/gsc/caption"
        self.create_subscription(
            String,
            caption,
            lambda data: self._note(caption, "std_msgs/msg/String", data),
            QoSProfile(depth=50),
            raw=True,
        )

    def missing(self) -> list[str]:
        """Topics of the compressor and the reconstructor that nobody publishes yet."""
        return [
            topic
            for topic, (_, slot) in self._topics.items()
            if slot != "original" and self.count_publishers(topic) == 0
        ]

    def shown(self) -> int:
        """How many frames are complete."""
        return sum(seen.complete for seen in self.recording.frames.values())

    def _note(self, topic: str, kind: str, data: bytes) -> None:
        self.recording.messages.append((topic, kind, time.time_ns(), bytes(data)))

    def _keep(self, data: bytes, topic: str, kind: Any, slot: str) -> None:
        package, name = kind.__module__.split(".")[0], kind.__name__
        self._note(topic, f"{package}/msg/{name}", data)
        try:
            message = deserialize_message(data, kind)
        except Exception as error:  # rclpy raises what its C code had to say
            self.get_logger().warning(f"{topic}: {len(data)} bytes are no {name}: {error}")
            return
        stamp = message.header.stamp
        seen = self.recording.frames.setdefault((stamp.sec, stamp.nanosec), Seen())
        setattr(seen, slot, message)
        if slot == "picture":
            seen.shown_at = time.time()
