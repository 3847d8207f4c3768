"""One slot for each camera: the newest frame waits, older ones are dropped and counted."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestBoxes(Generic[Item]):
    """Hands the newest item of each camera to one worker, in turn; never a queue."""

    def __init__(self, cameras: Iterable[str]) -> None:
        self._slots: dict[str, Item | None] = dict.fromkeys(cameras)
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, item: Item) -> bool:
        """Place ``item``; True when it took the place of one that nobody had worked on."""
        with self._changed:
            replaced = self._slots[camera] is not None
            self._slots[camera] = item
            self._changed.notify()
            return replaced

    def take(self, most: int = 1) -> list[tuple[str, Item]]:
        """Wait for an item; it and whatever else is there, ``most`` in all. Nothing once the boxes are closed."""
        with self._changed:
            while not self._closed:
                there = [(camera, item) for camera, item in self._slots.items() if item is not None][:most]
                for camera, _ in there:
                    # To the end of the line, so that a fast camera cannot starve the others.
                    del self._slots[camera]
                    self._slots[camera] = None
                if there:
                    return there
                self._changed.wait()
            return []

    def closed_within(self, seconds: float) -> bool:
        """Wait so long, or until the boxes are closed; True when they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, timeout=seconds)

    def close(self) -> None:
        """Wake the worker and let it end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
