"""One camera of the grid_mapper: its masks in their order, each with all that is needed to fuse it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.ego_mask import EgoMask
from seg_perception.core.errors import ClassTableError, ImageError, SegPerceptionError, TransformError
from seg_perception.core.poses import CameraPose
from seg_perception.core.stamps import StampGuard
from seg_perception.core.waiting import NotYetError, WaitingRoom
from seg_perception.msg import SegmentationClasses
from seg_perception.nodes.depth_input import DepthInput
from seg_perception.nodes.grid_camera_parameters import CameraParameters, camera_topic
from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters
from seg_perception.nodes.mask_inputs import PUBLISHER, MaskInputs, MaskPair
from seg_perception.nodes.pose_feed import PoseFeed
from seg_perception.ros.conversions import classes_from_msg
from seg_perception.ros.diagnostics import Finding, Level, PipelineMonitor, stages_ms
from seg_perception.ros.inputs import WatchedInput
from seg_perception.ros.qos import latched

_WAITING_MASKS = 32  # a second at 30 Hz; of masks that wait longer, some give way
_WAITING_PERIOD_S = 0.02


@dataclass(frozen=True)
class CameraSetup:
    """A camera by its name (empty for the only one), its parameters, and what it sees of the robot."""

    name: str
    parameters: CameraParameters
    ego_mask: EgoMask | None


@dataclass(frozen=True, eq=False)
class View:
    """One segmented image of a camera, ready to be fused.

    mask, confidence: (H, W) uint8. depth: (H, W) float32, m along the optical axis, where there is any.
    """

    source: str
    table: ClassTable
    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    camera: Camera
    pose: CameraPose
    stamp_ns: int
    optical_frame: str


class Fused(NamedTuple):
    """The times of time.perf_counter() at which the stages of a view ended."""

    updated: float
    published: float


@dataclass(frozen=True, eq=False)
class _Arrival:
    pair: MaskPair
    table: ClassTable | None  # as far as it is known already; another may come while the mask waits
    time: float  # of time.perf_counter()
    depth_until_ns: int


class GridCamera:
    """Subscribes to what a camera's segmenter publishes, and to its depth where that is asked for.

    on_stamp: called with the stamp of every mask that is not stale, and whether stamps have begun anew with it.
    fuse: called with every view, in order; may raise SegPerceptionError.
    """

    def __init__(
        self,
        node: Node,
        setup: CameraSetup,
        values: GridMapperParameters,
        poses: PoseFeed,
        monitor: PipelineMonitor,
        on_stamp: Callable[[int, bool], None],
        fuse: Callable[[View], Fused],
    ) -> None:
        self._node = node
        self._setup = setup
        self._values = values
        self._poses = poses
        self._monitor = monitor
        self._on_stamp = on_stamp
        self._fuse = fuse
        self._table: ClassTable | None = None
        self._publishers: set[object] = set()
        self._classes_came = False  # since the last mask
        self._sees_ground = True
        self._fused_at = self._proved_at = float("-inf")  # of time.monotonic()
        self._stamps = StampGuard()
        self._waiting: WaitingRoom[_Arrival] = WaitingRoom(_WAITING_MASKS, self._use, self._give_up)
        self._inputs = MaskInputs(node, setup.name, values.reliability, monitor, self._on_pair, self.serve)
        self._classes = self._subscribe_to_classes()
        depth = camera_topic(setup.name, "depth")
        use_depth = setup.parameters.use_depth
        self._depth = DepthInput(node, depth, values.reliability, _WAITING_MASKS, self.serve) if use_depth else None
        self._timer = node.create_timer(_WAITING_PERIOD_S, self.serve)

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_timer(self._timer)
        self._classes.close()
        self._inputs.close()
        if self._depth:
            self._depth.close()

    def accept(self, values: GridMapperParameters) -> None:
        """Take over changed parameters of the node."""
        self._values = values
        if not values.enabled:
            self.dismiss()

    def accept_own(self, parameters: CameraParameters) -> None:
        """Take over changed parameters of the camera."""
        self._setup = replace(self._setup, parameters=parameters)

    def serve(self) -> None:
        """Try again the masks that wait."""
        self._waiting.serve(self._now_ns())
        if not len(self._waiting):
            self._timer.cancel()

    def dismiss(self) -> None:
        """Send the masks away that wait: they belong to a time that has ended."""
        for _ in range(self._waiting.clear()):
            self._monitor.count("stale")

    def findings(self) -> Iterator[Finding]:
        """What is wrong with this part of the node."""
        timeout_s = self._values.timeout
        found = [*self._inputs.findings(timeout_s), self._depth.finding(timeout_s) if self._depth else None]
        if self._table is None:
            waiting = Finding(Level.WARN, f"no class table on {self._classes.topic} yet")
            found.append(self._classes.finding(timeout_s) or waiting)
        if self.delivers:
            found.append(self._blindness())
        yield from (replace(finding, part=self._setup.name) for finding in found if finding)

    @property
    def delivers(self) -> bool:
        """Whether masks of this camera are fused, now."""
        return time.monotonic() - self._fused_at <= self._values.timeout

    def _blindness(self) -> Finding | None:
        """Why masks that are fused prove nothing."""
        values, topic = self._values, self._inputs.masks.topic
        if not self._sees_ground:
            reason = f"{topic}: no ground in view that is near and certain enough (max_range, max_range_error); "
            check = "check the camera's tilt: mount.pitch > 0 looks down, or its frame in TF"
            return Finding(Level.WARN, reason + check)
        blind_s = time.monotonic() - self._proved_at
        if blind_s <= values.timeout:
            return None
        reason = f"{topic}: for {blind_s:.0f} s no mask has proved anything; is the lens covered, or the network less "
        return Finding(Level.WARN, f"{reason}sure than min_confidence ({values.min_confidence:g}) of all it sees?")

    def fused(self, proved: int | None) -> None:
        """Note that a view was fused, and what `GridMapper.update` says of it."""
        now = time.monotonic()
        if proved or not self.delivers:  # when masks come again, their time counts from then on
            self._proved_at = now
        self._fused_at, self._sees_ground = now, proved is not None

    def _subscribe_to_classes(self) -> WatchedInput:
        topic = camera_topic(self._setup.name, "segmentation/classes")
        return WatchedInput(self._node, SegmentationClasses, topic, self._on_classes, latched(), publisher=PUBLISHER)

    def _on_classes(self, msg: SegmentationClasses) -> None:
        try:
            table = classes_from_msg(msg)
        except ClassTableError as error:
            self._classes.reject(str(error))
            return
        self._classes.accept()
        self._classes_came = True
        if table != self._table:
            names = ", ".join(c.name for c in table.classes)
            self._node.get_logger().info(f"{self._classes.topic}: classes of {msg.model}: {names}")
            self._table = table
        self.serve()

    def _on_pair(self, pair: MaskPair) -> None:
        values = self._values
        if not values.enabled:
            return
        now_ns = self._now_ns()
        stale = self._stamps.stale(pair.stamp_ns, now_ns, self._setup.parameters.max_age)
        if stale:
            self._monitor.count("stale")
            self._inputs.masks.reject(stale)
            return
        self._on_stamp(pair.stamp_ns, self._stamps.restarted)
        self._note_publisher()
        depth_until_ns = now_ns + round(values.depth_wait * 1e9) if self._depth else now_ns
        pose_until_ns = now_ns + round(values.pose_wait * 1e9)
        arrival = _Arrival(pair, self._table, time.perf_counter(), depth_until_ns)
        if self._waiting.enter(arrival, max(depth_until_ns, pose_until_ns)):
            self._monitor.count("replaced")
        self._timer.reset()
        self.serve()

    def _note_publisher(self) -> None:
        """Forget the class table of a segmenter that was started again: masks may overtake that of its new model."""
        publisher = self._inputs.masks.publisher
        if self._publishers and publisher not in self._publishers and not self._classes_came:
            self._table = None
            self._classes.close()
            self._classes = self._subscribe_to_classes()  # so that it is told again, whenever it was told first
        self._publishers.add(publisher)
        self._classes_came = False

    def _use(self, arrival: _Arrival) -> None:
        """Fuse a mask. Raises NotYetError while something is missing, SegPerceptionError if it cannot be used."""
        started = time.perf_counter()
        try:
            updated, published = self._fuse(self._view(arrival))
        except SegPerceptionError:
            raise
        except Exception as error:  # whatever a mask brings about, the next one must be tried
            if not self._node.context.ok():  # the signal that ends the process came in between
                raise
            self._node.get_logger().error(traceback.format_exc(), throttle_duration_sec=5.0)
            raise SegPerceptionError(repr(error)) from error
        times = (arrival.time, started, updated, published)
        stages = stages_ms(("wait", "update", "publish"), times, arrival.pair.stamp_ns, self._now_ns())
        self._monitor.processed(stages)
        self._inputs.masks.accept()

    def _view(self, arrival: _Arrival) -> View:
        pair = arrival.pair
        mask, confidence = self._inputs.pixels(pair)
        camera = self._inputs.camera(pair)
        if self._setup.ego_mask:
            mask, confidence = self._setup.ego_mask.hide(mask, confidence, camera)
        table = arrival.table or self._table
        if table is None:
            raise NotYetError(f"no class table on {self._classes.topic}")
        mount = self._setup.parameters.base_from_optical()
        pose = self._poses.camera_pose(pair.stamp_ns, pair.optical_frame, mount)
        depth = self._depth_of(arrival, camera)
        frame = pair.optical_frame
        return View(self._setup.name, table, mask, confidence, depth, camera, pose, pair.stamp_ns, frame)

    def _depth_of(self, arrival: _Arrival, camera: Camera) -> NDArray[np.float32] | None:
        """None where the mask is to be used without. Raises NotYetError while its depth may still come."""
        if self._depth is None:
            return None
        try:
            return self._depth.at(arrival.pair.stamp_ns, camera)
        except NotYetError as error:
            if self._now_ns() < arrival.depth_until_ns:
                raise
            self._depth.give_up(error)
        except ImageError:
            pass  # told by the input
        self._monitor.count("without_depth")
        return None

    def _give_up(self, arrival: _Arrival, error: SegPerceptionError) -> None:
        self._monitor.count("failed")
        if isinstance(error, TransformError):
            self._monitor.count("without_pose")
        self._inputs.masks.reject(str(error))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
