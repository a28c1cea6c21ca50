"""Poses at the stamp of an image: interpolated, never guessed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")

from geometry_msgs.msg import Pose, TransformStamped
from nav_msgs.msg import Odometry

from seg_perception.core import pose
from seg_perception.core.errors import TransformError
from seg_perception.core.messages import pose_from_msg
from seg_perception.core.poses import AutoPoses, OdometryPoses, PoseBuffer, PoseNotYetError
from seg_perception.core.transform_tree import RecordedTfPoses, TransformTree
from seg_perception.ros.conversions import stamp_from_ns

SECOND = 1_000_000_000
MOUNT = pose.base_from_optical((1.0, 0.2, 1.5), 0.0, 0.1, 0.0)
STATED = pose.base_from_optical((3.0, 0.0, 2.0), 0.0, 0.3, 0.0)
MAST = pose.from_rpy((0.4, 0.0, 0.8), 0.0, 0.0, 0.2)
STANDS = pose.from_rpy((7.0, -2.0, 0.0), 0.0, 0.0, 1.0)

speeds = st.floats(-20.0, 20.0)
turn_rates = st.floats(-2.0, 2.0)
times_ns = st.integers(0, 2 * SECOND)


def driven(speed, turn_rate, stamp_ns):
    """A pose that moves and turns evenly."""
    t = stamp_ns / SECOND
    return pose.from_rpy((speed * t, -0.5 * speed * t, 0.1 * t), 0.02 * t, -0.03 * t, turn_rate * t)


def buffer_of(stamps, transform, max_gap_ns=10 * SECOND, history_ns=100 * SECOND):
    buffer = PoseBuffer(history_ns, max_gap_ns)
    for stamp in stamps:
        assert buffer.add(stamp, transform(stamp))
    return buffer


def odometry(stamp_ns, transform, frame="odom", child="base_link"):
    msg = Odometry(child_frame_id=child)
    msg.header.frame_id, msg.header.stamp = frame, stamp_from_ns(stamp_ns)
    p, q = msg.pose.pose.position, msg.pose.pose.orientation
    p.x, p.y, p.z = transform[:3, 3].tolist()
    q.x, q.y, q.z, q.w = pose.quaternion(transform).tolist()
    return msg


@given(speeds, turn_rates, times_ns, st.integers(20, 400))
def test_even_motion_is_interpolated_exactly(speed, turn_rate, stamp_ns, period_ms):
    """Constant velocity is linear in translation; about one axis, the shortest arc is the true one."""

    def turning(t_ns):
        t = t_ns / SECOND
        return pose.from_rpy((speed * t, -speed * t, 0.0), 0.0, 0.0, turn_rate * t)

    buffer = buffer_of(range(0, 3 * SECOND, period_ms * 1_000_000), turning)
    np.testing.assert_allclose(buffer.at(stamp_ns), turning(stamp_ns), atol=1e-6)


@given(st.lists(times_ns, min_size=2, max_size=20, unique=True), times_ns)
def test_a_pose_is_known_exactly_between_the_first_and_the_last(stamps, stamp_ns):
    stamps = sorted(stamps)
    buffer = buffer_of(stamps, lambda t: driven(3.0, 0.5, t))
    if stamp_ns > stamps[-1]:
        with pytest.raises(PoseNotYetError):
            buffer.at(stamp_ns)
    elif stamp_ns < stamps[0]:
        with pytest.raises(TransformError) as refused:
            buffer.at(stamp_ns)
        assert not isinstance(refused.value, PoseNotYetError)
    else:
        around = [t for t in stamps if t <= stamp_ns][-1], [t for t in stamps if t >= stamp_ns][0]
        low, high = sorted(driven(3.0, 0.5, t)[0, 3] for t in around)
        result = buffer.at(stamp_ns)
        assert low - 1e-9 <= result[0, 3] <= high + 1e-9
        np.testing.assert_allclose(result[:3, :3] @ result[:3, :3].T, np.eye(3), atol=1e-9)


def test_an_empty_buffer_may_still_be_filled():
    with pytest.raises(PoseNotYetError, match="no odometry"):
        PoseBuffer(SECOND, SECOND).at(0)


def test_a_gap_is_not_interpolated_over():
    buffer = buffer_of([0, SECOND, 4 * SECOND], lambda t: driven(1.0, 0.0, t), max_gap_ns=SECOND)
    assert buffer.at(SECOND // 2)[0, 3] == pytest.approx(0.5)
    with pytest.raises(TransformError, match=r"gap of 3\.00 s.*max_odometry_gap"):
        buffer.at(2 * SECOND)
    assert buffer.at(4 * SECOND)[0, 3] == pytest.approx(4.0)


def test_old_poses_are_forgotten():
    buffer = buffer_of(range(0, 10 * SECOND, SECOND), lambda t: driven(1.0, 0.0, t), history_ns=3 * SECOND)
    with pytest.raises(TransformError, match="oldest"):
        buffer.at(5 * SECOND)
    assert buffer.at(6 * SECOND)[0, 3] == pytest.approx(6.0)


def test_repeated_and_late_poses_are_refused():
    buffer = buffer_of([0, SECOND], lambda t: driven(1.0, 0.0, t))
    assert not buffer.add(SECOND, np.eye(4))
    assert not buffer.add(SECOND // 2, np.eye(4))
    assert buffer.at(SECOND // 2)[0, 3] == pytest.approx(0.5)


def test_a_jump_back_starts_anew():
    buffer = buffer_of([10 * SECOND, 11 * SECOND], lambda t: driven(1.0, 0.0, t))
    assert buffer.add(2 * SECOND, driven(1.0, 0.0, 2 * SECOND))
    with pytest.raises(PoseNotYetError):
        buffer.at(10 * SECOND)
    assert buffer.at(2 * SECOND)[0, 3] == pytest.approx(2.0)


def test_when_masks_jump_back_first_the_poses_of_the_end_go_and_those_of_the_beginning_stay():
    poses = OdometryPoses("odom", "base_link", PoseBuffer(100 * SECOND, SECOND))
    poses.add(odometry(50 * SECOND, driven(1.0, 0.0, 50 * SECOND)))
    poses.time_went_back(2 * SECOND)
    with pytest.raises(PoseNotYetError):
        poses.camera_pose(50 * SECOND, "camera", MOUNT)
    assert poses.add(odometry(2 * SECOND, driven(1.0, 0.0, 2 * SECOND)))
    poses.time_went_back(2 * SECOND)
    assert poses.camera_pose(2 * SECOND, "camera", MOUNT).world_from_base[0, 3] == pytest.approx(2.0)


@given(speeds, turn_rates, st.integers(1, SECOND - 1))
def test_the_camera_stands_on_its_mount(speed, turn_rate, stamp_ns):
    poses = OdometryPoses("odom", "base_link", PoseBuffer(10 * SECOND, 2 * SECOND))
    for t in (0, SECOND):
        poses.add(odometry(t, driven(speed, turn_rate, t)))
    found = poses.camera_pose(stamp_ns, "camera", MOUNT)
    np.testing.assert_allclose(pose.inverse(found.world_from_base) @ found.world_from_optical, MOUNT, atol=1e-9)


@pytest.mark.parametrize(
    ("frame", "child", "reason"),
    [("map", "base_link", "world_frame"), ("odom", "imu_link", "base_frame")],
)
def test_odometry_of_other_frames_is_refused_with_the_parameter_to_set(frame, child, reason):
    poses = OdometryPoses("odom", "base_link", PoseBuffer(SECOND, SECOND))
    with pytest.raises(TransformError, match=reason):
        poses.add(odometry(0, np.eye(4), frame, child))


@pytest.mark.parametrize("bad", ["position", "norm", "nan"])
def test_what_is_no_pose_is_refused(bad):
    msg = Pose()
    msg.orientation.w = {"position": 1.0, "norm": 0.0, "nan": float("nan")}[bad]
    if bad == "position":
        msg.position.x = float("inf")
    with pytest.raises(TransformError, match="finite, the norm 1"):
        pose_from_msg(msg)


def transforms(parent, child, placed):
    stamped = TransformStamped(child_frame_id=child)
    stamped.header.frame_id = parent
    t, q = stamped.transform.translation, stamped.transform.rotation
    t.x, t.y, t.z = placed[:3, 3].tolist()
    q.x, q.y, q.z, q.w = pose.quaternion(placed).tolist()
    return SimpleNamespace(transforms=[stamped])


def auto_poses(*told):
    """Of a robot that stands still, with odometry and what static TF tells."""
    tree = TransformTree()
    for parent, child, placed in told:
        tree.add(transforms(parent, child, placed), static=True)
    found = OdometryPoses("odom", "base_link", PoseBuffer(SECOND, SECOND))
    for stamp_ns in (0, SECOND):
        found.add(odometry(stamp_ns, STANDS))
    return AutoPoses(RecordedTfPoses(tree, "odom", "base_link"), found)


def test_beside_odometry_a_mount_by_tf_counts_before_a_stated_one():
    poses = auto_poses(("base_link", "mast", MAST), ("mast", "front", MOUNT))
    np.testing.assert_allclose(poses.camera_pose(0, "front", STATED).world_from_optical, STANDS @ MAST @ MOUNT)
    assert poses.name == "odometry and mount by TF"


def test_a_stated_mount_counts_where_tf_does_not_lead_from_the_base_to_the_camera():
    poses = auto_poses(("front_link", "front", MOUNT))
    np.testing.assert_allclose(poses.camera_pose(0, "front", STATED).world_from_optical, STANDS @ STATED)
    assert poses.name == "odometry and mount parameters"


def test_tf_counts_before_odometry_where_it_leads_from_the_world_to_the_camera():
    poses = auto_poses(("odom", "base_link", MAST), ("base_link", "front", MOUNT))
    np.testing.assert_allclose(poses.camera_pose(0, "front", STATED).world_from_optical, MAST @ MOUNT)
    assert poses.name == "TF"


def test_a_camera_whose_mount_nobody_tells_is_named():
    with pytest.raises(TransformError, match="'front' is mounted"):
        auto_poses().camera_pose(0, "front", None)
