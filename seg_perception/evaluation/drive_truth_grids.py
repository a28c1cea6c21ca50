"""The truth of a simulated drive as a robot's grids would have it, to be published and recorded beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seg_perception.core.grid import UNKNOWN, GridSpec, RollingGrid
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.evaluation.drive_material import DriveMaterial
from seg_perception.evaluation.drive_truth import DriveTruth

_OCCUPIED, _FREE = 100, 0


class DriveTruthGrids:
    """Occupied cells are 100, free ones 0, and those that are neither (grass, say) -1."""

    def __init__(self, material: DriveMaterial, config: MapperConfig) -> None:
        self._material = material
        self._truth = DriveTruth(material)
        self._window = RollingGrid(config.resolution, *config.cells)

    def prepare(self, frames: int) -> None:
        """Find the truth of the first frames now, with a progress bar; it is kept on disk."""
        for index in tqdm(range(frames), desc="finding the truth", unit="frame"):
            self.grid(index)

    def grid(self, index: int) -> tuple[GridSpec, NDArray[np.int8]]:
        """Of frame `index`: where the grid_mapper's window lies, and (height, width) int8."""
        x, y = self._material.motion(index).world_from_base[:2, 3]
        self._window.centre_on(float(x), float(y))
        spec = self._window.spec
        # As messages carry it, so that what is kept serves those who compare with recorded grids.
        spec = GridSpec(float(np.float32(spec.resolution)), spec.width, spec.height, spec.origin_x, spec.origin_y)
        truth = self._truth.truth(index, spec)
        return spec, np.select([truth.occupied, truth.free], [np.int8(_OCCUPIED), np.int8(_FREE)], np.int8(UNKNOWN))
