"""What the grid_mapper does while it is active: views of its cameras in, the grid out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from seg_perception.core.classes import ClassTable
from seg_perception.core.mapping import GridMapper
from seg_perception.core.poses import JUMP_NS
from seg_perception.nodes.grid_camera import CameraSetup, Fused, GridCamera, View
from seg_perception.nodes.grid_camera_parameters import CameraParameters
from seg_perception.nodes.grid_mapper_parameters import GridMapperParameters
from seg_perception.nodes.grid_outputs import GridOutputs
from seg_perception.nodes.pose_feed import PoseFeed
from seg_perception.ros.diagnostics import Finding, Level, PipelineMonitor
from seg_perception.ros.pacing import RateLimit, StreamClock

_AGEING_PERIOD_S = 0.5
_JUMP_TOLD_S = 5.0
_FAR_M = 200_000.0  # from the world's origin: points of float32 are off by a centimetre there


class GridSession:
    """From activation to deactivation. Raises TransformError where the pose source is not installed."""

    def __init__(
        self,
        node: Node,
        values: GridMapperParameters,
        cameras: Iterable[CameraSetup],
        outputs: GridOutputs,
        monitor: PipelineMonitor,
    ) -> None:
        self._node = node
        self._values = values
        self._outputs = outputs
        self._mapper: GridMapper | None = None
        self._rate = RateLimit()
        self._fused = StreamClock()
        self._seen_ns = self._fused_ns = 0  # newest stamps; those of several cameras come in any order
        self._from_origin_m = 0.0
        self._jumps, self._jumped_at = 0, float("-inf")  # of time.monotonic()
        self._tables: dict[str, ClassTable] = {}
        self._knows_anything = False
        self._pose_name = ""
        self._poses = PoseFeed(node, values, monitor, self._serve)
        self._cameras: dict[str, GridCamera] = {}
        for setup in cameras:
            own = monitor.part(setup.name) if setup.name else monitor
            camera = GridCamera(node, setup, values, self._poses, own, self._on_stamp, self._fuse)
            self._cameras[setup.name] = camera
        self._ageing_timer = node.create_timer(_AGEING_PERIOD_S, self._age)
        # Not by the node's clock: simulated time stops with the bag, and its last masks would be kept back for good.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._held_back_timer = node.create_timer(1.0 / values.publish_rate, self._publish_news, clock=steady)
        self._held_back_timer.cancel()

    def close(self) -> None:
        """Stop listening. The latched grid becomes unknown: nobody would age it any more."""
        if self._mapper and self._knows_anything and self._node.context.ok():
            self._mapper.reset()
            self._publish_grid(self._mapper, self._fused.stamp_ns(self._now_ns()))
        for timer in (self._ageing_timer, self._held_back_timer):
            self._node.destroy_timer(timer)
        for camera in self._cameras.values():
            camera.close()
        self._poses.close()

    def accept(self, values: GridMapperParameters) -> None:
        """Take over changed parameters. Raises ParameterError."""
        config = values.mapper_config()
        if self._mapper:
            self._mapper.keeps_classes = values.publish_classes
            if config != self._mapper.config:
                if self._fused.started:
                    self._mapper.fade(self._fused.stamp_ns(self._now_ns()) / 1e9)
                self._mapper.config = config
        for camera in self._cameras.values():
            camera.accept(values)
        if values.publish_rate != self._values.publish_rate:
            self._held_back_timer.timer_period_ns = round(1e9 / values.publish_rate)
            if not self._held_back_timer.is_canceled():
                self._held_back_timer.reset()  # else it first waits for the old period
        self._values = values

    def accept_camera(self, name: str, parameters: CameraParameters) -> None:
        """Take over changed parameters of a camera."""
        self._cameras[name].accept_own(parameters)

    @property
    def engine(self) -> str:
        """What really runs, for the status."""
        return f"poses from {self._poses.name}"

    def findings(self) -> Iterator[Finding]:
        """What is wrong."""
        if not self._values.enabled:
            yield Finding(Level.WARN, "the parameter enabled is false: masks are ignored")
            return
        if self._from_origin_m > _FAR_M:
            off = float(np.spacing(np.float32(self._from_origin_m))) / 2
            far = f"{self._from_origin_m / 1000:.0f} km from the origin of {self._values.world_frame}"
            reason = (
                f"{far}, points (float32) of obstacles and class_grid are off by up to {off:.2f} m, the grid is not"
            )
            yield Finding(Level.WARN, f"{reason}; use a world_frame that begins near the robot")
        if time.monotonic() - self._jumped_at < _JUMP_TOLD_S:
            what = f"{self._values.base_frame} has jumped in the world, and the grid has begun anew"
            yield Finding(Level.WARN, f"{what}; unless its odometry has, check for a second publisher of it")
        yield from self._poses.findings(self._values.timeout)
        for camera in self._cameras.values():
            yield from camera.findings()

    def _serve(self) -> None:
        for camera in self._cameras.values():
            camera.serve()

    def _on_stamp(self, stamp_ns: int, restarted: bool) -> None:
        # Cameras jump back one after the other; the first one takes the grid along.
        if restarted and stamp_ns < self._seen_ns - JUMP_NS:
            self._start_anew(stamp_ns)
        self._seen_ns = max(self._seen_ns, stamp_ns)

    def _start_anew(self, stamp_ns: int) -> None:
        self._node.get_logger().info("masks have jumped back in time: grid and poses start anew")
        for camera in self._cameras.values():
            camera.dismiss()
        self._seen_ns = self._fused_ns = stamp_ns
        self._held_back_timer.cancel()
        self._poses.time_went_back(stamp_ns)
        self._rate.reset()
        if self._mapper:
            self._mapper.reset()
            self._publish_grid(self._mapper, stamp_ns)

    def _fuse(self, view: View) -> Fused:
        mapper, pose = self._mapper_for(view.source, view.table), view.pose
        proved = mapper.update(
            view.mask,
            view.confidence,
            view.camera,
            pose.world_from_optical,
            pose.world_from_base,
            view.stamp_ns / 1e9,
            view.source,
            view.depth,
        )
        updated = time.perf_counter()
        self._cameras[view.source].fused(proved)
        newest = view.stamp_ns >= self._fused_ns
        self._fused_ns = max(self._fused_ns, view.stamp_ns)
        self._fused.arrived(self._fused_ns, self._now_ns())
        self._knows_anything = True
        self._from_origin_m = float(np.abs(pose.world_from_base[:2, 3]).max())
        if self._rate.is_due(self._fused_ns / 1e9, self._values.publish_rate):
            self._publish_news()
        elif newest or self._held_back_timer.is_canceled():  # older masks alone, as of another camera, are never due
            self._held_back_timer.reset()
        assert mapper.view
        ground = self._outputs.ground[view.source]
        ground.publish(view.camera, mapper.view, self._values.max_range, view.stamp_ns, view.optical_frame)
        self._log_changes(mapper)
        return Fused(updated, time.perf_counter())

    def _publish_news(self) -> None:
        """What has been fused; also a period after the last mask if that one was not due: nothing is kept back."""
        self._held_back_timer.cancel()
        assert self._mapper
        self._publish_grid(self._mapper, self._fused_ns)
        # Whoever watches the cloud, as Nav2 does, is to learn that the robot is blind on one side.
        if all(camera.delivers for camera in self._cameras.values()):
            self._outputs.publish_obstacles(self._mapper, self._fused_ns)

    def _publish_grid(self, mapper: GridMapper, stamp_ns: int) -> None:
        self._knows_anything = self._outputs.publish_grid(mapper, stamp_ns, self._values.trinary)
        if self._values.publish_classes:
            self._outputs.publish_classes(mapper, stamp_ns)

    def _mapper_for(self, source: str, table: ClassTable) -> GridMapper:
        """The mapper with the class table of a view: cameras may run different models, and change them.

        Then the grid begins anew: where the middleware does not tell publishers apart, masks of the new model may have
        been read with the table of the old one.
        """
        if self._mapper is None:
            self._mapper = GridMapper(table, self._values.mapper_config())
            self._mapper.keeps_classes = self._values.publish_classes
        elif self._tables.get(source, table) != table:
            self._mapper.reset()
        self._mapper.table = self._tables[source] = table
        return self._mapper

    def _log_changes(self, mapper: GridMapper) -> None:
        if self._jumps != mapper.jumps:
            self._jumps, self._jumped_at = mapper.jumps, time.monotonic()
            self._node.get_logger().warning(f"{self._values.base_frame} has jumped in the world: the grid starts anew")
        if self._pose_name != self._poses.name:
            self._pose_name = self._poses.name
            self._node.get_logger().info(f"poses from {self._pose_name}")

    def _age(self) -> None:
        """While no mask is fused, publish the grid as it fades, until all of it is unknown."""
        now_ns = self._now_ns()
        if self._mapper and self._knows_anything and self._fused.silence_s(now_ns) >= _AGEING_PERIOD_S:
            self._publish_grid(self._mapper, self._fused.stamp_ns(now_ns))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
