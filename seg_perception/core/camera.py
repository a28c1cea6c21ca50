"""Camera models: what a sensor_msgs/CameraInfo says, without the message.

Pixel coordinates follow OpenCV and ROS: (0, 0) is the *centre* of the first pixel. Points are in the optical
frame (REP-103): x right, y down, z forward, metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from seg_perception.core.errors import CameraError

_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (0, 4)}
_UNDISTORT_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-12)
_NEWTON_STEPS = 12
_SAME_PLACE = 1e-3  # of the focal length, about half a pixel: a ray that projects farther off is not the pixel's
_BORDER_SAMPLES = 33
# Directions a little outside the image still project truly; farther out the polynomials may fold back into it.
_FIELD_MARGIN = 1.05

Floats = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics of one camera.

    width, height: pixels. matrix: (3, 3) float64 [[fx, s, cx], [0, fy, cy], [0, 0, 1]], pixels.
    model: plumb_bob, rational_polynomial or equidistant. distortion: its coefficients; none means rectified.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]
    model: str = "plumb_bob"
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, np.float64)
        distortion = np.asarray(self.distortion, np.float64).ravel()
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "distortion", distortion)
        if self.width < 1 or self.height < 1:
            raise CameraError(f"camera size is {self.width}x{self.height}; publish the calibrated size in CameraInfo")
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise CameraError(f"camera matrix K is {matrix.ravel().tolist()}; calibrate the camera: fx, fy > 0, finite")
        allowed = _COEFFICIENTS.get(self.model)
        if allowed is None:
            raise CameraError(f"distortion model {self.model!r} is unknown; supported: {', '.join(_COEFFICIENTS)}")
        if distortion.size not in allowed or not np.isfinite(distortion).all():
            raise CameraError(
                f"{self.model} has {distortion.size} coefficients {distortion.tolist()}; expected {allowed}, all finite"
            )

    def same_as(self, other: Camera) -> bool:
        """Whether both describe the same optics at the same size."""
        return (
            (self.width, self.height, self.model) == (other.width, other.height, other.model)
            and np.array_equal(self.matrix, other.matrix)
            and np.array_equal(self.distortion, other.distortion)
        )

    def project(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(N, 3) optical-frame points, m → ((N, 2) pixels, (N,) bool: within the lens's field of view).

        Pixels of points outside the field of view are NaN; the others may still lie outside the image.
        """
        points = np.asarray(points, np.float64).reshape(-1, 3)
        u, v, seen = self.project_directions(points[:, 0], points[:, 1], points[:, 2])
        pixels = np.stack([u, v], axis=1)
        pixels[~seen] = np.nan
        return pixels, seen

    def project_directions(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Broadcastable components of optical-frame directions → pixels u, v and whether the lens sees them.

        Keeps the dtype of its input (float32 where speed counts). u and v are meaningless where not seen.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            a, b, radius = self._distort(x, y, z)
            seen = radius <= self._field_radius
            if not self._fisheye:
                seen &= z > 0
            (fx, skew, cx), (_, fy, cy) = self.matrix[0].tolist(), self.matrix[1].tolist()
            u = a * fx + cx if skew == 0.0 else a * fx + b * skew + cx
            return u, b * fy + cy, seen

    def rays(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) pixels → (N, 3) directions in the optical frame.

        z = 1, but for equidistant lenses, which may look sideways and backwards: there the length is 1. NaN for pixels
        that the lens leaves dark: beyond the largest radius to which its polynomial maps anything, or where the search
        finds nothing that projects there.
        """
        target = self._normalised(pixels)
        if not len(target):
            return np.zeros((0, 3))
        rays = self._rays_equidistant(target) if self._fisheye else self._rays_pinhole(target)
        # Towards a dark pixel, the search for a ray ends anywhere.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            a, b, radius = self._distort(*rays.T)
            found = (np.hypot(a - target[:, 0], b - target[:, 1]) <= _SAME_PLACE) & (radius <= self._fold_radius)
        rays[~found] = np.nan
        return rays

    def rays_or_rim(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """As `rays`; towards pixels that the lens leaves dark, as far from the axis as it sees."""
        rays = self.rays(pixels)
        dark = np.isnan(rays[:, 2])
        rays[dark] = self._rim_rays(self._normalised(pixels)[dark])
        return rays

    @cached_property
    def border_rays(self) -> NDArray[np.float64]:
        """(N, 3) directions along the outline of the image; together they bound what the camera sees."""
        along_x = np.linspace(-0.5, self.width - 0.5, _BORDER_SAMPLES)
        along_y = np.linspace(-0.5, self.height - 0.5, _BORDER_SAMPLES)
        sides = [(along_x, np.full_like(along_x, edge)) for edge in (-0.5, self.height - 0.5)]
        sides += [(np.full_like(along_y, edge), along_y) for edge in (-0.5, self.width - 0.5)]
        return self.rays_or_rim(np.concatenate([np.stack(side, axis=1) for side in sides]))

    @cached_property
    def pixel_rays(self) -> NDArray[np.float32]:
        """(height, width, 3) directions of all pixel centres, as from `rays`; computed once."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        rays = self.rays(np.stack([u.ravel(), v.ravel()], axis=1))
        return rays.reshape(self.height, self.width, 3).astype(np.float32)

    def resized(self, width: int, height: int) -> Camera:
        """The camera after its image was resized; pixel *edges* keep their place, so centres shift by half pixels."""
        sx, sy = width / self.width, height / self.height
        scale = np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5], [0.0, 0.0, 1.0]])
        return Camera(width, height, scale @ self.matrix, self.model, self.distortion)

    @property
    def _fisheye(self) -> bool:
        return self.model == "equidistant"

    @cached_property
    def _field_radius(self) -> float:
        """Largest distance from the axis that the image shows: normalised for pinholes, rad for equidistant."""
        if not self._fisheye and not self.distortion.any():
            return np.inf  # Without distortion nothing folds back, so every direction ahead is seen.
        rays = self.border_rays
        radius = np.hypot(rays[:, 0], rays[:, 1])
        largest = np.arctan2(radius, rays[:, 2]).max() if self._fisheye else radius.max()
        return min(float(largest) * _FIELD_MARGIN, self._fold_radius)

    @cached_property
    def _fold_radius(self) -> float:
        """Distance from the axis at which the radial distortion stops growing, in units of `_field_radius`.

        With s = r^2, r N(s) / D(s) grows while D and the numerator of its slope, (N + 2 s N') D - 2 s N D', stay
        positive. Tangential and thin-prism terms are too small to move that place.
        """
        k = np.pad(self.distortion[:8], (0, 8))[:8]
        numerator, denominator = (k[:4], k[:0]) if self._fisheye else (k[[0, 1, 4]], k[5:])
        over, under = np.append(1.0, numerator), np.append(1.0, denominator)
        twice = 2.0 * np.arange(5)
        slope = np.convolve(over * (1.0 + twice[: len(over)]), under)
        slope -= np.convolve(over, under * twice[: len(under)])
        # Read from their highest power downwards, these coefficients have 1/s as roots: the first fold is the largest.
        roots = np.concatenate([np.roots(slope), np.roots(under)])
        largest = roots.real[roots.imag == 0].max(initial=0.0)
        fold = float(largest) ** -0.5 if largest > 0 else np.inf
        return min(fold, np.pi) if self._fisheye else fold

    def _rim_rays(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) normalised image points beyond the fold → (N, 3) directions on it, on the same side of the axis."""
        rim, across = self._fold_radius, target / np.hypot(target[:, :1], target[:, 1:])
        if self._fisheye:
            across, ahead = across * np.sin(rim), np.cos(rim)
        else:
            # Where nothing folds but no ray was found, that of a lens without distortion bounds well enough.
            across, ahead = across * rim if np.isfinite(rim) else target, 1.0
        return np.concatenate([across, np.full((len(across), 1), ahead)], axis=1)

    def _normalised(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) pixels → (N, 2) image points, distorted, at a focal length of 1."""
        u, v = np.asarray(pixels, np.float64).reshape(-1, 2).T
        (fx, skew, cx), (_, fy, cy) = self.matrix[0], self.matrix[1]
        b = (v - cy) / fy
        return np.stack([(u - cx - skew * b) / fx, b], axis=1)

    def _distort(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Directions → image points a, b at a focal length of 1, and distances from the axis before distortion."""
        return self._distort_equidistant(x, y, z) if self._fisheye else self._distort_pinhole(x / z, y / z)

    def _distort_pinhole(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Formulas of OpenCV's calib3d (k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tx ty), without tilt."""
        if self.distortion.size == 14 and self.distortion[12:].any():
            raise CameraError("rational_polynomial with a tilted sensor (coefficients 13 and 14) is not supported")
        r2 = x * x + y * y
        if not self.distortion.any():
            return x, y, np.sqrt(r2)
        k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = np.pad(self.distortion[:12], (0, 12))[:12].tolist()
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        if k4 or k5 or k6:
            radial = radial / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        xy2 = 2 * x * y
        a = x * radial + p1 * xy2 + p2 * (r2 + 2 * x * x)
        b = y * radial + p1 * (r2 + 2 * y * y) + p2 * xy2
        if s1 or s2 or s3 or s4:
            a, b = a + r2 * (s1 + r2 * s2), b + r2 * (s3 + r2 * s4)
        return a, b, np.sqrt(r2)

    def _distort_equidistant(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Kannala-Brandt: theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)."""
        radius = np.hypot(x, y)
        theta: Floats = np.arctan2(radius, z)
        scale = np.where(radius > 0, self._theta_distorted(theta) / radius, 1.0).astype(theta.dtype, copy=False)
        return x * scale, y * scale, theta

    def _theta_distorted(self, theta: Floats) -> Floats:
        k1, k2, k3, k4 = np.pad(self.distortion, (0, 4))[:4].tolist()
        t2 = theta * theta
        distorted: Floats = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        return distorted

    def _rays_pinhole(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = cv2.undistortPointsIter(target[:, None], np.eye(3), self.distortion, None, None, _UNDISTORT_CRITERIA)
        return np.concatenate([flat[:, 0], np.ones((len(target), 1))], axis=1)

    def _rays_equidistant(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        distorted = np.hypot(target[:, 0], target[:, 1])
        k = np.pad(self.distortion, (0, 4))[:4] * (3, 5, 7, 9)
        theta = distorted.copy()
        for _ in range(_NEWTON_STEPS):
            t2 = theta * theta
            slope = 1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3])))
            theta -= (self._theta_distorted(theta) - distorted) / np.maximum(slope, 0.1)
            np.clip(theta, 0.0, self._fold_radius, out=theta)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(distorted > 0, np.sin(theta) / distorted, 1.0)
        return np.concatenate([target * scale[:, None], np.cos(theta)[:, None]], axis=1)
