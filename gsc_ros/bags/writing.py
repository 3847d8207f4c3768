"""A new MCAP bag that is there whole or not at all; topics keep their bytes, type, definition and QoS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gsc_ros.bag_types import typestore
from gsc_ros.bags.topic import Topic
from gsc_ros.whole_output import whole

IDL_HEAD = "=" * 80 + "\nIDL: "


class NewBag:
    """Messages into a bag that is being written."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._connections: dict[tuple[str, str], Any] = {}

    def write(self, topic: str, kind: str, nanoseconds: int, data: bytes) -> None:
        """One message of our own: ``kind`` is a type of :func:`gsc_ros.bag_types.typestore`."""
        if (topic, kind) not in self._connections:
            self._connections[topic, kind] = self._writer.add_connection(topic, kind, typestore=typestore())
        self._writer.write(self._connections[topic, kind], nanoseconds, data)

    def keep(self, topic: Topic) -> str | None:
        """Make room for a topic of another bag; a reason where it cannot be kept."""
        from rosbags.rosbag2.metadata import parse_qos

        if topic.format != "cdr":
            return f"its messages are {topic.format or 'of no known format'}, not CDR"
        try:
            definition, digest = _definition(topic)
        except Exception as error:  # of the parser of definitions: whatever a stranger wrote there
            return f"the definition of {topic.type} cannot be read ({type(error).__name__})"
        if not definition:
            return f"the definition of {topic.type} is neither in the bag nor known here"
        try:
            qos = parse_qos(topic.qos)
        except Exception:  # the same
            qos = []
        connection = self._writer.add_connection(
            topic.name, topic.type, msgdef=definition, rihs01=digest, offered_qos_profiles=qos
        )
        self._connections[topic.name, topic.type] = connection
        return None

    def copy(self, topic: Topic, nanoseconds: int, data: bytes) -> None:
        """One message of a topic that is kept."""
        self._writer.write(self._connections[topic.name, topic.type], nanoseconds, data)


def _definition(topic: Topic) -> tuple[str, str]:
    """Text and hash of the topic's type: as the bag has it, as we know it, or two empty strings."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    if not topic.definition:
        if topic.type not in typestore().fielddefs:
            return "", ""
        return typestore().generate_msgdef(topic.type, ros_version=2)[0], typestore().hash_rihs01(topic.type)
    store = get_typestore(Stores.EMPTY)
    text = topic.definition
    if topic.idl:
        text = text if text.startswith(IDL_HEAD) else f"{IDL_HEAD}{topic.type}\n{text}"
        for part in text.split("=" * 80 + "\n")[1:]:
            store.register(get_types_from_idl(part.split("\n", 1)[1]))
    else:
        store.register(get_types_from_msg(text, topic.type))
    return text, store.hash_rihs01(topic.type)


@contextmanager
def new_bag(path: Path, check: Callable[[], None] | None = None) -> Iterator[NewBag]:
    """Writes the folder ``path``; ``check`` may raise at the end, before it is put there."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as place:
        with Writer(place, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            yield NewBag(writer)
        if check is not None:
            check()


def write_messages(path: Path, messages: Iterable[tuple[str, str, int, bytes]]) -> None:
    """A bag of topics, types, nanoseconds and CDRs of our own in the folder ``path``."""
    with new_bag(path) as bag:
        for topic, kind, nanoseconds, data in messages:
            bag.write(topic, kind, nanoseconds, data)
