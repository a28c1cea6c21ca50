"""A camera with the ray of every pixel worked out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera

Floats = NDArray[np.float32]
_NEAR = 0.05


@dataclass(frozen=True, eq=False)
class View:
    """rays: (H * W, 3) optical-frame directions with z = 1. length: (H * W,) their norms.

    columns, rows: (2, W) and (2, H): least and greatest undistorted x / z (y / z) in each column (row) of pixels.
    """

    camera: Camera
    rays: Floats
    length: Floats
    columns: Floats
    rows: Floats

    @classmethod
    def of(cls, camera: Camera) -> View:
        """Rays through the centres of a camera's pixels, row by row."""
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        rays = camera.rays(np.stack([u.ravel(), v.ravel()], axis=1)).astype(np.float32)
        x, y = rays[:, 0].reshape(u.shape), rays[:, 1].reshape(u.shape)
        columns, rows = np.stack([x.min(axis=0), x.max(axis=0)]), np.stack([y.min(axis=1), y.max(axis=1)])
        return cls(camera, rays, np.linalg.norm(rays, axis=1), columns, rows)

    @property
    def pixel_angle(self) -> float:
        """Angle between neighbouring pixels at the image's centre, rad."""
        return float(1.0 / self.camera.matrix[0, 0])

    def pixels_around(self, boxes: NDArray[np.float64]) -> NDArray[np.int64]:
        """Flat indices of all pixels that may see into any of the hulls of (K, 8, 3) optical-frame points."""
        mask = np.zeros((self.camera.height, self.camera.width), bool)
        for points in boxes:
            z = points[:, 2]
            if z.max() < _NEAR:
                continue
            if z.min() < _NEAR:
                mask[:] = True
                break
            columns = _meeting(self.columns, points[:, 0] / z)
            mask[_meeting(self.rows, points[:, 1] / z), columns] = True
        return np.flatnonzero(mask)


def _meeting(bounds: Floats, values: NDArray[np.float64]) -> slice:
    """Smallest slice that holds all intervals which meet the values' range."""
    found = np.flatnonzero((bounds[1] >= values.min()) & (bounds[0] <= values.max()))
    return slice(found[0], found[-1] + 1) if len(found) else slice(0, 0)
