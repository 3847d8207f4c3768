"""A node whose every callback passes one guard, and which says in /diagnostics what was refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from gsc_ros.nodes.guard import TELL_EVERY_S, Guard, reason_of
from gsc_ros.printable import printable

DIAGNOSTICS_PERIOD_S = 1.0


class GuardedNode(Node):
    """Subscribe with :meth:`listen`, set timers with :meth:`every`, add to :meth:`statuses`."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.guard = Guard(self.tell)
        self._warned: dict[str, float] = {}
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.every(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    def listen(
        self,
        kind: Any,
        topic: str,
        qos: QoSProfile,
        heard: Callable[[Any], None],
        *,
        overridable: QoSOverridingOptions | None = None,
    ) -> Any:
        """Subscribe ``topic``, with a QoS that parameters can override; a message that cannot be used is refused."""

        def guarded(message: Any) -> None:
            with self.guard(topic):
                heard(message)

        return self.create_subscription(
            kind, topic, guarded, qos,
            qos_overriding_options=overridable or QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible(topic, "publisher")),
        )  # fmt: skip

    def every(self, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` every so many seconds, also where ROS time stands still; a call that fails does not end the timer."""

        def guarded() -> None:
            with self.guard(getattr(act, "__name__", "timer").strip("_").replace("_", " ")):
                act()

        self.create_timer(seconds, guarded, clock=self._steady)

    def advertise(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        """A publisher with a QoS that parameters can override."""
        return self.create_publisher(
            kind, topic, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._incompatible(topic, "subscriber")),
        )  # fmt: skip

    def tell(self, text: str) -> None:
        """Log a warning, whatever else is logged: for what is said once."""
        self.get_logger().warning(printable(text))

    def warn(self, source: str, text: str) -> None:
        """Log a warning, at most once a second for each ``source``: one camera's must not hide another's."""
        now = time.monotonic()
        if now - self._warned.get(source, float("-inf")) >= TELL_EVERY_S:
            self._warned[source] = now
            self.tell(f"{source}: {text}")

    def statuses(self) -> Sequence[DiagnosticStatus]:
        """What /diagnostics says of this node beside what its guard refused; nodes add theirs."""
        return ()

    def status(self, what: str, level: bytes, text: str, values: dict[str, Any], *, hardware: str = "") -> Any:
        """A DiagnosticStatus under a name that no other node of any robot has."""
        return DiagnosticStatus(
            level=level,
            name=f"{self.get_fully_qualified_name()}: {what}",
            message=text,
            hardware_id=hardware,
            values=[KeyValue(key=str(key), value=str(value)) for key, value in values.items()],
        )

    def _publish_diagnostics(self) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [*self.statuses(), self._refusals()]
        self._diagnostics.publish(message)

    def _refusals(self) -> DiagnosticStatus:
        """What came in and could not be used: a warning while it is recent."""
        found, recent = self.guard.sources, self.guard.recent
        text = "nothing was refused"
        if recent or found:
            source, newest = max((recent or found).items(), key=lambda item: item[1].at)
            total = sum(each.count for each in found.values())
            text = f"{total} refused since the start, the last from {source}: {newest.last}"
        values = {source: f"{each.count}, last: {each.last}" for source, each in found.items()}
        return self.status("input", DiagnosticStatus.WARN if recent else DiagnosticStatus.OK, text, values)

    def _incompatible(self, topic: str, other: str) -> Callable[[Any], None]:
        def log(event: Any) -> None:
            self.get_logger().warning(
                f"{topic}: a {other} offers or asks for another quality of service ({event.last_policy_kind!s}), so nothing flows between us; "
                f"set qos_overrides.{topic} to match it"
            )

        return log


def spin_guarded(executor: Executor, node: GuardedNode) -> None:
    """Run callbacks until context or executor end; raises KeyboardInterrupt and ExternalShutdownException alone.

    What a callback raises its guard has. What is left is a message or a request that rclpy itself cannot read.
    """
    while rclpy.ok(context=node.context):
        try:
            executor.spin()
            return
        except ExternalShutdownException:
            raise
        except Exception as error:
            if not rclpy.ok(context=node.context):
                return
            for source in _let_go(node) or ["rclpy"]:
                node.guard.refuse(source, f"cannot be read: {reason_of(error)}")


def _let_go(node: Node) -> list[str]:
    """Give back what rclpy keeps taken when reading it fails; the names of the topics and services.

    rclpy marks an entity as taken, reads it, and unmarks it only where that succeeds (executors.py, ``handler``).
    Without this the node would hear nothing any more, from anyone.
    """
    names: list[str] = []
    for entity in (*node.subscriptions, *node.services, *node.clients):
        if getattr(entity, "_executor_event", False):
            entity._executor_event = False
            entity.callback_group.ending_execution(entity)
            names.append(str(getattr(entity, "topic_name", "") or getattr(entity, "srv_name", "a service")))
    return names
