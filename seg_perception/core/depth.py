"""What an aligned depth image adds: obstacles stand where they were measured, not where the flat ground says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.classes import UNLABELLED, ClassTable, Kind
from seg_perception.core.errors import ImageError
from seg_perception.core.ground import Viewpoint

_GROUND_TOLERANCE = 0.15
"""m off the plane at which depth contradicts ground, and above which something is an obstacle."""

_UPRIGHT = 0.05
"""m by which an obstacle that depth has placed may be nearer at its foot, by the errors of depth and of the pose."""


@dataclass(frozen=True, eq=False)
class MeasuredView:
    """A segmented view after its depth was taken into account.

    mask, confidence: (H, W) uint8; ground that lies off the plane and obstacles one can pass under are unlabelled.
    placed: (H, W) uint8, 1 where depth tells what an obstacle is, so its foot need not be guessed. points: (N, 2)
    float32, obstacle points in the level frame of the foot point, m. weights: (N,) uint8 confidence of each. standing:
    (H, W) bool, the pixels that show them.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    placed: NDArray[np.uint8]
    points: NDArray[np.float32]
    weights: NDArray[np.uint8]
    standing: NDArray[np.bool_]

    @property
    def polar(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distances, m, and bearings, rad, of the points."""
        x, y = self.points.T
        return np.hypot(x, y), np.arctan2(y, x)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(N,) class ids of the points."""
        return self.mask[self.standing]


def measure(
    mask: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera: Camera,
    view: Viewpoint,
    table: ClassTable,
    clearance: float,
    max_range: float,
) -> MeasuredView:
    """Place what `depth` measures: (H, W) float32, m along the optical axis (REP-118), NaN, inf or 0 where it does not.

    clearance: m; what hangs higher is no obstacle. max_range: m; what is measured farther out is placed nowhere.
    Raises ImageError when the sizes differ.
    """
    if depth.shape != mask.shape:
        raise ImageError(f"depth is {depth.shape}, the mask {mask.shape}; publish depth aligned to the mask's camera")
    rays = camera.pixel_rays
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        points = (rays * (depth / rays[..., 2])[..., None]) @ view.level_from_optical.T.astype(np.float32)
        height = points[..., 2] + np.float32(view.height)
        distance = np.hypot(points[..., 0], points[..., 1])
        known = (depth > 0) & np.isfinite(depth)
    measured = known & (distance <= max_range)
    kinds = table.kinds[mask]
    obstacle = measured & (kinds == Kind.OBSTACLE)
    raised = obstacle & (height >= _GROUND_TOLERANCE)
    turns = _turns_upright(view)
    upright = (np.rot90(raised, turns), np.rot90(kinds != Kind.OBSTACLE, turns), np.rot90(distance, turns))
    placed = obstacle & np.rot90(_below_raised(*upright, max_range), -turns)
    standing = raised & (height <= clearance)
    # What is known to be beyond the range is not where the plane would have it: past a drop, or above the ground.
    off_plane = known & (kinds == Kind.GROUND) & (np.abs(height) > _GROUND_TOLERANCE)
    placed |= known & ~measured & (kinds == Kind.OBSTACLE)
    passable = raised & (height > clearance)

    mask, confidence = mask.copy(), confidence.copy()
    mask[off_plane | passable] = UNLABELLED
    confidence[off_plane | passable] = 0
    return MeasuredView(
        mask,
        confidence,
        np.ascontiguousarray(placed).view(np.uint8),
        points[standing][:, :2],
        confidence[standing],
        standing,
    )


def _turns_upright(view: Viewpoint) -> int:
    """Quarter turns, counter-clockwise, after which what is below in the world is about below in the image."""
    right, down = -view.level_from_optical[2, :2]
    if abs(down) >= abs(right):
        return 0 if down >= 0 else 2
    return 3 if right > 0 else 1


def _below_raised(
    raised: NDArray[np.bool_], gap: NDArray[np.bool_], distance: NDArray[np.float32], max_range: float
) -> NDArray[np.bool_]:
    """(H, W): what is raised, and below it in its column, down to the next gap, what is no nearer.

    So the foot of what depth has placed is found, and the ground that the outline of a hanging thing includes, but not
    a low thing before a wall, which nothing but its foot can place.
    """
    # Each gap makes all that is below it nearer than all that is above it.
    distance = distance - np.float32(max_range) * np.cumsum(gap, axis=0, dtype=np.float32)
    nearest = np.minimum.accumulate(np.where(raised, distance, np.float32(np.inf)), axis=0)
    return np.asarray(nearest <= distance + np.float32(_UPRIGHT))
