"""Captioner ``fixed``: the text that the operator or the mission gave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FixedCaptioner:
    """Says the same about every image."""

    def __init__(self, text: str) -> None:
        self.text = text

    def caption(self, image: NDArray[np.uint8]) -> str:
        """``text``, whatever ``image`` (H,W,3) shows."""
        return self.text
