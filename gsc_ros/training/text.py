"""Makes the caption coder's table from a corpus: one caption a line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from gsc_ros.entropy.text import END, ESCAPE, FIRST, LAST, TextTable, contexts, key


def build(lines: Iterable[str], *, least: int = 3) -> TextTable:
    """Count every context of ``lines``; those seen fewer than ``least`` times are left out.

    Counts beyond 255 are scaled down within their context, never below 1.
    """
    seen: dict[int, Counter[int]] = defaultdict(Counter)
    for line in lines:
        history = ""
        for character in line:
            symbol = ord(character) - FIRST if FIRST <= ord(character) <= LAST else ESCAPE
            for context in contexts(history):
                seen[key(context)][symbol] += 1
            history += character if symbol != ESCAPE else "\x7f"
        for context in contexts(history):
            seen[key(context)][END] += 1
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
