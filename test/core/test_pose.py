"""Rigid transforms and the REP-103 frames."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seg_perception.core import pose

angle = st.floats(-1.5, 1.5)
metres = st.floats(-100, 100)
transforms = st.builds(
    lambda x, y, z, roll, pitch, yaw: pose.from_rpy([x, y, z], roll, pitch, yaw),
    metres, metres, metres, angle, angle, angle,
)  # fmt: skip


@given(transforms)
def test_inverse_undoes(transform: np.ndarray) -> None:
    np.testing.assert_allclose(pose.inverse(transform) @ transform, np.eye(4), atol=1e-9)


@given(transforms)
def test_quaternion_round_trip(transform: np.ndarray) -> None:
    again = pose.from_quaternion(transform[:3, 3], pose.quaternion(transform))
    np.testing.assert_allclose(again, transform, atol=1e-9)


@given(transforms, transforms)
def test_interpolation_starts_and_ends_at_its_poses(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(pose.interpolate(a, b, 0.0), a, atol=1e-7)
    np.testing.assert_allclose(pose.interpolate(a, b, 1.0), b, atol=1e-7)


def test_interpolation_turns_at_a_constant_rate() -> None:
    a, b = pose.from_rpy([0, 0, 0], 0, 0, 3.0), pose.from_rpy([1, 0, 0], 0, 0, 3.4)
    expected = pose.from_rpy([0.25, 0, 0], 0, 0, 3.1)
    np.testing.assert_allclose(pose.interpolate(a, b, 0.25), expected, atol=1e-9)


def test_a_camera_that_pitches_down_sees_the_ground_ahead() -> None:
    mount = pose.base_from_optical([1.0, 0.0, 1.5], 0.0, np.arctan2(1.5, 10.0), 0.0)
    axis_hits = pose.apply(mount, [0.0, 0.0, np.hypot(10.0, 1.5)])
    np.testing.assert_allclose(axis_hits, [11.0, 0.0, 0.0], atol=1e-9)


def test_image_right_is_robot_right() -> None:
    mount = pose.base_from_optical([0, 0, 1], 0, 0, 0)
    np.testing.assert_allclose(pose.apply(mount, [1.0, 0.0, 0.0]), [0.0, -1.0, 1.0], atol=1e-12)
