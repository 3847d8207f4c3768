"""The gateway node: between one side's ROS graph and the link, which only packets cross."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rclpy.qos import QoSProfile

from gsc_ros.bitstream import BitstreamError, pack, unpack
from gsc_ros.frame_messages import frame_of, message_fields
from gsc_ros.link.datagram import Stamp
from gsc_ros.link.endpoint import AboutCamera, Acknowledged, Endpoint, Event, FrameArrived, Requested
from gsc_ros.link.seal import Seal, SealError
from gsc_ros.link.transport import open_transport
from gsc_ros.msg import GscAck, GscFrame, GscLink, GscRequest
from gsc_ros.nodes.parameters import GATEWAY
from gsc_ros.nodes.request_messages import request_message, request_of
from gsc_ros.nodes.served_node import ServedNode, spin
from gsc_ros.profiles import load_profile

TICK_S = 0.02
REPORT_S = 1.0


class Gateway(ServedNode):
    """Frames from the robot to the base; acknowledgements and requests the other way."""

    def __init__(self) -> None:
        super().__init__("gateway", GATEWAY)
        self._side: str = self.value("side")
        robot = self._side == "robot"
        self._channels = load_profile(self.value("profile")).channels
        weights = self.value("weights") or [1.0]
        if len(weights) not in (1, len(self.cameras)):
            raise ValueError(f"weights names {len(weights)} for {len(self.cameras)} cameras: one, or one for each")
        key, local = self.value("key_file"), self.value("local")
        if self.value("transport") == "udp" and not local:
            local = "0.0.0.0:0" if robot else "0.0.0.0:47000"
        self._transport = open_transport(
            self.value("transport"), side=self._side, local=local, remote=self.value("remote"),
            serial_device=self.value("serial_device"), baud=self.value("baud"), zenoh_key=self.value("zenoh_key"),
        )  # fmt: skip
        self._lock = threading.Lock()
        self._endpoint = Endpoint(
            dict(enumerate(weights * len(self.cameras) if len(weights) == 1 else weights)),
            mtu=self.value("mtu"),
            bits_per_second=self.value("max_bits_per_second"),
            cost=self._transport.cost,
            seal=Seal(Path(key).expanduser(), side=self._side) if key else None,
        )
        self._frame_ids: dict[int, str] = {}
        self._link = self.advertise(GscLink, "~/link", QoSProfile(depth=5))
        self._before = (time.monotonic(), 0, 0)
        self._unconfirmed = 0
        self.every(REPORT_S, self._report)
        newest = QoSProfile(depth=5)
        made: dict[str, list[Any]] = {"frame": [], "ack": [], "request": []}
        for index, camera in enumerate(self.cameras):
            topics: dict[str, tuple[Any, str, Callable[[int, Any], None]]] = {
                "frame": (GscFrame, f"{camera}/image_raw/gsc", self._frame),
                "ack": (GscAck, f"{camera}/gsc/ack", self._acknowledge),
                "request": (GscRequest, f"{camera}/gsc/request", self._request),
            }
            for name, (kind, topic, heard) in topics.items():
                if (name == "frame") == robot:
                    self.listen(kind, topic, newest, partial(heard, index))
                else:
                    made[name].append(self.advertise(kind, topic, newest))
        self._publishers_of = made
        self.get_logger().info(
            f"ready: {self._side} side, {self.value('transport')}, cameras {', '.join(self.cameras)}, "
            f"{'sealed' if key else 'NOT authenticated (set key_file)'}"
        )

    def release(self) -> None:
        """Note what the seal has seen, and close the transport."""
        try:
            self._endpoint.close()
        except SealError as error:
            self.get_logger().error(str(error))
        self._transport.close()

    def changed(self) -> None:
        with self._lock:
            self._endpoint.bucket.set_rate(self.value("max_bits_per_second"), time.monotonic())

    def _frame(self, index: int, message: Any) -> None:
        try:
            packet = pack(frame_of(message))
            stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
            with self._lock:
                self._endpoint.offer(index, stamp, packet, frame_id=message.header.frame_id, now=time.monotonic())
        except ValueError as error:
            self.warn(f"{self.cameras[index]}: frame not sent: {error}")

    def _acknowledge(self, index: int, message: Any) -> None:
        with self._lock:
            self._endpoint.acknowledge(index, message.sequence, key_wanted=message.key_wanted)

    def _request(self, index: int, message: Any) -> None:
        try:
            with self._lock:
                self._endpoint.request(index, request_of(message), time.monotonic())
        except ValueError as error:
            self.warn(f"{self.cameras[index]}: request not sent: {error}")

    def run(self) -> None:
        """Move datagrams both ways."""
        while not self.stopped.is_set():
            try:
                datagram = self._transport.receive(TICK_S)
                now = time.monotonic()
                events: list[Event] = []
                with self._lock:
                    if datagram is not None:
                        counters = self._endpoint.counters
                        bad = counters.rejected + counters.malformed
                        events = self._endpoint.receive(datagram, now)
                        if counters.rejected + counters.malformed == bad:
                            self._transport.accepted()
                    while (out := self._endpoint.next(now)) is not None:
                        self._transport.send(out)
                for event in events:
                    self._tell(event)
            except Exception as error:
                # One datagram must not end the link; a counter that cannot be stored has to.
                if not rclpy.ok():
                    return
                self.warn(f"{type(error).__name__}: {error}")
                if isinstance(error, SealError):
                    self.stopped.wait(1.0)

    def _tell(self, event: Event) -> None:
        """Publish what came over the link."""
        if isinstance(event, AboutCamera):
            self._frame_ids[event.camera] = event.frame_id
        elif isinstance(event, FrameArrived):
            if self._side != "base":
                return
            try:
                frame = unpack(event.packet, channel_count=self._channels)
            except BitstreamError as error:
                self.warn(f"{self.cameras[event.camera]}: packet dropped: {error}")
                return
            message = GscFrame(**message_fields(frame, array.array))
            message.header.stamp.sec, message.header.stamp.nanosec = event.stamp.sec, event.stamp.nanosec
            message.header.frame_id = self._frame_ids.get(event.camera, "")
            self._publishers_of["frame"][event.camera].publish(message)
        elif self._side != "robot":
            return
        elif isinstance(event, Acknowledged):
            message = GscAck(sequence=event.sequence, key_wanted=event.key_wanted)
            self._publishers_of["ack"][event.camera].publish(message)
        elif isinstance(event, Requested):
            self._publishers_of["request"][event.camera].publish(request_message(event.request))

    def _report(self) -> None:
        with self._lock:
            counters, arrivals, traffic = self._endpoint.counters, self._endpoint.arrivals, self._endpoint.traffic
            now = time.monotonic()
            then, sent, received = self._before
            self._before = (now, counters.sent_bytes, counters.received_bytes)
            unconfirmed, self._unconfirmed = counters.unconfirmed - self._unconfirmed, counters.unconfirmed
            base = self._side == "base"
            message = GscLink(
                side=self._side, bits_per_second=float(self.value("max_bits_per_second")),
                sent_bits_per_second=8 * (counters.sent_bytes - sent) / (now - then),
                received_bits_per_second=8 * (counters.received_bytes - received) / (now - then),
                sent_bytes=counters.sent_bytes, received_bytes=counters.received_bytes,
                sent_datagrams=counters.sent_datagrams, received_datagrams=counters.received_datagrams,
                rejected=counters.rejected, malformed=counters.malformed, cameras=self.cameras,
                frames=[a.frames for a in arrivals.values()] if base else [t.sent for t in traffic.values()],
                replaced=[t.replaced for t in traffic.values()],
                lost=[a.lost for a in arrivals.values()], late=[a.late for a in arrivals.values()],
            )  # fmt: skip
        message.header.stamp = self.get_clock().now().to_msg()
        self._link.publish(message)
        if unconfirmed:
            self.warn("a request was repeated in vain: the robot may not have it, ask again")


def main() -> None:
    """Entry point of the node."""
    spin(Gateway)


if __name__ == "__main__":
    main()
