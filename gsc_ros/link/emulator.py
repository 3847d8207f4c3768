"""A link that is as bad as the real one: rate, delay, loss, bursts, copies, overtaking, outages.

It knows no clock: whoever uses it says what time it is, so that an hour of a link takes as long as
its datagrams take to count, and the same seed gives the same link again.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """What a link does to datagrams, one direction.

    bits_per_second    of everything with headers; 0: no limit
    latency_s          from the last bit sent to its arrival
    jitter_s           added to it, uniform between 0 and this; order is kept
    loss               probability that a datagram is lost, each on its own
    burst_enter, burst_leave, burst_loss   Gilbert-Elliott: probability for each datagram of falling into
                       the bad state, of leaving it, and of being lost in it
    duplicate          probability of arriving twice
    reorder            probability of being overtaken: so many datagrams arrive ``reorder_s`` later
    outage_every_s, outage_s   every so many seconds nothing passes for so long; the first outage begins after
                       ``outage_every_s``
    mtu                larger datagrams are lost
    queue_bytes        what waits for the link; what does not fit is lost
    """

    bits_per_second: float = 0.0
    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    burst_enter: float = 0.0
    burst_leave: float = 1.0
    burst_loss: float = 1.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.5
    outage_every_s: float = 0.0
    outage_s: float = 0.0
    mtu: int = 65_507
    queue_bytes: int = 16_384

    def __post_init__(self) -> None:
        for name in ("loss", "burst_enter", "burst_leave", "burst_loss", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: a probability, 0 to 1, is needed")
        for name in ("bits_per_second", "latency_s", "jitter_s", "reorder_s", "outage_every_s", "outage_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} {getattr(self, name)}: 0 or more is needed")


@dataclass
class LinkLosses:
    """What happened to the datagrams of one direction."""

    offered: int = 0
    delivered: int = 0
    lost: int = 0
    burst: int = 0
    outage: int = 0
    overflow: int = 0
    too_large: int = 0
    wire_bytes: int = 0  # that took the link's time, lost or not


class EmulatedLink:
    """One direction of a link. ``cost`` says how many bytes a datagram takes on the wire."""

    def __init__(self, spec: LinkSpec, *, seed: int = 0, cost: Callable[[bytes], int] = len) -> None:
        self.spec = spec
        self.losses = LinkLosses()
        self._cost = cost
        self._random = random.Random(seed)
        self._bad = False
        self._free_at = 0.0
        self._last_arrival = 0.0
        self._arrivals: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()

    def send(self, datagram: bytes, now: float) -> None:
        """Put ``datagram`` on the link at ``now``, which never goes back."""
        spec, losses = self.spec, self.losses
        losses.offered += 1
        size = self._cost(datagram)
        start = max(now, self._free_at)
        if len(datagram) > spec.mtu:
            losses.too_large += 1
            return
        if spec.bits_per_second:
            if (start - now) * spec.bits_per_second / 8 + size > spec.queue_bytes:
                losses.overflow += 1
                return
            self._free_at = start + 8 * size / spec.bits_per_second
        else:
            self._free_at = start
        losses.wire_bytes += size
        # Every datagram draws the same numbers, whatever becomes of it: specs can be compared seed by seed.
        lost, switched, burst, copied, jitter, overtaken = (self._random.random() for _ in range(6))
        self._bad = switched >= spec.burst_leave if self._bad else switched < spec.burst_enter
        if self._in_outage(start) or self._in_outage(self._free_at):
            losses.outage += 1
        elif self._bad and burst < spec.burst_loss:
            losses.burst += 1
        elif lost < spec.loss:
            losses.lost += 1
        else:
            arrival = self._free_at + spec.latency_s + jitter * spec.jitter_s
            if overtaken < spec.reorder:
                arrival += spec.reorder_s
            else:
                arrival = self._last_arrival = max(arrival, self._last_arrival)
            for _ in range(2 if copied < spec.duplicate else 1):
                heapq.heappush(self._arrivals, (arrival, next(self._order), datagram))
                losses.delivered += 1

    def receive(self, now: float) -> list[bytes]:
        """Everything that has arrived by ``now`` and was not received yet, in order of arrival."""
        arrived = []
        while self._arrivals and self._arrivals[0][0] <= now:
            arrived.append(heapq.heappop(self._arrivals)[2])
        return arrived

    @property
    def next_arrival(self) -> float | None:
        """When something arrives next, None while nothing is under way."""
        return self._arrivals[0][0] if self._arrivals else None

    @property
    def free_at(self) -> float:
        """When the last bit of what was sent so far leaves."""
        return self._free_at

    def _in_outage(self, now: float) -> bool:
        every, lasting = self.spec.outage_every_s, self.spec.outage_s
        return every > 0 and now >= every and (now % every) < lasting
