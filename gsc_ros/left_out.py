"""What is left out on the way in: told, a few of a kind, and counted, all of them. One policy for every source."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from gsc_ros.printable import printable

TOLD = 5  # frames of one place that are told one by one


def on_stderr(sentence: str) -> None:
    """As the commands tell everything that is no result."""
    print(f"gsc: {printable(' '.join(sentence.split()))}", file=sys.stderr, flush=True)


def silently(sentence: str) -> None:
    """For what has been told before."""


class LeftOut:
    """Counts the frames that are left out; ``tell`` is given the sentences."""

    def __init__(self, tell: Callable[[str], None] = on_stderr) -> None:
        self.tell = tell
        self.count = 0
        self._places: Counter[str] = Counter()

    def frame(self, place: str, which: str, reason: object) -> None:
        """Leave out the frame ``which`` of ``place``, a topic or a folder."""
        self.count += 1
        self._places[place] += 1
        if self._places[place] <= TOLD:
            self.tell(f"{place}{which} left out: {reason}")
        elif self._places[place] == TOLD + 1:
            self.tell(f"{place}: more frames are left out; their number comes at the end")

    def summary(self) -> str:
        """What is to be added to the result: ", 3 left out", or nothing."""
        return f", {self.count} left out" if self.count else ""
