"""The demo end to end: processes, table, and every file it promises."""

from __future__ import annotations

import json
import shutil
import subprocess

import cv2
import pytest
from conftest import LIMIT_S

pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("gsc_ros.msg", reason="the messages are not built: run make test")

from gsc_ros.cli.main import run

KEYS = {
    "profile", "fingerprint", "width", "height", "frames_sent", "frames_shown", "dropped", "bytes", "bpp", "encode_ms",
    "decode_ms", "latency_ms", "psnr", "ms_ssim", "confidence_mean", "frames",
}  # fmt: skip


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    assert run(["demo", "--frames", "4", "--rate", "0.5", "--max-bytes", "250", "--out", str(out)]) == 0
    return out


def test_the_report_is_complete_and_true(demo) -> None:
    report = json.loads((demo / "report.json").read_text())
    assert report.keys() >= KEYS
    assert (report["width"], report["height"]) == (640, 480)
    assert report["frames_sent"] == 4
    assert report["frames_shown"] == len(report["frames"]) >= 2
    assert report["dropped"] == report["frames_sent"] - report["frames_shown"]
    assert report["bytes"]["max"] <= 250
    for frame in report["frames"]:
        assert frame["bytes"] == frame["head_bytes"] + frame["text_bytes"] + frame["channel_bytes"]
        assert frame["latency_ms"] >= 0.9 * (frame["encode_ms"] + frame["decode_ms"])
    assert report["bytes"]["mean"] == pytest.approx(sum(f["bytes"] for f in report["frames"]) / len(report["frames"]))


def test_the_recording_reads_back(demo) -> None:
    from gsc_ros.bag_types import FRAME_TYPE, deserialize
    from gsc_ros.bags.recording import Recording

    recording = Recording(demo / "link.mcap")
    kinds = {topic.name: topic.type for topic in recording.topics}
    stamps: dict[str, set] = {}
    for topic, _, data in recording.messages():
        if topic.type in (FRAME_TYPE, "sensor_msgs/msg/Image"):
            stamp = deserialize(data, topic.type).header.stamp
            stamps.setdefault(topic.name, set()).add((stamp.sec, stamp.nanosec))
    recording.close()
    assert kinds["/camera/image_raw/gsc"] == FRAME_TYPE
    assert stamps["/camera/gsc/image_raw"] <= stamps["/camera/image_raw/gsc"] <= stamps["/camera/image_raw"]


def test_a_bad_frame_is_told_and_the_rest_is_shown(tmp_path, capsys) -> None:
    from bag_files import COMPRESSED, camera, compressed, jpeg, write

    rows = camera(3)
    rows.insert(1, ("/camera/image_raw/compressed", COMPRESSED, compressed(data=jpeg()[:2000])))
    bag = write(tmp_path / "in", rows)
    assert run(["demo", "--bag", str(bag), "--rate", "1", "--out", str(tmp_path / "out"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames_sent"] == 3
    assert captured.err.count("left out: ") == 1 and "it is cut off" in captured.err


def test_the_pictures_are_there_and_the_page_is_self_contained(demo) -> None:
    assert cv2.imread(str(demo / "side_by_side.png")).shape[1] == 1260
    page = (demo / "index.html").read_text()
    assert "generated" in page
    assert 'src="http' not in page
    assert page.count("data:image/png;base64,") >= 3


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_page_shows_in_a_browser(demo, tmp_path) -> None:
    shot = tmp_path / "page.png"
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    command = [
        chromium(),
        *flags,
        f"--user-data-dir={tmp_path / 'user'}",
        "--window-size=1200,2000",
        f"--screenshot={shot}",
        f"file://{demo / 'index.html'}",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    picture = cv2.imread(str(shot))
    assert picture.shape == (2000, 1200, 3)
    assert picture.std() > 30  # pictures, not an empty page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "/nonexistent"], "not a folder"),
        (["--bag", "/nonexistent"], "not a rosbag2"),
        (["--video", "/nonexistent.mp4"], "cannot be opened"),
        (["--frames", "0"], "at least 1"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line(tmp_path, capsys, arguments, words) -> None:
    assert run(["demo", *arguments, "--out", str(tmp_path)]) in (1, 2)
    assert words in capsys.readouterr().err
