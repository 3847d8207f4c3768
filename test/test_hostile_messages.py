"""Every node is fed messages whose fields hold anything that their types can hold, and parameters of any value.

The nodes are real ones in this process. Messages go through CDR and into the callback that the executor would call.
"""

from __future__ import annotations

import array
import json
import os
import threading
import time
from contextlib import contextmanager

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("gsc_ros.msg", reason="the messages are not built: run make test")

import numpy as np  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from conftest import LIMIT_S  # noqa: E402
from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from gsc_ros.msg import GscAck, GscFrame, GscLink, GscRequest, GscStats  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from random_messages import TEXT, messages  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from gsc_ros.encoder import EncodeSettings  # noqa: E402
from gsc_ros.frame_messages import message_fields  # noqa: E402
from gsc_ros.image_messages import fill_image  # noqa: E402
from gsc_ros.nodes.guarded_node import GuardedNode, spin_guarded  # noqa: E402

EXAMPLES = settings(
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ENCODINGS = st.one_of(st.sampled_from(["rgb8", "mono8", "yuv422", "16UC1", "bayer_rggb8", "nv12", "32FC1"]), TEXT)
SMALL = st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1))
# One that could be a picture is made now and then: the callbacks are to be reached behind the first check, too.
IMAGES = messages(Image, encoding=ENCODINGS, width=SMALL, height=SMALL, step=SMALL)
FRAMES = messages(GscFrame, text_mode=st.integers(0, 5), width=st.sampled_from([0, 16, 64, 2**32 - 1]))


@pytest.fixture
def started(tmp_path):
    """Starts nodes of this process with parameters; gives them back at the end."""
    os.environ["ROS_LOG_DIR"] = str(tmp_path)
    nodes = []

    def start(make, *parameters: str):
        arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
        rclpy.init(args=["--ros-args", *arguments])
        nodes.append(make())
        return nodes[-1]

    yield start
    for node in nodes:
        node.close() if hasattr(node, "close") else node.destroy_node()
    rclpy.try_shutdown()


def hears(node, kind, message) -> None:
    """What the executor would do with ``message`` arriving on every topic of ``kind``."""
    subscriptions = [s for s in node.subscriptions if s.msg_type is kind]
    assert subscriptions
    for subscription in subscriptions:
        subscription.callback(deserialize_message(serialize_message(message), kind))


def handled(node) -> int:
    return sum(c.frames + c.refused + c.missing_reference + c.dropped_stale for c in node.counters.values())


def until(condition, what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def feed(node, kind, message) -> None:
    """Wait until the worker is done with ``message``, whatever became of it."""
    before = handled(node) + refused(node)
    hears(node, kind, message)
    until(lambda: handled(node) + refused(node) > before, f"the worker to handle {message}"[:2000])


def refused(node) -> int:
    return sum(found.count for found in node.guard.sources.values())


def picture(second: int = 10) -> Image:
    image = np.random.default_rng(second).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    message = Image()
    message.header.stamp.sec = second
    return fill_image(message, image, message.header)


def test_a_compressor_lives_through_any_image_acknowledgement_and_request(started) -> None:
    from gsc_ros.nodes.compressor import Compressor

    node = started(Compressor)
    node.start()

    @EXAMPLES
    @given(IMAGES, messages(GscAck), messages(GscRequest))
    def any_of_them(image, ack, request) -> None:
        hears(node, GscAck, ack)
        hears(node, GscRequest, request)
        feed(node, Image, image)

    any_of_them()
    frames = node.counters["/camera"].frames
    hears(node, GscRequest, GscRequest(max_bytes=300, bits_per_second=0, channels=0))
    until(lambda: (hears(node, Image, picture()), node.counters["/camera"].frames > frames)[1], "a good picture")


def test_a_compressor_of_compressed_images_lives_through_any(started) -> None:
    from gsc_ros.nodes.compressor import Compressor

    node = started(Compressor, "transport:=compressed")
    node.start()

    @EXAMPLES
    @given(messages(CompressedImage))
    def any_of_them(image) -> None:
        feed(node, CompressedImage, image)

    any_of_them()


def test_a_reconstructor_lives_through_any_frame(started, encoder) -> None:
    from gsc_ros.nodes.reconstructor import Reconstructor

    node = started(Reconstructor, "realism:=0.0")
    node.start()
    image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    frame = encoder.for_another_camera().encode(image, EncodeSettings(max_bytes=200)).frame
    good = message_fields(frame, array.array)

    def fields_of(message):
        return {name: getattr(message, name) for name in message.get_fields_and_field_types()}

    @EXAMPLES
    @given(FRAMES, st.sets(st.sampled_from(sorted(good))))
    def any_of_them(message, wrong) -> None:
        """Some fields of a good frame are anything, the rest is as it was."""
        mixed = {**good, **{name: value for name, value in fields_of(message).items() if name in wrong}}
        feed(node, GscFrame, GscFrame(header=message.header, **mixed))
        feed(node, GscFrame, message)

    any_of_them()
    frames = node.counters["/camera"].frames
    feed(node, GscFrame, GscFrame(**good))
    assert node.counters["/camera"].frames == frames + 1


@pytest.mark.parametrize("side", ["robot", "base"])
def test_a_gateway_lives_through_any_message(started, side, encoder) -> None:
    from gsc_ros.nodes.gateway import Gateway

    node = started(Gateway, f"side:={side}", "local:=127.0.0.1:0", "remote:=127.0.0.1:9")
    node.start()
    kinds = {"robot": (GscFrame,), "base": (GscAck, GscRequest)}[side]
    assert {subscription.msg_type for subscription in node.subscriptions} == set(kinds)

    @EXAMPLES
    @given(st.one_of(*[messages(kind) for kind in kinds]))
    def any_of_them(message) -> None:
        hears(node, type(message), message)

    any_of_them()
    good = GscRequest(max_bytes=300, bits_per_second=-1, channels=-1)
    if side == "robot":
        image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        frame = encoder.for_another_camera().encode(image, EncodeSettings(max_bytes=200)).frame
        good = GscFrame(**message_fields(frame, array.array))
    sent = lambda: node._endpoint.counters.sent_bytes  # noqa: E731
    rests = None
    while sent() != rests:  # what came of all that is on its way
        rests = sent()
        time.sleep(0.2)
    before = refused(node)
    hears(node, type(good), good)
    until(lambda: sent() > rests, "a good message to be sent")
    assert refused(node) == before


def test_a_flood_of_noise_is_a_warning(started) -> None:
    import socket

    from gsc_ros.nodes.gateway import Gateway

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outsider:
        outsider.bind(("127.0.0.1", 0))
        own = ("127.0.0.1", outsider.getsockname()[1])
        outsider.close()
    node = started(Gateway, "side:=base", f"local:={own[0]}:{own[1]}")
    node.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outsider, spinning(node):
        assert "noise" not in node.statuses()[0].message
        until(
            lambda: (outsider.sendto(os.urandom(60), own), time.sleep(0.05), "noise" in node.statuses()[0].message)[2],
            "a word about the noise",
        )
        assert node.statuses()[0].level == DiagnosticStatus.WARN


@pytest.mark.parametrize(("asked", "given"), [("0.0", 7680.0), ("4000.0", 4000.0), ("100000.0", 7680.0)])
def test_a_serial_line_is_given_no_more_than_it_carries(started, asked, given) -> None:
    """At 9600 baud pictures were 55 to 84 s old: what the line did not carry waited in front of it."""
    from gsc_ros.nodes.gateway import Gateway

    far, near = os.openpty()
    try:
        line = ["transport:=serial", f"serial_device:={os.ttyname(near)}", "baud:=9600"]
        node = started(Gateway, *line, f"max_bits_per_second:={asked}")
        assert node._endpoint.bucket.bits_per_second == given
    finally:
        os.close(far)
        os.close(near)


def test_the_operators_page_lives_through_any_message(started) -> None:
    from gsc_ros.nodes.viewer import Viewer

    node = started(lambda: Viewer(["/camera"], "/gateway", clocks_agree=True))

    @EXAMPLES
    @given(IMAGES, messages(GscStats), messages(GscLink, cameras=st.lists(st.sampled_from(["/camera", "/x"]))), TEXT)
    def any_of_them(image, stats, link, text) -> None:
        hears(node, Image, image)
        hears(node, GscStats, stats)
        hears(node, GscLink, link)
        hears(node, String, String(data=text))

    any_of_them()
    before = refused(node)
    hears(node, Image, picture())
    hears(node, String, String(data="good"))
    assert refused(node) == before
    assert "good" in node.server._last["caption", "/camera"]
    assert "data:image/jpeg" in node.server._last["image", "/camera"]


def test_a_picture_whose_time_cannot_be_known_is_not_shown_as_fresh(started) -> None:
    """Its stamp was never set, or lies ahead of the base's clock: an age of 0.0 s would say that it is live."""
    from gsc_ros.nodes.viewer import Viewer

    node = started(lambda: Viewer(["/camera"], "/gateway", clocks_agree=True))
    now = node.get_clock().now().nanoseconds // 10**9

    def age(sec: int) -> float | None:
        image = fill_image(Image(), np.zeros((16, 16, 3), np.uint8), Image().header)
        image.header.stamp = Time(sec=sec)
        hears(node, Image, image)
        return json.loads(node.server._last["image", "/camera"])["age_s"]

    assert age(0) is None
    assert age(now + 3600) is None
    assert 3600 <= age(now - 3600) < 3600 + LIMIT_S


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(-2, 40), st.floats(), TEXT,
    st.sampled_from(["off", "fixed", "model", "key", "ssim", "4k", "lora-sf7"]),
    st.lists(TEXT, max_size=3), st.lists(st.floats(), max_size=3),
)  # fmt: skip


@pytest.mark.parametrize("name", ["compressor", "reconstructor", "gateway", "link_emulator"])
def test_parameters_of_any_value_are_taken_or_refused_as_a_whole(started, name) -> None:
    """Whatever was taken, a good frame still goes through; a wish that is refused leaves everything as it was."""
    import importlib

    module = importlib.import_module(f"gsc_ros.nodes.{name}")
    make = getattr(module, name.title().replace("_", ""))
    own = {"gateway": ["local:=127.0.0.1:0"], "link_emulator": ["robot_side:=127.0.0.1:0"]}.get(name, [])
    node = started(make, *own)
    node.start()
    known = sorted(node.values)

    @EXAMPLES
    @given(st.dictionaries(st.sampled_from(known), VALUES, min_size=1, max_size=3))
    def any_of_them(wishes) -> None:
        before = dict(node.values)
        result = node.set_parameters_atomically([Parameter(key, value=value) for key, value in wishes.items()])
        if not result.successful:
            assert result.reason
            assert repr(dict(node.values)) == repr(before)
        node.check(node.values)

    any_of_them()
    if name == "compressor":
        frames = node.counters["/camera"].frames
        until(
            lambda: (time.sleep(0.02), hears(node, Image, picture()), node.counters["/camera"].frames > frames)[2],
            "a good picture",
        )


@contextmanager
def spinning(node):
    """``node`` in an executor of a thread of its own, which has to end when it is told to."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=lambda: spin_guarded(executor, node), daemon=True)
    thread.start()
    try:
        yield
    finally:
        alive = thread.is_alive()
        executor.shutdown()
        thread.join(10)
    assert alive, "the executor had ended before"
    assert not thread.is_alive()


def test_a_message_that_rclpy_cannot_read_does_not_silence_the_node(started) -> None:
    """A middleware that raises on taking a message leaves the subscription marked as taken, for good."""
    node = started(lambda: GuardedNode("hearer"))
    heard: list = []
    node.listen(String, "/words", QoSProfile(depth=10), lambda message: heard.append(message.data))
    (subscription,) = node.subscriptions
    publisher = node.create_publisher(String, "/words", 10)
    kind, subscription.msg_type = subscription.msg_type, object
    with spinning(node):
        until(lambda: (publisher.publish(String(data="one")), time.sleep(0.05), refused(node))[2], "a refusal")
        subscription.msg_type = kind
        until(lambda: (publisher.publish(String(data="two")), time.sleep(0.05), "two" in heard)[2], "a good message")
    assert "cannot be read" in node.guard.sources["/words"].last


def test_a_clock_before_1970_does_not_end_a_node(started) -> None:
    """/clock is heard by rclpy itself, whose Time takes no negative seconds."""
    node = started(lambda: GuardedNode("hearer"), "use_sim_time:=true")
    publisher = node.create_publisher(Clock, "/clock", 10)
    with spinning(node):
        wrong = Clock(clock=Time(sec=-5, nanosec=4_000_000_000))
        until(lambda: (publisher.publish(wrong), time.sleep(0.05), refused(node))[2], "a refusal")
        right = Clock(clock=Time(sec=77))
        until(
            lambda: (publisher.publish(right), time.sleep(0.05), node.get_clock().now().nanoseconds == 77 * 10**9)[2],
            "the time",
        )
