"""Captioners: image -> P, what the scene means."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Captioner(Protocol):
    """What the encoder asks of a captioner."""

    def caption(self, image: NDArray[np.uint8]) -> str:
        """A caption of ``image`` (H,W,3), RGB; an empty string says nothing."""
        ...


def make_captioner(mode: str, *, text: str = "") -> Captioner:
    """The captioner of ``mode``: ``descriptor``, ``fixed`` (says ``text``) or ``off``."""
    from gsc_ros.captioners.descriptor import DescriptorCaptioner
    from gsc_ros.captioners.fixed import FixedCaptioner

    if mode == "descriptor":
        return DescriptorCaptioner()
    if mode == "fixed":
        return FixedCaptioner(text)
    if mode == "off":
        return FixedCaptioner("")
    raise ValueError(f"caption mode {mode!r}: descriptor, fixed and off are known")
