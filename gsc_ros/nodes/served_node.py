"""What all nodes have in common: the parameter table, cameras, overridable QoS, a clean end."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from gsc_ros.nodes.parameters import Parameter, declare

JOIN_S = 10.0


class ServedNode(Node, ABC):
    """A node that serves the cameras of its parameter ``cameras``, with one thread beside the executor."""

    def __init__(self, name: str, table: Sequence[Parameter]) -> None:
        super().__init__(name)
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)
        self._table = {parameter.name: parameter for parameter in table}
        declare(self, table)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_changed)
        self.cameras = [camera.rstrip("/") for camera in self.value("cameras")] if "cameras" in self._table else []
        if "cameras" in self._table and (not all(self.cameras) or len(set(self.cameras)) != len(self.cameras)):
            raise ValueError(f"cameras {self.value('cameras')}: distinct names that are not empty are needed")

    def value(self, name: str) -> Any:
        """The present value of a parameter."""
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

    def listen(self, kind: Any, topic: str, qos: QoSProfile, heard: Callable[[Any], None]) -> None:
        """Subscribe ``topic``, with a QoS that parameters can override."""
        self.create_subscription(
            kind, topic, heard, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible(topic, "publisher")),
        )  # fmt: skip

    def advertise(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        """A publisher with a QoS that parameters can override."""
        return self.create_publisher(
            kind, topic, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._incompatible(topic, "subscriber")),
        )  # fmt: skip

    def warn(self, text: str) -> None:
        """Log a warning, at most once a second."""
        self.get_logger().warning(text, throttle_duration_sec=1.0)

    def check_change(self, name: str, value: Any) -> str | None:
        """Why parameter ``name`` cannot be set to ``value`` beyond its range; None when it can."""
        return None

    def changed(self, name: str, value: Any) -> None:
        """Parameter ``name`` was set to ``value`` while the node runs."""

    def _check_parameters(self, parameters: list[Any]) -> SetParametersResult:
        for parameter in parameters:
            known = self._table.get(parameter.name)
            reason = known.problem(parameter.value) if known else None
            reason = reason or self.check_change(parameter.name, parameter.value)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _parameters_changed(self, parameters: list[Any]) -> None:
        for parameter in parameters:
            if parameter.name in self._table:
                self.changed(parameter.name, parameter.value)

    def _incompatible(self, topic: str, other: str) -> Callable[[Any], None]:
        def log(event: Any) -> None:
            self.get_logger().warning(
                f"{topic}: a {other} offers or asks for another quality of service ({event.last_policy_kind!s}), so nothing flows between us; "
                f"set qos_overrides.{topic} to match it"
            )

        return log


def spin(make: Callable[[], ServedNode]) -> None:
    """Run a node until it is told to stop; Ctrl-C and SIGTERM end it without a trace."""
    rclpy.init()
    node: ServedNode | None = None
    executor = SingleThreadedExecutor()
    code = 0
    try:
        node = make()
        executor.add_node(node)
        node.start()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, OSError) as error:
        rclpy.logging.get_logger("gsc_ros").fatal(str(error))
        code = 1
    finally:
        executor.shutdown()
        if node is not None:
            node.close()
        rclpy.try_shutdown()
    if code:
        raise SystemExit(code)
