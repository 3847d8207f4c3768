"""What is recorded of a link is written whole, or the reason why not is one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gsc_ros.demo.link_bag import write_mcap


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def messages(count: int) -> list[tuple[str, str, int, bytes]]:
    from gsc_ros.bag_types import typestore

    store = typestore()
    text = store.types["std_msgs/msg/String"]
    data = bytes(store.serialize_cdr(text(data=os.urandom(5000).hex()), "std_msgs/msg/String"))
    return [("/camera/gsc/caption", "std_msgs/msg/String", n * 10**9, data) for n in range(count)]


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_mcap(small_disk / "link.mcap", messages(200))
    assert list(small_disk.iterdir()) == []
    write_mcap(small_disk / "link.mcap", messages(5))  # there is room again
    assert (small_disk / "link.mcap").stat().st_size > 40_000
