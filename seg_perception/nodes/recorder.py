"""Node that records topics into an mcap bag: serialised, as they come, with the QoS that their publishers offer.

Published: `~/recorded`, the names of the topics that messages have come from, separated by spaces.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from std_msgs.msg import String

from seg_perception.core.errors import SegPerceptionError
from seg_perception.evaluation.bag_writer import BagWriter
from seg_perception.nodes.plain import run_plain
from seg_perception.ros.parameters import ParameterSet, parameter
from seg_perception.ros.qos import latched

_DISCOVERY_S = 0.2


@dataclass(frozen=True)
class RecorderParameters:
    bag: str = parameter("", "folder of the bag to write; must not exist yet", read_only=True)
    topics: str = parameter("", "names of the topics to record, separated by spaces", read_only=True)


class Recorder(Node):
    """Subscribes to each topic as soon as it has a publisher; the bag is readable once the node is destroyed."""

    def __init__(self) -> None:
        super().__init__("recorder")
        values = ParameterSet(self, RecorderParameters).values
        if not values.bag or not values.topics:
            raise SegPerceptionError("recorder: parameters bag and topics are empty; say where to record what")
        self._missing = [self.resolve_topic_name(topic) for topic in values.topics.split()]
        self._recorded: list[str] = []
        self._recorded_topics = self.create_publisher(String, "~/recorded", latched())
        self._bag = BagWriter(Path(values.bag))
        self._discovery = self.create_timer(_DISCOVERY_S, self._discover)

    def destroy_node(self) -> None:
        """Close the bag as well."""
        self._bag.close()
        super().destroy_node()

    def _discover(self) -> None:
        for topic in list(self._missing):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._missing.remove(topic)
                self._subscribe(topic, publishers[0].topic_type, publishers[0].qos_profile)
        if not self._missing:
            self.destroy_timer(self._discovery)

    def _subscribe(self, topic: str, msgtype: str, offered: QoSProfile) -> None:
        package, _, name = msgtype.split("/")
        keeps_last = offered.durability == DurabilityPolicy.TRANSIENT_LOCAL
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=50, reliability=offered.reliability, durability=offered.durability
        )

        def write(data: bytes) -> None:
            self._bag.write(topic, self.get_clock().now().nanoseconds, data)
            if topic not in self._recorded:
                self._recorded.append(topic)
                self._recorded_topics.publish(String(data=" ".join(self._recorded)))

        self._bag.add_topic(topic, msgtype, latched=keeps_last)
        self.create_subscription(getattr(import_module(f"{package}.msg"), name), topic, write, qos, raw=True)


def main(args: Sequence[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM, then close the bag; returns the exit code."""
    return run_plain(Recorder, rclpy.spin, args)


if __name__ == "__main__":
    sys.exit(main())
