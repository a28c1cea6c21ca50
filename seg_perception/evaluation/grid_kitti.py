"""A real road image with survey-grade calibration: is its lane as wide on the grid as it is on the ground?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.grid import FREE_BELOW, UNKNOWN, GridSpec
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.mapping import GridMapper
from seg_perception.core.pictures import require_picture
from seg_perception.core.pose import BODY_FROM_OPTICAL, Transform

TRUE_WIDTH_M = {8: 2.75, 12: 2.80, 16: 2.90, 20: 2.95, 30: 3.00, 40: 3.00}
"""Distance ahead of the camera → width of the ego lane, m, measured in the image by hand."""

CONFIG = MapperConfig(resolution=0.05, size_x=100.0, size_y=30.0, max_range=48.0, pitch_error=0.0, height_error=0.0)
"""Fine cells; the calibration is taken at its word, as the width is to show what the geometry itself does."""

_AVERAGED_M = 0.3
_LANE, _ELSEWHERE = 0, 1
_TABLE = ClassTable.from_dicts(
    [
        {"id": _LANE, "name": "lane", "color": [128, 64, 128], "cost": 0, "kind": "ground"},
        # Of another kind, it would cast doubt on the very edges whose place is measured.
        {"id": _ELSEWHERE, "name": "elsewhere", "color": [0, 0, 0], "cost": 60, "kind": "ground"},
    ]
)


@dataclass(frozen=True, eq=False)
class Lane:
    """width_m: distance ahead (m) → width on the grid, m. image: (H, W, 3) uint8 BGR. mask: (H, W) bool."""

    width_m: dict[int, float]
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    spec: GridSpec
    occupancy: NDArray[np.int8]


def measure_lane(folder: Path) -> Lane:
    """Put the true ego lane of um_000000 (KITTI road) onto the grid; raises DataError when its files are not good."""
    image, lane = require_picture(folder / "image.png"), require_picture(folder / "gt_ego_lane.png")[..., 0] > 0
    matrix, world_from_optical = _calibration(folder / "calib.txt")
    mask = np.where(lane, _LANE, _ELSEWHERE).astype(np.uint8)
    mapper = GridMapper(_TABLE, CONFIG)
    camera = Camera(lane.shape[1], lane.shape[0], matrix)
    mapper.update(mask, np.full_like(mask, 255), camera, world_from_optical, np.eye(4), 0.0)
    spec, occupancy = mapper.occupancy(0.0)
    occupancy[occupancy >= FREE_BELOW] = UNKNOWN
    x, _ = spec.centres()
    across = (occupancy >= 0).sum(axis=0) * spec.resolution
    widths = {ahead: round(float(across[np.abs(x - ahead) < _AVERAGED_M].mean()), 3) for ahead in TRUE_WIDTH_M}
    return Lane(widths, image, lane, spec, occupancy)


def _calibration(path: Path) -> tuple[NDArray[np.float64], Transform]:
    """(3, 3) camera matrix and world_from_optical of camera 2; the world lies on the road, x ahead, y left."""
    try:
        lines = (line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        values = {name: np.array(text.split(), np.float64) for name, text in lines}
        projection = values["P2"].reshape(3, 4)
        road_from_rectified = np.eye(4)
        road_from_rectified[:3] = values["Tr_cam_to_road"].reshape(3, 4)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: no calibration of KITTI road with P2 and Tr_cam_to_road ({error})") from error
    matrix = projection[:, :3]
    # P2 takes points of the rectified frame, which is camera 0's; camera 2 sits a few centimetres beside it.
    rectified_from_optical = np.eye(4)
    rectified_from_optical[:3, 3] = -np.linalg.solve(matrix, projection[:, 3])
    return matrix, BODY_FROM_OPTICAL @ road_from_rectified @ rectified_from_optical
