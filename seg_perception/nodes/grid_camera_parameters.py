"""Parameters of one camera of the grid_mapper, and the names of its topics."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

from seg_perception.core import pose
from seg_perception.core.pose import Transform
from seg_perception.ros.parameters import parameter


@dataclass(frozen=True)
class CameraParameters:
    """Of the only camera as they stand; of one of several below its name: `front.max_age`, `front.mount.x`."""

    max_age: float = parameter(5.0, "Masks with an older stamp are stale, s; 0 takes any.", minimum=0.0)
    use_depth: bool = parameter(
        False, "Subscribe to depth, aligned to the camera's image: 32FC1 in m or 16UC1 in mm.", live=False
    )
    ego_mask: str = parameter(
        "",
        "PNG, aligned to the camera's image, whose non-zero pixels show the robot itself; they prove nothing. "
        "Empty: none.",
        live=False,
    )
    mount__x: float = parameter(0.0, "Camera in base_frame, forward, m; mount.* is not used with TF.")
    mount__y: float = parameter(0.0, "Camera in base_frame, to the left, m.")
    mount__z: float = parameter(0.0, "Camera in base_frame, above the ground, m.")
    mount__roll: float = parameter(0.0, "Camera in base_frame, rad.", minimum=-pi, maximum=pi)
    mount__pitch: float = parameter(0.0, "Camera in base_frame, > 0 looks down, rad.", minimum=-pi, maximum=pi)
    mount__yaw: float = parameter(0.0, "Camera in base_frame, > 0 looks left, rad.", minimum=-pi, maximum=pi)

    def base_from_optical(self) -> Transform:
        """The mount, (4, 4)."""
        position = (self.mount__x, self.mount__y, self.mount__z)
        return pose.base_from_optical(position, self.mount__roll, self.mount__pitch, self.mount__yaw)


def camera_topic(camera: str, topic: str) -> str:
    """A camera's topic; the only camera has no name, and its topics no prefix."""
    return f"{camera}/{topic}" if camera else topic
