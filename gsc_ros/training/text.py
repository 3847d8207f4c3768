"""Makes the caption coder's table from a corpus: one caption a line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from gsc_ros.entropy.text import END, ESCAPE, ESCAPED, FIRST, LAST, Contexts, TextTable


def build(lines: Iterable[str], *, least: int = 3) -> TextTable:
    """Count every context of ``lines``; those seen fewer than ``least`` times are left out.

    Counts beyond 255 are scaled down within their context, never below 1.
    """
    seen: dict[int, Counter[int]] = defaultdict(Counter)
    for line in lines:
        contexts = Contexts()
        for character in map(ord, line):
            printable = FIRST <= character <= LAST
            for name in contexts.names():
                seen[name][character - FIRST if printable else ESCAPE] += 1
            contexts.advance(character if printable else ESCAPED)
        for name in contexts.names():
            seen[name][END] += 1
    keys, distinct, symbols, counts = [], [], [], []
    for name in sorted(seen):
        counter = seen[name]
        if sum(counter.values()) < least:
            continue
        largest = max(counter.values())
        keys.append(name)
        distinct.append(len(counter))
        for symbol, count in sorted(counter.items()):
            symbols.append(symbol)
            counts.append(count if largest <= 255 else max(1, count * 255 // largest))
    return TextTable(
        np.array(keys, np.uint32), np.array(distinct, np.uint8), np.array(symbols, np.uint8), np.array(counts, np.uint8)
    )
