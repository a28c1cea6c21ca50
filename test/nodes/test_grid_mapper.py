"""The grid_mapper as a process: masks of a wall on open ground in, over DDS, from a robot that drives and turns."""

from __future__ import annotations

import signal
import time
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

import driving_robot
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from driving_robot import (
    BASE_FROM_OPTICAL,
    CAMERA,
    MOUNT,
    NODE,
    PARAMETERS,
    ROAD,
    SKY,
    STEP_S,
    WALL_X,
    Robot,
    assert_shows_the_wall,
    cells,
    wait_for_new_node,
)
from nav_msgs.msg import OccupancyGrid
from node_processes import NodeProcess, wait_for
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from seg_perception.core import pose
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.msg import PipelineStatus
from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters
from seg_perception.ros.conversions import camera_to_info, stamp_to_ns
from seg_perception.ros.qos import latched, stream_output
from seg_perception.ros.tf_poses import tf_installed


@pytest.fixture(scope="module")
def robot(client, tmp_path_factory):
    robot = Robot(client)
    node = NodeProcess(NODE, tmp_path_factory.mktemp(NODE) / "log.txt", {**MOUNT, **PARAMETERS}, {})
    try:
        wait_for_new_node(robot)
        yield robot
    finally:
        node.stop()


@pytest.fixture
def run_node(tmp_path):
    """Start a further grid_mapper under another name; it must end well."""
    nodes = []

    def run(name, parameters):
        nodes.append(NodeProcess(NODE, tmp_path / f"{name}.txt", parameters, {"__node": name}))
        return nodes[-1]

    yield run
    for node in nodes:
        node.stop()


@pytest.fixture
def fresh(robot, client):
    """The node, activated anew: with empty buffers, an empty grid and counters at 0."""
    assert client.transition(NODE, "deactivate")
    wait_for(lambda: not robot.masks.get_subscription_count(), "unsubscribing")
    assert client.transition(NODE, "activate")
    wait_for(robot.connected, "connections")
    robot.wait_for_status(lambda s: s.received == 0, "a fresh status")
    return robot


def test_an_obstacle_stands_at_its_place_in_the_world_while_the_robot_moves(fresh):
    stamps = fresh.drive(12)
    grid = fresh.wait_for_grid(stamps[-1])
    assert grid.header.frame_id == "odom"
    assert_shows_the_wall(grid)

    cloud = wait_for(
        lambda: next((c for c in fresh.obstacles if stamp_to_ns(c.header.stamp) == stamps[-1]), None), "obstacles"
    )
    points = np.frombuffer(bytes(cloud.data), np.float32).reshape(-1, 3)
    assert cloud.header.frame_id == "odom" and len(points)
    assert (abs(points[:, 0] - WALL_X) < 0.6).mean() > 0.9
    status = fresh.wait_for_status(lambda s: s.processed == 12, "all masks processed")
    assert (status.received, status.failed, status.stale) == (12, 0, 0)
    assert {stage.stage for stage in status.latency} == {"wait", "update", "publish", "total"}


def test_who_comes_late_still_gets_the_grid(fresh, client):
    stamps = fresh.drive(3)
    fresh.wait_for_grid(stamps[-1])
    late = client.collect(OccupancyGrid, "occupancy_grid", latched())
    wait_for(lambda: late, "the latched grid")
    assert (cells(late[0]) >= 0).any()


def test_deactivated_it_leaves_a_grid_that_knows_nothing(fresh, client):
    fresh.wait_for_grid(fresh.drive(3)[-1])
    assert (cells(fresh.grids[-1]) >= 0).any()
    assert client.transition(NODE, "deactivate")
    wait_for(lambda: (cells(fresh.grids[-1]) == -1).all(), "a grid without knowledge")
    late = client.collect(OccupancyGrid, "occupancy_grid", latched())
    wait_for(lambda: late, "the latched grid")
    assert (cells(late[-1]) == -1).all()
    assert client.transition(NODE, "activate")


def test_when_masks_stop_it_is_an_error_and_the_grid_fades_to_unknown(fresh):
    stamps = fresh.drive(6)
    fresh.wait_for_grid(stamps[-1])
    status = fresh.wait_for_status(lambda s: s.level == PipelineStatus.ERROR, "an error")
    assert "/segmentation/mask" in status.message
    wait_for(lambda: fresh.own_diagnostics()[-1].level == DiagnosticStatus.ERROR, "an error in /diagnostics")

    faded = wait_for(lambda: fresh.grids[-1] if not (cells(fresh.grids[-1]) >= 0).any() else None, "a faded grid")
    age_s = (stamp_to_ns(faded.header.stamp) - stamps[-1]) / 1e9
    assert 0.5 < age_s < 15.0
    count = len(fresh.grids)
    time.sleep(1.2)
    assert len(fresh.grids) == count, "published although there is nothing left to fade"

    since = len(fresh.statuses)
    stamps = fresh.drive(15)
    fresh.wait_for_grid(stamps[-1])
    fresh.wait_for_status(lambda s: s.level == PipelineStatus.OK, "recovery", since)


def test_without_odometry_masks_are_counted_and_it_recovers(fresh):
    fresh.drive(8, odometry=False)
    status = fresh.wait_for_status(lambda s: s.failed == 8, "masks without pose counted")
    assert (status.processed, status.replaced) == (0, 0) and status.level != PipelineStatus.OK
    assert "no odometry" in status.message and "/odom" in status.message
    counted = KeyValue(key="without_pose", value="8")
    wait_for(lambda: counted in fresh.own_diagnostics()[-1].values, "the masks without pose in /diagnostics")
    stamps = fresh.drive(12)
    assert_shows_the_wall(fresh.wait_for_grid(stamps[-1]))


def test_a_mask_waits_for_odometry_that_comes_later(fresh):
    now = fresh.now_ns()
    fresh.send_odometry(now - 50_000_000, -0.05)
    fresh.send_mask(now, 0.0)
    time.sleep(0.1)
    assert not any(stamp_to_ns(g.header.stamp) == now for g in fresh.grids)
    fresh.send_odometry(now + 50_000_000, 0.05)
    fresh.wait_for_grid(now)


def test_many_masks_wait_for_odometry_that_comes_much_later(fresh, client):
    assert client.set_parameter(NODE, "pose_wait", 5.0).successful
    try:
        stamps = fresh.drive(8, odometry=False)
        for i in range(-1, 9):
            fresh.send_odometry(stamps[0] + round(i * STEP_S * 1e9), i * STEP_S)
        assert_shows_the_wall(fresh.wait_for_grid(stamps[-1]))
        status = fresh.wait_for_status(lambda s: s.processed == 8, "all masks processed")
    finally:
        assert client.set_parameter(NODE, "pose_wait", PARAMETERS["pose_wait"]).successful
    assert (status.replaced, status.failed) == (0, 0)


def test_a_jump_back_in_time_starts_the_grid_anew(fresh):
    later = fresh.now_ns()
    fresh.wait_for_grid(fresh.drive(12, start_ns=later)[-1])
    earlier = later - 1_500_000_000  # far from max_age, also on a busy machine
    for stamp_ns in (earlier - 40_000_000, earlier + 40_000_000):
        fresh.send_odometry(stamp_ns, 0.0)
    fresh.send_mask(earlier, 0.0, mask=np.full((CAMERA.height, CAMERA.width), SKY, np.uint8))
    assert (cells(fresh.wait_for_grid(earlier)) == -1).all(), "remembers what it saw before the jump"
    stamps = fresh.drive(12, start_ns=earlier + 100_000_000)
    assert_shows_the_wall(fresh.wait_for_grid(stamps[-1]))


def test_stamps_out_of_order_and_out_of_time_are_stale(fresh):
    stamps = fresh.drive(3)
    fresh.wait_for_grid(stamps[-1])
    for stamp_ns in (stamps[-1], stamps[0] - 1, fresh.now_ns() + 60_000_000_000, fresh.now_ns() - 60_000_000_000):
        fresh.send_mask(stamp_ns, 0.0)
    status = fresh.wait_for_status(lambda s: s.stale == 4, "stale masks counted")
    assert status.failed == 0
    more = fresh.drive(3)
    fresh.wait_for_grid(more[-1])


def spoiled_info():
    info = camera_to_info(CAMERA, Header())
    info.k[0] = float("nan")
    return info


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"encoding": "rgb8"}, "rgb8"),
        ({"step": 10}, "step"),
        ({"height": 360}, "truncated"),
        ({"mask": np.full((90, 160), ROAD, np.uint8)}, "/segmentation/camera_info"),
        ({"confidence": np.full((90, 160), 255, np.uint8)}, "/segmentation/confidence"),
        ({"camera": spoiled_info(), "settle_s": 0.5}, "camera matrix K"),
    ],
    ids=["encoding", "step", "truncated", "size", "confidence", "nan-k"],
)
def test_a_bad_mask_is_counted_with_its_reason_and_the_next_good_one_works(fresh, spoil, reason):
    stamps = fresh.drive(2)
    fresh.wait_for_grid(stamps[-1])
    fresh.send_mask(stamps[-1] + 1_000_000, 0.1, **spoil)
    status = fresh.wait_for_status(lambda s: s.failed == 1, "the bad mask counted")
    assert status.level == PipelineStatus.WARN or status.level == PipelineStatus.ERROR
    assert "/segmentation/mask" in status.message and reason in status.message
    again = fresh.drive(2)
    fresh.wait_for_grid(again[-1])


def test_without_their_own_camera_info_masks_are_counted(fresh):
    """An older one of the same size may be of another mode of the camera: masks of a model have one size always."""
    fresh.wait_for_grid(fresh.drive(2)[-1])
    now = fresh.now_ns() + 200_000_000
    for stamp_ns in (now - 100_000_000, now + 100_000_000):
        fresh.send_odometry(stamp_ns, 0.0)
    fresh.send_mask(now, 0.0, camera=None)
    status = fresh.wait_for_status(lambda s: s.failed == 1, "the mask counted")
    assert "no camera_info on /segmentation/camera_info" in status.message


def test_far_from_the_worlds_origin_the_clouds_are_warned_of(fresh, monkeypatch):
    far_away = pose.from_rpy((500_000.0, 5_400_000.0, 0.0), 0.0, 0.0, 0.0)
    monkeypatch.setattr(driving_robot, "world_from_base", lambda t: far_away)
    fresh.drive(6)
    status = fresh.wait_for_status(lambda s: s.processed == 6, "all masks processed")
    assert status.level == PipelineStatus.WARN
    assert "5400 km from the origin of odom" in status.message and "off by up to 0.25 m" in status.message


def test_the_organised_cloud_has_a_point_per_mask_pixel(fresh, client):
    clouds = client.collect(PointCloud2, "segmentation/points", stream_output())
    wait_for(lambda: client.node.count_publishers("segmentation/points"), "the cloud's publisher")
    time.sleep(0.3)
    stamps = fresh.drive(8)
    fresh.wait_for_grid(stamps[-1])
    cloud = wait_for(lambda: next((c for c in clouds if stamp_to_ns(c.header.stamp) == stamps[-1]), None), "a cloud")
    assert (cloud.width, cloud.height, cloud.is_dense) == (CAMERA.width, CAMERA.height, False)
    assert cloud.header.frame_id == "camera_optical_frame"
    points = np.frombuffer(bytes(cloud.data), np.float32).reshape(CAMERA.height, CAMERA.width, 3)
    assert np.isnan(points[0]).all() and np.isfinite(points[-1]).all()
    on_ground = pose.apply(BASE_FROM_OPTICAL, points[-1])
    np.testing.assert_allclose(on_ground[:, 2], 0.0, atol=1e-3)


def test_misspelt_parameters_are_named(run_node):
    node = run_node("misspelt", {**MOUNT, **PARAMETERS, "resolutoin": 0.1, "mount.pich": 0.2, "qqq": 1})
    wait_for(lambda: "no such parameters" in node.log, "the warning")
    warning = next(line for line in node.log.splitlines() if "no such parameters" in line)
    assert warning.endswith("mount.pich (mount.pitch?), qqq, resolutoin (resolution?)")


def test_parameters_change_live_or_are_refused_with_what_is_allowed(fresh, client):
    assert client.set_parameter(NODE, "max_range", 20.0).successful
    for name, value, words in (
        ("known_log_odds", 4.5, ("known_log_odds", "4.5", "max_log_odds")),
        ("half_life", -1.0, ("half_life", "-1")),
        ("resolution", 0.5, ("resolution",)),
        ("world_frame", "map", ("world_frame", "configured")),
    ):
        refused = client.set_parameter(NODE, name, value)
        assert not refused.successful
        assert all(word in refused.reason for word in words), refused.reason
    assert client.set_parameter(NODE, "enabled", False).successful
    fresh.drive(2)
    status = fresh.wait_for_status(lambda s: s.received == 2, "masks received")
    assert (status.processed, status.failed) == (0, 0) and "enabled" in status.message
    assert client.set_parameter(NODE, "enabled", True).successful
    fresh.wait_for_grid(fresh.drive(12)[-1])


def test_the_last_mask_reaches_the_grid_even_if_it_was_too_early_for_the_publish_rate(fresh, client):
    assert client.set_parameter(NODE, "publish_rate", 1.0).successful
    try:
        fresh.wait_for_grid(fresh.drive(4)[-1])
    finally:
        assert client.set_parameter(NODE, "publish_rate", 10.0).successful


def test_a_higher_publish_rate_holds_at_once(fresh, client):
    start_ns = fresh.now_ns() - 15_000_000_000  # by their stamps, the masks are a second apart
    stamps = [start_ns + i * 1_000_000_000 for i in range(7)]
    assert client.set_parameter(NODE, "publish_rate", 0.1).successful
    try:
        fresh.drive(1, stamps[0])
        fresh.wait_for_status(lambda s: s.processed == 1, "the first mask processed")
        assert client.set_parameter(NODE, "publish_rate", 1.0).successful
        for stamp_ns in stamps[1:]:
            fresh.drive(1, stamp_ns)
        wait_for(lambda: len({stamp_to_ns(g.header.stamp) for g in fresh.grids} & set(stamps)) > 3, "their grids", 5.0)
    finally:
        assert client.set_parameter(NODE, "publish_rate", 10.0).successful


def test_a_trinary_grid_has_three_values(fresh, client):
    graded = fresh.wait_for_grid(fresh.drive(12)[-1])
    assert not set(np.unique(cells(graded))) <= {-1, 0, 100}
    assert client.set_parameter(NODE, "trinary", True).successful
    try:
        trinary = fresh.wait_for_grid(fresh.drive(12)[-1])
    finally:
        assert client.set_parameter(NODE, "trinary", False).successful
    assert set(np.unique(cells(trinary))) == {-1, 0, 100}
    assert_shows_the_wall(trinary)


def test_an_ego_mask_that_cannot_be_read_fails_configuration_in_one_line(client, run_node):
    node = run_node("without_ego", {"ego_mask": "/no/such/ego.png"})
    wait_for(lambda: "/no/such/ego.png" in node.log, "the reason")
    assert client.state("without_ego") == "unconfigured"
    lines = [line for line in node.log.splitlines() if "ego.png" in line]
    assert len(lines) == 1 and "configure failed: ego_mask /no/such/ego.png: No such file" in lines[0]
    assert client.set_parameter("without_ego", "ego_mask", "").successful
    assert client.transition("without_ego", "configure")


def test_it_can_be_cleaned_up_and_configured_again(fresh, client):
    for label in ("deactivate", "cleanup"):
        assert client.transition(NODE, label), label
    wait_for(fresh.disconnected, "release of the topics")
    for label in ("configure", "activate"):
        assert client.transition(NODE, label), label
    wait_for(fresh.connected, "connections")
    fresh.wait_for_status(lambda s: s.received == 0, "a fresh status")
    fresh.wait_for_grid(fresh.drive(12)[-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number, client, run_node):
    node = run_node("interrupted", PARAMETERS)
    wait_for(lambda: client.state("interrupted") == "active", "activation")
    node.send(number)
    assert node.returncode() == 0, node.log


@pytest.mark.skipif(tf_installed(), reason="tf2_ros is installed here")
def test_tf_that_is_not_installed_is_said_and_odometry_can_be_chosen_instead(client, run_node):
    node = run_node("without_tf", {"pose_source": "tf"})
    wait_for(lambda: "tf2_ros is not installed" in node.log, "the reason")
    assert client.state("without_tf") == "inactive"
    assert client.transition("without_tf", "cleanup")
    assert client.set_parameter("without_tf", "pose_source", "odometry").successful
    assert client.transition("without_tf", "configure") and client.transition("without_tf", "activate")


def test_everything_that_can_be_tuned_in_the_core_is_a_parameter_with_the_same_default():
    node_defaults = GridMapperParameters()
    assert node_defaults.mapper_config() == MapperConfig()
    tunable = {f.name for f in fields(MapperConfig)}
    assert tunable <= {f.name for f in fields(GridMapperParameters)}
