"""Messages as they came over the wire into one MCAP file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gsc_ros.bag_types import typestore


def write_mcap(path: Path, messages: Iterable[tuple[str, str, int, bytes]]) -> None:
    """Write (topic, type, nanoseconds, CDR) to the single file ``path``; it opens in Foxglove."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        bag = Path(folder) / path.stem
        connections = {}
        with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            for topic, kind, nanoseconds, data in messages:
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=typestore())
                writer.write(connections[topic], nanoseconds, data)
        file = next(bag.glob("*.mcap"))
        # Another file system may hold the temporary folder's target only through a copy.
        shutil.move(os.fspath(file), path)
