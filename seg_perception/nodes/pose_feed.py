"""Feeds a pose source: subscribes to what the parameter `pose_source` asks for and the installation offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nav_msgs.msg import Odometry
from rclpy.node import Node

from seg_perception.core.errors import TransformError
from seg_perception.core.pose import Transform
from seg_perception.core.poses import AutoPoses, CameraPose, OdometryPoses, PoseBuffer, PoseSource
from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters
from seg_perception.ros.diagnostics import Finding, Level, PipelineMonitor
from seg_perception.ros.inputs import WatchedInput
from seg_perception.ros.qos import sensor_input
from seg_perception.ros.tf_poses import TfPoses, tf_installed

_HISTORY_S = 5.0
_ODOMETRY_DEPTH = 50  # half a second of a fast odometry while the executor is busy


class PoseFeed:
    """The pose of every camera at the stamp of its image.

    on_news: called when a pose has arrived that a waiting mask may have been waiting for (TF gives no such sign).
    Raises TransformError where pose_source is tf and tf2_ros is not installed.
    """

    def __init__(
        self, node: Node, values: GridMapperParameters, monitor: PipelineMonitor, on_news: Callable[[], None]
    ) -> None:
        self._monitor = monitor
        self._on_news = on_news
        self._tf: TfPoses | None = None
        self._odometry: OdometryPoses | None = None
        self._input: WatchedInput | None = None
        if values.pose_source == "tf" or (values.pose_source == "auto" and tf_installed()):
            self._tf = TfPoses(node, values.world_frame, values.base_frame)
        if values.pose_source != "tf":
            buffer = PoseBuffer(round(_HISTORY_S * 1e9), round(values.max_odometry_gap * 1e9))
            self._odometry = OdometryPoses(values.world_frame, values.base_frame, buffer)
            profile = sensor_input(_ODOMETRY_DEPTH, "best_effort")
            self._input = WatchedInput(node, Odometry, "odom", self._on_odometry, profile)
        self._source = _chosen(self._tf, self._odometry)

    @property
    def name(self) -> str:
        """What the poses come from."""
        return self._source.name

    def close(self) -> None:
        """Unsubscribe."""
        if self._input:
            self._input.close()
        if self._tf:
            self._tf.close()

    def camera_pose(self, stamp_ns: int, optical_frame: str, mount: Transform) -> CameraPose:
        """mount: base_from_optical, (4, 4). Raises PoseNotYetError where waiting may help, else TransformError."""
        return self._source.camera_pose(stamp_ns, optical_frame, mount)

    def time_went_back(self, stamp_ns: int) -> None:
        """Time starts again at `stamp_ns`: forget poses at least of the time after it."""
        self._source.time_went_back(stamp_ns)

    def findings(self, timeout_s: float) -> Iterator[Finding]:
        """What is wrong with the odometry, where poses come from it."""
        if self._input is None or self._source.name == TfPoses.name:
            return
        finding = self._input.finding(timeout_s, Level.WARN)
        if finding:
            yield finding
        publishers = self._input.publishers()
        if publishers > 1:
            reason = f"{self._input.topic}: {publishers} publishers, whose poses get mixed up"
            yield Finding(Level.WARN, f"{reason}; stop all but one, or give each robot a namespace")

    def _on_odometry(self, msg: Odometry) -> None:
        assert self._odometry and self._input
        try:
            newer = self._odometry.add(msg)
        except TransformError as error:
            self._monitor.count("odometry_rejected")
            self._input.reject(str(error))
            return
        if not newer:
            self._monitor.count("odometry_out_of_order")
            return
        self._input.accept()
        self._on_news()


def _chosen(tf: TfPoses | None, odometry: OdometryPoses | None) -> PoseSource:
    if tf and odometry:
        return AutoPoses(tf, odometry)
    chosen = tf or odometry
    assert chosen
    return chosen
