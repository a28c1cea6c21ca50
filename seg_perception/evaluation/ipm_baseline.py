"""What is commonly done to get a grid from a mask: inverse perspective mapping with one fixed homography."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED, ClassTable, Kind
from seg_perception.core.grid import UNKNOWN, GridSpec, RollingGrid
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.pose import Transform

_FREE, _OCCUPIED = 0, 100


class InversePerspectiveMapper:
    """Warps every mask to the ground by the mount's homography; in each cell the newest observation wins.

    It knows neither distortion nor roll and pitch of the vehicle, and takes every pixel for one on the ground. A cell
    is occupied where one of its corners shows an obstacle, free where all show ground, and else stays as it was.
    """

    def __init__(self, table: ClassTable, config: MapperConfig, camera: Camera, base_from_optical: Transform) -> None:
        """camera: at the size of the masks. Of the configuration, the grid's layout and range are used."""
        # The grid's log-odds serve as the state: -1 free, 0 unknown, 1 occupied.
        self._grid = RollingGrid(config.resolution, *config.cells)
        self._max_range = config.max_range
        self._foot = base_from_optical[:2, 3]
        self._pixel_from_ground = camera.matrix @ pose.inverse(base_from_optical)[:3, [0, 1, 3]]
        self._state = np.zeros(256, np.float32)
        self._state[table.kinds == Kind.GROUND] = -1.0
        self._state[table.kinds == Kind.OBSTACLE] = 1.0

    def update(self, mask: NDArray[np.uint8], world_from_base: Transform) -> None:
        """Add one mask, (H, W) uint8 ids."""
        x, y = world_from_base[:2, 3].tolist()
        self._grid.centre_on(x, y)
        spec = self._grid.spec
        yaw = np.arctan2(world_from_base[1, 0], world_from_base[0, 0])
        c, s = np.cos(yaw), np.sin(yaw)
        dx = (spec.origin_x + np.arange(spec.width + 1) * spec.resolution - x)[None, :]
        dy = (spec.origin_y + np.arange(spec.height + 1) * spec.resolution - y)[:, None]
        forward, left = c * dx + s * dy, c * dy - s * dx
        state = self._state[self._warped(mask, forward, left)]
        state[np.hypot(forward - self._foot[0], left - self._foot[1]) > self._max_range] = 0.0
        corners = np.stack([state[:-1, :-1], state[1:, :-1], state[:-1, 1:], state[1:, 1:]])
        np.copyto(self._grid.log_odds, -1.0, where=(corners == -1.0).all(axis=0))
        np.copyto(self._grid.log_odds, 1.0, where=(corners == 1.0).any(axis=0))

    def occupancy(self) -> tuple[GridSpec, NDArray[np.int8]]:
        """(height, width) int8: -1 unknown, 0 free, 100 occupied."""
        state = self._grid.log_odds
        cells = np.full(state.shape, UNKNOWN, np.int8)
        cells[state < 0] = _FREE
        cells[state > 0] = _OCCUPIED
        return self._grid.spec, cells

    def _warped(
        self, mask: NDArray[np.uint8], forward: NDArray[np.float64], left: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """Mask ids at ground points of base_link, m; UNLABELLED outside the image."""
        h = self._pixel_from_ground
        u, v, w = (h[i, 0] * forward + h[i, 1] * left + h[i, 2] for i in range(3))
        depth = np.where(w > 0, w, np.nan)
        columns, rows = (np.nan_to_num(p / depth, nan=-1e6).clip(-1e6, 1e6).astype(np.float32) for p in (u, v))
        border = cv2.BORDER_CONSTANT
        return cv2.remap(mask, columns, rows, cv2.INTER_NEAREST, borderMode=border, borderValue=UNLABELLED)
