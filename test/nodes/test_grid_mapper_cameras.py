"""The grid_mapper with two cameras, over DDS: one looks ahead at a wall, one back over open ground."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from driving_robot import (
    CAMERA,
    MOUNT,
    NODE,
    PARAMETERS,
    STEP_S,
    Robot,
    Segmenter,
    assert_shows_the_wall,
    at,
    seen_from,
    wait_for_new_node,
)
from node_processes import NodeProcess, wait_for
from sensor_msgs.msg import PointCloud2

from seg_perception.core import pose
from seg_perception.core.classes import UNLABELLED
from seg_perception.engines.resize import Resize
from seg_perception.msg import PipelineStatus
from seg_perception.ros.conversions import stamp_to_ns
from seg_perception.ros.qos import stream_output

BACKWARDS = 3.14
REAR = pose.base_from_optical((-0.5, 0.0, 1.5), 0.0, 0.15, BACKWARDS)
REAR_MOUNT = {"rear.mount.x": -0.5, "rear.mount.z": 1.5, "rear.mount.pitch": 0.15, "rear.mount.yaw": BACKWARDS}
LAG_NS = 30_000_000  # the rear camera's stamps are as much older, and come later


class TwoCameras(Robot):
    def __init__(self, client):
        super().__init__(client, "front")
        self.rear = Segmenter(client, "rear", REAR)
        self.rear_resize = Resize(CAMERA.width, CAMERA.height)

    def hears_masks(self):
        return super().hears_masks() and self.rear.hears_masks()

    def disconnected(self):
        return super().disconnected() and self.rear.disconnected()

    def send_mask(self, stamp_ns, t, **spoiled):
        super().send_mask(stamp_ns, t, **spoiled)
        rear_t = t - LAG_NS / 1e9
        mask = self.rear_resize.labels(seen_from(rear_t, 0.0, REAR)[0], UNLABELLED)
        self.rear.send_mask(stamp_ns - LAG_NS, rear_t, mask=mask, camera=self.rear_resize.camera(CAMERA))

    def drive_on_front_alone(self, frames):
        start_ns = self.now_ns()
        for i in range(frames):
            t = i * STEP_S
            stamp_ns = start_ns + round(t * 1e9)
            for offset_s in (-0.04, 0.04):
                self.send_odometry(stamp_ns + round(offset_s * 1e9), t + offset_s)
            Segmenter.send_mask(self, stamp_ns, t)
            time.sleep(STEP_S)
        return self.wait_for_grid(stamp_ns)


@pytest.fixture(scope="module")
def robot(client, tmp_path_factory):
    folder = tmp_path_factory.mktemp(NODE)
    ego = np.zeros((90, 160), np.uint8)
    ego[:, 80:] = 255
    cv2.imwrite(str(folder / "ego.png"), ego)
    parameters = {
        **PARAMETERS,
        **{f"front.{name}": value for name, value in MOUNT.items()},
        **REAR_MOUNT,
        "cameras": ["front", "rear"],
        "rear.ego_mask": folder / "ego.png",
    }
    robot = TwoCameras(client)
    node = NodeProcess(NODE, folder / "log.txt", parameters, {})
    try:
        wait_for_new_node(robot)
        yield robot
    finally:
        node.stop()


@pytest.fixture
def fresh(robot, client):
    """The node, activated anew: with an empty grid and counters at 0."""
    assert client.transition(NODE, "deactivate")
    wait_for(lambda: not any(p.get_subscription_count() for p in (robot.masks, robot.rear.masks)), "unsubscribing")
    assert client.transition(NODE, "activate")
    wait_for(robot.connected, "connections")
    robot.wait_for_status(lambda s: s.received == 0, "a fresh status")
    yield robot
    robot.rear_resize = Resize(CAMERA.width, CAMERA.height)


def behind(grid, y):
    """Values of the cells behind the robot, on its left for y > 0."""
    return at(grid, np.arange(-7.0, -5.0, 0.2), np.full(10, y))


def test_each_camera_adds_what_it_sees_in_whatever_order_their_stamps_come(fresh, client):
    clouds = {n: client.collect(PointCloud2, f"{n}/segmentation/points", stream_output()) for n in ("front", "rear")}
    wait_for(lambda: all(client.node.count_publishers(f"{n}/segmentation/points") for n in clouds), "the clouds")
    stamps = fresh.drive(12)
    status = fresh.wait_for_status(lambda s: s.processed == 24, "all masks processed")
    grid = fresh.wait_for_grid(stamps[-1])
    assert_shows_the_wall(grid)
    assert (behind(grid, -2.5) >= 0).all(), "what the rear camera sees is missing"
    assert (behind(grid, 2.5) == -1).all(), "what the rear camera's ego mask hides is known"
    assert (status.received, status.stale, status.failed) == (24, 0, 0)
    for name in ("front", "rear"):
        assert KeyValue(key="processed", value="12") in fresh.diagnostics_of(status)[name].values
        wait_for(lambda: clouds[name], f"points of {name}")  # noqa: B023
    assert [stamp_to_ns(g.header.stamp) for g in fresh.grids] == sorted(
        stamp_to_ns(g.header.stamp) for g in fresh.grids
    )


def test_an_ego_mask_of_the_image_fits_a_stretched_mask(fresh):
    fresh.rear_resize = Resize(240, 180, "stretch")
    stamps = fresh.drive(12)
    fresh.wait_for_status(lambda s: s.processed == 24, "all masks processed")
    grid = fresh.wait_for_grid(stamps[-1])
    assert (behind(grid, -2.5) >= 0).all() and (behind(grid, 2.5) == -1).all()


@pytest.mark.parametrize("rule", ["letterbox", "crop"])
def test_masks_that_an_ego_mask_does_not_fit_are_refused_with_what_to_do(fresh, rule):
    fresh.rear_resize = Resize(240, 180, rule)
    fresh.drive(6)
    status = fresh.wait_for_status(lambda s: (s.processed, s.failed) == (6, 6), "the masks of the rear camera refused")
    assert "/rear/segmentation/mask: ego_mask is 160x90" in status.message
    assert "mask_size to input" in status.message


def test_what_a_dead_camera_saw_ages_out_while_the_other_goes_on_and_it_is_named(fresh):
    fresh.wait_for_grid(fresh.drive(6)[-1])
    assert fresh.obstacles, "with both cameras there are obstacles"
    since = len(fresh.statuses)
    grid = fresh.drive_on_front_alone(35)
    silence_s = (stamp_to_ns(grid.header.stamp) - stamp_to_ns(fresh.obstacles[-1].header.stamp)) / 1e9
    assert silence_s > 1.0, "whoever watches the obstacles, as Nav2 does, does not learn of the dead camera"

    def names_rear_alone(status):  # later, when the last grid was long in coming, the front has ended, too
        return "/rear/segmentation/mask" in status.message and "/front" not in status.message

    status = fresh.wait_for_status(names_rear_alone, "the rear camera in the status", since)
    assert status.level == PipelineStatus.ERROR
    of_then = fresh.diagnostics_of(status)
    assert of_then["rear"].level == DiagnosticStatus.ERROR and of_then["front"].level == DiagnosticStatus.OK
    assert (behind(grid, -2.5) == -1).all()
    assert (at(grid, np.arange(9.0, 10.5, 0.2), np.full(8, 4.0)) >= 0).any(), "the camera that lives is not used"


def test_a_camera_whose_masks_prove_nothing_is_named(fresh):
    start_ns = fresh.now_ns()
    unsure = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    for i in range(30):
        t = i * STEP_S
        stamp_ns = start_ns + round(t * 1e9)
        for offset_s in (-0.04, 0.04):
            fresh.send_odometry(stamp_ns + round(offset_s * 1e9), t + offset_s)
        Segmenter.send_mask(fresh, stamp_ns, t)
        fresh.rear.send_mask(stamp_ns, t, confidence=unsure)
        time.sleep(STEP_S)
    status = fresh.wait_for_status(lambda s: "has proved anything" in s.message, "the warning", 0)
    assert "/rear/segmentation/mask: for " in status.message and "min_confidence (0.4)" in status.message
    assert "/front" not in status.message


def test_grids_go_on_from_a_camera_whose_masks_are_older_than_the_last_of_one_that_ended(fresh, client):
    lag_s, step_s = 3.0, 0.1
    assert client.set_parameter(NODE, "publish_rate", 2.0).successful  # less often than masks come
    try:
        began_ns = fresh.now_ns() - round(lag_s * 1e9)

        def rear_mask(i):
            stamp_ns = began_ns + round(i * step_s * 1e9)
            mask = fresh.rear_resize.labels(seen_from(i * step_s, 0.0, REAR)[0], UNLABELLED)
            fresh.rear.send_mask(stamp_ns, i * step_s, mask=mask, camera=fresh.rear_resize.camera(CAMERA))

        for i in range(-1, round(lag_s / step_s) + 2):
            fresh.send_odometry(began_ns + round(i * step_s * 1e9), i * step_s)
        Segmenter.send_mask(fresh, began_ns + round(lag_s * 1e9), lag_s)
        fresh.wait_for_grid(began_ns + round(lag_s * 1e9))
        before = len(fresh.grids)
        for i in range(round(lag_s / step_s) - 2):
            rear_mask(i)
            time.sleep(step_s)
            if len(fresh.grids) > before:
                break
    finally:
        assert client.set_parameter(NODE, "publish_rate", 10.0).successful
    assert len(fresh.grids) > before, "no grid while masks were fused"
    assert (behind(fresh.grids[-1], -2.5) >= 0).any()


def test_when_all_cameras_jump_back_in_time_the_grid_starts_anew_once(fresh):
    later = fresh.now_ns()
    fresh.wait_for_grid(fresh.drive(6, start_ns=later)[-1])
    stamps = fresh.drive(12, start_ns=later - 2_000_000_000)  # more than a jitter, less than max_age on a busy machine
    assert_shows_the_wall(fresh.wait_for_grid(stamps[-1]))
    status = fresh.wait_for_status(lambda s: s.processed > 30, "masks processed")
    assert status.stale == 0


def test_a_camera_has_its_own_max_age(fresh, client):
    assert client.set_parameter(NODE, "rear.max_age", 1.0).successful
    try:
        stamp_ns = fresh.now_ns() - 3_000_000_000
        fresh.send_mask(stamp_ns, 0.0)
        status = fresh.wait_for_status(lambda s: s.stale == 1 and s.failed == 1, "one stale, one without pose")
    finally:
        assert client.set_parameter(NODE, "rear.max_age", PARAMETERS["max_age"]).successful
    assert "/rear/segmentation/mask: stamp is 3." in status.message


@pytest.mark.parametrize(("name", "value"), [("max_age", 0.3), ("mount.z", 2.0)])
def test_a_change_that_no_camera_would_see_is_refused(robot, client, name, value):
    answer = client.set_parameter(NODE, name, value)
    assert not answer.successful
    assert answer.reason == f"parameter {name}: each camera has its own; set front.{name}, rear.{name}"


def test_a_camera_that_sees_no_ground_is_a_warning_until_it_does(fresh, client):
    assert client.set_parameter(NODE, "rear.mount.pitch", -1.2).successful
    try:
        fresh.drive(12)
        status = fresh.wait_for_status(lambda s: "no ground in view" in s.message, "the warning", 0)
    finally:
        assert client.set_parameter(NODE, "rear.mount.pitch", REAR_MOUNT["rear.mount.pitch"]).successful
    assert (status.level, status.failed) == (PipelineStatus.WARN, 0)
    for words in ("/rear/segmentation/mask: no ground in view", "max_range", "mount.pitch", "TF"):
        assert words in status.message
    of_then = fresh.diagnostics_of(status)
    assert of_then["rear"].level == DiagnosticStatus.WARN and of_then["front"].level == DiagnosticStatus.OK
    since = len(fresh.statuses)
    fresh.drive(12)
    fresh.wait_for_status(lambda s: s.level == PipelineStatus.OK, "recovery", since)


@pytest.mark.parametrize("names", [["front", "front"], ["front", ""], ["front/left"]])
def test_names_that_cannot_be_are_refused_in_one_line(names, tmp_path):
    node = NodeProcess(NODE, tmp_path / "log.txt", {"cameras": names}, {"__node": "misnamed"})
    assert node.returncode() == 2
    errors = [line for line in node.log.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "parameter cameras" in errors[0] and "allowed" in errors[0]
