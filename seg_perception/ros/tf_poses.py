"""Where the camera was when an image was taken, from TF. tf2_ros is imported only here, and only when it is used."""

from __future__ import annotations

import importlib

from rclpy.node import Node
from rclpy.time import Time

from seg_perception.core.errors import TransformError
from seg_perception.core.messages import checked_pose
from seg_perception.core.pose import Transform
from seg_perception.core.poses import CameraPose, PoseNotYetError


class TfPoses:
    """Poses from the TF tree. Satisfies TreePoses. Raises TransformError where tf2_ros is not installed."""

    name = "TF"

    def __init__(self, node: Node, world_frame: str, base_frame: str) -> None:
        if not tf_installed():
            raise TransformError(
                "pose_source is tf, but tf2_ros is not installed; install it (ros-$ROS_DISTRO-tf2-ros) or use odometry"
            )
        tf2_ros = importlib.import_module("tf2_ros")
        self._world_frame = world_frame
        self._base_frame = base_frame
        self._error: type[Exception] = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()  # given the node, it would leave a service behind at every activation
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()

    def connects(self, optical_frame: str) -> bool:
        """Whether the tree leads from the world frame to a camera at all, at whatever time."""
        return self._leads(self._world_frame, optical_frame)

    def mount(self, stamp_ns: int, optical_frame: str) -> Transform | None:
        """base_from_optical, (4, 4), where the tree leads from the base to a camera. Raises PoseNotYetError."""
        if not self._leads(self._base_frame, optical_frame):
            return None
        return self._lookup(self._base_frame, optical_frame, stamp_ns)

    def camera_pose(self, stamp_ns: int, optical_frame: str, mount: Transform | None) -> CameraPose:
        if not optical_frame:
            raise TransformError("the mask has no frame_id; make the camera driver set its optical frame")
        world_from_optical = self._lookup(self._world_frame, optical_frame, stamp_ns)
        return CameraPose(world_from_optical, self._lookup(self._world_frame, self._base_frame, stamp_ns))

    def time_went_back(self, stamp_ns: int) -> None:
        self._buffer.clear()  # static transforms stay

    def _leads(self, target: str, frame: str) -> bool:
        return bool(frame and self._buffer.can_transform(target, frame, Time()))

    def _lookup(self, target: str, frame: str, stamp_ns: int) -> Transform:
        try:
            transform = self._buffer.lookup_transform(target, frame, Time(nanoseconds=stamp_ns)).transform
        except self._error as error:
            # Whatever is missing may still come: a frame, a branch or a newer transform.
            why = f"TF: {str(error).strip()} ({target} from {frame}; does what publishes them run?)"
            raise PoseNotYetError(why) from error
        t, q = transform.translation, transform.rotation
        return checked_pose("TF", (t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def tf_installed() -> bool:
    """Whether tf2_ros can be imported; it is not where only the ROS wheels are."""
    try:
        importlib.import_module("tf2_ros")
    except ImportError:
        return False
    return True
