"""What is wrong with the link when nothing that arrives can be used, in one line for an operator."""

from __future__ import annotations

from dataclasses import dataclass

AFTER_S = 10.0  # of nothing but refusals
RECENT_S = 60.0  # without any datagram a complaint is over


@dataclass
class Refusals:
    """Datagrams that were refused since the last good one."""

    rejected: int = 0
    malformed: int = 0
    hellos: int = 0  # good ones: the key is right, but nothing else could be deciphered
    unverified_hellos: int = 0
    _first: float = 0.0
    _last: float = 0.0

    def refused(self, now: float, *, rejected: int = 0, malformed: int = 0, unverified_hellos: int = 0) -> None:
        """One more that was refused at ``now``."""
        if not self.rejected + self.malformed:
            self._first = now
        self._last = now
        self.rejected += rejected
        self.malformed += malformed
        self.unverified_hellos += unverified_hellos

    def complaint(self, now: float, *, settled: bool) -> str | None:
        """What an operator should know at ``now``, None while all is well; ``settled``: the other side was proven."""
        if not self.rejected + self.malformed or self._last - self._first < AFTER_S or now - self._last > RECENT_S:
            return None
        start = f"everything rejected for {AFTER_S:.0f} s and more: "
        if settled:
            return start + "the other side is silent, and what arrives is noise or somebody else's"
        if self.hellos:
            return start + (
                "the other side has the right key but has not answered our hello, so it is not introduced yet; "
                "where there is no way to it, it is believed after a minute"
            )
        if self.unverified_hellos:
            return start + "wrong key: a hello did not verify; copy the same key file to both sides"
        if self.rejected:
            return start + (
                "not introduced yet: no hello of the other side has come; "
                "it may be older than 0.10, use no key_file, or be somebody else"
            )
        return start + (
            "no datagrams of this link: the other side may use a key_file and this one none, be older than 0.10, "
            "or serve other cameras"
        )
