"""The viewer node: what the base station publishes onto the operator's page, and the operator's requests back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import String

from gsc_ros.image_messages import read_image
from gsc_ros.link.request import Request
from gsc_ros.msg import GscLink, GscRequest, GscStats
from gsc_ros.nodes.clock_offset import ClockOffset
from gsc_ros.nodes.guard import reason_of
from gsc_ros.nodes.guarded_node import GuardedNode, spin_guarded
from gsc_ros.nodes.request_messages import request_message
from gsc_ros.nodes.stamps import age_s
from gsc_ros.view.server import ViewError, ViewServer

JPEG_QUALITY = 90
CLOCKS_DIFFER_S = 0.5  # pictures may be from so far in the future, where the clocks agree
HEARTBEAT_S = 0.5  # the page takes the ROS side for gone after five of them


def data_url(kind: str, image: NDArray[np.uint8]) -> str:
    """``image`` (BGR or BGRA) as a data URL; ``kind`` is ``jpeg`` or ``png``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == "jpeg" else []
    return (
        f"data:image/{kind};base64," + base64.b64encode(cv2.imencode(f".{kind}", image, options)[1].tobytes()).decode()
    )


def doubt_overlay(confidence: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H,W,4) BGRA: the redder, the less the picture is to be trusted there."""
    overlay = np.zeros((*confidence.shape[:2], 4), dtype=np.uint8)
    overlay[..., 2] = 255
    overlay[..., 3] = (255 - confidence.astype(np.uint16)) * 3 // 5
    return overlay


class Viewer(GuardedNode):
    """Subscribes what the reconstructor and the base's gateway publish."""

    def __init__(self, cameras: Sequence[str], gateway: str, *, clocks_agree: bool) -> None:
        super().__init__("viewer")
        self._clocks_agree = clocks_agree
        self.server = ViewServer(list(cameras), self._ask)
        self._offsets = {camera: ClockOffset() for camera in cameras}
        self._requests = {}
        qos = QoSProfile(depth=2)
        topics: dict[str, tuple[Any, Callable[[str, Any], None]]] = {
            "image_raw": (Image, self._image),
            "confidence": (Image, self._confidence),
            "caption": (String, self._caption),
            "stats": (GscStats, self._stats),
        }
        for camera in cameras:
            for name, (kind, heard) in topics.items():
                self.listen(kind, f"{camera}/gsc/{name}", qos, partial(heard, camera))
            self._requests[camera] = self.create_publisher(GscRequest, f"{camera}/gsc/request", QoSProfile(depth=5))
        self.listen(GscLink, f"{gateway}/link", qos, self._link)
        self.every(HEARTBEAT_S, self._alive)

    def _ask(self, camera: str, request: Request) -> None:
        if camera not in self._requests:
            raise ViewError(f"camera {camera!r}: {', '.join(self._requests)} are shown")
        self._requests[camera].publish(request_message(request))

    def _image(self, camera: str, message: Any) -> None:
        age = age_s(message.header.stamp, self.get_clock().now().nanoseconds)
        if age is not None and not self._clocks_agree:
            offset = self._offsets[camera]
            offset.seen(age, time.monotonic())
            age -= offset.seconds
        # A picture without a time, or of a time to come, is of no known age: 0 would say that it is fresh.
        age = None if age is None or age < -CLOCKS_DIFFER_S else max(0.0, age)
        picture = cv2.cvtColor(read_image(message), cv2.COLOR_RGB2BGR)
        self.server.publish(
            "image", camera, {"data": data_url("jpeg", np.asarray(picture, dtype=np.uint8)), "age_s": age}
        )

    def _confidence(self, camera: str, message: Any) -> None:
        confidence = read_image(message)[..., 0]
        content = {"data": data_url("png", doubt_overlay(confidence)), "mean": float(confidence.mean()) / 255}
        self.server.publish("confidence", camera, content)

    def _caption(self, camera: str, message: Any) -> None:
        self.server.publish("caption", camera, {"text": message.data})

    def _stats(self, camera: str, message: Any) -> None:
        content = {"packet_bytes": message.packet_bytes, "frames": message.frames, "missing": message.missing_reference}
        self.server.publish("stats", camera, content)

    def _alive(self) -> None:
        self.server.publish("ros", "", {"alive": True, "text": ""})

    def _link(self, message: Any) -> None:
        for name, frames, lost in zip(message.cameras, message.frames, message.lost, strict=True):
            if name in self._requests:
                content = {
                    "received": message.received_bits_per_second, "budget": message.bits_per_second,
                    "frames": frames, "lost": lost, "rejected": message.rejected + message.malformed,
                }  # fmt: skip
                self.server.publish("link", name, content)


async def _until_told(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    task = asyncio.ensure_future(serving)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def run(
    cameras: Sequence[str], gateway: str, host: str, port: int, *, clocks_agree: bool, ready: Callable[[int], None]
) -> None:
    """Serve until interrupted; raises ViewError where the address cannot be had."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # the server's loop ends on signals, then ROS does
    node = Viewer(cameras, gateway, clocks_agree=clocks_agree)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        reason = "it was shut down"
        try:
            with contextlib.suppress(ExternalShutdownException):
                spin_guarded(executor, node)
        except Exception as error:
            reason = reason_of(error)
        node.server.publish("ros", "", {"alive": False, "text": reason})

    thread = threading.Thread(target=spin, name="ros", daemon=True)
    thread.start()
    try:
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_until_told(node.server.serve(host, port, ready)))
    finally:
        executor.shutdown()
        thread.join(timeout=5.0)
        node.destroy_node()
        rclpy.try_shutdown()
