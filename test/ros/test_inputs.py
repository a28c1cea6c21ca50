from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

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

    def watch(profile=RELIABLE):
        watched = WatchedInput(spun.node, String, "topic", got.append, profile)
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
    watched = watch(SENSOR)
    spun.node.create_publisher(String, "topic", SENSOR)
    spun.spin_until(lambda: "1 publisher(s), but no message" in watched.finding(0.0).reason)
    assert f" {name}=<share>/config/fastdds_large_images" in watched.finding(0.0).reason
    monkeypatch.setenv(name, "profiles.xml")
    assert "fastdds_large_images" not in watched.finding(0.0).reason


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
