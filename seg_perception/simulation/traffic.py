"""Who moves through a street: solids that follow paths along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seg_perception.simulation import cars, people
from seg_perception.simulation.road import Section
from seg_perception.simulation.solids import Solid
from seg_perception.simulation.textures import Atlas

Station = tuple[float, float, float]
"""s (m), n (m), heading relative to the road (rad)."""

Path = Callable[[float], Station]
"""Time (s) → Station."""


_STEP = 0.38
"""Way from one pose of a gait to the next, m."""


@dataclass(frozen=True, eq=False)
class Mover:
    """Something that follows a path, and takes its poses in turn while it covers ground."""

    poses: tuple[Solid, ...]
    path: Path

    def pose(self, station: Station) -> int:
        """Which of the poses it has at a station of its path."""
        return int((abs(station[0]) + abs(station[1])) / _STEP) % len(self.poses)


@dataclass(frozen=True)
class Setting:
    """What traffic must know of its street: `side` is +1 where one drives on the left; `end` is the last station, m."""

    section: Section
    side: int
    ego: Path
    end: float
    duration: float


def ego_path(rng: np.random.Generator, lane: float) -> Path:
    """4–10 m/s along n = `lane`, with slow changes of speed and slight weaving."""
    speed, change = rng.uniform(5.0, 9.0), rng.uniform(0.0, 1.0)
    slow, weave = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.9)
    phase, phase_n, amplitude = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.25)

    def path(t: float) -> Station:
        s = speed * t + change / slow * (np.sin(slow * t + phase) - np.sin(phase))
        v = speed + change * np.cos(slow * t + phase)
        n = lane + amplitude * np.sin(weave * t + phase_n)
        return float(s), float(n), float(np.arctan2(amplitude * weave * np.cos(weave * t + phase_n), v))

    return path


def traffic(rng: np.random.Generator, atlas: Atlas, setting: Setting) -> list[Mover]:
    """Everything that moves, but the ego vehicle."""
    movers = [*_oncoming(rng, atlas, setting), *_walkers(rng, atlas, setting), *_crossers(rng, atlas, setting)]
    if rng.random() < 0.6:
        n = setting.side * setting.section.lane / 2
        movers.append(Mover((cars.car(rng, atlas),), _leading(setting.ego, rng.uniform(11, 28), n, rng.uniform(0, 6))))
    if rng.random() < 0.7:
        movers += _cyclists_ahead(rng, atlas, setting)
    return movers


def _oncoming(rng: np.random.Generator, atlas: Atlas, setting: Setting) -> list[Mover]:
    movers, s, speed = [], rng.uniform(15, 50), -rng.uniform(4, 9)
    while s < setting.end + 8 * setting.duration:
        build = people.cyclist if rng.random() < 0.25 else cars.car
        n = -setting.side * (setting.section.lane / 2 + rng.uniform(-0.1, 0.3))
        movers.append(Mover((build(rng, atlas),), _steady(float(s), speed, n, np.pi)))
        s += rng.uniform(12, 60)
    return movers


def _cyclists_ahead(rng: np.random.Generator, atlas: Atlas, setting: Setting) -> list[Mover]:
    """At the ego vehicle's mean speed, so that none of them is ever run into."""
    speed = setting.ego(setting.duration)[0] / setting.duration
    n = setting.side * (setting.section.lane - 0.35)
    stations = np.arange(rng.uniform(8, 30), setting.end, rng.uniform(25, 80))
    return [Mover((people.cyclist(rng, atlas),), _steady(float(s), speed, n, 0.0)) for s in stations]


def _walkers(rng: np.random.Generator, atlas: Atlas, setting: Setting) -> list[Mover]:
    section, movers = setting.section, []
    spacing = rng.uniform(4, 18)
    low = section.pavement + 0.6
    for side in (-1, 1):
        s = rng.uniform(-20, 5)
        while s < setting.end:
            speed = rng.choice([-1, 1]) * rng.uniform(0.8, 1.6)
            n = side * rng.uniform(low, max(section.front - 0.35, low + 0.05))
            movers.append(Mover(people.walker(rng, atlas), _steady(float(s), speed, n, 0.0 if speed > 0 else np.pi)))
            s += rng.exponential(spacing) + 1.0
    return movers


def _crossers(rng: np.random.Generator, atlas: Atlas, setting: Setting) -> list[Mover]:
    """People who cross ahead of the ego vehicle and have reached the other side before it arrives."""
    movers, t = [], rng.uniform(-6.0, 0.0)
    edge = setting.section.pavement + 0.4
    while t < setting.duration:
        walk = rng.uniform(1.2, 1.8)
        s = setting.ego(t + 2 * edge / walk)[0] + rng.uniform(4.5, 9)
        if rng.random() < 0.7:
            movers.append(Mover(people.walker(rng, atlas), _crossing(t, s, walk, int(rng.choice([-1, 1])), edge)))
        t += rng.uniform(2.5, 7.0)
    return movers


def _steady(s: float, speed: float, n: float, turn: float) -> Path:
    return lambda t: (s + speed * t, n, turn)


def _leading(ego: Path, gap: float, n: float, phase: float) -> Path:
    return lambda t: (ego(t)[0] + gap + 0.25 * gap * float(np.sin(0.3 * t + phase)), n, 0.0)


def _crossing(start: float, s: float, walk: float, direction: int, edge: float) -> Path:
    """Waits at the kerb until `start` (s), crosses, and waits on the other side."""

    def path(t: float) -> Station:
        n = float(np.clip(direction * (-edge + walk * (t - start)), -edge, edge))
        return s, n, direction * np.pi / 2

    return path
