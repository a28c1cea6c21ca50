"""The grid_mapper, over DDS, while others begin anew or come late: segmenters with another model, odometry."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from driving_robot import MOUNT, NODE, PARAMETERS, ROAD, STEP_S, TABLE, Robot, cells, wait_for_new_node
from node_processes import Client, NodeProcess, wait_for
from std_msgs.msg import Header

from seg_perception.core.classes import ClassTable, Kind
from seg_perception.msg import PipelineStatus, SegmentationClasses
from seg_perception.ros.conversions import classes_to_msg
from seg_perception.ros.qos import latched, stream_output

OTHER_TABLE = ClassTable(tuple(replace(c, kind=Kind.OBSTACLE, cost=100) if c.id == ROAD else c for c in TABLE.classes))
"""Of a model whose obstacles have the id that ground had."""


@pytest.fixture
def client():
    """One for each test: what publishers of another have latched would still be told."""
    client = Client()
    yield client
    client.close()


@pytest.fixture
def robot(client, tmp_path):
    robot = Robot(client)
    node = NodeProcess(NODE, tmp_path / "log.txt", {**MOUNT, **PARAMETERS}, {})
    try:
        wait_for_new_node(robot)
        yield robot
    finally:
        node.stop()


def test_two_sources_of_odometry_are_not_taken_in_silence(robot, client):
    robot.drive(3)
    assert "publishers" not in robot.wait_for_status(lambda s: s.processed == 3, "all masks").message
    second = client.node.create_publisher(robot.odometry.msg_type, "odom", stream_output())
    robot.wait_for_status(lambda s: "/odom: 2 publishers" in s.message, "a warning")
    client.node.destroy_publisher(second)


def start_segmenter_anew(robot, client):
    """All its publishers are others; the class table does not come yet."""
    for name in ("masks", "confidences", "infos", "classes"):
        old = getattr(robot, name)
        kind, topic = old.msg_type, old.topic_name
        client.node.destroy_publisher(old)
        if name != "classes":
            setattr(robot, name, client.node.create_publisher(kind, topic, stream_output()))
    wait_for(lambda: robot.masks.get_subscription_count() and robot.infos.get_subscription_count(), "connections")
    time.sleep(1.0)


def test_masks_of_another_model_are_not_read_by_the_classes_of_the_one_before(robot, client):
    robot.wait_for_grid(robot.drive(4)[-1])
    start_segmenter_anew(robot, client)
    wait_for(lambda: not (cells(robot.grids[-1]) >= 0).any(), "a grid that has faded")
    count = len(robot.grids)
    stamps = robot.drive(5)
    time.sleep(0.5)
    assert all(not (cells(grid) >= 0).any() for grid in robot.grids[count:])
    robot.classes = client.node.create_publisher(SegmentationClasses, "segmentation/classes", latched())
    robot.classes.publish(classes_to_msg(OTHER_TABLE, "test 2", Header()))
    robot.wait_for_status(lambda s: s.processed >= 9, "the masks that waited")
    robot.wait_for_grid(stamps[-1])
    assert all(not (cells(grid) == 0).any() for grid in robot.grids[count:])


def test_masks_that_have_waited_for_long_still_know_their_camera(robot):
    start_ns = robot.now_ns()
    for index in range(60):
        robot.send_mask(start_ns + round(index * 0.033 * 1e9), 0.0)
        time.sleep(0.033)
    for index in range(25):
        robot.send_odometry(start_ns + round((index * STEP_S - 0.1) * 1e9), 0.0)
    status = robot.wait_for_status(lambda s: s.received == 60 and s.processed + s.replaced == 60, "all masks")
    assert status.failed == 0 and status.processed > 20


def test_a_jump_of_the_odometry_is_told(robot):
    start_ns = robot.now_ns()
    for index in range(8):
        stamp_ns = start_ns + round(index * STEP_S * 1e9)
        t = 0.0 if index < 4 else 20.0
        for offset_ns in (-40_000_000, 40_000_000):
            robot.send_odometry(stamp_ns + offset_ns, t)
        robot.send_mask(stamp_ns, t, mask=np.full((180, 320), ROAD, np.uint8))
        time.sleep(STEP_S)
    robot.wait_for_status(lambda s: "base_link has jumped" in s.message and s.level == PipelineStatus.WARN, "a warning")
