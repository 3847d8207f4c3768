"""What all nodes have in common: the parameter table, cameras, one thread beside the executor, a clean end."""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.validate_topic_name import validate_topic_name

from gsc_ros.nodes.guard import reason_of
from gsc_ros.nodes.guarded_node import GuardedNode, spin_guarded
from gsc_ros.nodes.parameters import Parameter, declare
from gsc_ros.printable import printable

JOIN_S = 10.0
AGAIN_S = 1.0  # before the thread goes on after a failure that is not of a frame


class ServedNode(GuardedNode, ABC):
    """A node that serves the cameras of its parameter ``cameras``, with one thread beside the executor."""

    def __init__(self, name: str, table: Sequence[Parameter]) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._table = {parameter.name: parameter for parameter in table}
        declare(self, table)
        self.values: Mapping[str, Any] = self._present()
        self.cameras = self._cameras() if "cameras" in self._table else []
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_changed)

    def value(self, name: str) -> Any:
        """The present value of a parameter; those of all are in ``values``."""
        return self.get_parameter(name).value

    @abstractmethod
    def run(self) -> None:
        """The work of the thread, until ``stopped`` is set."""

    def release(self) -> None:
        """Give back what the node holds, once the thread has ended."""
        return

    def start(self) -> None:
        """Let the thread begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and wait for it, then give the node back."""
        self.stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=JOIN_S)
        self.release()
        self.destroy_node()

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ValueError where the parameters cannot have ``values``, all of them, together."""
        return

    def changed(self) -> None:
        """Parameters were set while the node runs."""

    def _run(self) -> None:
        while not self.stopped.is_set():
            with self.guard(self._thread.name):
                self.run()
                return
            self.stopped.wait(AGAIN_S)

    def _cameras(self) -> list[str]:
        cameras = [camera.rstrip("/") for camera in self.value("cameras")]
        for camera in cameras:
            try:
                validate_topic_name(f"{camera}/image_raw")
            except NameValidationException as error:
                raise ValueError(
                    f"cameras {camera!r} cannot be the base name of topics: letters, digits, _ and / are allowed, no digit after a /"
                ) from error
        if not all(cameras) or len(set(cameras)) != len(cameras):
            raise ValueError(
                f"cameras {self.value('cameras')}: distinct names are needed; remap a driver on plain /image_raw to /camera/image_raw"
            )
        return cameras

    def _check_parameters(self, parameters: list[Any]) -> SetParametersResult:
        try:
            new = {parameter.name: parameter.value for parameter in parameters if parameter.name in self._table}
            for name, value in new.items():
                if reason := self._table[name].problem(value):
                    return SetParametersResult(successful=False, reason=reason)
            self.check({**self.values, **new})
        except Exception as error:
            return SetParametersResult(successful=False, reason=reason_of(error))
        return SetParametersResult(successful=True)

    def _parameters_changed(self, parameters: list[Any]) -> None:
        if any(parameter.name in self._table for parameter in parameters):
            with self.guard("parameters"):
                self.values = self._present()
                self.changed()

    def _present(self) -> dict[str, Any]:
        return {name: self.value(name) for name in self._table}


def spin(make: Callable[[], ServedNode]) -> None:
    """Run a node until it is told to stop; Ctrl-C and SIGTERM end it without a trace.

    What its constructor cannot use is one line and exit code 1. Nothing that comes later ends it.
    """
    node: ServedNode | None = None
    executor: SingleThreadedExecutor | None = None
    code = 0
    try:
        try:
            rclpy.init()
            node = make()
        except ExternalShutdownException:
            raise
        except Exception as error:  # of rclpy's own words, a QoS, torch's devices, zenoh: each has its own kind
            rclpy.logging.get_logger("gsc_ros").fatal(printable(reason_of(error)))
            code = 1
        else:
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            node.start()
            spin_guarded(executor, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of what follows undone
        if executor is not None:
            executor.shutdown()
        if node is not None:
            node.close()
        rclpy.try_shutdown()
    if code:
        raise SystemExit(code)
