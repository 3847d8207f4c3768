"""A rosbag2 of one or several files, in whichever state its recorder left it.

metadata.yaml is a help and no need: it says how the files follow each other, and which QoS its user wants.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gsc_ros.bags import mcap, sqlite
from gsc_ros.bags.compression import ZSTD_MAGIC, decompress, open_zstd
from gsc_ros.bags.topic import BagError, Storage, Topic
from gsc_ros.left_out import on_stderr
from gsc_ros.natural_order import natural

STORAGES: dict[bytes, Callable[[Path, Callable[[str], None]], Storage]] = {
    mcap.MAGIC: mcap.McapStorage,
    sqlite.MAGIC: sqlite.SqliteStorage,
}
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
ROS1_MAGIC = b"#ROSBAG"
MOST_MESSAGE = 1 << 29
COPIED = 1 << 20


class Recording:
    """An open bag: :attr:`topics` with the number of their messages, and :meth:`messages`.

    ``tell`` hears, in one sentence each, of what is damaged or missing. Raises BagError where nothing can be read.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = on_stderr) -> None:
        self.path = path
        self.topics: dict[Topic, int] = {}
        self._tell = tell
        self._storages: list[Storage] = []
        self._unpacked = tempfile.TemporaryDirectory(prefix="gsc_bag_")
        try:
            metadata = self._metadata()
            troubles = []
            for file in self._files(metadata):
                try:
                    self._storages.append(self._open(file))
                except (BagError, OSError) as error:
                    troubles.append(str(error))
            if not self._storages:
                raise BagError(troubles[0] if troubles else f"{path} holds no {' or '.join(SUFFIXES)}")
            for trouble in troubles:
                tell(f"{trouble}; the other files are read")
            self._gather(_wanted_qos(metadata))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for storage in self._storages:
            storage.close()
        self._unpacked.cleanup()

    def messages(self, topics: Collection[Topic] | None = None) -> Iterator[tuple[Topic, int, bytes]]:
        """Topic, nanoseconds and CDR of every message of ``topics`` (all), file by file, in the order of time."""
        keys = {topic.key: topic for topic in (self.topics if topics is None else topics)}
        for storage in self._storages:
            numbers = {number: keys[topic.key] for number, topic in storage.topics.items() if topic.key in keys}
            for number, nanoseconds, data in storage.messages(set(numbers)):
                if data[:4] == ZSTD_MAGIC:  # compressed one by one; a CDR begins with 0
                    try:
                        data = decompress("zstd", data, MOST_MESSAGE)
                    except ValueError:
                        data = b""  # is left out by whoever reads it
                yield numbers[number], nanoseconds, data

    def _metadata(self) -> dict[str, Any]:
        """What metadata.yaml says; nothing where there is none that can be read."""
        file = self.path / "metadata.yaml"
        if not self.path.is_dir() or not file.is_file():
            return {}
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            found = content["rosbag2_bagfile_information"]
            found["relative_file_paths"][:0] = []
            list(found.get("topics_with_message_count") or [])
        except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError, KeyError, RecursionError):
            self._tell(
                f"{file} says nothing of use: the files beside it are read (`ros2 bag reindex` writes a new one)"
            )
            return {}
        return dict(found)

    def _files(self, metadata: dict[str, Any]) -> list[Path]:
        if not self.path.is_dir():
            if not self.path.exists():
                raise BagError(f"{self.path} is not a rosbag2: there is nothing of that name")
            return [self.path]
        if metadata:
            return [self.path / Path(str(name)).name for name in metadata["relative_file_paths"]]
        found = sorted((file for file in self.path.iterdir() if file.name.endswith(SUFFIXES)), key=natural)
        if not found and (old := sorted(self.path.glob("*.bag"))):
            return old
        if not found:
            raise BagError(f"{self.path} is not a rosbag2: it holds no {', '.join(SUFFIXES[:2])}")
        return found

    def _open(self, file: Path) -> Storage:
        if file.exists() and not file.is_file():  # to open a pipe would wait for whoever writes into it
            raise BagError(f"{file} is not a file")
        try:
            with file.open("rb") as content:
                start = content.read(16)
        except OSError as error:
            raise BagError(f"{file}: {error.strerror}") from error
        if start[:4] == ZSTD_MAGIC:
            file = self._unpack(file)
            return self._open(file)
        for magic, storage in STORAGES.items():
            if start.startswith(magic):
                return storage(self._padded(file, start), self._tell)
        if start.startswith(ROS1_MAGIC):
            raise BagError(
                f"{file} is a bag of ROS 1: `rosbags-convert --src {file.name} --dst NEW` makes a rosbag2 of it"
            )
        raise BagError(f"{file} is not a rosbag2: it is {'neither MCAP nor SQLite' if start else 'empty'}")

    def _unpack(self, file: Path) -> Path:
        """A file that was compressed as a whole, as far as it goes."""
        target = Path(self._unpacked.name) / file.name.removesuffix(".zstd").removesuffix(".zst")
        with target.open("wb") as output:
            try:
                with open_zstd(file) as content:
                    while part := content.read(COPIED):
                        output.write(part)
            except EOFError:
                self._tell(f"{file.name} is cut off: read as far as it goes")
            except Exception as error:  # the library's own errors
                if isinstance(error, OSError):
                    raise
                self._tell(f"{file.name} is damaged: read as far as it goes")
        return target

    def _padded(self, file: Path, start: bytes) -> Path:
        """``file``, or where it is an SQLite file that was cut off a copy as long as it says: else SQLite opens none of it."""
        if not start.startswith(sqlite.MAGIC):
            return file
        with file.open("rb") as content:
            head = content.read(100)
            size = int.from_bytes(head[16:18], "big")
            wanted = int.from_bytes(head[28:32], "big") * (65536 if size == 1 else size)
            there = file.stat().st_size
            if there >= wanted or len(head) < 100:
                return file
            target = Path(self._unpacked.name) / file.name
            content.seek(0)
            with target.open("wb") as output:
                while part := content.read(COPIED):
                    output.write(part)
                output.truncate(wanted)
        self._tell(f"{file.name} is cut off: {there} of {wanted} bytes are there, read as far as they go")
        return target

    def _gather(self, wanted_qos: dict[str, str]) -> None:
        counts: dict[tuple[str, str, str], int] = {}
        topics: dict[tuple[str, str, str], Topic] = {}
        for storage in self._storages:
            for number, topic in storage.topics.items():
                counts[topic.key] = counts.get(topic.key, 0) + storage.counts.get(number, 0)
                known = topics.setdefault(topic.key, topic)
                if topic.definition and not known.definition:
                    topics[topic.key] = topic
        for key, topic in topics.items():
            self.topics[replace(topic, qos=wanted_qos.get(topic.name) or topic.qos)] = counts[key]


def _wanted_qos(metadata: dict[str, Any]) -> dict[str, str]:
    """QoS profiles by topic: in metadata.yaml users change them, so they go before those in the files."""
    found = {}
    for entry in metadata.get("topics_with_message_count") or []:
        try:
            topic = entry["topic_metadata"]
            profiles = topic.get("offered_qos_profiles") or ""
            found[str(topic["name"])] = profiles if isinstance(profiles, str) else yaml.safe_dump(profiles)
        except (TypeError, KeyError, AttributeError):
            continue
    return found
