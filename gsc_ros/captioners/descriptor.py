"""Captioner ``descriptor``: an image in a closed vocabulary, without a model."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_HUES = (
    (12, "red"),
    (22, "orange"),
    (34, "yellow"),
    (85, "green"),
    (99, "turquoise"),
    (130, "blue"),
    (155, "purple"),
    (172, "pink"),
    (181, "red"),
)


def colour_name(rgb: NDArray[np.floating]) -> str:
    """The English name of a mean colour, RGB in 0..255."""
    pixel = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)[None, None]
    hue, saturation, value = (int(v) for v in cv2.cvtColor(pixel, cv2.COLOR_RGB2HSV)[0, 0])
    if value < 40:
        return "black"
    if saturation < 40:
        return "white" if value > 190 else "grey"
    name = next(name for limit, name in _HUES if hue < limit)
    if name in ("red", "orange", "yellow") and value < 170:
        return "brown"
    return name


class DescriptorCaptioner:
    """Light, colours by place, a horizon where there is one, and texture.

    The caption is a function of the image alone: equal images give equal captions, and small
    changes of the view mostly leave it as it is, so that it can be sent by reference.
    """

    def caption(self, image: NDArray[np.uint8]) -> str:
        """An English caption of ``image`` (H,W,3), RGB."""
        small = cv2.resize(image, (48, 36), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        mean = float(grey.mean())
        light = "dark" if mean < 60 else "dim" if mean < 100 else "bright" if mean > 165 else "clear"
        rows = [colour_name(np.median(small[top : top + 12].reshape(-1, 3), axis=0)) for top in (0, 12, 24)]
        if rows[0] == rows[1] == rows[2]:
            place = f"all {rows[0]}"
        elif rows[0] == rows[1]:
            place = f"{rows[0]} above and {rows[2]} below"
        elif rows[1] == rows[2]:
            place = f"{rows[0]} above and {rows[1]} below"
        else:
            place = f"{rows[0]} above, {rows[1]} in the middle and {rows[2]} below"
        step = np.abs(np.diff(grey.mean(axis=1)))
        horizon = " with a horizon" if step.max() > 28 and 4 <= step.argmax() <= 30 else ""
        busy = float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())
        texture = "smooth" if busy < 9 else "busy" if busy > 32 else "textured"
        return f"a {light} {texture} view{horizon}, {place}"
