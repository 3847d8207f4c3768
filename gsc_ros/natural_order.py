"""Names in the order of people: frame2 before frame10."""

from __future__ import annotations

import re
from pathlib import Path


def natural(path: Path) -> list[tuple[int, str]]:
    """A key to sort files by their names with."""
    # Every second part is a number.
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]
