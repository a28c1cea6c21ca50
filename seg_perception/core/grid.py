"""The occupancy grid's frame, and its rolling window of log-odds fixed to the world."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
FREE_BELOW, OCCUPIED_FROM = 25, 65
"""Values of a nav_msgs/OccupancyGrid: 0..24 count as free, 65..100 as occupied, as in Nav2's map_server."""

Number = TypeVar("Number", bound=np.generic)
Interval = tuple[float, float]
"""Least and largest."""


@dataclass(frozen=True)
class GridSpec:
    """A window of square cells in the world frame.

    resolution: m per cell. width, height: cells along x and y. origin_x, origin_y: m, the outer corner of cell (0, 0).
    Arrays over a grid have the shape (height, width), row-major as in nav_msgs/OccupancyGrid: row = y, column = x.
    """

    resolution: float
    width: int
    height: int
    origin_x: float
    origin_y: float

    def cells_of(self, points: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """(N, 2 or 3) points of the world, m → row and column of those in the window, and (N,) which of them are."""
        column, row = np.floor((points[:, :2] - (self.origin_x, self.origin_y)) / self.resolution).astype(np.intp).T
        inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        return row[inside], column[inside], inside

    def centres(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """World coordinates of the cell centres, m: x (width,), y (height,)."""
        x = self.origin_x + (np.arange(self.width) + 0.5) * self.resolution
        y = self.origin_y + (np.arange(self.height) + 0.5) * self.resolution
        return x, y


class RollingGrid:
    """Log-odds of occupancy and cost of the ground in a window that follows the robot by whole cells.

    log_odds: (height, width) float32, > 0 occupied, 0 unknown. cost: (height, width) uint8, of the ground last seen.
    classes: (height, width) uint16, what was last seen, in the meaning of whoever writes it; None where nobody does.
    A cell keeps its place in the world while the window moves over it; cells that enter are unknown.
    """

    def __init__(self, resolution: float, width: int, height: int) -> None:
        self.log_odds: NDArray[np.float32] = np.zeros((height, width), np.float32)
        self.cost: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
        self.classes: NDArray[np.uint16] | None = None
        self._resolution = resolution
        self._corner: tuple[int, int] | None = None  # (column, row) of cell (0, 0), counted from the world's origin

    @property
    def spec(self) -> GridSpec:
        """Where the window lies now."""
        height, width = self.log_odds.shape
        column, row = self._corner or (0, 0)
        return GridSpec(self._resolution, width, height, column * self._resolution, row * self._resolution)

    def clear(self) -> None:
        """Forget everything but where the window lies."""
        self.log_odds[:] = 0.0

    def centre_on(self, x: float, y: float) -> None:
        """Move the window so that its centre lies within a cell of (x, y), m in the world."""
        height, width = self.log_odds.shape
        corner = (floor(x / self._resolution) - width // 2, floor(y / self._resolution) - height // 2)
        if self._corner is not None and corner != self._corner:
            columns, rows = corner[0] - self._corner[0], corner[1] - self._corner[1]
            self.log_odds = _shifted(self.log_odds, rows, columns)
            self.cost = _shifted(self.cost, rows, columns)
            if self.classes is not None:
                self.classes = _shifted(self.classes, rows, columns)
        self._corner = corner

    def window(self, x: Interval, y: Interval) -> tuple[slice, slice]:
        """(rows, columns) of the cells between two x and two y of the world, m, clipped to the grid."""
        spec = self.spec
        return _cells(y, spec.origin_y, spec.resolution, spec.height), _cells(
            x, spec.origin_x, spec.resolution, spec.width
        )


def _cells(between: Interval, origin: float, resolution: float, count: int) -> slice:
    low, high = ((value - origin) / resolution for value in between)
    return slice(max(0, floor(low)), max(0, min(count, floor(high) + 1)))


def _shifted(array: NDArray[Number], rows: int, columns: int) -> NDArray[Number]:
    """The array as seen through a window moved by (rows, columns); what enters is 0."""
    result = np.zeros_like(array)
    height, width = array.shape
    if abs(rows) < height and abs(columns) < width:
        source = array[max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)]
        result[max(0, -rows) : height + min(0, -rows), max(0, -columns) : width + min(0, -columns)] = source
    return result
