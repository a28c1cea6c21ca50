"""The organised cloud: every point lies on the ground and behind its own pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.ground import Viewpoint
from seg_perception.core.ground_cloud import GroundCloud

K = np.array([[60.0, 0.0, 39.0], [0.0, 55.0, 23.0], [0.0, 0.0, 1.0]])
CAMERAS = [
    Camera(80, 45, K),
    Camera(80, 45, K, "plumb_bob", np.array([-0.2, 0.03, 0.001, -0.001, 0.0])),
    Camera(80, 45, K, "equidistant", np.array([0.01, -0.002, 0.0, 0.0])),
]
CLOUDS = [GroundCloud(camera) for camera in CAMERAS]


@pytest.mark.parametrize("cloud", CLOUDS, ids=["pinhole", "plumb_bob", "equidistant"])
@settings(max_examples=20)
@given(
    height=st.floats(0.3, 3.0),
    roll=st.floats(-0.2, 0.2),
    pitch=st.floats(-0.3, 0.8),
    yaw=st.floats(-3.0, 3.0),
    max_range=st.floats(3.0, 60.0),
)
def test_points_lie_on_the_ground_behind_their_pixels(cloud, height, roll, pitch, yaw, max_range):
    ground_z = -0.7
    world_from_optical = pose.base_from_optical((5.0, -3.0, ground_z + height), roll, pitch, yaw)
    points = cloud.points(Viewpoint.of(world_from_optical, ground_z), max_range)
    assert points.shape == (45, 80, 3) and points.dtype == np.float32

    rows, columns = np.nonzero(np.isfinite(points).all(axis=2))
    found = points[rows, columns]
    pixels, seen = cloud.camera.project(found)
    assert seen.all()
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1), atol=0.02)
    world = pose.apply(world_from_optical, found)
    np.testing.assert_allclose(world[:, 2], ground_z, atol=1e-3 * max_range)
    assert (np.hypot(world[:, 0] - 5.0, world[:, 1] + 3.0) <= max_range * 1.001).all()


def test_pixels_above_the_horizon_and_beyond_the_range_have_no_point():
    level = Viewpoint.of(pose.base_from_optical((0.0, 0.0, 1.5), 0.0, 0.0, 0.0), 0.0)
    points = CLOUDS[0].points(level, 10.0)
    depression = (np.arange(45) - K[1, 2]) / K[1, 1]
    near = depression > 1.5 / 10.0 * 1.2  # with room for the longer way to the sides
    assert np.isnan(points[depression <= 1.5 / 10.0]).all()
    assert np.isfinite(points[near]).all()
