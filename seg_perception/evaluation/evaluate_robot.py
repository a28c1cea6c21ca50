"""A robot's parameter file as an evaluation needs it: what the live nodes would read from it, without ROS."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from seg_perception.core import pose
from seg_perception.core.ego_mask import EgoMask
from seg_perception.core.errors import DataError, GridError
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.pose import Transform
from seg_perception.core.presets import cameras_of, node_parameters, read_sections, robot_files
from seg_perception.core.share import share_folder

POSE_SOURCES = ("auto", "tf", "odometry")
MOUNT = ("x", "y", "z", "roll", "pitch", "yaw")


@dataclass(frozen=True, eq=False)
class RobotCamera:
    """A camera by its name, empty for the only one. base_from_optical: its mount; used where no TF tells it."""

    name: str
    base_from_optical: Transform
    ego_mask: EgoMask | None


@dataclass(frozen=True, eq=False)
class Robot:
    """The defaults are those of the nodes' parameters of the same names."""

    mapper: MapperConfig
    cameras: tuple[RobotCamera, ...]
    pose_source: str = "auto"
    max_odometry_gap: float = 0.5
    world_frame: str = "odom"
    base_frame: str = "base_link"
    model: str = "road_lite"
    device: str = "cpu"
    precision: str = "auto"

    @classmethod
    def load(cls, path: Path) -> Robot:
        """From a ROS 2 parameter file with sections for segmenter and grid_mapper. Raises DataError."""
        sections = read_sections(path)
        values, segmenter = (node_parameters(sections, node) for node in ("grid_mapper", "segmenter"))
        try:
            config = MapperConfig(**{f.name: float(values[f.name]) for f in fields(MapperConfig) if f.name in values})
            config.require_usable()
            cameras = tuple(_camera(name, values) for name in cameras_of(values))
            robot = cls(
                config,
                cameras,
                str(values.get("pose_source", cls.pose_source)),
                float(values.get("max_odometry_gap", cls.max_odometry_gap)),
                str(values.get("world_frame", cls.world_frame)),
                str(values.get("base_frame", cls.base_frame)),
                *(str(segmenter.get(name, getattr(cls, name))) for name in ("model", "device", "precision")),
            )
        except (ValueError, TypeError, GridError) as error:
            raise DataError(f"{path}: cannot be read as a robot's parameters ({error})") from error
        if robot.pose_source not in POSE_SOURCES:
            raise DataError(f"{path}: pose_source is {robot.pose_source!r}; allowed: {', '.join(POSE_SOURCES)}")
        return robot

    def camera(self, name: str) -> RobotCamera | None:
        """The camera of a name; the only one of a robot goes by any name."""
        if len(self.cameras) == 1 and not self.cameras[0].name:
            return self.cameras[0]
        return next((camera for camera in self.cameras if camera.name == name), None)


def robot_file(robot: str) -> Path:
    """Parameter file of a robot by name or path. Raises DataError naming the robots there are."""
    return robot_files(share_folder(), robot, "")[0]


def _camera(name: str, values: dict[str, Any]) -> RobotCamera:
    own = f"{name}." if name else ""
    x, y, z, roll, pitch, yaw = (float(values.get(f"{own}mount.{part}", 0.0)) for part in MOUNT)
    file = values.get(f"{own}ego_mask", "")
    return RobotCamera(name, pose.base_from_optical((x, y, z), roll, pitch, yaw), EgoMask.load(file) if file else None)
