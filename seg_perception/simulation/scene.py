"""A world made ready for ray casting: what stands still once, what moves as it stands at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.core import pose
from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Solid, Triangles
from seg_perception.simulation.tracer import Hits, Tracer
from seg_perception.simulation.view import View
from seg_perception.simulation.world import World

Floats = NDArray[np.float32]
_SIGHT = 120.0
"""Movers further from the camera than this are left out, m."""


@dataclass(frozen=True, eq=False)
class Moment:
    """The movers near a place at a time: their solids, a tracer, and the corners (K, 8, 3) m of the box around each.

    triangle: index into `Scene.triangles` of each of the tracer's triangles.
    """

    solids: tuple[Solid, ...]
    tracer: Tracer
    triangle: NDArray[np.int32]
    boxes: NDArray[np.float64]


class Scene:
    """Ray casting in a world at any time. triangles: of the ground, what stands still, all movers, in this order."""

    def __init__(self, world: World) -> None:
        self.world = world
        still = [world.ground, *(solid.triangles for solid in world.statics)]
        moving = list({id(solid): solid for mover in world.movers for solid in mover.poses}.values())
        self.triangles = Triangles.concatenate([*still, *(solid.triangles for solid in moving)])
        first = sum(len(triangles) for triangles in still)
        starts = first + np.cumsum([0, *(len(solid.triangles) for solid in moving)])
        self._starts = {id(solid): int(start) for solid, start in zip(moving, starts, strict=False)}
        self._still = Tracer(self.triangles.vertices[:first])
        self._ground = Tracer(world.ground.vertices)
        self._last: tuple[tuple[float, float, float], Moment | None] | None = None

    def moment(self, t: float, x: float, y: float) -> Moment | None:
        """What moves near (x, y) m at time t (s); None where nothing does. The last answer is kept."""
        if self._last is None or self._last[0] != (t, x, y):
            self._last = (t, x, y), self._moment(t, x, y)
        return self._last[1]

    def cast(self, view: View, world_from_optical: pose.Transform, t: float) -> tuple[Hits, Floats]:
        """Nearest hits of all pixels' rays, and the rays' directions (N, 3) in the world. Distances are depths."""
        directions = cv2.transform(view.rays[None], world_from_optical[:3, :3].astype(np.float32))[0]
        origin = world_from_optical[:3, 3].astype(np.float32)
        hits = self._still.cast(origin, directions)
        moment = self.moment(t, *world_from_optical[:2, 3])
        if moment is not None:
            pixels = view.pixels_around(pose.apply(pose.inverse(world_from_optical), moment.boxes))
            if len(pixels):
                hits.merge(pixels, moment.tracer.cast(origin, directions[pixels]), moment.triangle)
        return hits, directions

    def blocked(self, moment: Moment | None, origins: Floats, directions: Floats, reach: float) -> NDArray[np.bool_]:
        """Whether something lies within `reach` times the direction of each ray; (N, 3) or (3,) origins."""
        result = self._still.blocked(origins, directions, reach)
        return result if moment is None else result | moment.tracer.blocked(origins, directions, reach)

    def ground_labels(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
        """(len(y), len(x)) labels of the bare ground at world coordinates; VOID where none is modelled."""
        origins = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1).reshape(-1, 3).astype(np.float32)
        triangle = self._ground.nearest(origins, np.array([0, 0, -1], np.float32))
        labels = np.where(triangle >= 0, self.world.ground.label[triangle], np.uint8(Label.VOID))
        return labels.reshape(len(y), len(x))

    def _moment(self, t: float, x: float, y: float) -> Moment | None:
        solids, indices = [], []
        for mover in self.world.movers:
            station = mover.path(t)
            at = self.world.place(station)
            if np.hypot(at[0] - x, at[1] - y) < _SIGHT:
                solid = mover.poses[mover.pose(station)]
                solids.append(solid.moved(*at))
                indices.append(self._starts[id(solid)] + np.arange(len(solid.triangles), dtype=np.int32))
        if not solids:
            return None
        vertices = [solid.triangles.vertices for solid in solids]
        return Moment(
            tuple(solids),
            Tracer(np.concatenate(vertices)),
            np.concatenate(indices),
            np.stack([_box(v) for v in vertices]),
        )


def _box(vertices: Floats) -> NDArray[np.float64]:
    points = vertices.reshape(-1, 3)
    bounds = np.stack([points.min(axis=0), points.max(axis=0)]).astype(np.float64)
    return np.array([[bounds[i, 0], bounds[j, 1], bounds[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
