"""The grid_mapper in simulated time, over DDS: what a clock does that does not run straight."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from driving_robot import (
    CAMERA,
    MOUNT,
    NODE,
    PARAMETERS,
    STEP_S,
    Robot,
    assert_shows_the_wall,
    cells,
    wait_for_new_node,
)
from node_processes import NodeProcess, wait_for
from rosgraph_msgs.msg import Clock

from seg_perception.ros.conversions import stamp_from_ns, stamp_to_ns

START_NS = 1_600_000_000_000_000_000
SECOND = 1_000_000_000
UNLABELLED = 255


class RobotInSimulation(Robot):
    def __init__(self, client):
        super().__init__(client)
        self.clock = client.node.create_publisher(Clock, "/clock", 10)

    def connected(self):
        self.set_clock(START_NS)
        return super().connected() and self.statuses and self.statuses[-1].header.stamp.sec

    def set_clock(self, time_ns):
        self.clock.publish(Clock(clock=stamp_from_ns(time_ns)))

    def see(self, stamp_ns, t, **mask):
        """One mask at the time of its stamp."""
        self.set_clock(stamp_ns)
        for offset_s in (-0.04, 0.04):
            self.send_odometry(stamp_ns + round(offset_s * 1e9), t + offset_s)
        self.send_mask(stamp_ns, t, **mask)
        time.sleep(STEP_S)


@pytest.fixture
def robot(client, tmp_path):
    robot = RobotInSimulation(client)
    node = NodeProcess(NODE, tmp_path / "log.txt", {**MOUNT, **PARAMETERS, "use_sim_time": True}, {})
    try:
        wait_for_new_node(robot)
        yield robot
    finally:
        node.stop()


def test_evidence_ages_after_the_clock_has_run_ahead_and_come_back(robot):
    stamps = [START_NS + round(i * STEP_S * 1e9) for i in range(24)]
    for i in range(12):
        robot.see(stamps[i], i * STEP_S)
    assert_shows_the_wall(robot.wait_for_grid(stamps[11]))

    def faded():
        robot.set_clock(stamps[11] + 20 * SECOND)
        return next((g for g in robot.grids if stamp_to_ns(g.header.stamp) > stamps[11] + 10 * SECOND), None)

    assert (cells(wait_for(faded, "the grid of a clock that has run ahead")) == -1).all()
    for i in range(12, 24):
        robot.see(stamps[i], i * STEP_S)
    assert (cells(robot.wait_for_grid(stamps[-1])) >= 0).any()
    nothing = np.full((CAMERA.height, CAMERA.width), UNLABELLED, np.uint8)
    for half_seconds in range(1, 9):
        stamp_ns = stamps[-1] + half_seconds * SECOND // 2
        robot.see(stamp_ns, 24 * STEP_S, mask=nothing, confidence=np.zeros_like(nothing))
    assert (cells(robot.wait_for_grid(stamp_ns)) == -1).all(), "remembers what it has not seen for six half-lives"
