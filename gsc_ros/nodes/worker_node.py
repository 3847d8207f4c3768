"""What both nodes have in common: newest-first boxes, one worker thread, diagnostics, a clean end."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.time import Time

from gsc_ros.nodes.newest import NewestBoxes
from gsc_ros.nodes.parameters import Parameter, declare

DIAGNOSTICS_PERIOD_S = 1.0


class Counters:
    """What became of the frames of one camera."""

    def __init__(self) -> None:
        self.frames = 0
        self.dropped_newer = 0
        self.dropped_stale = 0
        self.refused = 0
        self.last_error = ""
        self.last_ms = 0.0


class WorkerNode(Node, ABC):
    """A node whose frames are worked on in one thread, newest first.

    Subclasses load their models in ``__init__``, subscribe through :meth:`subscribe` and do
    their work in :meth:`work`, which may raise ValueError for a frame that cannot be used.
    """

    def __init__(self, name: str, table: Sequence[Parameter]) -> None:
        super().__init__(name)
        self._table = {parameter.name: parameter for parameter in table}
        declare(self, table)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.cameras = [camera.rstrip("/") for camera in self.value("cameras")]
        if not all(self.cameras) or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras {self.value('cameras')}: distinct names that are not empty are needed")
        self.counters = {camera: Counters() for camera in self.cameras}
        self._boxes: NewestBoxes[Any] = NewestBoxes(self.cameras)
        self._worker = threading.Thread(target=self._run, name="worker", daemon=True)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)
        self._use_threads()

    def value(self, name: str) -> Any:
        """The present value of a parameter."""
        return self.get_parameter(name).value

    def start(self) -> None:
        """Let the worker begin."""
        self._worker.start()

    def close(self) -> None:
        """End the worker and wait for it, then give the node back."""
        self._boxes.close()
        if self._worker.is_alive():
            self._worker.join(timeout=10.0)
        self.destroy_node()

    def subscribe(self, kind: Any, topic: str, qos: QoSProfile, camera: str) -> None:
        """Subscribe ``topic``; its messages go into the box of ``camera``."""
        self.create_subscription(
            kind, topic, lambda message: self._arrived(camera, message), qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible(topic, "publisher")),
        )  # fmt: skip

    def advertise(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        """A publisher whose QoS can be overridden by parameters."""
        return self.create_publisher(
            kind, topic, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._incompatible(topic, "subscriber")),
        )  # fmt: skip

    @abstractmethod
    def work(self, camera: str, message: Any) -> None:
        """Handle one message in the worker thread."""

    def age_s(self, stamp: Any) -> float:
        """Seconds since ``stamp`` on this node's clock; 0 for a stamp that was never set."""
        then = Time.from_msg(stamp, clock_type=self.get_clock().clock_type)
        return 0.0 if then.nanoseconds == 0 else (self.get_clock().now() - then).nanoseconds / 1e9

    def check_change(self, name: str, value: Any) -> str | None:
        """Why parameter ``name`` cannot be set to ``value`` beyond its range; None when it can."""
        return None

    def _arrived(self, camera: str, message: Any) -> None:
        if self._boxes.put(camera, message):
            self.counters[camera].dropped_newer += 1

    def _run(self) -> None:
        while (item := self._boxes.take()) is not None:
            camera, message = item
            counters = self.counters[camera]
            limit = self.value("max_age_s")
            if limit > 0 and self.age_s(message.header.stamp) > limit:
                counters.dropped_stale += 1
                continue
            began = time.perf_counter()
            try:
                self.work(camera, message)
            except ValueError as error:
                self._refuse(camera, str(error))
            except Exception as error:
                # A frame must not take the node down, but what went wrong must be seen.
                if not rclpy.ok():
                    return
                self._refuse(camera, f"{type(error).__name__}: {error}")
            else:
                counters.frames += 1
                counters.last_ms = 1e3 * (time.perf_counter() - began)

    def _refuse(self, camera: str, reason: str) -> None:
        self.counters[camera].refused += 1
        self.counters[camera].last_error = reason
        self.get_logger().warning(f"{camera}: frame refused: {reason}", throttle_duration_sec=1.0)

    def _check_parameters(self, parameters: list[Any]) -> SetParametersResult:
        for parameter in parameters:
            known = self._table.get(parameter.name)
            reason = known.problem(parameter.value) if known else None
            reason = reason or self.check_change(parameter.name, parameter.value)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _incompatible(self, topic: str, other: str) -> Callable[[Any], None]:
        def log(event: Any) -> None:
            self.get_logger().warning(
                f"{topic}: a {other} offers or asks for another quality of service ({event.last_policy_kind!s}), so nothing flows between us; "
                f"set qos_overrides.{topic} to match it"
            )

        return log

    def _publish_diagnostics(self) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        for camera, counters in self.counters.items():
            level, text = DiagnosticStatus.OK, "running"
            if counters.frames == 0 and not counters.refused:
                level, text = DiagnosticStatus.WARN, "no frame yet"
            elif counters.refused:
                level, text = DiagnosticStatus.WARN, f"{counters.refused} frames refused, last: {counters.last_error}"
            values = [KeyValue(key=key, value=str(value)) for key, value in vars(counters).items()]
            message.status.append(
                DiagnosticStatus(
                    level=level, name=f"{self.get_name()}: {camera}", message=text, hardware_id=camera, values=values
                )
            )
        self._diagnostics.publish(message)

    def _use_threads(self) -> None:
        import torch

        if threads := self.value("threads"):
            torch.set_num_threads(threads)


def spin(make: Callable[[], WorkerNode]) -> None:
    """Run a node until it is told to stop; Ctrl-C and SIGTERM end it without a trace."""
    rclpy.init()
    node: WorkerNode | None = None
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
