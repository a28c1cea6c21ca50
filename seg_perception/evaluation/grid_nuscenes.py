"""Six real cameras in one grid, against annotated boxes and lidar."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.grid import FREE_BELOW, OCCUPIED_FROM, GridSpec
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper
from seg_perception.core.pose import Transform
from seg_perception.engines.base import Engine
from seg_perception.evaluation.bag_material import BagMaterial, camera_topics
from seg_perception.evaluation.bags import open_bag
from seg_perception.evaluation.material import decode

RANGE_M = 20.0
"""Boxes and free cells are scored within this distance of base_link."""

BAG = "bag_mcap"
_GROUND_M = 0.2
_STANDING_M = 0.4, 2.0
_NEAR_M = 0.1
_SKY, _ROAD, _OBSTACLE = 0, 1, 2
BOX_TABLE = ClassTable.from_dicts(
    [
        {"id": _SKY, "name": "sky", "color": [128, 180, 235], "cost": 0, "kind": "sky"},
        {"id": _ROAD, "name": "road", "color": [128, 64, 128], "cost": 0, "kind": "ground"},
        {"id": _OBSTACLE, "name": "box", "color": [40, 60, 200], "cost": 100, "kind": "obstacle"},
    ]
)
"""Classes of the masks that are drawn from the boxes."""

_CUBE = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))


@dataclass(frozen=True, eq=False)
class Box:
    """An annotated object. corners: (8, 3) m in base_link. lidar_points: how many returns of the lidar lie in it."""

    label: str
    corners: NDArray[np.float64]
    lidar_points: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Box:
        """From label, center and size_lwh (m), yaw (rad) and lidar_points."""
        placed = pose.from_rpy(entry["center"], 0.0, 0.0, entry["yaw"])
        corners = pose.apply(placed, _CUBE * entry["size_lwh"])
        return cls(entry["label"], corners, int(entry["lidar_points"]))

    @property
    def distance(self) -> float:
        """Of its centre from base_link's origin along the ground, m."""
        return float(np.hypot(*self.corners[:, :2].mean(axis=0)))

    @property
    def outline(self) -> NDArray[np.float64]:
        """(4, 2) m: corners of its footprint, in order."""
        return self.corners[[0, 2, 6, 4], :2]


@dataclass(frozen=True, eq=False)
class Shot:
    """One camera's image, (H, W, 3) uint8 BGR, and where it was taken from."""

    name: str
    image: NDArray[np.uint8]
    camera: Camera
    base_from_optical: Transform


@dataclass(frozen=True, eq=False)
class Sample:
    """One moment of a drive. lidar: (N, 3) m in base_link."""

    shots: list[Shot]
    boxes: list[Box]
    lidar: NDArray[np.float32]


Segment = Callable[[Shot], tuple[NDArray[np.uint8], NDArray[np.uint8], Camera]]
"""Mask, confidence (H, W) uint8 and the camera at their size."""


def read_sample(folder: Path) -> Sample:
    """Raises DataError when something of it is missing or damaged."""
    bag_path = folder / BAG
    with open_bag(bag_path) as bag:
        topics = camera_topics(bag.topics, bag_path)
    try:
        lidar = np.load(folder / "lidar_base_link.npy")
        boxes = [Box.of(entry) for entry in json.loads((folder / "boxes_base_link.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: boxes or lidar cannot be read ({error})") from error
    return Sample([_shot(bag_path, topic) for topic in topics], boxes, lidar)


def box_masks(boxes: list[Box]) -> Segment:
    """Masks in which the boxes stand on an endless road that ends at the horizon."""

    def segment(shot: Shot) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Camera]:
        rays = shot.camera.pixel_rays
        down = rays @ shot.base_from_optical[2, :3].astype(np.float32)
        mask = np.where(down < 0, _ROAD, _SKY).astype(np.uint8)
        for box in boxes:
            _draw(mask, box, shot)
        return mask, np.full_like(mask, 255), shot.camera

    return segment


def engine_masks(engine: Engine) -> Segment:
    """Masks of a model."""

    def segment(shot: Shot) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Camera]:
        seen = engine.infer(shot.image)
        return seen.mask, seen.confidence, engine.resize.camera(shot.camera)

    return segment


def map_sample(
    sample: Sample, segment: Segment, table: ClassTable, config: MapperConfig
) -> tuple[GridSpec, NDArray[np.int8]]:
    """One grid of all cameras; base_link is the world."""
    mapper = GridMapper(table, config)
    for shot in sample.shots:
        mask, confidence, camera = segment(shot)
        mapper.update(mask, confidence, camera, shot.base_from_optical, np.eye(4), 0.0, source=shot.name)
    return mapper.occupancy(0.0)


def score_sample(sample: Sample, spec: GridSpec, occupancy: NDArray[np.int8]) -> dict[str, Any]:
    """box_recall: share of the boxes within 20 m that touch an occupied cell or its neighbour.

    missed: the other boxes, with the height of their lower edge over base_link's plane. free_not_occupied,
    free_called_free: shares of the lidar-proved free cells.
    """
    occupied = occupancy >= OCCUPIED_FROM
    near = [box for box in sample.boxes if box.distance <= RANGE_M]
    grown = cv2.dilate(occupied.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_)
    missed = [box for box in near if not (grown & footprint(box, spec)).any()]
    free = lidar_free(sample, spec)
    return {
        "boxes": len(near),
        "box_recall": round(1 - len(missed) / len(near), 4) if near else None,
        "missed": [
            {
                "label": box.label,
                "distance_m": round(box.distance, 1),
                "bottom_m": round(float(box.corners[:, 2].min()), 2),
                "lidar_points": box.lidar_points,
            }
            for box in sorted(missed, key=lambda box: box.distance)
        ],
        "lidar_free_cells": int(free.sum()),
        "free_not_occupied": _share(free & ~occupied, free),
        "free_called_free": _share(free & (occupancy >= 0) & (occupancy < FREE_BELOW), free),
    }


def lidar_free(sample: Sample, spec: GridSpec) -> NDArray[np.bool_]:
    """(h, w) bool: cells within range with returns from the ground, none from above it, and no box."""
    height = sample.lidar[:, 2]
    on_ground = _hit(sample.lidar[np.abs(height) < _GROUND_M], spec)
    standing = _hit(sample.lidar[(height > _STANDING_M[0]) & (height < _STANDING_M[1])], spec)
    x, y = spec.centres()
    free = on_ground & ~standing & (np.hypot(x[None, :], y[:, None]) <= RANGE_M)
    for box in sample.boxes:
        free &= ~footprint(box, spec)
    return free


def footprint(box: Box, spec: GridSpec) -> NDArray[np.bool_]:
    """(h, w) bool: cells that a box stands in."""
    cells = np.zeros((spec.height, spec.width), np.uint8)
    corners = (box.outline - (spec.origin_x, spec.origin_y)) / spec.resolution - 0.5
    cv2.fillConvexPoly(cells, np.rint(corners).astype(np.int32), 1)
    return cells.view(np.bool_)


def _hit(points: NDArray[np.float32], spec: GridSpec) -> NDArray[np.bool_]:
    hit = np.zeros((spec.height, spec.width), np.bool_)
    rows, columns, _ = spec.cells_of(points)
    hit[rows, columns] = True
    return hit


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    return round(float(part.sum() / whole.sum()), 4) if whole.any() else None


def _draw(mask: NDArray[np.uint8], box: Box, shot: Shot) -> None:
    corners = pose.apply(pose.inverse(shot.base_from_optical), box.corners)
    for face in _FACES:
        visible = _in_front(corners[list(face)])
        if len(visible) >= 3:
            pixels, _ = shot.camera.project(visible)
            cv2.fillConvexPoly(mask, np.rint(pixels.clip(-1e5, 1e5)).astype(np.int32), _OBSTACLE)


def _in_front(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a polygon, (K, 3) optical-frame points, that lies in front of the camera."""
    kept: list[NDArray[np.float64]] = []
    for here, there in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if here[2] >= _NEAR_M:
            kept.append(here)
        if (here[2] >= _NEAR_M) != (there[2] >= _NEAR_M):
            kept.append(here + (there - here) * (_NEAR_M - here[2]) / (there[2] - here[2]))
    return np.array(kept).reshape(-1, 3)


def _shot(bag_path: Path, topic: str) -> Shot:
    material = BagMaterial(bag_path, topic)
    frame = next(iter(material), None)
    image = None if frame is None else decode(frame.image)
    if frame is None or image is None or frame.camera is None or material.mount is None:
        raise DataError(f"{bag_path}: {topic} lacks a readable image, a calibration or its place in /tf_static")
    return Shot(topic.split("/")[1], image, frame.camera, material.mount.base_from_optical)
