"""One guard for everything that arrives: what is wrong is refused, counted and told; nothing of it ends a node.

    with guard("/camera/image_raw"):    a callback, a timer, a read of a socket
        ...                             any Exception ends here

Only a node's constructor may end the node: what is wrong with its parameters or its weights does not get better.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

TELL_EVERY_S = 1.0  # of one source
RECENT_S = 10.0  # a refusal is news for so long
LONGEST_REASON = (
    300  # characters: names of encodings come from a wire, and a reason is logged and published again and again
)


@dataclass
class Refusals:
    """What one source brought that could not be used."""

    count: int = 0
    last: str = ""
    at: float = float("-inf")  # of the last one, in seconds of the guard's clock
    untold: int = 0
    told_at: float = float("-inf")


class Guard:
    """Counts refusals by source and tells them, each source at most once a second. Safe in any thread."""

    def __init__(self, warn: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._warn, self._clock = warn, clock
        self._lock = threading.Lock()
        self._sources: dict[str, Refusals] = {}

    @contextmanager
    def __call__(self, source: str) -> Iterator[None]:
        """Let nothing but KeyboardInterrupt and SystemExit out of the block."""
        try:
            yield
        except Exception as error:
            self.refuse(source, reason_of(error))

    def refuse(self, source: str, reason: str) -> None:
        """Count a refusal of ``source``, and say so unless that was done within the last second."""
        with self._lock:
            now = self._clock()
            found = self._sources.setdefault(source, Refusals())
            found.count += 1
            found.last, found.at = reason, now
            if now - found.told_at < TELL_EVERY_S:
                found.untold += 1
                return
            more, found.untold, found.told_at = found.untold, 0, now
        self._warn(f"{source}: refused: {reason}" + (f" (and {more} before it)" if more else ""))

    @property
    def sources(self) -> Mapping[str, Refusals]:
        """Every source that brought something wrong so far."""
        with self._lock:
            return dict(self._sources)

    @property
    def recent(self) -> Mapping[str, Refusals]:
        """Those that did so within the last ten seconds."""
        now = self._clock()
        return {source: found for source, found in self.sources.items() if now - found.at < RECENT_S}


def reason_of(error: Exception) -> str:
    """An error in one line of bounded length: our own speak for themselves, any other is named."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 4]} ..."
