"""What of the ground a camera can see, by its field of view and by what stands in between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.grid import GridSpec
from seg_perception.core.poses import CameraPose

_EDGE_SAMPLES = 33
_STEPS_PER_CELL = 2.0
_CAMERAS = 8

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Sight:
    """A field of view on flat ground: bearings (rad, rising) and the nearest ground in them (m), from x, y (m)."""

    x: float
    y: float
    bearings: NDArray[np.float64]
    nearest: NDArray[np.float64]
    farthest: float

    @classmethod
    def of(cls, camera: Camera, pose: CameraPose, farthest: float) -> Sight:
        """farthest: m, along the ground."""
        eye, rotation = pose.world_from_optical[:3, 3], pose.world_from_optical[:3, :3]
        middle, bottom = (rays @ rotation.T for rays in _middle_and_bottom(camera))
        bearings = np.unwrap(np.arctan2(middle[:, 1], middle[:, 0]))
        height = float(eye[2]) - pose.ground_z
        with np.errstate(divide="ignore", invalid="ignore"):
            nearest = np.where(bottom[:, 2] < 0, height * np.hypot(bottom[:, 0], bottom[:, 1]) / -bottom[:, 2], np.inf)
        order = np.argsort(bearings)
        return cls(float(eye[0]), float(eye[1]), bearings[order], nearest[order], farthest)

    def distance(self, x: Floats, y: Floats) -> NDArray[np.float64]:
        """From the point below the camera, m."""
        return np.hypot(x - self.x, y - self.y).astype(np.float64)

    def contains(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Whether points of the ground, world x and y in m, lie in the field of view, whatever stands before them."""
        middle = (self.bearings[0] + self.bearings[-1]) / 2
        bearing = middle + (np.arctan2(y - self.y, x - self.x) - middle + np.pi) % (2 * np.pi) - np.pi
        distance = self.distance(x, y)
        inside = (bearing >= self.bearings[0]) & (bearing <= self.bearings[-1])
        near_enough = (distance <= self.farthest) & (distance >= np.interp(bearing, self.bearings, self.nearest))
        return np.asarray(inside & near_enough, np.bool_)

    def visible(self, spec: GridSpec, occupied: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(h, w) bool: cells in the field of view with no occupied cell before them. occupied: (h, w) bool."""
        step = spec.resolution / _STEPS_PER_CELL
        reach = np.arange(step, self.farthest + step, step)
        span = float(self.bearings[-1] - self.bearings[0])
        bearings = np.linspace(self.bearings[0], self.bearings[-1], max(2, int(span * self.farthest / step)))
        column = (self.x - spec.origin_x + np.cos(bearings)[:, None] * reach[None, :]) / spec.resolution
        row = (self.y - spec.origin_y + np.sin(bearings)[:, None] * reach[None, :]) / spec.resolution
        inside = (row >= 0) & (row < spec.height) & (column >= 0) & (column < spec.width)
        cells = np.where(inside, row.astype(np.intp) * spec.width + column.astype(np.intp), 0)
        standing = occupied.ravel()[cells] & inside
        before = np.zeros_like(standing)
        np.logical_or.accumulate(standing[:, :-1], axis=1, out=before[:, 1:])
        # The first occupied cell is seen, over its whole depth.
        first = np.argmax(standing, axis=1)
        rows = np.arange(len(cells))
        before &= cells != cells[rows, first][:, None]
        lit = inside & ~before & (reach[None, :] >= np.interp(bearings, self.bearings, self.nearest)[:, None])
        result = np.zeros(spec.height * spec.width, np.bool_)
        result[cells[lit]] = True
        return result.reshape(spec.height, spec.width)


@lru_cache(_CAMERAS)
def _middle_and_bottom(camera: Camera) -> tuple[NDArray[np.float64], ...]:
    """(N, 3) directions along the middle and the bottom of the image each."""
    u = np.linspace(-0.5, camera.width - 0.5, _EDGE_SAMPLES)
    rows = (camera.height - 1) / 2, camera.height - 0.5
    return tuple(camera.rays_or_rim(np.stack([u, np.full_like(u, v)], axis=1)) for v in rows)


class SeenCells:
    """Which cells of a rolling grid were visible at any time since they came into it."""

    def __init__(self) -> None:
        self._seen: NDArray[np.bool_] | None = None
        self._corner = (0, 0)

    def update(self, spec: GridSpec, visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Add what is visible now, (h, w) bool; returns (h, w) bool: now or before."""
        corner = round(spec.origin_y / spec.resolution), round(spec.origin_x / spec.resolution)
        seen = visible.copy()
        if self._seen is not None and self._seen.shape == visible.shape:
            now, before = overlap(self._corner, corner, visible.shape)
            seen[now] |= self._seen[before]
        self._seen, self._corner = seen, corner
        return seen.copy()


def overlap(
    before: tuple[int, int], now: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The common part of two windows of one size, as (rows, columns) of the one now and of the one before.

    before, now: (row, column) of their first cells in the world.
    """
    ours, theirs = [], []
    for start, end, size in zip(before, now, shape, strict=False):
        shift = min(max(end - start, -size), size)
        ours.append(slice(max(0, -shift), size - max(0, shift)))
        theirs.append(slice(max(0, shift), size - max(0, -shift)))
    return (ours[0], ours[1]), (theirs[0], theirs[1])
