"""Runs the demo's processes: camera, compressor and reconstructor in one ROS graph, recorded here."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsc_ros.nodes.recorder import Recording

CAMERA = "/camera"
READY_LIMIT_S = 60.0
QUIET_LIMIT_S = 15.0


class DemoError(RuntimeError):
    """A node that did not start, ended early, or showed nothing."""


class Processes:
    """Child processes that end together, each with its output in a log."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, *arguments: str, module: str | None = None, environment: dict[str, str] | None = None
    ) -> None:
        """Start the node ``module`` (``name`` where none is given), with ``environment`` beside our own."""
        with (self._logs / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", f"gsc_ros.nodes.{module or name}", *arguments]
            self._children[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
            )

    def finished(self, name: str) -> bool:
        """Whether ``name`` has ended well; raises DemoError when it ended badly."""
        code = self._children[name].poll()
        if code:
            lines = (self._logs / f"{name}.log").read_text(errors="replace").strip().splitlines() or ["no output"]
            raise DemoError(
                f"the {name} ended with code {code}: {lines[-1]} (all of it in {self._logs / f'{name}.log'})"
            )
        return code == 0

    def check(self, *names: str) -> None:
        """Raise DemoError when one that should still run has ended."""
        for name in names:
            if self.finished(name):
                raise DemoError(f"the {name} ended before the demo did (its output is in {self._logs / f'{name}.log'})")

    def memory_mb(self, name: str) -> float:
        """Resident now, from /proc; nan where that is not to be had."""
        try:
            status = Path(f"/proc/{self._children[name].pid}/status").read_text()
        except OSError:
            return math.nan
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), math.nan)

    def peak_memory_mb(self, name: str) -> float | None:
        """Largest resident size so far, from /proc; None where that is not to be had."""
        try:
            status = Path(f"/proc/{self._children[name].pid}/status").read_text()
        except OSError:
            return None
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), None)

    def kill(self, name: str) -> None:
        """End ``name`` as a power cut does; it may be started again."""
        self._children[name].kill()
        self._children[name].wait()

    def stop(self) -> None:
        """Ctrl-C for all, and a kill for those that do not heed it."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        for child in self._children.values():
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def run_nodes(
    *,
    camera_arguments: Sequence[str],
    compressor: dict[str, object],
    reconstructor: dict[str, object],
    frames: int,
    logs: Path,
    progress: Callable[[int, int], None],
) -> tuple[Recording, dict[str, float]]:
    """Start the nodes, wait until every frame that was sent is shown, and stop them.

    ``compressor`` and ``reconstructor`` are parameters. Returns the recording and a few
    measurements: seconds until both nodes were ready, and their peak memory in MB.
    """
    import rclpy

    from gsc_ros.nodes.recorder import Recorder

    os.environ.setdefault("ROS_LOG_DIR", str(logs))
    logs.mkdir(parents=True, exist_ok=True)
    processes = Processes(logs)
    rclpy.init()
    recorder = Recorder(CAMERA)
    figures: dict[str, float] = {}
    try:
        began = time.monotonic()
        # The demo's camera is reliable; a best-effort subscription would lose large images on a busy machine.
        reliable = {f"qos_overrides.{CAMERA}/image_raw.subscription.reliability": "reliable"}
        processes.start("compressor", *node_arguments({"cameras": [CAMERA], **reliable, **compressor}))
        processes.start("reconstructor", *node_arguments({"cameras": [CAMERA], "mark": False, **reconstructor}))
        while recorder.missing():
            rclpy.spin_once(recorder, timeout_sec=0.1)
            processes.check("compressor", "reconstructor")
            if time.monotonic() - began > READY_LIMIT_S:
                raise DemoError(
                    f"the nodes were not ready after {READY_LIMIT_S:.0f} s: {', '.join(recorder.missing())} have no publisher"
                )
        figures["ready_s"] = time.monotonic() - began
        processes.start("camera", "--name", CAMERA, "--subscribers", "2", *camera_arguments)
        quiet = time.monotonic()
        done = False
        known = 0
        while not done:
            rclpy.spin_once(recorder, timeout_sec=0.05)
            processes.check("compressor", "reconstructor")
            shown = recorder.shown()
            if len(recorder.recording.messages) != known:
                known, quiet = len(recorder.recording.messages), time.monotonic()
            progress(shown, frames)
            silent = time.monotonic() - quiet
            if processes.finished("camera"):
                sent = len(recorder.recording.frames)
                # Dropped frames never complete: what came before the newest shown one is settled.
                done = silent > (1.5 if shown and _last_shown(recorder.recording) else QUIET_LIMIT_S) or (
                    shown == sent and shown > 0 and silent > 0.3
                )
            elif silent > READY_LIMIT_S:
                raise DemoError(f"nothing arrived for {READY_LIMIT_S:.0f} s; the logs of the nodes are in {logs}")
        for name in ("compressor", "reconstructor"):
            memory = processes.peak_memory_mb(name)
            if memory is not None:
                figures[f"{name}_mb"] = memory
        return recorder.recording, figures
    finally:
        processes.stop()
        recorder.destroy_node()
        rclpy.try_shutdown()


def _last_shown(recording: Recording) -> bool:
    return recording.frames[max(recording.frames)].complete


def node_arguments(values: Mapping[str, object]) -> list[str]:
    """Command-line arguments that set parameters."""
    arguments = ["--ros-args"]
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value).replace("'", '"')
        arguments += ["-p", f"{name}:={text}"]
    return arguments
