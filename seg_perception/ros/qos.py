"""Quality of service of the pipeline's topics, and words for two ends that do not fit (REP-2003)."""

from __future__ import annotations

from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

RELIABILITIES = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}
"""Values of the parameter `reliability` of an input."""

_OFFER = {
    "RELIABILITY": "the publisher is best_effort, this subscription reliable; set parameter reliability: best_effort",
    "DURABILITY": "the publisher is volatile, this subscription transient_local; make the publisher transient_local",
}


def sensor_input(depth: int, reliability: str) -> QoSProfile:
    """Images, camera_info, odometry in: volatile, the last `depth`."""
    return _profile(depth, RELIABILITIES[reliability], DurabilityPolicy.VOLATILE)


def stream_output() -> QoSProfile:
    """Masks and clouds out: reliable, so that both kinds of subscribers match; short, so that nothing gets old."""
    return _profile(5, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def latched() -> QoSProfile:
    """What a late subscriber must still get (class tables, grids), in and out: reliable, transient_local, the last."""
    return _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


class IncompatiblePublisher:
    """Remembers that a publisher of a subscribed topic offers a QoS that does not fit; then nothing arrives from it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.reason = ""

    def event_callbacks(self) -> SubscriptionEventCallbacks:
        """To hand to `create_subscription`."""
        return SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible)

    def _on_incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        offer = _OFFER.get(policy, f"their {policy} policies differ; align them")
        self.reason = f"incompatible QoS on {self._topic}: {offer}"


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)
