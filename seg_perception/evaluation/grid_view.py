"""Occupancy grids as people look at them: from above, the vehicle's nose up, in colours with a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.grid import FREE_BELOW, OCCUPIED_FROM, GridSpec
from seg_perception.core.pose import Transform

Color = tuple[int, int, int]
Cell = TypeVar("Cell", np.bool_, np.int8)

UNKNOWN_RGB: Color = (201, 205, 212)
FREE_RGB: Color = (126, 200, 148)
UNSURE_RGB: Color = (246, 200, 95)
OCCUPIED_RGB: Color = (178, 34, 52)
OTHER_RGB: Color = (226, 221, 184)
NOT_SEEN_RGB: Color = (195, 162, 172)


@dataclass(frozen=True)
class GridView:
    """A rectangle of the ground around the vehicle, m, drawn at `pixels_per_m`; up is forward, left is left."""

    ahead: float = 21.0
    behind: float = 3.0
    side: float = 16.0
    pixels_per_m: float = 15.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return round(2 * self.side * self.pixels_per_m), round((self.ahead + self.behind) * self.pixels_per_m)

    def pixel(self, forward: float, left: float) -> tuple[float, float]:
        """A point in base_link, m → (x, y) pixels."""
        return (self.side - left) * self.pixels_per_m, (self.ahead - forward) * self.pixels_per_m

    def sample(self, spec: GridSpec, cells: NDArray[Cell], world_from_base: Transform, outside: int) -> NDArray[Cell]:
        """(h, w) cells → (height, width) of this view, nearest cell; `outside` beyond the grid."""
        width, height = self.size
        forward = self.ahead - (np.arange(height) + 0.5) / self.pixels_per_m
        left = self.side - (np.arange(width) + 0.5) / self.pixels_per_m
        rotation, (x, y) = world_from_base[:2, :2], world_from_base[:2, 3]
        world_x = x + rotation[0, 0] * forward[:, None] + rotation[0, 1] * left[None, :]
        world_y = y + rotation[1, 0] * forward[:, None] + rotation[1, 1] * left[None, :]
        column = np.floor((world_x - spec.origin_x) / spec.resolution).astype(np.intp)
        row = np.floor((world_y - spec.origin_y) / spec.resolution).astype(np.intp)
        inside = (row >= 0) & (row < spec.height) & (column >= 0) & (column < spec.width)
        view = np.full((height, width), outside, cells.dtype)
        view[inside] = cells[row[inside], column[inside]]
        return view


def occupancy_rgb(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(H, W) int8, -1 or 0..100 → (H, W, 3) uint8 RGB."""
    rgb = np.empty((*values.shape, 3), np.uint8)
    rgb[:] = UNSURE_RGB
    rgb[values < 0] = UNKNOWN_RGB
    rgb[(values >= 0) & (values < FREE_BELOW)] = FREE_RGB
    rgb[values >= OCCUPIED_FROM] = OCCUPIED_RGB
    return rgb


def truth_rgb(occupied: NDArray[np.bool_], free: NDArray[np.bool_], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(H, W) bool each → (H, W, 3) uint8 RGB; what was never seen so far is shown faint.

    Ground that is neither (grass, say) has a colour of its own: nobody asks the grid about it.
    """
    rgb = np.empty((*occupied.shape, 3), np.uint8)
    rgb[:] = OTHER_RGB
    rgb[free] = FREE_RGB
    rgb[occupied] = OCCUPIED_RGB
    faint = cv2.addWeighted(rgb, 0.25, np.full_like(rgb, UNKNOWN_RGB), 0.75, 0.0)  # NOT_SEEN_RGB where occupied
    return np.where(seen[..., None], rgb, faint).astype(np.uint8)
