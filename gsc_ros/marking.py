"""The word that tells an operator what kind of picture this is, and what it was made from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WORD = "GENERATED"


def mark_generated(image: NDArray[np.uint8], caption: str = "") -> NDArray[np.uint8]:
    """A copy of ``image`` (H,W,3) with the word, and the caption as far as it fits, at its lower edge."""
    marked = image.copy()
    size = max(0.35, min(image.shape[:2]) / 1100)
    text = f"{WORD}: {caption}".encode("ascii", "replace").decode() if caption else WORD
    while len(text) > len(WORD) and cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] > image.shape[1] - 6:
        text = text[:-1]
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    base = image.shape[0] - below - 2
    cv2.rectangle(marked, (0, base - height - 4), (width + 6, image.shape[0] - 1), (0, 0, 0), cv2.FILLED)
    cv2.putText(marked, text, (3, base), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)
    return marked
