"""The replay window: which counters of one sender may still be accepted (RFC 4303, section 3.4.3)."""

from __future__ import annotations

WINDOW = 256  # datagrams that may overtake each other
_ALL = (1 << WINDOW) - 1


class ReplayWindow:
    """Accepts each counter at most once, and none that is ``WINDOW`` or more behind the highest one."""

    def __init__(self, floor: int) -> None:
        """Counters up to ``floor`` (-1: none) count as accepted."""
        self.highest = floor
        self._accepted = _ALL  # bit n: counter ``highest - n``

    def fresh(self, counter: int) -> bool:
        """Whether ``counter`` was not accepted yet, and is not too old to tell."""
        behind = self.highest - counter
        return behind < 0 or (behind < WINDOW and not self._accepted >> behind & 1)

    def accept(self, counter: int) -> None:
        """Never accept ``counter`` again."""
        ahead = counter - self.highest
        if ahead > 0:
            self._accepted = (self._accepted << min(ahead, WINDOW) & _ALL) | 1
            self.highest = counter
        elif -ahead < WINDOW:
            self._accepted |= 1 << -ahead
