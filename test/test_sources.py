"""Sources of frames: folders, videos, bags of both storages, the built-in photographs."""

from __future__ import annotations

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


def test_what_cannot_be_read_is_said(tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match=r"broken\.png is not an image"):
        list(Source(images=tmp_path).frames())
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no images"):
        Source(images=tmp_path / "empty").frames()
