"""Experiments: honest ages, real losses, resumable runs, and a detector that is not easily pleased."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from gsc_ros.cli.main import run as gsc
from gsc_ros.evaluation.tasks.detector import agreement
from gsc_ros.experiment.codecs import ExperimentCodec, make_codec
from gsc_ros.experiment.judge import Outage, frame_rows, gradient_similarity, summary
from gsc_ros.experiment.plan import Plan
from gsc_ros.experiment.simulation import fly, rate_settings, wire_cost
from gsc_ros.link.emulator import LinkSpec
from gsc_ros.profiles import load_profile
from gsc_ros.sources import Source, moving_photographs


def drive(count: int = 12, side: int = 192) -> list[np.ndarray]:
    images = [image for image, _ in zip(moving_photographs(), range(count), strict=False)]
    return [np.ascontiguousarray(cv2.resize(image, (side + 64, side))) for image in images]


class Parrot(ExperimentCodec):
    """Sends a number of bytes that stand for the frame itself."""

    def __init__(self, frames: list[np.ndarray], size: int) -> None:
        self._frames, self._size = frames, size

    def encode(self, image, most_bytes):
        number = next(index for index, frame in enumerate(self._frames) if frame is image)
        return bytes([number]).ljust(min(self._size, most_bytes or self._size), b"\1")

    def decode(self, packet):
        return self._frames[packet[0]], None


def test_ages_pictures_a_second_and_bytes_are_what_arithmetic_says() -> None:
    frames = drive()
    spec = LinkSpec(bits_per_second=8000, latency_s=0.5)
    rate = rate_settings(spec, max_bytes=460, least_rate_hz=2.0)
    flight = fly(Parrot(frames, 460), frames, spec, rate, fps=10, seconds=30, seed=1)
    rows = frame_rows(flight, frames, None, most=20)
    figures = summary(flight, rows, None)
    packet_s = 8 * (460 + 40) / 8000  # half a second for 460 bytes and the headers of the one datagram
    assert figures["fps"] == pytest.approx(1 / packet_s, rel=0.07)
    assert figures["wire_bps"] == pytest.approx(8000, rel=0.05)
    assert figures["packet_bytes"] == pytest.approx(460, abs=5)
    assert rows[3]["age_s"] == pytest.approx(0.5 + packet_s, abs=0.15)
    assert figures["age_p50_s"] == pytest.approx(0.5 + packet_s * 1.5, abs=0.15)
    assert math.isinf(rows[0]["psnr"])
    assert rows[0]["ms_ssim"] == 1.0
    assert sum("psnr" in row for row in rows) == 20


def test_an_outage_shows_in_the_ages_and_in_the_recovery() -> None:
    frames = drive()
    spec = LinkSpec(bits_per_second=8000, latency_s=0.2, outage_every_s=10, outage_s=4)
    rate = rate_settings(spec, max_bytes=300, least_rate_hz=2.0)
    flight = fly(Parrot(frames, 300), frames, spec, rate, fps=10, seconds=19, seed=1)
    figures = summary(flight, frame_rows(flight, frames, None, most=3), Outage(10, 14))
    assert figures["age_max_s"] > 4
    assert 0.2 < figures["recovery_s"] < 1.5
    assert figures["age_p50_s"] < 1.2


@pytest.mark.parametrize("name", ["gsc", "gsc-intra", "jpeg", "webp", "av1", "h265-stream"])
def test_every_codec_shows_pictures_of_its_own_frames(name) -> None:
    frames = drive(6)
    spec = LinkSpec(bits_per_second=24_000, latency_s=0.1, loss=0.1)
    rate = rate_settings(spec, max_bytes=1200, least_rate_hz=2.0)
    codec = make_codec(name, frames, rate, profile="nano", fps=4)
    flight = fly(codec, frames, spec, rate, fps=4, seconds=6, seed=3)
    assert len(flight.shown) >= 3
    assert 8 * flight.wire_bytes <= 24_000 * 6 + 8 * wire_cost(bytes(1400)) + 24_000
    for shown in flight.shown:
        assert shown.picture.shape == frames[0].shape
        own = np.abs(shown.picture.astype(int) - frames[shown.index]).mean()
        assert own < 45  # a picture of this frame, if a poor one
        assert shown.packet_bytes <= 1200 or name == "h265-stream"


def test_a_lost_packet_of_a_stream_is_not_shown_as_a_smear() -> None:
    frames = drive(12)
    rate = rate_settings(LinkSpec(bits_per_second=24_000), max_bytes=1200, least_rate_hz=1.0)
    codec = make_codec("h265-stream", frames, rate, profile="nano", fps=2)
    packets = [codec.encode(frame, None) for frame in frames]
    shown = [codec.decode(packet)[0] is not None for packet in packets[:2] + packets[3:]]
    assert shown[:2] == [True, True]
    assert not shown[2]  # its reference was lost
    assert any(shown[3:])  # the next key frame mends it


def test_agreement_counts_places_and_classes() -> None:
    box = [10, 10, 50, 50, 0.9, 2]
    boxes = np.array([box, [100, 100, 150, 160, 0.8, 0]], dtype=np.float32)
    assert agreement(boxes, boxes) == (2, 0, 0)
    moved = boxes + np.array([5, 5, 5, 5, 0, 0], dtype=np.float32)
    assert agreement(boxes, moved) == (2, 0, 0)
    other = boxes.copy()
    other[0, 5] = 3
    assert agreement(boxes, other) == (1, 1, 1)
    assert agreement(boxes, boxes[:0]) == (0, 2, 0)
    assert agreement(boxes[:0], boxes) == (0, 0, 2)


def test_gradient_similarity_is_one_for_the_same_and_less_for_a_blur(photograph) -> None:
    assert gradient_similarity(photograph, photograph) == pytest.approx(1.0)
    mild, strong = (gradient_similarity(photograph, cv2.GaussianBlur(photograph, (0, 0), s)) for s in (2, 6))
    assert strong < mild < 0.99


def test_the_detector_finds_in_a_photograph_what_is_there(shared_data) -> None:
    from gsc_ros.evaluation.tasks.detector import Detector
    from gsc_ros.sources import read_file

    folder = shared_data / "val" / "coco"
    detector = Detector(shared_data / "instruments" / "yolox_nano.onnx")
    found = missed = 0
    images = sorted(path for path in folder.rglob("*.jpg") if "mask" not in str(path))[:12]
    for path in images:
        image = read_file(path)
        boxes = detector.boxes(image)
        found += len(boxes)
        agreed, gone, _ = agreement(boxes, detector.boxes(cv2.GaussianBlur(image, (0, 0), 12)))
        missed += gone
        assert agreement(boxes, boxes)[0] == len(boxes)
        assert agreed <= len(boxes)
    assert found > 10
    assert missed > found / 3


def test_the_command_writes_its_results_and_goes_on_where_it_was(tmp_path, capsys) -> None:
    folder = tmp_path / "views"
    folder.mkdir()
    for index, frame in enumerate(drive(4)):
        cv2.imwrite(str(folder / f"{index}.png"), frame[:, :, ::-1])
    out = tmp_path / "out"
    asked = ["experiment", "--images", str(folder), "--links", "8k,iridium-sbd", "--codecs", "gsc-intra,jpeg",
             "--seconds", "4", "--fps", "4", "--outage", "1", "--judged", "4", "--jobs", "1", "--out", str(out)]  # fmt: skip
    assert gsc(asked) == 0
    table = capsys.readouterr().out
    assert "| 8k | gsc-intra |" in table
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert [(row["link"], row["codec"]) for row in rows] == [
        ("8k", "gsc-intra"), ("8k", "jpeg"), ("iridium-sbd", "gsc-intra"), ("iridium-sbd", "jpeg"),
    ]  # fmt: skip
    for name in (
        "fps",
        "age_p50_s",
        "age_p95_s",
        "first_picture_s",
        "wire_bps",
        "psnr",
        "ms_ssim",
        "detector_agreement",
    ):
        assert name in rows[0]
    assert len(list(csv.DictReader((out / "frames.csv").open()))) == sum(int(row["frames_shown"]) for row in rows)
    page = (out / "index.html").read_text()
    assert page.count("data:image/png;base64,") >= 3
    assert "http" not in page.replace("data:", "")
    runs = sorted((out / "runs").iterdir())
    marked = json.loads(runs[0].read_text())
    marked["figures"]["psnr"] = 12.345
    runs[0].write_text(json.dumps(marked))
    assert gsc(asked) == 0
    assert "12.3" in capsys.readouterr().out  # it was read, not run again
    assert gsc([*asked, "--seed", "2"]) == 0
    assert len(list((out / "runs").iterdir())) == 8


def test_a_run_is_known_by_the_files_that_its_figures_depend_on(tmp_path) -> None:
    """The generator's weights, which the fingerprint does not know of, and the detector."""
    shipped = load_profile("nano")
    source = Path(__file__).resolve().parents[1] / "config" / "profiles" / "nano.yaml"
    profile, weights, detector = tmp_path / "mine.yaml", tmp_path / "weights", tmp_path / "detector.onnx"
    profile.write_text(yaml.safe_dump(yaml.safe_load(source.read_text()) | {"weights": str(weights)}))
    shutil.copytree(shipped.weights, weights)
    detector.write_bytes(b"one")
    plan = Plan(source=Source(images=tmp_path), profile=str(profile), detector=detector)
    keys = [plan.key("8k", "gsc"), plan.key("8k", "gsc")]
    assert keys[0] == keys[1] != plan.key("8k", "jpeg")
    for path in (weights / "flow.safetensors", detector):
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        keys.append(plan.key("8k", "gsc"))
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--links", "fast"], "link 'fast'"),
        (["--codecs", "gsc,mjpeg"], "mjpeg"),
        (["--loss", "2"], "--loss 2"),
        (["--images", "/nowhere"], "/nowhere is not a folder"),
        (
            ["--detector", "/nowhere.onnx", "--links", "8k", "--codecs", "jpeg", "--jobs", "1", "--seconds", "1"],
            "/nowhere.onnx",
        ),
    ],
)
def test_bad_requests_are_one_line(tmp_path, capsys, arguments, words) -> None:
    assert gsc(["experiment", "--out", str(tmp_path), *arguments]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error
