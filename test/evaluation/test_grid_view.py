"""The grid as people see it: forward is up, left is left, whatever the heading."""

from __future__ import annotations

import numpy as np
import pytest

from seg_perception.core import pose
from seg_perception.core.grid import GridSpec
from seg_perception.evaluation.grid_view import (
    FREE_RGB,
    OCCUPIED_RGB,
    UNKNOWN_RGB,
    UNSURE_RGB,
    GridView,
    occupancy_rgb,
)

VIEW = GridView(ahead=10.0, behind=2.0, side=8.0, pixels_per_m=4.0)
SPEC = GridSpec(0.5, 100, 100, -20.0, -20.0)


@pytest.mark.parametrize("yaw", [0.0, 0.7, np.pi / 2, -2.5])
@pytest.mark.parametrize("point", [(6.0, 0.0), (3.0, 5.0), (8.0, -6.0)])
def test_a_marked_cell_appears_where_it_is_seen_from_the_vehicle(yaw: float, point: tuple[float, float]) -> None:
    world_from_base = pose.from_rpy((3.0, 4.0, 0.0), 0.0, 0.0, yaw)
    x, y, _ = pose.apply(world_from_base, (*point, 0.0))
    cells = np.zeros((SPEC.height, SPEC.width), np.int8)
    cells[int((y - SPEC.origin_y) / SPEC.resolution), int((x - SPEC.origin_x) / SPEC.resolution)] = 100
    view = VIEW.sample(SPEC, cells, world_from_base, outside=-1)
    assert view.shape == VIEW.size[::-1]
    rows, columns = np.nonzero(view == 100)
    expected = VIEW.pixel(*point)
    np.testing.assert_allclose((columns.mean(), rows.mean()), expected, atol=0.75 * SPEC.resolution * VIEW.pixels_per_m)


def test_beyond_the_grid_nothing_is_made_up() -> None:
    small = GridSpec(0.5, 4, 4, 0.0, -1.0)
    view = VIEW.sample(small, np.zeros((4, 4), np.int8), np.eye(4), outside=-1)
    assert (view == 0).sum() == pytest.approx((2.0 * VIEW.pixels_per_m) ** 2)
    assert set(np.unique(view)) == {-1, 0}


def test_the_colours_are_those_of_the_thresholds() -> None:
    values = np.array([[-1, 0, 24, 25, 64, 65, 100]], np.int8)
    expected = [UNKNOWN_RGB, FREE_RGB, FREE_RGB, UNSURE_RGB, UNSURE_RGB, OCCUPIED_RGB, OCCUPIED_RGB]
    np.testing.assert_array_equal(occupancy_rgb(values)[0], expected)
