"""A subscription that is as reliable as its publishers offer: drivers differ, and nobody should have to know.

Best effort hears every publisher, and on a busy machine loses most of the large messages of one that would repeat
them. So it begins as best effort, and is made anew as reliable once every publisher of the topic is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions, QoSPolicyKind

from gsc_ros.nodes.guarded_node import GuardedNode

LOOK_EVERY_S = 1.0
RELIABLE, BEST_EFFORT = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT


class AsOffered:
    """Subscribes ``topic``; where ``qos_overrides`` name its reliability that holds, and nothing is matched."""

    def __init__(self, node: GuardedNode, kind: Any, topic: str, heard: Callable[[Any], None]) -> None:
        self._node, self._kind, self._topic, self._heard = node, kind, topic, heard
        name = node.resolve_topic_name(topic)
        self._chosen = BEST_EFFORT
        if node.has_parameter(f"qos_overrides.{name}.subscription.reliability"):
            node.listen(kind, topic, QoSProfile(depth=1), heard)
            return
        self._subscription = self._subscribe()
        node.every(LOOK_EVERY_S, self.match)

    def match(self) -> None:
        """Look what is offered, and take that."""
        offered = {info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self._topic)}
        wanted = RELIABLE if offered == {RELIABLE} else BEST_EFFORT
        if wanted is self._chosen or not offered:
            return
        self._chosen = wanted
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        words = (
            "reliable, as every publisher offers"
            if wanted is RELIABLE
            else "best effort, as a publisher offers no more"
        )
        self._node.get_logger().info(f"{self._topic}: {words}")

    def _subscribe(self) -> Any:
        others = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
        return self._node.listen(
            self._kind, self._topic, QoSProfile(depth=1, reliability=self._chosen), self._heard,
            overridable=QoSOverridingOptions(policy_kinds=others),
        )  # fmt: skip
