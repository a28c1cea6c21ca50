"""Parameters of the grid_mapper node."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from seg_perception.core.mapping import MapperConfig
from seg_perception.nodes.grid_camera_parameters import CameraParameters
from seg_perception.nodes.lifecycle import PipelineParameters
from seg_perception.ros.parameters import ParameterError, parameter
from seg_perception.ros.qos import RELIABILITIES

_DEFAULT = MapperConfig()
_MOST_CELLS = 4_000_000
_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class GridMapperParameters(PipelineParameters, CameraParameters):
    """What can be set on the grid_mapper; the fields up to `half_life` are those of MapperConfig."""

    resolution: float = parameter(_DEFAULT.resolution, "Side of a cell, m.", minimum=0.02, maximum=5.0, read_only=True)
    size_x: float = parameter(
        _DEFAULT.size_x, "Side of the grid along x, m.", minimum=1.0, maximum=500.0, read_only=True
    )
    size_y: float = parameter(
        _DEFAULT.size_y, "Side of the grid along y, m.", minimum=1.0, maximum=500.0, read_only=True
    )
    max_range: float = parameter(
        _DEFAULT.max_range, "Ground farther from the camera gets no evidence, m.", minimum=0.5, maximum=200.0
    )
    max_range_error: float = parameter(
        _DEFAULT.max_range_error,
        "Nor does ground whose distance is less certain than this, m.",
        minimum=0.05,
        maximum=50.0,
    )
    pitch_error: float = parameter(
        _DEFAULT.pitch_error, "How far the camera's pitch may be off its stated value, rad.", minimum=0.0, maximum=0.2
    )
    height_error: float = parameter(
        _DEFAULT.height_error, "How far its height may be off, as a fraction of it.", minimum=0.0, maximum=0.5
    )
    outline_error: float = parameter(
        _DEFAULT.outline_error, "How many pixels outlines may be off in the mask.", minimum=0.0, maximum=50.0
    )
    min_confidence: float = parameter(
        _DEFAULT.min_confidence, "Pixels less confident than this prove nothing.", minimum=0.0, maximum=0.99
    )
    free_log_odds: float = parameter(
        _DEFAULT.free_log_odds, "Log-odds of one confident observation of free ground.", minimum=-10.0, maximum=0.0
    )
    occupied_log_odds: float = parameter(
        _DEFAULT.occupied_log_odds, "Log-odds of one confident observation of an obstacle.", minimum=0.0, maximum=10.0
    )
    min_log_odds: float = parameter(
        _DEFAULT.min_log_odds, "A cell is never more certainly free than this.", minimum=-20.0, maximum=0.0
    )
    max_log_odds: float = parameter(
        _DEFAULT.max_log_odds, "A cell is never more certainly occupied than this.", minimum=0.0, maximum=20.0
    )
    known_log_odds: float = parameter(
        _DEFAULT.known_log_odds, "A cell whose log-odds are nearer to 0 is unknown.", minimum=0.01, maximum=5.0
    )
    clearance: float = parameter(
        _DEFAULT.clearance,
        "What hangs higher above the ground is no obstacle, m; known only with use_depth.",
        minimum=0.2,
        maximum=20.0,
    )
    half_life: float = parameter(
        _DEFAULT.half_life, "Time after which half of a cell's log-odds is gone, s.", minimum=0.1, maximum=3600.0
    )
    hidden_half_life: float = parameter(
        _DEFAULT.hidden_half_life,
        "The same for cells that an obstacle hides from a camera at work, s.",
        minimum=0.01,
        maximum=3600.0,
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
        """Raises ParameterError where the values contradict each other."""
        cells = round(self.size_x / self.resolution) * round(self.size_y / self.resolution)
        if not 1 <= cells <= _MOST_CELLS:
            raise ParameterError(
                f"resolution {self.resolution:g}, size_x {self.size_x:g}, size_y {self.size_y:g} make {cells} cells; "
                f"allowed are 1..{_MOST_CELLS}"
            )
        if self.known_log_odds >= min(-self.min_log_odds, self.max_log_odds):
            raise ParameterError(
                f"known_log_odds is {self.known_log_odds:g}, so that no cell is ever known; it must be below "
                f"-min_log_odds ({-self.min_log_odds:g}) and max_log_odds ({self.max_log_odds:g})"
            )
        own = {field.name for field in fields(self)}
        return MapperConfig(**{f.name: getattr(self, f.name) for f in fields(MapperConfig) if f.name in own})

    def camera_names(self) -> tuple[str, ...]:
        """`cameras`. Raises ParameterError where they cannot name topics and parameters."""
        names = self.cameras
        if names != ("",) and (len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names))):
            raise ParameterError(
                f"parameter cameras: {list(names)} is not allowed; allowed: different names of letters, digits and _ "
                "that begin with a letter, or [''] for one camera on the topics without prefix"
            )
        return names
