"""Rough ground: where the grid takes the ground for flat and it is not, does it know that it does not know?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import radians
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable, Kind
from seg_perception.core.errors import DataError
from seg_perception.core.grid import OCCUPIED_FROM, GridSpec
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper
from seg_perception.core.pictures import require_picture
from seg_perception.core.pose import Transform

STATED = ((0.2, 2.0), (0.5, 2.0), (1.0, 2.0), (2.0, 2.0), (0.2, 0.5), (0.5, 0.5), (1.0, 0.5))
"""What the mapper is told: error of pitch in degrees, and `max_range_error`, m."""

_KINDS = {
    "ignore": {0: "void"},
    "sky": {7: "sky"},
    "ground": {1: "dirt", 3: "grass", 10: "asphalt", 23: "concrete", 31: "puddle", 33: "mud"},
    "obstacle": {
        4: "tree",
        5: "pole",
        6: "water",
        8: "vehicle",
        9: "object",
        12: "building",
        15: "log",
        17: "person",
        18: "fence",
        19: "bush",
        27: "barrier",
        34: "rubble",
    },
}
TABLE = ClassTable.from_dicts(
    {"id": id_, "name": name, "color": [0, 0, 0], "cost": 100 if kind == "obstacle" else 0, "kind": kind}
    for kind, names in _KINDS.items()
    for id_, name in names.items()
)
"""The classes of RELLIS-3D."""

_PLANE_M = 1.0, 8.0


@dataclass(frozen=True, eq=False)
class Ground:
    """Points of the true ground that the camera sees. The world is the plane on which the vehicle stands.

    camera, world_from_optical, image (H, W, 3) uint8 BGR, mask (H, W) uint8 RELLIS ids: the view.
    points: (N, 3) m in the world. placed: (N, 2) m, where they come to lie if the ground is taken for that plane.
    """

    camera: Camera
    world_from_optical: Transform
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    points: NDArray[np.float64]
    placed: NDArray[np.float64]

    @property
    def displacement(self) -> NDArray[np.float64]:
        """(N,) m between the true and the assumed place."""
        return np.hypot(*(self.placed - self.points[:, :2]).T)

    @property
    def distance(self) -> NDArray[np.float64]:
        """(N,) m from the point below the camera, in truth."""
        return np.hypot(*(self.points[:, :2] - self.world_from_optical[:2, 3]).T)


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells that hold ground points. displacement: (K,) m, the median of their points. values: (K,) of the grid."""

    displacement: NDArray[np.float64]
    values: NDArray[np.int8]


def read_ground(folder: Path) -> Ground:
    """The labelled image and scan of a RELLIS-3D frame. Raises DataError."""
    try:
        points = np.fromfile(folder / "lidar.bin", np.float32).reshape(-1, 4)[:, :3].astype(np.float64)
        classes = np.fromfile(folder / "lidar.label", np.uint32)
        fx, fy, cx, cy = (float(word) for word in (folder / "camera_info.txt").read_text(encoding="utf-8").split())
        optical_from_lidar = _optical_from_lidar(folder / "transforms.yaml")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a readable RELLIS-3D frame ({error})") from error
    mask = require_picture(folder / "labels.png", cv2.IMREAD_GRAYSCALE)
    image = require_picture(folder / "image.jpg")
    camera = Camera(mask.shape[1], mask.shape[0], np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))
    is_ground = TABLE.kinds[classes.clip(max=255)] == Kind.GROUND
    ground = points[is_ground & (np.abs(points).max(axis=1) > 0)]
    world_from_lidar = _standing_on(ground, optical_from_lidar)
    world_from_optical = world_from_lidar @ pose.inverse(optical_from_lidar)
    seen = pose.apply(world_from_lidar, ground[_shown_as_ground(ground, optical_from_lidar, camera, mask)])
    foot, height = world_from_optical[:2, 3], world_from_optical[2, 3]
    seen = seen[seen[:, 2] < 0.9 * height]
    placed = foot + (seen[:, :2] - foot) * (height / (height - seen[:, 2]))[:, None]
    return Ground(camera, world_from_optical, image, mask, seen, placed)


def map_ground(ground: Ground, config: MapperConfig) -> tuple[GridSpec, NDArray[np.int8]]:
    """The grid of the labelled image."""
    mapper = GridMapper(TABLE, config)
    full = np.full_like(ground.mask, 255)
    mapper.update(ground.mask, full, ground.camera, ground.world_from_optical, np.eye(4), 0.0)
    return mapper.occupancy(0.0)


def cells_of(ground: Ground, spec: GridSpec, occupancy: NDArray[np.int8], max_range: float) -> Cells:
    """The cells in which the ground points come to lie, within range of the camera."""
    near = np.hypot(*(ground.placed - ground.world_from_optical[:2, 3]).T) <= max_range
    rows, columns, inside = spec.cells_of(ground.placed[near])
    index, displacement = rows * spec.width + columns, ground.displacement[near][inside]
    order = np.argsort(index)
    cells, starts = np.unique(index[order], return_index=True)
    medians = [np.median(group) for group in np.split(displacement[order], starts[1:])]
    return Cells(np.array(medians), occupancy.ravel()[cells])


def score_ground(ground: Ground, config: MapperConfig) -> dict[str, Any]:
    """What the grid says of the cells into which ground points come to lie, for every pair of `STATED`.

    right: these points truly lie within a cell's size of there. off_by_a_cell: they do not. off_beyond_limit: they are
    off by more than the stated `max_range_error`.
    """
    slope = np.degrees(np.abs(ground.points[:, 2]) / ground.distance)
    stated = []
    for pitch, limit in STATED:
        used = replace(config, pitch_error=radians(pitch), max_range_error=limit)
        cells = cells_of(ground, *map_ground(ground, used), config.max_range)
        off = cells.displacement > config.resolution
        entry = {"pitch_error_deg": pitch, "max_range_error_m": limit, "right": _answers(cells.values[~off])}
        entry |= {"off_by_a_cell": _answers(cells.values[off])}
        stated.append(entry | {"off_beyond_limit": _answers(cells.values[cells.displacement > limit])})
    return {
        "camera_height_m": round(float(ground.world_from_optical[2, 3]), 3),
        "ground_points": len(ground.points),
        "pitch_error_of_the_ground_deg": {f"p{p}": round(float(np.percentile(slope, p)), 2) for p in (50, 90, 99)},
        "share_of_cells_off": round(float(off.mean()), 4),
        "stated": stated,
    }


def _answers(values: NDArray[np.int8]) -> dict[str, float | int | None]:
    known = values >= 0
    occupied = values >= OCCUPIED_FROM
    counts = {"free": known & ~occupied, "occupied": occupied, "unknown": ~known}
    shares = {name: round(float(chosen.mean()), 4) if len(values) else None for name, chosen in counts.items()}
    return {"cells": len(values), **shares}


def _optical_from_lidar(path: Path) -> Transform:
    (entry,) = yaml.safe_load(path.read_text(encoding="utf-8")).values()
    translation, rotation = ([entry[part][axis] for axis in axes] for part, axes in (("t", "xyz"), ("q", "xyzw")))
    return pose.inverse(pose.from_quaternion(translation, rotation))


def _standing_on(ground: NDArray[np.float64], optical_from_lidar: Transform) -> Transform:
    """world_from_lidar: z = 0 is the plane through the ground around the vehicle, x where the camera looks."""
    distance = np.hypot(ground[:, 0], ground[:, 1])
    around = ground[(distance > _PLANE_M[0]) & (distance < _PLANE_M[1])]
    if len(around) < 100:
        raise DataError("RELLIS-3D scan: too little labelled ground around the vehicle to say on what it stands")
    slope_x, slope_y, offset = np.linalg.lstsq(
        np.column_stack([around[:, :2], np.ones(len(around))]), around[:, 2], rcond=None
    )[0]
    up = _unit(np.array([-slope_x, -slope_y, 1.0]))
    axis = optical_from_lidar[2, :3]
    ahead = _unit(axis - (axis @ up) * up)
    world_from_lidar = np.eye(4)
    world_from_lidar[:3, :3] = [ahead, np.cross(up, ahead), up]
    world_from_lidar[2, 3] = -up @ np.array([0.0, 0.0, offset])
    return world_from_lidar


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def _shown_as_ground(
    points: NDArray[np.float64], optical_from_lidar: Transform, camera: Camera, mask: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """(N,) bool: the camera shows the point, and the image's label there is ground too."""
    pixels, seen = camera.project(pose.apply(optical_from_lidar, points))
    column, row = np.rint(np.nan_to_num(pixels, nan=-1.0)).clip(-1, 1e6).astype(int).T
    inside = seen & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    shown = np.zeros(len(points), np.bool_)
    shown[inside] = TABLE.kinds[mask[row[inside], column[inside]]] == Kind.GROUND
    return shown
