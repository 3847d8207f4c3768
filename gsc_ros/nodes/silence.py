"""How long nothing came, and whether that is longer than what came before lets expect: a slow camera is no silent one."""

from __future__ import annotations

PAUSES = 5  # nothing for so many times the pause before is no pause any more


class Silence:
    """Hears that something came, and takes ``least_s`` for a pause always; times are seconds of a clock that never goes back."""

    def __init__(self, least_s: float) -> None:
        self._least = least_s
        self._last: float | None = None
        self._pause = 0.0

    def heard(self, now: float) -> None:
        """Something came."""
        if self._last is not None:
            self._pause = now - self._last
        self._last = now

    def seconds(self, now: float) -> float | None:
        """Since the last that came; None where nothing ever did."""
        return None if self._last is None else now - self._last

    def too_long(self, now: float) -> bool:
        """Whether something came once, and nothing for longer than its rhythm explains."""
        return self._last is not None and now - self._last > max(self._least, PAUSES * self._pause)
