"""Ray casting against triangles with Embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hits:
    """Nearest hits of N rays. distance: in units of the ray's direction, inf = none. triangle: -1 = none.

    normal: (N, 3), of any length and side. weights: (N, 2) of the triangle's second and third corner.
    """

    distance: Floats
    triangle: NDArray[np.int32]
    normal: Floats
    weights: Floats

    def merge(self, rows: NDArray[np.int64], other: Hits, triangle: NDArray[np.int32]) -> None:
        """Take over the nearer hits of `other`, cast along the rays `rows`; `triangle` renames its triangles."""
        nearer = np.flatnonzero(other.distance < self.distance[rows])
        rows = rows[nearer]
        self.distance[rows] = other.distance[nearer]
        self.triangle[rows] = triangle[other.triangle[nearer]]
        self.normal[rows] = other.normal[nearer]
        self.weights[rows] = other.weights[nearer]


class Tracer:
    """Nearest hits and blocked sightlines among (M, 3, 3) float32 triangles."""

    def __init__(self, vertices: Floats) -> None:
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices))

    def cast(self, origin: Floats, directions: Floats) -> Hits:
        """Rays from one point (3,) along (N, 3) directions."""
        found = self._scene.run(_repeat(origin, len(directions)), directions, output=True)
        missed = found["primID"] < 0
        distance = found["tfar"]
        distance[missed] = np.inf
        return Hits(distance, found["primID"], found["Ng"], np.stack([found["u"], found["v"]], axis=1))

    def nearest(self, origins: Floats, direction: Floats) -> NDArray[np.int32]:
        """Index of the triangle that each of the parallel rays from (N, 3) origins hits first; -1 = none."""
        return self._scene.run(origins, _repeat(direction, len(origins)))

    def blocked(self, origins: Floats, directions: Floats, reach: float) -> NDArray[np.bool_]:
        """Whether something lies within `reach` times the direction of each ray; (N, 3) or (3,) origins."""
        if origins.ndim == 1:
            origins = _repeat(origins, len(directions))
        limits = np.full(len(directions), reach, np.float32)
        return self._scene.run(origins, directions, limits, query="OCCLUDED") >= 0


def _repeat(origin: Floats, count: int) -> Floats:
    return np.tile(np.asarray(origin, np.float32), (count, 1))
