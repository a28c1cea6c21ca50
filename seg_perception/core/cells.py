"""The part of a grid that one view can reach: its cells in the view's level frame, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from math import ceil
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.evidence import NOT_FREE, Evidence
from seg_perception.core.grid import GridSpec
from seg_perception.core.ground import PolarMap, Viewpoint

Indices = tuple[NDArray[np.intp], NDArray[np.intp]]
Sample = TypeVar("Sample", np.uint8, np.uint16)

_LOOK_EVERY = 0.2
"""m: larger cells are looked at in more places than their corners, or what is smaller would lie between."""


@dataclass(frozen=True, eq=False)
class ReachableCells:
    """The cells `rows` x `columns` of a grid, seen from a viewpoint. Arrays over them have their shape.

    polar: that of the camera; evidence is over its samples.
    """

    spec: GridSpec
    rows: slice
    columns: slice
    view: Viewpoint
    polar: PolarMap

    def ground(self, evidence: Evidence) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Cost (or NOT_FREE, COVERED) and weight, uint8: the worst at a cell's corners and every 0.2 m between."""
        ground, weight = cv2.split(self._at_points(cv2.merge([evidence.ground, evidence.weight]), (NOT_FREE, 0)))
        return self._worst(np.maximum, ground), self._worst(np.minimum, weight)

    def labels(self, evidence: Evidence) -> NDArray[np.uint8]:
        """Class ids, uint8: where `ground` finds the worst."""
        ranked = evidence.ground.astype(np.uint16) << np.uint16(8) | evidence.labels
        return self._worst(np.maximum, self._at_points(ranked, (NOT_FREE << 8,))).astype(np.uint8)

    @property
    def _steps(self) -> int:
        """Per cell, from one of its edges to the other."""
        return ceil(self.spec.resolution / _LOOK_EVERY - 1e-6)

    def _worst(self, choose: np.ufunc, points: NDArray[Sample]) -> NDArray[Sample]:
        steps = self._steps
        for _ in range(2):  # along the columns, then along the rows
            count = len(points) - steps
            points = reduce(choose, (points[start : start + count : steps] for start in range(steps + 1))).T
        return points

    def _at_points(self, samples: NDArray[Sample], outside: tuple[int, ...]) -> NDArray[Sample]:
        """Samples of the polar map → (rows x steps + 1, columns x steps + 1): at the cells' corners and between."""
        row, column = self._points
        border = cv2.BORDER_CONSTANT
        return cv2.remap(samples, column, row, cv2.INTER_NEAREST, borderMode=border, borderValue=outside)

    @cached_property
    def _points(self) -> tuple[NDArray[np.float32], ...]:
        """Fractional (row, column) in the polar map."""
        spec, steps = self.spec, self._steps
        x, y = (
            origin + np.arange(cells.start * steps, cells.stop * steps + 1) * (spec.resolution / steps) - at
            for origin, cells, at in (
                (spec.origin_x, self.columns, self.view.x),
                (spec.origin_y, self.rows, self.view.y),
            )
        )
        c, s = np.cos(self.view.yaw), np.sin(self.view.yaw)
        ahead = ((c * x)[None, :] + (s * y)[:, None]).astype(np.float32)
        left = ((-s * x)[None, :] + (c * y)[:, None]).astype(np.float32)
        return self.polar.coordinates(ahead, left)

    def locate(self, distance: NDArray[np.floating], bearing: NDArray[np.float32]) -> tuple[Indices, NDArray[np.bool_]]:
        """Points from the foot point, m and rad: (row, column) of those within, and which of them (same shape) are."""
        heading = bearing + self.view.yaw
        # From the grid's corner: far from the world's origin, e.g. in UTM, float32 knows no cells.
        x = distance * np.cos(heading) + (self.view.x - self.spec.origin_x)
        y = distance * np.sin(heading) + (self.view.y - self.spec.origin_y)
        column = np.floor(x / self.spec.resolution).astype(np.intp) - self.columns.start
        row = np.floor(y / self.spec.resolution).astype(np.intp) - self.rows.start
        height, width = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return (row[within], column[within]), within
