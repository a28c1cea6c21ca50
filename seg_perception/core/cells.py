"""The part of a grid that one view can reach: its cells in the view's level frame, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.evidence import NOT_FREE, Evidence
from seg_perception.core.grid import GridSpec
from seg_perception.core.ground import PolarMap, Viewpoint

Indices = tuple[NDArray[np.intp], NDArray[np.intp]]
Sample = TypeVar("Sample", np.uint8, np.uint16)


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
        """Cost (or NOT_FREE, COVERED) and weight, uint8: the worst at a cell's four corners."""
        ground, weight = cv2.split(self._at_corners(cv2.merge([evidence.ground, evidence.weight]), (NOT_FREE, 0)))
        return _worst(np.maximum, ground), _worst(np.minimum, weight)

    def labels(self, evidence: Evidence) -> NDArray[np.uint8]:
        """Class ids, uint8: at that of a cell's four corners where the ground is the worst."""
        ranked = evidence.ground.astype(np.uint16) << np.uint16(8) | evidence.labels
        return _worst(np.maximum, self._at_corners(ranked, (NOT_FREE << 8,))).astype(np.uint8)

    def _at_corners(self, samples: NDArray[Sample], outside: tuple[int, ...]) -> NDArray[Sample]:
        """Samples of the polar map → (rows + 1, columns + 1) at the corners of the cells."""
        row, column = self._corners
        border = cv2.BORDER_CONSTANT
        return cv2.remap(samples, column, row, cv2.INTER_NEAREST, borderMode=border, borderValue=outside)

    @cached_property
    def _corners(self) -> tuple[NDArray[np.float32], ...]:
        """Fractional (row, column) in the polar map."""
        spec = self.spec
        x = spec.origin_x + np.arange(self.columns.start, self.columns.stop + 1) * spec.resolution - self.view.x
        y = spec.origin_y + np.arange(self.rows.start, self.rows.stop + 1) * spec.resolution - self.view.y
        c, s = np.cos(self.view.yaw), np.sin(self.view.yaw)
        ahead = ((c * x)[None, :] + (s * y)[:, None]).astype(np.float32)
        left = ((-s * x)[None, :] + (c * y)[:, None]).astype(np.float32)
        return self.polar.coordinates(ahead, left)

    def locate(self, distance: NDArray[np.floating], bearing: NDArray[np.float32]) -> tuple[Indices, NDArray[np.bool_]]:
        """Points from the foot point, m and rad: (row, column) of those within, and which of them (same shape) are."""
        heading = bearing + self.view.yaw
        x = self.view.x + distance * np.cos(heading) - self.spec.origin_x
        y = self.view.y + distance * np.sin(heading) - self.spec.origin_y
        column = np.floor(x / self.spec.resolution).astype(np.intp) - self.columns.start
        row = np.floor(y / self.spec.resolution).astype(np.intp) - self.rows.start
        height, width = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return (row[within], column[within]), within


def _worst(choose: np.ufunc, corners: NDArray[Sample]) -> NDArray[Sample]:
    across = choose(corners[:, :-1], corners[:, 1:])
    worst: NDArray[Sample] = choose(across[:-1], across[1:])
    return worst
