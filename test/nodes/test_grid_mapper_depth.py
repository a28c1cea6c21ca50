"""The grid_mapper with depth images, over DDS: a wall that hangs above the ground, which a mask alone cannot place."""

from __future__ import annotations

import array
import time

import cv2
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
    WALL_LEFT,
    WALL_RIGHT,
    WALL_X,
    Robot,
    assert_shows_the_wall,
    at,
    seen_from,
    wait_for_new_node,
)
from node_processes import NodeProcess, wait_for
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from seg_perception.core.classes import UNLABELLED
from seg_perception.engines.resize import Resize
from seg_perception.msg import PipelineStatus
from seg_perception.ros.conversions import stamp_from_ns
from seg_perception.ros.qos import stream_output

LIFT = 0.8


class RobotWithDepth(Robot):
    def __init__(self, client):
        super().__init__(client)
        self.depths = client.node.create_publisher(Image, "depth", stream_output())

    def hears_masks(self):
        return self.depths.get_subscription_count() and super().hears_masks()

    def disconnected(self):
        return not self.depths.get_subscription_count() and not self.masks.get_subscription_count()

    def send_depth(self, stamp_ns, depth, encoding="32FC1"):
        stored = depth if encoding == "32FC1" else np.nan_to_num(depth * 1e3, posinf=0.0).astype(np.uint16)
        height, width = stored.shape
        self.depths.publish(
            Image(
                header=Header(stamp=stamp_from_ns(stamp_ns), frame_id="camera_optical_frame"),
                height=height,
                width=width,
                encoding=encoding,
                step=stored.nbytes // height,
                data=array.array("B", stored.tobytes()),
            )
        )

    def approach(self, frames=12, size=None, encoding="32FC1", depth_delay_s=0.0, depth_offset_ns=0, rule=None):
        """Drive towards the hanging wall; depth at another size (width, height), late or of another time.

        rule: how the image, of 16:9, was fitted into a network of 4:3.
        """
        resize = Resize(240, 180, rule) if rule else Resize(CAMERA.width, CAMERA.height)
        camera = resize.camera(CAMERA)
        start_ns, stamps = self.now_ns(), []
        for i in range(frames):
            t = i * STEP_S
            stamps.append(start_ns + round(t * 1e9))
            mask, depth = seen_from(t, LIFT)
            for offset_s in (-0.04, 0.04):
                self.send_odometry(stamps[-1] + round(offset_s * 1e9), t + offset_s)
            self.send_mask(stamps[-1], t, mask=resize.labels(mask, UNLABELLED), camera=camera)
            time.sleep(depth_delay_s)
            depth = depth if size is None else cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
            self.send_depth(stamps[-1] + depth_offset_ns, depth, encoding)
            time.sleep(STEP_S)
        return self.wait_for_grid(stamps[-1])


@pytest.fixture(scope="module")
def robot(client, tmp_path_factory):
    robot = RobotWithDepth(client)
    parameters = {**MOUNT, **PARAMETERS, "use_depth": True, "depth_wait": 2.0}
    node = NodeProcess(NODE, tmp_path_factory.mktemp(NODE) / "log.txt", parameters, {})
    try:
        wait_for_new_node(robot)
        yield robot
    finally:
        node.stop()


@pytest.fixture
def fresh(robot, client):
    """The node, activated anew: with an empty grid and counters at 0."""
    assert client.transition(NODE, "deactivate")
    wait_for(robot.disconnected, "unsubscribing")
    assert client.transition(NODE, "activate")
    wait_for(robot.connected, "connections")
    robot.wait_for_status(lambda s: s.received == 0, "a fresh status")
    return robot


def share_occupied(grid):
    """Of the cells below the wall."""
    y = np.arange(WALL_RIGHT + 0.3, WALL_LEFT - 0.3, 0.2)
    near = np.stack([at(grid, WALL_X + dx, y) for dx in (-0.2, 0.0, 0.2)])
    return (near.max(axis=0) >= 65).mean()


def without_depth(robot, status):
    """The counter in the diagnostics of the time of a status."""
    values = robot.diagnostics_of(status)["pipeline"].values
    return next((int(v.value) for v in values if v.key == "without_depth"), 0)


@pytest.mark.parametrize(
    ("encoding", "size", "delay_s"),
    [("32FC1", None, 0.0), ("16UC1", None, 0.0), ("16UC1", (640, 360), 0.0), ("32FC1", (160, 90), 0.05)],
    ids=["metres", "millimetres", "larger", "smaller-and-later"],
)
def test_a_hanging_wall_stands_where_depth_has_measured_it(fresh, encoding, size, delay_s):
    grid = fresh.approach(encoding=encoding, size=size, depth_delay_s=delay_s)
    assert share_occupied(grid) > 0.8
    status = fresh.wait_for_status(lambda s: s.processed == 12, "all masks processed")
    assert without_depth(fresh, status) == 0


@pytest.mark.parametrize("size", [(640, 360), (320, 180)], ids=["larger", "image"])
def test_depth_of_the_image_fits_a_stretched_mask(fresh, size):
    assert share_occupied(fresh.approach(size=size, rule="stretch")) > 0.8
    status = fresh.wait_for_status(lambda s: s.processed == 12, "all masks processed")
    assert without_depth(fresh, status) == 0


def test_what_hangs_above_the_clearance_is_no_obstacle(fresh, client):
    assert client.set_parameter(NODE, "clearance", 0.5).successful
    try:
        assert share_occupied(fresh.approach()) == 0.0
    finally:
        assert client.set_parameter(NODE, "clearance", 2.0).successful


def test_masks_without_depth_are_used_counted_and_warned_of(fresh, client):
    assert client.set_parameter(NODE, "depth_wait", 0.05).successful
    try:
        assert_shows_the_wall(fresh.wait_for_grid(fresh.drive(12)[-1]))
        status = fresh.wait_for_status(lambda s: s.processed == 12 and "/depth" in s.message, "a warning")
    finally:
        assert client.set_parameter(NODE, "depth_wait", 2.0).successful
    assert (status.failed, without_depth(fresh, status)) == (0, 12)
    assert share_occupied(fresh.approach()) > 0.8, "depth that comes back is not used"


def test_depth_with_stamps_of_its_own_is_named_as_the_reason(fresh, client):
    assert client.set_parameter(NODE, "depth_wait", 0.05).successful
    try:
        since = len(fresh.statuses)
        fresh.approach(frames=6, depth_offset_ns=7_000_000)
        status = fresh.wait_for_status(
            lambda s: "no depth with the stamp of the mask" in s.message, "the reason", since
        )
    finally:
        assert client.set_parameter(NODE, "depth_wait", 2.0).successful
    assert "/depth" in status.message and status.level == PipelineStatus.WARN


@pytest.mark.parametrize("late", ["depth", "odometry"])
def test_masks_have_their_depth_also_when_that_or_their_pose_comes_many_masks_later(fresh, client, late):
    frames, start_ns = 20, fresh.now_ns()
    times = [i * STEP_S / 2 for i in range(frames)]
    stamps = [start_ns + round(t * 1e9) for t in times]
    seen = [seen_from(t, LIFT) for t in times]

    def send_depth():
        for stamp_ns, (_, depth) in zip(stamps, seen, strict=True):
            fresh.send_depth(stamp_ns, depth)
            time.sleep(STEP_S / 2)

    def send_odometry():
        for i in range(-1, frames + 1):
            fresh.send_odometry(start_ns + round(i * STEP_S / 2 * 1e9), i * STEP_S / 2)

    first, last = (send_odometry, send_depth) if late == "depth" else (send_depth, send_odometry)
    for name in ("pose_wait", "depth_wait"):
        assert client.set_parameter(NODE, name, 5.0).successful
    try:
        first()
        for stamp_ns, t, (mask, _) in zip(stamps, times, seen, strict=True):
            fresh.send_mask(stamp_ns, t, mask=mask)
            time.sleep(STEP_S / 2)
        last()
        assert share_occupied(fresh.wait_for_grid(stamps[-1])) > 0.8
        status = fresh.wait_for_status(lambda s: s.processed == frames, "all masks processed")
    finally:
        for name, usual in (("pose_wait", PARAMETERS["pose_wait"]), ("depth_wait", 2.0)):
            assert client.set_parameter(NODE, name, usual).successful
    assert (status.replaced, status.failed, without_depth(fresh, status)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"encoding": "mono8"}, "32FC1, 16UC1"),
        ({"size": (320, 240)}, "320x240"),
        ({"size": (320, 240), "rule": "stretch"}, "320x240"),
        ({"rule": "letterbox"}, "mask_size to input"),
        ({"rule": "crop"}, "mask_size to input"),
    ],
    ids=["encoding", "aspect", "stretched", "letterboxed", "cropped"],
)
def test_depth_that_cannot_be_used_is_left_out_with_its_reason(fresh, spoil, reason):
    since = len(fresh.statuses)
    fresh.approach(frames=3, **spoil)
    status = fresh.wait_for_status(lambda s: reason in s.message, "the reason", since)
    assert "/depth" in status.message and status.level == PipelineStatus.WARN
    assert without_depth(fresh, fresh.wait_for_status(lambda s: s.processed == 3, "all masks processed")) == 3
