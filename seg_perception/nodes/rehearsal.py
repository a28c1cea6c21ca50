"""Showing the first image until it gets through to the end of the pipeline, so that no frame is lost to discovery.

That two nodes see a third one does not mean that they see each other yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String

from seg_perception.msg import PipelineStatus
from seg_perception.ros.qos import latched, stream_output

_PERIOD_S = 0.2
_LONGEST_S = 30.0
_QUIET_S = 0.5  # longer than a mask waits for the pose that is not shown with it


class Rehearsal:
    """recorded: topics that must have reached the recorder. receivers: nodes whose status must count an input."""

    def __init__(self, node: Node, recorded: Sequence[str], receivers: Sequence[str]) -> None:
        self._node = node
        self._recorded = {node.resolve_topic_name(topic) for topic in recorded}
        self._receivers = set(receivers)
        node.create_subscription(String, "recorder/recorded", self._on_recorded, latched())
        for name in receivers:
            node.create_subscription(PipelineStatus, f"{name}/status", self._on_status(name), stream_output())

    def play(self, show: Callable[[], object]) -> None:
        """Call `show` until everybody has got something of it, then let the pipeline come to rest.

        After a while the wait ends without: the image may be one that gives no mask.
        """
        deadline = time.monotonic() + _LONGEST_S
        while self._recorded or self._receivers:
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(self._recorded | self._receivers))
                self._node.get_logger().warning(f"the first image does not get through to {missing}; playing it anyway")
                break
            show()
            self._spin(_PERIOD_S)
        self._spin(_QUIET_S)

    def _spin(self, seconds: float) -> None:
        rclpy.spin_until_future_complete(self._node, Future(), timeout_sec=seconds)

    def _on_recorded(self, msg: String) -> None:
        self._recorded -= set(msg.data.split())

    def _on_status(self, name: str) -> Callable[[PipelineStatus], None]:
        def note(msg: PipelineStatus) -> None:
            if msg.received:
                self._receivers.discard(name)

        return note
