"""The nodes as real processes in a real ROS graph."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import LIMIT_S

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("gsc_ros.msg", reason="the messages are not built: run make test")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from gsc_ros.msg import GscFrame, GscStats  # noqa: E402
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from gsc_ros.image_messages import fill_image, read_image  # noqa: E402


class Graph:
    """A node of the test's own, and the processes it talks to."""

    def __init__(self, logs: Path) -> None:
        self.node = rclpy.create_node("test_graph")
        self.logs = logs
        self.processes: dict[str, subprocess.Popen] = {}
        self.heard: dict[str, list] = {}

    def start(self, name: str, *parameters: str) -> None:
        arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
        with (self.logs / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", f"gsc_ros.nodes.{name}", "--ros-args", *arguments]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def listen(self, kind, topic: str) -> list:
        self.heard[topic] = []
        self.node.create_subscription(kind, topic, self.heard[topic].append, QoSProfile(depth=50))
        return self.heard[topic]

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            rclpy.spin_once(self.node, timeout_sec=0.05)
            assert time.monotonic() < deadline, f"waited {LIMIT_S:.0f} s for {what}\n" + "\n".join(
                self.log(name) for name in self.processes
            )

    def send_until(self, publisher, message, condition, what: str, every: float = 1.0) -> None:
        """Publish ``message`` every so many seconds until ``condition``: best effort may lose one, as a camera's frames get lost."""
        last = 0.0

        def send() -> bool:
            nonlocal last
            if time.monotonic() - last > every:
                last = time.monotonic()
                publisher.publish(message)
            return condition()

        self.until(send, what)

    def set(self, node: str, name: str, **value):
        client = self.node.create_client(SetParameters, f"/{node}/set_parameters")
        self.until(client.service_is_ready, f"{node}'s parameter service")
        future = client.call_async(
            SetParameters.Request(parameters=[Parameter(name=name, value=ParameterValue(**value))])
        )
        self.until(future.done, f"{name} to be set")
        return future.result().results[0]

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes.values():
            try:
                process.wait(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self.node.destroy_node()


@pytest.fixture
def graph(tmp_path):
    os.environ["ROS_LOG_DIR"] = str(tmp_path)
    rclpy.init()
    graph = Graph(tmp_path)
    yield graph
    graph.close()
    rclpy.try_shutdown()


def image_message(image: np.ndarray, second: int) -> Image:
    message = Image()
    message.header.frame_id = "mast"
    message.header.stamp.sec = second
    message.header.stamp.nanosec = 123_456_789
    return fill_image(message, image, message.header)


def test_two_cameras_from_image_to_image(graph, photograph) -> None:
    """Stamps and frame ids pass exactly, budgets hold, parameters change while running, Ctrl-C ends both quietly."""
    cameras = '["/front", "/rear"]'
    reliable = [f"qos_overrides./{name}/image_raw.subscription.reliability:=reliable" for name in ("front", "rear")]
    graph.start("compressor", f"cameras:={cameras}", "max_bytes_per_frame:=200", *reliable)
    graph.start("reconstructor", f"cameras:={cameras}", "realism:=0.0", "batch:=2")
    frames = {name: graph.listen(GscFrame, f"/{name}/image_raw/gsc") for name in ("front", "rear")}
    shown = {name: graph.listen(Image, f"/{name}/gsc/image_raw") for name in ("front", "rear")}
    confidence = graph.listen(Image, "/front/gsc/confidence")
    captions = graph.listen(String, "/front/gsc/caption")
    stats = graph.listen(GscStats, "/front/image_raw/gsc/stats")
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    send = {
        name: graph.node.create_publisher(Image, f"/{name}/image_raw", QoSProfile(depth=5))
        for name in ("front", "rear")
    }
    graph.until(
        lambda: (
            all(p.get_subscription_count() for p in send.values())
            and all(graph.node.count_publishers(f"/{n}/gsc/image_raw") for n in send)
        ),
        "both nodes",
    )
    smaller = np.ascontiguousarray(photograph[:240, :322])
    send["front"].publish(image_message(photograph, 10))
    send["rear"].publish(image_message(smaller, 20))
    graph.until(lambda: shown["front"] and shown["rear"] and confidence and captions and stats, "the first pictures")
    front, rear = shown["front"][0], shown["rear"][0]
    assert (front.header.stamp.sec, front.header.stamp.nanosec, front.header.frame_id) == (10, 123_456_789, "mast")
    assert read_image(front).shape == photograph.shape
    assert read_image(rear).shape == smaller.shape
    assert confidence[0].encoding == "mono8"
    assert "view" in captions[0].data
    assert stats[0].packet_bytes <= 200
    assert stats[0].packet_bytes == stats[0].head_bytes + stats[0].text_bytes + stats[0].channel_bytes
    assert len(frames["front"][0].channels) == stats[0].channel_bytes
    # The mark: its white letters on black are in the lower left corner, whatever was generated.
    corner = read_image(front)[-16:, :80]
    assert corner.min() < 10
    assert corner.max() > 200

    refused = graph.set("compressor", "max_bytes_per_frame", type=ParameterType.PARAMETER_INTEGER, integer_value=7)
    assert not refused.successful
    assert "24" in refused.reason
    refused = graph.set("compressor", "search", type=ParameterType.PARAMETER_INTEGER, integer_value=5)
    assert not refused.successful
    assert "set memory to off" in refused.reason
    assert not graph.set("reconstructor", "realism", type=ParameterType.PARAMETER_DOUBLE, double_value=3.0).successful
    assert graph.set(
        "compressor", "max_bytes_per_frame", type=ParameterType.PARAMETER_INTEGER, integer_value=60
    ).successful
    assert graph.set("reconstructor", "width", type=ParameterType.PARAMETER_INTEGER, integer_value=320).successful
    assert graph.set("reconstructor", "height", type=ParameterType.PARAMETER_INTEGER, integer_value=240).successful
    send["front"].publish(image_message(photograph, 11))
    graph.until(lambda: len(shown["front"]) > 1 and len(stats) > 1, "a picture after the change")
    assert stats[-1].packet_bytes <= 60
    assert read_image(shown["front"][-1]).shape == (240, 320, 3)

    lying = image_message(photograph, 12)
    lying.height = 4000
    send["front"].publish(lying)
    send["rear"].publish(image_message(smaller, 21))
    graph.until(lambda: len(shown["rear"]) > 1, "the other camera to go on")
    graph.until(
        lambda: any("1 frames refused" in s.message for d in diagnostics for s in d.status),
        "the refusal in the diagnostics",
    )
    assert "640x4000" in graph.log("compressor")

    for name, process in graph.processes.items():
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LIMIT_S) == 0, graph.log(name)
        assert "Traceback" not in graph.log(name)
        assert "terminate called" not in graph.log(name)


def test_compressed_images_and_frames_of_other_weights(graph, photograph) -> None:
    import cv2

    graph.start("compressor", "transport:=compressed", "publish_stats:=false")
    graph.start("reconstructor", "realism:=0.0", "publish_confidence:=false", "mark:=false")
    frames = graph.listen(GscFrame, "/camera/image_raw/gsc")
    shown = graph.listen(Image, "/camera/gsc/image_raw")
    send = graph.node.create_publisher(CompressedImage, "/camera/image_raw/compressed", QoSProfile(depth=5))
    frame_out = graph.node.create_publisher(GscFrame, "/camera/image_raw/gsc", QoSProfile(depth=5))
    graph.until(lambda: send.get_subscription_count() and frame_out.get_subscription_count() >= 2, "both nodes")
    message = CompressedImage(format="jpeg", data=cv2.imencode(".jpg", photograph[:, :, ::-1])[1].tobytes())
    message.header.stamp.sec = 5
    graph.send_until(send, message, lambda: frames and shown, "the picture")
    # No endpoint that nobody asked for.
    names = {name for name, _ in graph.node.get_topic_names_and_types()}
    assert not names & {"/camera/image_raw/gsc/stats", "/camera/gsc/confidence", "/camera/gsc/camera_info"}

    foreign = frames[0]
    foreign.fingerprint ^= 0x5555
    foreign.header.stamp.sec = 99
    told = lambda: [line for line in graph.log("reconstructor").splitlines() if "same profile and weights" in line]  # noqa: E731
    graph.send_until(frame_out, foreign, lambda: len(told()) > 1, "the refusals in the log", every=0.1)
    at = [float(re.search(r"\[(\d+\.\d+)\]", line)[1]) for line in told()]
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(at))  # at most once a second
    message.header.stamp.sec = 6
    graph.send_until(send, message, lambda: shown[-1].header.stamp.sec == 6, "the next good frame")
    assert {picture.header.stamp.sec for picture in shown} == {5, 6}


def test_an_incompatible_publisher_is_named_in_plain_words(graph) -> None:
    graph.start("compressor", "qos_overrides./camera/image_raw.subscription.reliability:=reliable")
    graph.node.create_publisher(
        Image, "/camera/image_raw", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    graph.until(lambda: "quality of service" in graph.log("compressor"), "the warning")
    assert "/camera/image_raw" in graph.log("compressor")


def test_a_missing_profile_is_one_line_and_an_exit_code(graph) -> None:
    graph.start("reconstructor", "profile:=huge")
    assert graph.processes["reconstructor"].wait(timeout=LIMIT_S) == 1
    assert "no profile 'huge'" in graph.log("reconstructor")
    assert "Traceback" not in graph.log("reconstructor")


@pytest.mark.parametrize(
    ("node", "given", "word"),
    [
        ("compressor", "transport:=jpeg", "raw, compressed"),
        ("compressor", "caption:=yes", "text is expected"),
        ("compressor", "max_bytes_per_frame:=-5", "0 to 65535"),
        ("compressor", "max_bytes_per_frame:=5", "at least 24"),
        ("compressor", "cameras:=['/1cam']", "'/1cam'"),
        ("compressor", "cameras:=['/front cam']", "'/front cam'"),
        ("compressor", "cameras:=['/']", "distinct names"),
        ("gateway", "side:=rover", "robot, base"),
        ("reconstructor", "realsim:=0.5", "is realism meant?"),
        ("gateway", "qos_overrides./camera/image_raw/gsc.subscription.depth:=abc", "AssertionError"),  # of rclpy
        ("gateway", "cameras", "Couldn't parse parameter override rule"),
    ],
)
def test_parameters_that_cannot_be_are_one_line_and_an_exit_code(graph, node, given, word) -> None:
    graph.start(node, given)
    assert graph.processes[node].wait(timeout=LIMIT_S) == 1, graph.log(node)
    assert word in graph.log(node)
    assert "Traceback" not in graph.log(node)


def test_ctrl_c_while_a_node_starts_leaves_no_trace(graph) -> None:
    """What torch is imported for takes seconds."""
    script = Path(__file__).resolve().parent.parent / "scripts" / "compressor"
    with (graph.logs / "script.log").open("wb") as log:
        process = graph.processes["script"] = subprocess.Popen([sys.executable, script], stdout=log, stderr=log)
    loaded = Path(f"/proc/{process.pid}/maps")
    graph.until(lambda: "libtorch" in loaded.read_text(), "the import of torch")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=LIMIT_S) == 0, graph.log("script")
    assert "Traceback" not in graph.log("script")


def test_an_impatient_ctrl_c_ends_a_node_as_well(graph) -> None:
    graph.start("compressor")
    graph.until(lambda: "ready" in graph.log("compressor"), "the node")
    process = graph.processes["compressor"]
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert process.returncode == 0, graph.log("compressor")
    assert "Traceback" not in graph.log("compressor")


def test_a_stamp_before_1970_ends_no_node(graph, photograph) -> None:
    """Image and GscFrame with seconds below 0 go through as they are; values of other kinds are taken where they are plain."""
    graph.start("compressor", "max_rate_hz:=100", "caption_mode:=off", "cameras:=/camera")
    graph.start("reconstructor", "realism:=0")
    shown = graph.listen(Image, "/camera/gsc/image_raw")
    send = graph.node.create_publisher(Image, "/camera/image_raw", QoSProfile(depth=5))
    graph.until(lambda: send.get_subscription_count() and graph.node.count_publishers("/camera/gsc/image_raw"), "both")
    small = np.ascontiguousarray(photograph[:64, :96])
    graph.send_until(send, image_message(small, -5), lambda: shown, "the picture of before 1970")
    assert shown[0].header.stamp.sec == -5
    refused = graph.set("compressor", "channels", type=ParameterType.PARAMETER_INTEGER, integer_value=1000)
    assert not refused.successful
    assert "channels 1000" in refused.reason
    graph.send_until(send, image_message(small, 7), lambda: shown[-1].header.stamp.sec == 7, "the next picture")
    assert all(process.poll() is None for process in graph.processes.values())


def test_a_subscription_is_as_reliable_as_its_publishers_and_says_so(graph, photograph) -> None:
    """Of 60 frames at 2 Hz on a busy machine best effort got 18, reliable 59; what never came is counted from the stamps."""
    graph.start("compressor")
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    reliable = graph.node.create_publisher(Image, "/camera/image_raw", QoSProfile(depth=5))
    graph.until(lambda: "/camera/image_raw: reliable" in graph.log("compressor"), "the choice")
    small = np.ascontiguousarray(photograph[:64, :96])
    frames = graph.listen(GscFrame, "/camera/image_raw/gsc")
    for second in [*range(100, 112), 115]:
        before = len(frames)
        reliable.publish(image_message(small, second))
        graph.until(lambda before=before: len(frames) > before, f"frame {second}")

    def counted() -> bool:
        values = [
            {v.key: v.value for v in s.values} for d in diagnostics for s in d.status if s.name.endswith("/camera")
        ]
        return bool(values) and values[-1]["never_arrived"] == "3"

    graph.until(counted, "the three that never came")
    sensor = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    graph.node.create_publisher(Image, "/camera/image_raw", sensor)
    graph.until(lambda: "/camera/image_raw: best effort" in graph.log("compressor"), "the choice for both")


def test_depth_is_told_with_the_topics_that_have_pictures(graph) -> None:
    graph.start("compressor", "cameras:=['/depth']")
    graph.node.create_publisher(Image, "/front/image_raw", QoSProfile(depth=1))
    send = graph.node.create_publisher(Image, "/depth/image_raw", QoSProfile(depth=1))
    graph.until(send.get_subscription_count, "the compressor")
    message = Image(height=32, width=32, encoding="16UC1", step=64, data=bytes(2048))
    told = "16UC1 is depth, not a picture; topics with pictures may be /front/image_raw"
    graph.send_until(send, message, lambda: told in graph.log("compressor"), "the refusal")


def test_two_compressors_on_one_camera_are_told(graph) -> None:
    graph.start("compressor")
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    graph.node.create_publisher(GscFrame, "/camera/image_raw/gsc", QoSProfile(depth=5))
    graph.until(
        lambda: any("other compressors" in s.message for d in diagnostics for s in d.status),
        "a word about the other one",
    )
    assert {s.name for d in diagnostics for s in d.status} == {"/compressor: /camera", "/compressor: input"}
