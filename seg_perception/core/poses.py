"""Where the camera was when an image was taken, from odometry and the camera's mount."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from seg_perception.core import pose
from seg_perception.core.errors import TransformError
from seg_perception.core.messages import pose_from_msg, stamp_to_ns
from seg_perception.core.pose import Transform
from seg_perception.core.waiting import NotYetError

JUMP_NS = 1_000_000_000
"""A stamp that lies further back than this means that time itself went back: a bag started again."""


class PoseNotYetError(NotYetError, TransformError):
    """The pose at a stamp is not known yet, but may still arrive."""


@dataclass(frozen=True)
class CameraPose:
    """Poses at the stamp of one image: the camera's optical frame and base_link in the world frame, (4, 4)."""

    world_from_optical: Transform
    world_from_base: Transform

    @property
    def ground_z(self) -> float:
        """Height of the ground in the world, m: base_link lies on it."""
        return float(self.world_from_base[2, 3])


class PoseSource(Protocol):
    """Knows the pose of a camera at the stamp of its image, never a newer or an older one.

    A mount is base_from_optical, (4, 4), for sources that know no more than the pose of the base; None where nobody
    has stated one.
    """

    @property
    def name(self) -> str:
        """What the poses come from, for log and status."""

    def camera_pose(self, stamp_ns: int, optical_frame: str, mount: Transform | None) -> CameraPose:
        """Raises PoseNotYetError where waiting may help, else TransformError."""

    def time_went_back(self, stamp_ns: int) -> None:
        """Time starts again at `stamp_ns`: forget the poses of the time before; those of the new one may stay."""


class TreePoses(PoseSource, Protocol):
    """Poses from a tree of frames, which may not reach every camera."""

    def connects(self, optical_frame: str) -> bool:
        """Whether the tree leads from the world frame to a camera at all, at whatever time."""

    def mount(self, stamp_ns: int, optical_frame: str) -> Transform | None:
        """base_from_optical, (4, 4); None where the tree does not lead from the base to the camera.

        Raises PoseNotYetError where it does, but does not tell of that time yet; TransformError where no more.
        """


class PoseBuffer:
    """Poses of the last seconds in order of time, interpolated between.

    history_ns: how long poses are kept. max_gap_ns: the largest gap that is interpolated over. what: for the errors.
    """

    def __init__(self, history_ns: int, max_gap_ns: int, what: str = "odometry") -> None:
        self._history_ns = history_ns
        self._max_gap_ns = max_gap_ns
        self._what = what
        self._stamps: deque[int] = deque()
        self._poses: deque[Transform] = deque()

    def add(self, stamp_ns: int, transform: Transform) -> bool:
        """Append a pose; False for one that is not newer than the last. A jump back in time starts anew."""
        if self._stamps and stamp_ns < self._stamps[-1] - JUMP_NS:
            self.clear()
        if self._stamps and stamp_ns <= self._stamps[-1]:
            return False
        self._stamps.append(stamp_ns)
        self._poses.append(transform)
        while self._stamps[0] < stamp_ns - self._history_ns:
            self._stamps.popleft()
            self._poses.popleft()
        return True

    def at(self, stamp_ns: int) -> Transform:
        """The pose at a stamp within the buffer. Raises PoseNotYetError after its end, TransformError before."""
        if not self._stamps:
            raise PoseNotYetError(f"no {self._what} has been received yet")
        if stamp_ns > self._stamps[-1]:
            raise PoseNotYetError(
                f"the newest {self._what} is {(stamp_ns - self._stamps[-1]) / 1e9:.3f} s older than the mask"
            )
        if stamp_ns < self._stamps[0]:
            raise TransformError(
                f"the oldest {self._what} kept is {(self._stamps[0] - stamp_ns) / 1e9:.3f} s newer than the mask"
            )
        after = bisect_left(self._stamps, stamp_ns)
        if self._stamps[after] == stamp_ns:
            return self._poses[after]
        start, end = self._stamps[after - 1], self._stamps[after]
        if end - start > self._max_gap_ns:
            raise TransformError(
                f"the {self._what} around the mask has a gap of {(end - start) / 1e9:.2f} s; "
                "publish it faster or raise max_odometry_gap"
            )
        return pose.interpolate(self._poses[after - 1], self._poses[after], (stamp_ns - start) / (end - start))

    def clear(self) -> None:
        """Forget all poses."""
        self._stamps.clear()
        self._poses.clear()

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the poses newer than a stamp."""
        while self._stamps and self._stamps[-1] > stamp_ns:
            self._stamps.pop()
            self._poses.pop()


class OdometryPoses:
    """Poses from nav_msgs/Odometry and the camera's mount. Satisfies PoseSource."""

    name = "odometry and mount parameters"

    def __init__(self, world_frame: str, base_frame: str, buffer: PoseBuffer) -> None:
        self._world_frame = world_frame
        self._base_frame = base_frame
        self._buffer = buffer

    def add(self, msg: Any) -> bool:
        """Note the pose of a nav_msgs/Odometry; False for one out of order.

        Raises TransformError for other frames and for what is no pose.
        """
        self._check_frame("header.frame_id", msg.header.frame_id, "world_frame", self._world_frame)
        self._check_frame("child_frame_id", msg.child_frame_id, "base_frame", self._base_frame)
        return self._buffer.add(stamp_to_ns(msg.header.stamp), pose_from_msg(msg.pose.pose))

    def camera_pose(self, stamp_ns: int, optical_frame: str, mount: Transform | None) -> CameraPose:
        if mount is None:
            raise TransformError(f"nobody tells where {optical_frame!r} is mounted; state it in the robot's file")
        world_from_base = self._buffer.at(stamp_ns)
        return CameraPose(world_from_base @ mount, world_from_base)

    def time_went_back(self, stamp_ns: int) -> None:
        self._buffer.forget_after(stamp_ns + JUMP_NS)  # odometry may have begun anew before the masks

    def _check_frame(self, field: str, given: str, parameter: str, expected: str) -> None:
        if given and given.lstrip("/") != expected.lstrip("/"):
            raise TransformError(
                f"odometry has {field} {given!r}, but {parameter} is {expected!r}; set {parameter} to match"
            )


class AutoPoses:
    """For each camera TF as soon as its tree reaches it from the world, until then odometry. Satisfies PoseSource.

    Beside odometry, a mount that TF knows counts before a stated one.
    """

    def __init__(self, tf: TreePoses, odometry: OdometryPoses) -> None:
        self._tf = tf
        self._odometry = odometry
        self._origins: dict[str, str] = {}  # by optical frame: what its poses come from

    @property
    def name(self) -> str:
        return ", ".join(sorted(set(self._origins.values()))) or self._odometry.name

    def camera_pose(self, stamp_ns: int, optical_frame: str, mount: Transform | None) -> CameraPose:
        if self._origins.get(optical_frame) == self._tf.name or self._tf.connects(optical_frame):
            self._origins[optical_frame] = self._tf.name
            return self._tf.camera_pose(stamp_ns, optical_frame, mount)
        told = self._tf.mount(stamp_ns, optical_frame)
        self._origins[optical_frame] = self._odometry.name if told is None else f"odometry and mount by {self._tf.name}"
        try:
            return self._odometry.camera_pose(stamp_ns, optical_frame, mount if told is None else told)
        except PoseNotYetError as error:
            raise PoseNotYetError(f"{error}, and TF does not reach {optical_frame!r} either") from error

    def time_went_back(self, stamp_ns: int) -> None:
        self._tf.time_went_back(stamp_ns)
        self._odometry.time_went_back(stamp_ns)
