from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from std_msgs.msg import String

from seg_perception.ros import qos


@pytest.mark.parametrize(
    ("offered", "requested", "remedy"),
    [
        (qos.sensor_input(1, "best_effort"), qos.sensor_input(1, "reliable"), "reliability: best_effort"),
        (qos.stream_output(), qos.latched(), "transient_local"),
    ],
)
def test_an_incompatible_publisher_is_explained(spun, offered, requested, remedy):
    watch = qos.IncompatiblePublisher("/topic")
    spun.node.create_subscription(String, "topic", lambda m: None, requested, event_callbacks=watch.event_callbacks())
    spun.node.create_publisher(String, "topic", offered)
    spun.spin_until(lambda: watch.reason)
    assert watch.reason.startswith("incompatible QoS on /topic: ") and remedy in watch.reason


@pytest.mark.parametrize("requested", [qos.sensor_input(5, "best_effort"), qos.sensor_input(1, "reliable")])
def test_streams_reach_both_kinds_of_subscribers(spun, requested):
    got = []
    spun.node.create_subscription(String, "topic", got.append, requested)
    publisher = spun.node.create_publisher(String, "topic", qos.stream_output())

    def arrived():
        publisher.publish(String(data="x"))
        return got

    spun.spin_until(arrived)


def test_latched_reaches_a_late_subscriber(spun):
    got = []
    spun.node.create_publisher(String, "topic", qos.latched()).publish(String(data="once"))
    spun.node.create_subscription(String, "topic", got.append, qos.latched())
    spun.spin_until(lambda: got)
    assert got[0].data == "once"
