"""A slow captioner beside a live camera: frames do not wait for words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gsc_ros.captioners import Captioner

RETRY_S = 5.0


class BackgroundCaptioner:
    """Says of a frame what its captioner last said of an earlier one, and has it look at the newest meanwhile.

    The first frames have no caption. When the captioner fails its last caption stays, ``report`` is
    told once, and it is asked again every ``RETRY_S`` seconds.
    """

    def __init__(
        self, inner: Captioner, *, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner, self._report, self._clock = inner, report, clock
        self._last = ""
        self._busy: threading.Thread | None = None
        self._not_before = 0.0
        self._failed = False

    def caption(self, image: NDArray[np.uint8]) -> str:
        """The last caption; ``image`` (H,W,3) is looked at if nothing else is."""
        said = self._last
        if (self._busy is None or not self._busy.is_alive()) and self._clock() >= self._not_before:
            self._busy = threading.Thread(target=self._look, args=(image.copy(),), daemon=True)
            self._busy.start()
        return said

    def wait(self, timeout_s: float) -> None:
        """Until the frame that is being looked at has its caption, at most so long."""
        if self._busy is not None:
            self._busy.join(timeout_s)

    def _look(self, image: NDArray[np.uint8]) -> None:
        try:
            self._last = self._inner.caption(image)
            if self._failed:
                self._report("the captioner answers again")
            self._failed = False
        except Exception as error:  # whatever goes wrong: a caption is not worth the picture
            self._not_before = self._clock() + RETRY_S
            if not self._failed:
                self._report(f"no new captions, the last one stays: {error}")
            self._failed = True
