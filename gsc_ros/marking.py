"""The word that tells an operator what kind of picture this is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WORD = "GENERATED"


def mark_generated(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of ``image`` (H,W,3) with the word in its lower left corner, white on black."""
    marked = image.copy()
    size = max(0.35, min(image.shape[:2]) / 900)
    (width, height), below = cv2.getTextSize(WORD, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    base = image.shape[0] - below - 2
    cv2.rectangle(marked, (0, base - height - 4), (width + 6, image.shape[0] - 1), (0, 0, 0), cv2.FILLED)
    cv2.putText(marked, WORD, (3, base), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)
    return marked
