"""An organised cloud of the ground as one camera sees it, for consumers that pair points with mask pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.ground import Viewpoint


class GroundCloud:
    """Meets the rays of a camera's pixels with the ground."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._rays = camera.pixel_rays

    def points(self, view: Viewpoint, max_range: float) -> NDArray[np.float32]:
        """(H, W, 3) float32, optical frame, m; NaN for pixels without ground within `max_range` m of the foot."""
        down = self._rays @ -view.level_from_optical[2].astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scale = np.float32(view.height) / down
            squared_distance = np.einsum("ijk,ijk->ij", self._rays, self._rays) * scale * scale
        scale[(down <= 0) | ~(squared_distance <= max_range**2 + view.height**2)] = np.nan
        return self._rays * scale[..., None]
