"""The tree of frames against compositions that are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.errors import TransformError
from seg_perception.core.poses import PoseNotYetError
from seg_perception.core.transform_tree import RecordedTfPoses, TransformTree

SECOND = 1_000_000_000

lengths = st.floats(-50.0, 50.0)
angles = st.floats(-3.0, 3.0)
transforms = st.builds(
    lambda x, y, z, roll, yaw: pose.from_rpy((x, y, z), roll, 0.3, yaw), lengths, lengths, lengths, angles, angles
)


def message(parent, child, transform, stamp_ns=0):
    """A TFMessage of one transform."""
    stamp = SimpleNamespace(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    (x, y, z), (qx, qy, qz, qw) = transform[:3, 3], pose.quaternion(transform)
    placed = SimpleNamespace(
        translation=SimpleNamespace(x=x, y=y, z=z), rotation=SimpleNamespace(x=qx, y=qy, z=qz, w=qw)
    )
    header = SimpleNamespace(frame_id=parent, stamp=stamp)
    return SimpleNamespace(transforms=[SimpleNamespace(header=header, child_frame_id=child, transform=placed)])


def robot(world_from_base_at, base_from_camera, base_from_lidar):
    """odom → base_link moves; camera hangs below a mast on it, lidar on it."""
    tree = TransformTree()
    mast = pose.from_rpy((0.0, 0.0, 1.0), 0.0, 0.0, 0.5)
    tree.add(message("base_link", "mast", mast), static=True)
    tree.add(message("/mast", "camera", pose.inverse(mast) @ base_from_camera), static=True)
    tree.add(message("base_link", "/lidar", base_from_lidar), static=True)
    for stamp_ns, placed in world_from_base_at.items():
        tree.add(message("odom", "base_link", placed, stamp_ns), static=False)
    return tree


@given(transforms, transforms, transforms)
def test_every_way_through_the_tree_is_found(base, camera, lidar):
    tree = robot({0: base}, camera, lidar)
    np.testing.assert_allclose(tree.lookup("odom", "camera", 0), base @ camera, atol=1e-6)
    np.testing.assert_allclose(tree.lookup("camera", "lidar", 0), pose.inverse(camera) @ lidar, atol=1e-6)
    np.testing.assert_allclose(tree.lookup("/lidar", "odom", 0), pose.inverse(base @ lidar), atol=1e-6)
    np.testing.assert_allclose(tree.lookup("camera", "camera", 99), np.eye(4), atol=1e-9)


@given(st.floats(-20.0, 20.0), st.floats(-2.0, 2.0), st.integers(0, SECOND))
def test_between_two_stamps_it_is_interpolated(speed, turn_rate, stamp_ns):
    def moved(t_ns):
        return pose.from_rpy((speed * t_ns / SECOND, 0.0, 0.0), 0.0, 0.0, turn_rate * t_ns / SECOND)

    tree = robot({0: moved(0), SECOND: moved(SECOND)}, np.eye(4), np.eye(4))
    np.testing.assert_allclose(tree.lookup("odom", "camera", stamp_ns), moved(stamp_ns), atol=1e-6)


def test_what_may_still_come_and_what_is_gone_are_told_apart():
    tree = robot({20 * SECOND: np.eye(4), 40 * SECOND: np.eye(4)}, np.eye(4), np.eye(4))
    for target, source, stamp in (("odom", "camera", 41 * SECOND), ("odom", "elsewhere", 0), ("map", "camera", 0)):
        with pytest.raises(PoseNotYetError):
            tree.lookup(target, source, stamp)
    with pytest.raises(TransformError) as gone:
        tree.lookup("odom", "camera", 20 * SECOND)
    assert not isinstance(gone.value, PoseNotYetError) and "odom → base_link" in str(gone.value)


def test_a_loop_of_frames_ends():
    tree = TransformTree()
    tree.add(message("a", "b", np.eye(4)), static=True)
    tree.add(message("b", "a", np.eye(4)), static=True)
    assert tree.connects("a", "b") and not tree.connects("a", "c")


def test_what_is_no_pose_is_refused():
    broken = message("odom", "base_link", np.eye(4))
    broken.transforms[0].transform.rotation.w = 0.0
    with pytest.raises(TransformError, match="odom → base_link"):
        TransformTree().add(broken, static=False)


def test_the_poses_of_a_camera():
    base, camera = pose.from_rpy((5.0, 1.0, 0.2), 0.0, 0.0, 1.0), pose.base_from_optical((1.0, 0.0, 1.5), 0.0, 0.1, 0.0)
    poses = RecordedTfPoses(robot({0: base}, camera, np.eye(4)), "odom", "base_link")
    assert poses.connects("camera") and not poses.connects("") and not poses.connects("elsewhere")
    found = poses.camera_pose(0, "camera", np.eye(4))
    np.testing.assert_allclose(found.world_from_optical, base @ camera, atol=1e-9)
    np.testing.assert_allclose(found.world_from_base, base, atol=1e-9)
    with pytest.raises(TransformError, match="frame_id"):
        poses.camera_pose(0, "", np.eye(4))
    poses.time_went_back(-1)
    with pytest.raises(PoseNotYetError):
        poses.camera_pose(0, "camera", np.eye(4))
