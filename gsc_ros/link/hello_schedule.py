"""When a hello may go out: at once when something has changed, at growing distances else."""

from __future__ import annotations

FIRST_GAP_S = 1.0
LAST_GAP_S = 30.0


class HelloSchedule:
    """Distances of 1, 2, 4, 8, 16 s and then 30 s between hellos, begun afresh by :meth:`restart` alone.

    ``restart`` is for what only the holder of the key can bring about, once: whatever else arrives makes at most
    one hello in 30 s go out in the long run.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The next hello may go at once."""
        self._due = float("-inf")
        self._gap = FIRST_GAP_S

    def wait(self, now: float) -> float:
        """Seconds until the next hello may go."""
        return max(0.0, self._due - now)

    def sent(self, now: float) -> None:
        """A hello went out at ``now``."""
        self._due = now + self._gap
        self._gap = min(2 * self._gap, LAST_GAP_S)
