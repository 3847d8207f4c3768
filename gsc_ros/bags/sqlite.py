"""rosbag2's SQLite files as far as they go: a damaged page costs the messages on it alone."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np

from gsc_ros.bags.topic import BagError, Topic

MAGIC = b"SQLite format 3\0"
DAMAGED = (sqlite3.DatabaseError, sqlite3.OperationalError, OverflowError)
WAY_ON = "`sqlite3 FILE .recover` or `ros2 bag reindex` may get more"


class SqliteStorage:
    """An open .db3 file; ``tell`` hears of what is damaged. Raises BagError for what has no topics that can be read."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self.topics: dict[int, Topic] = {}
        self._name = path.name
        self._tell = tell
        # Row, topic and time of each message: numbers, for there may be millions.
        self._rows, self._numbers, self._times = array("q"), array("q"), array("q")
        self._base = _connect(path)
        try:
            self._read_topics()
            whole = self._find_messages()
        except DAMAGED as error:
            self.close()
            raise BagError(f"{path} is damaged ({error}): {WAY_ON}") from error
        if not self.topics:
            self.close()
            raise BagError(f"{path} has no topics that can be read: {WAY_ON}")
        if not whole:
            tell(f"{path.name} is damaged: read as far as it goes ({WAY_ON})")
        numbers, counts = np.unique(np.array(self._numbers), return_counts=True)
        self.counts = dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    def close(self) -> None:
        self._base.close()

    def messages(self, wanted: set[int]) -> Iterator[tuple[int, int, bytes]]:
        lost = 0
        # By time; those of one time as they were recorded.
        for place in np.argsort(np.array(self._times), kind="stable").tolist():
            number = self._numbers[place]
            if number in wanted:
                try:
                    data = self._base.execute("SELECT data FROM messages WHERE id = ?", (self._rows[place],)).fetchone()
                except DAMAGED:
                    data = None
                if data is None or not isinstance(data[0], bytes):
                    lost += 1
                else:
                    yield number, self._times[place], data[0]
        if lost:
            self._tell(f"{self._name}: {lost} damaged messages are left out")

    def _read_topics(self) -> None:
        columns = {row[1] for row in self._base.execute("PRAGMA table_info(topics)")}
        definitions: dict[str, tuple[str, str]] = {}
        with suppress(*DAMAGED):  # there is no such table before Iron
            rows = self._base.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            )
            definitions = {kind: (encoding, definition) for kind, encoding, definition in rows}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        for number, name, kind, form, profiles in self._base.execute(
            f"SELECT id, name, type, serialization_format, {qos} FROM topics"
        ):
            encoding, definition = definitions.get(kind, ("", ""))
            name, kind, form, definition = (str(value or "") for value in (name, kind, form, definition))
            self.topics[number] = Topic(name, kind, form, definition, "idl" in str(encoding), str(profiles or ""))

    def _find_messages(self) -> bool:
        """Note row, topic and nanoseconds of each message that can be found; whether all of them could."""
        last, most, whole = 0, self._last_row(), True
        leap = 1
        while True:
            try:
                for row, number, when in self._base.execute(
                    "SELECT id, topic_id, timestamp FROM messages WHERE id > ? ORDER BY id", (last,)
                ):
                    last, leap = row, 1
                    if (
                        number in self.topics and isinstance(when, int) and when >= 0
                    ):  # no bag that is written has earlier ones
                        self._rows.append(row)
                        self._numbers.append(number)
                        self._times.append(when)
                    else:
                        whole = False
                return whole
            except DAMAGED:
                # On the other side of the damaged page it may go on.
                whole = False
                last += leap
                leap *= 2
                if last >= most:
                    return False

    def _last_row(self) -> int:
        try:
            row = self._base.execute("SELECT id FROM messages ORDER BY id DESC LIMIT 1").fetchone()
        except DAMAGED:
            return 1 << 20
        return int(row[0]) if row else 0


def _connect(path: Path) -> sqlite3.Connection:
    """Read only. A write-ahead log, which a killed recorder leaves, is read too where the folder can be written to."""
    name = f"file:{quote(str(path.absolute()))}"
    log = path.with_name(f"{path.name}-wal")
    if log.is_file() and log.stat().st_size:
        try:
            base = sqlite3.connect(f"{name}?mode=ro", uri=True, check_same_thread=False)
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return base
        except sqlite3.Error:
            pass
    return sqlite3.connect(f"{name}?immutable=1", uri=True, check_same_thread=False)
