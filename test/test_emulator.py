"""The emulated link: exact in rate and delay, as lossy as asked, the same again for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gsc_ros.link.emulator import EmulatedLink, LinkSpec
from gsc_ros.link.presets import PRESETS, link_spec


def arrivals(spec: LinkSpec, count: int, every: float, size: int = 100, seed: int = 0) -> list[tuple[float, int]]:
    """(arrival, number) of ``count`` datagrams sent ``every`` seconds, to a millisecond."""
    link = EmulatedLink(spec, seed=seed)
    got, now = [], 0.0
    for number in range(count):
        now = number * every
        link.send(number.to_bytes(size, "big"), now)
    while link.next_arrival is not None:
        now = link.next_arrival
        got += [(now, int.from_bytes(datagram, "big")) for datagram in link.receive(now)]
    return got


@pytest.mark.parametrize("rate", [500, 4000, 64_000])
def test_the_rate_is_exact_over_a_minute(rate) -> None:
    link = EmulatedLink(LinkSpec(bits_per_second=rate, queue_bytes=max(1000, rate // 4)), cost=lambda d: len(d) + 28)
    rng = np.random.default_rng(0)
    now = last = bits = 0.0
    while now < 60:
        link.send(bytes(int(rng.integers(20, 300))), now)
        now += float(rng.exponential(60 * 8 / rate))
        while link.next_arrival is not None and link.next_arrival <= now:
            last = link.next_arrival
            bits += sum(8 * (len(datagram) + 28) for datagram in link.receive(last))
    assert link.losses.overflow > 0  # it was asked for more than it carries
    assert last > 55
    assert bits / last == pytest.approx(rate, rel=0.01)


def test_latency_and_jitter() -> None:
    spec = LinkSpec(bits_per_second=8000, latency_s=0.5, jitter_s=0.2)
    delays = [at - number * 0.3 for at, number in arrivals(spec, 2000, 0.3)]
    assert min(delays) >= 0.6 - 1e-9
    assert max(delays) <= 0.8 + 1e-9
    assert np.mean(delays) == pytest.approx(0.7, abs=0.01)


def test_independent_and_burst_losses_are_as_frequent_as_asked() -> None:
    count = 40_000
    got = arrivals(LinkSpec(loss=0.2), count, 0.01)
    assert len(got) == pytest.approx(0.8 * count, rel=0.02)
    spec = LinkSpec(burst_enter=0.02, burst_leave=0.25)
    numbers = np.array([number for _, number in arrivals(spec, count, 0.01)])
    # Stationary share of the bad state, and the mean length of a burst.
    assert 1 - len(numbers) / count == pytest.approx(0.02 / 0.27, rel=0.1)
    gaps = np.diff(numbers) - 1
    assert gaps[gaps > 0].mean() == pytest.approx(1 / 0.25, rel=0.1)


def test_copies_overtaking_outages_and_large_datagrams() -> None:
    spec = LinkSpec(latency_s=0.1, duplicate=0.1, reorder=0.1, reorder_s=0.4, outage_every_s=20, outage_s=5)
    got = arrivals(spec, 10_000, 0.01)
    numbers = [number for _, number in got]
    assert numbers != sorted(numbers)
    sent_in_outage = [n for n in range(10_000) if n * 0.01 >= 20 and (n * 0.01) % 20 < 5]
    assert not set(sent_in_outage[1:-1]) & set(numbers)
    assert len(numbers) / len(set(numbers)) == pytest.approx(1.1, abs=0.01)
    link = EmulatedLink(LinkSpec(mtu=50))
    link.send(bytes(51), 0.0)
    assert link.receive(10.0) == []
    assert link.losses.too_large == 1


def test_the_same_seed_is_the_same_link() -> None:
    spec = LinkSpec(bits_per_second=9600, loss=0.3, jitter_s=0.5, duplicate=0.1, reorder=0.1)
    assert arrivals(spec, 500, 0.1, seed=5) == arrivals(spec, 500, 0.1, seed=5)
    assert arrivals(spec, 500, 0.1, seed=5) != arrivals(spec, 500, 0.1, seed=6)
    # What is lost does not depend on how slow the link is.
    slow = [n for _, n in arrivals(LinkSpec(loss=0.3), 500, 1.0)]
    slower = [n for _, n in arrivals(replace(LinkSpec(loss=0.3), latency_s=3.0), 500, 1.0)]
    assert slow == slower


def test_presets_and_rates_by_name() -> None:
    for name, (spec, source) in PRESETS.items():
        assert link_spec(name) is spec
        assert len(source) > 40
    assert link_spec("4k").bits_per_second == 4000
    assert link_spec("0.5k").bits_per_second == 500
    with pytest.raises(ValueError, match="lora-sf7"):
        link_spec("lora")
    with pytest.raises(ValueError, match="probability"):
        LinkSpec(loss=1.5)
