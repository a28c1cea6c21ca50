"""What of the ground a camera can see, by its field of view and by what stands in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.grid import GridSpec
from seg_perception.core.ground import Viewpoint

_STEPS_PER_CELL = 2.0

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Sight:
    """A field of view on the ground of a grid. farthest: m, along the ground."""

    camera: Camera
    view: Viewpoint
    farthest: float

    def distance(self, x: Floats, y: Floats) -> NDArray[np.float64]:
        """From the point below the camera, m."""
        return np.hypot(x - self.view.x, y - self.view.y).astype(np.float64)

    def contains(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Whether points of the ground, world x and y in m, lie in the field of view, whatever stands before them."""
        ahead, left = self._local(x, y)
        optical = self.view.level_from_optical.T
        u, v, seen = self.camera.project_directions(
            *(row[0] * ahead + row[1] * left - row[2] * self.view.height for row in optical)
        )
        across = (u >= -0.5) & (u < self.camera.width - 0.5)
        down = (v >= -0.5) & (v < self.camera.height - 0.5)
        return np.asarray(seen & across & down & (np.hypot(ahead, left) <= self.farthest), np.bool_)

    def visible(self, spec: GridSpec, occupied: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(h, w) bool: cells in the field of view with no occupied cell before them. occupied: (h, w) bool."""
        x, y = spec.centres()
        field = self.contains(x[None, :], y[:, None])
        if not field.any():
            return field
        step = spec.resolution / _STEPS_PER_CELL
        reach = np.arange(step, self.farthest + step, step)
        bearings = self._bearings(x[None, :], y[:, None], field, step)
        column = (self.view.x - spec.origin_x + np.cos(bearings)[:, None] * reach[None, :]) / spec.resolution
        row = (self.view.y - spec.origin_y + np.sin(bearings)[:, None] * reach[None, :]) / spec.resolution
        inside = (row >= 0) & (row < spec.height) & (column >= 0) & (column < spec.width)
        cells = np.where(inside, row.astype(np.intp) * spec.width + column.astype(np.intp), 0)
        standing = occupied.ravel()[cells] & inside
        before = np.zeros_like(standing)
        np.logical_or.accumulate(standing[:, :-1], axis=1, out=before[:, 1:])
        # The first occupied cell is seen, over its whole depth.
        first = np.argmax(standing, axis=1)
        rows = np.arange(len(cells))
        before &= cells != cells[rows, first][:, None]
        lit = np.zeros(spec.height * spec.width, np.bool_)
        lit[cells[inside & ~before]] = True
        return lit.reshape(spec.height, spec.width) & field

    def _bearings(self, x: Floats, y: Floats, field: NDArray[np.bool_], step: float) -> NDArray[np.float64]:
        """World directions, rad, in which to look for the cells of the field, `step` m apart at the farthest."""
        ahead, left = self._local(x, y)
        bearings = np.arctan2(left, ahead)[field]
        low, high = float(bearings.min()), float(bearings.max())
        return self.view.yaw + np.linspace(low, high, max(2, int((high - low) * self.farthest / step)))

    def _local(self, x: Floats, y: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World x, y → m ahead and left of the point below the camera."""
        c, s = np.cos(self.view.yaw), np.sin(self.view.yaw)
        dx, dy = np.asarray(x - self.view.x, np.float64), np.asarray(y - self.view.y, np.float64)
        return c * dx + s * dy, c * dy - s * dx


class SeenInWindow:
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
