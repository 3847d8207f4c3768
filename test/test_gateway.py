"""Two ROS graphs in two domains with a link between them: real processes, sockets and losses."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import DOMAINS, LIMIT_S

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("gsc_ros.msg")


from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from gsc_ros.msg import GscFrame, GscLink, GscRequest  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from gsc_ros.image_messages import fill_image, read_image  # noqa: E402
from gsc_ros.link.datagram import Kind, Record, Type, control  # noqa: E402
from gsc_ros.link.key_file import new_key  # noqa: E402


class Side:
    """One domain: the nodes started in it, and what this test hears there."""

    def __init__(self, folder: Path, name: str, domain: int) -> None:
        self.folder, self.name, self.domain = folder, name, domain
        self.context = rclpy.Context()
        self.context.init(domain_id=domain)
        self.node = rclpy.create_node(f"{name}_test", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, node: str, *parameters: str) -> None:
        arguments = [part for parameter in parameters for part in ("-p", parameter)]
        log = self.folder / f"{self.name}_{node}.log"
        with log.open("ab") as out:
            self.processes[node] = subprocess.Popen(
                [sys.executable, "-m", f"gsc_ros.nodes.{node}", "--ros-args", *arguments],
                stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "ROS_DOMAIN_ID": str(self.domain)},
            )  # fmt: skip

    def log(self, node: str) -> str:
        return (self.folder / f"{self.name}_{node}.log").read_text()

    def hear(self, kind, topic: str) -> list:
        heard: list = []
        self.node.create_subscription(kind, topic, heard.append, QoSProfile(depth=20))
        return heard

    def spin(self, seconds: float = 0.02) -> None:
        self.executor.spin_once(timeout_sec=seconds)

    def stop(self, node: str, how: int = signal.SIGINT) -> int:
        process = self.processes.pop(node)
        process.send_signal(how)
        return process.wait(timeout=LIMIT_S)

    def close(self) -> None:
        for node in list(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(node)
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def sides(tmp_path):
    os.environ["ROS_LOG_DIR"] = str(tmp_path)
    robot, base = (Side(tmp_path, name, domain) for name, domain in zip(("robot", "base"), DOMAINS, strict=True))
    yield robot, base
    robot.close()
    base.close()


class Camera:
    """Publishes an image on the robot's side every half second, with a stamp that can be told again."""

    def __init__(self, robot: Side, image, name: str = "/camera") -> None:
        self._robot, self._image = robot, image
        self._publisher = robot.node.create_publisher(Image, f"{name}/image_raw", QoSProfile(depth=2))
        self._due = 0.0
        self.stamps: set[tuple[int, int]] = set()
        self.skew = 0

    def tick(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + 0.5
        now = time.time_ns() + self.skew * 10**9
        message = Image()
        message.header.frame_id = "mast_optical"
        message.header.stamp.sec, message.header.stamp.nanosec = now // 10**9, now % 10**9
        self.stamps.add((message.header.stamp.sec, message.header.stamp.nanosec))
        self._publisher.publish(fill_image(message, self._image, message.header))


def until(condition, what: str, *parts) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        for part in parts:
            part()
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {LIMIT_S} s for {what}")


def stamp_of(message) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_pictures_and_requests_cross_a_sealed_lossy_link_through_faults(sides, tmp_path, photograph) -> None:
    """Budgets, stamps, requests, a garbage flood, restarts on both sides, an hour of clock skew."""
    robot, base = sides
    new_key(tmp_path / "robot.key")
    (tmp_path / "base.key").write_text((tmp_path / "robot.key").read_text())
    (tmp_path / "base.key").chmod(0o600)
    base_port, middle = free_port(), free_port()
    reliable = "qos_overrides./camera/image_raw.subscription.reliability:=reliable"
    robot.start("compressor", "max_bits_per_second:=16000.0", "max_bytes_per_frame:=250", reliable)
    gateway = (f"remote:=127.0.0.1:{middle}", "mtu:=200", "max_bits_per_second:=16000.0")
    robot.start("gateway", "side:=robot", *gateway, f"key_file:={tmp_path / 'robot.key'}")
    base.start(
        "link_emulator", "link:=16k", "loss:=0.2", f"robot_side:=127.0.0.1:{middle}", f"base:=127.0.0.1:{base_port}"
    )
    base_gateway = ("side:=base", f"local:=127.0.0.1:{base_port}", "mtu:=200", "max_bits_per_second:=4000.0")
    base_gateway += (f"key_file:={tmp_path / 'base.key'}",)
    base.start("gateway", *base_gateway)
    base.start("reconstructor", "mark:=false", "max_age_s:=10.0", "clocks_agree:=false")
    frames, shown = base.hear(GscFrame, "/camera/image_raw/gsc"), base.hear(Image, "/camera/gsc/image_raw")
    at_robot, sent = robot.hear(GscRequest, "/camera/gsc/request"), robot.hear(GscFrame, "/camera/image_raw/gsc")
    link = base.hear(GscLink, "/gateway/link")
    camera = Camera(robot, photograph)
    moving = (camera.tick, robot.spin, base.spin)
    until(lambda: len(shown) > 3, "the first pictures", *moving)
    assert all(stamp_of(message) in camera.stamps for message in shown)
    until(lambda: shown[-1].header.frame_id == "mast_optical", "the frame_id", *moving)
    assert read_image(shown[-1]).shape == photograph.shape
    until(lambda: any(frame.reference for frame in frames), "a frame that builds on an acknowledged one", *moving)

    asks = base.node.create_publisher(GscRequest, "/camera/gsc/request", QoSProfile(depth=2))
    until(asks.get_subscription_count, "the base gateway's ear", *moving)
    asks.publish(
        GscRequest(max_bytes=80, bits_per_second=12_000, set_caption=True, caption="the north gate", key_frame=True)
    )
    until(lambda: len(at_robot) == 1, "the request at the robot", *moving)
    assert (at_robot[0].max_bytes, at_robot[0].caption, at_robot[0].key_frame) == (80, "the north gate", True)
    until(lambda: "the operator asks" in robot.log("compressor"), "the compressor's answer", *moving)
    assert "refused" not in robot.log("compressor")
    at = len(sent)
    until(lambda: len(sent) > at + 2, "frames after the request", *moving)
    assert all(len(frame.channels) + len(frame.text) <= 80 for frame in sent[at + 1 :])

    rng = random.Random(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        before, count = len(shown), 0

        def flood() -> None:
            nonlocal count
            for _ in range(40):
                noise.sendto(rng.randbytes(rng.randrange(1, 300)), ("127.0.0.1", base_port))
                count += 1

        until(lambda: count > 5000 and len(shown) > before, "a picture in the flood", flood, *moving)
    until(lambda: link[-1].rejected > 1000, "the count of what was rejected", *moving)
    assert all(stamp_of(message) in camera.stamps for message in shown)

    assert base.stop("gateway") == 0
    assert base.stop("reconstructor", signal.SIGKILL) < 0
    base.start("gateway", *base_gateway)
    base.start("reconstructor", "mark:=false", "max_age_s:=10.0", "clocks_agree:=false")
    before = len(shown)
    until(lambda: len(shown) > before + 1, "pictures after the base's restart", *moving)

    robot.stop("gateway", signal.SIGKILL)
    robot.stop("compressor", signal.SIGKILL)
    camera.skew = -3600
    robot.start("compressor", "max_bits_per_second:=16000.0", reliable)
    robot.start("gateway", "side:=robot", *gateway, f"key_file:={tmp_path / 'robot.key'}")
    before = len(shown)
    until(lambda: len(shown) > before + 2, "pictures after the robot's restart an hour ago", *moving)
    assert all(stamp_of(message) in camera.stamps for message in shown)

    for side in sides:
        for node in list(side.processes):
            assert side.stop(node) == 0, side.log(node)
            assert "Traceback" not in side.log(node)
            assert "terminate called" not in side.log(node)


def test_without_the_key_nothing_is_shown(sides, tmp_path, photograph) -> None:
    robot, base = sides
    new_key(tmp_path / "a.key")
    new_key(tmp_path / "b.key")
    port = free_port()
    robot.start("compressor", "qos_overrides./camera/image_raw.subscription.reliability:=reliable")
    robot.start("gateway", f"remote:=127.0.0.1:{port}", f"key_file:={tmp_path / 'a.key'}")
    base.start("gateway", "side:=base", f"local:=127.0.0.1:{port}", f"key_file:={tmp_path / 'b.key'}")
    frames, link = base.hear(GscFrame, "/camera/image_raw/gsc"), base.hear(GscLink, "/gateway/link")
    told = base.hear(DiagnosticArray, "/diagnostics")
    camera = Camera(robot, photograph)
    moving = (camera.tick, robot.spin, base.spin)
    until(lambda: link and link[-1].rejected > 3, "rejected datagrams", *moving)
    until(lambda: link_status(told, DiagnosticStatus.ERROR), "an error in the diagnostics", *moving)
    status = link_status(told, DiagnosticStatus.ERROR)
    assert "wrong key" in status.message
    values = {value.key: value.value for value in status.values}
    assert values["key"] == "not proven by both sides yet"
    assert values["peer"] == "nobody yet"
    assert int(values["rejected datagrams (key)"]) > 3
    until(lambda: "wrong key" in base.log("gateway"), "a line in the log", *moving)
    assert base.log("gateway").count("wrong key") == 1
    assert not frames


def link_status(told: list[DiagnosticArray], level: bytes) -> DiagnosticStatus | None:
    """The newest status of the link of this level."""
    return next(
        (
            status
            for message in reversed(told)
            for status in message.status
            if status.name == "/gateway: link" and status.level == level
        ),
        None,
    )


def test_a_serial_adapter_may_be_pulled_and_put_in_again(sides, tmp_path) -> None:
    robot, _ = sides
    name = tmp_path / "ttyUSB0"
    master, slave = os.openpty()
    name.symlink_to(os.ttyname(slave))
    os.close(slave)
    robot.start("gateway", "transport:=serial", f"serial_device:={name}")
    told = robot.hear(DiagnosticArray, "/diagnostics")
    until(lambda: link_status(told, DiagnosticStatus.OK), "a good link", robot.spin)
    name.unlink()
    os.close(master)
    until(lambda: link_status(told, DiagnosticStatus.ERROR), "an error in the diagnostics", robot.spin)
    assert str(name) in link_status(told, DiagnosticStatus.ERROR).message
    master, slave = os.openpty()
    name.symlink_to(os.ttyname(slave))
    os.close(slave)
    told.clear()
    until(lambda: link_status(told, DiagnosticStatus.OK), "a good link again", robot.spin)
    until(lambda: "well again" in robot.log("gateway"), "a line in the log", robot.spin)
    assert robot.log("gateway").count("went away") == 1
    os.close(master)


def test_a_record_before_the_first_frame_does_not_end_the_gateway(sides, encoder, photograph) -> None:
    """And without a key only what parses names the side to send to."""
    robot, _ = sides
    port = free_port()
    robot.start("gateway", f"local:=127.0.0.1:{port}", "max_bits_per_second:=100000.0")
    send = robot.node.create_publisher(GscFrame, "/camera/image_raw/gsc", QoSProfile(depth=5))
    coder = encoder.for_another_camera()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        peer.setblocking(False)
        got: list[bytes] = []

        def play() -> None:
            peer.sendto(control([Record(Type.ABOUT, 0, b"mast")]), ("127.0.0.1", port))
            stranger.sendto(os.urandom(60), ("127.0.0.1", port))
            send.publish(frame_message(len(got) + 1, coder, photograph))
            with contextlib.suppress(BlockingIOError):
                got.append(peer.recv(2000))
            time.sleep(0.1)

        until(lambda: any(datagram[0] >> 5 == Kind.FRAME for datagram in got), "a frame", play, robot.spin)
    assert robot.processes["gateway"].poll() is None
    assert "Traceback" not in robot.log("gateway")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (["transport:=serial", "serial_device:=/dev/nothing"], "/dev/nothing"),
        (["local:=nonsense"], "HOST:PORT"),
        (["key_file:=/nowhere/key"], "gsc key"),
        (['cameras:=["/a","/b"]', "weights:=[1.0,2.0,3.0]"], "weights names 3"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_an_exit_code(sides, parameters, words) -> None:
    robot, _ = sides
    robot.start("gateway", *parameters)
    assert robot.processes["gateway"].wait(timeout=LIMIT_S) == 1
    assert words in robot.log("gateway")
    assert "Traceback" not in robot.log("gateway")


def frame_message(second: int, encoder, image) -> GscFrame:
    import array

    from gsc_ros.encoder import EncodeSettings
    from gsc_ros.frame_messages import message_fields

    frame = encoder.encode(image, EncodeSettings(max_bytes=150)).frame
    message = GscFrame(**message_fields(frame, array.array))
    message.header.frame_id = "mast"
    message.header.stamp.sec, message.header.stamp.nanosec = second, 123_456_789
    return message


def crosses(robot: Side, base: Side, encoder, image, *parts) -> None:
    """A frame crosses as it is, and a request comes back."""
    frames, asked = base.hear(GscFrame, "/camera/image_raw/gsc"), robot.hear(GscRequest, "/camera/gsc/request")
    send = robot.node.create_publisher(GscFrame, "/camera/image_raw/gsc", QoSProfile(depth=5))
    ask = base.node.create_publisher(GscRequest, "/camera/gsc/request", QoSProfile(depth=5))
    sent: dict[int, GscFrame] = {}
    state = {"due": 0.0}

    def publish() -> None:
        if time.monotonic() > state["due"]:
            state["due"] = time.monotonic() + 0.3
            sent[len(sent) + 1] = frame_message(len(sent) + 1, encoder, image)
            send.publish(sent[len(sent)])
            if frames and not asked:
                ask.publish(GscRequest(sharpen=True))

    until(lambda: len(frames) > 2 and asked, "frames and a request", publish, robot.spin, base.spin, *parts)
    for frame in frames:
        original = sent[frame.header.stamp.sec]
        for name in ("sequence", "fingerprint", "width", "level", "text", "channels", "channel_ids"):
            assert getattr(frame, name) == getattr(original, name)
        assert frame.header.stamp == original.header.stamp
    assert asked[0].sharpen


def test_frames_cross_a_serial_line(sides, encoder, photograph) -> None:
    robot, base = sides
    ends = [os.openpty() for _ in range(2)]
    for master, _ in ends:
        os.set_blocking(master, False)

    def wire() -> None:
        for (source, _), (target, _) in (ends, ends[::-1]):
            with contextlib.suppress(BlockingIOError):
                os.write(target, os.read(source, 4096))

    for side, name, (_, slave) in zip(sides, ("robot", "base"), ends, strict=True):
        side.start("gateway", f"side:={name}", "transport:=serial", f"serial_device:={os.ttyname(slave)}", "mtu:=64")
    crosses(robot, base, encoder.for_another_camera(), photograph, wire)


def test_frames_cross_zenoh(sides, encoder, photograph) -> None:
    robot, base = sides
    endpoint = f"udp/127.0.0.1:{free_port()}"
    base.start("gateway", "side:=base", "transport:=zenoh", f"local:={endpoint}")
    robot.start("gateway", "side:=robot", "transport:=zenoh", f"remote:={endpoint}")
    crosses(robot, base, encoder.for_another_camera(), photograph)


def test_ten_cameras_share_one_link(sides, photograph) -> None:
    """Every one of them is seen, again and again, with stamps of its own, and none is starved by another."""
    import cv2

    robot, base = sides
    names = [f"/camera{index}" for index in range(10)]
    cameras_parameter = f"cameras:=[{', '.join(names)}]"
    small = cv2.resize(photograph, (160, 120), interpolation=cv2.INTER_AREA)
    robot_port, base_port = free_port(), free_port()
    robot.start("compressor", cameras_parameter, "max_bits_per_second:=16000.0", "max_bytes_per_frame:=100")
    link = ("max_bits_per_second:=16000.0", cameras_parameter)
    robot.start("gateway", "side:=robot", f"local:=127.0.0.1:{robot_port}", f"remote:=127.0.0.1:{base_port}", *link)
    base.start("gateway", "side:=base", f"local:=127.0.0.1:{base_port}", f"remote:=127.0.0.1:{robot_port}", *link)
    base.start("reconstructor", cameras_parameter)
    shown = {name: base.hear(Image, f"{name}/gsc/image_raw") for name in names}
    cameras = {name: Camera(robot, small, name) for name in names}
    parts = [camera.tick for camera in cameras.values()] + [robot.spin, base.spin]
    until(lambda: min(len(pictures) for pictures in shown.values()) >= 4, "four pictures of each camera", *parts)
    for name, pictures in shown.items():
        stamps = [stamp_of(picture) for picture in pictures]
        assert set(stamps) <= cameras[name].stamps
        assert stamps == sorted(stamps)
    counts = [len(pictures) for pictures in shown.values()]
    assert max(counts) <= 3 * min(counts)
