"""The grid_mapper's class_grid, over DDS: the classes of a drive towards a wall, for viewing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from driving_robot import (
    BUILDING,
    MOUNT,
    NODE,
    PARAMETERS,
    ROAD,
    TABLE,
    WALL_LEFT,
    WALL_RIGHT,
    WALL_X,
    Robot,
    cells,
    wait_for_new_node,
)
from node_processes import NodeProcess, wait_for
from sensor_msgs.msg import PointCloud2, PointField

from seg_perception.ros.conversions import stamp_to_ns
from seg_perception.ros.qos import stream_output

DTYPES = {PointField.FLOAT32: np.float32, PointField.UINT32: np.uint32}
COLORS = {entry.id: entry.color for entry in TABLE.classes}


def read(cloud):
    """Points as a structured array, by the cloud's own description of its fields."""
    fields = {field.name: (DTYPES[field.datatype], field.offset) for field in cloud.fields}
    points = np.frombuffer(cloud.data, np.dtype(fields, align=False))
    assert points.itemsize == cloud.point_step and len(points) == cloud.width and cloud.height == 1
    return points


def colors(points):
    """(N, 3) RGB, from the bits of the float."""
    packed = np.ascontiguousarray(points["rgb"]).view(np.uint32)
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)


@pytest.fixture(scope="module")
def robot(client, tmp_path_factory):
    robot = Robot(client)
    node = NodeProcess(NODE, tmp_path_factory.mktemp(NODE) / "log.txt", {**MOUNT, **PARAMETERS}, {})
    try:
        wait_for_new_node(robot)
        yield robot
    finally:
        node.stop()


@pytest.fixture(scope="module")
def clouds(robot, client):
    clouds = client.collect(PointCloud2, "class_grid", stream_output())
    wait_for(lambda: client.node.count_publishers("class_grid"), "class_grid")
    return clouds


def switch(client, on):
    assert client.set_parameter(NODE, "publish_classes", on).successful


def cloud_of(clouds, stamp_ns):
    return wait_for(lambda: next((c for c in clouds if stamp_to_ns(c.header.stamp) == stamp_ns), None), "class_grid")


def test_nothing_is_published_until_it_is_asked_for_and_after_it_is_no_more(robot, clouds, client):
    robot.wait_for_grid(robot.drive(4)[-1])
    assert not clouds
    switch(client, True)
    cloud_of(clouds, robot.drive(4)[-1])
    switch(client, False)
    last = robot.drive(4)[-1]
    robot.wait_for_grid(last)
    assert not any(stamp_to_ns(cloud.header.stamp) == last for cloud in clouds)


def test_known_cells_have_their_class_and_its_colour_at_their_place(robot, clouds, client):
    switch(client, True)
    last = robot.drive(12)[-1]
    cloud, grid = cloud_of(clouds, last), robot.wait_for_grid(last)
    points = read(cloud)
    assert cloud.header.frame_id == grid.header.frame_id == "odom"
    assert len(points) == np.count_nonzero(cells(grid) != -1)
    assert set(points["label"].tolist()) == {ROAD, BUILDING}
    np.testing.assert_array_equal(colors(points), [COLORS[label] for label in points["label"].tolist()])
    wall = points[points["label"] == BUILDING]
    assert np.abs(wall["x"] - WALL_X).max() < 0.5
    assert wall["y"].min() > WALL_RIGHT - 0.5 and wall["y"].max() < WALL_LEFT + 0.5
    before = points[(np.abs(points["x"] - 9.0) < 1.0) & (np.abs(points["y"] - 1.0) < 0.8)]
    assert len(before) > 50 and set(before["label"].tolist()) == {ROAD}


def test_it_ages_with_the_grid(robot, clouds, client):
    switch(client, True)
    last = cloud_of(clouds, robot.drive(4)[-1])
    assert last.width
    since = clouds.index(last)
    wait_for(lambda: any(cloud.width == 0 for cloud in clouds[since:]), "an empty class_grid")
