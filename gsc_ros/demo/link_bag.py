"""Messages as they came over the wire into one MCAP file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gsc_ros.bags.writing import write_messages
from gsc_ros.whole_output import whole


def write_mcap(path: Path, messages: Iterable[tuple[str, str, int, bytes]]) -> None:
    """Write (topic, type, nanoseconds, CDR) to the single file ``path``; it opens in Foxglove."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as place:
        bag = place.parent / "bag"
        write_messages(bag, messages)
        next(bag.glob("*.mcap")).replace(place)
