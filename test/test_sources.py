"""Sources of frames: folders, videos, bags of both storages, the built-in photographs."""

from __future__ import annotations

import subprocess

import cv2
import numpy as np
import pytest

from gsc_ros.sources import Source, SourceError


def test_the_built_in_photographs_move(photograph) -> None:
    frames = list(Source().frames())
    assert len(frames) >= 18
    assert all(frame.shape == (480, 640, 3) and frame.dtype == np.uint8 for frame in frames)
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 1


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("kitti_2011_09_26_compressed_mcap", 78, (375, 1242, 3)),
        ("kitti_2011_09_26_raw5_sqlite3", 5, (375, 1242, 3)),
        ("kapture_t265_mcap", 3, (800, 848, 3)),
    ],
)
def test_bags(shared_data, name, count, shape) -> None:
    frames = list(Source(bag=shared_data / "bags" / name).frames())
    assert len(frames) == count
    assert frames[0].shape == shape


def test_a_wrong_topic_is_answered_with_the_right_ones(shared_data) -> None:
    with pytest.raises(SourceError, match="image topics: /"):
        Source(bag=shared_data / "bags" / "kapture_t265_mcap", topic="/nothing").frames()


def test_videos_and_folders(tmp_path, photograph) -> None:
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (640, 480))
    for _ in range(3):
        video.write(photograph[:, :, ::-1])
    video.release()
    assert [frame.shape for frame in Source(video=tmp_path / "v.avi").frames()] == [(480, 640, 3)] * 3
    (tmp_path / "folder").mkdir()
    cv2.imwrite(str(tmp_path / "folder" / "a.png"), photograph[:, :, ::-1])
    assert np.array_equal(next(iter(Source(images=tmp_path / "folder").frames())), photograph)


def numbered(folder, name: str, level: int) -> None:
    cv2.imwrite(str(folder / name), np.full((32, 32, 3), level, np.uint8))


def test_a_folder_is_read_in_the_order_of_people(tmp_path) -> None:
    for number in (10, 2, 1, 100, 9):
        numbered(tmp_path, f"frame{number}.png", number)
    assert [int(frame[0, 0, 0]) for frame in Source(images=tmp_path).frames()] == [1, 2, 9, 10, 100]


@pytest.mark.parametrize("name", ["a1²", "1", "", "x٣", "0x10", "1.2.3"])
def test_any_name_has_a_place(tmp_path, name) -> None:
    for other in (f"{name}.png", "b.png", "2.png"):
        numbered(tmp_path, other, 9)
    assert len(list(Source(images=tmp_path).frames())) == (3 if name else 2)


def test_broken_and_hidden_files_are_skipped_and_told(tmp_path, capsys) -> None:
    for number in (1, 3):
        numbered(tmp_path, f"{number}.png", number)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    (tmp_path / "._1.png").write_bytes(b"of another system")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    assert [int(frame[0, 0, 0]) for frame in Source(images=tmp_path).frames()] == [1, 3]
    err = capsys.readouterr().err
    assert f"{tmp_path}/2.png left out: is not an image that can be read: a damaged PNG: it is cut off" in err
    assert "1 hidden file is skipped, ._1.png first" in err
    assert len(err.splitlines()) == 2


def test_what_cannot_be_read_is_said(tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match="none of its frames can be read, 1 left out"):
        list(Source(images=tmp_path).frames())
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"holds no images .*, but no files"):
        Source(images=tmp_path / "empty").frames()
    (tmp_path / "empty" / "a.txt").write_text("")
    with pytest.raises(SourceError, match=r"but 1 \.txt"):
        Source(images=tmp_path / "empty").frames()


def test_a_folder_of_16_bits_is_one_stream(tmp_path, capsys) -> None:
    for index, level in enumerate((1000, 1100)):
        values = np.full((32, 32), level, np.uint16)
        values[:16] = 3000
        values[0, 0] = 2000
        cv2.imwrite(str(tmp_path / f"{index}.png"), values)
    frames = list(Source(images=tmp_path).frames())
    assert frames[0][0, 0, 0] == frames[1][0, 0, 0]
    assert frames[0].std() > 50
    assert "16 bits a pixel" in capsys.readouterr().err


def video_of(path, pictures, code: str = "MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 5, pictures[0].shape[1::-1])
    for picture in pictures:
        writer.write(picture[:, :, ::-1])
    writer.release()
    return path


def test_a_turned_video_is_upright(tmp_path, photograph) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    lying = video_of(tmp_path / "lying.mp4", [photograph] * 2, "mp4v")
    turned = tmp_path / "turned.mp4"
    command = ["-display_rotation", "90", "-i", str(lying), "-c", "copy", str(turned)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *command], check=True)
    as_it_lies, upright = (next(iter(Source(video=path).frames())) for path in (lying, turned))
    assert upright.shape == (640, 480, 3)
    assert np.abs(np.rot90(as_it_lies).astype(int) - upright).mean() < 4


@pytest.mark.parametrize(("name", "options"), [
    ("v.mp4", ["-c:v", "libx264", "-flags", "+ilme+ildct", "-x264-params", "tff=1"]),
    ("v.ts", ["-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-vf", "setfield=tff"]),
    ("v.mkv", ["-c:v", "ffv1", "-field_order", "tt", "-vf", "setfield=tff"]),
])  # fmt: skip
def test_interlaced_videos_are_not_black(tmp_path, photograph, name, options) -> None:
    """OpenCV 4.13 and 4.14 give black, or what lay in memory, and no error."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    cv2.imwrite(str(tmp_path / "p.png"), photograph[:, :, ::-1])
    command = [
        "-loop",
        "1",
        "-i",
        str(tmp_path / "p.png"),
        "-frames:v",
        "3",
        "-r",
        "25",
        *options,
        str(tmp_path / name),
    ]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *command], check=True)
    frames = list(Source(video=tmp_path / name).frames())
    assert len(frames) == 3
    assert all(np.abs(frame.astype(int) - photograph).mean() < 12 for frame in frames)


def test_damaged_frames_of_a_video_are_left_out(tmp_path, capsys) -> None:
    av, imageio_ffmpeg = pytest.importorskip("av"), pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "v.mp4"
    command = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=1", "-c:v", "libx264", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *command], check=True)
    assert len(list(Source(video=path).frames())) == 25
    data = bytearray(path.read_bytes())
    for place in (len(data) // 4, len(data) // 2):
        data[place : place + 200] = np.random.default_rng(1).integers(0, 256, 200, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    with av.open(str(path)) as container:
        damaged = sum(frame.is_corrupt for frame in container.decode(video=0))
    assert damaged
    assert len(list(Source(video=path).frames())) == 25 - damaged
    assert capsys.readouterr().err.count("left out: its data are damaged") == damaged


@pytest.mark.parametrize("kind", ["missing", "empty", "words", "header only", "no frames"])
def test_a_video_without_pictures_is_one_line(tmp_path, photograph, kind, capfd) -> None:
    path = tmp_path / "v.avi"
    if kind in ("header only", "no frames"):
        whole = video_of(path, [photograph] * 3).read_bytes()
        start = whole.index(b"movi") + 4
        path.write_bytes(whole[:start] if kind == "header only" else whole[:start] + bytes(2000))
    elif kind != "missing":
        path.write_bytes(b"hello" if kind == "words" else b"")
    with pytest.raises(SourceError, match=r"v\.avi") as raised:
        list(Source(video=path).frames())
    assert "\n" not in str(raised.value)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_video_that_ends_early_is_told(tmp_path, photograph, capsys) -> None:
    path = video_of(tmp_path / "v.avi", [photograph] * 20)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    count = len(list(Source(video=path).frames()))
    assert 5 < count < 15
    assert f"v.avi ends after {count} frames, its header says 20" in capsys.readouterr().err


def test_frames_of_20_megapixels_are_shrunk_and_told(tmp_path, capsys) -> None:
    cv2.imwrite(str(tmp_path / "large.jpg"), np.full((3648, 5472, 3), 90, np.uint8))
    frame = next(iter(Source(images=tmp_path).frames()))
    assert frame.shape == (2731, 4096, 3)
    assert "frames are shrunk from 5472x3648 to 4096x2731" in capsys.readouterr().err
