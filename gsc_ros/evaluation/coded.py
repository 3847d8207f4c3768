"""What every codec is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """What a codec may spend on an image, and of ours how many channels."""

    max_bytes: int
    channels: int | None = None

    @property
    def name(self) -> str:
        return f"{self.max_bytes} B" + ("" if self.channels is None else f", C={self.channels}")


@dataclass(frozen=True)
class Coded:
    """Bytes that count, bytes of the whole file, and the picture."""

    bytes: int
    file_bytes: int
    picture: Image


Coding = Callable[[Image, Setting, str], Coded]
"""The image, what it may cost, its name without suffix."""
