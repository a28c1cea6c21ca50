"""Lays out one random street: its ground, what stands along it, and who moves through it."""

from __future__ import annotations

import numpy as np

from seg_perception.simulation.layout import Plot, furnish, openings
from seg_perception.simulation.road import Course, Markings, Section, ground
from seg_perception.simulation.textures import ATLASES, atlas
from seg_perception.simulation.traffic import Setting, Station, ego_path, traffic


class World:
    """A street from s = -30 m to `length` + 160 m, ready to be driven for `length` m from s = 0.

    `ego` says how the ego vehicle moves: time → Station of base_link. Traffic keeps to the side `side` (+1 left).
    """

    def __init__(self, seed: int, duration: float) -> None:
        rng = np.random.default_rng([seed, 1])
        self.atlas = atlas(seed % ATLASES)
        self.side = int(rng.choice([-1, 1]))
        self.section = Section.draw(rng)
        self.ego = ego_path(rng, self.side * self.section.lane / 2)
        self.length = self.ego(duration)[0]
        start, end = -30.0, self.length + 160.0
        self.course = Course(rng, start - 20, end + 60)
        self.openings = openings(rng, end)
        zebras = tuple(float(s) for s in np.arange(rng.uniform(8, 40), end, rng.uniform(40, 90)) if rng.random() < 0.8)
        self.markings = Markings.draw(rng, zebras)
        self.ground = ground(rng, self.atlas, self.course, self.section, self.openings)
        plot = Plot(self.course, self.section, self.openings, self.side, start, end, zebras)
        self.statics = furnish(rng, self.atlas, plot)
        setting = Setting(self.section, self.side, self.ego, self.length + 120, duration)
        self.movers = traffic(rng, self.atlas, setting)

    def place(self, station: Station) -> tuple[float, float, float]:
        """World x, y (m) and yaw (rad) of a station."""
        s, n, turn = station
        x, y, heading = self.course.pose(s, n)
        return x, y, heading + turn
