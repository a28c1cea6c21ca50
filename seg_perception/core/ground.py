"""How a camera sees the ground: a polar map, bearing by distance, around the point below the camera.

Along one bearing, distance grows monotonically and everything that stands upright on the ground lies in one column.
So "which obstacle comes first" and "what does it hide" become questions about columns, whatever the roll and pitch of
the camera and the distortion of its lens. The map is sampled *backwards*, ground point → pixel, so it has no holes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core.camera import Camera
from seg_perception.core.errors import TransformError
from seg_perception.core.grid import Interval
from seg_perception.core.pose import Transform

_SAME_ANGLE = 2e-4  # rad: about a tenth of a pixel of a 640-pixel camera
_SAME_HEIGHT = 2e-3  # relative
_STRIDE = 4
_FAR_OUTSIDE, _FAR_OUTSIDE_INT16 = 1e9, 32000.0  # the first stays outside any image when interpolated with a pixel
_MOST_SAMPLES = 2_000_000  # one per pixel of a 1080p camera that looks ahead, but 20 of one that looks down
_NEAREST = 0.3  # of the camera's height: closer to the foot point a mount's errors dominate


@dataclass(frozen=True)
class Viewpoint:
    """Where a camera stands over level ground: its foot point and heading in the world, and how it is tilted.

    x, y: m. yaw: rad, horizontal direction of the optical axis. height: m above the ground. level_from_optical:
    (3, 3) rotation into the frame with x along `yaw` and z up.
    """

    x: float
    y: float
    yaw: float
    height: float
    level_from_optical: NDArray[np.float64]

    @classmethod
    def of(cls, world_from_optical: Transform, ground_z: float) -> Viewpoint:
        """The viewpoint of a camera over the horizontal plane z = ground_z. Raises TransformError."""
        if not np.isfinite(world_from_optical).all():
            raise TransformError("camera pose is not finite; check the odometry and the TF tree")
        height = float(world_from_optical[2, 3]) - ground_z
        if height < 0.05:
            raise TransformError(f"camera is {height:.2f} m above the ground; check its mount's z and the frames")
        rotation = world_from_optical[:3, :3]
        axis = rotation[:, 2] if abs(rotation[2, 2]) < 0.999 else -rotation[:, 1]  # straight down: image top is ahead
        yaw = float(np.arctan2(axis[1], axis[0]))
        c, s = np.cos(yaw), np.sin(yaw)
        level_from_world = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        x, y = world_from_optical[:2, 3].tolist()
        return cls(x, y, yaw, height, level_from_world @ rotation)

    def same_tilt(self, other: Viewpoint) -> bool:
        """Whether both see the same ground through the same pixels, but for place and heading."""
        return (
            abs(self.height - other.height) <= _SAME_HEIGHT * self.height
            and np.abs(self.level_from_optical - other.level_from_optical).max() <= _SAME_ANGLE
        )


@dataclass(frozen=True, eq=False)
class PolarMap:
    """Ground samples of one camera at one tilt.

    Rows go outwards, evenly spaced in the tangent of the depression angle (height / distance), about one mask pixel
    each, more where that would be millions of samples; columns run from the right-most to the left-most bearing, evenly
    spaced in angle and a little beyond, so that the two ends of a full circle overlap.
    """

    camera: Camera
    view: Viewpoint
    tangents: NDArray[np.float32]
    bearings: NDArray[np.float32]

    @classmethod
    def build(cls, camera: Camera, view: Viewpoint, max_range: float) -> PolarMap | None:
        """The map out to `max_range` m; None when the camera sees no ground that near."""
        rays = camera.border_rays @ view.level_from_optical.T
        flat = np.hypot(rays[:, 0], rays[:, 1])
        tangents = -rays[:, 2] / np.maximum(flat, 1e-9)
        farthest = view.height / max_range
        all_around = _shows_foot_point(camera, view)
        nearest = 1.0 / _NEAREST if all_around else min(float(tangents.max()), 1.0 / _NEAREST)
        if nearest <= farthest:
            return None
        bearings = np.arctan2(rays[:, 1], rays[:, 0])[tangents > farthest * 0.5]
        low, high = (-np.pi, np.pi) if all_around else _span(bearings)
        step, turn = (1.0 / float(camera.matrix[axis, axis]) for axis in (1, 0))
        coarser = max(1.0, np.sqrt((nearest - farthest) / step * (high - low) / turn / _MOST_SAMPLES))
        step, turn = step * coarser, turn * coarser
        rows = np.arange(nearest, farthest, -step, dtype=np.float32)
        columns = np.arange(low - 2 * turn, high + 2 * turn, turn, dtype=np.float32)
        return cls(camera, view, rows, columns) if len(rows) > 2 and len(columns) > 2 else None

    def serves(self, camera: Camera, view: Viewpoint) -> bool:
        """Whether the map still holds for this camera at this viewpoint; place and heading do not matter."""
        return (camera is self.camera or camera.same_as(self.camera)) and view.same_tilt(self.view)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.tangents), len(self.bearings)

    @property
    def distances(self) -> NDArray[np.float32]:
        """(rows,) m from the foot point."""
        return self.view.height / self.tangents

    def bounds(self, view: Viewpoint, radius: float) -> tuple[Interval, Interval]:
        """Least and largest x, and y, of a square of `radius` m around the foot point of `view`, in the world, without
        the parts that no bearing of the map leads to."""
        step = self.bearings[1] - self.bearings[0]
        low, high = self.bearings[0] - step + view.yaw, self.bearings[-1] + step + view.yaw
        right_angles = np.pi / 2 * np.arange(np.ceil(low / (np.pi / 2)), np.floor(high / (np.pi / 2)) + 1)
        angles = np.array([low, *right_angles, high])
        x, y = (np.clip(np.sqrt(2) * radius * f(angles), -radius, radius) for f in (np.cos, np.sin))
        return _with_zero(view.x, x), _with_zero(view.y, y)

    def sample(self, image: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """(H, W) uint8 image at the camera's size → (rows, columns) uint8; `outside` where it shows no such point."""
        border = cv2.BORDER_CONSTANT
        return cv2.remap(image, self._pixels, None, cv2.INTER_NEAREST, borderMode=border, borderValue=outside)

    def coordinates(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Ground points in the level frame of the foot point, m → fractional (row, column) of the map."""
        tangent = np.float32(self.view.height) / np.sqrt(x * x + y * y + np.float32(1e-6))
        bearing = np.arctan2(y, x)
        row = (self.tangents[0] - tangent) * np.float32(1.0 / (self.tangents[0] - self.tangents[1]))
        column = (bearing - self.bearings[0]) * np.float32(1.0 / (self.bearings[1] - self.bearings[0]))
        return row, column

    @cached_property
    def _pixels(self) -> NDArray[np.int16]:
        """(rows, columns, 2) int16: the nearest pixel of every ground sample; outside the image where there is none.

        Projected at every fourth row and column and interpolated between: at that spacing the projection of any lens is
        linear to a hundredth of a pixel (of one that is wide without distortion, towards its corners, to some tenths),
        and a map for a camera that has just moved costs no more than a look at it.
        """
        rows, columns = self.shape
        tangents = _nodes(self.tangents)
        bearings = _nodes(self.bearings)
        optical_from_level = self.view.level_from_optical.T.astype(np.float32)
        along = np.outer(optical_from_level[:, 0], np.cos(bearings))
        along += np.outer(optical_from_level[:, 1], np.sin(bearings))
        down = np.outer(optical_from_level[:, 2], -tangents)
        u, v, seen = self.camera.project_directions(*(down[i, :, None] + along[i, None, :] for i in range(3)))
        nodes = np.where(seen, np.stack([u, v]), np.float32(_FAR_OUTSIDE)).transpose(1, 2, 0)
        fine = cv2.resize(nodes, None, fx=_STRIDE, fy=_STRIDE, interpolation=cv2.INTER_LINEAR)
        np.clip(fine, -1, _FAR_OUTSIDE_INT16, out=fine)
        return np.rint(fine[_STRIDE : _STRIDE + rows, _STRIDE : _STRIDE + columns]).astype(np.int16)


def _with_zero(centre: float, values: NDArray[np.float64]) -> Interval:
    return centre + min(0.0, float(values.min())), centre + max(0.0, float(values.max()))


def _nodes(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evenly spaced samples at the places from which `cv2.resize` by _STRIDE gives them back, from one node early."""
    step = samples[1] - samples[0]
    nodes = np.arange(-1, -(-len(samples) // _STRIDE) + 1, dtype=np.float32)
    return samples[0] + step * (nodes * _STRIDE + np.float32((_STRIDE - 1) / 2))


def _shows_foot_point(camera: Camera, view: Viewpoint) -> bool:
    (u, v), seen = (a[0] for a in camera.project(-view.level_from_optical.T[None, :, 2]))
    return bool(seen) and -0.5 < u < camera.width - 0.5 and -0.5 < v < camera.height - 0.5


def _span(bearings: NDArray[np.float64]) -> tuple[float, float]:
    """Smallest and largest bearing, rad; the whole circle where there is no large gap between them."""
    ordered = np.sort(bearings)
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
    if gaps.max() < np.pi / 3 or ordered[-1] - ordered[0] > np.pi * 1.5:
        return -np.pi, np.pi
    return float(ordered[0]), float(ordered[-1])
