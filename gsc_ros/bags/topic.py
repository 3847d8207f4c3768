"""What a bag says of a topic, in either storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class BagError(ValueError):
    """A bag, or a part of it, that cannot be read."""


@dataclass(frozen=True)
class Topic:
    """One topic of one type.

    format      of its messages, ``cdr`` for those of ROS 2
    definition  of its type, as the recorder wrote it; empty where it wrote none
    idl         the definition is OMG IDL, not a .msg text
    qos         the offered profiles as YAML; empty where none are told
    """

    name: str
    type: str
    format: str = "cdr"
    definition: str = ""
    idl: bool = False
    qos: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What one topic has in common in all files of a bag."""
        return self.name, self.type, self.format


class Storage(Protocol):
    """One open file of a bag."""

    topics: dict[int, Topic]
    counts: dict[int, int]

    def messages(self, wanted: set[int]) -> Iterator[tuple[int, int, bytes]]:
        """Number of the topic, nanoseconds and data, in the order of time as far as the file has one."""
        ...

    def close(self) -> None: ...
