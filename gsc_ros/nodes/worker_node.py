"""What the two codec nodes have in common: newest-first boxes, one worker thread, diagnostics."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus

from gsc_ros.nodes.clock_offset import ClockOffset
from gsc_ros.nodes.guard import RECENT_S, reason_of
from gsc_ros.nodes.newest import NewestBoxes
from gsc_ros.nodes.parameters import Parameter
from gsc_ros.nodes.served_node import ServedNode
from gsc_ros.nodes.silence import Silence
from gsc_ros.nodes.stamps import age_s

LONGEST_NAP_S = 0.1
DISAGREEMENT_S = 60.0
SILENT_S = 10.0

Result = TypeVar("Result")


class Counters:
    """What became of the frames of one camera."""

    def __init__(self) -> None:
        self.frames = 0
        self.never_arrived = 0  # as stamps or sequence numbers tell
        self.dropped_newer = 0
        self.dropped_stale = 0
        self.refused = 0
        self.missing_reference = 0  # built on a frame that never came
        self.last_error = ""
        self.last_error_at = float("-inf")  # of time.monotonic
        self.last_ms = 0.0


class InVain:
    """Since when, and why, frames of a camera come and none of them is shown."""

    def __init__(self) -> None:
        self.why, self.since = "", 0.0

    def begin(self, why: str, now: float) -> None:
        """One more frame that is not shown."""
        if not self.why:
            self.since = now
        self.why = why

    def end(self) -> None:
        """A frame is out."""
        self.why = ""


class WorkerNode(ServedNode):
    """A node whose frames are worked on in one thread, newest first.

    Subclasses load their models in ``__init__``, subscribe with :meth:`arrived` and do
    their work in :meth:`work`.
    """

    def __init__(self, name: str, table: Sequence[Parameter]) -> None:
        super().__init__(name, table)
        self.counters = {camera: Counters() for camera in self.cameras}
        self.in_vain = {camera: InVain() for camera in self.cameras}
        self._silence = {camera: Silence(SILENT_S) for camera in self.cameras}
        self._offsets = {
            camera: ClockOffset() for camera in self.cameras
        }  # each camera's stamps are of a clock of its own
        self._boxes: NewestBoxes[Any] = NewestBoxes(self.cameras)
        self._use_threads()

    def close(self) -> None:
        self._boxes.close()  # wakes the thread
        super().close()

    def arrived(self, camera: str, message: Any) -> None:
        """A message of ``camera`` goes into its box; what a subscription calls."""
        self._silence[camera].heard(time.monotonic())
        age = age_s(message.header.stamp, self.get_clock().now().nanoseconds)
        if age is not None:
            self._offsets[camera].seen(age, time.monotonic())
        self.counters[camera].never_arrived += self.missing_before(camera, message)
        if self._boxes.put(camera, message):
            self.counters[camera].dropped_newer += 1

    @abstractmethod
    def missing_before(self, camera: str, message: Any) -> int:
        """How many messages of ``camera`` did not arrive between the one before and this one, as far as it tells."""

    @abstractmethod
    def work(self, items: Sequence[tuple[str, Any]]) -> None:
        """Handle messages, one of each camera, in the worker thread: each part of it in :meth:`attempt`."""

    @property
    def at_once(self) -> int:
        """How many messages :meth:`work` may be given."""
        return 1

    def age_s(self, camera: str, stamp: Any) -> float:
        """Seconds since ``stamp`` of ``camera`` on this node's clock; 0 for a stamp that was never set."""
        age = age_s(stamp, self.get_clock().now().nanoseconds)
        if age is None:
            return 0.0
        return age if self.value("clocks_agree") else age - self._offsets[camera].seconds

    def run(self) -> None:
        """Work on what arrives, newest first."""
        while items := self._next():
            limit = self.value("max_age_s")
            fresh = []
            for camera, message in items:
                if limit > 0 and self.age_s(camera, message.header.stamp) > limit:
                    self.counters[camera].dropped_stale += 1
                    self.in_vain[camera].begin(f"frames are older than max_age_s, {limit:g} s", time.monotonic())
                else:
                    fresh.append((camera, message))
            if fresh:
                self.work(fresh)

    def attempt(self, cameras: Sequence[str], work: Callable[[], Result]) -> Result | None:
        """What ``work`` returns; where it fails, the frames of ``cameras`` are refused and None is returned."""
        try:
            return work()
        except Exception as error:
            # A frame must not take the node down, but what went wrong must be seen.
            if not rclpy.ok():
                return None
            reason = reason_of(error)
        for camera in cameras:
            self._refuse(camera, reason)
        return None

    def done(self, camera: str, began: float) -> None:
        """A frame of ``camera`` is out, begun at ``began`` of ``time.perf_counter``."""
        self.counters[camera].frames += 1
        self.in_vain[camera].end()
        self.counters[camera].last_ms = 1e3 * (time.perf_counter() - began)

    def _next(self) -> list[tuple[str, Any]]:
        """The newest messages there are once :meth:`delay` is over; none at the end."""
        while (delay := self.delay()) > 0:
            if self._boxes.closed_within(min(delay, LONGEST_NAP_S)):
                return []
        return self._boxes.take(self.at_once)

    def delay(self) -> float:
        """Seconds to wait before the next message is taken; asked again while they pass."""
        return 0.0

    def _refuse(self, camera: str, reason: str) -> None:
        counters = self.counters[camera]
        counters.refused += 1
        counters.last_error, counters.last_error_at = reason, time.monotonic()
        self.warn(camera, f"frame refused: {reason}")

    def statuses(self) -> list[DiagnosticStatus]:
        found = []
        for camera, counters in self.counters.items():
            level, text = self._state(camera, counters)
            values = {key: value for key, value in vars(counters).items() if key != "last_error_at"}
            found.append(self.status(camera, level, text, values, hardware=camera))
        return found

    def _state(self, camera: str, counters: Counters) -> tuple[bytes, str]:
        """Level and words for one camera; what is long over is told and no warning any more."""
        now = time.monotonic()
        refused = f"{counters.refused} frames refused, last: {counters.last_error}" if counters.refused else ""
        if refused and now - counters.last_error_at < RECENT_S:
            return DiagnosticStatus.WARN, refused
        if self._silence[camera].too_long(now):
            return DiagnosticStatus.WARN, f"nothing came for {self._silence[camera].seconds(now):.0f} s"
        if trouble := self.trouble(camera):
            return DiagnosticStatus.WARN, trouble
        in_vain = self.in_vain[camera]
        if in_vain.why and (not counters.frames or now - in_vain.since > RECENT_S):
            return DiagnosticStatus.WARN, f"nothing is shown for {now - in_vain.since:.0f} s: {in_vain.why}"
        if not counters.frames:
            return DiagnosticStatus.WARN, refused or "no frame yet"
        if self.value("clocks_agree") and abs(offset := self._offsets[camera].seconds) > DISAGREEMENT_S:
            return DiagnosticStatus.WARN, (
                f"stamps are at least {offset:.0f} s off this clock: where the link is not that slow, "
                "set the clocks, or clocks_agree to false"
            )
        return DiagnosticStatus.OK, f"running; {refused}" if refused else "running"

    def trouble(self, camera: str) -> str:
        """What else is wrong around ``camera``, in words; empty where nothing is."""
        return ""

    def _use_threads(self) -> None:
        import torch

        if threads := self.value("threads"):
            torch.set_num_threads(threads)
