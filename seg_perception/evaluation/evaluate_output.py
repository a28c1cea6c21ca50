"""The bag that an evaluation writes: what the live nodes would have published, at the stamps of the images."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.grid import GridSpec
from seg_perception.evaluation.bag_writer import BagWriter
from seg_perception.evaluation.evaluate_frame import Frame

_NS = 1_000_000_000
_TOPICS = {
    "mask": "sensor_msgs/msg/Image",
    "confidence": "sensor_msgs/msg/Image",
    "overlay/compressed": "sensor_msgs/msg/CompressedImage",
    "camera_info": "sensor_msgs/msg/CameraInfo",
}
_JPEG_QUALITY = 85
GRID = "/occupancy_grid"
OUTPUT_BAG = "bag"
"""Name of its folder."""

_GRID_TYPE, _CLASSES_TYPE = "nav_msgs/msg/OccupancyGrid", "seg_perception/msg/SegmentationClasses"


class OutputBag:
    """An mcap bag, compressed with zstd; masks, confidences and grids in it are what was scored, byte for byte."""

    def __init__(self, path: Path, cameras: Collection[str], table: ClassTable, model: str, world_frame: str) -> None:
        self._writer = BagWriter(path, compressed=True)
        self._table = table
        self._model = model
        self._world_frame = world_frame
        for camera in cameras:
            for name, kind in _TOPICS.items():
                self._writer.add_topic(topic(camera, name), kind)
            self._writer.add_topic(topic(camera, "classes"), _CLASSES_TYPE, latched=True)
        self._writer.add_topic(GRID, _GRID_TYPE, latched=True)
        self._types = self._writer.types
        self._told: set[str] = set()

    def write(self, frame: Frame) -> None:
        """Everything that a frame has."""
        if frame.segmentation is None or frame.picture is None:
            return
        header, mask = self._header(frame.stamp_ns, frame.frame_id), frame.segmentation.mask
        if frame.camera not in self._told:
            self._told.add(frame.camera)
            self._put(frame, "classes", self._classes(header))
        if frame.view:
            self._put(frame, "camera_info", self._camera_info(header, frame.view))
        self._put(frame, "confidence", self._image(header, frame.segmentation.confidence))
        self._put(frame, "mask", self._image(header, mask))
        overlay = self._table.overlay(frame.picture, mask)
        _, data = cv2.imencode(".jpg", overlay, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
        self._put(
            frame, "overlay/compressed", self._new("sensor_msgs/msg/CompressedImage", header, "jpeg", data.ravel())
        )
        if frame.grid:
            grid = self._grid(self._header(frame.stamp_ns, self._world_frame), *frame.grid)
            self._writer.write_message(GRID, frame.received_ns, grid)

    def close(self) -> None:
        """Make it readable."""
        self._writer.close()

    def _put(self, frame: Frame, name: str, message: Any) -> None:
        self._writer.write_message(topic(frame.camera, name), frame.received_ns, message)

    def _new(self, kind: str, *fields: Any) -> Any:
        return self._types[kind](*fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        return self._new(
            "std_msgs/msg/Header", self._new("builtin_interfaces/msg/Time", *divmod(stamp_ns, _NS)), frame_id
        )

    def _image(self, header: Any, plane: NDArray[np.uint8]) -> Any:
        height, width = plane.shape
        return self._new("sensor_msgs/msg/Image", header, height, width, "mono8", 0, width, plane.ravel())

    def _camera_info(self, header: Any, camera: Camera) -> Any:
        roi = self._new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        projection = np.hstack([camera.matrix, np.zeros((3, 1))])
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header,
            camera.height,
            camera.width,
            camera.model,
            camera.distortion,
            camera.matrix.ravel(),
            np.eye(3).ravel(),
            projection.ravel(),
            0,
            0,
            roi,
        )

    def _classes(self, header: Any) -> Any:
        kind = self._types["seg_perception/msg/SegmentationClass"]
        classes = [
            kind(id=c.id, name=c.name, r=c.color[0], g=c.color[1], b=c.color[2], cost=c.cost, kind=int(c.kind))
            for c in self._table.classes
        ]
        return self._types[_CLASSES_TYPE](header=header, model=self._model, classes=classes)

    def _grid(self, header: Any, spec: GridSpec, cells: NDArray[np.int8]) -> Any:
        position = self._new("geometry_msgs/msg/Point", spec.origin_x, spec.origin_y, 0.0)
        origin = self._new(
            "geometry_msgs/msg/Pose", position, self._new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0)
        )
        info = self._new("nav_msgs/msg/MapMetaData", header.stamp, spec.resolution, spec.width, spec.height, origin)
        return self._new(_GRID_TYPE, header, info, cells.ravel())


def topic(camera: str, name: str) -> str:
    """As the nodes name it: /front/segmentation/mask, or /segmentation/mask of the only camera."""
    return f"/{camera}/segmentation/{name}" if camera else f"/segmentation/{name}"
