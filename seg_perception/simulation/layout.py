"""Lays out what stands still along a street."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from seg_perception.simulation import buildings, cars, furniture, people, plants
from seg_perception.simulation.road import Course, Opening, Section
from seg_perception.simulation.solids import Solid
from seg_perception.simulation.textures import Atlas


@dataclass(frozen=True)
class Plot:
    """What there is to be furnished: `side` is +1 where one drives on the left, stations are in m."""

    course: Course
    section: Section
    openings: tuple[Opening, ...]
    side: int
    start: float
    end: float
    zebras: tuple[float, ...]


def openings(rng: np.random.Generator, end: float) -> tuple[Opening, ...]:
    """Side roads up to station `end` (m), to one side or both."""
    found = []
    s = rng.uniform(15, 60)
    while s < end - 20:
        width = rng.uniform(5, 8)
        sides: tuple[int, ...] = ((-1,), (1,), (-1, 1))[int(rng.integers(0, 3))]
        found += [Opening(side, float(s), float(s + width)) for side in sides]
        s += rng.uniform(35, 90)
    return tuple(found)


def furnish(rng: np.random.Generator, atlas: Atlas, plot: Plot) -> list[Solid]:
    """Everything that stands still, in the world."""
    return _Builder(rng, atlas, plot).build()


class _Builder:
    """Collects solids while it goes along the street."""

    def __init__(self, rng: np.random.Generator, atlas: Atlas, plot: Plot) -> None:
        self.rng, self.atlas, self.plot, self.section = rng, atlas, plot, plot.section
        self.solids: list[Solid] = []

    def build(self) -> list[Solid]:
        for side in (-1, 1):
            self._fronts(side)
            self._furniture(side)
            if self.section.parking:
                self._parked(side)
            self._backdrop(side)
        self._ends()
        return self.solids

    def _stations(self, pitch: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """Consecutive intervals of random width along the street: (start, width) m."""
        s = self.plot.start
        while s < self.plot.end:
            width = self.rng.uniform(*pitch)
            yield s, width
            s += width

    def _place(self, solid: Solid, s: float, n: float, turn: float = 0.0) -> None:
        x, y, heading = self.plot.course.pose(s, n)
        self.solids.append(solid.moved(x, y, heading + turn))

    def _along(self, solid: Solid, side: int, s: float, width: float, n: float) -> None:
        """Something of a width along the road whose back (+y) points away from it."""
        if side > 0:
            self._place(solid, s, n)
        else:
            self._place(solid, s + width, -n, np.pi)

    def _blocked(self, side: int, low: float, high: float) -> bool:
        return any(o.side == side and low < o.end + 1 and high > o.start - 1 for o in self.plot.openings)

    def _fronts(self, side: int) -> None:
        """Row of buildings and gardens behind the pavement; side roads stay open."""
        rng, front = self.rng, self.section.front
        urban, s = rng.uniform(0.2, 0.95), self.plot.start
        while s < self.plot.end:
            width = rng.uniform(6.0, 16.0)
            if self._blocked(side, s, s + width):
                s += 1.5
                continue
            if rng.random() < urban:
                self._along(buildings.building(rng, self.atlas, width - 0.4), side, s, width - 0.4, front + 0.2)
            else:
                self._garden(side, s, width, front)
            s += width

    def _garden(self, side: int, s: float, width: float, front: float) -> None:
        """A fence, wall or hedge; behind it trees and perhaps a house."""
        rng = self.rng
        border = (buildings.fence, buildings.wall, plants.hedge)[int(rng.choice(3, p=[0.5, 0.2, 0.3]))]
        pieces = max(1, round(width / 5))
        fixed = int(rng.integers(0, 2**31))
        for index in range(pieces):
            piece = border(np.random.default_rng(fixed), self.atlas, width / pieces)
            self._along(piece, side, s + index * width / pieces, width / pieces, front + 0.2)
        for _ in range(int(rng.integers(0, 4))):
            self._place(plants.tree(rng, self.atlas), s + rng.uniform(0, width), side * (front + rng.uniform(2.0, 7.0)))
        if rng.random() < 0.6:
            self._along(buildings.building(rng, self.atlas, width - 1), side, s, width - 1, front + rng.uniform(8, 14))

    def _furniture(self, side: int) -> None:
        """Poles, signs, trees, bollards and people waiting on the pavement; never on the verge."""
        rng, atlas = self.rng, self.atlas
        turn = 0.0 if side == self.plot.side else np.pi
        self._row(side, lambda: furniture.lamp(rng, atlas), rng.uniform(18, 35), -side * np.pi / 2)
        self._row(side, lambda: furniture.sign(rng, atlas), rng.uniform(14, 40), turn)
        self._row(side, lambda: furniture.traffic_light(rng, atlas), rng.uniform(40, 90), turn)
        if rng.random() < 0.5:
            self._row(side, lambda: plants.tree(rng, atlas), rng.uniform(7, 20), 0.0)
        if rng.random() < 0.3:
            self._row(side, lambda: furniture.bollard(rng, atlas), rng.uniform(1.5, 5.0), 0.0)
        if rng.random() < 0.35:
            self._row(side, lambda: people.pedestrian(rng, atlas), rng.uniform(10, 25), rng.uniform(0, 2 * np.pi))

    def _row(self, side: int, build: Callable[[], Solid], pitch: float, turn: float) -> None:
        offset = self.rng.uniform(0, pitch)
        for start, _ in self._stations((0.85 * pitch, 1.15 * pitch)):
            s = start + offset
            if not self._blocked(side, s - 0.5, s + 0.5):
                self._place(build(), s, side * (self.section.pavement + self.rng.uniform(0.35, 0.5)), turn)

    def _parked(self, side: int) -> None:
        rng, occupancy = self.rng, self.rng.uniform(0.2, 0.9)
        for s, _ in self._stations((5.6, 7.0)):
            clear = not self._blocked(side, s - 3, s + 3) and all(abs(s - zebra) > 6.5 for zebra in self.plot.zebras)
            if clear and rng.random() < occupancy:
                turn = (0.0 if side == self.plot.side else np.pi) + (np.pi if rng.random() < 0.1 else 0.0)
                n = side * (self.section.kerb - 1.05 + rng.normal(0, 0.05))
                self._place(cars.car(rng, self.atlas), s, n, turn + rng.normal(0, 0.02))

    def _backdrop(self, side: int) -> None:
        """Large houses and trees further off, where one can look between those in front."""
        rng = self.rng
        for s, width in self._stations((8.0, 18.0)):
            n = self.section.front + rng.uniform(24.0, 34.0)
            if self._blocked(side, s, s + width):
                continue
            if rng.random() < 0.6:
                self._along(buildings.building(rng, self.atlas, width), side, s, width, n)
            else:
                self._place(plants.tree(rng, self.atlas), s + width / 2, side * n)

    def _ends(self) -> None:
        """Houses across the far ends, so that no road runs into nothing."""
        for opening in self.plot.openings:
            width = opening.end - opening.start + 12.0
            house = buildings.building(self.rng, self.atlas, width)
            self._along(house, opening.side, opening.start - 6.0, width, self.section.front + 40.0)
        n = -40.0
        while n < 40.0:
            width = self.rng.uniform(9, 18)
            self._place(buildings.building(self.rng, self.atlas, width), self.plot.end + 30.0, n + width, -np.pi / 2)
            n += width
