"""What /diagnostics and the log say of a camera and of the link: nothing hides another, and no OK while nothing works."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("gsc_ros.msg", reason="the messages are not built: run make test")

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from gsc_ros.msg import GscFrame  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from gsc_ros.decoder import MissingReferenceError  # noqa: E402
from gsc_ros.image_messages import fill_image  # noqa: E402

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


@pytest.fixture
def started(tmp_path):
    """Makes nodes of this process with parameters, their threads not begun; gives them back at the end."""
    os.environ["ROS_LOG_DIR"] = str(tmp_path)
    nodes = []

    def start(make, *parameters: str):
        arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
        rclpy.init(args=["--ros-args", *arguments])
        nodes.append(make())
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()
    rclpy.try_shutdown()


@pytest.fixture
def passes(monkeypatch):
    """Lets so many seconds pass on the clock that nothing sets."""
    real, offset = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + offset[0])
    return lambda seconds: offset.__setitem__(0, offset[0] + seconds)


def state(node, what: str):
    return next((s.level, s.message) for s in node.statuses() if s.name.endswith(f": {what}"))


def stamped(kind, seconds: int):
    message = kind()
    message.header.stamp.sec = seconds
    return message


def test_one_cameras_warnings_do_not_hide_anothers_nor_what_is_said_once(started, capfd) -> None:
    from gsc_ros.nodes.compressor import Compressor

    node = started(Compressor, "cameras:=['/front','/rear']")
    for _ in range(3):
        node._refuse("/front", "no picture")
    node._refuse("/rear", "no picture either")
    node._told("/front", "frames are shrunk")
    told = capfd.readouterr().err
    assert told.count("/front: frame refused: no picture") == 1
    assert "/rear: frame refused: no picture either" in told
    assert "/front: frames are shrunk" in told


def test_a_camera_that_fell_silent_is_a_warning_until_it_is_back(started, passes) -> None:
    from gsc_ros.nodes.compressor import Compressor

    node = started(Compressor)
    now = int(node.get_clock().now().nanoseconds // 10**9)
    assert state(node, "/camera") == (WARN, "no frame yet")
    node.arrived("/camera", stamped(Image, now))
    node.done("/camera", time.perf_counter())
    assert state(node, "/camera") == (OK, "running")
    passes(11.0)
    assert state(node, "/camera") == (WARN, "nothing came for 11 s")
    node.arrived("/camera", stamped(Image, now))
    assert state(node, "/camera") == (OK, "running")


def test_frames_that_come_in_vain_are_a_warning_with_the_reason(started, passes, monkeypatch) -> None:
    from gsc_ros.nodes.reconstructor import Reconstructor

    node = started(Reconstructor)

    def missing(frame):
        raise MissingReferenceError("gone")

    monkeypatch.setattr(node._decoders["/camera"], "read", missing)
    monkeypatch.setattr("gsc_ros.nodes.reconstructor.frame_of", lambda message: message)
    monkeypatch.setattr("gsc_ros.nodes.reconstructor.pack", lambda frame: b"")
    message = stamped(GscFrame, 5)

    def comes() -> None:
        node.arrived("/camera", message)
        node.work([("/camera", message)])

    comes()
    level, text = state(node, "/camera")
    assert (level, "key frame" in text) == (WARN, True)
    node.done("/camera", time.perf_counter())
    monkeypatch.setattr(node._offsets["/camera"], "seen", lambda *_: None)
    node.set_parameters([rclpy.parameter.Parameter("clocks_agree", value=False)])
    comes()
    assert state(node, "/camera") == (OK, "running")  # one is nothing unusual on a link that loses packets
    for _ in range(11):
        passes(1.0)
        comes()
    assert "key frame" in state(node, "/camera")[1]
    assert state(node, "/camera")[0] == WARN
    node.done("/camera", time.perf_counter())
    assert state(node, "/camera") == (OK, "running")


def test_a_clock_that_is_off_is_that_cameras_alone(started) -> None:
    """With ages from the fastest frame, one camera in the year 2038 made every frame of the others look too old."""
    from gsc_ros.nodes.compressor import Compressor

    node = started(Compressor, "cameras:=['/front','/rear']", "clocks_agree:=false")
    now = int(node.get_clock().now().nanoseconds // 10**9)
    node.arrived("/rear", stamped(Image, 2**31 - 1))
    front = stamped(Image, now)
    node.arrived("/front", front)
    assert abs(node.age_s("/front", front.header.stamp)) < 60


def test_a_gateway_says_how_long_nothing_was_accepted(started, passes) -> None:
    """The other side may be off while the key is proven and everything that is sent leaves well."""
    from gsc_ros.nodes.gateway import Gateway

    node = started(Gateway, "side:=base", "local:=127.0.0.1:0")
    assert state(node, "link") == (WARN, "nothing came from the other side yet; nothing was accepted yet")
    node._silence.heard(time.monotonic())
    assert state(node, "link")[0] == OK
    passes(31.0)
    level, text = state(node, "link")
    assert level == WARN
    assert text == "nothing comes from the other side any more; last accepted 31 s ago"


def test_a_robot_that_has_nothing_to_send_expects_no_answer(started, passes) -> None:
    from gsc_ros.nodes.gateway import Gateway

    node = started(Gateway, "side:=robot", "remote:=127.0.0.1:9")
    assert state(node, "link")[0] == OK  # where there is no way back nothing ever comes
    node._silence.heard(time.monotonic())
    passes(31.0)
    assert state(node, "link") == (OK, "link to 127.0.0.1:9; last accepted 31 s ago")
    node._endpoint.counters.sent_datagrams += 4
    assert state(node, "link")[0] == WARN


def test_a_rate_that_was_set_too_low_is_over_once_it_is_set_right(started, passes) -> None:
    """One frame at 0.001 Hz was followed by none for a quarter of an hour, whatever was set then."""
    from gsc_ros.nodes.compressor import Compressor

    node = started(Compressor, "max_rate_hz:=2.0", "caption_mode:=off")

    def taken() -> bool:
        message = stamped(Image, 10)
        return node._compress("/camera", fill_image(message, np.zeros((48, 64, 3), np.uint8), message.header))

    def rate(hertz: float) -> None:
        (result,) = node.set_parameters([rclpy.parameter.Parameter("max_rate_hz", value=hertz)])
        assert result.successful

    rate(0.001)
    while taken():
        pass
    rate(2.0)
    assert taken()
    while taken():
        pass
    passes(0.6)
    assert taken()  # and it holds
    assert not taken()
