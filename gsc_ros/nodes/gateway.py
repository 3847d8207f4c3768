"""The gateway node: between one side's ROS graph and the link, which only packets cross."""

from __future__ import annotations

import array
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy._rclpy_pybind11 import RCLError
from rclpy.qos import QoSProfile

from gsc_ros.bitstream import pack, unpack
from gsc_ros.frame_messages import frame_of, message_fields
from gsc_ros.link.datagram import Stamp
from gsc_ros.link.endpoint import Endpoint
from gsc_ros.link.events import AboutCamera, Acknowledged, Event, FrameArrived, Requested
from gsc_ros.link.secure_channel import SecureChannel
from gsc_ros.link.transport import open_transport
from gsc_ros.msg import GscAck, GscFrame, GscLink, GscRequest
from gsc_ros.nodes.parameters import GATEWAY
from gsc_ros.nodes.request_messages import request_message, request_of
from gsc_ros.nodes.served_node import ServedNode, spin
from gsc_ros.nodes.silence import Silence
from gsc_ros.profiles import load_profile

TICK_S = 0.02
REPORT_S = 1.0
RECENT_REPORTS = 11  # ten seconds
LEAST_BAD = 10  # datagrams in that time that are worth a word
SERIAL_SHARE = 0.8  # of the bits on a line: start and stop bits are the rest
SILENT_S = 30.0  # where the other side has nothing to say, hellos of that rhythm are all that comes
UNANSWERED = 4  # datagrams that the robot sends, and nothing comes back


class Gateway(ServedNode):
    """Frames from the robot to the base; acknowledgements and requests the other way."""

    def __init__(self) -> None:
        super().__init__("gateway", GATEWAY)
        self._side: str = self.value("side")
        robot = self._side == "robot"
        channels = load_profile(self.value("profile")).channels
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
            bits_per_second=self._limit(),
            cost=self._transport.cost,
            channel=SecureChannel(Path(key).expanduser(), side=self._side) if key else None,
            unpack=partial(unpack, channel_count=channels),
        )
        self._frame_ids: dict[int, str] = {}
        self._silence = Silence(SILENT_S)  # of the other side
        self._sent_before = 0  # datagrams, when it was heard last
        self._link = self.advertise(GscLink, "~/link", QoSProfile(depth=5))
        self._before = (time.monotonic(), 0, 0)
        self._in_vain = 0
        self._arrived: deque[tuple[int, int]] = deque(
            maxlen=RECENT_REPORTS
        )  # datagrams until then, and the bad ones of them
        self._told = ""  # the problem that was logged last
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
        """Note what was accepted, and close the transport."""
        self._endpoint.close()
        self._transport.close()

    def changed(self) -> None:
        with self._lock:
            self._endpoint.bucket.set_rate(self._limit(), time.monotonic())

    def _limit(self) -> float:
        """Bits per second that may be sent; a serial line carries eight of ten, and what is more would wait in front of it."""
        asked = float(self.value("max_bits_per_second"))
        if self.value("transport") != "serial":
            return asked
        line = SERIAL_SHARE * self.value("baud")
        return min(asked, line) if asked else line

    def _frame(self, index: int, message: Any) -> None:
        packet = pack(frame_of(message))
        stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
        with self._lock:
            self._endpoint.offer(index, stamp, packet, frame_id=message.header.frame_id, now=time.monotonic())

    def _acknowledge(self, index: int, message: Any) -> None:
        with self._lock:
            self._endpoint.acknowledge(index, message.sequence, key_wanted=message.key_wanted)

    def _request(self, index: int, message: Any) -> None:
        with self._lock:
            self._endpoint.request(index, request_of(message), time.monotonic())

    def run(self) -> None:
        """Move datagrams both ways. One that nobody foresaw must not end the link."""
        while not self.stopped.is_set() and self.context.ok():
            failed = True
            with self.guard("link"):
                try:
                    self._move()
                except RCLError:
                    if self.context.ok():  # or it ended while something was published
                        raise
                failed = False
            if failed:  # and is not tried again at once
                self.stopped.wait(TICK_S)

    def _move(self) -> None:
        datagram = self._transport.receive(TICK_S)
        now = time.monotonic()
        events: list[Event] = []
        with self._lock:
            if datagram is not None:
                events = self._endpoint.receive(datagram, now)
                if self._endpoint.genuine:
                    self._transport.accepted()
                    self._silence.heard(now)
                    self._sent_before = self._endpoint.counters.sent_datagrams
                elif (answer := self._endpoint.answer(now)) is not None:
                    self._transport.answer(answer)
            # While there is nobody to send to, the newest of everything waits.
            while self._transport.peer and (out := self._endpoint.next(now)) is not None:
                self._transport.send(out)
        for event in events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        """Publish what came over the link."""
        if self._side == "base":
            if isinstance(event, AboutCamera):
                self._frame_ids[event.camera] = event.frame_id
            elif isinstance(event, FrameArrived):
                message = GscFrame(**message_fields(event.frame, array.array))
                message.header.stamp.sec, message.header.stamp.nanosec = event.stamp.sec, event.stamp.nanosec
                message.header.frame_id = self._frame_ids.get(event.camera, "")
                self._publishers_of["frame"][event.camera].publish(message)
        elif isinstance(event, Acknowledged):
            message = GscAck(sequence=event.sequence, key_wanted=event.key_wanted)
            self._publishers_of["ack"][event.camera].publish(message)
        elif isinstance(event, Requested):
            self._publishers_of["request"][event.camera].publish(request_message(event.request))

    def statuses(self) -> list[DiagnosticStatus]:
        """Whether the link can be used, and what of the other side is known."""
        with self._lock:
            level, text = self._problem()
            counters, settled = self._endpoint.counters, self._endpoint.settled
            silent_s = self._silence.seconds(time.monotonic())
            if silent_s is None and self._side == "base" and level == DiagnosticStatus.OK:
                level, text = DiagnosticStatus.WARN, "nothing came from the other side yet"
            accepted = "nothing was accepted yet" if silent_s is None else f"last accepted {silent_s:.0f} s ago"
            values = {
                "key": {None: "none: anyone who reaches the link is believed", True: "proven by both sides",
                        False: "not proven by both sides yet"}[settled],
                "peer": self._transport.peer or "nobody yet",
                "transport": self.value("transport"),
                "received datagrams": counters.received_datagrams,
                "rejected datagrams (key)": counters.rejected,
                "malformed datagrams": counters.malformed,
                "sent datagrams": counters.sent_datagrams,
                "sent hellos": counters.sent_hellos,
                "requests in vain": self._endpoint.in_vain,
                "frames given up half received": sum(a.parts.abandoned for a in self._endpoint.arrivals.values()),
            }  # fmt: skip
        words = f"{text or 'link to ' + values['peer']}; {accepted}"
        return [self.status("link", level, words, values, hardware=self._transport.peer)]

    def _problem(self) -> tuple[bytes, str]:
        """What an operator should know of the link now; an empty text while all is well."""
        worst = self._transport.trouble or self._endpoint.complaint(time.monotonic())
        if worst:
            return DiagnosticStatus.ERROR, worst
        if self._endpoint.trouble:
            return DiagnosticStatus.WARN, self._endpoint.trouble
        if len(self._arrived) > 1:
            came, bad = (new - old for old, new in zip(self._arrived[0], self._arrived[-1], strict=True))
            if bad >= LEAST_BAD and 2 * bad > came:
                return DiagnosticStatus.WARN, "most of what arrives is not of this link, or noise"
        now = time.monotonic()
        # The robot hears answers alone: while it sends nothing none is due, and where there is no way back none ever comes.
        due = self._side == "base" or self._endpoint.counters.sent_datagrams - self._sent_before >= UNANSWERED
        if due and self._silence.too_long(now):
            return DiagnosticStatus.WARN, "nothing comes from the other side any more"
        return DiagnosticStatus.OK, ""

    def _tell_problem(self) -> None:
        """Log a problem when it begins, and its end."""
        with self._lock:
            _, text = self._problem()
        if text and text != self._told:
            self.get_logger().warning(text)
        elif self._told and not text:
            self.get_logger().info("the link is well again")
        self._told = text

    def _report(self) -> None:
        with self._lock:
            counters, arrivals, traffic = self._endpoint.counters, self._endpoint.arrivals, self._endpoint.traffic
            now = time.monotonic()
            then, sent, received = self._before
            self._before = (now, counters.sent_bytes, counters.received_bytes)
            in_vain, self._in_vain = self._endpoint.in_vain - self._in_vain, self._endpoint.in_vain
            self._arrived.append((counters.received_datagrams, counters.rejected + counters.malformed))
            base = self._side == "base"
            message = GscLink(
                side=self._side, bits_per_second=self._endpoint.bucket.bits_per_second,
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
        self._tell_problem()
        if in_vain:
            self.warn("requests", "one was repeated in vain: the robot may not have it, ask again")


def main() -> None:
    """Entry point of the node."""
    spin(Gateway)


if __name__ == "__main__":
    main()
