"""What a costmap of Nav2 makes of our grids, with the shipped parameters and with its own defaults."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_mapping import BOX, EXACT, HERE, TABLE, at, see

from seg_perception.core.mapping import GridMapper
from seg_perception.core.presets import robot_files
from seg_perception.evaluation.evaluate_robot import Robot

SHARE = Path(__file__).parents[2]
COSTMAP = yaml.safe_load((SHARE / "config" / "nav2" / "local_costmap.yaml").read_text())
SHIPPED = COSTMAP["local_costmap"]["local_costmap"]["ros__parameters"]
FREE, LETHAL, UNKNOWN = 0, 254, 255


def cost(value: int, parameters: dict) -> int:
    """As nav2_costmap_2d's StaticLayer reads a cell, with its defaults for what is not given."""
    if value == -1:
        return UNKNOWN if parameters.get("track_unknown_space", False) else FREE
    if value == 99:
        return 253
    lethal = parameters.get("lethal_cost_threshold", 100)
    if value >= lethal:
        return LETHAL
    return FREE if parameters.get("trinary_costmap", True) else int(value / lethal * LETHAL)


@pytest.mark.parametrize("parameters", [SHIPPED, {}], ids=["shipped", "defaults"])
@pytest.mark.parametrize("views", [1, 2, 10])
def test_every_occupied_cell_is_lethal(parameters: dict, views: int) -> None:
    mapper = GridMapper(TABLE, replace(EXACT, half_life=1.0))
    for step in range(views):
        see(mapper, [BOX], HERE, 0.1 * step)
    for wait_s in (0.0, 0.5, 1.0):
        _, grid = mapper.occupancy(0.1 * views + wait_s)
        told = {int(value): cost(int(value), parameters) for value in np.unique(grid)}
        assert all(result == LETHAL for value, result in told.items() if value > 62), told
        assert LETHAL in told.values() or wait_s > 0.5


def test_shipped_parameters_keep_unknown_and_graded_costs() -> None:
    assert cost(-1, SHIPPED) == UNKNOWN
    assert FREE < cost(20, SHIPPED) < cost(60, SHIPPED) < 253


def test_shipped_topics_and_frames_are_those_of_the_car() -> None:
    robot = Robot.load(robot_files(SHARE, "car", "")[0])
    assert (SHIPPED["global_frame"], SHIPPED["robot_base_frame"]) == (robot.world_frame, robot.base_frame)
    assert SHIPPED["ground"]["map_topic"] == "/occupancy_grid"
    assert SHIPPED["watch"]["obstacles"]["topic"] == "/obstacles"


def test_a_free_cell_is_free() -> None:
    mapper = GridMapper(TABLE, EXACT)
    for step in range(5):
        see(mapper, [], HERE, 0.1 * step)
    assert cost(at(mapper, 8.0, 0.0, 0.4), SHIPPED) < 30
