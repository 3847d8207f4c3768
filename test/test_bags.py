"""Bags as robots leave them: damaged frames, strange topics, files without an end. Nothing of it ends a command."""

from __future__ import annotations

import os
import sqlite3

import numpy as np
import pytest
import yaml
from bag_files import COMPRESSED, IMAGE, TEXT, camera, compressed, image, jpeg, text, write, write_humble
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.bags.recording import Recording
from gsc_ros.cli.main import run
from gsc_ros.sources import Source, SourceError

BAD = {
    "cut": compressed(9)[:-2000],
    "no CDR": b"",
    "no data": compressed(9, data=b""),
    "garbage": compressed(9, data=bytes(range(200)) * 5),
    "half a JPEG": compressed(9, data=jpeg(9)[: len(jpeg(9)) // 2]),
    "half a JPEG with an end": compressed(9, data=jpeg(9)[: len(jpeg(9)) // 2] + b"\xff\xd9"),
    "flipped": compressed(9, data=jpeg(9)[:-600] + bytes(200) + jpeg(9)[-400:]),
}
BAD_RAW = {
    "0x0": image(pixels=np.zeros((0, 0, 3), np.uint8), step=0),
    "1xN": image(pixels=np.zeros((1, 160, 3), np.uint8)),
    "short": image(data=np.zeros(1000, np.uint8)),
    "unknown": image(encoding="vendor12p"),
}


def convert(bag, out, capsys, *more: str) -> tuple[int, str, str]:
    code = run(["bag", str(bag), str(out), "--max-bytes", "100", *more])
    captured = capsys.readouterr()
    # Nothing but what was asked for, and that only where it is whole.
    beside = {path.name for path in out.parent.iterdir()} - {out.name, bag.name}
    assert not [name for name in beside if name.startswith(".")]
    assert out.exists() == (code == 0)
    return code, captured.out, captured.err


def topics(bag) -> dict[str, int]:
    recording = Recording(bag)
    found = {topic.name: count for topic, count in recording.topics.items()}
    recording.close()
    return found


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("bad", [*BAD, *BAD_RAW])
def test_a_bad_frame_is_left_out_told_and_counted(tmp_path, capsys, bad, place) -> None:
    raw = bad in BAD_RAW
    topic, kind = ("/camera/image_raw", IMAGE) if raw else ("/camera/image_raw/compressed", COMPRESSED)
    rows = [(topic, kind, image(seed) if raw else compressed(seed)) for seed in range(3)]
    rows.insert(place, (topic, kind, (BAD_RAW if raw else BAD)[bad]))
    bag = write(tmp_path / "in", rows)
    code, out, err = convert(bag, tmp_path / "out", capsys)
    assert code == 0 and "3 frames" in out and ", 1 left out" in out
    assert err.count("left out: ") == 1 and f"{topic} at {1_700_000_000 + place}.000 s left out" in err
    assert len(list(Source(bag=bag).frames())) == 3
    assert capsys.readouterr().err.count("left out: ") == 1


def test_of_many_bad_frames_a_few_are_told(tmp_path, capsys) -> None:
    rows = [("/camera/image_raw/compressed", COMPRESSED, BAD["no data"])] * 40
    bag = write(tmp_path / "in", [*rows, *camera(1)])
    code, out, err = convert(bag, tmp_path / "out", capsys)
    assert code == 0 and ", 40 left out" in out
    assert len(err.strip().splitlines()) == 6


def test_where_all_frames_are_bad_the_end_is_one_line(tmp_path, capsys) -> None:
    bag = write(tmp_path / "in", [("/c/image_raw", IMAGE, BAD_RAW["1xN"])] * 2)
    code, _, err = convert(bag, tmp_path / "out", capsys)
    assert code == 1 and err.strip().splitlines()[-1] == "gsc: none of 2 frames could be converted"
    with pytest.raises(SourceError, match="none of its frames can be read, 2 left out"):
        list(Source(bag=bag).frames())


def test_other_topics_keep_bytes_type_definition_and_qos(tmp_path, capsys) -> None:
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )  # fmt: skip
    from rosbags.rosbag2 import StoragePlugin, Writer

    from gsc_ros.bag_types import typestore

    latched = Qos(
        QosHistory.KEEP_LAST, 7, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, QosTime(0, 0), QosTime(0, 0),
        QosLiveliness.AUTOMATIC, QosTime(0, 0), False,
    )  # fmt: skip
    definition = "float32 amperes\nmy_msgs/Wheel[] wheels\n" + "=" * 80 + "\nMSG: my_msgs/Wheel\nuint8 index\n"
    payload = b"\0\1\0\0" + bytes(range(12))
    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        tf = writer.add_connection("/robot_description", TEXT, typestore=typestore(), offered_qos_profiles=[latched])
        custom = writer.add_connection(
            "/motor",
            "my_msgs/msg/Motor",
            msgdef=definition,
            rihs01="RIHS01_" + 64 * "0",
            offered_qos_profiles=[latched],
        )
        pictures = writer.add_connection("/camera/image_raw", IMAGE, typestore=typestore())
        writer.write(tf, 1, text("<robot/>"))
        for when in range(3):
            writer.write(pictures, 2 + 2 * when, image(when))
            writer.write(custom, 3 + 2 * when, payload)
    assert convert(tmp_path / "in", tmp_path / "out", capsys)[0] == 0
    recording = Recording(tmp_path / "out")
    found = {topic.name: topic for topic in recording.topics}
    kept = [(topic.name, when, data) for topic, when, data in recording.messages() if "gsc" not in topic.name]
    recording.close()
    assert kept == [("/robot_description", 1, text("<robot/>")), *(("/motor", when, payload) for when in (3, 5, 7))]
    assert found["/motor"].definition == definition
    told = yaml.safe_load((tmp_path / "out" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    qos = {
        entry["topic_metadata"]["name"]: entry["topic_metadata"]["offered_qos_profiles"]
        for entry in told["topics_with_message_count"]
    }
    for name in ("/robot_description", "/motor"):
        assert (qos[name][0]["durability"], qos[name][0]["depth"]) == ("transient_local", 7)


def test_the_qos_that_a_user_wrote_into_the_metadata_holds(tmp_path, capsys) -> None:
    bag = write(tmp_path / "in", [("/odom_text", TEXT, text()), *camera(2)])
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    time = {"sec": 0, "nsec": 0}
    metadata["rosbag2_bagfile_information"]["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"] = [
        {
            "history": "keep_last", "depth": 3, "reliability": "best_effort", "durability": "volatile", "deadline": time,
            "lifespan": time, "liveliness": "automatic", "liveliness_lease_duration": time,
            "avoid_ros_namespace_conventions": False,
        }
    ]  # fmt: skip
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert convert(bag, tmp_path / "out", capsys)[0] == 0
    assert "best_effort" in (tmp_path / "out" / "metadata.yaml").read_text()


def test_a_type_without_a_definition_is_named_as_skipped(tmp_path, capsys) -> None:
    bag = write_humble(
        tmp_path / "in.db3", [("/motor", "my_msgs/msg/Motor", b"\0\1\0\0abcd"), *camera(), ("/s", TEXT, text())]
    )
    code, out, err = convert(bag, tmp_path / "out", capsys)
    assert code == 0 and "4 frames" in out
    assert err.strip() == (
        "gsc: /motor (1 message) is skipped: the definition of my_msgs/msg/Motor is neither in the bag nor known here"
    )
    assert topics(tmp_path / "out") == {"/s": 1, "/camera/image_raw/gsc": 4}


def test_a_channel_that_is_no_cdr_is_named_as_skipped(tmp_path, capsys) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    from gsc_ros.bag_types import typestore

    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        log = writer.add_connection("/log", "foxglove.Log", msgdef="{}", rihs01="-", serialization_format="json")
        pictures = writer.add_connection("/camera/image_raw", IMAGE, typestore=typestore())
        writer.write(log, 1, b'{"a": 1}')
        writer.write(pictures, 2, image())
    file = next((tmp_path / "in").glob("*.mcap"))
    file.write_bytes(file.read_bytes().replace(b"\x07\0\0\0ros2msg\x02\0\0\0{}", b"\x07\0\0\0jsonsch\x02\0\0\0{}"))
    code, _, err = convert(tmp_path / "in", tmp_path / "out", capsys)
    assert code == 0 and "/log (1 message) is skipped: its messages are json, not CDR" in err


def test_raw_and_compressed_of_a_camera_are_one_stream(tmp_path, capsys) -> None:
    rows = [row for seed in range(3) for row in (*camera(1), ("/camera/image_raw", IMAGE, image(seed)))]
    bag = write(tmp_path / "in", rows)
    code, out, err = convert(bag, tmp_path / "out", capsys)
    assert code == 0 and "3 frames" in out
    assert "/camera/image_raw/compressed is of the same camera as /camera/image_raw, which is taken" in err
    assert topics(tmp_path / "out") == {"/camera/image_raw/gsc": 3}
    assert run(["bag", str(tmp_path / "out"), str(tmp_path / "again"), "--decode"]) == 0
    assert "3 frames" in capsys.readouterr().out
    assert len(list(Source(bag=bag).frames())) == 3


def test_two_cameras_are_two_streams(tmp_path, capsys) -> None:
    bag = write(tmp_path / "in", [*camera(2, "/front/image_raw/compressed"), *camera(3, "/rear/image_raw/compressed")])
    assert convert(bag, tmp_path / "out", capsys)[0] == 0
    assert topics(tmp_path / "out") == {"/front/image_raw/gsc": 2, "/rear/image_raw/gsc": 3}
    assert len(list(Source(bag=bag, topic="/rear/image_raw/compressed").frames())) == 3
    capsys.readouterr()
    assert len(list(Source(bag=bag).frames())) == 2
    assert "/front/image_raw/compressed is taken; --topic takes /rear/image_raw/compressed" in capsys.readouterr().err


def test_depth_is_passed_over_and_kept(tmp_path, capsys) -> None:
    depth = image(encoding="16UC1", pixels=np.full((120, 160), 1500, np.uint16))
    rows = [
        row
        for seed in range(2)
        for row in (("/d/depth/image_raw", IMAGE, depth), ("/d/color/image_raw", IMAGE, image(seed)))
    ]
    bag = write(tmp_path / "in", rows)
    code, out, err = convert(bag, tmp_path / "out", capsys)
    assert code == 0 and "2 frames" in out and "left out" not in out
    assert "/d/depth/image_raw is kept as it is: 16UC1 is depth" in err
    assert topics(tmp_path / "out") == {"/d/depth/image_raw": 2, "/d/color/image_raw/gsc": 2}
    assert len(list(Source(bag=bag).frames())) == 2
    code, _, err = convert(bag, tmp_path / "none", capsys, "--topic", "/d/depth/image_raw")
    assert code == 1
    assert "/d/depth/image_raw: 16UC1 is depth, not a picture; image topics: /d/color/image_raw" in err


@pytest.mark.parametrize(
    "row",
    [
        ("/c/depth/image_raw/compressedDepth", COMPRESSED, compressed(format="16UC1; compressedDepth png")),
        ("/c/depth/image_raw/compressed", COMPRESSED, compressed(format="16UC1; png compressed ")),
        ("/c/image_raw", IMAGE, image(encoding="32FC1", pixels=np.ones((120, 160), np.float32))),
    ],
)
def test_depth_alone_is_one_line(tmp_path, capsys, row) -> None:
    bag = write(tmp_path / "in", [row] * 2)
    code, _, err = convert(bag, tmp_path / "out", capsys)
    assert code == 1 and len(err.strip().splitlines()) == 1
    assert "is depth, not a picture; image topics with pictures: none" in err
    with pytest.raises(SourceError, match="is depth"):
        Source(bag=bag).frames()


def test_empty_topics_are_passed_over(tmp_path, capsys) -> None:
    bag = write(tmp_path / "in", camera(2, "/rear/image_raw/compressed"), empty=[("/front/image_raw", IMAGE)])
    assert convert(bag, tmp_path / "out", capsys)[0] == 0
    assert len(list(Source(bag=bag).frames())) == 2


def test_a_bag_without_pictures_is_one_line_that_names_what_is_there(tmp_path, capsys) -> None:
    bag = write(tmp_path / "in", [("/chatter", TEXT, text())], empty=[("/camera/image_raw", IMAGE)])
    code, _, err = convert(bag, tmp_path / "out", capsys)
    assert code == 1 and len(err.strip().splitlines()) == 1
    assert "/camera/image_raw (sensor_msgs/msg/Image, 0 messages), /chatter (std_msgs/msg/String, 1 message)" in err
    with pytest.raises(SourceError, match="no pictures in it"):
        Source(bag=bag).frames()
    code, _, err = convert(bag, tmp_path / "out", capsys, "--topic", "/chatter")
    assert code == 1 and "no pictures in /chatter; image topics: none" in err
    code, _, err = convert(bag, tmp_path / "out", capsys, "--decode")
    assert code == 1 and "no GscFrame topic in" in err and "/chatter" in err


def test_ctrl_c_leaves_nothing_behind(tmp_path, capsys, monkeypatch) -> None:
    from gsc_ros.image_messages import ImageReader

    bag = write(tmp_path / "in", camera())
    read = ImageReader.read
    seen = []

    def interrupted(self, message):
        seen.append(message)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(self, message)

    monkeypatch.setattr(ImageReader, "read", interrupted)
    code, _, err = convert(bag, tmp_path / "out", capsys)
    assert (code, err.strip()) == (130, "gsc: interrupted")


def frames_of(file) -> tuple[int, list[str]]:
    told: list[str] = []
    recording = Recording(file, told.append)
    count = len({when for _, when, _ in recording.messages()})
    recording.close()
    return count, told


@pytest.mark.parametrize("packed", [False, True])
def test_an_unfinished_mcap_is_read_as_far_as_it_goes(tmp_path, capsys, packed) -> None:
    whole = next(write(tmp_path / "in", camera(8), packed=packed).glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    counts = []
    for length in range(9, len(whole), max(1, len(whole) // 60)):
        cut.write_bytes(whole[:length])
        try:
            count, told = frames_of(cut)
        except ValueError:
            count, told = 0, [""]
        counts.append(count)
        assert len(told) == 1
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 8
    if not packed:
        assert len(set(counts)) == 9  # frame after frame
        cut.write_bytes(whole[: len(whole) // 2])
        code, out, err = convert(cut, tmp_path / "out", capsys)
        assert code == 0 and "4 frames" in out
        assert "cut.mcap was not finished by its recorder: read as far as it goes (`mcap recover` mends it)" in err


def test_a_damaged_chunk_costs_its_own_messages(tmp_path) -> None:
    rows = [("/c/image_raw", IMAGE, image(seed, pixels=np.full((600, 800, 3), seed, np.uint8))) for seed in range(5)]
    file = next(write(tmp_path / "in", rows, packed=True).glob("*.mcap"))
    data = bytearray(file.read_bytes())
    assert frames_of(file) == (5, [])
    places = [place for place in range(len(data)) if data[place : place + 4] == b"\x28\xb5\x2f\xfd"]
    assert len(places) == 5  # chunks
    data[places[2] : places[2] + 8] = bytes(8)
    file.write_bytes(data)
    count, told = frames_of(file)
    assert count == 4
    assert len(told) == 1 and "is left out: damaged zstd data" in told[0]


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_an_mcap_holds_is_read_or_refused(tmp_path_factory, changes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    file = next(write(folder / "in", [("/s", TEXT, text())] * 5).glob("*.mcap"))
    data = bytearray(file.read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    file.write_bytes(data)
    try:
        assert frames_of(file)[0] <= 5
    except ValueError as error:
        assert "\n" not in str(error)


def test_messages_come_in_the_order_of_time(tmp_path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    from gsc_ros.bag_types import typestore

    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/s", TEXT, typestore=typestore())
        for when in (5, 1, 3, 2, 9, 4, 8, 6):
            writer.write(topic, when, text("x" * 600_000))
    recording = Recording(tmp_path / "in")
    assert [when for _, when, _ in recording.messages()] == [1, 2, 3, 4, 5, 6, 8, 9]
    recording.close()


def test_a_profile_that_is_not_ros2_is_none_of_our_business(tmp_path) -> None:
    file = next(write(tmp_path / "in", camera(2)).glob("*.mcap"))
    file.write_bytes(file.read_bytes().replace(b"\x04\0\0\0ros2", b"\x04\0\0\0\0\0\0\0", 1))
    assert frames_of(file) == (2, [])


def test_a_damaged_page_of_sqlite_costs_the_messages_on_it(tmp_path) -> None:
    file = write_humble(tmp_path / "in.db3", [("/s", TEXT, text(str(n) * 100)) for n in range(400)])
    data = bytearray(file.read_bytes())
    base = sqlite3.connect(file)
    size = base.execute("PRAGMA page_size").fetchone()[0]
    base.close()
    leaves = [
        page
        for page in range(len(data) // size)
        if data[page * size] == 0x0D and b"100100100" in data[page * size : (page + 1) * size]
    ]
    assert len(leaves) == 1
    data[leaves[0] * size : (leaves[0] + 1) * size] = b"\xff" * size
    file.write_bytes(data)
    count, told = frames_of(file)
    assert 300 < count < 400
    assert "in.db3 is damaged: read as far as it goes" in told[0]


def test_an_sqlite_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path) -> None:
    file = write_humble(tmp_path / "in.db3", [("/s", TEXT, text(str(n) * 300)) for n in range(400)])
    whole = file.read_bytes()
    for share in (0.1, 0.5, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        count, told = frames_of(file)
        assert 0 <= count < 400
        assert share == 0.1 or count > 100
        assert "cut off" in told[0]


def test_a_log_that_a_killed_recorder_left_is_read(tmp_path) -> None:
    file = write_humble(tmp_path / "in.db3", [("/s", TEXT, text())] * 3)
    base = sqlite3.connect(file)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, 99, ?)", (text("late"),))
    base.commit()
    copy = tmp_path / "killed"
    copy.mkdir()
    for path in tmp_path.glob("in.db3*"):
        (copy / path.name).write_bytes(path.read_bytes())
    base.close()
    assert frames_of(copy / "in.db3")[0] == 4


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("metadata", [None, "", "rosbag2_bagfile_information: 3", "a: [", "\x00"])
def test_metadata_is_not_needed(tmp_path, storage, metadata) -> None:
    bag = write(tmp_path / "in", camera(2), storage=storage)
    (bag / "metadata.yaml").unlink()
    if metadata is not None:
        (bag / "metadata.yaml").write_text(metadata)
    count, told = frames_of(bag)
    assert count == 2
    assert bool(told) == (metadata is not None)


def test_a_missing_part_is_told(tmp_path) -> None:
    bag = write(tmp_path / "in", camera(2))
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"].append("in_1.mcap")
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    count, told = frames_of(bag)
    assert count == 2
    assert len(told) == 1 and told[0].endswith("in_1.mcap: No such file or directory; the other files are read")


def test_ten_parts_without_metadata_follow_each_other(tmp_path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for part in range(11):
        one = write(tmp_path / f"p{part}", [("/s", TEXT, text(str(part)))])
        next(one.glob("*.mcap")).rename(folder / f"in_{part}.mcap")
    recording = Recording(folder)
    found = [bytes(data) for _, _, data in recording.messages()]
    recording.close()
    assert found == [text(str(part)) for part in range(11)]


@pytest.mark.parametrize("compressed_as", ["FILE", "MESSAGE"])
@pytest.mark.parametrize("metadata", [True, False])
def test_compressed_bags(tmp_path, compressed_as, metadata) -> None:
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer

    from gsc_ros.bag_types import typestore

    writer = Writer(tmp_path / "in", version=9)
    writer.set_compression(CompressionMode[compressed_as], CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection("/s", TEXT, typestore=typestore())
        for when in range(3):
            writer.write(topic, when, text(str(when)))
    if not metadata:
        (tmp_path / "in" / "metadata.yaml").unlink()
    recording = Recording(tmp_path / "in")
    assert [bytes(data) for _, _, data in recording.messages()] == [text(str(when)) for when in range(3)]
    recording.close()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.mcap", b"", "is not a rosbag2: it is empty"),
        ("words.db3", b"hello", "is not a rosbag2: it is neither MCAP nor SQLite"),
        ("old.bag", b"#ROSBAG V2.0\n" + bytes(100), "is a bag of ROS 1: `rosbags-convert --src old.bag --dst NEW`"),
        ("start.mcap", b"\x89MCAP0\r\n", "no topics"),
        ("start.db3", b"SQLite format 3\0" + bytes(50), "damaged"),
    ],
)
def test_what_is_no_bag_is_one_line(tmp_path, capsys, name, content, words) -> None:
    (tmp_path / name).write_bytes(content)
    code, _, err = convert(tmp_path / name, tmp_path / "out", capsys)
    assert code == 1 and words in err.strip().splitlines()[-1]
    with pytest.raises(SourceError):
        Source(bag=tmp_path / name).frames()


def test_a_folder_that_is_no_bag_is_one_line(tmp_path, capsys) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert "holds no .mcap, .db3" in convert(folder, tmp_path / "out", capsys)[2]
    (folder / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    assert "bag of ROS 1" in convert(folder, tmp_path / "out", capsys)[2]
    assert "there is nothing of that name" in convert(tmp_path / "none", tmp_path / "out", capsys)[2]


def test_a_frame_that_cannot_be_painted_is_left_out(tmp_path, capsys) -> None:
    from gsc_ros.bag_types import FRAME_TYPE, deserialize, typestore

    bag = write(tmp_path / "in", camera(3))
    assert convert(bag, tmp_path / "sent", capsys)[0] == 0
    recording = Recording(tmp_path / "sent")
    rows = []
    for index, (topic, _, data) in enumerate(recording.messages()):
        if index == 1:
            frame = deserialize(data, FRAME_TYPE)
            frame.fingerprint ^= 1
            data = bytes(typestore().serialize_cdr(frame, FRAME_TYPE))
        rows.append((topic.name, FRAME_TYPE, data))
    recording.close()
    rows.append((rows[0][0], FRAME_TYPE, b"\0\1\0\0"))
    damaged = write(tmp_path / "damaged", rows)
    code, out, err = convert(damaged, tmp_path / "shown", capsys, "--decode")
    assert code == 0 and "2 frames, generated, 2 left out" in out
    assert err.count("left out: ") == 2


def test_the_experiment_takes_what_can_be_read(tmp_path, capsys) -> None:
    pytest.importorskip("av")
    rows = camera(5)
    rows.insert(2, ("/camera/image_raw/compressed", COMPRESSED, BAD["half a JPEG"]))
    rows.insert(4, ("/camera/image_raw/compressed", COMPRESSED, compressed(data=cv2_jpeg(64, 96))))
    bag = write(tmp_path / "in", rows)
    options = [
        "--links",
        "16k",
        "--codecs",
        "jpeg,h265-stream",
        "--seconds",
        "2",
        "--outage",
        "0",
        "--judged",
        "2",
        "--jobs",
        "1",
    ]
    assert run(["experiment", "--bag", str(bag), *options, "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert ", 1 left out" in captured.out
    assert captured.err.count("left out: ") == 1
    assert captured.err.count("frames of other sizes are resized to 160x120, the first one's") == 1
    assert len(list((tmp_path / "out" / "runs").glob("*.json"))) == 2


def cv2_jpeg(height: int, width: int) -> bytes:
    import cv2
    from conftest import scene

    return cv2.imencode(".jpg", scene(1, height, width))[1].tobytes()


def test_what_is_made_anew_is_not_mixed_with_what_was_recorded(tmp_path, capsys) -> None:
    """A robot records what it sends beside what it sees; a base station what it gets beside what it paints."""
    seen = camera(3, "/camera/image_raw/compressed")
    code, _, _ = convert(write(tmp_path / "in", seen), tmp_path / "out", capsys)
    assert code == 0
    recording = Recording(tmp_path / "out")
    sent = [(topic.name, topic.type, data) for topic, _, data in recording.messages()]
    recording.close()
    code, _, err = convert(write(tmp_path / "robot", [*sent, *seen]), tmp_path / "again", capsys)
    assert code == 0 and topics(tmp_path / "again") == {"/camera/image_raw/gsc": 3}
    assert "/camera/image_raw/gsc (3 messages) is skipped: it is made anew" in err
    painted = [(f"/camera/gsc/{name}", IMAGE, image(seed)) for seed in range(2) for name in ("image_raw", "confidence")]
    base = write(tmp_path / "base", [*sent, *painted])
    code, _, err = convert(base, tmp_path / "painted", capsys, "--decode")
    assert code == 0 and set(topics(tmp_path / "painted").values()) == {3}
    assert "/camera/gsc/confidence (2 messages) is skipped: it is made anew" in err


def test_what_was_generated_is_no_camera(tmp_path, capsys) -> None:
    painted = [(f"/front/gsc/{name}", IMAGE, image(seed)) for seed in range(2) for name in ("image_raw", "confidence")]
    code, _, err = convert(write(tmp_path / "in", [*painted, *camera(2)]), tmp_path / "out", capsys)
    assert code == 0 and "/front/gsc/confidence was generated, no camera saw it" in err
    assert topics(tmp_path / "out") == {
        "/front/gsc/image_raw": 2, "/front/gsc/confidence": 2, "/camera/image_raw/gsc": 2,
    }  # fmt: skip
    alone = write(tmp_path / "alone", painted)
    with pytest.raises(SourceError, match="no pictures of a camera"):
        Source(bag=alone).frames()
    assert len(list(Source(bag=alone, topic="/front/gsc/image_raw").frames())) == 2


@pytest.mark.parametrize("start", [0, 9, 1 << 40, 1 << 62, (1 << 64) - 1])
def test_an_index_that_points_nowhere_is_not_followed(tmp_path, start) -> None:
    file = next(write(tmp_path / "in", camera(3)).glob("*.mcap"))
    data = bytearray(file.read_bytes())
    place, end = int.from_bytes(data[-28:-20], "little"), len(data) - 37
    while data[place] != 8:  # the record that says where a chunk is
        place += 9 + int.from_bytes(data[place + 1 : place + 9], "little")
        assert place < end
    data[place + 25 : place + 33] = start.to_bytes(8, "little")
    file.write_bytes(data)
    count, told = frames_of(file)
    assert count == 3 and len(told) == 1


@pytest.mark.parametrize(
    "metadata",
    ["[" * 5000, "rosbag2_bagfile_information: {a: 2020-99-99}",
     "rosbag2_bagfile_information: {relative_file_paths: [in.mcap], topics_with_message_count: 5}"],
)  # fmt: skip
def test_hostile_metadata_is_not_needed(tmp_path, metadata) -> None:
    bag = write(tmp_path / "in", camera(2))
    (bag / "metadata.yaml").write_text(metadata)
    count, told = frames_of(bag)
    assert count == 2 and "says nothing of use" in told[0]


def test_times_before_1970_are_left_out_and_told(tmp_path, capsys) -> None:
    file = write_humble(tmp_path / "in.db3", camera(3))
    base = sqlite3.connect(file)
    base.execute("UPDATE messages SET timestamp = -5000000000 WHERE id = 2")
    base.commit()
    base.close()
    code, out, err = convert(file, tmp_path / "out", capsys)
    assert code == 0 and "2 frames" in out and "read as far as it goes" in err


def test_a_few_raw_frames_are_not_taken_for_a_whole_drive(tmp_path, capsys) -> None:
    rows = [("/camera/image_raw", IMAGE, image(1)), *camera(6, "/camera/image_raw/compressed")]
    code, out, err = convert(write(tmp_path / "in", rows), tmp_path / "out", capsys)
    assert code == 0 and "6 frames" in out
    assert "/camera/image_raw is of the same camera as /camera/image_raw/compressed, which is taken" in err


def test_raw_frames_that_cannot_be_read_do_not_hide_the_others(tmp_path, capsys) -> None:
    rows = [("/camera/image_raw", IMAGE, image(seed, encoding="vendor12p")) for seed in range(3)]
    bag = write(tmp_path / "in", [*rows, *camera(3, "/camera/image_raw/compressed")])
    code, out, err = convert(bag, tmp_path / "out", capsys)
    assert code == 0 and "3 frames" in out
    assert "/camera/image_raw is of the same camera as /camera/image_raw/compressed, which is taken" in err


def test_a_pipe_is_no_bag(tmp_path, capsys) -> None:
    os.mkfifo(tmp_path / "in.mcap")
    holder = os.open(tmp_path / "in.mcap", os.O_RDWR)  # or the old code would wait here for ever
    os.write(holder, bytes(16))
    code, _, err = convert(tmp_path / "in.mcap", tmp_path / "out", capsys)
    os.close(holder)
    assert code == 1 and "is not a file" in err
