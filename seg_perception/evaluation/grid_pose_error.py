"""How grids suffer when the camera's pose is not what it is said to be, and whether the stated errors cover it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import radians

from seg_perception.core import pose
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.pose import BODY_FROM_OPTICAL, Transform
from seg_perception.evaluation.grid_simulation import Case, Ours

Misstatement = Callable[[Transform], Transform]


@dataclass(frozen=True)
class Disturbance:
    """nearer, farther: the true pose → a wrong one, by which everything seems nearer, or farther, than it is.

    matching: the configuration that states an error of this size.
    """

    nearer: Misstatement
    farther: Misstatement
    matching: Callable[[MapperConfig], MapperConfig]


def _pitched(angle: float) -> Misstatement:
    """Looking down by `angle` (rad) more than in truth."""
    turn = pose.inverse(BODY_FROM_OPTICAL) @ pose.from_rpy((0.0, 0.0, 0.0), 0.0, angle, 0.0) @ BODY_FROM_OPTICAL
    return lambda world_from_optical: world_from_optical @ turn


def _raised(share: float) -> Misstatement:
    def misstate(world_from_optical: Transform) -> Transform:
        stated = world_from_optical.copy()
        stated[2, 3] *= 1.0 + share
        return stated

    return misstate


def _pitch(degrees: float) -> Disturbance:
    angle = radians(degrees)
    return Disturbance(_pitched(angle), _pitched(-angle), lambda config: replace(config, pitch_error=angle))


def _height(share: float) -> Disturbance:
    return Disturbance(_raised(-share), _raised(share), lambda config: replace(config, height_error=share))


DISTURBANCES = {"0.5": _pitch(0.5), "1": _pitch(1.0), "2": _pitch(2.0), "height_5_percent": _height(0.05)}
"""Name → what is wrong; numbers are degrees of pitch."""


def pose_error_cases(config: MapperConfig) -> dict[str, Case]:
    """Ours with true masks and a misstated pose; named "<disturbance>/<stated errors>/<direction>"."""
    cases = {}
    for name, disturbance in DISTURBANCES.items():
        for stated, used in (("default", config), ("matching", disturbance.matching(config))):
            for direction, misstated in (("nearer", disturbance.nearer), ("farther", disturbance.farther)):
                cases[f"{name}/{stated}/{direction}"] = _case(used, misstated)
    return cases


def _case(config: MapperConfig, misstated: Misstatement) -> Case:
    return Case("true_masks", lambda drive, table: Ours(table, config, misstated))
