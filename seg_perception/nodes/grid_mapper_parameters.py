"""Parameters of the grid_mapper node."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from seg_perception.core.mapper_config import RANGES, MapperConfig
from seg_perception.nodes.grid_camera_parameters import CameraParameters
from seg_perception.nodes.lifecycle import PipelineParameters
from seg_perception.ros.parameters import ParameterError, parameter
from seg_perception.ros.qos import RELIABILITIES

_DEFAULT = MapperConfig()
_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


def _of_config(name: str, description: str, *, read_only: bool = False) -> float:
    low, high = RANGES[name]
    return parameter(getattr(_DEFAULT, name), description, minimum=low, maximum=high, read_only=read_only)


@dataclass(frozen=True)
class GridMapperParameters(PipelineParameters, CameraParameters):
    """What can be set on the grid_mapper; those made by `_of_config` are MapperConfig's."""

    resolution: float = _of_config("resolution", "Side of a cell, m.", read_only=True)
    size_x: float = _of_config("size_x", "Side of the grid along x, m.", read_only=True)
    size_y: float = _of_config("size_y", "Side of the grid along y, m.", read_only=True)
    max_range: float = _of_config("max_range", "Ground farther from the camera gets no evidence, m.")
    max_range_error: float = _of_config(
        "max_range_error", "Nor does ground whose distance is less certain than this, m."
    )
    pitch_error: float = _of_config("pitch_error", "How far the camera's pitch may be off its stated value, rad.")
    height_error: float = _of_config("height_error", "How far its height may be off, as a fraction of it.")
    outline_error: float = _of_config("outline_error", "How many pixels outlines may be off in the mask.")
    min_confidence: float = _of_config("min_confidence", "Pixels less confident than this prove nothing.")
    free_log_odds: float = _of_config("free_log_odds", "Log-odds of one confident observation of free ground.")
    occupied_log_odds: float = _of_config("occupied_log_odds", "Log-odds of one confident observation of an obstacle.")
    min_log_odds: float = _of_config("min_log_odds", "A cell is never more certainly free than this.")
    max_log_odds: float = _of_config("max_log_odds", "A cell is never more certainly occupied than this.")
    known_log_odds: float = _of_config("known_log_odds", "A cell whose log-odds are nearer to 0 is unknown.")
    clearance: float = _of_config(
        "clearance", "What hangs higher above the ground is no obstacle, m; known only with use_depth."
    )
    half_life: float = _of_config("half_life", "Time after which half of a cell's log-odds is gone, s.")
    hidden_half_life: float = _of_config(
        "hidden_half_life", "The same for cells that an obstacle hides from a camera at work, s."
    )

    cameras: tuple[str, ...] = parameter(
        ("",),
        "Names of several cameras: prefixes of their topics and of their own max_age, use_depth, ego_mask and mount.*; "
        "max_age and use_depth without prefix are the defaults of all.",
        any_length=True,
        read_only=True,
    )
    enabled: bool = parameter(True, "Use masks; false ignores them and lets the grid age.")
    publish_rate: float = parameter(10.0, "Most grids and obstacle clouds per second, Hz.", minimum=0.1, maximum=100.0)
    trinary: bool = parameter(
        False, "Publish free (below 25) as 0, occupied (from 65 on) as 100 and all else as -1, instead of graded costs."
    )
    publish_classes: bool = parameter(False, "Publish class_grid: what was seen in each known cell, for viewing.")
    reliability: str = parameter(
        "reliable",
        "Of the mask, confidence and camera_info subscriptions; reliable needs reliable publishers.",
        choices=tuple(RELIABILITIES),
        live=False,
    )

    depth_wait: float = parameter(
        0.1, "How long a mask waits for the depth of its stamp, s; then it is used without.", minimum=0.0, maximum=5.0
    )

    pose_source: str = parameter(
        "auto",
        "Where poses come from; auto: TF where tf2_ros is installed and its tree reaches the camera, else odometry.",
        choices=("auto", "tf", "odometry"),
        live=False,
    )
    pose_wait: float = parameter(
        0.3, "How long a mask waits for its pose, s; then it has failed.", minimum=0.0, maximum=5.0
    )
    max_odometry_gap: float = parameter(
        0.5, "Poses are not interpolated over a longer gap in the odometry, s.", minimum=0.01, live=False
    )
    world_frame: str = parameter("odom", "Frame in which the grid is fixed.", live=False)
    base_frame: str = parameter("base_link", "Frame of the robot, on the ground below it.", live=False)

    def mapper_config(self) -> MapperConfig:
        """Raises GridError where the values contradict each other."""
        config = MapperConfig(**{field.name: getattr(self, field.name) for field in fields(MapperConfig)})
        config.require_usable()
        return config

    def camera_names(self) -> tuple[str, ...]:
        """`cameras`. Raises ParameterError where they cannot name topics and parameters."""
        names = self.cameras
        if names != ("",) and (len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names))):
            raise ParameterError(
                f"parameter cameras: {list(names)} is not allowed; allowed: different names of letters, digits and _ "
                "that begin with a letter, or [''] for one camera on the topics without prefix"
            )
        return names
