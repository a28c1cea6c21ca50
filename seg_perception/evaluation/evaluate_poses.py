"""Where the sensors of a recording are, by what it tells: odometry, or TF."""

from __future__ import annotations

import numpy as np

from seg_perception.core.errors import TransformError
from seg_perception.core.messages import stamp_to_ns
from seg_perception.core.pose import Transform
from seg_perception.core.poses import JUMP_NS, AutoPoses, CameraPose, OdometryPoses, PoseBuffer, PoseSource
from seg_perception.core.transform_tree import RecordedTfPoses, TransformTree
from seg_perception.core.waiting import NotYetError
from seg_perception.evaluation.evaluate_robot import Robot
from seg_perception.evaluation.evaluate_source import ODOMETRY, TF, TF_STATIC, Event

_HISTORY_NS = 10_000_000_000


class Poses:
    """Where the cameras and other sensors are, by what the recording tells. name: what tells it."""

    def __init__(self, robot: Robot, kinds: set[str]) -> None:
        self._robot = robot
        self._tree = TransformTree()
        self._refused = ""
        tf = self._tf = RecordedTfPoses(self._tree, robot.world_frame, robot.base_frame)
        buffer = PoseBuffer(_HISTORY_NS, round(robot.max_odometry_gap * 1e9))
        self._odometry = OdometryPoses(robot.world_frame, robot.base_frame, buffer)
        self._source: PoseSource
        if robot.pose_source == "tf" or (ODOMETRY not in kinds and robot.pose_source == "auto"):
            self._source = tf
        else:
            self._source = self._odometry if robot.pose_source == "odometry" else AutoPoses(tf, self._odometry)
        self._newest: dict[tuple[str, str, str], int] = {}
        self.possible = ODOMETRY in kinds if self._source is self._odometry else bool(kinds & {ODOMETRY, TF, TF_STATIC})

    @property
    def name(self) -> str:
        """What the poses come from, and the mounts."""
        return self._source.name

    def jumps_back(self, event: Event) -> bool:
        """Whether poses so far will be forgotten when an event is noted: time begins anew with it."""
        if event.kind not in (ODOMETRY, TF):
            return False
        back = False
        for message in event.message.transforms if event.kind == TF else [event.message]:
            stamp_ns = stamp_to_ns(message.header.stamp)
            source = event.kind, message.header.frame_id, message.child_frame_id
            newest = self._newest.get(source, stamp_ns)
            jumps = stamp_ns < newest - JUMP_NS
            self._newest[source] = stamp_ns if jumps else max(stamp_ns, newest)
            back |= jumps
        return back

    def note(self, event: Event) -> None:
        """Take in odometry or transforms."""
        try:
            if event.kind == ODOMETRY:
                self._odometry.add(event.message)
            elif event.kind in (TF, TF_STATIC):
                self._tree.add(event.message, static=event.kind == TF_STATIC)
        except TransformError as error:
            self._refused = str(error)

    def at(self, stamp_ns: int, frame_id: str, mount: Transform | None) -> CameraPose:
        """Of a sensor; mount: base_from_sensor, if it is stated. Raises NotYetError, TransformError."""
        try:
            if mount is None:
                mount = self._tf.mount(stamp_ns, frame_id)
            return self._source.camera_pose(stamp_ns, frame_id, mount)
        except NotYetError as error:
            raise type(error)(f"{error}; {self._refused}" if self._refused else str(error)) from error

    def world_from(self, frame_id: str, stamp_ns: int) -> Transform:
        """Of a frame that maps are in. Raises NotYetError, TransformError."""
        if frame_id.lstrip("/") == self._robot.world_frame.lstrip("/"):
            return np.eye(4)
        return self._tree.lookup(self._robot.world_frame, frame_id, stamp_ns)

    def time_went_back(self, stamp_ns: int) -> None:
        """Forget the time after a stamp."""
        self._source.time_went_back(stamp_ns)
