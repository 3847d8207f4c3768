"""Bags that the tests write themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from conftest import scene

from gsc_ros.bag_types import typestore

IMAGE, COMPRESSED, TEXT = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
Row = tuple[str, str, bytes]  # topic, type, CDR; one a second


def header(second: int = 0) -> Any:
    types = typestore().types
    return types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=1_700_000_000 + second, nanosec=0), frame_id="cam"
    )


def image(seed: int = 1, encoding: str = "rgb8", pixels: np.ndarray | None = None, **fields: Any) -> bytes:
    """The CDR of an Image of 160x120, or of ``pixels``."""
    values = scene(seed, 120, 160) if pixels is None else pixels
    data = np.ascontiguousarray(values)
    told = {
        "height": values.shape[0], "width": values.shape[1], "encoding": encoding, "is_bigendian": 0,
        "step": data.nbytes // max(1, values.shape[0]), "data": data.view(np.uint8).ravel(),
    } | fields  # fmt: skip
    return bytes(typestore().serialize_cdr(typestore().types[IMAGE](header=header(seed), **told), IMAGE))


def jpeg(seed: int = 1) -> bytes:
    return cv2.imencode(".jpg", scene(seed, 120, 160)[:, :, ::-1])[1].tobytes()


def compressed(seed: int = 1, data: bytes | None = None, format: str = "jpeg") -> bytes:
    """The CDR of a CompressedImage of a JPEG, or of ``data``."""
    values = np.frombuffer(jpeg(seed) if data is None else data, dtype=np.uint8)
    made = typestore().types[COMPRESSED](header=header(seed), format=format, data=values)
    return bytes(typestore().serialize_cdr(made, COMPRESSED))


def text(words: str = "hello") -> bytes:
    return bytes(typestore().serialize_cdr(typestore().types[TEXT](data=words), TEXT))


def camera(count: int = 4, topic: str = "/camera/image_raw/compressed") -> list[Row]:
    return [(topic, COMPRESSED, compressed(seed)) for seed in range(count)]


def write(
    folder: Path,
    rows: Sequence[Row],
    *,
    empty: Sequence[tuple[str, str]] = (),
    storage: str = "MCAP",
    packed: bool = False,
) -> Path:
    """A bag in ``folder``; topics of ``empty`` have no messages."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage])
    if packed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        topics = dict.fromkeys([*empty, *((topic, kind) for topic, kind, _ in rows)])
        opened = {pair: writer.add_connection(*pair, typestore=typestore()) for pair in topics}
        for second, (topic, kind, data) in enumerate(rows):
            writer.write(opened[topic, kind], (1_700_000_000 + second) * 10**9, data)
    return folder


def write_humble(file: Path, rows: Sequence[Row]) -> Path:
    """An SQLite file as Humble writes it: without definitions of types."""
    base = sqlite3.connect(file)
    base.executescript(
        "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);"
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT, offered_qos_profiles TEXT);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);"
        "INSERT INTO schema VALUES (3, 'humble');"
    )
    names = list(dict.fromkeys((topic, kind) for topic, kind, _ in rows))
    base.executemany("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", [(1 + i, *pair) for i, pair in enumerate(names)])
    base.executemany(
        "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)",
        [(1 + names.index((topic, kind)), second * 10**9, data) for second, (topic, kind, data) in enumerate(rows)],
    )
    base.commit()
    base.close()
    return file
