"""Cars and vans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seg_perception.simulation.colours import Colour, Rng, colour, grey
from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Solid, Triangles, box, hull, prism, rod
from seg_perception.simulation.textures import Atlas


def car(rng: Rng, atlas: Atlas) -> Solid:
    """A hatchback, saloon or van, 3.6–5.2 m long; its skirt reaches the ground as annotators draw it."""
    van = rng.random() < 0.15
    length, width = rng.uniform(3.6, 4.8) + 0.4 * van, rng.uniform(1.65, 1.85) + 0.1 * van
    belt, top = rng.uniform(0.85, 1.0), rng.uniform(1.4, 1.6) + rng.uniform(0.3, 0.7) * van
    paint = _paint(rng)
    plain, half, front, side = atlas.pick("plain", rng), width / 2, length / 2, width / 2 + 0.012

    def part(vertices: NDArray[np.float32], tint: Colour, gloss: float = 0.0) -> Triangles:
        return Triangles.of(vertices, Label.CAR, tint, plain, gloss)

    bonnet = front - (0.55 if van else rng.uniform(0.9, 1.2))
    boot = -front + (0.05 if van else rng.choice([0.1, 0.7]))
    rake = 0.35 if van else rng.uniform(0.5, 0.8)
    tail = 0.08 if van else rng.uniform(0.2, 0.5)
    body = [
        (-front, 0.3),
        (-front + 0.05, belt - 0.08),
        (boot, belt),
        (bonnet, belt),
        (front - 0.12, belt - 0.22),
        (front, 0.55),
        (front - 0.04, 0.2),
        (-front + 0.08, 0.2),
    ]
    cabin = [(boot, belt - 0.02), (boot + tail, top), (bonnet - rake, top), (bonnet, belt - 0.02)]
    glass, dark = (0.06, 0.055, 0.05), (0.02, 0.02, 0.02)
    inset = 0.16 if not van else 0.08
    parts = [
        part(prism(body, -half, half), paint, 0.5),
        part(prism(cabin, -half + 0.03, half - 0.03, inset), paint, 0.5),
        part(box((-front + 0.15, front - 0.15), (-half + 0.06, half - 0.06), (0.0, 0.25)), dark),
        part(_pane(cabin, 0.1, 0.9, half - 0.02, inset), glass, 0.9),
    ]
    parts += [
        part(_screen(cabin[i], cabin[j], half - 0.1, inset, out), glass, 0.9)
        for i, j, out in ((3, 2, 0.015), (0, 1, -0.015))
    ]
    for x in (-front + 0.75, front - 0.8):
        parts.append(part(rod((x, -side, 0.31), (x, side, 0.31), 0.31, sides=14), dark))
        parts.append(part(rod((x, -side - 0.01, 0.31), (x, side + 0.01, 0.31), 0.19, sides=10), (0.5, 0.5, 0.5), 0.4))
    for y in (-half + 0.22, half - 0.22):
        parts.append(
            part(box((front - 0.25, front + 0.01), (y - 0.17, y + 0.17), (0.58, 0.72)), (0.85, 0.85, 0.85), 0.6)
        )
        parts.append(
            part(box((-front - 0.01, -front + 0.2), (y - 0.12, y + 0.12), (0.6, 0.85)), (0.05, 0.05, 0.55), 0.3)
        )
    plate = (0.8, 0.8, 0.8) if rng.random() < 0.5 else (0.1, 0.7, 0.8)
    parts.append(part(box((-front - 0.02, -front + 0.1), (-0.26, 0.26), (0.42, 0.54)), plate))
    parts.append(part(box((front - 0.2, front + 0.02), (-0.26, 0.26), (0.34, 0.45)), (0.8, 0.8, 0.8)))
    parts.append(part(box((front - 0.2, front + 0.008), (-half + 0.1, half - 0.1), (0.2, 0.3)), dark))
    return Solid.of(parts)


def _paint(rng: Rng) -> Colour:
    if rng.random() < 0.55:
        return grey(rng, 0.02, 0.9)
    hue = rng.choice([0.0, 0.6, 0.35, 0.12, rng.random()], p=[0.3, 0.4, 0.1, 0.05, 0.15])
    return colour(rng, (hue - 0.03, hue + 0.03), (0.4, 0.95), (0.1, 0.6))


def _pane(cabin: list[tuple[float, float]], low: float, high: float, half: float, inset: float) -> NDArray[np.float32]:
    """Side windows: a slab slightly wider than the cabin, within its outline."""
    outline = np.array(cabin)
    centre = outline.mean(axis=0)
    inner = centre + (outline - centre) * (0.86, 0.74)
    rise = (inner[:, 1] - outline[0, 1]) / (outline[1, 1] - outline[0, 1])
    return hull(
        [(x, sign * (half - inset * r + 0.004), z) for (x, z), r in zip(inner, rise, strict=True) for sign in (-1, 1)]
    )


def _screen(
    low: tuple[float, float], high: tuple[float, float], half: float, inset: float, out: float
) -> NDArray[np.float32]:
    """Wind or rear screen: a thin slab that lies `out` metres in front of the cabin's edge from `low` to `high`."""
    a, b = np.array(low), np.array(high)
    points = []
    for share in (0.12, 0.9):
        x, z = a + share * (b - a)
        points += [
            (x + shift, sign * (half - inset * share), z)
            for sign in (-1, 1)
            for shift in (out, out - 0.05 * np.sign(out))
        ]
    return hull(points)
