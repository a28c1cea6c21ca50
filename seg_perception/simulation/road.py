"""The course of a road and its cross-section: everything at z = 0, addressed by (s, n) metres along and to the left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Triangles
from seg_perception.simulation.textures import Atlas

_STEP = 0.5
_FAR = 70.0
"""Half width of the modelled ground, m."""
_KERB = 0.14


class Course:
    """A gently curving centre line over s in [start, end] m, at (0, 0) heading +x for s = 0."""

    def __init__(self, rng: np.random.Generator, start: float, end: float) -> None:
        first = int(np.floor(start / _STEP))
        self.s = np.arange(first, int(np.ceil(end / _STEP)) + 1) * _STEP
        bend = 0.0 if rng.random() < 0.3 else rng.uniform(0.0, 1 / 160)
        curvature = bend * np.sin(self.s * rng.uniform(0.01, 0.04) + rng.uniform(0, 2 * np.pi))
        origin = -first
        self.heading = np.cumsum(curvature) * _STEP
        self.heading -= self.heading[origin]
        self.x, self.y = np.cumsum(np.cos(self.heading)) * _STEP, np.cumsum(np.sin(self.heading)) * _STEP
        self.x -= self.x[origin]
        self.y -= self.y[origin]

    def pose(self, s: float, n: float) -> tuple[float, float, float]:
        """World x, y (m) and heading of the road (rad) at (s, n)."""
        heading = float(np.interp(s, self.s, self.heading))
        x, y = np.interp(s, self.s, self.x), np.interp(s, self.s, self.y)
        return float(x - n * np.sin(heading)), float(y + n * np.cos(heading)), heading

    def points(self, s: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
        """World (..., 2) of (s, n)."""
        heading = np.interp(s, self.s, self.heading)
        x, y = np.interp(s, self.s, self.x), np.interp(s, self.s, self.y)
        return np.stack([x - n * np.sin(heading), y + n * np.cos(heading)], axis=-1)


@dataclass(frozen=True)
class Section:
    """Cross-section of the road, the same on both sides, m from the centre line.

    lane: half the carriageway. kerb: where the road ends (beyond parking bays, if any). verge: width of the grass.
    front: where the pavement ends and plots begin.
    """

    lane: float
    parking: bool
    kerb: float
    verge: float
    front: float

    @property
    def pavement(self) -> float:
        """Where the pavement's slabs begin, beyond kerb and verge."""
        return self.kerb + _KERB + self.verge

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Section:
        """A random one: carriageway 6–8 m."""
        lane = rng.uniform(3.0, 4.0)
        parking = bool(rng.random() < 0.55)
        kerb = lane + (2.1 if parking else 0.0)
        verge = rng.uniform(0.8, 2.0) if rng.random() < 0.35 else 0.0
        return cls(lane, parking, kerb, verge, kerb + verge + rng.uniform(1.8, 4.0))


@dataclass(frozen=True)
class Opening:
    """A side road on one side (+1 left, -1 right) between two stations, m."""

    side: int
    start: float
    end: float


@dataclass(frozen=True)
class Markings:
    """What is painted on the road; the shader draws it. Stations and widths in m; empty means none."""

    dash: float
    gap: float
    width: float
    edges: bool
    bays: bool
    zebras: tuple[float, ...]
    strength: float
    yellow: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, zebras: tuple[float, ...]) -> Markings:
        """Random style; sometimes without any centre line."""
        dash = rng.uniform(1.5, 6.0) if rng.random() < 0.85 else 0.0
        return cls(
            dash,
            rng.uniform(1.5, 7.0),
            rng.uniform(0.09, 0.16),
            bool(rng.random() < 0.5),
            bool(rng.random() < 0.5),
            zebras,
            rng.uniform(0.3, 0.95),
            bool(rng.random() < 0.25),
        )


def ground(
    rng: np.random.Generator, atlas: Atlas, course: Course, section: Section, openings: tuple[Opening, ...]
) -> Triangles:
    """The whole surface as strips along the course; texture coordinates are (s, n)."""
    stations = np.union1d(course.s[::4], [edge for o in openings for edge in (o.start, o.end)] + [course.s[-1]])
    tarmac = _surface(rng, 0.1, 0.5)
    side_tarmac = tarmac if rng.random() < 0.6 else _surface(rng, 0.1, 0.5)
    slabs, kerb, yard = _surface(rng, 0.12, 0.75), _surface(rng, 0.3, 0.7), _surface(rng, 0.12, 0.7)
    green = np.array([0.25, 0.55, 0.4]) * rng.uniform(0.35, 0.9) * rng.uniform(0.8, 1.2, 3)
    road_texture, slab_texture = atlas.pick("asphalt", rng), atlas.pick("paving", rng)
    yard_texture, grass, plain = atlas.pick("paving", rng), atlas.pick("grass", rng), atlas.pick("plain", rng)
    strips = [(-section.kerb, section.kerb, Label.ROAD, tarmac, road_texture, 0)]
    for side in (-1, 1):
        edge = section.kerb + _KERB
        strips += [
            (section.kerb, edge, Label.PAVEMENT, kerb, plain, side),
            (edge + section.verge, section.front, Label.PAVEMENT, slabs, slab_texture, side),
            (section.front, _FAR, Label.PAVEMENT, yard, yard_texture, side),
        ]
        if section.verge:
            strips.append((edge, edge + section.verge, Label.VOID, green, grass, side))
    parts = []
    middle = (stations[1:] + stations[:-1]) / 2
    for near, far, label, tint, texture, side in strips:
        crossed = np.zeros(len(middle), bool)
        for opening in openings:
            if opening.side == side:
                crossed |= (middle > opening.start) & (middle < opening.end)
        low, high = (near, far) if side >= 0 else (-far, -near)
        parts.append(_strip(course, stations, ~crossed, low, high, label, tint, texture))
        parts.append(_strip(course, stations, crossed, low, high, Label.ROAD, side_tarmac, road_texture))
    return Triangles.concatenate(parts)


def _surface(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float64]:
    return rng.uniform(low, high) * (1 + rng.normal(0, 0.05, 3))


def _strip(
    course: Course,
    stations: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    low: float,
    high: float,
    label: Label,
    tint: NDArray[np.float64],
    texture: int,
) -> Triangles:
    """Two triangles per chosen station interval, between n = low and high."""
    s = np.stack([stations[:-1], stations[1:], stations[1:], stations[:-1]], axis=1)[chosen]
    n = np.broadcast_to(np.array([low, low, high, high]), s.shape)
    corners = np.concatenate([course.points(s, n), np.zeros((*s.shape, 1))], axis=-1).astype(np.float32)
    uv = np.stack([s, n], axis=-1).astype(np.float32)
    order = np.array([[0, 1, 2], [0, 2, 3]])
    return Triangles.of(corners[:, order].reshape(-1, 3, 3), label, tint, texture, uv=uv[:, order].reshape(-1, 3, 2))
