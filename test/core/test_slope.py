"""The slope of the ground by track and tilt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.slope import GroundSlope, levelled

DT = 0.1


def along(heading: float, slope: float) -> np.ndarray:
    return slope * np.array([np.cos(heading), np.sin(heading)])


def standing_on(position: np.ndarray, heading: float, gradient: np.ndarray, pitch: float = 0.0) -> np.ndarray:
    """A base that stands on a plane at `position` (x, y), and has pitched by some rad beside."""
    tilt = pose.inverse(levelled(np.eye(4), gradient, np.zeros(3)))
    base = tilt @ pose.from_rpy([0, 0, 0], 0.0, pitch, heading)
    base[:3, 3] = [*position, gradient @ position]
    return base


def test_planar_odometry_says_level_for_ever() -> None:
    slope = GroundSlope()
    for step in range(100):
        base = pose.from_rpy([0.3 * step, np.sin(step), 0.0], 0.0, 0.0, 0.1 * step)
        assert not slope.update(base, step * DT).any()


@settings(max_examples=20)
@given(steepness=st.floats(0.0, 0.25), uphill=st.floats(-3.1, 3.1), heading=st.floats(-3.1, 3.1))
def test_a_robot_that_stands_on_a_ramp_knows_it_soon(steepness: float, uphill: float, heading: float) -> None:
    slope, truth = GroundSlope(), along(uphill, steepness)
    for step in range(20):
        found = slope.update(standing_on(np.array([3.0, 4.0]), heading, truth), step * DT)
    np.testing.assert_allclose(found, truth, atol=0.01)


@settings(max_examples=20)
@given(
    steepness=st.floats(0.05, 0.25),
    uphill=st.floats(-3.1, 3.1),
    heading=st.floats(-3.1, 3.1),
    speed=st.floats(0.0, 10.0),
)
def test_a_robot_that_begins_on_a_ramp_knows_it_from_the_first_pose(
    steepness: float, uphill: float, heading: float, speed: float
) -> None:
    slope, truth = GroundSlope(), along(uphill, steepness)
    ahead = np.array([np.cos(heading), np.sin(heading)])
    for step in range(100):
        found = slope.update(standing_on(speed * DT * step * ahead, heading, truth), step * DT)
        np.testing.assert_allclose(found, truth, atol=1e-6)
        assert slope.doubt == 0.0


@pytest.mark.parametrize("steepness", [0.1, -0.1])
def test_a_vehicle_that_comes_onto_a_ramp_doubts_until_it_knows_it(steepness: float) -> None:
    slope = GroundSlope()
    for step in range(200):
        way = 0.1 * step - 5.0
        base = standing_on(np.array([way, 0.0]), 0.0, along(0.0, steepness if way > 0 else 0.0))
        found = slope.update(base, step * DT)
        off = abs(found[0] - (steepness if way > 0 else 0.0))
        assert slope.doubt == pytest.approx(max(0.0, off - 0.015), abs=1e-3)
    assert off < 0.01


@settings(max_examples=20)
@given(steepness=st.floats(-0.2, 0.2), heading=st.floats(-3.1, 3.1), rocking=st.floats(0.0, 0.02))
def test_a_vehicle_that_drives_onto_a_ramp_knows_it_after_some_metres(
    steepness: float, heading: float, rocking: float
) -> None:
    slope = GroundSlope()
    ahead = np.array([np.cos(heading), np.sin(heading)])
    for step in range(100):
        way = 0.5 * step
        on_ramp = way > 30.0
        gradient = along(heading, steepness if on_ramp else 0.0)
        base = standing_on(way * ahead, heading, gradient, rocking * np.sin(0.3 * step))
        base[2, 3] = max(0.0, way - 30.0) * steepness
        found = slope.update(base, step * DT)
    np.testing.assert_allclose(found, gradient, atol=0.006)


@pytest.mark.parametrize(("radius", "speed", "climb", "turn"), [(10.0, 3.0, 0.1, 90), (30.0, 8.0, 0.06, 180)])
def test_a_curve_uphill_does_not_lean(radius: float, speed: float, climb: float, turn: float) -> None:
    slope = GroundSlope()
    for step in range(int(np.radians(turn) * radius / (speed * DT))):
        heading = speed * DT * step / radius
        ahead = np.array([np.cos(heading), np.sin(heading)])
        base = standing_on(np.zeros(2), heading, climb * ahead)
        base[:3, 3] = radius * np.sin(heading), -radius * np.cos(heading), speed * DT * step * climb
        found = slope.update(base, step * DT)
    assert found @ ahead == pytest.approx(climb, abs=0.015)
    assert abs(found @ (-ahead[1], ahead[0])) < 0.06


@pytest.mark.parametrize("drift", [0.005, -0.01])
def test_height_that_drifts_is_not_taken_for_a_slope_for_long(drift: float) -> None:
    slope = GroundSlope()
    for step in range(600):
        base = pose.from_rpy([0.5 * step, 0.0, 0.5 * step * drift], 0.0, 0.0, 0.0)
        found = slope.update(base, step * DT)
    assert np.abs(found).max() < 0.002


def test_braking_is_no_slope() -> None:
    slope = GroundSlope()
    for step in range(230):
        nose_down = 0.025 if step >= 200 else 0.0  # 1.4° for 3 s
        found = slope.update(pose.from_rpy([0.5 * step, 0.0, 0.0], 0.0, nose_down, 0.0), step * DT)
    assert np.abs(found).max() < 0.005


@pytest.mark.parametrize("speed", [1.0, 5.0, 10.0])
def test_a_height_that_the_odometry_corrects_is_no_cliff(speed: float) -> None:
    slope = GroundSlope()
    for step in range(100):
        base = pose.from_rpy([speed * DT * step, 0.0, 0.4 if step > 80 else 0.0], 0.0, 0.0, 0.0)
        found = slope.update(base, step * DT)
        assert np.abs(found).max() < 0.13
    assert np.abs(found).max() < 0.02


def test_older_poses_change_nothing() -> None:
    slope, ramp = GroundSlope(), along(0.0, 0.1)
    for step in range(20):
        found = slope.update(standing_on(np.zeros(2), 0.0, ramp), step * DT)
    np.testing.assert_array_equal(slope.update(np.eye(4), 1.0), found)


@given(steepness=st.floats(0.0, 0.3), uphill=st.floats(-3.1, 3.1), heading=st.floats(-3.1, 3.1))
def test_what_stands_on_the_slope_stands_level_afterwards(steepness: float, uphill: float, heading: float) -> None:
    gradient, position = along(uphill, steepness), np.array([5.0, -2.0])
    base = standing_on(position, heading, gradient)
    level = levelled(base, gradient, base[:3, 3])
    np.testing.assert_allclose(level[:3, 2], [0.0, 0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(level[:3, 3], base[:3, 3], atol=1e-9)
