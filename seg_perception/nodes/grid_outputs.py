"""What the grid_mapper node publishes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from seg_perception.core.camera import Camera
from seg_perception.core.grid import FREE_BELOW, OCCUPIED_FROM, UNKNOWN
from seg_perception.core.ground import Viewpoint
from seg_perception.core.ground_cloud import GroundCloud
from seg_perception.core.mapping import GridMapper
from seg_perception.nodes.grid_camera_parameters import camera_topic
from seg_perception.nodes.lifecycle import PipelineNode
from seg_perception.ros.conversions import (
    grid_to_msg,
    labelled_points_to_cloud,
    points_to_cloud,
    stamp_from_ns,
)
from seg_perception.ros.qos import latched, stream_output


class GridOutputs:
    """Publishes `occupancy_grid`, `obstacles`, `class_grid` in the world frame; `segmentation/points` of every camera.

    class_grid is a cloud of the known cells' centres: in RViz it lies in the world and has the classes' colours, and
    the ids are there for others. An OccupancyGrid of ids would have its colours from RViz's fixed schemes; an Image of
    colours would have no place in the world.
    """

    def __init__(self, node: PipelineNode[Any], world_frame: str, cameras: Iterable[str]) -> None:
        self._world_frame = world_frame
        self._grid = node.advertise(OccupancyGrid, "occupancy_grid", latched())
        self._obstacles = node.advertise(PointCloud2, "obstacles", stream_output())
        self._classes = node.advertise(PointCloud2, "class_grid", stream_output())
        self.ground = {name: GroundOutput(node, camera_topic(name, "segmentation/points")) for name in cameras}

    def publish_grid(self, mapper: GridMapper, stamp_ns: int, trinary: bool) -> bool:
        """The grid as it is at a stamp; whether it knows anything. trinary: without costs and doubtful cells."""
        spec, cells = mapper.occupancy(stamp_ns / 1e9)
        cells = _trinary(cells) if trinary else cells
        self._grid.publish(grid_to_msg(spec, cells, _header(stamp_ns, self._world_frame)))
        return bool((cells != UNKNOWN).any())

    def publish_obstacles(self, mapper: GridMapper, stamp_ns: int) -> None:
        """The occupied cells as points on the ground."""
        points = mapper.obstacle_points(stamp_ns / 1e9)
        self._obstacles.publish(points_to_cloud(points, _header(stamp_ns, self._world_frame)))

    def publish_classes(self, mapper: GridMapper, stamp_ns: int) -> None:
        """What was seen in the known cells, on the ground; only when someone subscribes."""
        if self._classes.get_subscription_count():
            centres, ids, colors = mapper.class_cells(stamp_ns / 1e9)
            header = _header(stamp_ns, self._world_frame)
            self._classes.publish(labelled_points_to_cloud(centres, colors, ids, header))


class GroundOutput:
    """Publishes the ground that a camera sees as an organised cloud in its optical frame."""

    def __init__(self, node: PipelineNode[Any], topic: str) -> None:
        self._publisher = node.advertise(PointCloud2, topic, stream_output())
        self._cloud: GroundCloud | None = None

    def publish(self, camera: Camera, view: Viewpoint, max_range: float, stamp_ns: int, frame: str) -> None:
        """One point per mask pixel, NaN where it shows no ground; only when someone subscribes."""
        if not self._publisher.get_subscription_count():
            return
        if self._cloud is None or not self._cloud.camera.same_as(camera):
            self._cloud = GroundCloud(camera)
        self._publisher.publish(points_to_cloud(self._cloud.points(view, max_range), _header(stamp_ns, frame)))


def _header(stamp_ns: int, frame: str) -> Header:
    return Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame)


def _trinary(cells: NDArray[np.int8]) -> NDArray[np.int8]:
    free = (cells != UNKNOWN) & (cells < FREE_BELOW)
    return np.select([free, cells >= OCCUPIED_FROM], [np.int8(0), np.int8(100)], np.int8(UNKNOWN))
