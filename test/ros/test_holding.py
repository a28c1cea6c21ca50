from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from std_msgs.msg import String

from seg_perception.ros import qos
from seg_perception.ros.holding import HeldBack
from seg_perception.ros.inputs import WatchedInput

NEWEST = qos.sensor_input(1, "reliable")


@pytest.fixture
def group(spun):
    return HeldBack(spun.node)


@pytest.fixture
def watched(spun, group):
    got = []
    watched = WatchedInput(
        spun.node, String, "topic", lambda msg: got.append((msg.data, watched.replaced)), NEWEST, group
    )
    watched.got = got
    return watched


@pytest.fixture
def say(spun, watched):
    publisher = spun.node.create_publisher(String, "topic", NEWEST)
    spun.spin_until(publisher.get_subscription_count)
    return lambda *texts: [publisher.publish(String(data=text)) for text in texts]


def texts(watched):
    return [text for text, _ in watched.got]


def spin_idly(spun):
    for _ in range(5):
        spun.executor.spin_once(timeout_sec=0.05)


def test_messages_are_taken_as_they_come(spun, watched, say):
    say("a")
    spun.spin_until(lambda: watched.got)
    say("b")
    spun.spin_until(lambda: texts(watched) == ["a", "b"])


def test_what_is_held_back_is_the_newest_message_and_the_others_are_counted(spun, group, watched, say):
    say("a")
    spun.spin_until(lambda: watched.got)
    group.hold()
    say("b", "c", "d")
    spin_idly(spun)
    assert texts(watched) == ["a"]

    group.release()
    spun.spin_until(lambda: len(watched.got) > 1)
    spin_idly(spun)
    assert texts(watched) == ["a", "d"]
    if watched.replaced is None:
        pytest.skip("this ROS 2 does not tell the numbers of messages")
    assert watched.got == [("a", 0), ("d", 2)]


def test_publishers_are_counted_each_on_its_own(spun, group, watched, say):
    other = spun.node.create_publisher(String, "topic", NEWEST)
    spun.spin_until(other.get_subscription_count)
    sayings = [say, say, say, lambda text: other.publish(String(data=text)), say]
    for index, speak in enumerate(sayings):
        group.hold()
        speak(str(index))
        spin_idly(spun)
        group.release()
        spun.spin_until(lambda count=index + 1: len(watched.got) == count)
    assert {replaced for _, replaced in watched.got} <= {0, None}


def test_what_was_lost_on_the_way_has_replaced_nothing(spun, group, watched, say):
    say("a")
    spun.spin_until(lambda: watched.got)
    group.hold()
    group.release()
    say("b", "c", "d")  # nobody takes b and c, as if they had not come
    spun.spin_until(lambda: "d" in texts(watched))
    assert watched.replaced in (0, None)


def test_who_is_held_is_not_called_silent(spun, group, watched, say):
    say("a")
    spun.spin_until(lambda: watched.got)
    group.hold()
    spun.spin_until(lambda: watched.finding(0.2))
    assert "no result" in watched.finding(0.2).reason


def test_others_are_served_meanwhile(spun, group, watched, say):
    got = []
    spun.node.create_subscription(String, "other", lambda msg: got.append(msg.data), NEWEST)
    publisher = spun.node.create_publisher(String, "other", NEWEST)
    spun.spin_until(publisher.get_subscription_count)
    group.hold()
    say("a")
    publisher.publish(String(data="x"))
    spun.spin_until(lambda: got)
    assert not watched.got
