"""Triangles with everything the renderer wants to know of them, and the convex parts that solids are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull

from seg_perception.simulation.labels import Label

Floats = NDArray[np.float32]

FOOT_BOTTOM, FOOT_TOP = 0.1, 2.0
"""A solid occupies the ground below what it has between these heights, m."""


@dataclass(frozen=True, eq=False)
class Triangles:
    """N triangles. vertices: (N, 3, 3) m. uv: (N, 3, 2) texture coordinates, m. tint: (N, 3) BGR albedo 0..1.

    texture: (N,) index into the atlas. gloss: (N,) 0..1. label: (N,) uint8.
    """

    vertices: Floats
    uv: Floats
    tint: Floats
    texture: NDArray[np.int32]
    gloss: Floats
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.vertices)

    @classmethod
    def of(
        cls,
        vertices: ArrayLike,
        label: Label,
        tint: ArrayLike,
        texture: int,
        gloss: float = 0.0,
        uv: Floats | None = None,
    ) -> Triangles:
        """One material for all; without uv, texture coordinates are the vertices seen along their face's main axis."""
        corners = np.asarray(vertices, np.float32).reshape(-1, 3, 3)
        n = len(corners)
        return cls(
            corners,
            _box_projection(corners) if uv is None else uv,
            np.broadcast_to(np.asarray(tint, np.float32), (n, 3)),
            np.full(n, texture, np.int32),
            np.full(n, gloss, np.float32),
            np.full(n, label, np.uint8),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Triangles]) -> Triangles:
        """All triangles in the order given."""
        names = ("vertices", "uv", "tint", "texture", "gloss", "label")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def moved(self, x: float, y: float, yaw: float) -> Triangles:
        """Turned by yaw (rad) about z, then shifted by x, y (m); the texture sticks."""
        vertices = self.vertices @ _rotation(yaw).T + np.array([x, y, 0.0], np.float32)
        return Triangles(vertices, self.uv, self.tint, self.texture, self.gloss, self.label)


class _Outlines:
    """Footprints of parts, worked out when first asked for: only the true grid needs them."""

    def __init__(self, parts: Sequence[Triangles]) -> None:
        self._parts = tuple(parts)

    @cached_property
    def polygons(self) -> tuple[NDArray[np.float64], ...]:
        found = (footprint(part.vertices) for part in self._parts)
        return tuple(polygon for polygon in found if polygon is not None)


@dataclass(frozen=True, eq=False)
class Solid:
    """Something that stands on the ground, made of parts whose convex hulls are what they occupy.

    turn: (2, 2), shift: (2,) m: from the frame in which the outlines are given to that of the triangles.
    """

    triangles: Triangles
    outlines: _Outlines
    turn: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def of(cls, parts: Sequence[Triangles]) -> Solid:
        """A solid in the frame of its parts."""
        return cls(Triangles.concatenate(parts), _Outlines(parts), np.eye(2), np.zeros(2))

    @cached_property
    def footprints(self) -> tuple[NDArray[np.float64], ...]:
        """Convex polygons ((K, 2) m) of the ground that the parts occupy."""
        return tuple(polygon @ self.turn.T + self.shift for polygon in self.outlines.polygons)

    def moved(self, x: float, y: float, yaw: float) -> Solid:
        """Turned by yaw (rad) about z, then shifted by x, y (m)."""
        turn = _rotation(yaw)[:2, :2].astype(np.float64)
        triangles = self.triangles.moved(x, y, yaw)
        return Solid(triangles, self.outlines, turn @ self.turn, turn @ self.shift + (x, y))


def footprint(vertices: Floats) -> NDArray[np.float64] | None:
    """Convex outline (K, 2) of what lies between FOOT_BOTTOM and FOOT_TOP; None where nothing does."""
    corners = vertices.astype(np.float64)
    starts, ends = corners.reshape(-1, 3), np.roll(corners, -1, axis=1).reshape(-1, 3)
    points = [starts[(starts[:, 2] >= FOOT_BOTTOM) & (starts[:, 2] <= FOOT_TOP)]]
    for height in (FOOT_BOTTOM, FOOT_TOP):
        crosses = (starts[:, 2] - height) * (ends[:, 2] - height) < 0
        a, b = starts[crosses], ends[crosses]
        points.append(a + (b - a) * ((height - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None])
    flat = np.concatenate(points)[:, :2]
    return None if len(flat) < 3 else flat[ConvexHull(flat).vertices]


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Floats:
    """Axis-aligned box → (12, 3, 3)."""
    corners = [(x[i], y[j], z[k]) for k in (0, 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return np.array(corners, np.float32)[_tube(4)]


def hull(points: ArrayLike) -> Floats:
    """Convex hull of (K, 3) points → (N, 3, 3)."""
    points = np.asarray(points, np.float64)
    return points[ConvexHull(points).simplices].astype(np.float32)


def prism(outline: ArrayLike, low: float, high: float, inset: float = 0.0) -> Floats:
    """Convex outline (K, 2) in x, z, spread from y = low to high; `inset` narrows it towards its top."""
    outline = np.asarray(outline, np.float64)
    rise = (outline[:, 1] - outline[:, 1].min()) / max(np.ptp(outline[:, 1]), 1e-6)
    sides = [
        np.column_stack([outline[:, 0], y + sign * inset * rise, outline[:, 1]]) for y, sign in ((low, 1), (high, -1))
    ]
    return hull(np.concatenate(sides))


def rod(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float | None = None, sides: int = 8) -> Floats:
    """Round bar or cone frustum between two points → (N, 3, 3)."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = (end - start) / np.linalg.norm(end - start)
    helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = helper - (helper @ axis) * axis
    across /= np.linalg.norm(across)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = np.outer(np.cos(angle), across) + np.outer(np.sin(angle), _cross(axis, across))
    rings = [start + radius * ring, end + (radius if end_radius is None else end_radius) * ring]
    return np.concatenate(rings).astype(np.float32)[_tube(sides)]


def ball(
    centre: ArrayLike, radii: ArrayLike, detail: int = 2, rng: np.random.Generator | None = None, jitter: float = 0.0
) -> Floats:
    """Ellipsoid of 20 · 4 ** detail triangles; `jitter`: share of the radius by which vertices leave its surface."""
    directions, faces = _sphere(detail)
    if rng is not None:
        directions = directions * rng.uniform(1 - jitter, 1 + jitter, (len(directions), 1))
    return (np.asarray(centre) + directions * np.asarray(radii))[faces].astype(np.float32)


@cache
def _tube(sides: int) -> NDArray[np.intp]:
    """(4 · sides - 4, 3) corners of the triangles between two rings of `sides` points, and of both ends."""
    k = np.arange(sides)
    following = (k + 1) % sides
    mantle = [np.column_stack([k, following, k + sides]), np.column_stack([following, following + sides, k + sides])]
    cap = np.column_stack([np.zeros(sides - 2, int), k[1:-1], k[2:]])
    return np.concatenate([*mantle, cap, cap + sides])


@cache
def _sphere(detail: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    mesh = trimesh.creation.icosphere(subdivisions=detail)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def _cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """np.cross of (..., 3), without its overhead on small arrays."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _box_projection(corners: Floats) -> Floats:
    normals = np.abs(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    pairs = np.array([[1, 2], [0, 2], [0, 1]])[normals.argmax(axis=1)]
    return np.take_along_axis(corners, np.broadcast_to(pairs[:, None, :], (len(corners), 3, 2)), axis=2)


def _rotation(yaw: float) -> Floats:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
