"""The true state of the ground, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.grid import GridSpec
from seg_perception.simulation.labels import GROUND, Label
from seg_perception.simulation.scene import Scene
from seg_perception.simulation.view import View

Bools = NDArray[np.bool_]
_FOOT_HEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class GridTruth:
    """Arrays of shape (height, width) over a `GridSpec`.

    occupied: the cell overlaps something that stands between 0.1 m and 2.0 m above it (a canopy further up does not).
    free: the whole cell is road or pavement, and nothing of that kind overlaps it. Grass is neither.
    visible: within range of the camera, and in view of it: for a cell that is not occupied, its centre on the ground is
    inside the image and the sightline to it is not blocked; for an occupied one, a pixel shows an obstacle in that cell
    at less than 0.5 m height (the foot is in view).
    """

    occupied: Bools
    free: Bools
    visible: Bools


@dataclass(frozen=True, eq=False)
class Sight:
    """What a camera saw at time t (s): labels and depth (H, W) as in `SimFrame`."""

    view: View
    world_from_optical: pose.Transform
    t: float
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]


def grid_truth(scene: Scene, sight: Sight, spec: GridSpec, max_range: float) -> GridTruth:
    """Truth for what a camera saw; `max_range` in m along the ground from the camera."""
    camera_x, camera_y = sight.world_from_optical[:2, 3]
    moment = scene.moment(sight.t, camera_x, camera_y)
    solids = scene.world.statics if moment is None else [*scene.world.statics, *moment.solids]
    occupied = rasterise((footprint for solid in solids for footprint in solid.footprints), spec)
    x, y = spec.centres()
    in_range = np.hypot(x[None, :] - camera_x, y[:, None] - camera_y) <= max_range
    visible = _feet(sight, spec) & occupied
    visible |= _sightlines(scene, sight, spec, in_range & ~occupied)
    return GridTruth(occupied, _clear_ground(scene, spec) & ~occupied, visible & in_range)


def rasterise(polygons: Iterable[NDArray[np.float64]], spec: GridSpec) -> Bools:
    """Cells that overlap any of the convex polygons ((K, 2), world, m)."""
    covered = np.zeros((spec.height, spec.width), bool)
    origin, limits = np.array([spec.origin_x, spec.origin_y]), np.array([spec.width, spec.height])
    for polygon in polygons:
        points = (polygon - origin) / spec.resolution
        low = np.maximum(np.floor(points.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(points.max(axis=0)), limits).astype(int)
        if (low < high).all():
            covered[low[1] : high[1], low[0] : high[0]] |= _overlap(points, low, high)
    return covered


def _overlap(points: NDArray[np.float64], low: NDArray[np.int_], high: NDArray[np.int_]) -> Bools:
    """Separating axes: a unit cell misses a convex polygon only if it lies wholly outside one of its edges."""
    edges = np.roll(points, -1, axis=0) - points
    outward = np.column_stack([edges[:, 1], -edges[:, 0]])
    centre = points.mean(axis=0)
    outward *= np.sign(((points - centre) * outward).sum(axis=1))[:, None]
    column, row = np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5
    nearest = 0.5 * np.abs(outward).sum(axis=1) + (points * outward).sum(axis=1)
    outside = outward[:, 0, None, None] * column + outward[:, 1, None, None] * row[:, None] >= nearest[:, None, None]
    return ~outside.any(axis=0)


def _sightlines(scene: Scene, sight: Sight, spec: GridSpec, wanted: Bools) -> Bools:
    """Wanted cells whose centre on the ground is inside the image and not hidden."""
    x, y = spec.centres()
    rows, columns = np.nonzero(wanted)
    targets = np.column_stack([x[columns], y[rows], np.zeros(len(rows))])
    pixels, in_front = sight.view.camera.project(pose.apply(pose.inverse(sight.world_from_optical), targets))
    size = np.array([sight.view.camera.width, sight.view.camera.height])
    with np.errstate(invalid="ignore"):
        inside = in_front & ((pixels >= -0.5) & (pixels < size - 0.5)).all(axis=1)
    candidates = np.flatnonzero(inside)
    origin = sight.world_from_optical[:3, 3]
    moment = scene.moment(sight.t, origin[0], origin[1])
    lines = (targets[candidates] - origin).astype(np.float32)
    clear = ~scene.blocked(moment, origin.astype(np.float32), lines, 0.9999)
    seen = np.zeros((spec.height, spec.width), bool)
    seen[rows[candidates[clear]], columns[candidates[clear]]] = True
    return seen


def _feet(sight: Sight, spec: GridSpec) -> Bools:
    """Cells in which a pixel shows an obstacle below _FOOT_HEIGHT."""
    obstacle = np.flatnonzero(~np.isin(sight.labels.ravel(), (*GROUND, Label.VOID, Label.SKY)))
    # One centimetre into the surface, so that a face on the border of two cells counts for the one behind it.
    reach = sight.depth.ravel()[obstacle, None] + 0.01
    points = pose.apply(sight.world_from_optical, sight.view.rays[obstacle] * reach)
    points = points[points[:, 2] < _FOOT_HEIGHT]
    rows, columns, _ = spec.cells_of(points)
    seen = np.zeros((spec.height, spec.width), bool)
    seen[rows, columns] = True
    return seen


def _clear_ground(scene: Scene, spec: GridSpec) -> Bools:
    """Cells whose four corners are on ground of a ground class."""
    x = spec.origin_x + np.arange(spec.width + 1, dtype=np.float64) * spec.resolution
    y = spec.origin_y + np.arange(spec.height + 1, dtype=np.float64) * spec.resolution
    corner = np.isin(scene.ground_labels(x, y), GROUND)
    return corner[:-1, :-1] & corner[1:, :-1] & corner[:-1, 1:] & corner[1:, 1:]
