"""What waits to be sent: one frame for each camera, the newest, served by weight."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass
class Traffic:
    """What became of the frames of one camera."""

    offered: int = 0
    replaced: int = 0  # by a newer frame before they were begun
    sent: int = 0


class Piece(NamedTuple):
    """A datagram on its way out."""

    camera: int
    datagram: bytes


class Outbox:
    """Hands out the pieces of one frame at a time; a newer frame replaces one that was not begun.

    Cameras that have something to send share the link in proportion to their ``weights``
    (start-time fair queueing, Goyal et al. 1996).
    """

    def __init__(self, weights: Mapping[int, float]) -> None:
        if not all(0 < weight < math.inf for weight in weights.values()):
            raise ValueError(f"weights {dict(weights)}: each has to be above 0, and finite")
        self._weights = dict(weights)
        self._waiting: dict[int, Callable[[], Sequence[bytes]]] = {}
        self._served = dict.fromkeys(weights, 0.0)  # bytes by weight: the least served camera is next
        self._started = 0.0  # that figure of the camera whose frame was begun last
        self._camera = -1  # whose frame is on its way, while there are pieces left
        self._pieces: deque[bytes] = deque()
        self.traffic = {camera: Traffic() for camera in weights}

    def offer(self, camera: int, pieces: Callable[[], Sequence[bytes]]) -> None:
        """A new frame of ``camera``; ``pieces`` makes its datagrams, one at least, when it is begun."""
        traffic = self.traffic[camera]
        traffic.offered += 1
        if camera in self._waiting:
            traffic.replaced += 1
        else:  # who was silent for a while has no claim on what it did not use
            self._served[camera] = max(self._served[camera], self._started)
        self._waiting[camera] = pieces

    def __bool__(self) -> bool:
        """Whether there is something to send."""
        return bool(self._pieces or self._waiting)

    def take(self) -> Piece | None:
        """The next datagram, if there is one; a frame once begun is finished first."""
        if not self._pieces:
            if not self._waiting:
                return None
            self._camera = self._next()
            self._pieces.extend(self._waiting.pop(self._camera)())
            self._started = self._served[self._camera]
        piece = self._pieces.popleft()
        self._served[self._camera] += len(piece) / self._weights[self._camera]
        if not self._pieces:
            self.traffic[self._camera].sent += 1
        return Piece(self._camera, piece)

    def _next(self) -> int:
        return min(self._waiting, key=lambda camera: (self._served[camera], camera))
