"""A robot's parameter file as an evaluation needs it: what the live nodes would read from it, without ROS."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from seg_perception.core import pose
from seg_perception.core.ego_mask import EgoMask
from seg_perception.core.errors import DataError
from seg_perception.core.mapping import MapperConfig
from seg_perception.core.pose import Transform
from seg_perception.core.presets import cameras_of, node_parameters
from seg_perception.evaluation.share import share_folder

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

    @classmethod
    def load(cls, path: Path) -> Robot:
        """From a ROS 2 parameter file with a section for grid_mapper. Raises DataError."""
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
            values = node_parameters(document, "grid_mapper")
            config = {f.name: float(values[f.name]) for f in fields(MapperConfig) if f.name in values}
            cameras = tuple(_camera(name, values) for name in cameras_of(values))
            robot = cls(
                MapperConfig(**config),
                cameras,
                str(values.get("pose_source", cls.pose_source)),
                float(values.get("max_odometry_gap", cls.max_odometry_gap)),
                str(values.get("world_frame", cls.world_frame)),
                str(values.get("base_frame", cls.base_frame)),
            )
        except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
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
    if robot.endswith(".yaml") and Path(robot).is_file():
        return Path(robot)
    folder = share_folder() / "config" / "robots"
    path = folder / f"{robot}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(known.stem for known in folder.glob("*.yaml")))
        raise DataError(f"robot {robot!r}: no {path}; there are: {names or 'none'}")
    return path


def _camera(name: str, values: dict[str, Any]) -> RobotCamera:
    own = f"{name}." if name else ""
    x, y, z, roll, pitch, yaw = (float(values.get(f"{own}mount.{part}", 0.0)) for part in MOUNT)
    file = values.get(f"{own}ego_mask", "")
    return RobotCamera(name, pose.base_from_optical((x, y, z), roll, pitch, yaw), EgoMask.load(file) if file else None)
