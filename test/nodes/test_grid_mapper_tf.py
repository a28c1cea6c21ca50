"""The grid_mapper with poses from TF, where tf2_ros is installed."""

from __future__ import annotations

import pytest

pytest.importorskip("tf2_ros", reason="tf2_ros is not installed; it comes with a ROS 2 installation, not as a wheel")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from driving_robot import (
    BASE_FROM_OPTICAL,
    MOUNT,
    NODE,
    PARAMETERS,
    Robot,
    assert_shows_the_wall,
    wait_for_new_node,
    world_from_base,
)
from geometry_msgs.msg import TransformStamped
from node_processes import Client, NodeProcess, wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from seg_perception.core import pose
from seg_perception.msg import PipelineStatus
from seg_perception.ros.conversions import stamp_from_ns

WRONG_MOUNT = {**MOUNT, "mount.x": 4.0, "mount.pitch": 0.4}


def transform(stamp_ns, parent, child, matrix):
    msg = TransformStamped(header=Header(stamp=stamp_from_ns(stamp_ns), frame_id=parent), child_frame_id=child)
    t, q = msg.transform.translation, msg.transform.rotation
    t.x, t.y, t.z = matrix[:3, 3].tolist()
    q.x, q.y, q.z, q.w = pose.quaternion(matrix).tolist()
    return TFMessage(transforms=[msg])


class RobotWithTf(Robot):
    """Tells its motion on /tf and its mount on /tf_static instead of by odometry."""

    def __init__(self, client):
        super().__init__(client)
        latched_100 = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf = client.node.create_publisher(TFMessage, "/tf", 100)
        self.tf_static = client.node.create_publisher(TFMessage, "/tf_static", latched_100)

    def connected(self):
        return self.tf.get_subscription_count() and self.tf_static.get_subscription_count() and self.hears_masks()

    def mount_camera(self):
        self.tf_static.publish(transform(0, "base_link", "camera_optical_frame", BASE_FROM_OPTICAL))

    def send_odometry(self, stamp_ns, t):
        self.tf.publish(transform(stamp_ns, "odom", "base_link", world_from_base(t)))


class RobotWithMountInTf(RobotWithTf):
    """Tells its mount on /tf_static, and its motion by odometry alone."""

    def connected(self):
        return self.odometry.get_subscription_count() and super().connected()

    def send_odometry(self, stamp_ns, t):
        Robot.send_odometry(self, stamp_ns, t)


@pytest.fixture
def client():
    """One per test: transforms that were published once stay known for as long as their publisher lives."""
    client = Client()
    yield client
    client.close()


@pytest.fixture
def start(client, tmp_path):
    nodes = []

    def start(robot, **parameters):
        nodes.append(NodeProcess(NODE, tmp_path / "log.txt", {**PARAMETERS, **parameters}, {}))
        wait_for_new_node(robot)
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def test_masks_are_placed_by_tf_at_their_stamp(client, start):
    robot = RobotWithTf(client)
    robot.mount_camera()
    start(robot, pose_source="tf")
    stamps = robot.drive(12)
    assert_shows_the_wall(robot.wait_for_grid(stamps[-1]))


def test_auto_takes_tf_instead_of_a_wrong_mount(client, start):
    robot = RobotWithTf(client)
    robot.mount_camera()
    node = start(robot, pose_source="auto", **WRONG_MOUNT)
    stamps = robot.drive(12)
    assert_shows_the_wall(robot.wait_for_grid(stamps[-1]))
    assert "poses from TF" in node.log


def test_auto_takes_odometry_where_the_tree_does_not_reach_the_camera(client, start):
    robot = Robot(client)
    node = start(robot, pose_source="auto", **MOUNT)
    stamps = robot.drive(12)
    assert_shows_the_wall(robot.wait_for_grid(stamps[-1]))
    assert "poses from odometry" in node.log


def test_auto_takes_the_mount_from_tf_beside_odometry(client, start):
    robot = RobotWithMountInTf(client)
    robot.mount_camera()
    node = start(robot, pose_source="auto", **WRONG_MOUNT)
    stamps = robot.drive(12)
    assert_shows_the_wall(robot.wait_for_grid(stamps[-1]))
    assert "poses from odometry and mount by TF" in node.log


def test_auto_without_either_names_both(client, start):
    robot = RobotWithTf(client)
    start(robot, pose_source="auto", **MOUNT)
    robot.drive(6)
    status = robot.wait_for_status(lambda s: s.failed == 6, "masks without pose counted")
    assert "no odometry" in status.message and "TF does not reach 'camera_optical_frame'" in status.message


def test_it_can_be_deactivated_and_activated_again(client, start):
    robot = RobotWithTf(client)
    robot.mount_camera()
    start(robot, pose_source="tf")
    assert client.transition(NODE, "deactivate")
    wait_for(lambda: not robot.tf.get_subscription_count(), "unsubscribing")
    assert client.transition(NODE, "activate")
    wait_for(robot.connected, "connections")
    stamps = robot.drive(12)
    assert_shows_the_wall(robot.wait_for_grid(stamps[-1]))


def test_masks_without_a_transform_are_counted_with_the_reason_and_it_recovers(client, start):
    robot = RobotWithTf(client)
    start(robot, pose_source="tf")
    robot.drive(6)
    status = robot.wait_for_status(lambda s: s.failed == 6, "masks without pose counted")
    assert status.processed == 0 and status.level != PipelineStatus.OK
    assert "TF: " in status.message and "camera_optical_frame" in status.message
    robot.mount_camera()
    stamps = robot.drive(12)
    assert_shows_the_wall(robot.wait_for_grid(stamps[-1]))
