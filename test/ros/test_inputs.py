from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_msgs.msg import String

from seg_perception.ros import qos
from seg_perception.ros.diagnostics import Level
from seg_perception.ros.inputs import WatchedInput

RELIABLE = qos.sensor_input(1, "reliable")
SENSOR = qos.sensor_input(1, "best_effort")
OLD, NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"


@pytest.fixture
def watch(spun, monkeypatch):
    for name in (OLD, NEW):
        monkeypatch.delenv(name, raising=False)
    got = []

    def watch(profile=RELIABLE, kind=String):
        watched = WatchedInput(spun.node, kind, "topic", got.append, profile)
        watched.got = got
        return watched

    return watch


def deliver(spun, watched):
    publisher = spun.node.create_publisher(String, "topic", RELIABLE)

    def arrived():
        publisher.publish(String())
        return watched.got

    spun.spin_until(arrived)


def test_nothing_to_say_before_the_timeout(watch):
    assert watch().finding(60.0) is None


def test_a_topic_without_publisher(watch):
    finding = watch().finding(0.0)
    assert finding.level is Level.ERROR
    assert finding.reason.startswith("nothing on /robot/topic for ") and "no publisher" in finding.reason


@pytest.mark.parametrize("distro, name, other", [("humble", OLD, NEW), ("jazzy", OLD, NEW), ("kilted", NEW, "MINE")])
def test_a_silent_publisher_of_what_may_be_large_images(spun, watch, monkeypatch, distro, name, other):
    monkeypatch.setenv("ROS_DISTRO", distro)
    monkeypatch.setenv(other, "profiles.xml")  # Fast DDS does not look there
    watched = watch(SENSOR, Image)
    spun.node.create_publisher(Image, "topic", SENSOR)
    spun.spin_until(lambda: "1 publisher(s), but no message" in watched.finding(0.0).reason)
    assert f" {name}=<share>/config/fastdds_large_images" in watched.finding(0.0).reason
    monkeypatch.setenv(name, "profiles.xml")
    assert f"start the publisher, too, with {name}=" in watched.finding(0.0).reason


@pytest.mark.skipif(not hasattr(Subscription, "CallbackType"), reason="this rclpy does not number messages")
@pytest.mark.parametrize(("missing", "period_ms", "told"), [(1, 100, True), (0, 100, False), (1, 5, False)])
def test_messages_lost_on_the_way_are_told_but_not_those_replaced_in_a_burst(
    spun, watch, monkeypatch, missing, period_ms, told
):
    handlers, create = [], spun.node.create_subscription

    def keep(kind, topic, callback, *args, **options):
        handlers.append(callback)
        return create(kind, topic, callback, *args, **options)

    monkeypatch.setattr(spun.node, "create_subscription", keep)
    watched = watch(SENSOR)
    for index in range(20):
        number = index * (1 + missing)
        stamp = number * period_ms * 1_000_000
        info = {"publisher_gid": {"data": b"a"}, "publication_sequence_number": number, "received_timestamp": stamp}
        handlers[0](String(), info)
    finding = watched.finding(60.0)
    assert (finding is not None) == told
    if finding:
        assert finding.level is Level.WARN and "19 of 39 messages were lost" in finding.reason


def test_messages_that_come_again_after_a_silence_have_time_to_lead_to_something(spun, watch):
    watched = watch()
    spun.spin_until(lambda: watched.finding(1.2))
    deliver(spun, watched)
    assert watched.finding(1.2) is None


def test_messages_that_come_slowly_and_are_of_no_use_become_an_error(spun, watch):
    watched = watch()
    for _ in range(3):
        deliver(spun, watched)
        watched.reject("image is empty")
        time.sleep(1.1)
    assert watched.finding(2.0).level is Level.ERROR


def test_messages_of_no_use_are_an_error_after_the_timeout_and_before_a_warning(spun, watch):
    watched = watch()
    deliver(spun, watched)
    watched.reject("image is empty")
    finding = watched.finding(60.0)
    assert (finding.level, finding.reason) == (Level.WARN, "/robot/topic: image is empty")
    assert watched.finding(0.0).level is Level.ERROR
    assert watched.finding(0.0, Level.WARN).level is Level.WARN


def test_messages_that_lead_to_nothing(spun, watch):
    watched = watch()
    spun.spin_until(lambda: watched.finding(0.2))
    deliver(spun, watched)
    deliver(spun, watched)
    assert "messages arrive, but no result" in watched.finding(0.2).reason
    watched.accept()
    assert watched.finding(0.2) is None


def test_a_flood_of_rejections_is_one_line_of_log(watch, capfd):
    watched = watch()
    for _ in range(1000):
        watched.reject("image is empty")
    assert capfd.readouterr().err.count("image is empty") == 1


def test_after_closing_nothing_arrives(spun, watch):
    watched = watch()
    deliver(spun, watched)
    watched.close()
    publisher = spun.node.create_publisher(String, "topic", RELIABLE)
    assert publisher.get_subscription_count() == 0
