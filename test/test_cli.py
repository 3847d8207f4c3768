"""The command line: files there and back, JSON for scripts, one line for errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from gsc_ros.cli.main import run


@pytest.fixture(scope="module")
def picture(tmp_path_factory, photograph) -> Path:
    path = tmp_path_factory.mktemp("cli") / "view.png"
    cv2.imwrite(str(path), photograph[:, :, ::-1])
    return path


def test_encode_inspect_decode(picture, tmp_path, capsys) -> None:
    packet, out, confidence = tmp_path / "view.gsc", tmp_path / "view.png", tmp_path / "confidence.png"
    assert (
        run(["encode", str(picture), str(packet), "--max-bytes", "150", "--caption", "a person in orange", "--json"])
        == 0
    )
    written = json.loads(capsys.readouterr().out)
    assert written["bytes"] == packet.stat().st_size <= 150
    assert run(["inspect", str(packet), "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["caption"] == "a person in orange"
    assert fields["head_bytes"] + fields["text_bytes"] + fields["channel_bytes"] == fields["bytes"]
    assert sum(fields["bits_by_channel"].values()) / 8 == pytest.approx(fields["channel_bytes"], abs=2)
    assert run(["decode", str(packet), str(out), "--realism", "0", "--confidence", str(confidence), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["generated"] is True
    assert cv2.imread(str(out)).shape == (480, 640, 3)
    assert cv2.imread(str(confidence), cv2.IMREAD_GRAYSCALE).shape == (480, 640)


def test_a_frame_that_builds_on_another_is_told_and_not_guessed(encoder, photograph, tmp_path, capsys) -> None:
    from gsc_ros.encoder import EncodeSettings

    sender = encoder.for_another_camera()
    packets = [sender.encode(photograph, EncodeSettings(max_bytes=150, memory="key")).packet for _ in range(2)]
    packet = tmp_path / "second.gsc"
    packet.write_bytes(packets[1])
    assert run(["inspect", str(packet), "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["builds_on"] == 0
    assert "bits_by_channel" not in fields
    assert run(["decode", str(packet), str(tmp_path / "x.png")]) == 1
    assert "builds on frame 0" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_the_seed_decides_the_picture(picture, tmp_path) -> None:
    packet = tmp_path / "view.gsc"
    run(["encode", str(picture), str(packet), "--channels", "8"])
    pictures = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert (
            run(
                ["decode", str(packet), str(tmp_path / f"{name}.png"), "--seed", seed, "--steps", "1", "--realism", "1"]
            )
            == 0
        )
        pictures.append(cv2.imread(str(tmp_path / f"{name}.png")))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["encode"], 2, "required"),
        (["fly"], 2, "invalid choice"),
        (["encode", "missing.png", "out.gsc"], 1, "missing.png"),
        (["encode", "IMAGE", "out.gsc", "--max-bytes", "10"], 2, "at least 24"),
        (["encode", "IMAGE", "out.gsc", "--channels", "99"], 1, "1 to 20"),
        (["encode", "IMAGE", "out.gsc", "--profile", "huge"], 1, "no profile 'huge'"),
        (["decode", "IMAGE", "out.png"], 1, "not a GSC packet"),
        (["decode", "IMAGE", "out.png", "--realism", "7"], 2, "0 to 1"),
        (["inspect", "/nonexistent.gsc"], 1, "No such file"),
        (["bag", "/nonexistent", "out"], 1, "not a rosbag2"),
        (["bench", "speed", "--frames", "big"], 2, "sizes separated by commas"),
        (["train", "nano", "--config", "/nonexistent.yaml"], 1, "No such file"),
    ],
)
def test_errors_are_one_line_on_stderr(picture, tmp_path, capsys, monkeypatch, arguments, code, words) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([str(picture) if argument == "IMAGE" else argument for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert any(word in captured.err for word in words.split("|"))


def test_profiles(capsys) -> None:
    assert run(["profiles", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    nano = next(row for row in rows if row["name"] == "nano")
    assert len(nano["fingerprint"]) == 16


def test_a_bag_there_and_back(tmp_path, capsys, shared_data) -> None:
    from gsc_ros.bag_types import deserialize
    from gsc_ros.bags.recording import Recording

    sent, shown = tmp_path / "sent", tmp_path / "shown"
    assert run(["bag", str(shared_data / "bags" / "kapture_t265_mcap"), str(sent), "--max-bytes", "200"]) == 0
    assert run(["bag", str(sent), str(shown), "--decode", "--realism", "0"]) == 0
    recording = Recording(shown)
    counts = {topic.name: count for topic, count in recording.topics.items()}
    stamps = {}
    for topic, _, data in recording.messages():
        if topic.name.endswith("/gsc/image_raw"):
            message = deserialize(data, topic.type)
            stamps[topic.name, message.header.stamp.sec, message.header.stamp.nanosec] = (
                message.height,
                message.width,
                message.encoding,
            )
    recording.close()
    assert len(stamps) == 6
    assert set(stamps.values()) == {(800, 848, "rgb8")}
    assert counts["/camera/gyro/sample"] == 19  # what is no picture is kept


def test_what_a_bag_is_made_into_is_read_by_others(tmp_path, capsys, shared_data) -> None:
    from rosbags.highlevel import AnyReader

    assert run(["bag", str(shared_data / "bags" / "kapture_t265_mcap"), str(tmp_path / "sent")]) == 0
    with AnyReader([tmp_path / "sent"]) as reader:
        kinds = [type(reader.deserialize(data, topic.msgtype)).__name__ for topic, _, data in reader.messages()]
    assert kinds.count("gsc_ros__msg__GscFrame") == 6
    assert len(kinds) > 20


@pytest.mark.slow
def test_a_bag_painted_by_several_workers_is_the_same(tmp_path, capsys, shared_data) -> None:
    from gsc_ros.bags.recording import Recording

    bag = str(shared_data / "bags" / "kapture_t265_mcap")
    assert run(["bag", bag, str(tmp_path / "sent"), "--max-bytes", "200", "--key-interval", "3"]) == 0
    contents = []
    for name, options in (("one", []), ("two", ["--jobs", "2"]), ("devices", ["--devices", "cpu,cpu"])):
        assert run(["bag", str(tmp_path / "sent"), str(tmp_path / name), "--decode", *options]) == 0
        recording = Recording(tmp_path / name)
        contents.append([(topic.name, stamp, bytes(data)) for topic, stamp, data in recording.messages()])
        recording.close()
    assert contents[0] == contents[1] == contents[2]
    assert len({data for topic, _, data in contents[0] if topic.endswith("/gsc/image_raw")}) == 6
    capsys.readouterr()
    assert run(["bag", bag, str(tmp_path / "more"), "--jobs", "2"]) == 1
    assert "go with --decode" in capsys.readouterr().err
    assert run(["bag", str(tmp_path / "sent"), str(tmp_path / "more"), "--decode", "--devices", "cuda:9"]) == 1
    assert "device 'cuda:9' is not there: cpu" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_result_is_written_whole_or_not_at_all(picture, tmp_path, capsys, monkeypatch, command) -> None:
    (tmp_path / "in").mkdir()
    assert run(["encode", str(picture), str(tmp_path / "in" / "view.gsc")]) == 0
    source = picture if command == "encode" else tmp_path / "in" / "view.gsc"
    result = tmp_path / ("view.gsc" if command == "encode" else "view.png")
    result.write_bytes(b"an older one")

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run([command, str(source), str(result)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert result.read_bytes() == b"an older one"
    assert {path.name for path in tmp_path.iterdir()} == {"in", result.name}


def test_what_is_no_file_is_written_to_directly(picture, tmp_path) -> None:
    command = [sys.executable, "-m", "gsc_ros.cli.main", "encode", str(picture), "/dev/stdout", "--max-bytes", "99"]
    written = subprocess.run(command, check=True, capture_output=True).stdout
    assert 24 < len(written.split(b"/dev/stdout: ")[0]) <= 99


def test_every_command_has_help(capsys) -> None:
    from gsc_ros.cli.main import COMMANDS

    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            run([command, "--help"])
        assert ended.value.code == 0
        assert "usage: gsc" in capsys.readouterr().out


def test_a_bag_whose_frames_build_on_key_frames_is_smaller(tmp_path, capsys, shared_data) -> None:
    bag = str(shared_data / "bags" / "kitti_2011_09_26_raw5_sqlite3")
    sizes = []
    for name, interval in (("alone", "1"), ("built", "10")):
        assert run(["bag", bag, str(tmp_path / name), "--key-interval", interval]) == 0
        words = capsys.readouterr().out.split(": ")[-1]
        sizes.append(float(words.split(", ")[1].split()[0]))
    assert sizes[1] < sizes[0]
    assert run(["bag", str(tmp_path / "built"), str(tmp_path / "again"), "--decode"]) == 0
    assert "5 frames, generated" in capsys.readouterr().out
    assert run(["bag", bag, str(tmp_path / "searched"), "--key-interval", "10", "--search", "4"]) == 1
    assert capsys.readouterr().err == (
        "gsc: search 4: frames that build on others are not searched, set memory to off\n"
    )
    assert not (tmp_path / "searched").exists()
